"""New recordings with a folder a class, or with a table that says what is heard."""

import numpy as np
import pytest
import soundfile

from ossicle.data.intake import IntakeError
from ossicle.field.arrivals import arrivals


@pytest.fixture
def new(tmp_path):
    """A recorder's folder: a day's folder with three files, and one beside it."""
    root = tmp_path / "new"
    for name in ("2026-05-01/a.wav", "2026-05-01/b.wav", "2026-05-01/c.wav", "d.wav"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(root / name, np.ones(800) * len(name) / 100, 8000)
    return root


def heard(manifest):
    return {clip.name: clip.labels for clip in manifest.clips}


def test_folders_are_labels_where_no_table_says_otherwise(new):
    day = ("2026-05-01",)
    files = {f"2026-05-01/{name}.wav": day for name in "abc"}
    assert heard(arrivals(new)) == files | {"d.wav": ()}


def test_a_table_alone_says_what_is_heard(new, tmp_path):
    table = tmp_path / "labels.csv"
    table.write_text(
        "filename,label,start,stop\n2026-05-01/a.wav,owl,0,0.05\n2026-05-01/a.wav,cat,0.05,0.1\nd.wav,owl,,\n"
    )
    found = arrivals(new, table)
    assert [(clip.name, clip.labels) for clip in found.clips] == [
        ("2026-05-01/a.wav", ("owl",)),
        ("2026-05-01/a.wav", ("cat",)),
        ("d.wav", ("owl",)),
        ("2026-05-01/b.wav", ()),
        ("2026-05-01/c.wav", ()),
    ]
    assert (found.name, found.classes) == ("new", ("cat", "owl"))


def test_a_table_without_its_folder_is_refused(new, tmp_path):
    with pytest.raises(IntakeError, match=r"d.wav is no folder; .*labels.csv says what is heard in one"):
        arrivals(new / "d.wav", tmp_path / "labels.csv")
    (tmp_path / "labels.csv").write_text("filename,label\nnowhere.wav,owl\n")
    with pytest.raises(IntakeError, match=r"nowhere.wav: is missing"):
        arrivals(new, tmp_path / "labels.csv")
