"""Two and four processes that exchange by gloo learn what one does from the joined batch."""

import json
import os
import runpy
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from ossicle import checkpoint, distributed, train
from ossicle.data.cache import Cache
from ossicle.data.loader import Loader, Source
from ossicle.datasets import load
from ossicle.learn import learn
from ossicle.recipe import RecipeError, from_dict
from ossicle.run import RunError
from ossicle.stops import refuse_thin

WORKER = Path(__file__).parent / "ranks" / "worker.py"
RATE = 8000
KINDS = ("softmax", "nce", "supervised", "contrastive", "recordings", "joint", "joint nce")


@pytest.fixture(scope="module")
def sounds(tmp_path_factory):
    """Two classes of six recordings each, of which one is broken."""
    root, noise, rows = tmp_path_factory.mktemp("sounds"), np.random.default_rng(0), ["filename,fold,label"]
    for number in range(12):
        tone = np.sin(2 * np.pi * (300, 2000)[number % 2] * np.arange(RATE // 2) / RATE)
        soundfile.write(root / f"{number}.wav", 0.3 * tone + 0.05 * noise.standard_normal(len(tone)), RATE)
        rows.append(f"{number}.wav,{number // 2 % 3 + 1},{('low', 'high')[number % 2]}")
    (root / "5.wav").write_bytes(b"<!DOCTYPE html>")
    (root / "clips.csv").write_text("\n".join(rows) + "\n")
    return root


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """Where all processes of these tests keep decoded sound."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OSSICLE_CACHE", str(folder))
        yield Cache(folder)


def recipe_for(sounds, objective, **stage):
    return {
        "data": {"name": "csv", "path": str(sounds / "clips.csv")},
        "frontend": {"name": "logmel", "sample_rate": RATE, "seconds": 0.4, "n_fft": 256, "hop": 128, "mels": 16},
        "encoder": {"name": "small", "width": 2, "attention": 8},
        "objective": objective,
        "views": [{"name": "gain", "low_db": -3.0, "high_db": 3.0}, {"name": "noise", "sigma": 0.1}],
        "stages": [{"epochs": 2, "lr": 1e-2, **stage}],
        "batch": 6,
        "precision": "fp32",
        "max_bad": 0.1,
    }


@pytest.fixture(scope="module")
def recipes(sounds, tmp_path_factory):
    folder = tmp_path_factory.mktemp("recipes")
    trees = {"pretrained": recipe_for(sounds, "npid"), "probe": recipe_for(sounds, "supervised", frozen=True)}
    finer = {"name": "logmel", "sample_rate": RATE, "seconds": 0.4, "n_fft": 256, "hop": 64, "mels": 16}
    stages = [
        {"epochs": 3, "lr": 0.3, "frozen": True, "schedule": "constant"},
        {"epochs": 2, "lr": 0.3, "frozen": True},
    ]
    stages[1] |= {"start": "best", "frontend": finer}
    trees["best"] = trees["probe"] | {"stages": stages, "keep": "best", "split": {"valid": 1}, "batch": 8}
    for name, tree in trees.items():
        (folder / f"{name}.json").write_text(json.dumps(tree))
    return [str(folder / f"{name}.json") for name in trees]


def together(count, *arguments):
    """Runs so many workers, each with its own number -> how they exited."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    where = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": str(count), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(WORKER), *map(str, arguments)]
    processes = [subprocess.Popen(command, env={**os.environ, **where, "RANK": str(rank)}) for rank in range(count)]
    try:
        return [process.wait(300) for process in processes]
    finally:
        for process in processes:
            process.kill()


@pytest.fixture(scope="module")
def one(cache, recipes, tmp_path_factory):
    """What a single process makes of the joined batches."""
    out = tmp_path_factory.mktemp("one")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    runpy.run_path(str(WORKER))["main"](out, *recipes[1:])
    torch.set_num_threads(threads)
    return out


@pytest.fixture(scope="module", params=[2, pytest.param(4, marks=pytest.mark.slow)])
def several(request, cache, recipes, tmp_path_factory):
    """What several processes made, and their number."""
    out = tmp_path_factory.mktemp("several")
    chosen = recipes if request.param == 2 else []
    assert together(request.param, out, *chosen) == [0] * request.param
    return out, request.param


@pytest.mark.parametrize("kind", KINDS)
def test_losses_gradients_weights_and_bank_are_those_of_the_joined_batch(one, several, kind):
    out, count = several
    wanted = np.load(one / f"{kind}-0.npz")
    for rank in range(count):
        found = np.load(out / f"{kind}-{rank}.npz")
        for name in wanted.files:
            assert np.allclose(found[name], wanted[name], rtol=1e-9, atol=1e-9), (rank, name)


@pytest.mark.parametrize("kind", KINDS)
def test_after_all_steps_every_process_holds_the_same_bits(several, kind):
    out, count = several
    first, *others = [np.load(out / f"{kind}-{rank}.npz") for rank in range(count)]
    for other in others:
        assert all(np.array_equal(first[name], other[name]) for name in first.files)


def test_what_processes_tell_each_other(several):
    out, count = several
    for rank in range(count):
        told = json.loads((out / f"told-{rank}.json").read_text())
        assert told["every"] == [{"rank": each} for each in range(count)]
        assert told["gather"] == [[each, each] for each in range(count) for _ in range(2 * each + 1)]
        sizes = np.arange(1, count + 1)
        assert told["mean"] == pytest.approx((sizes**2).sum() / sizes.sum())
        assert (told["first"], told["after_first"]) == ("of 0", f"of {rank}")
        assert told["refused"] == told["stopped"] == ("StoppedElsewhere" if rank else "ValueError")


TWO = pytest.mark.parametrize("several", [2], indirect=True)


@TWO
def test_two_processes_end_a_run_with_the_same_bits_and_one_folder(several):
    two = several[0]
    told = [json.loads((two / f"told-{rank}.json").read_text())["runs"] for rank in range(2)]
    for name, epochs in (("pretrained", 2), ("probe", 2), ("best", 5)):
        assert told[0][name] == told[1][name]
        assert len((two / name / "log.jsonl").read_text().splitlines()) == epochs
        assert json.loads((two / name / "environment.json").read_text())["world_size"] == 2
        assert not (two / name / "lock.json").exists()


@TWO
def test_where_no_statistics_are_of_the_batch_two_processes_train_what_one_does(one, several):
    """A frozen encoder and a head, in float32; one clip is of a broken file."""
    two = several[0]
    wanted, found = (checkpoint.load(out / "probe" / "model")[0] for out in (one, two))
    assert all(torch.allclose(found[name], value, rtol=1e-4, atol=1e-6) for name, value in wanted.items())
    logs = [[json.loads(line) for line in (out / "probe" / "log.jsonl").read_text().splitlines()] for out in (one, two)]
    for alone, together in zip(*logs, strict=True):
        assert together["loss"] == pytest.approx(alone["loss"], rel=1e-5)
        assert together["accuracy"] == pytest.approx(alone["accuracy"], rel=1e-5)
    results = [json.loads((out / "probe" / "result.json").read_text()) for out in (one, two)]
    assert results[0]["clips"] == results[1]["clips"] == 2 * 11


@TWO
def test_two_processes_go_on_from_the_best_epoch_as_one_does(one, several):
    """Only the first of them looks at the validation part."""
    two = several[0]
    wanted, found = (checkpoint.load(out / "best" / "model")[0] for out in (one, two))
    assert all(torch.allclose(found[name], value, rtol=1e-4, atol=1e-6) for name, value in wanted.items())
    results = [json.loads((out / "best" / "result.json").read_text()) for out in (one, two)]
    assert results[0]["kept"] == results[1]["kept"]
    assert results[0]["peeks"] == results[1]["peeks"] == 6
    logs = [[json.loads(line) for line in (out / "best" / "log.jsonl").read_text().splitlines()] for out in (one, two)]
    for alone, together in zip(*logs, strict=True):
        assert together["loss"] == pytest.approx(alone["loss"], rel=1e-5)


@pytest.mark.parametrize("ranks", [1, 2, 3, 5])
def test_the_parts_of_a_batch_are_the_batch(sounds, cache, ranks):
    manifest = load(str(sounds / "clips.csv"))
    prepared = cache.prepare([clip.path for clip in manifest.clips], sample_rate=RATE)
    source = Source(manifest, cache, RATE, bad=frozenset(prepared.bad))
    whole = list(Loader(source, 100, 6, others=1).epoch(3))
    parts = [list(Loader(source, 100, 6, others=1, rank=rank, ranks=ranks).epoch(3)) for rank in range(ranks)]
    for step, batch in enumerate(whole):
        for name in ("wave", "index", "others", "valid"):
            joined = torch.cat([getattr(part[step], name) for part in parts])
            assert torch.equal(joined, getattr(batch, name)), name
        sizes = [len(part[step]) for part in parts]
        assert max(sizes) - min(sizes) <= 1


def test_batches_too_small_to_share_are_refused(monkeypatch):
    refuse_thin(3, 2)
    monkeypatch.setenv("WORLD_SIZE", "4")
    refuse_thin(64, 8)
    with pytest.raises(RecipeError, match=r"9 clips .* at most 8 leave 4 .* 4 processes want at least 2"):
        refuse_thin(9, 8)


def test_runs_side_by_side_are_refused_under_torchrun(sounds, tmp_path, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(RecipeError, match="--jobs 2 under torchrun"):
        learn(from_dict(recipe_for(sounds, "npid")), tmp_path / "table", folds=True, jobs=2)


def test_row_63_another_number_of_processes_is_refused_unless_allowed(sounds, cache, tmp_path, monkeypatch):
    def stop(kind, row):
        if kind == "step" and row["done"] == 1:
            signal.raise_signal(signal.SIGINT)

    recipe = from_dict(recipe_for(sounds, "npid"))
    with monkeypatch.context() as patch:
        patch.setattr(distributed, "describe", lambda: {"world_size": 2})
        with pytest.raises(train.Interrupted):
            train.fit(recipe, tmp_path / "run", cache=cache, tell=stop)
    with pytest.raises(RunError, match=r"environment\.world_size: 2 -> \(none\)"):
        train.fit(recipe, tmp_path / "run", cache=cache)
    train.fit(recipe, tmp_path / "run", cache=cache, allow=("environment.world_size",))


# under torchrun, as people start it

DYING = """
import json, os, signal, sys, time
from ossicle import distributed, recipe, train
path, folder, rank, step, name = sys.argv[1:]
def tell(kind, row):
    if kind == "step" and row["done"] == int(step) and distributed.rank() == int(rank):
        print(time.time(), flush=True)
        os.kill(os.getpid(), getattr(signal, name))
train.fit(recipe.from_dict(json.load(open(path))), folder, save_every=0.0, tell=tell)
"""


def torchrun(*arguments):
    begin = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [*begin, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, env=environment)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("rank", "name", "kind", "step"),
    [(0, "SIGKILL", 0, 3), (1, "SIGKILL", 0, 3), (1, "SIGTERM", 0, 3), (1, "SIGKILL", 2, 4)],
)
def test_a_killed_process_takes_all_down_within_30_s_and_the_run_resumes_exactly(
    recipes, tmp_path, rank, name, kind, step
):
    script, path = tmp_path / "dying.py", recipes[kind]
    script.write_text(DYING)
    torchrun(script, path, tmp_path / "whole", 0, 99, name)
    ended = torchrun(script, path, tmp_path / "run", rank, step, name)
    assert time.time() - float(ended.stdout.split()[0]) < 30
    assert ended.returncode != 0
    assert not (tmp_path / "run" / "result.json").exists()
    assert torchrun(script, path, tmp_path / "run", 0, 99, name).returncode == 0
    for place in (tmp_path / "whole").glob("m*/model.safetensors"):
        assert place.read_bytes() == (tmp_path / "run" / place.relative_to(tmp_path / "whole")).read_bytes()


@pytest.mark.slow
def test_every_process_follows_a_table_of_folds_and_the_first_one_prints_and_writes(recipes, tmp_path):
    tree = json.loads(Path(recipes[1]).read_text())
    data = tree["data"]["path"]
    (tmp_path / "recipe.toml").write_text(
        f"data = {{ name = 'csv', path = '{data}' }}\nobjective = 'supervised'\nbatch = 4\nmax_bad = 0.1\n"
        "frontend = { name = 'logmel', sample_rate = 8000, seconds = 0.4, n_fft = 256, hop = 128, mels = 16 }\n"
        "encoder = { name = 'small', width = 2, attention = 8 }\nstages = [{ epochs = 1 }]\n"
    )
    done = torchrun("-m", "ossicle", "run", tmp_path / "recipe.toml", "-o", tmp_path / "table", "--folds")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("wrote") == 1
    table = json.loads((tmp_path / "table" / "table.json").read_text())
    assert table["rows"][0]["folds"] == [1, 2, 3]
    assert table["rows"][0]["openings"] == 1


@pytest.mark.slow
def test_a_mistake_is_told_once(recipes, tmp_path):
    done = torchrun("-m", "ossicle", "run", tmp_path / "none.toml", "-o", tmp_path / "run")
    assert done.stderr.count("none.toml cannot be read") == 1
