from __future__ import annotations

import io

import numpy as np
import pytest

from ossicle import cli
from ossicle.deploy.config import GOLDEN, MODEL, BundleError, Config, file_entry
from ossicle.deploy.verify import TOLERANCE, verify


def replace(folder, name, content):
    """Another file under a correct hash, as if it had been exported so."""
    (folder / name).write_bytes(content)
    config = Config.read(folder)
    Config(**vars(config) | {"files": config.files | {name: file_entry(content)}}).write(folder)


def change_golden(folder, **changes):
    """Write other golden arrays, as if the bundle had been made on a machine that computes otherwise."""
    arrays = dict(np.load(folder / GOLDEN)) | changes
    content = io.BytesIO()
    np.savez(content, **{name: value for name, value in arrays.items() if value is not None})
    replace(folder, GOLDEN, content.getvalue())


def moved(folder, name, clip, place, by):
    array = np.load(folder / GOLDEN)[name].copy()
    array[clip, place] += by
    return {name: array}


def test_golden_clips_are_recognized_here_as_where_they_were_made(loudness):
    verdict = verify(loudness)
    assert verdict.ok
    assert verdict.first == ""
    assert verdict.difference < 1e-6
    assert "3 golden clips" in str(verdict)


def test_the_first_output_that_differs_is_named_with_its_place_and_by_how_much(loudness):
    change_golden(loudness, **moved(loudness, "score", 1, 1, 0.25), **moved(loudness, "feature", 2, 0, 1.0))
    verdict = verify(loudness)
    assert not verdict.ok
    assert verdict.difference == pytest.approx(0.25, abs=1e-6)
    assert verdict.first.startswith("score 'quiet' of clip 'b' by model.onnx is 0.")
    assert "2.5e-01 apart where 0.0001 is allowed" in verdict.first
    feature = next(row for row in verdict.rows if row.output == "feature" and not row.ok)
    assert (feature.clip, feature.place) == ("c", "0")
    assert feature.difference == pytest.approx(1 / np.ptp(np.load(loudness / GOLDEN)["feature"]), rel=1e-5)


@pytest.mark.parametrize(("share", "ok"), [(0.5, True), (2, False)])
def test_what_rounding_does_is_allowed_and_no_more(loudness, share, ok):
    change_golden(loudness, **moved(loudness, "score", 0, 0, share * TOLERANCE))
    assert verify(loudness).ok is ok


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"wave": None}, "holds no golden clips"),
        ({"score": np.zeros((3, 5), np.float32)}, "has no score of the right shape"),
        ({"feature": np.zeros((3, 5), np.float32)}, r"feature has shape \(2,\), and in golden.npz \(5,\)"),
        ({"name": np.array([{}], dtype=object)}, "holds no golden clips"),
        ({"wave": np.float32(0)}, "has no name and wave and score and feature of the right shape"),
        ({"score": np.full((3, 2), "a")}, "not all of its numbers are finite ones"),
        ({"feature": np.full((3, 2), np.nan)}, "not all of its numbers are finite ones"),
    ],
)
def test_golden_clips_that_are_none_are_a_sentence(loudness, changes, sentence):
    change_golden(loudness, **changes)
    with pytest.raises(BundleError, match=sentence):
        verify(loudness)


def no_npz(whole):
    """Bytes that numpy tells of in one way each."""
    alone = io.BytesIO()
    np.save(alone, np.zeros(3))
    flipped = whole.replace(b"\0\0", b"\0\1")
    return [b"PK nothing", b"PK\3\4 nothing", b"", whole[: len(whole) // 2], alone.getvalue(), flipped]


def test_no_file_of_golden_clips_is_a_sentence(loudness):
    for content in no_npz((loudness / GOLDEN).read_bytes()):
        replace(loudness, GOLDEN, content)
        with pytest.raises(BundleError, match="holds no golden clips"):
            verify(loudness)


def test_the_verb_tells_and_its_status_does(loudness, capsys):
    assert cli.main(["verify", str(loudness)]) == 0
    assert "answers as the trained model did: 3 golden clips" in capsys.readouterr().out
    change_golden(loudness, **moved(loudness, "score", 0, 0, 0.5))
    assert cli.main(["verify", str(loudness)]) == 1
    said = capsys.readouterr()
    assert "First difference: score 'loud' of clip 'a'" in said.err
    assert said.out == ""
    (loudness / MODEL).write_bytes((loudness / MODEL).read_bytes()[:-1])
    assert cli.main(["verify", str(loudness)]) == 2
    assert "copy the bundle again" in capsys.readouterr().err
