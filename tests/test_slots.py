"""Updates of a bundle: whichever call fails, the old or the new one answers; damage falls back and is told."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import replace

import pytest

from ossicle import slots
from ossicle.deploy import web
from ossicle.deploy.bundle import load
from ossicle.deploy.config import CONFIG, GOLDEN, MODEL, BundleError, Config, answering, open_one, opened
from ossicle.deploy.export import _refuse_strangers
from ossicle.durable import write
from ossicle.size import size
from ossicle.slots import POINTER, SlotError, Slots

from .deploy.conftest import loudness, loudness_model  # noqa: F401
from .test_faults import FAILURES, attempt, calls_of, no_waiting_for_the_disk  # noqa: F401


def update(bundle, which):
    """An update that differs in what its config says of itself."""
    config, files = opened(bundle)

    def fill(folder):
        for name, content in files.items():
            write(folder / name, content)
        replace(config, provenance={"which": which}).write(folder)

    return slots.update(bundle, fill, live=answering(bundle)).name


def which(bundle):
    return opened(bundle)[0].provenance.get("which", "exported")


@pytest.fixture
def bundle(loudness):  # noqa: F811
    return loudness


def test_an_update_answers_and_undoing_it_brings_back_what_did(bundle):
    exported = {item.name: item.read_bytes() for item in bundle.iterdir()}
    assert update(bundle, "first") == "a"
    assert which(bundle) == "first"
    assert update(bundle, "second") == "b"
    assert slots.read(bundle) == Slots("b", "a")
    for state in ("first", "second", "first"):
        slots.undo(bundle, open_one)
        assert which(bundle) == state
    assert update(bundle, "third") == "b"
    assert slots.undo(bundle, open_one) == Slots("a", "b")
    assert {name: (bundle / name).read_bytes() for name in exported} == exported
    assert {item.name for item in bundle.iterdir()} == {*exported, POINTER, *slots.SLOTS}


def test_where_nothing_was_updated_there_is_nothing_to_undo(bundle):
    with pytest.raises(SlotError, match="answers as it was exported"):
        slots.undo(bundle, open_one)


@pytest.mark.parametrize("failure", FAILURES)
@pytest.mark.parametrize("before", [0, 2])
def test_whatever_call_fails_the_old_or_the_new_one_answers(bundle, failure, before):
    """Without and with two updates before: in these the slot of the one before is written over. A warning, that
    something damaged was met, would be an error here.
    """
    for number in range(before):
        update(bundle, f"before {number}")
    old = which(bundle)

    def work(name="new"):
        with suppress(OSError):
            update(bundle, name)
            return True
        return False

    count = 12 + calls_of(lambda: work("counted"))  # twelve more where there is a slot to write over
    slots.undo(bundle, open_one)
    assert which(bundle) == old
    seen = set()
    for fail_at in range(count):
        said = attempt(work, fail_at, failure)
        found = which(bundle)
        assert found in ((old, "exported", "new") if not said else ("new",))
        seen.add(found)
        if found == "new":
            slots.undo(bundle, open_one)
            assert which(bundle) in (old, "exported")
            update(bundle, old) if which(bundle) != old else None
        assert which(bundle) == old
    assert "new" in seen
    assert update(bundle, "last") in slots.SLOTS
    _refuse_strangers(bundle)


def test_a_damaged_update_is_told_and_the_state_before_it_answers(bundle):
    update(bundle, "first")
    update(bundle, "second")
    (bundle / "b" / MODEL).write_bytes(b"")
    with pytest.warns(RuntimeWarning, match=r"b/model\.onnx has 0 bytes.*/a answers instead"):
        assert which(bundle) == "first"
    (bundle / "a" / GOLDEN).unlink()
    with pytest.warns(RuntimeWarning, match="bundle answers instead"):
        assert which(bundle) == "exported"
    (bundle / MODEL).write_bytes(b"")
    with pytest.raises(BundleError, match=r"b/model\.onnx has 0 bytes"):
        opened(bundle)


@pytest.mark.parametrize(
    "content", ["", "[]", "[" * 100_000, '{"live": "../other", "previous": ""}', '{"live": 3}', '{"live": ["a"]}']
)
def test_a_damaged_pointer_is_told_and_what_was_exported_answers(bundle, content):
    update(bundle, "first")
    (bundle / POINTER).write_text(content)
    with pytest.warns(RuntimeWarning, match="bundle answers instead"):
        assert which(bundle) == "exported"
    with pytest.raises(SlotError, match="delete it"):
        slots.read(bundle)


def test_a_pointer_that_is_a_pipe_is_not_waited_for(bundle):
    os.mkfifo(bundle / POINTER)
    with pytest.raises(SlotError, match=r"no plain file.*delete it"):
        slots.read(bundle)


def test_an_update_that_cannot_answer_is_not_gone_back_to(bundle):
    update(bundle, "first")
    update(bundle, "second")
    (bundle / "a" / CONFIG).unlink()
    with pytest.raises(BundleError, match=r"a has no readable config\.json"):
        slots.undo(bundle, open_one)
    assert which(bundle) == "second"


def test_whatever_reads_a_bundle_reads_what_answers(bundle, monkeypatch):
    monkeypatch.setattr(web, "missing", lambda: [])  # nothing is shown of the page
    update(bundle, "first")
    config = Config.read(bundle / "a")
    replace(config, labels=("hush", "roar")).write(bundle / "a")
    assert load(bundle).labels == ("hush", "roar")
    assert web.site(bundle)[CONFIG] == bundle / "a" / CONFIG
    assert size(bundle, repeats=1).files[CONFIG] == (bundle / "a" / CONFIG).stat().st_size
