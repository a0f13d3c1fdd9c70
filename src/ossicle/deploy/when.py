"""When a recording began, from GUANO metadata or a name like `20240501_053000.WAV`: the time of each second of it."""

from __future__ import annotations

import re
import zoneinfo
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from pathlib import Path

from ossicle import audio

_NAME = re.compile(
    r"(?<!\d)(?P<year>(?:19|20)\d\d)(?P<dash>[-_.]?)(?P<month>\d\d)(?P=dash)(?P<day>\d\d)[-_T .]"
    r"(?P<hour>\d\d)(?P<colon>[-_:.]?)(?P<minute>\d\d)(?P=colon)(?P<second>\d\d)(?!\d)"
    r"(?P<zone>Z(?![a-z])|[+-](?:0\d|1[0-4]):?(?:00|15|30|45)(?!\d))?"  # -0001 is no zone
)


def zone(text: str) -> tzinfo:
    """`Europe/Berlin`, `UTC`, `+02:00` -> a time zone. ValueError says what was wanted."""
    if offset := re.fullmatch(r"([+-])(\d\d):?(\d\d)", text):
        hours, minutes = int(offset[2]), int(offset[3])
        if hours < 24 and minutes < 60:
            return timezone((-1 if offset[1] == "-" else 1) * timedelta(hours=hours, minutes=minutes))
    try:
        return UTC if text.upper() in ("UTC", "Z") else zoneinfo.ZoneInfo(text)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ValueError(f"no time zone '{text}': Europe/Berlin, UTC or +02:00 were wanted") from error


def began(path: Path, tz: tzinfo | None = None) -> Callable[[float], datetime | None]:
    """What time it was at a second of a recording, or None all along where neither metadata nor name tell.

    A time without a distance from UTC is taken to be of the zone `tz`; where that is not given it stays without. One
    with a distance is shown in the zone. GUANO's `TE`, the times by which a recording is slowed down, counts.
    """
    fields = _fields(path)
    start = _timestamp(fields.get("Timestamp", "")) or from_name(path.name)
    if start is None:
        return lambda seconds: None
    first = start.replace(tzinfo=tz) if start.tzinfo is None else start.astimezone(tz) if tz else start
    slowed = _slowed(fields.get("TE", ""))
    return lambda seconds: later(first, seconds / slowed)


def from_name(name: str) -> datetime | None:
    """The date and time that stand in a file's name, with their distance from UTC if that stands there too."""
    for found in _NAME.finditer(name):
        parts = [int(found[part]) for part in ("year", "month", "day", "hour", "minute", "second")]
        try:
            time = datetime(*parts)  # type: ignore[arg-type]
            return time.replace(tzinfo=zone(found["zone"])) if found["zone"] else time
        except ValueError:
            continue
    return None


def later(time: datetime, seconds: float) -> datetime:
    """So many seconds later, through a change to summer time if there is one between."""
    passed = timedelta(seconds=seconds)
    return time + passed if time.tzinfo is None else (time.astimezone(UTC) + passed).astimezone(time.tzinfo)


def _fields(path: Path) -> dict[str, str]:
    try:
        return audio.guano(path)
    except audio.AudioError:
        return {}


def _timestamp(text: str) -> datetime | None:
    """GUANO's time as recorders write it, -7:00 included; a date alone tells no time."""
    try:
        time = datetime.fromisoformat(re.sub(r"([+-])(\d:\d\d)$", r"\g<1>0\2", text))
    except ValueError:
        return None
    return time if len(text) > len("2024-05-01") else None


def _slowed(text: str) -> float:
    try:
        factor = float(text)
    except ValueError:
        return 1.0
    return factor if 1.0 <= factor < float("inf") else 1.0
