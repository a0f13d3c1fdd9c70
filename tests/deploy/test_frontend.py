"""A bundle without a front end: the image that firmware must make, from frontend.json alone, in plain numpy."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest

from ossicle.deploy.bundle import load
from ossicle.deploy.config import FRONTEND, GOLDEN, MODEL, BundleError
from ossicle.deploy.export import export
from ossicle.deploy.image import SAYS, STEPS, image
from ossicle.deploy.verify import verify
from ossicle.size import size

from .test_export import WINDOW, eager, make
from .test_verify import replace


@pytest.fixture(scope="module")
def bare(tmp_path_factory):
    """A classifier and its bundle without a front end."""
    classifier, folder = make("logmel", "small"), tmp_path_factory.mktemp("bare") / "bundle"
    clip = np.random.default_rng(5).normal(0, 0.2, (1, 9000)).astype(np.float32)
    return classifier, folder, export(classifier, folder, clips={"garden.wav": clip}, frontend=False)


def test_the_golden_image_comes_of_the_golden_wave_and_the_file_alone(bare):
    """Nothing of ours: sums as the file's sentences have them, with a table of cosines and sines."""
    told, golden = json.loads((bare[1] / FRONTEND).read_text()), np.load(bare[1] / GOLDEN)
    assert [step["do"] for step in told["steps"]] == ["frame", "power", "bands", "log"] == list(told["says"])
    frame, power, bands, log = told["steps"]
    assert frame["pad"] == "mirror"
    k, t = np.arange(power["n_fft"] // 2 + 1)[:, None], np.arange(frame["win"])
    turn = np.exp(-2j * np.pi * k * t / power["n_fft"])
    for (wave,), ((picture,),) in zip(golden["wave"], golden["image"], strict=True):
        padded = np.pad(wave.astype(float), (frame["before"], frame["after"]), mode="reflect")
        starts = range(0, len(padded) - frame["win"] + 1, frame["hop"])
        for number, start in enumerate(starts):
            part = padded[start : start + frame["win"]] * frame["window"]
            energy = np.abs(turn @ part) ** 2
            for row, band in enumerate(bands["rows"]):
                heard = sum(w * energy[band["first"] + j] for j, w in enumerate(band["weights"]))
                value = log["factor"] * np.log(max(heard, log["floor"]) + log["offset"])
                assert value == pytest.approx(picture[row, number], abs=1e-4)
        assert picture.shape == (len(bands["rows"]), len(starts)) == tuple(told["image"][-2:])


def test_it_answers_as_the_model_does(bare):
    classifier, folder, report = bare
    assert report.ok
    recognizer = load(folder)
    assert recognizer.config.image == (1, 1, 32, 32)
    wave = np.random.default_rng(1).normal(0, 0.1, (3, 1, WINDOW)).astype(np.float32)
    np.testing.assert_allclose(recognizer.scores(wave)[0], eager(classifier, wave), atol=1e-5)
    verdict = verify(folder)
    assert verdict.ok
    assert [row.output for row in verdict.rows] == 3 * ["image", "feature", "score"]


def test_the_model_holds_no_front_end_and_takes_the_golden_image(bare):
    import onnxruntime

    session = onnxruntime.InferenceSession((bare[1] / MODEL).read_bytes(), providers=["CPUExecutionProvider"])
    golden = np.load(bare[1] / GOLDEN)
    (given,) = session.get_inputs()
    assert (given.name, given.shape[1:]) == ("image", [1, 1, 32, 32])
    score, feature = session.run(["score", "feature"], {"image": golden["image"]})
    np.testing.assert_allclose(score, golden["score"], atol=1e-6)
    np.testing.assert_allclose(feature, golden["feature"], atol=1e-5)


def test_another_front_end_is_named_as_what_differs_first(bare, tmp_path):
    import shutil

    folder = shutil.copytree(bare[1], tmp_path / "bundle")
    told = json.loads((folder / FRONTEND).read_text())
    told["steps"][-1]["offset"] *= 1e4
    replace(folder, FRONTEND, json.dumps(told).encode())
    assert verify(folder).first.startswith("image 0, 0, ")
    assert f"by {FRONTEND} is" in verify(folder).first
    for steps, sentence in (
        ([{"do": "frame", "hop": 0}], "cannot be followed: .*missing"),
        ([{"do": "level", "headroom": 1}], r"makes images \(1, 4000\) and the model takes \(1, 1, 32, 32\)"),
    ):
        replace(folder, FRONTEND, json.dumps({"steps": steps}).encode())
        with pytest.raises(BundleError, match=sentence):
            verify(folder)
    replace(folder, FRONTEND, b"[]")
    with pytest.raises(BundleError, match=r"frontend\.json tells no steps from waves to images"):
        verify(folder)
    (folder / FRONTEND).unlink()
    with pytest.raises(BundleError, match=r"no readable frontend\.json"):
        verify(folder)


def test_it_is_heard_without_torch(bare):
    code = """
import sys
sys.modules.update(dict.fromkeys(("torch", "onnx", "sklearn", "safetensors")))
import numpy as np
from ossicle.deploy import bundle, verify
assert verify.verify(sys.argv[1]).ok
print(list(bundle.load(sys.argv[1]).listen([np.zeros(20000)], on=0.0, off=0.0))[0].label)
"""
    done = subprocess.run([sys.executable, "-c", code, str(bare[1])], capture_output=True, text=True)
    assert done.stdout.strip() in bare[0].labels, done.stderr


def test_every_step_is_explained_and_an_unknown_one_is_a_sentence():
    assert set(SAYS) == set(STEPS)
    with pytest.raises(ValueError, match=r"wants the step 'dream'; known: trim, level, frame"):
        image([{"do": "dream"}], np.zeros((1, 10)))


def test_what_it_costs_is_what_the_network_does(bare):
    classifier, folder, _ = bare
    assert size(folder, repeats=1).multiply_adds == size(classifier, repeats=1).multiply_adds
