from __future__ import annotations

import io
from dataclasses import replace
from zipfile import ZipFile

import numpy as np
import pytest

from ossicle.deploy.config import BundleError
from ossicle.deploy.head import Head
from ossicle.deploy.memory import Memory, packed, unpacked

DRAW = np.random.default_rng(0)
CLIP = np.array([0, 0, 1, 2, 2, 2])
TARGET = np.eye(3, dtype=bool)[[0, 1, 1]]
MEMORY = Memory(DRAW.normal(size=(6, 4)).astype(np.float16).astype(np.float32), CLIP, TARGET, np.array([0, 0, 1]) > 0)
ARRAYS = ("feature", "clip", "target", "guard")


def same(one, other):
    return one.part == other.part and all(np.array_equal(getattr(one, name), getattr(other, name)) for name in ARRAYS)


def test_what_is_unpacked_is_what_was_packed():
    assert same(unpacked(packed(MEMORY), 3), MEMORY)
    loud = replace(MEMORY, feature=MEMORY.feature * 1e6)
    assert same(unpacked(packed(loud), 3), loud), "features that float16 cannot hold"


def test_parts_put_together_are_the_whole():
    parts = MEMORY.where(~MEMORY.guard).joined(MEMORY.where(MEMORY.guard))
    assert same(parts, MEMORY)
    assert MEMORY.where(MEMORY.guard).clip.tolist() == [0, 0, 0]
    assert same(MEMORY.where(np.array([2, 0])).where(np.array([1])), MEMORY.where(np.array([0])))


def test_a_clip_scores_the_mean_of_its_windows():
    head = Head(DRAW.normal(size=(3, 4)), np.zeros(3))
    windows = head.scores(MEMORY.feature)
    wanted = [windows[:2].mean(0), windows[2], windows[3:].mean(0)]
    np.testing.assert_allclose(MEMORY.scores(head, multilabel=False), wanted)


def test_more_classes_are_none_of_these_clips():
    assert MEMORY.widened(5).target.sum(0).tolist() == [1, 2, 0, 0, 0]


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "cannot be read"),
        (packed(MEMORY)[:-100], "cannot be read"),
        (packed(MEMORY.widened(4)), "about 4 classes, not 3"),
    ],
)
def test_another_file_is_a_sentence(content, sentence):
    with pytest.raises(BundleError, match=f"{sentence}.*export again"):
        unpacked(content, 3)


def bomb(shape):
    """An array that says it has this shape, and has nothing."""
    content = io.BytesIO()
    np.lib.format.write_array_header_1_0(content, {"descr": "|b1", "fortran_order": False, "shape": shape})
    return content.getvalue()


@pytest.mark.parametrize("shape", [(1 << 60, 3), (1 << 33, 3)])
def test_an_array_that_claims_to_be_huge_is_a_sentence(shape):
    content = io.BytesIO()
    with ZipFile(content, "w") as file:
        for name in (*ARRAYS, "part"):
            file.writestr(f"{name}.npy", bomb(shape))
    with pytest.raises(BundleError, match=r"cannot be read.*export again"):
        unpacked(content.getvalue(), 3)


@pytest.mark.parametrize(
    "change",
    [
        {"clip": CLIP + 1},
        {"clip": CLIP[:-1]},
        {"clip": CLIP / 2},
        {"clip": np.array(["a"] * 6)},
        {"feature": np.full((6, 4), np.nan)},
        {"feature": np.full((6, 4), 1j)},
        {"target": np.array(True)},
        {"target": TARGET[:, 0]},
        {"target": TARGET * 0.5},
        {"guard": np.array([0, 1, 2])},
    ],
)
def test_arrays_that_do_not_fit_are_a_sentence(change):
    content = io.BytesIO()
    np.savez(content, **{name: change.get(name, getattr(MEMORY, name)) for name in ARRAYS}, part="training")
    with pytest.raises(BundleError, match="export again"):
        unpacked(content.getvalue(), 3)
