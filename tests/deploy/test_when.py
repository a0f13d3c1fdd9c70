from __future__ import annotations

import struct
from datetime import UTC, datetime

import pytest

from ossicle import audio
from ossicle.audio import AudioError
from ossicle.deploy.when import began, from_name, zone

MAY = datetime(2024, 5, 1, 5, 30)


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("20240501_053000.WAV", "2024-05-01T05:30:00"),
        ("SM4_loft_20240501_053000.wav", "2024-05-01T05:30:00"),
        ("2024-05-01_05-30-00.flac", "2024-05-01T05:30:00"),
        ("2024-05-01T05.30.00.flac", "2024-05-01T05:30:00"),
        ("20240501T053000Z.wav", "2024-05-01T05:30:00+00:00"),
        ("20240501T053000+1000_SEQP-Samford_644366.flac", "2024-05-01T05:30:00+10:00"),
        ("20240501T053000-0330_x.wav", "2024-05-01T05:30:00-03:30"),
        ("20240501T053000+0545.wav", "2024-05-01T05:30:00+05:45"),
        ("20240501_053000-0001.wav", "2024-05-01T05:30:00"),
        ("20240501_053000-2030.wav", "2024-05-01T05:30:00"),
        ("20240501_053000T.WAV", "2024-05-01T05:30:00"),
        ("S4A01234_20240501_053000.wav", "2024-05-01T05:30:00"),
        ("SMU01234_20240501_053000_000.wav", "2024-05-01T05:30:00"),
        ("20241301_053000_20240501_053000.wav", "2024-05-01T05:30:00"),
        ("20240501_053000_1.wav", "2024-05-01T05:30:00"),
        ("20240501_250000.wav", None),
        ("120240501_053000.wav", None),
        ("20240501_0530001.wav", None),
        ("1-100032-A-0.ogg", None),
        ("20240501-053000-061500.wav", "2024-05-01T05:30:00"),
        ("20230229_000000.wav", None),
    ],
)
def test_names_tell_when_a_recording_began(name, told):
    assert from_name(name) == (None if told is None else datetime.fromisoformat(told))


@pytest.mark.parametrize(("text", "hours"), [("Europe/Berlin", 2), ("UTC", 0), ("+05:30", 5.5), ("-0800", -8)])
def test_time_zones(text, hours):
    offset = MAY.replace(tzinfo=zone(text)).utcoffset()
    assert offset is not None
    assert offset.total_seconds() == hours * 3600


@pytest.mark.parametrize("text", ["Mars/Olympus", "+25:00", "", "../../etc/passwd"])
def test_what_is_no_zone_is_refused(text):
    with pytest.raises(ValueError, match="Europe/Berlin"):
        zone(text)


def wav(path, *chunks):
    """A WAV of ten samples with these chunks (name, body, "before" or "after" the sound)."""
    parts = [(b"fmt ", struct.pack("<HHIIHH", 1, 1, 8000, 16000, 2, 16))]
    parts += [(name, body) for name, body, place in chunks if place == "before"]
    parts += [(b"data", bytes(range(1, 21)))]
    parts += [(name, body) for name, body, place in chunks if place == "after"]
    inner = b"WAVE" + b"".join(name + struct.pack("<I", len(b)) + b + b"\0" * (len(b) % 2) for name, b in parts)
    path.write_bytes(b"RIFF" + struct.pack("<I", len(inner)) + inner)
    return path


# As the specification's example has it, with its liberties: blank lines, padding, colons in values, unknown fields.
GUANO = (
    "GUANO|Version:  1.0\n\nTimestamp:  2012-03-29T03:58:01.250+04:00\n{more}Note:  a: b\\nc\n"
    "Loc Position:  37.1878016 -86.1057312\nSB|Version:  3.4\n   \0"
)


@pytest.mark.parametrize("place", ["before", "after"])
def test_guano_metadata_come_before_the_name(tmp_path, place):
    path = wav(
        tmp_path / "20240501_053000.WAV",
        (b"odd ", b"123", place),
        (b"guan", GUANO.replace("{more}", "").encode(), place),
    )
    fields = audio.guano(path)
    assert (fields["GUANO|Version"], fields["Note"], fields["SB|Version"]) == ("1.0", "a: b\\nc", "3.4")
    assert began(path)(1.5) == datetime.fromisoformat("2012-03-29T03:58:02.750+04:00")
    assert began(path, UTC)(0).isoformat() == "2012-03-28T23:58:01.250000+00:00"
    assert audio.read(path).shape == (1, 10)


def test_a_slowed_recording_keeps_its_own_time(tmp_path):
    path = wav(tmp_path / "a.wav", (b"guan", GUANO.replace("{more}", "TE: 10\n").encode(), "after"))
    assert began(path)(25.0) == datetime.fromisoformat("2012-03-29T03:58:03.750+04:00")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (b"Timestamp: 2018-07-12 20:34:08-7:00", "2018-07-12T20:34:08-07:00"),
        (b"Timestamp: 2018-07-12T20:34:08.125+05:45", "2018-07-12T20:34:08.125+05:45"),
        (b"Timestamp: 2018-07-12T20:34:08Z", "2018-07-12T20:34:08+00:00"),
        (b"Timestamp: 2018-07-12", "2024-05-01T05:30:00"),
    ],
)
def test_times_as_recorders_write_them(tmp_path, text, told):
    assert began(wav(tmp_path / "20240501_053000.wav", (b"guan", text, "after")))(0) == datetime.fromisoformat(told)


@pytest.mark.parametrize("text", [b"", b"\xff\xfe", b"Timestamp: yesterday\nTE: -1", b"no colon at all"])
def test_metadata_that_say_nothing_leave_the_name_to_tell(tmp_path, text):
    path = wav(tmp_path / "20240501_053000.wav", (b"guan", text, "after"))
    assert began(path)(0) == MAY
    path.write_bytes(path.read_bytes()[:30])
    assert began(path)(0) == MAY


def test_files_without_metadata_have_none(tmp_path):
    (tmp_path / "a.txt").write_text("Timestamp: 2012-03-29T03:58:01")
    assert audio.guano(tmp_path / "a.txt") == {}
    assert began(tmp_path / "a.txt")(5) is None
    with pytest.raises(AudioError, match="no such file"):
        audio.guano(tmp_path / "b.wav")


def test_time_runs_through_a_change_to_summer_time(tmp_path):
    berlin = zone("Europe/Berlin")
    time = began(tmp_path / "20240331_013000.wav", berlin)
    assert time(0).isoformat() == "2024-03-31T01:30:00+01:00"
    assert time(3600).isoformat() == "2024-03-31T03:30:00+02:00"
