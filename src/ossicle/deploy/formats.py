"""Events and faults -> lines: JSON, CSV, text, Audacity's labels, Raven's selection tables.

A new format is a row of FORMATS. Every line holds whatever stands in a file's name, and stays one line.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from ossicle.deploy.events import Event
from ossicle.deploy.faults import Fault


@dataclass(frozen=True)
class Place:
    """Where events were heard: the `source`'s name, and `time`, the date of a second of it if anybody knows that.

    `sample_rate` (Hz) is the source's or the model's, whichever is lower: nothing above half of it was heard.
    `before`: seconds of the recordings that stand before it in the same output.
    """

    source: str
    sample_rate: int
    time: Callable[[float], datetime | None] = lambda seconds: None
    before: float = 0.0

    def iso(self, seconds: float) -> str | None:
        """ISO 8601 to the millisecond, with the distance from UTC where that is known."""
        time = self.time(seconds)
        return None if time is None else time.isoformat(timespec="milliseconds")


@dataclass(frozen=True)
class Format:
    """How an event becomes a line (`event`, `place`, its number from 1), under `heading`, in files named `*suffix`.

    `fault` does the same for what was wrong, where the format can hold that. `apart`: it is of one recording only, so
    that several need a file each.
    """

    suffix: str
    line: Callable[[Event, Place, int], str]
    heading: str = ""
    fault: Callable[[Fault, Place], str] | None = None
    apart: bool = False


def json_line(event: Event, place: Place, number: int = 1) -> str:
    """source, label, start, stop, score, time."""
    values: dict[str, Any] = {"source": place.source, "label": event.label}
    values |= {"start": round(event.start, 3), "stop": round(event.stop, 3), "score": round(event.score, 4)}
    return json.dumps(values | {"time": place.iso(event.start)})


def json_fault(fault: Fault, place: Place) -> str:
    """source, fault (its kind), start, stop, samples, reason, time: an object without a label."""
    values: dict[str, Any] = {"source": place.source, "fault": fault.kind}
    values |= {"start": round(fault.start, 6), "stop": round(fault.stop, 6), "samples": fault.samples}
    return json.dumps(values | {"reason": str(fault), "time": place.iso(fault.start)})


def csv_line(event: Event, place: Place, number: int = 1) -> str:
    """As RFC 4180 has it: quoted where a comma, a quote or a line break needs it."""
    line = io.StringIO()
    values = (place.source, event.label, f"{event.start:.3f}", f"{event.stop:.3f}", f"{event.score:.4f}")
    csv.writer(line).writerow([*map(printable, values), place.iso(event.start) or ""])
    return line.getvalue().removesuffix("\r\n")


def text_line(event: Event, place: Place, number: int = 1) -> str:
    """For people: `0:01:02.500  0:01:04.000   93%  dog   garden.wav  2024-05-01 05:31:02`."""
    time = place.time(event.start)
    clock = "" if time is None else f"  {time:%Y-%m-%d %H:%M:%S}"
    span = f"{_clock(event.start)}  {_clock(event.stop)}"
    return f"{span}  {event.score:4.0%}  {_one_line(event.label)}  {_one_line(place.source)}{clock}".rstrip()


def audacity_line(event: Event, place: Place, number: int = 1) -> str:
    """A region of a label track: start, end and text between tabs; UTF-8, as Audacity's import wants it."""
    return f"{event.start:.6f}\t{event.stop:.6f}\t{_one_line(event.label)}"


RAVEN = (
    *("Selection", "View", "Channel", "Begin Time (s)", "End Time (s)", "Low Freq (Hz)", "High Freq (Hz)"),
    *("Begin File", "File Offset (s)", "Annotation", "Score", "Time"),
)


def raven_line(event: Event, place: Place, number: int = 1) -> str:
    """A row of a selection table (Raven Pro 1.4's manual, chapter 6); begin and end count through all files."""
    begin, end = place.before + event.start, place.before + event.stop
    name = _one_line(place.source.replace("\\", "/").rpartition("/")[2])
    cells = [number, "Spectrogram 1", 1, f"{begin:.6f}", f"{end:.6f}", "0.0", f"{place.sample_rate / 2:.1f}"]
    cells += [name, f"{event.start:.6f}", _one_line(event.label), f"{event.score:.4f}", place.iso(event.start) or ""]
    return "\t".join(map(str, cells))


FORMATS = {
    "jsonl": Format(".jsonl", json_line, fault=json_fault),
    "csv": Format(".csv", csv_line, "source,label,start,stop,score,time"),
    "text": Format(".txt", text_line),
    "audacity": Format(".txt", audacity_line, apart=True),
    "raven": Format(".selections.txt", raven_line, "\t".join(RAVEN)),
}


def named(name: str) -> Format:
    """A row of FORMATS; ValueError names those there are."""
    if name not in FORMATS:
        raise ValueError(f"unknown format '{name}'; known: {', '.join(FORMATS)}")
    return FORMATS[name]


def printable(text: str) -> str:
    """Bytes of a name that are no UTF-8 (kept by Python as lone surrogates) become escapes that any terminal prints."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def _one_line(text: str) -> str:
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def _clock(seconds: float) -> str:
    whole, thousandths = divmod(round(seconds * 1000), 1000)
    return f"{whole // 3600}:{whole // 60 % 60:02}:{whole % 60:02}.{thousandths:03}"
