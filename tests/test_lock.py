import json
import os
import signal
import subprocess
import sys

import pytest

from ossicle.lock import Lock, LockedError


@pytest.fixture
def path(tmp_path):
    return tmp_path / "lock.json"


def holder(path, **changes):
    """A lock file as another process would have left it."""
    with Lock(path):
        left = json.loads(path.read_text())
    path.write_text(json.dumps(left | changes))


def test_it_is_there_while_it_is_held(path):
    with Lock(path) as lock:
        assert lock.held
        assert json.loads(path.read_text())["pid"] == os.getpid()
    assert not path.exists()
    assert list(path.parent.iterdir()) == []


def test_a_second_one_is_refused_and_does_not_free_the_first(path):
    with Lock(path) as first:
        second = Lock(path)
        with pytest.raises(LockedError, match=f"in use by process {os.getpid()} on this machine.*another folder"):
            second.acquire()
        second.release()
        assert first.held


def test_a_living_process_keeps_its_lock(path):
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as other:
        holder(path, pid=other.pid, began="")
        with pytest.raises(LockedError, match=f"process {other.pid}"):
            Lock(path).acquire()
        other.communicate(b"\n")
    with Lock(path) as lock:
        assert "was left by process" in lock.note


def test_a_killed_process_loses_its_lock(path):
    child = os.fork()
    if not child:
        Lock(path).acquire()
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)
    assert json.loads(path.read_text())["pid"] == child
    with Lock(path) as lock:
        assert f"left by process {child} on this machine" in lock.note
        assert "taken over" in lock.note


def test_a_zombie_has_no_lock(path):
    child = os.fork()
    if not child:
        Lock(path).acquire()
        os._exit(0)
    os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)  # it has ended, and nobody has asked how: it still has a number
    with Lock(path) as lock:
        assert "taken over" in lock.note
    os.waitpid(child, 0)


@pytest.mark.skipif(not os.path.exists("/proc/self/stat"), reason="needs /proc")  # noqa: PTH110
def test_a_process_number_that_was_given_out_again_is_not_the_holder(path):
    holder(path, began="1")
    with Lock(path) as lock:
        assert "taken over" in lock.note


@pytest.mark.parametrize("pid", [0, -1, 2**70, "12", None])
def test_a_number_that_no_process_can_have_is_nobody(path, pid):
    holder(path, pid=pid)
    with Lock(path) as lock:
        assert "taken over" in lock.note


def test_another_machine_cannot_be_asked(path):
    holder(path, host="elsewhere", pid=1)
    with pytest.raises(LockedError, match=r"on elsewhere.*cannot be seen.*delete .*lock\.json"):
        Lock(path).acquire()
    lock = Lock(path)
    lock.acquire(anyway=True)
    assert "on elsewhere" in lock.note
    lock.release()


@pytest.mark.parametrize("content", ["", "{", "[1, 2]", '"me"'])
def test_a_lock_that_names_nobody_is_taken_over(path, content):
    path.write_text(content)
    with Lock(path) as lock:
        assert lock.note


def test_a_forked_child_does_not_free_its_parents_lock(path):
    with Lock(path) as lock:
        child = os.fork()
        if not child:
            lock.release()
            os._exit(int(lock.held))
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert lock.held


def test_of_many_at_once_one_gets_it(path):
    """All find the same dead holder's lock at the same moment; each that gets it keeps it until all have tried."""
    holder(path, pid=2**22 + 1, began="1")
    go, gone = os.pipe()
    children = []
    for _ in range(8):
        if child := os.fork():
            children.append(child)
            continue
        os.close(gone)
        os.read(go, 1)
        try:
            Lock(path).acquire()
        except LockedError:
            os._exit(1)
        os.kill(os.getpid(), signal.SIGSTOP)
        os._exit(0)
    os.close(gone)
    ended = [os.waitpid(child, os.WUNTRACED)[1] for child in children]
    got = [child for child, status in zip(children, ended, strict=True) if os.WIFSTOPPED(status)]
    os.close(go)
    for child in got:
        os.kill(child, signal.SIGCONT)
        os.waitpid(child, 0)
    assert len(got) == 1
