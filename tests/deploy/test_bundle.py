from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest

from ossicle.deploy.bundle import load
from ossicle.deploy.config import CONFIG, GOLDEN, MODEL, THRESHOLDS, BundleError, _content_sha256, file_entry

from .conftest import RATE, WINDOW


def test_a_clip_is_the_mean_of_its_windows(loudness):
    recognizer = load(loudness)
    clip = np.concatenate([np.full(WINDOW, 0.2), np.full(WINDOW, 0.6)])
    np.testing.assert_allclose(recognizer(clip), [0.4, 0.6], atol=1e-6)
    np.testing.assert_allclose(recognizer(clip[None, : WINDOW // 3]), [0.2, 0.8], atol=1e-6)
    assert recognizer.labels == ("loud", "quiet")


def test_another_rate_is_converted(loudness):
    clip = np.full(RATE * 2, 0.5)
    np.testing.assert_allclose(load(loudness)(clip, 2 * RATE), [0.5, 0.5], atol=2e-3)


@pytest.mark.parametrize(
    ("samples", "sentence"),
    [([], "no samples"), ([0.0, np.nan], "1 samples are not finite"), ([1e29] * 3, "3 samples")],
)
def test_what_is_no_sound_is_refused(loudness, samples, sentence):
    with pytest.raises(ValueError, match=sentence):
        load(loudness)(np.array(samples))


def test_scores_do_not_notice_their_neighbors(loudness):
    recognizer = load(loudness)
    wave = np.random.default_rng(0).uniform(-1, 1, (5, 1, WINDOW)).astype(np.float32)
    together, feature = recognizer.scores(wave)
    alone = np.concatenate([recognizer.scores(clip[None])[0] for clip in wave])
    np.testing.assert_array_equal(together, alone)
    assert feature.shape == (5, 2)


def test_waves_of_another_shape_are_a_sentence(loudness):
    with pytest.raises(ValueError, match=r"shape \(1, 2, 800\); wanted \(B, 1, 800\)"):
        load(loudness).scores(np.zeros((1, 2, WINDOW), np.float32))


def test_broken_samples_in_chunks_are_warned_of(loudness):
    with pytest.warns(RuntimeWarning, match=r"1 samples from 0\.125 to 0\.125 s are no sound"):
        list(load(loudness).listen([np.zeros(1000), [np.nan], np.zeros(1000)]))


def test_a_stream_says_what_the_whole_clip_says_bit_for_bit(loudness):
    recognizer = load(loudness)
    clip = np.random.default_rng(0).uniform(-1, 1, 5 * WINDOW + 3)
    whole = recognizer.stream(16000).listen([clip])
    pieces = recognizer.stream(16000).listen(np.array_split(clip, 1001))
    for one, other in zip(whole, pieces, strict=True):
        np.testing.assert_array_equal(one.score, other.score)


def test_listening_gives_events(loudness):
    quiet, loud = np.zeros(4 * WINDOW), np.tile([0.9, -0.9], 2 * WINDOW)
    (event,) = (e for e in load(loudness).listen([quiet, loud, quiet]) if e.label == "loud")
    assert event.start == pytest.approx(0.4, abs=0.051)
    assert event.stop == pytest.approx(0.8, abs=0.051)
    assert list(load(loudness).listen([loud], on=0.95)) == []


def change(folder, name, edit):
    content = (folder / name).read_bytes()
    (folder / name).write_bytes(edit(content))


@pytest.mark.parametrize("name", [MODEL, GOLDEN, CONFIG])
def test_every_changed_or_missing_file_is_noticed(loudness, name):
    content = (loudness / name).read_bytes()
    for position in np.random.default_rng(0).integers(0, len(content) - 2, 40):
        flipped = bytearray(content)
        flipped[position] ^= 1 << int(position % 8)
        (loudness / name).write_bytes(flipped)
        with pytest.raises(BundleError, match=name):
            load(loudness)
    (loudness / name).write_bytes(content[: len(content) // 2])
    with pytest.raises(BundleError, match=name):
        load(loudness)
    (loudness / name).unlink()
    with pytest.raises(BundleError, match=f"no readable {name}"):
        load(loudness)


def test_a_folder_that_is_not_there_is_a_sentence(tmp_path):
    with pytest.raises(BundleError, match=r"nowhere does not exist; a bundle holds model\.onnx"):
        load(tmp_path / "nowhere")


def rewrite(folder, **changes):
    values = json.loads((folder / CONFIG).read_text()) | changes
    (folder / CONFIG).write_text(json.dumps(values))


def test_a_newer_format_is_refused_before_anything_else(loudness):
    rewrite(loudness, format=99)
    with pytest.raises(BundleError, match="bundle format 99; this ossicle reads up to 2"):
        load(loudness)


def test_relabelling_by_hand_is_refused(loudness):
    rewrite(loudness, labels=["quiet", "loud"])
    with pytest.raises(BundleError, match="changed after it was written"):
        load(loudness)


def test_a_model_of_8_bit_that_is_not_there_is_a_sentence(loudness):
    with pytest.raises(BundleError, match=r"has no model\.int8\.onnx; export it with --int8"):
        load(loudness, int8=True)


def put_config(folder, **changes):
    """Other values under a correct hash."""
    values = json.loads((folder / CONFIG).read_text()) | changes
    del values["sha256"]
    (folder / CONFIG).write_text(json.dumps(values | {"sha256": _content_sha256(values)}))


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"window": 0}, "window is 0, wanted a whole number from 1"),
        ({"window": 10**13}, "wanted a whole number from 1 to 100,000,000"),
        ({"hop": 0.5}, "hop is 0.5"),
        ({"sample_rate": -8000, "channels": True}, "sample_rate is -8000, .* channels is True"),
        ({"labels": []}, "wanted one text or more"),
        ({"labels": ["a", " "]}, "wanted one text or more"),
        ({"labels": ["a", "a"]}, "two labels are 'a'"),
        ({"policy": "mirror"}, "policy is 'mirror', wanted repeat or zero"),
        ({"versions": None}, "versions is None"),
        ({"thresholds": {"on": 0.5}}, "thresholds are"),
        *[
            ({"thresholds": THRESHOLDS | wrong}, "wanted on and off, each one number or one a label, off not above on")
            for wrong in ({"on": float("nan")}, {"on": 0.3}, {"on": [0.5]}, {"gap_seconds": -1}, {"off": "0"}, {"x": 1})
        ],
        ({"image": [1, 2]}, "image is"),
        ({"files": {"../spy": file_entry(b"")}}, r"names '\.\./spy', which is no file of this folder"),
        ({"files": {"a\0": file_entry(b"")}}, "no file of this folder"),
        ({"files": {MODEL: 5}}, r"of model\.onnx it says 5"),
        ({"format": float("inf")}, "not the description of a bundle"),
    ],
)
def test_values_that_no_bundle_has_are_a_sentence(loudness, changes, sentence):
    put_config(loudness, **changes)
    with pytest.raises(BundleError, match=sentence):
        load(loudness)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"channels": 2}, r"model\.onnx does not run on waves of \(1, 2, 800\): "),
        ({"labels": ["a", "b", "c"]}, r"scores \(1, 2\) and features \(1, 2\) for 1 windows and 3 labels"),
    ],
)
def test_a_model_that_is_not_the_config_s_is_a_sentence(loudness, changes, sentence):
    put_config(loudness, **changes)
    with pytest.raises(BundleError, match=sentence):
        load(loudness)(np.ones(WINDOW))


