"""What all tests share: one thread, a cache of their own, and real sound where it is there."""

import os
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"

import pytest

ESC10 = Path(__file__).parents[2] / "shared" / "esc10"


@pytest.fixture(scope="session", autouse=True)
def _cache(tmp_path_factory):
    """Decoded sound goes to a folder of this session, never to the user's cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OSSICLE_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def esc10():
    """The folder of ESC-10 in its release layout; the test is skipped where it is missing."""
    if not (ESC10 / "meta" / "esc50.csv").is_file():
        pytest.skip(f"ESC-10 is not at {ESC10}")
    return ESC10
