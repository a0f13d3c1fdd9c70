"""A small model that hears bands of frequency, taught new tones: what it learns, what is refused, what is undone."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import soundfile
from onnx import TensorProto, helper, numpy_helper
from sklearn.linear_model import LogisticRegression

from ossicle.cli import main
from ossicle.deploy.bundle import load, session
from ossicle.deploy.config import CARD, GOLDEN, INT8, MEMORY, MODEL, Config, file_entry, opened
from ossicle.deploy.head import Head
from ossicle.deploy.memory import Memory, packed, unpacked
from ossicle.deploy.verify import verify
from ossicle.field import gate
from ossicle.field.adapt import AdaptError, adapt, undo
from ossicle.field.lessons import LessonError, is_steady
from ossicle.field.refit import _minimum, refit
from ossicle.slots import SlotError

RATE, WINDOW = 8000, 4000
PITCH = {"deep": 120, "low": 300, "mid": 700, "high": 1500, "top": 2600}
KNOWN = ("low", "mid", "high")
HEAVY = ("torch", "sklearn", "matplotlib", "onnx", "onnxscript", "safetensors")


def sound(label, seed, seconds=0.5):
    """A tone that comes and goes a few times a second, with a little noise; (T,)."""
    draw = np.random.default_rng([seed, *map(ord, label)])
    time = np.arange(int(seconds * RATE)) / RATE
    pitch = PITCH[label] * draw.uniform(0.9, 1.1)
    swell = 0.5 - 0.5 * np.cos(2 * np.pi * draw.uniform(4, 9) * time + draw.uniform(0, 6))
    tone = draw.uniform(0.1, 0.5) * swell * np.sin(2 * np.pi * pitch * time + draw.uniform(0, 6))
    return (tone + 0.01 * draw.normal(size=len(time))).astype(np.float32)


def model(head, last):
    """wave -> feature: log power in eight bands; -> score, by a head."""
    time = np.arange(128) - 63.5
    pitches = np.geomspace(250, 3200, 8)
    waves = [f(2 * np.pi * pitch * time / RATE) * np.hanning(128) for f in (np.cos, np.sin) for pitch in pitches]
    numbers = {"bands": np.stack(waves)[:, None], "least": np.array(1e-4), "temperature": np.array(1.0)}
    numbers |= {"weight": head.weight, "bias": head.bias}
    held = [numpy_helper.from_array(np.asarray(value, np.float32), name) for name, value in numbers.items()]
    held.append(numpy_helper.from_array(np.array([2]), "time"))
    node, tensor = helper.make_node, helper.make_tensor_value_info
    nodes = [
        node("Conv", ["wave", "bands"], ["parts"], strides=[64]),
        node("Mul", ["parts", "parts"], ["power"]),
        node("ReduceMean", ["power", "time"], ["mean"], keepdims=0),
        node("Add", ["mean", "least"], ["raised"]),
        node("Log", ["raised"], ["feature"]),
        node("Gemm", ["feature", "weight", "bias"], ["linear"], transB=1),
        node("Div", ["linear", "temperature"], ["logits"]),
        node(last, ["logits"], ["score"]),
    ]
    ends = [tensor("score", TensorProto.FLOAT, ["B", len(head.bias)]), tensor("feature", TensorProto.FLOAT, ["B", 16])]
    graph = helper.make_graph(nodes, "bands", [tensor("wave", TensorProto.FLOAT, ["B", 1, "T"])], ends, held)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10).SerializeToString()


def remembered(seeds, *, guard):
    clips = [(label, seed) for label in KNOWN for seed in seeds]
    waves = np.stack([sound(*clip) for clip in clips])[:, None]
    empty = model(Head(np.zeros((3, 16)), np.zeros(3)), "Softmax")
    feature = session(empty, "model.onnx").run(["feature"], {"wave": waves})[0]
    target = np.array([[label == each for each in KNOWN] for label, _ in clips])
    return Memory(feature, np.arange(len(clips)), target, np.full(len(clips), guard))


def write_bundle(folder, *, multilabel=False, **changes):
    """A bundle that knows three of the tones."""
    learned, guard = remembered(range(20), guard=False), remembered(range(100, 120), guard=True)
    head = refit(Head(np.zeros((3, 16), np.float32), np.zeros(3, np.float32)), learned, learned, multilabel=multilabel)
    folder.mkdir()
    content = model(head, "Sigmoid" if multilabel else "Softmax")
    files = {MODEL: content, INT8: content, MEMORY: packed(learned.joined(guard))}
    wave = np.stack([sound(label, 7) for label in KNOWN])[:, None]
    score, feature = session(content, "model.onnx").run(["score", "feature"], {"wave": wave})
    (folder / GOLDEN).parent.mkdir(exist_ok=True)
    answers = {"score": score, "feature": feature, "int8_score": score, "int8_feature": feature}
    np.savez(folder / GOLDEN, name=list(KNOWN), wave=wave, **answers)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    entries = {name: file_entry((folder / name).read_bytes()) for name in (*files, GOLDEN)}
    told = {"measure": "accuracy", "clips": 60, "part": "validation", "score": 1.0, "float_score": 1.0, "left": {}}
    config = Config(RATE, 1, WINDOW, WINDOW, "repeat", KNOWN, multilabel, files=entries, int8=told)
    replace(config, **changes).write(folder)
    return folder


def clips(folder, waves, label):
    """A folder a class, as a user has it."""
    (folder / label).mkdir(parents=True)
    for number, wave in enumerate(waves):
        soundfile.write(folder / label / f"{number}.wav", wave, RATE)
    return folder


@pytest.fixture
def bundle(tmp_path):
    return write_bundle(tmp_path / "bundle")


def honest(tmp_path, label="top", count=5):
    return clips(tmp_path / "new", [sound(label, 200 + seed) for seed in range(count)], label)


def right(recognizer, label):
    return np.mean([recognizer.labels[recognizer(sound(label, 300 + n)).argmax()] == label for n in range(10)])


def contents(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_new_class_is_taught_and_the_known_ones_stay(bundle, tmp_path):
    before = contents(bundle)
    found = adapt(bundle, honest(tmp_path), threads=1)
    assert found.ok, str(found)
    assert (found.slot, found.new, dict(found.clips)) == (bundle / "a", ("top",), {"top": 5})
    assert before.items() <= contents(bundle).items(), "what was exported is left alone"
    for int8 in (False, True):
        recognizer = load(bundle, int8=int8)
        assert recognizer.labels == (*KNOWN, "top")
        assert min(right(recognizer, label) for label in recognizer.labels) >= 0.8
    assert verify(bundle).ok
    config, files = opened(bundle)
    assert unpacked(files[MEMORY], 4).target.sum(0).tolist() == [40, 40, 40, 5]
    assert "5 of 'top'" in (bundle / "a" / CARD).read_text()
    (told,) = config.provenance["adapted"]
    assert (told["clips"], told["new"]) == ({"top": 5}, ["top"])
    assert told["gate"]["accuracy lost on the guard"]["number"] <= 0.03


def test_a_second_update_knows_the_first_and_is_undone_to_it(bundle, tmp_path):
    adapt(bundle, honest(tmp_path), threads=1)
    found = adapt(bundle, clips(tmp_path / "more", [sound("deep", n) for n in range(5)], "deep"), threads=1)
    assert found.slot == bundle / "b", str(found)
    assert np.mean([right(load(bundle), label) for label in PITCH]) >= 0.8
    assert undo(bundle) == bundle / "a"
    assert load(bundle).labels == (*KNOWN, "top")
    assert undo(bundle) == bundle / "b"


def test_the_same_clips_teach_the_same_bit_for_bit(bundle, tmp_path):
    place, other = honest(tmp_path), write_bundle(tmp_path / "other")
    one, two = (load_files(adapt(each, place, threads=1).slot) for each in (bundle, other))
    assert one[MODEL] == two[MODEL]


def load_files(folder):
    return opened(folder)[1]


def test_new_clips_of_a_known_class_are_accepted(bundle, tmp_path):
    found = adapt(bundle, honest(tmp_path, "mid"), threads=1, dry_run=True)
    assert found.ok, str(found)
    assert (found.slot, found.new) == (None, ())
    assert not (bundle / "slot").exists(), "it was only tried"


def noise(color):
    waves = []
    for seed, level in enumerate((-10, -20, -30, -40, -60)):
        spectrum = np.fft.rfft(np.random.default_rng(seed).normal(size=2 * RATE))
        wave = np.fft.irfft(spectrum / np.maximum(np.arange(len(spectrum)), 1) ** color)
        waves.append(10 ** (level / 20) * wave / wave.std())
    return waves


POISON = {
    "all classes": ([sound(label, 400) for label in ("low", "mid", "high")], "do not sound like"),
    "white noise": (noise(0), "5 of 5 new clips are steady noise alone"),
    "brown noise": (noise(1), "5 of 5 new clips are steady noise alone"),
    "silence": ([np.zeros(WINDOW)] * 5, "5 of 5 new clips are no sound"),
}


@pytest.mark.parametrize("label", ["mid", "strange"])
@pytest.mark.parametrize("kind", POISON)
def test_a_poisoned_update_is_refused_and_changes_nothing(bundle, tmp_path, kind, label):
    waves, why = POISON[kind]
    before = contents(bundle)
    found = adapt(bundle, clips(tmp_path / "new", waves, label), threads=1)
    assert not found.ok
    assert found.slot is None
    assert why in found.verdict.why
    assert contents(bundle) == before


def test_one_clip_of_a_new_class_is_too_few(bundle, tmp_path):
    assert "has 1 clip" in adapt(bundle, honest(tmp_path, count=1), threads=1).verdict.why


def test_of_several_labels_each_is_told_by_itself(tmp_path):
    bundle = write_bundle(tmp_path / "bundle", multilabel=True)
    found = adapt(bundle, honest(tmp_path), threads=1)
    assert found.ok, str(found)
    scores = np.stack([load(bundle)(sound(label, 300)) for label in (*KNOWN, "top")])
    assert ((scores >= 0.5) == np.eye(4)).mean() > 0.8
    assert not adapt(bundle, clips(tmp_path / "mixed", POISON["all classes"][0], "mid"), threads=1).ok


def test_thresholds_of_each_class_get_those_of_new_ones_and_a_promise_ends(tmp_path):
    thresholds = {"on": [0.9, 0.8, 0.7], "off": 0.35, "min_seconds": 0.0, "gap_seconds": 0.0}
    provenance = {"false_alarms": {"max_per_hour": 1}}
    bundle = write_bundle(tmp_path / "bundle", thresholds=thresholds, provenance=provenance)
    assert "tune again" in str(adapt(bundle, honest(tmp_path), threads=1))
    config = load(bundle).config
    assert (config.thresholds["on"], config.thresholds["off"]) == ([0.9, 0.8, 0.7, 0.5], 0.35)
    assert "false_alarms" not in config.provenance


@pytest.mark.parametrize(
    ("on", "off", "wanted"),
    [([0.9, 0.8, 0.7], 0.6, ([0.9, 0.8, 0.7, 0.6], 0.6)), (0.2, [0.2, 0.1, 0.1], (0.2, [0.2, 0.1, 0.1, 0.2]))],
)
def test_thresholds_of_a_new_class_fit_the_one_number_that_stands_for_all(tmp_path, on, off, wanted):
    thresholds = {"on": on, "off": off, "min_seconds": 0.0, "gap_seconds": 0.0}
    bundle = write_bundle(tmp_path / "bundle", thresholds=thresholds)
    assert adapt(bundle, honest(tmp_path), threads=1).slot
    found = load(bundle).config.thresholds
    assert (found["on"], found["off"]) == wanted


def test_what_cannot_be_taught_is_a_sentence(bundle, tmp_path):
    bare = tmp_path / "bare"
    bare.mkdir()
    soundfile.write(bare / "a.wav", sound("top", 1), RATE)
    with pytest.raises(LessonError, match="no clip with a label"):
        adapt(bundle, bare)
    (bare / "b.wav").write_bytes(b"no sound")
    (tmp_path / "labels.csv").write_text("filename,label\nb.wav,top\n")
    with pytest.raises(LessonError, match=r"none of 1 clips can be heard.*b\.wav"):
        adapt(bundle, bare, labels=tmp_path / "labels.csv")
    config = Config.read(bundle)
    files = {name: entry for name, entry in config.files.items() if name != MEMORY}
    replace(config, files=files).write(bundle)
    with pytest.raises(AdaptError, match=r"no memory\.npz.*export its run again"):
        adapt(bundle, honest(tmp_path))
    with pytest.raises(SlotError, match="no update to undo"):
        undo(bundle)


def test_a_head_that_is_not_the_golden_ones_is_not_refitted(bundle, tmp_path):
    golden = dict(np.load(bundle / GOLDEN))
    np.savez(bundle / GOLDEN, **golden | {"score": golden["score"][::-1]})
    config = Config.read(bundle)
    entries = config.files | {GOLDEN: file_entry((bundle / GOLDEN).read_bytes())}
    replace(config, files=entries).write(bundle)
    with pytest.raises(AdaptError, match="does not give the golden scores"):
        adapt(bundle, honest(tmp_path))


def test_the_command_line_without_torch(bundle, tmp_path, capsys):
    new = honest(tmp_path)
    code = f"import sys; sys.modules.update(dict.fromkeys({HEAVY!r})); from ossicle.cli import main; sys.exit(main())"
    done = subprocess.run(
        [sys.executable, "-c", code, "adapt", str(bundle), "--new", str(new)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "taught   5 clips of new 'top'" in done.stdout
    assert f"wrote {bundle / 'a'}" in done.stdout
    assert json.loads((bundle / "slot").read_text()) == {"live": "a", "previous": ""}
    assert main(["adapt", str(bundle), "--undo"]) == 0
    assert "answers as it was exported again" in capsys.readouterr().out
    poison = clips(tmp_path / "poison", POISON["silence"][0], "mid")
    assert main(["adapt", str(bundle), "--new", str(poison)]) == 2
    assert "refused, and nothing is changed: 5 of 5 new clips are no sound" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ([], "give --new DIR"),
        (["--new", "x", "--epochs", "3"], "a bundle takes no --epochs"),
        (["--undo", "--new", "x"], "--undo takes no --new"),
        (["--undo", "--dry-run"], "--undo takes no --dry-run"),
        (["--new", "x", "--margin", "3"], "a margin of 3.0: wanted a share"),
        (["--new", "x", "--margin", "nan"], "a margin of nan"),
    ],
)
def test_options_that_do_not_go_together_are_a_sentence(bundle, capsys, options, sentence):
    assert main(["adapt", str(bundle), *options]) == 2
    assert sentence in capsys.readouterr().err


def test_the_fit_is_that_of_logistic_regression():
    """scikit-learn minimizes C times the weighted loss plus half the square of the weights, by another method."""
    draw = np.random.default_rng(0)
    feature = draw.normal(size=(60, 4)).astype(np.float32)
    number = (feature @ draw.normal(size=(4, 3)) + draw.normal(size=(60, 3))).argmax(1)
    weight = draw.uniform(0.5, 1.5, 60).astype(np.float32) / 60
    hold = 0.05
    none = Head(np.zeros((3, 4), np.float32), np.zeros(3, np.float32))
    columns = np.broadcast_to(weight[:, None], (60, 3))
    mine = _minimum(feature, np.eye(3, dtype=np.float32)[number], columns, none, np.full((3, 1), hold), False)
    theirs = LogisticRegression(C=1 / hold, tol=1e-9, max_iter=1000).fit(feature, number, sample_weight=weight)
    np.testing.assert_allclose(mine.scores(feature), theirs.predict_proba(feature), atol=2e-3)


@pytest.mark.parametrize("color", [0, 0.5, 1])
def test_steady_noise_of_any_color_is_known_as_that(color):
    for wave in noise(color):
        assert is_steady(wave[None], RATE)
    swelling = noise(color)[0] * np.repeat(np.random.default_rng(0).uniform(0.3, 1, 20), RATE // 10)
    assert not is_steady(swelling[None], RATE)
    assert not is_steady(sound("mid", 1, 2.0)[None], RATE), "there is a tone in it"
    assert not is_steady(np.zeros((1, RATE)), RATE)


def test_the_guard_refuses_what_costs_more_than_the_margin():
    guard = remembered(range(100, 120), guard=True)
    old = refit(Head(np.zeros((3, 16), np.float32), np.zeros(3, np.float32)), guard, guard, multilabel=False)
    deaf = Head(old.weight, old.bias + np.array([0, 0, 50], np.float32))
    assert gate.lost(guard, old, old, multilabel=False) == 0
    assert gate.lost(guard, old, deaf, multilabel=False) == pytest.approx(2 / 3, abs=0.05)
    assert gate.allowed(guard, 0.0) == pytest.approx(1 / 60)
    assert gate.allowed(guard, 0.1) == pytest.approx(0.1)
    broken = Head(old.weight * np.nan, old.bias)
    (check,) = gate.of_numbers(broken)
    assert "48 numbers of the refitted head are not finite" in check.why
