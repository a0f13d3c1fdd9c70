"""What exported models cost in processes of their own, where torch never comes in: a half of speed.py, and a table.

    python benchmarks/device.py runs/students/base/fold1-seed0 runs/students/tiny/fold1-seed0

Each run is exported. Each file of its bundle answers in cold processes that take turns, on one thread: the time from
starting Python to the first answer, resident memory after it, then how long a window takes.
"""

from __future__ import annotations

import argparse
import json
import struct
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import record
from record import Row, row

from ossicle.durable import write, write_json

RATE = 16_000
SMALL = {"sample_rate": RATE, "seconds": 1.0, "n_fft": 512, "win": 400, "hop": 160, "mels": 64}
LABELS = tuple(f"class {k}" for k in range(10))
MB = 1e6

COLD = """
import sys
import ossicle
import numpy as np

recognizer = ossicle.load(sys.argv[1], int8="int8" in sys.argv)
wave = np.sin(np.arange(recognizer.config.window, dtype=np.float32))
recognizer(wave)
print("answered", flush=True)

import json, time
from pathlib import Path

heavy = sorted({"torch", "sklearn", "matplotlib", "onnx"} & sys.modules.keys())
status = dict(line.split(":") for line in Path("/proc/self/status").read_text().splitlines())
wave, repeats, taken = wave[None, None], int(sys.argv[2]), []
for _ in range(repeats):
    began = time.perf_counter()
    recognizer.scores(wave)
    taken.append(time.perf_counter() - began)
stream = recognizer.stream(hop=recognizer.config.window)
streamed = []
for _ in range(repeats):
    began = time.perf_counter()
    stream.push(wave[0])
    streamed.append(time.perf_counter() - began)
found = {name: int(status[name].split()[0]) * 1024 for name in ("VmRSS", "VmHWM")}
paces = {"answer": sorted(taken)[repeats // 2], "streamed": sorted(streamed)[repeats // 2]}
print(json.dumps(found | paces | {"heavy": heavy}))
"""


@contextmanager
def exported() -> Iterator[Path]:
    """A bundle of the small CNN as published (1-D, 64 mels, 25 ms windows every 10 ms), one-second window, fresh
    weights."""
    from ossicle.deploy.export import export
    from ossicle.model import Backbone, Classifier
    from ossicle.recipe import Spec

    classifier = Classifier(Backbone(Spec("logmel", SMALL), Spec("small", {"reading": "1d"})), LABELS)
    with TemporaryDirectory() as place:
        export(classifier.eval(), Path(place, "bundle"))
        yield Path(place, "bundle")


def small(*, processes: int = 9, repeats: int = 500) -> list[Row]:
    """The first answer of cold processes, what they keep in memory, and how fast the answers after it come."""
    with exported() as bundle:
        found = [cold(bundle, repeats) for _ in range(processes)]
        megabytes = (bundle / "model.onnx").stat().st_size / 1e6
    heavy = sorted({name for each in found for name in each["heavy"]})
    seconds = SMALL["seconds"]
    speed, streamed = ([seconds / each[name] for each in found] for name in ("answer", "streamed"))
    first, kept = [each["first"] for each in found], [each["VmRSS"] / MB for each in found]
    peak = max(each["VmHWM"] for each in found) / MB
    what = f"Small CNN, one-second window, one thread ({megabytes:.1f} MB)"
    answer = f"{1000 * seconds / np.median(speed):.3g} ms an answer, the median of {repeats} in each process"
    return [
        row(f"{what}: scores", "at least 1,000 times real time", speed, "times real time", answer),
        row(f"{what}: through the stream", "", streamed, "times real time", "a second at a time"),
        row("First answer of a cold process", "under 0.6 s", first, "s", f"from starting Python, {processes} times"),
        row("Resident after it", "under 120 MB", kept, "MB", f"at its peak {peak:.0f} MB"),
        Row("Training modules loaded", "no torch", len(heavy), "", note=", ".join(heavy)),
    ]


