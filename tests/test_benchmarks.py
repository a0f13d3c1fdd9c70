"""The benchmarks' parts on toy sizes: that they run, and that their sums are right. What they find is for no test."""

import shutil
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import torch

from ossicle import audio, evaluate
from ossicle.data.cache import Cache
from ossicle.data.manifest import Clip
from ossicle.durable import read_json
from ossicle.encoders import ENCODERS
from ossicle.recipe import Recipe, Spec, Split, Stage
from ossicle.ship import ship
from ossicle.train import fit

FALSE_ALARMS = (0, 3, 9), (0, 20, 200)  # at falling thresholds, in two places
BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
TOY = Spec("logmel", {"sample_rate": 8000, "seconds": 0.5, "n_fft": 256, "hop": 128, "mels": 16})


@pytest.fixture(scope="module")
def scripts() -> Iterator[dict[str, ModuleType]]:
    """The scripts as they import one another when they are run."""
    sys.path.insert(0, str(BENCHMARKS))
    yield {
        name: import_module(name)
        for name in (
            "record",
            "bench",
            "device",
            "speed",
            "scenes_step",
            "contrastive_step",
            "deployed",
            "minutes",
            "tune",
        )
    }
    sys.path.remove(str(BENCHMARKS))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a table with one fold: a tiny network that heard made-up sounds twice, and was evaluated."""
    place = tmp_path_factory.mktemp("benchmarks")
    data = Spec("synthetic", {"path": str(place / "sounds"), "per_class": 10})
    small, stages = Spec("small", {"width": 8, "attention": 8}), (Stage(2),)
    recipe = Recipe(data, TOY, small, Spec("supervised"), stages, split=Split(fold=1), precision="fp32")
    cache = Cache(place / "cache")
    fit(recipe, place / "table" / "fold1", cache=cache)
    evaluate.final(place / "table" / "fold1", cache=cache)
    return place / "table"


@pytest.fixture(scope="module")
def bundle(run: Path) -> Path:
    """Its export."""
    ship(run / "fold1", run.parent / "bundle")
    return run.parent / "bundle"


def test_arms_take_turns_and_a_ratio_compares_a_round_with_itself(scripts):
    record, calls = scripts["record"], []
    taken = record.interleaved({"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, 3, warm=1)
    assert "".join(calls) == "aabb" * 4
    assert [len(seconds) for seconds in taken.values()] == [3, 3]
    assert record.ratios([4.0, 9.0], [2.0, 3.0]) == [2.0, 3.0]
    found = record.row("what", "wanted", [3.0, 1.0, 2.0], "times")
    assert (found.found, found.low, found.high) == (2.0, 1.0, 3.0)


def test_results_are_kept_item_by_item(scripts, tmp_path):
    record = scripts["record"]
    context = {"command": "python benchmarks/x.py", "seconds": 1.0} | record.surroundings()
    record.keep("x", "one", [record.Row("a", "b", 1.0, "s")], context, tmp_path)
    record.keep("x", "two", [record.Row("c", "d", None, "s", note="it is not here")], context, tmp_path)
    record.keep("x", "one", [record.Row("a", "b", 1234.5, "s", 1.0, 2.0)], context, tmp_path)
    page = (tmp_path / "x.md").read_text()
    assert list(read_json(tmp_path / "x.json")) == ["one", "two"]
    assert "| one | a | b | 1234 s | 1 to 2 |" in page
    assert "| two | c | d | not measured |  |" in page
    assert page.count("python benchmarks/x.py") == 1


def test_both_training_steps_go_down_the_same_slope(scripts):
    """The plain step and ours begin alike: at first order in the rate, what they gain on the batch is the same."""
    bench = scripts["bench"].Bench(TOY, Spec("resnet", {"depth": 18, "width": 8}), 4)
    bench.precision = "fp32"
    losses = [[step() for _ in range(2)] for step in (bench.plain(), bench.ours())]
    assert losses[0] == pytest.approx(losses[1], rel=1e-3)
    assert losses[0][1] < losses[0][0]
    found = bench.row({"plain": [2.0, 4.0, 6.0], "ours": [1.0, 1.0, 1.0]}, "ours", "so")
    assert (found.what, found.found) == ("ResNet-18 training step on 4 images of 16 x 32", 4.0)
    assert found.note == "so: 4 clips a second against 1"


def test_the_plain_base_network_is_ours_in_one_dimension(scripts):
    plain, ours = scripts["scenes_step"].Plain().eval(), ENCODERS["small"](bins=64).eval()
    for mine, theirs in zip(plain.parameters(), ours.parameters(), strict=True):
        theirs.data = mine.data.reshape(theirs.shape)
    image = torch.randn(2, 1, 64, 101)
    torch.testing.assert_close(ours(image), plain(image), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("saved", "says"), [(-1.0, "saves nothing"), (0.1, "after 600 steps"), (1e-6, "no")])
def test_compiling_is_repaid_by_the_steps_it_takes(scripts, saved, says):
    assert says in scripts["speed"].repaid(60.0, saved)


@pytest.mark.slow
def test_logmel_is_compared_with_the_same_numbers(scripts):
    pytest.importorskip("librosa")
    threads = torch.get_num_threads()
    first, _ = scripts["speed"].logmel(clips=2, seconds=0.5, repeats=1)
    assert float(first.note.split()[-4]) < 1e-3  # dB
    assert torch.get_num_threads() == threads


def test_waiting_is_read_from_a_run(scripts, run):
    found = scripts["speed"].waited(run / "fold1", "toy")
    assert 0 <= found.found <= 100


def test_a_contrastive_step_learns_and_its_views_are_a_part_of_it(scripts):
    learner = scripts["contrastive_step"].Learner(1.0, batch=4, frontend=TOY, frames=16, width=8)
    before = learner.objective.project[0].weight.detach().clone()
    pace, share = scripts["contrastive_step"].timed(learner, 1)
    assert not torch.equal(learner.objective.project[0].weight, before)
    assert pace.found > 0 < share.found < 100


@pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")
def test_device_processes_answer_and_never_see_torch(scripts, bundle, tmp_path):
    device = scripts["device"]
    found = device.cold(bundle, 3)
    assert found["heavy"] == []
    assert found["first"] > 0
    assert 0 < found["VmRSS"] <= found["VmHWM"]
    device.write_long(tmp_path / "long.wav", 5 * device.RATE, every=2 * device.RATE)
    peak, _ = device.listened(bundle, tmp_path / "long.wav")
    assert 0 < device.waiting(bundle, pause=0.1) < 1.1 * peak


def test_a_long_recording_is_what_its_header_says(scripts, tmp_path):
    device = scripts["device"]
    device.write_long(tmp_path / "long.wav", 5 * device.RATE, every=2 * device.RATE)
    wave = audio.read(tmp_path / "long.wav")[0].reshape(5, -1)
    assert (wave.std(axis=1) > 0.05).tolist() == [True, False, True, False, False]


def test_costs_are_told_file_by_file(scripts):
    device, each = scripts["device"], {"first": 0.2, "VmRSS": 90e6, "VmHWM": 91e6, "answer": 0.004, "streamed": 0.005}
    found = {"runs/a model.onnx": {"bytes": 4000, "window": 1.0, "processes": [each, each | {"first": 0.4}]}}
    measured = {"command": "", "commit": "", "machine": "", "threads": 1, "versions": {}}
    page = device.costs_page(found, measured)
    assert "| runs/a model.onnx (window 1 s) | 4 | 0.3 (0.2 to 0.4) | 90 (90 to 90) | 4 (4 to 4) | 250 |" in page


def test_the_bundle_is_held_to_what_the_model_said(scripts, run, bundle, tmp_path, monkeypatch):
    deployed = scripts["deployed"]
    monkeypatch.setattr(deployed, "ship", lambda folder, out: shutil.copytree(bundle, out))
    whole = deployed.measure(deployed.runs(run), tmp_path / "deployed.json")
    found = whole["folds"]["fold1"]["files"]["model.onnx"]
    assert (found["clips"], found["same"], found["exported"]) == (20, 20, found["trained"])
    assert found["difference"] < 1e-3
    assert deployed.summary([found])["points"] == 0
    assert 0 < found["weights"] < found["bytes"] == (bundle / "model.onnx").stat().st_size
    assert "| all | 20 |" in (tmp_path / "deployed.md").read_text()
    (tmp_path / "deployed.json").write_text(
        (tmp_path / "deployed.json").read_text().replace('"same": 20', '"same": 19')
    )
    again = deployed.measure(deployed.runs(run), tmp_path / "deployed.json")
    assert again["folds"]["fold1"]["files"]["model.onnx"]["same"] == 19  # as it was


def test_both_files_answer_in_turns_and_their_bytes_are_compared(scripts):
    deployed = scripts["deployed"]
    counted = {"clips": 20, "trained": 19, "exported": 19, "same": 20, "difference": 1e-6}
    pace = {"model.onnx": 2.0, "model.int8.onnx": 1.0, "ratio": 0.5}
    worse = counted | {"exported": 18, "same": 19, "bytes": 1200, "weights": 750, "pace": pace, "left": []}
    files = {"model.onnx": counted | {"bytes": 4000, "weights": 3000}, "model.int8.onnx": worse}
    measured = {"command": "", "commit": "", "machine": "", "threads": 1, "versions": {}}
    page = deployed.page({"folds": {"fold1": {"files": files}}, "measured": measured})
    assert "| all | 20 | 95.00 | 90.00 | -5.00 | 95.00 | 1.0e-06 |" in page
    assert "| fold1 | 1 of 4 | 30.0 | 25.0 | 1.00 against 2.00 | 0.50 | none |" in page


def test_disagreement_is_counted(scripts):
    deployed = scripts["deployed"]
    said = [deployed.Answer("dog", "dog", np.array([0.9, 0.1])), deployed.Answer("cat", "dog", np.array([0.6, 0.4]))]
    found = deployed.tally(said, [np.array([0.8, 0.2]), np.array([0.4, 0.6])], ("dog", "cat"))
    assert found == {"clips": 2, "trained": 1, "exported": 2, "same": 1, "difference": pytest.approx(0.2)}
    whole = deployed.summary([found, found])
    assert (whole["points"], whole["same"]) == (50.0, 50.0)


def test_promises_are_held_against_what_was_taken(scripts, run, tmp_path):
    """The same run on both sides, which took 110 % of its promise one way and 120 % the other."""
    bench = scripts["minutes"]
    cells = [bench.Cell(tmp_path, "", way, 0.5, 1) for way in bench.WAYS]
    for cell, seconds in zip(cells, (33.0, 36.0), strict=True):
        shutil.copytree(run / "fold1", cell.folder)
        cell.told.write_text(f'{{"seconds": {seconds}}}')
    rows = {row.what: row for row in bench.rows(0.5, cells)}
    taken = [rows[f"minutes taken, {way}"] for way in bench.WAYS]
    assert [(row.found, row.wanted) for row in taken] == [(0.55, "0.425 to 0.575"), (0.6, "0.425 to 0.575")]
    assert [row.note.split()[0] for row in taken] == ["1", "0"]
    assert rows["accuracy, full"].note.endswith("one run each; fold 1: 2 epochs at full size, rate 0.001")
    assert (rows["growing over full"].found, rows["growing over full"].low) == (0.0, 0.0)


def test_thresholds_are_tested_on_other_recordings(scripts, tmp_path, monkeypatch):
    tune, chance = scripts["tune"], np.random.default_rng(0)
    monkeypatch.setattr(tune, "MINUTES", 1)
    paths = [tmp_path / f"{n}.wav" for n in range(8)]
    for path in paths:
        audio.write(path, chance.uniform(-0.1, 0.1, (1, 8000)).astype(np.float32), sample_rate=8000)
    clips = [Clip(path, path.name, ("rain",), 1, f"{n % 4}") for n, path in enumerate(paths)]
    halves = tune.halves(clips, chance)
    assert not {clip.group for clip in halves[0]} & {clip.group for clip in halves[1]}
    assert [len(half) for half in halves] == [4, 4]
    with pytest.raises(SystemExit, match="two halves take two"):
        tune.halves(clips[:1], chance)
    place = tune.make(tmp_path / "a", halves[0], 1 / 30, 8000, chance)
    assert [audio.read(path).shape for path in sorted(place.iterdir())] == [(1, 60 * 8000)] * 2


def test_a_promise_that_other_recordings_break_is_told(scripts, tmp_path, monkeypatch):
    tune = scripts["tune"]
    points = [[tune.Point(on, n, n / 2, 0.0) for on, n in zip((2.0, 0.9, 0.8), ns, strict=True)] for ns in FALSE_ALARMS]
    tunings = [SimpleNamespace(hours=2.0, choices=[tune.Choice("dog", tuple(each), each[1])]) for each in points]
    monkeypatch.setattr(tune, "tune", lambda bundle, place, **how: tunings[place])
    found = tune.compare("bundle", (0, 1), 5.0, ["dog"])
    assert found["dog"]["threshold"] == 0.9
    assert (found["dog"]["tuned"], found["dog"]["tested"]) == (1.5, 10.0)
    assert (found["dog"]["least"], found["dog"]["most"]) == pytest.approx((13.25 / 2, 29.06 / 2), abs=0.01)
    assert not found["dog"]["kept"]
    monkeypatch.setattr(tune, "measure", lambda run, promise, hours: {"classes": found})
    tune.measure_all([Path("fold1")], tmp_path / "tune.json", 5.0, 2.0)
    page = (tmp_path / "tune.md").read_text()
    assert "| fold1 | dog | 0.9 | 1.50 | 10.00 | 6.63 to 14.53 | NO |" in page
    assert "Kept: 0 of 1" in page
