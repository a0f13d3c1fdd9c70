from __future__ import annotations

import csv
import io
import json
from datetime import datetime
from pathlib import Path

import pytest

from ossicle.datasets import annotated
from ossicle.deploy.events import Event
from ossicle.deploy.faults import Fault
from ossicle.deploy.formats import FORMATS, Place
from ossicle.deploy.when import later

EVENT = Event("dog, small", 3725.5, 3726.25, 0.93)
ODD_NAMES = [
    "a.wav",
    'com,ma "quoted".wav',
    "new\nline.wav",
    "tab\t.wav",
    "é🎵.wav",
    "-x.wav",
    "not-utf8-\udcff.wav",
    "",
]


@pytest.mark.parametrize("source", ODD_NAMES)
def test_lines_hold_any_name(source):
    lines = {name: shape.line(EVENT, Place(source, 16000), 1) for name, shape in FORMATS.items()}
    for line in lines.values():
        line.encode("utf-8")
    values = {"source": source, "label": "dog, small", "start": 3725.5, "stop": 3726.25, "score": 0.93, "time": None}
    assert json.loads(lines["jsonl"]) == values
    (row,) = csv.reader(io.StringIO(lines["csv"], newline=""))
    assert row[0] == source.replace("\udcff", "\\udcff")
    assert dict(zip(FORMATS["csv"].heading.split(","), row, strict=True))["stop"] == "3726.250"
    assert "\n" not in lines["jsonl"] + lines["text"] + lines["audacity"] + lines["raven"]
    assert len(lines["raven"].split("\t")) == len(FORMATS["raven"].heading.split("\t"))
    assert lines["text"].startswith("1:02:05.500  1:02:06.250   93%  dog, small")


@pytest.mark.parametrize("name", ["audacity", "raven"])
def test_tables_are_read_as_those_of_the_programs_are(tmp_path: Path, name: str) -> None:
    """By the reader of label tables, which was written for those that Audacity and Raven export."""
    shape = FORMATS[name]
    events = [Event("dog", 0.5, 2.25, 0.9), Event("Großer Brachvogel", 1.0, 1.5, 0.8), Event("a\tb", 7.0, 8.0, 0.7)]
    lines = [shape.line(event, Place("x/rec.wav", 16000), n) for n, event in enumerate(events, 1)]
    table = tmp_path / "rec.txt"
    table.write_text("\n".join([shape.heading] * bool(shape.heading) + lines) + "\n", encoding="utf-8")
    problems: list = []
    read = list(annotated.parse(table, problems))
    assert problems == []
    assert [(event.start, event.stop) for event in read] == [(0.5, 2.25), (1.0, 1.5), (7.0, 8.0)]
    assert [event.label for event in read] == ["dog", "Großer Brachvogel", "a\\tb"]


def test_audacity_has_three_columns_and_no_heading():
    """Its manual's page on importing labels: start, end and text, with tabs between."""
    assert FORMATS["audacity"].heading == ""
    assert FORMATS["audacity"].line(Event("dog", 3.4, 6.1, 0.9), Place("a.wav", 8000), 1) == "3.400000\t6.100000\tdog"


def test_raven_counts_through_the_files_and_tells_where_in_each():
    """Columns as Raven writes them itself for a sequence of files."""
    line = FORMATS["raven"].line(Event("dog", 3.5, 6.0, 0.9), Place("night/b.wav", 16000, before=60.0), 7)
    row = dict(zip(FORMATS["raven"].heading.split("\t"), line.split("\t"), strict=True))
    assert row["Selection"] == "7"
    assert row["View"] == "Spectrogram 1"
    assert (float(row["Begin Time (s)"]), float(row["End Time (s)"])) == (63.5, 66.0)
    assert (row["Begin File"], float(row["File Offset (s)"])) == ("b.wav", 3.5)
    assert (float(row["Low Freq (Hz)"]), float(row["High Freq (Hz)"])) == (0, 8000)


@pytest.mark.parametrize(("name", "column"), [("jsonl", "time"), ("csv", "time"), ("raven", "Time")])
def test_the_time_stands_beside_the_seconds(name, column):
    start = datetime.fromisoformat("2024-05-01T23:59:58+02:00")
    line = FORMATS[name].line(EVENT, Place("a.wav", 16000, lambda seconds: later(start, seconds)), 1)
    if name == "jsonl":
        found = json.loads(line)[column]
    else:
        between = "," if name == "csv" else "\t"
        heading = FORMATS[name].heading.split(between)
        found = next(csv.DictReader(io.StringIO(line), heading, delimiter=between))[column]
    assert found == "2024-05-02T01:02:03.500+02:00"


def test_a_fault_is_a_line_of_json_without_a_label():
    shape = FORMATS["jsonl"].fault
    assert shape is not None
    values = json.loads(shape(Fault(1.0, 2.5, 24000, "gap"), Place("-", 16000)))
    assert (values["fault"], values["start"], values["stop"], values["samples"]) == ("gap", 1.0, 2.5, 24000)
    assert "label" not in values
