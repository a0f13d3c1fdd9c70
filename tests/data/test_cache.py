"""The cache: right, whole and shared, whatever is killed, deleted, torn, full or changed meanwhile."""

from __future__ import annotations

import errno
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from ossicle import audio
from ossicle.data import cache as cache_module
from ossicle.data import decode, workers
from ossicle.data.cache import Cache

RATE = 8000


def write(path: Path, seed: int, seconds: float = 0.5, format: str = "FLAC") -> Path:
    """A recording of its own for every seed, two channels at 16 kHz."""
    noise = 0.1 * np.random.default_rng(seed).standard_normal((round(16000 * seconds), 2))
    with path.open("wb") as out:
        soundfile.write(out, noise, 16000, format=format)
    return path


@pytest.fixture
def paths(tmp_path: Path) -> list[Path]:
    (tmp_path / "sounds").mkdir()
    return [write(tmp_path / f"sounds/{seed}.flac", seed) for seed in range(6)]


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "cache")


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The paths that were handed to workers."""
    asked: list[str] = []
    real = workers.answered

    def counted(requests: list[dict[str, Any]], **how: Any) -> Any:
        asked.extend(request["path"] for request in requests)
        return real(requests, **how)

    monkeypatch.setattr(workers, "answered", counted)
    return asked


def entries(cache: Cache) -> list[Path]:
    return sorted(cache.folder.glob("*/*.f32"))


def check(cache: Cache, paths: list[Path]) -> None:
    """Every wave is what reading gives, bit for bit."""
    for path in paths:
        np.testing.assert_array_equal(cache.wave(path, sample_rate=RATE), audio.read(path, sample_rate=RATE))


def test_waves_are_what_reading_gives_and_read_only(cache: Cache, paths: list[Path], decoded: list[str]) -> None:
    prepared = cache.prepare(paths, sample_rate=RATE, workers=2)
    assert list(prepared.lengths) == paths
    assert set(prepared.lengths.values()) == {4000}
    assert prepared.digests == {path: audio.digest(path) for path in paths}
    assert prepared.infos == {path: audio.probe(path) for path in paths}
    check(cache, paths)
    wave = cache.wave(paths[0], sample_rate=RATE)
    assert wave.dtype == np.float32
    assert wave.flags.c_contiguous
    with pytest.raises(ValueError, match="read-only"):
        wave[0, 0] = 1.0
    again = cache.prepare(paths, sample_rate=RATE)
    assert again == prepared
    assert Cache(cache.folder.parent).prepare(paths, sample_rate=RATE) == prepared
    assert len(decoded) == len(paths)


def test_rates_and_channels_are_kept_apart(cache: Cache, paths: list[Path]) -> None:
    for rate, channels in ((RATE, "mix"), (16000, "first"), (16000, 2)):
        cache.prepare(paths[:1], sample_rate=rate, channels=channels)
    for rate, channels in ((RATE, "mix"), (16000, "first"), (16000, 2)):
        expected = audio.read(paths[0], sample_rate=rate, channels=channels)
        np.testing.assert_array_equal(cache.wave(paths[0], sample_rate=rate, channels=channels), expected)
    bad = cache.prepare(paths[:1], sample_rate=RATE, channels=3).bad[paths[0]]
    assert (bad.stage, bad.reason[:30]) == ("check", "2 channels where 3 were wanted")


def test_content_decides_and_not_the_name_or_time(cache: Cache, paths: list[Path], decoded: list[str]) -> None:
    cache.prepare(paths, sample_rate=RATE)
    before = {file: file.stat().st_mtime_ns for file in entries(cache)}
    os.utime(paths[0], ns=(1, 1))
    moved = paths[1].rename(paths[1].with_name("moved.flac"))
    copied = Path(shutil.copy(paths[2], paths[2].with_name("copied.flac")))
    write(paths[3], seed=99)
    now = [paths[0], moved, copied, paths[3], *paths[4:]]
    del decoded[:]
    cache.prepare(now, sample_rate=RATE)
    assert sorted(decoded) == sorted(str(path) for path in now[:4])
    check(cache, now)
    after = {file: file.stat().st_mtime_ns for file in entries(cache)}
    assert before.items() <= after.items()
    assert len(after) == len(before) + 1


def test_row_42_files_that_change(cache: Cache, paths: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    cache.prepare(paths, sample_rate=RATE)
    prepared_wave = cache.wave(paths[0], sample_rate=RATE).copy()
    assert cache.changed() == []
    write(paths[0], seed=99, seconds=0.7)
    paths[1].unlink()
    assert cache.changed() == paths[:2]
    np.testing.assert_array_equal(
        cache.wave(paths[0], sample_rate=RATE), prepared_wave
    )  # a run stays on what it began with
    with pytest.raises(audio.AudioError, match="not prepared at 8000 Hz"):
        Cache(cache.folder.parent).wave(paths[0], sample_rate=RATE)
    shutil.rmtree(cache.folder)
    with pytest.raises(audio.AudioError, match="were deleted, and it changed since it was prepared"):
        cache.wave(paths[0], sample_rate=RATE)
    with pytest.raises(audio.AudioError, match="were deleted, and it no longer decodes: no such file"):
        cache.wave(paths[1], sample_rate=RATE)


def test_row_42_a_file_that_grows_while_it_is_read(paths: list[Path], tmp_path: Path) -> None:
    def growing() -> None:
        with paths[0].open("ab") as out:
            out.write(b"more")

    with pytest.raises(audio.AudioError, match="changed while it was read: prepare it again"):
        decode.decode(
            str(paths[0]), str(tmp_path / "c"), str(tmp_path / "t"), sample_rate=RATE, channels="mix", alive=growing
        )
    assert not list(tmp_path.glob("c/*/*"))
    assert not (tmp_path / "t").exists()


def test_what_was_not_prepared_is_an_error(cache: Cache, paths: list[Path]) -> None:
    with pytest.raises(audio.AudioError, match="not prepared at 8000 Hz: call prepare"):
        cache.wave(paths[0], sample_rate=RATE)


def test_another_process_s_work_is_seen(cache: Cache, paths: list[Path], decoded: list[str]) -> None:
    other = Cache(cache.folder.parent)
    cache.prepare(paths[:3], sample_rate=RATE)
    check(other, paths[:3])
    other.prepare(paths, sample_rate=RATE)
    check(cache, paths)
    assert sorted(decoded) == sorted(map(str, paths))


def test_deleting_the_cache_costs_time_only(cache: Cache, paths: list[Path]) -> None:
    cache.prepare(paths, sample_rate=RATE)
    held = cache.wave(paths[0], sample_rate=RATE)
    shutil.rmtree(cache.folder.parent)
    np.testing.assert_array_equal(held, audio.read(paths[0], sample_rate=RATE))
    check(cache, paths[:2])
    cache.prepare(paths, sample_rate=RATE)
    check(cache, paths)


def test_torn_entries_and_journals_are_made_again(cache: Cache, paths: list[Path]) -> None:
    draw = random.Random(0)
    for _ in range(6):
        cache.prepare(paths, sample_rate=RATE)
        journal, entry = cache.folder / "known.jsonl", draw.choice(entries(cache))
        text = bytearray(journal.read_bytes())
        for _ in range(draw.randrange(4)):
            text[draw.randrange(len(text))] ^= 1 << draw.randrange(7)
        journal.write_bytes(text[: draw.randrange(len(text))])
        entry.write_bytes(entry.read_bytes()[: draw.randrange(16000)])
        cache = Cache(cache.folder.parent)
        assert not cache.prepare(paths, sample_rate=RATE, workers=1).bad
        check(cache, paths)


def test_only_whole_entries_are_entries(cache: Cache, paths: list[Path]) -> None:
    cache.prepare(paths[:1], sample_rate=RATE)
    entry = entries(cache)[0]
    content = entry.read_bytes()
    assert decode.look_up(entry, "mix") is not None
    assert decode.look_up(entry, 2) is None
    for size in (0, 3, 100, 15999, 16000, 16001, len(content) - 1):
        entry.write_bytes(content[:size])
        assert decode.look_up(entry, "mix") is None
    entry.write_bytes(content[4:])
    assert decode.look_up(entry, "mix") is None


@pytest.mark.parametrize("stage", ["write", "fsync", "replace"])
def test_row_73_a_full_disk_is_told_and_hurts_nothing(
    cache: Cache, paths: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stage: str
) -> None:
    cache.prepare(paths[:1], sample_rate=RATE)
    old = {file: file.read_bytes() for file in entries(cache)}

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    if stage == "write":
        monkeypatch.setattr(Path, "open", full)
    else:
        monkeypatch.setattr(os, stage, full)
    request = {"path": str(paths[1]), "folder": str(cache.folder), "temporary": str(tmp_path / "t")}
    answer = decode.answer({**request, "sample_rate": RATE, "channels": "mix"}, lambda: None)
    monkeypatch.undo()
    assert answer == {"cache": [errno.ENOSPC, "No space left on device"]}
    assert not (tmp_path / "t").exists()
    assert {file: file.read_bytes() for file in entries(cache)} == old


def test_row_73_a_full_disk_stops_preparing_with_a_sentence(cache: Cache, paths: list[Path]) -> None:
    """A limit on the size of files stands in for the disk: the small file fits, the large one does not."""
    large = write(paths[0].with_name("large.flac"), seed=7, seconds=20.0)
    program = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))\n"
        "from ossicle.data.cache import Cache\n"
        "cache = Cache(sys.argv[1]); cache.prepare(sys.argv[2:3], sample_rate=8000)\n"
        "try: cache.prepare(sys.argv[2:], sample_rate=8000)\n"
        "except OSError as error: print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(cache.folder.parent), str(paths[0]), str(large)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "the cache cannot be written (file too large), but what it holds is intact; make room" in done.stdout
    assert str(cache.folder.parent) in done.stdout
    check(cache, paths[:1])
    assert not list((cache.folder / "tmp").iterdir())


MISBEHAVING = """
import ctypes, os, signal, sys, time
from ossicle.data import decode
real = decode.decode
def decode_(path, *args, **how):
    name = os.path.basename(path)
    if name == "dies": os.kill(os.getpid(), signal.SIGSEGV)
    if name == "leaves": os._exit(3)
    if name == "hangs": time.sleep(1000)
    if name == "swells": bytearray(1 << 32)
    if name == "raises": raise RuntimeError("what?")
    if name == "prints": os.write(1, b'{"entry": "nonsense"}\\n'); os.write(2, b"junk\\n" * 100000)
    return real(path.replace("prints", "0.flac"), *args, **how)
