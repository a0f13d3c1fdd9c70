"""Where a bundle is put: the old one is replaced whole or stays, and nothing else is touched."""

from __future__ import annotations

import os

import pytest

from ossicle.deploy import export as exporting
from ossicle.deploy.bundle import load
from ossicle.deploy.export import ExportError, export
from ossicle.deploy.verify import verify

from .test_export import frozen_export, make


@pytest.fixture(scope="module")
def shipped(tmp_path_factory):
    """A classifier and its bundle."""
    classifier, folder = make("logmel", "small"), tmp_path_factory.mktemp("shipped") / "bundle"
    return classifier, folder, export(classifier, folder)


def test_a_bundle_is_replaced_whole_and_strangers_are_not(shipped, tmp_path, monkeypatch):
    classifier, folder, _ = shipped
    frozen_export(monkeypatch, folder)
    export(classifier, tmp_path / "bundle", provenance={"run": "first"})
    export(classifier, tmp_path / "bundle", provenance={"run": "second"})
    assert load(tmp_path / "bundle").config.provenance == {"run": "second"}
    assert [item.name for item in tmp_path.iterdir()] == ["bundle"]
    (tmp_path / "bundle" / "diary.txt").write_text("mine")
    with pytest.raises(ExportError, match="holds something that is no bundle"):
        export(classifier, tmp_path / "bundle")


def test_a_failed_replacement_leaves_the_old_bundle(shipped, tmp_path, monkeypatch):
    classifier, folder, _ = shipped
    frozen_export(monkeypatch, folder)
    export(classifier, tmp_path / "bundle")
    monkeypatch.setattr(
        exporting, "to_onnx", lambda *_, **__: (_ for _ in ()).throw(OSError(28, "No space left on device"))
    )
    with pytest.raises(OSError, match="No space left"):
        export(classifier, tmp_path / "bundle")
    assert verify(tmp_path / "bundle").difference < 1e-5
    assert [item.name for item in tmp_path.iterdir()] == ["bundle"]


def test_a_link_is_followed_and_what_is_no_folder_is_never_replaced(shipped, tmp_path, monkeypatch):
    classifier, folder, _ = shipped
    frozen_export(monkeypatch, folder)
    real, link, pipe = tmp_path / "echt ü", tmp_path / "link", tmp_path / "pipe"
    real.mkdir()
    link.symlink_to(real)
    for _ in range(2):
        export(classifier, link)
    assert verify(real).ok
    assert link.is_symlink()
    os.mkfifo(pipe)
    with pytest.raises(ExportError, match="holds something that is no bundle"):
        export(classifier, pipe)
    monkeypatch.chdir(real)
    with pytest.raises(ExportError, match="is where you are"):
        export(classifier, ".")
    assert {item.name for item in tmp_path.iterdir()} == {"echt ü", "link", "pipe"}


def test_a_bundle_that_cannot_be_put_in_place_leaves_the_old_one(tmp_path, monkeypatch):
    """Whichever renaming fails, and whatever an export that was killed had left there."""
    folder, new, true = tmp_path / "bundle", tmp_path / "new", os.rename
    for failing in (1, 2):
        for place in (folder, new, tmp_path / f".bundle.{os.getpid()}.old"):
            place.mkdir(exist_ok=True)
            (place / "name").write_text(place.name)
        done = []

        def rename(*names, done=done, failing=failing):
            done.append(names)
            if len(done) == failing:
                raise OSError(28, "No space left on device")
            true(*names)

        monkeypatch.setattr(os, "rename", rename)
        with pytest.raises(OSError, match="No space left"):
            exporting._put(new, folder)
        assert (folder / "name").read_text() == "bundle"
        monkeypatch.setattr(os, "rename", true)
    exporting._put(new, folder)
    assert (folder / "name").read_text() == "new"
    assert [item.name for item in tmp_path.iterdir()] == ["bundle"]