def cold(bundle: Path, repeats: int, *, int8: bool = False) -> dict[str, Any]:
    """One process from its start, in seconds and bytes."""
    began = time.perf_counter()
    asked = [str(bundle), str(repeats), *(["int8"] if int8 else [])]
    with subprocess.Popen([sys.executable, "-c", COLD, *asked], stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        said = child.stdout.readline()
        first = time.perf_counter() - began
        rest = child.stdout.read()
    if said.strip() != "answered" or child.returncode:
        raise RuntimeError(f"the cold process ended with status {child.returncode}; see its words above")
    return json.loads(rest) | {"first": first}


def costs(folders: Iterable[Path], *, processes: int = 9, repeats: int = 200) -> dict[str, Any]:
    """Each run's bundle, each of its files: bytes, seconds of a window, and what `cold` found in every process."""
    from ossicle.deploy.config import INT8, MODEL, Config
    from ossicle.ship import ship

    found: dict[str, Any] = {}
    with TemporaryDirectory() as place:
        for number, folder in enumerate(folders):
            bundle = Path(place, str(number))
            ship(folder, bundle)
            config = Config.read(bundle)
            files = [name for name in (MODEL, INT8) if (bundle / name).exists()]
            heard = [{name: cold(bundle, repeats, int8=name == INT8) for name in files} for _ in range(processes)]
            for name in files:
                about = {"bytes": (bundle / name).stat().st_size, "window": config.window / config.sample_rate}
                found[f"{folder} {name}"] = about | {"processes": [each[name] for each in heard]}
    return found


def costs_page(found: Mapping[str, Any], measured: Mapping[str, Any]) -> str:
    """A line a file: medians, and the least and the most of its processes."""
    lines = ["| model | file, kB | first answer of a cold process, s | resident, MB | ms a window | times real time |"]
    lines += ["|---|---|---|---|---|---|"]
    for name, one in found.items():
        each = one["processes"]
        first = _spread([process["first"] for process in each])
        kept = _spread([process["VmRSS"] / MB for process in each])
        taken = [process["answer"] for process in each]
        pace = f"{_spread([1000 * seconds for seconds in taken])} | {one['window'] / float(np.median(taken)):.0f}"
        lines.append(f"| {name} (window {one['window']:g} s) | {one['bytes'] / 1e3:.0f} | {first} | {kept} | {pace} |")
    return "\n".join([*lines, "", record.setting(measured) + "."]) + "\n"


def _spread(values: Sequence[float]) -> str:
    return f"{np.median(values):.3g} ({min(values):.3g} to {max(values):.3g})"


def usage(*, repeats: int = 15) -> list[Row]:
    """`ossicle --help`, from start to end."""
    taken = []
    for _ in range(repeats + 1):
        began = time.perf_counter()
        subprocess.run([*OSSICLE, "--help"], stdout=subprocess.DEVNULL, check=True)
        taken.append(time.perf_counter() - began)
    return [row("ossicle --help", "under 0.3 s", taken[1:], "s", f"the first of all took {taken[0]:.2f} s")]


OSSICLE = (sys.executable, "-m", "ossicle")


def ten_hours(*, hours: float = 10.0) -> list[Row]:
    """The most memory that `listen` has on a long file, over what it has while it waits for sound."""
    with exported() as bundle:
        recording = bundle.parent / "long.wav"
        write_long(recording, round(hours * 3600) * RATE)
        idle = waiting(bundle)
        began = time.perf_counter()
        peak, events = listened(bundle, recording)
        pace = hours * 3600 / (time.perf_counter() - began)
    what = f"listen to {hours:g} hours (16 kHz, 16 bit, {recording.suffix}): peak over idle"
    note = f"idle {idle / MB:.0f} MB, peak {peak / MB:.0f} MB, {pace:.0f} times real time, {events} events"
    return [Row(what, "within 300 MB", (peak - idle) / MB, "MB", note=note)]


def write_long(path: Path, samples: int, *, every: int = 600 * RATE) -> None:
    """A mono 16-bit WAV of silence (a hole in the file, where the disk can keep one) with a second of noise every
    `every` samples."""
    noise = np.random.default_rng(0).normal(0, 3000, RATE).astype("<i2").tobytes()
    size = 2 * samples
    with path.open("wb") as file:
        file.write(b"RIFF" + struct.pack("<I", 36 + size) + b"WAVEfmt ")
        file.write(struct.pack("<IHHIIHH", 16, 1, 1, RATE, 2 * RATE, 2, 16) + b"data" + struct.pack("<I", size))
        for start in range(0, samples - RATE, every):
            file.seek(44 + 2 * start)
            file.write(noise)
        file.truncate(44 + size)


def waiting(bundle: Path, *, pause: float = 0.5) -> int:
    """Resident bytes of a listener that has heard two seconds and waits for more, once a `pause` changes nothing."""
    with subprocess.Popen(
        [*OSSICLE, "listen", str(bundle), "--", "-"],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    ) as child:
        assert child.stdin is not None
        child.stdin.write(bytes(4 * RATE))
        child.stdin.flush()
        before, now = -1, 0
        while now != before or now == 0:
            time.sleep(pause)
            before, now = now, memory(child.pid, "VmRSS")
            if child.poll() is not None:
                raise RuntimeError(f"listen gave up with status {child.returncode}")
        child.stdin.close()
    return now


def listened(bundle: Path, recording: Path) -> tuple[int, int]:
    """A whole file: the most bytes that were resident, and how many events were told."""
    told = bundle.parent / "events.jsonl"
    with (
        told.open("wb") as out,
        subprocess.Popen(
            [*OSSICLE, "listen", str(bundle), str(recording), "--on", "0.1"], stdout=out, stderr=subprocess.DEVNULL
        ) as child,
    ):
        peak = 0
        while child.poll() is None:  # the high-water mark only rises, so the last look is as good as the end
            peak = max(peak, memory(child.pid, "VmHWM"))
            time.sleep(0.02)
    if child.returncode:
        raise RuntimeError(f"listen ended with status {child.returncode}")
    return peak, len(told.read_text().splitlines())


def memory(process: int, name: str) -> int:
    """Bytes of a process, as Linux tells them; 0 while there is nothing to tell.

    Not getrusage: what that says of a child begins with the size of the process that started it.
    """
    try:
        lines = Path(f"/proc/{process}/status").read_text().splitlines()
    except ProcessLookupError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:")), 0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", type=Path, nargs="+", help="runs of classifiers")
    parser.add_argument("-o", "--out", type=Path, default=record.RESULTS / "device.json")
    asked = parser.parse_args()
    measured = {"command": record.command()} | record.surroundings() | {"threads": 1}
    found = costs(asked.folders)
    write_json(asked.out, {"found": found, "measured": measured})
    write(asked.out.with_suffix(".md"), costs_page(found, measured).encode())
    print(asked.out.with_suffix(".md").read_text())


if __name__ == "__main__":
    main()