decode.decode = decode_
decode.main()
"""


def test_row_74_a_decoder_that_fails_costs_one_file(cache: Cache, paths: list[Path], tmp_path: Path) -> None:
    """Killed, gone, hung, out of memory, confused, talkative: one answer each, and the others' are unharmed."""
    names = ["0.flac", "dies", "1.flac", "leaves", "hangs", "2.flac", "swells", "raises", "prints", "3.flac"]
    requests = [
        cache._request((str(paths[0].with_name(name)), RATE, "mix"), tmp_path / f"t{n}") for n, name in enumerate(names)
    ]
    command = (sys.executable, "-c", MISBEHAVING)
    answers = dict(workers.answered(requests, workers=2, patience=2.0, memory=1 << 29, command=command))
    assert sorted(answers) == list(range(len(names)))
    told = {name: answers[number].get("bad", ["", "fine"])[1] for number, name in enumerate(names)}
    assert {name for name, reason in told.items() if reason == "fine"} == {n for n in names if "flac" in n} | {"prints"}
    assert told["dies"] == "its decoder crashed (SIGSEGV)"
    assert told["leaves"] == "its decoder left with status 3"
    assert told["hangs"] == "its decoder hung (no sign of life for 2 s)"
    assert told["swells"] == "its decoder wanted more memory than it was given"
    assert told["raises"] == "its decoder failed (RuntimeError: what?)"


