"""Training on a few made-up clips: resume, interruption, bad values, stages, and what a run leaves behind."""

import hashlib
import json
import multiprocessing
import os
import random
import signal
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from ossicle import assemble, model, train
from ossicle.data.cache import Cache
from ossicle.data.loader import DataError
from ossicle.recipe import RecipeError, from_dict
from ossicle.run import RunError
from ossicle.stops import TrainingError
from ossicle.views.wave import Crop

RATE = 8000


@pytest.fixture(scope="module")
def sounds(tmp_path_factory):
    """Two classes of six recordings each, half a second long, in three folds, in ESC's layout."""
    root = tmp_path_factory.mktemp("sounds")
    noise = np.random.default_rng(0)
    rows = ["filename,fold,label,group"]
    for number in range(12):
        label, fold = ("low", "high")[number % 2], number // 2 % 3 + 1
        time_axis = np.arange(RATE // 2) / RATE
        tone = np.sin(2 * np.pi * (300 if label == "low" else 2000) * (1 + 0.02 * number) * time_axis)
        soundfile.write(root / f"{number}.wav", 0.3 * tone + 0.05 * noise.standard_normal(len(tone)), RATE)
        rows.append(f"{number}.wav,{fold},{label},{number}")
    (root / "clips.csv").write_text("\n".join(rows) + "\n")
    return root


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return Cache(tmp_path_factory.mktemp("cache"))


def recipe_for(sounds, objective="npid", **changes):
    tree = {
        "data": {"name": "csv", "path": str(sounds / "clips.csv")},
        "split": {"fold": 1},
        "frontend": {"name": "logmel", "sample_rate": RATE, "seconds": 0.4, "n_fft": 256, "hop": 128, "mels": 16},
        "encoder": {"name": "resnet", "depth": 18, "width": 4},
        "objective": objective,
        "views": [{"name": "gain", "low_db": -3.0, "high_db": 3.0}, {"name": "noise", "sigma": 0.1}],
        "stages": [{"epochs": 3, "lr": 1e-2}],
        "batch": 3,
        "precision": "fp32",
    }
    return from_dict(tree | changes)


def weights(folder):
    return hashlib.sha256((Path(folder) / "model" / "model.safetensors").read_bytes()).hexdigest()


def lasting(folder):
    """The log without its clocks."""
    rows = [json.loads(line) for line in (Path(folder) / "log.jsonl").read_text().splitlines()]
    return [{name: value for name, value in row.items() if name not in ("seconds", "waited")} for row in rows]


def test_views_choose_from_a_longer_stretch_than_the_model_hears(sounds, cache, tmp_path, monkeypatch):
    """Half-second clips: a crop of 0.2 s lies anywhere in them, though the window that is kept is 0.2 s."""
    came = []
    crop = Crop.__call__
    monkeypatch.setattr(
        Crop, "__call__", lambda self, wave, draw: (came.append(wave.shape[-1]), crop(self, wave, draw))[1]
    )
    short = {"frontend": {"name": "logmel", "sample_rate": RATE, "seconds": 0.2, "n_fft": 256, "hop": 128, "mels": 16}}
    views = [{"name": "crop", "seconds": 0.2}]
    told = []
    recipe = recipe_for(sounds, "contrastive", **short, views=views, stretch=0.5, stages=[{"epochs": 1, "lr": 1e-2}])
    train.fit(recipe, tmp_path / "run", cache=cache, tell=lambda kind, row: told.append((kind, row)))
    shapes = next(row for kind, row in told if kind == "shape")
    assert set(came) == {RATE // 2}
    assert model.load(tmp_path / "run").window == RATE // 5
    assert shapes["image"] == shapes["view"]
    assert recipe_for(sounds, stretch=0.1).stretch == 0.1
    with pytest.raises(RecipeError, match="length in seconds"):
        recipe_for(sounds, stretch=-1.0)
    with pytest.raises(RecipeError, match="32 frames after all views, and the model hears 13: add a view that cuts"):
        assemble.rehearse(recipe_for(sounds, "contrastive", **short, views=[], stretch=0.5))


def test_a_classifier_learns_what_is_plain_to_hear(sounds, cache, tmp_path):
    recipe = recipe_for(sounds, "supervised", split={"fold": 1, "valid": "next"}, stages=[{"epochs": 15, "lr": 1e-2}])
    told = []
    result = train.fit(recipe, tmp_path / "run", cache=cache, tell=lambda kind, row: told.append((kind, row)))
    assert result["valid"]["valid_accuracy"] == 1.0
    assert result["pretraining"] == "none"
    assert result["clips"] == 15 * 4
    assert [kind for kind, _ in told].count("epoch") == 15
    shape = next(row for kind, row in told if kind == "shape")
    assert (shape["wave"], shape["image"], shape["feature"]) == ((2, 1, 3200), (2, 1, 1, 16, 26), (2, 32))
    loaded = model.load(tmp_path / "run")
    assert loaded.labels == ("high", "low")
    assert not (tmp_path / "run" / "checkpoints").exists()


@pytest.mark.parametrize(("lr", "collapses"), [(1e-2, False), (1.0, True)])
def test_a_run_at_an_absurd_rate_collapses_and_says_so(sounds, cache, tmp_path, lr, collapses):
    """Encoders that normalize their last layer hardly can; a VGG-like one ends in a layer without."""
    changes = {"encoder": {"name": "vgg", "width": 4}, "split": {"fold": None}, "batch": 12}
    recipe = recipe_for(sounds, "npid", **changes, stages=[{"epochs": 12, "lr": lr}])
    told = []
    train.fit(recipe, tmp_path / "run", cache=cache, tell=lambda kind, row: told.append((kind, row)))
    notes = [row["note"] for kind, row in told if kind == "note"]
    assert sum("the features collapse: " in note for note in notes) == collapses
    rows = lasting(tmp_path / "run")
    assert (rows[-1]["feature_sd"] < rows[0]["feature_sd"] / 3) == collapses
    assert all(1 <= row["effective_rank"] <= 12 for row in rows)


@pytest.mark.parametrize("objective", ["npid", {"name": "npid", "negatives": 4}, {"name": "supervised", "mixup": 0.3}])
def test_resuming_equals_never_having_stopped(sounds, cache, tmp_path, objective):
    """Two stages with different front ends, stopped after every single step."""
    stages = [
        {"epochs": 1, "lr": 1e-2},
        {"epochs": 2, "lr": 3e-3, "body": 0.5, "frontend": {**frontend_of(sounds), "mels": 12}},
    ]
    recipe = recipe_for(sounds, objective, stages=stages)
    train.fit(recipe, tmp_path / "whole", cache=cache)
    for _ in range(20):
        try:
            train.fit(recipe, tmp_path / "parts", cache=cache, tell=interrupt_at_a_step)
            break
        except train.Interrupted:
            assert not (tmp_path / "parts" / "result.json").exists()
    assert weights(tmp_path / "parts") == weights(tmp_path / "whole")
    assert lasting(tmp_path / "parts") == lasting(tmp_path / "whole")


def frontend_of(sounds):
    spec = recipe_for(sounds).frontend
    return {"name": spec.name, **spec.args}


def interrupt_at_a_step(kind, row):
    if kind == "step" and row["done"] < row["total"]:
        signal.raise_signal(signal.SIGINT)


def work(recipe, folder, cache):
    torch.set_num_threads(1)
    train.fit(recipe, folder, cache=cache, save_every=0.0)


def test_resume_after_20_sigkills_at_random_moments(sounds, cache, tmp_path):
    recipe = recipe_for(sounds, stages=[{"epochs": 8, "lr": 1e-2}])
    processes = multiprocessing.get_context("fork")
    torch.set_num_threads(1)
    train.fit(recipe, tmp_path / "whole", cache=cache)
    began = time.monotonic()
    train.fit(recipe, tmp_path / "timed", cache=cache, save_every=0.0)
    whole, chance, killed, finished = time.monotonic() - began, random.Random(0), 0, 0
    while killed < 20:
        process = processes.Process(target=work, args=(recipe, tmp_path / f"killed{finished}", cache))
        process.start()
        process.join(chance.uniform(0.1, 0.6) * whole)
        if process.exitcode is None:
            os.kill(process.pid, signal.SIGKILL)
            killed += 1
        process.join()
        finished += process.exitcode == 0
    train.fit(recipe, tmp_path / f"killed{finished}", cache=cache)
    for number in range(finished + 1):
        assert weights(tmp_path / f"killed{number}") == weights(tmp_path / "whole")
        assert lasting(tmp_path / f"killed{number}") == lasting(tmp_path / "whole")


def test_a_loss_that_is_not_finite_stops_the_run_before_the_update(sounds, cache, tmp_path, monkeypatch):
    recipe = recipe_for(sounds)
    sessions = []
    original = train.Session.step

    def poison(session, stage, batch, draws, steps):
        if session.at.steps == 2:
            sessions.append(session)
            session.before = {name: value.clone() for name, value in session.objective.state_dict().items()}
            batch.wave[0, 0, 5] = float("nan")
        original(session, stage, batch, draws, steps)

    monkeypatch.setattr(train.Session, "step", poison)
    with pytest.raises(TrainingError, match=r"step 2: the loss is nan.*model\.frontend.*Nothing was updated.*\.wav"):
        train.fit(recipe, tmp_path / "run", cache=cache)
    trained = [n for n in sessions[0].before if "running_" not in n and "num_batches" not in n]
    after = sessions[0].objective.state_dict()
    assert all(torch.equal(after[name], sessions[0].before[name]) for name in trained)


def test_a_bad_file_moves_no_other_clip(sounds, cache, tmp_path):
    """Clip 5 is silenced by a bad file: all other clips keep their batches and views, so only its own loss is
    missing.
    """
    import shutil

    from ossicle import assemble, material

    broken = tmp_path / "broken"
    shutil.copytree(sounds, broken)
    (broken / "5.wav").write_bytes(b"<!DOCTYPE html>")
    seen = {}
    for name, root in (("whole", sounds), ("broken", broken)):
        recipe = recipe_for(root, split={}, max_bad=0.2)
        found = material.gather(recipe, cache, sample_rate=RATE)
        session = _session(recipe, found, assemble)
        loader = session.loader(session.backbone.window)
        seen[name] = [batch for epoch in range(2) for batch in loader.epoch(epoch)]
    for whole, part in zip(seen["whole"], seen["broken"], strict=True):
        assert torch.equal(whole.index, part.index)
        rest = part.valid
        assert torch.equal(whole.wave[rest], part.wave[rest])
        assert [found.manifest.clips[i].name for i in part.index[~part.valid].tolist()] in ([], ["5.wav"])
        assert len(part.usable()) == int(part.valid.sum())
    with pytest.raises(DataError, match=r"1 of 12 files cannot be used.*max_bad = 1.0%.*5\.wav"):
        train.fit(recipe_for(broken, split={}), tmp_path / "refused", cache=cache)


def _session(recipe, found, assemble):
    session = object.__new__(train.Session)
    session.recipe, session.source = recipe, found.source(found.parts.train)
    session.objective = assemble.objective(recipe, found.parts.train)
    session.backbone = session.objective.model
    return session


def test_pretraining_is_stamped_by_what_it_heard(sounds, cache, tmp_path):
    for fold, transductive in ((1, False), (2, False), (1, True)):
        split = {"fold": fold, "transductive": transductive}
        one = [{"epochs": 1}]
        train.fit(recipe_for(sounds, split=split, stages=one), tmp_path / f"pre{fold}{transductive}", cache=cache)
    stamps = {}
    for name in ("pre1False", "pre2False", "pre1True"):
        start = str(tmp_path / name)
        recipe = recipe_for(sounds, "supervised", start=start, stages=[{"epochs": 1}])
        stamps[name] = train.fit(recipe, tmp_path / f"rec-{name}", cache=cache)["pretraining"]
    assert stamps == {"pre1False": "inductive", "pre2False": "transductive", "pre1True": "transductive"}


def test_start_takes_over_encoder_normalization_and_memory(sounds, cache, tmp_path):
    from ossicle import assemble, checkpoint, material

    recipe = recipe_for(sounds, stages=[{"epochs": 1}])
    train.fit(recipe, tmp_path / "pre", cache=cache)
    earlier, memory = model.load(tmp_path / "pre"), checkpoint.load(tmp_path / "pre" / "memory")[0]
    again = recipe_for(sounds, split={"fold": 2}, start=str(tmp_path / "pre"))
    part = material.gather(again, cache, sample_rate=RATE).parts.train
    made = assemble.objective(again, part)
    for name, value in earlier.encoder.state_dict().items():
        assert torch.equal(made.model.encoder.state_dict()[name], value)
    assert (float(made.model.mean), float(made.model.sd)) == (float(earlier.mean), float(earlier.sd))
    known = {key: row for row, key in enumerate(memory["keys"].tolist())}
    shared = [(row, known[key]) for row, key in enumerate(made.keys.tolist()) if key in known]
    assert len(shared) == 4
    for mine, theirs in shared:
        assert torch.equal(made.bank[mine], memory["bank"][theirs])
    other = recipe_for(sounds, start=str(tmp_path / "pre"), encoder={"name": "resnet", "depth": 18, "width": 8})
    with pytest.raises(RecipeError, match=r"resnet with width = 4, .* resnet with width = 8: use one and the same"):
        assemble.objective(other, part)


def test_frozen_means_the_running_statistics_too(sounds, cache, tmp_path):
    train.fit(recipe_for(sounds, stages=[{"epochs": 1}]), tmp_path / "pre", cache=cache)
    recipe = recipe_for(
        sounds, "supervised", start=str(tmp_path / "pre"), stages=[{"epochs": 2, "lr": 0.1, "frozen": True}]
    )
    train.fit(recipe, tmp_path / "probe", cache=cache)
    before, after = model.load(tmp_path / "pre"), model.load(tmp_path / "probe")
    for name, value in before.encoder.state_dict().items():
        assert torch.equal(after.backbone.encoder.state_dict()[name], value), name


def test_a_finished_run_is_not_run_again_and_another_recipe_is_refused(sounds, cache, tmp_path):
    recipe = recipe_for(sounds, stages=[{"epochs": 1}])
    result = train.fit(recipe, tmp_path / "run", cache=cache)
    stamp = (tmp_path / "run" / "log.jsonl").stat().st_mtime_ns
    assert train.fit(recipe, tmp_path / "run", cache=cache) == result
    assert (tmp_path / "run" / "log.jsonl").stat().st_mtime_ns == stamp
    with pytest.raises(RunError, match=r"recipe\.batch: 3 -> 4"):
        train.fit(recipe_for(sounds, stages=[{"epochs": 1}], batch=4), tmp_path / "run", cache=cache)


def test_data_that_changed_is_refused_on_resume(sounds, cache, tmp_path):
    """Row 63: the sound itself counts, not only the list of files."""
    import shutil

    moved = tmp_path / "sounds"
    shutil.copytree(sounds, moved)
    recipe = recipe_for(moved)
    with pytest.raises(train.Interrupted):
        train.fit(recipe, tmp_path / "run", cache=cache, tell=interrupt_at_a_step)
    wave, rate = soundfile.read(moved / "3.wav")
    soundfile.write(moved / "3.wav", wave * 0.5, rate)
    with pytest.raises(RunError, match=r"data\.content"):
        train.fit(recipe, tmp_path / "run", cache=cache)


def test_the_order_of_an_epoch_is_a_permutation_in_even_batches(sounds, cache):
    from ossicle.data.loader import Loader, Source
    from ossicle.datasets import load

    manifest = load(str(sounds / "clips.csv"))
    for batch in (2, 5, 7, 12, 50):
        loader = Loader(Source(manifest, cache, RATE), 100, batch, seed=1)
        rows = loader.order(0)
        assert sorted(np.concatenate(rows).tolist()) == list(range(12))
        assert max(map(len, rows)) <= batch
        assert max(map(len, rows)) - min(map(len, rows)) <= 1
        assert not np.array_equal(np.concatenate(rows), np.concatenate(loader.order(1)))


def test_a_curve_reads_the_test_fold_and_is_counted(sounds, cache, tmp_path):
    from ossicle import evaluate

    recipe = recipe_for(sounds, "supervised", curve=True, stages=[{"epochs": 3, "lr": 1e-2}])
    assert train.fit(recipe, tmp_path / "run", cache=cache)["openings"] == 3
    final = evaluate.final(tmp_path / "run", cache=cache)
    assert lasting(tmp_path / "run")[-1]["test_accuracy"] == final["accuracy"]
    assert final["openings"] == 4


def test_no_clip_of_a_curves_test_fold_is_a_neighbor(sounds, cache, tmp_path, monkeypatch):
    banks = []
    monkeypatch.setattr(train.evaluate, "curve", lambda model, bank, test, **how: banks.append((bank, test)) or {})
    split, stages = {"fold": 1, "transductive": True}, [{"epochs": 1, "lr": 1e-2}]
    train.fit(recipe_for(sounds, "npid", curve=True, split=split, stages=stages), tmp_path / "run", cache=cache)
    ((bank, test),) = banks
    assert {clip.fold for clip in test.manifest.clips} == {1}
    assert {clip.fold for clip in bank.manifest.clips} == {2, 3}


def test_few_recordings_are_dealt_into_fewer_folds_and_a_single_one_is_refused(sounds, cache, tmp_path):
    rows = (sounds / "clips.csv").read_text().replace(",fold", "").splitlines()
    bare = [",".join(part for n, part in enumerate(row.split(",")) if n != 1) for row in rows[1:]]
    for count in (3, 1):
        (tmp_path / "few.csv").write_text("\n".join([rows[0], *(f"{sounds}/{row}" for row in bare[:count])]) + "\n")
        recipe = recipe_for(
            sounds,
            data={"name": "csv", "path": str(tmp_path / "few.csv")},
            split={"valid": "next"},
            stages=[{"epochs": 1}],
            batch=2,
        )
        if count == 3:
            train.fit(recipe, tmp_path / "run", cache=cache)
            data = json.loads((tmp_path / "run" / "data.json").read_text())
            assert data["clips"] == {"train": 2, "valid": 1, "test": 0}
        else:
            with pytest.raises(DataError, match=r"has 1 recording, .*--valid none"):
                train.fit(recipe, tmp_path / "refused", cache=cache)