def test_a_pipe_is_not_waited_for_and_a_longer_file_not_read(loudness, monkeypatch):
    with (loudness / MODEL).open("ab") as file:
        file.truncate(1 << 40)
    with pytest.raises(BundleError, match=r"model\.onnx has 1099511627776 bytes, not"):
        load(loudness)
    for name in (MODEL, CONFIG):
        (loudness / name).unlink()
        os.mkfifo(loudness / name)
        with pytest.raises(BundleError, match=rf"no readable {name} \(no plain file\)"):
            load(loudness)


DEVICE = """
import sys
class NoTorch:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("torch", "onnx", "onnxscript", "sklearn", "matplotlib", "safetensors", "pandas"):
            raise ImportError(f"{name} is not on this device")
sys.meta_path.insert(0, NoTorch())
import numpy as np
from ossicle.deploy import bundle, verify
recognizer = bundle.load(sys.argv[1])
recognizer(np.zeros(1000))
list(recognizer.listen([np.zeros(1000)]))
list(recognizer.listen(sys.argv[2]))
assert verify.verify(sys.argv[1]).ok
resident = int(open("/proc/self/statm").read().split()[1]) * 4096 / 1e6 if sys.platform == "linux" else 0
print("torch" in sys.modules, resident)
"""


def test_a_device_without_torch_recognizes_within_120_mb(loudness, tmp_path):
    import soundfile

    soundfile.write(tmp_path / "a.wav", np.zeros(5000), RATE)
    command = [sys.executable, "-c", DEVICE, str(loudness), str(tmp_path / "a.wav")]
    answer = subprocess.run(command, capture_output=True, text=True, check=True)
    torch_there, resident = answer.stdout.split()
    assert torch_there == "False"
    assert float(resident) < 120


def test_a_bundle_may_be_carried_anywhere(loudness, tmp_path):
    shutil.move(loudness, tmp_path / "else where é")
    assert load(str(tmp_path / "else where é"))(np.ones(10)) == pytest.approx([1, 0])