def test_row_74_a_worker_that_cannot_start_is_no_file_s_fault(cache: Cache, paths: list[Path], tmp_path: Path) -> None:
    request = cache._request((str(paths[0]), RATE, "mix"), tmp_path / "t")
    command = (sys.executable, "-c", "raise SystemExit('no numpy here')")
    with pytest.raises(
        RuntimeError, match=r"did not start: its decoder left with status 1; it last said: no numpy here"
    ):
        list(workers.answered([request], workers=1, command=command))


def test_row_74_workers_are_started_after_threads_and_import_no_torch(cache: Cache, paths: list[Path]) -> None:
    program = """
import sys, threading, time
threading.Thread(target=time.sleep, args=(2,), daemon=True).start()
sys.path.insert(0, "/nowhere")
from ossicle.data.cache import Cache
print(len(Cache(sys.argv[1]).prepare(sys.argv[2:], sample_rate=8000, workers=3).lengths))
"""
    trap = paths[0].parent / "torch.py"
    trap.write_text("raise SystemError('torch was imported')")
    done = subprocess.run(
        [sys.executable, "-c", program, str(cache.folder.parent), *map(str, paths)],
        env={**os.environ, "PYTHONPATH": str(trap.parent)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert (done.stdout, done.stderr) == ("6\n", "")


def test_a_folder_s_modules_are_not_imported(cache: Cache, paths: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """Sound folders may hold a `numpy.py` or a `json.py`; a worker started there does not run them."""
    for name in ("json.py", "numpy.py", "soundfile.py"):
        paths[0].with_name(name).write_text("raise SystemError('not this one')")
    monkeypatch.chdir(paths[0].parent)
    assert not cache.prepare([paths[0].name], sample_rate=RATE).bad


def test_no_decoder_writes_to_the_user_s_terminal(
    cache: Cache, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    noisy = write(tmp_path / "noisy.mp3", 0, 3.0, "MP3")
    noisy.write_bytes(noisy.read_bytes()[:4000])
    assert "truncated" in cache.prepare([noisy], sample_rate=RATE).bad[noisy].reason
    assert capfd.readouterr() == ("", "")
    with pytest.raises(audio.AudioError):
        audio.read(noisy)
    assert capfd.readouterr().err  # so there was something to keep away


def test_progress_counts_every_file_once(cache: Cache, paths: list[Path]) -> None:
    cache.prepare(paths[:2], sample_rate=RATE)
    paths[3].write_bytes(b"")
    seen: list[tuple[int, int]] = []
    cache.prepare([*paths, *paths], sample_rate=RATE, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(done, 6) for done in range(2, 7)]


def test_an_interrupted_preparation_keeps_what_is_done(cache: Cache, paths: list[Path], decoded: list[str]) -> None:
    def interrupt(done: int, total: int) -> None:
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cache.prepare(paths, sample_rate=RATE, workers=1, progress=interrupt)
    assert not list((cache.folder / "tmp").iterdir())
    del decoded[:]
    cache.prepare(paths, sample_rate=RATE)
    assert sorted(decoded) == sorted(map(str, paths[3:]))
    check(cache, paths)


def test_abandoned_files_are_swept_and_others_left(cache: Cache, paths: list[Path]) -> None:
    (cache.folder / "tmp").mkdir(parents=True)
    old, new = cache.folder / "tmp/old", cache.folder / "tmp/new"
    for file in (old, new):
        file.write_bytes(b"half")
    os.utime(old, (time.time() - 7200,) * 2)
    cache.prepare(paths[:1], sample_rate=RATE)
    assert (old.exists(), new.exists()) == (False, True)


def test_the_folder_comes_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OSSICLE_CACHE", str(tmp_path / "here"))
    assert Cache().folder.parent == tmp_path / "here"
    monkeypatch.delenv("OSSICLE_CACHE")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert Cache().folder.parent == tmp_path / ".cache/ossicle"


def preparing(cache: Cache, paths: list[Path], workers: int = 2) -> subprocess.Popen[bytes]:
    """Another process that prepares, in a process group of its own."""
    program = (
        "import sys; from ossicle.data.cache import Cache\n"
        f"print(len(Cache(sys.argv[1]).prepare(sys.argv[2:], sample_rate={RATE}, workers={workers}).lengths))"
    )
    return subprocess.Popen(
        [sys.executable, "-c", program, str(cache.folder.parent), *map(str, paths)],
        stdout=subprocess.PIPE,
        start_new_session=True,
    )


def test_two_processes_may_prepare_the_same(cache: Cache, paths: list[Path]) -> None:
    both = [preparing(cache, paths), preparing(cache, paths)]
    assert [process.communicate(timeout=60)[0] for process in both] == [b"6\n", b"6\n"]
    check(cache, paths)
    assert len(entries(cache)) == len(paths)


@pytest.mark.slow
def test_killed_at_any_moment_the_cache_is_whole(cache: Cache, tmp_path: Path) -> None:
    paths = [write(tmp_path / f"{seed}.flac", seed, 10.0) for seed in range(40)]
    draw = random.Random(1)
    for _ in range(20):
        process = preparing(cache, paths)
        time.sleep(draw.uniform(0.2, 1.2))
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        for entry in entries(cache):
            assert decode.look_up(entry, "mix") is not None
    assert not cache.prepare(paths, sample_rate=RATE).bad
    check(cache, paths)


@pytest.mark.slow
def test_four_hundred_real_clips_take_seconds(cache: Cache) -> None:
    clips = sorted((Path(__file__).parents[3] / "shared/esc10/audio").glob("*.ogg"))
    if not clips:
        pytest.skip("no real recordings here")
    began = time.monotonic()
    prepared = cache.prepare(clips, sample_rate=22050, workers=2)
    assert time.monotonic() - began < 15.0
    assert (len(prepared.lengths), prepared.bad) == (len(clips), {})


@pytest.mark.slow
def test_row_46_ten_hours_in_bounded_memory(cache: Cache, tmp_path: Path) -> None:
    """Ten hours of 8 kHz: the worker and its parent stay within 300 MB, though the samples are 1.15 GB."""
    if not Path("/proc/self/status").exists():
        pytest.skip("no /proc")
    path, frames = tmp_path / "long.wav", 36000 * 8000
    with soundfile.SoundFile(path, "w", 8000, 1, "PCM_U8") as out:
        for hour in range(10):
            out.write(np.full(3600 * 8000, hour / 10, np.float32))
    program = (
        "import re, resource, sys; from pathlib import Path; from ossicle.data.cache import Cache\n"
        "cache = Cache(sys.argv[1]); cache.prepare(sys.argv[2:], sample_rate=8000)\n"
        "wave = cache.wave(sys.argv[2], sample_rate=8000); assert abs(wave[0, -1] - 0.9) < 0.01\n"
        "own = re.search(r'VmHWM:\\s+(\\d+)', Path('/proc/self/status').read_text())[1]\n"
        "worker = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss\n"
        "print(wave.shape[1], int(own) // 1024, worker // 1024)"
    )
    command = [sys.executable, "-c", program, str(cache.folder.parent), str(path)]
    length, *peaks = map(int, subprocess.run(command, capture_output=True, text=True, check=True).stdout.split())
    assert length == frames
    assert max(peaks) < 300


def test_reports_are_json_whatever_the_name(cache: Cache, tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(b"bad \xff\n.wav")
    path.write_bytes(b"")
    bad = cache.prepare([path], sample_rate=RATE).bad[path]
    assert os.fsencode(json.loads(json.dumps(bad.path))) == os.fsencode(path)
    assert cache_module.BadFile(**vars(bad)) == bad
