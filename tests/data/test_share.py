"""split.share: a part of the recordings, whole and the same whoever asks."""

from pathlib import Path

import numpy as np
import pytest

from ossicle import material
from ossicle.data.dealing import share
from ossicle.data.manifest import Clip, Manifest
from ossicle.recipe import RecipeError, Split, from_dict

GROUPS = np.repeat(np.arange(1000, dtype=np.uint64) * 7919, 3)


def test_a_part_holds_whole_recordings_and_as_many_as_it_says():
    for part in (0.25, 0.5, 1.0):
        kept = share(GROUPS, part, seed=0)
        assert len(np.unique(GROUPS[kept])) == 1000 * part
        assert not set(GROUPS[kept]) & set(GROUPS[~kept])


def test_a_smaller_part_is_in_a_larger_one_and_seeds_take_others():
    quarter, half = share(GROUPS, 0.25, seed=0), share(GROUPS, 0.5, seed=0)
    assert half[quarter].all()
    both = (quarter & share(GROUPS, 0.25, seed=1)).mean()
    assert 0.02 < both < 0.11  # a sixteenth, where two draws know nothing of each other


def test_one_recording_at_least():
    assert share(GROUPS[:9], 0.01, seed=0).sum() == 3


@pytest.mark.parametrize("objective", ["npid", "supervised"])
def test_only_the_training_part_is_thinned(objective):
    clips = [Clip(Path(f"/{n}.wav"), f"{n}.wav", ("ab"[n % 2],), n // 2 % 5 + 1, str(n // 2)) for n in range(200)]
    manifest = Manifest("made up", tuple(clips), ("a", "b"), folds=(1, 2, 3, 4, 5))
    recipe = from_dict(
        {
            "data": "folder",
            "frontend": "logmel",
            "encoder": "small",
            "objective": objective,
            "stages": [{"epochs": 1}],
            "split": {"fold": 1, "valid": 2, "share": 0.25},
        }
    )
    parts = material.divide(manifest, recipe, supervised=objective == "supervised")
    assert (len(parts.train), len(parts.valid), len(parts.test)) == (30, 40, 40)


@pytest.mark.parametrize("part", [0, -0.1, 1.5])
def test_a_part_that_is_none_is_refused(part):
    with pytest.raises(RecipeError, match="share is"):
        Split(share=part)
