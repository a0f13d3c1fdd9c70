"""What a benchmark found: rows kept item by item in NAME.json, shown in NAME.md, with the machine they are about."""

from __future__ import annotations

import os
import platform
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from ossicle.durable import read_json, write, write_json

RESULTS = Path(__file__).parent / "results"
VERSIONS = ("ossicle", "torch", "numpy", "onnxruntime", "soundfile", "soxr", "librosa")


@dataclass(frozen=True)
class Row:
    """One number: `found`, and the `low`est and `high`est of the repeats whose median it is.

    `found` is None where it could not be measured here; `note` then says why.
    """

    what: str
    wanted: str
    found: float | None
    unit: str
    low: float | None = None
    high: float | None = None
    note: str = ""


def row(what: str, wanted: str, values: Sequence[float], unit: str, note: str = "") -> Row:
    """The median of repeats, with their spread."""
    return Row(what, wanted, float(np.median(values)), unit, float(min(values)), float(max(values)), note)


def interleaved(arms: Mapping[str, Callable[[], object]], repeats: int, *, warm: int = 1) -> dict[str, list[float]]:
    """Seconds of each call, A A B B C C A A ..., so that a machine that slows down slows all arms; `warm` rounds are
    left out, and so is the first call of each pair: other arms' threads still spin for a tenth of a second.
    """
    taken: dict[str, list[float]] = {name: [] for name in arms}
    for _ in range(warm + repeats):
        for name, call in arms.items():
            call()
            began = time.perf_counter()
            call()
            taken[name].append(time.perf_counter() - began)
    return {name: seconds[warm:] for name, seconds in taken.items()}


def ratios(slow: Iterable[float], fast: Iterable[float]) -> list[float]:
    """How many times as fast, round by round."""
    return [a / b for a, b in zip(slow, fast, strict=True)]


def surroundings() -> dict[str, Any]:
    """When, with what and on what machine; `load` is how many other threads wanted to run just before."""
    import torch

    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": _commit(),
        "machine": f"{platform.system()} {platform.machine()}, {_processor()}, {_cores()} cores, {_memory():.0f} GB",
        "load": round(os.getloadavg()[0], 2),
        "threads": torch.get_num_threads(),
        "versions": {"python": platform.python_version()} | {name: v for name in VERSIONS if (v := _version(name))},
    }


def command() -> str:
    """What was typed."""
    return shlex.join(["python", *sys.argv])


def keep(name: str, item: str, rows: Iterable[Row], context: Mapping[str, Any], folder: Path = RESULTS) -> None:
    """Puts an item's rows into NAME.json in place of its older ones, and writes NAME.md anew."""
    folder.mkdir(parents=True, exist_ok=True)
    place = folder / f"{name}.json"
    whole = (read_json(place) if place.exists() else {}) | {item: {**context, "rows": [asdict(each) for each in rows]}}
    write_json(place, whole)
    write(folder / f"{name}.md", page(whole).encode())


def page(whole: Mapping[str, Any]) -> str:
    """All items as one table, what is to be said of them, and how they were measured."""
    lines = ["| item | what | wanted | found | spread |", "|---|---|---|---|---|"]
    for item, kept in whole.items():
        lines += [_line(item, Row(**each)) for each in kept["rows"]]
    lines += ["", "Found is the median of repeats, spread the least and the most of them.", ""]
    for item, kept in whole.items():
        lines += [f"- {item}: {each['what']}: {each['note']}" for each in kept["rows"] if each["note"]]
    by_setting: dict[str, list[str]] = {}
    for item, kept in whole.items():
        when = f"{item} ({kept['date']}, {kept['seconds']:.0f} s, load {kept['load']} before)"
        by_setting.setdefault(setting(kept), []).append(when)
    lines += ["", *(f"{setting}: {', '.join(items)}.\n" for setting, items in by_setting.items())]
    return "\n".join(lines)


def setting(kept: Mapping[str, Any]) -> str:
    """How something was measured, in a line."""
    versions = ", ".join(f"{name} {version}" for name, version in kept["versions"].items())
    machine = f"{kept['machine']}, {kept['threads']} threads"
    return f"`{kept['command']}` at commit {kept['commit']} on {machine} ({versions})"


def _line(item: str, found: Row) -> str:
    spread = "" if found.low is None or found.high is None else f"{found.low:.3g} to {found.high:.3g}"
    value = "not measured" if found.found is None else f"{_plain(found.found)} {found.unit}".rstrip()
    return f"| {item} | {found.what} | {found.wanted} | {value} | {spread} |"


def _plain(value: float) -> str:
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _commit() -> str:
    asked = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty"]
    try:
        return subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _memory() -> float:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9


def _processor() -> str:
    import torch

    info = Path("/proc/cpuinfo")
    found = info.read_text().splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in found if line.startswith("model name")]
    return f"{names[0] if names else platform.processor()} ({torch.backends.cpu.get_cpu_capability()})"
