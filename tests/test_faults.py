"""Every call by which a save changes the disk fails in turn: the old or the new one is left, never neither."""

import errno
import json
import os
import random
import signal
import time
from contextlib import contextmanager, suppress

import pytest
import torch

from ossicle import checkpoint
from ossicle.checkpoint import CheckpointError
from ossicle.durable import write_json
from ossicle.run import Run, RunError

CALLS = ("open", "write", "fsync", "close", "rename", "replace", "mkdir", "unlink", "rmdir")
OLD, NEW = {"weight": torch.zeros(3)}, {"weight": torch.ones(3)}
FAILURES = (errno.ENOSPC, errno.EIO, errno.EROFS, "killed")


@pytest.fixture(autouse=True)
def no_waiting_for_the_disk(monkeypatch):
    """What is tested is the order of calls and what is done when one fails; no test here can cut the power."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


@contextmanager
def faults(fail_at=None, failure=None):
    """Counts the calls that change the disk. Number `fail_at` fails: a disk that is full or broken stays so, for what
    makes files and writes; a process that is killed does no more, not even its cleaning up. A write fails half done."""
    true, made = {name: getattr(os, name) for name in CALLS}, []

    def shim(name):
        def call(*args, **kwargs):
            if name == "open" and args[0] in ("", b""):
                return true[name](*args, **kwargs)
            made.append(name)
            if fail_at is None or len(made) <= fail_at:
                return true[name](*args, **kwargs)
            if len(made) > fail_at + 1 and name in ("close", "unlink", "rmdir", "rename", "replace"):
                return true[name](*args, **kwargs)
            if name == "write":
                true["write"](args[0], bytes(args[1])[: len(args[1]) // 2])
            if failure == "killed":
                os.kill(os.getpid(), signal.SIGKILL)
            if name == "close":
                true["close"](*args, **kwargs)
            raise OSError(failure, os.strerror(failure))

        return call

    with pytest.MonkeyPatch.context() as patch:
        for name in CALLS:
            patch.setattr(os, name, shim(name))
        yield made


def attempt(work, fail_at, failure):
    """Does the work with a fault in it; True if it said that it succeeded."""
    if failure != "killed":
        with faults(fail_at, failure):
            return work()
    child = os.fork()
    if not child:
        with suppress(BaseException), faults(fail_at, failure):
            os._exit(0 if work() else 1)
        os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def calls_of(work):
    with faults() as made:
        assert work()
    return len(made)


def saves(work, error):
    """The work as something that says whether it succeeded; what is no sentence of ours is a failure of the test."""

    def saved():
        sentences = []
        try:
            work()
        except error as sentence:
            sentences.append(str(sentence))
        assert all("could not be written" in sentence for sentence in sentences)
        return not sentences

    return saved


@pytest.mark.parametrize("failure", FAILURES)
def test_a_checkpoint_is_the_old_or_the_new_one(tmp_path, failure):
    place = tmp_path / "model"
    save_new = saves(lambda: checkpoint.save(place, NEW, {"which": "new"}), CheckpointError)
    checkpoint.save(place, OLD, {"which": "old"})
    count = calls_of(save_new)
    assert count > 25
    seen = set()
    for fail_at in range(count):
        checkpoint.save(place, OLD, {"which": "old"})
        said = attempt(save_new, fail_at, failure)
        tensors, info = checkpoint.load(place)
        assert torch.equal(tensors["weight"], (OLD if info["which"] == "old" else NEW)["weight"])
        assert not said or info["which"] == "new"
        seen.add(info["which"])
    assert seen == {"old", "new"}
    checkpoint.save(place, NEW, {"which": "newest"})
    assert checkpoint.load(place)[1] == {"which": "newest"}
    assert [item.name for item in tmp_path.iterdir()] == ["model"]


@pytest.mark.parametrize("failure", FAILURES)
def test_a_first_checkpoint_is_whole_or_not_there(tmp_path, failure):
    save_new = saves(lambda: checkpoint.save(tmp_path / "deep" / "model", NEW, {}), CheckpointError)
    count = calls_of(saves(lambda: checkpoint.save(tmp_path / "counted" / "model", NEW, {}), CheckpointError))
    for fail_at in range(count):
        attempt(save_new, fail_at, failure)
        with suppress(FileNotFoundError):
            checkpoint.load(tmp_path / "deep" / "model") if (tmp_path / "deep" / "model").exists() else None
    checkpoint.save(tmp_path / "deep" / "model", NEW, {})
    assert [item.name for item in (tmp_path / "deep").iterdir()] == ["model"]


@pytest.mark.parametrize("failure", FAILURES)
def test_a_json_file_is_the_old_or_the_new_one(tmp_path, failure):
    place = tmp_path / "value.json"

    def write_new():
        with suppress(OSError):
            write_json(place, {"which": "new"})
            return True
        return False

    count = calls_of(write_new)
    for fail_at in range(count):
        write_json(place, {"which": "old"})
        said = attempt(write_new, fail_at, failure)
        assert json.loads(place.read_text())["which"] in (("new",) if said else ("old", "new"))


def begin(folder):
    return Run.start(folder, {"batch": 2}, {"clips": 3}, {"threads": 1})


@pytest.mark.parametrize("failure", FAILURES)
def test_a_run_goes_on_from_its_last_or_last_but_one_save(tmp_path, failure):
    """Started, logged, saved, logged, saved: whichever call fails, the run can be resumed, and its log fits."""

    def work(folder):
        with begin(folder) as run:
            if run.done:
                return
            found = run.restore()
            done = found[1]["done"] if found else 0
            for step in range(done, 3):
                run.log({"step": step})
                run.save({"weight": torch.full((2,), step + 1.0)}, {"done": step + 1})
            run.finish({"steps": 3})

    count = calls_of(saves(lambda: work(tmp_path / "counted"), RunError))
    assert count > 80
    whole = (tmp_path / "counted" / "log.jsonl").read_bytes()
    for fail_at in range(0, count, 7 if failure == "killed" else 1):
        folder = tmp_path / f"{fail_at}"
        attempt(saves(lambda folder=folder: work(folder), RunError), fail_at, failure)
        work(folder)
        assert (folder / "log.jsonl").read_bytes() == whole
        assert Run.open(folder).result == {"steps": 3}


def test_a_checkpoint_outlives_sigkill_at_random_moments(tmp_path):
    place, chance = tmp_path / "model", random.Random(1)
    checkpoint.save(place, {"weight": torch.zeros(1000)}, {"number": 0})
    last = 0
    for _ in range(10):
        child = os.fork()
        if not child:
            number = last
            while True:
                number += 1
                checkpoint.save(place, {"weight": torch.full((1000,), float(number))}, {"number": number})
        time.sleep(chance.uniform(0.01, 0.06))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        tensors, info = checkpoint.load(place)
        assert torch.equal(tensors["weight"], torch.full((1000,), float(info["number"])))
        assert info["number"] >= last
        last = info["number"]
    assert last > 0


@contextmanager
def watched():
    """The order of what reaches the disk: ("fsync", path) and ("rename", new path)."""
    paths, seen, true = {}, [], {name: getattr(os, name) for name in ("open", "rename", "replace")}

    def opened(path, *args, **kwargs):
        descriptor = true["open"](path, *args, **kwargs)
        paths[descriptor] = os.fspath(path)
        return descriptor

    def renamed(name):
        def call(old, new):
            true[name](old, new)
            seen.append(("rename", os.fspath(new)))

        return call

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "open", opened)
        patch.setattr(os, "fsync", lambda descriptor: seen.append(("fsync", paths[descriptor])))
        patch.setattr(os, "rename", renamed("rename"))
        patch.setattr(os, "replace", renamed("replace"))
        yield seen


def test_a_checkpoint_is_flushed_before_it_is_renamed_and_its_name_after(tmp_path):
    checkpoint.save(tmp_path / "model", OLD, {})
    with watched() as seen:
        checkpoint.save(tmp_path / "model", NEW, {})
    new, place = str(tmp_path / ".model.new"), str(tmp_path / "model")
    files = [("fsync", f"{new}/{name}") for name in ("model.safetensors", "config.json", "manifest.json")]
    renames = [("rename", str(tmp_path / ".model.old")), ("rename", place)]
    assert seen == [*files, ("fsync", new), *renames, ("fsync", str(tmp_path))]


def test_a_json_file_is_flushed_before_it_is_renamed_and_its_name_after(tmp_path):
    with watched() as seen:
        write_json(tmp_path / "value.json", 1)
    assert [name for name, _ in seen] == ["fsync", "rename", "fsync"]
    assert seen[1:] == [("rename", str(tmp_path / "value.json")), ("fsync", str(tmp_path))]


def test_the_log_is_flushed_before_the_checkpoint_that_counts_its_rows(tmp_path):
    with begin(tmp_path / "run") as run:
        run.log({"step": 0})
        with watched() as seen:
            run.save(NEW, {})
    assert seen[0] == ("fsync", str(tmp_path / "run" / "log.jsonl"))
