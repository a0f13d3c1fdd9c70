"""Moments like an example: tones at known times in noise, heard by a model of known features."""

import json
import os
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import soundfile

from ossicle import audio
from ossicle.deploy.bundle import Recognizer
from ossicle.deploy.config import GOLDEN, MODEL, Config, file_entry
from ossicle.deploy.formats import FORMATS, named
from ossicle.field.features import Index, unit
from ossicle.field.search import SearchError, apart, opened, search

RATE, WINDOW = 8000, 2000
TONES = np.array([500, 900, 1300, 1700])
ANGLE = 2 * np.pi * np.outer(np.arange(WINDOW), TONES) / RATE


class Tones:
    """A session that answers with feature (B, 4), the power at each of TONES, and counts what it was asked."""

    def __init__(self):
        self.asked = 0

    def run(self, outputs, given):
        self.asked += 1
        wave = given["wave"][:, 0]
        power = (wave @ np.cos(ANGLE)) ** 2 + (wave @ np.sin(ANGLE)) ** 2
        return np.zeros((len(wave), 2), np.float32), power.astype(np.float32)


def tones(hop=WINDOW // 2, sha256="a", session=None):
    config = Config(RATE, 1, WINDOW, hop, "repeat", ("a", "b"), False, files={MODEL: {"bytes": 1, "sha256": sha256}})
    return Recognizer(config, session or Tones())


def tone(number, seconds=0.25, level=0.3):
    return level * np.sin(2 * np.pi * TONES[number] * np.arange(round(seconds * RATE)) / RATE + number)


def field(seed, *placed, seconds=20.0):
    """Noise with tones (number, second) in it."""
    wave = 0.01 * np.random.default_rng(seed).standard_normal(round(seconds * RATE))
    for number, second in placed:
        part = tone(number, 0.2)
        wave[round(second * RATE) :][: len(part)] += part
    return wave


def put(path: Path, wave, rate=RATE):
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, wave, rate)
    return path


@pytest.fixture
def hours(tmp_path):
    """Two recordings with tones at known seconds, the second with its date in its name."""
    put(tmp_path / "hours" / "a.wav", field(1, (0, 3.0), (1, 8.0), (0, 12.125)))
    put(tmp_path / "hours" / "b" / "20240501_053000.flac", field(2, (2, 5.0), (0, 17.0)))
    return tmp_path / "hours"


@pytest.fixture
def clip(tmp_path):
    return put(tmp_path / "clip.wav", field(3, (0, 0.0), seconds=0.25))


def find(sources, likes, recognizer=None, *, folder=None, **ways):
    recognizer = recognizer or tones()
    told = []
    index = Index(recognizer, folder)
    found = search(recognizer, likes, sources, index=index, report=lambda line: told.append(json.loads(line)), **ways)
    return found, told


def test_the_moments_of_a_sound_are_found_each_once(hours, clip):
    found, told = find([hours], [clip], top=3)
    places = sorted((Path(place.source).name, event.start) for event, place in found.moments)
    assert [name for name, _ in places] == ["20240501_053000.flac", "a.wav", "a.wav"]
    assert [start for _, start in places] == pytest.approx([17, 3, 12], abs=0.3)
    assert {event.label for event, _ in found.moments} == {"like clip.wav"}
    scores = [event.score for event, _ in found.moments]
    assert scores == sorted(scores, reverse=True)
    assert min(scores) > 0.9
    assert (found.recordings, found.known, told) == (2, 0, [])
    assert found.seconds == pytest.approx(40)


def test_no_two_moments_overlap_or_touch(hours, clip):
    found, _ = find([hours], [clip], tones(hop=250), top=20)
    spans = sorted((place.source, event.start, event.stop) for event, place in found.moments)
    assert len(spans) == 20
    assert all(a[2] < b[1] for a, b in pairwise(spans) if a[0] == b[0])


def test_of_overlapping_windows_the_best_stands_for_all():
    start = np.arange(6.0)
    assert apart(np.array([0.1, 0.8, 0.9, 0.7, 0.2, 0.3]), start, start + 2, 9) == [2, 5]
    assert apart(np.array([0.5, 0.4]), start[:2], start[:2] + 1, 1) == [0]


def test_of_several_examples_each_moment_names_the_one_that_it_is_most_like(hours, clip, tmp_path):
    other = put(tmp_path / "other.wav", tone(2))
    found, _ = find([hours], [clip, other], top=4)
    named = {(round(event.start), event.label) for event, _ in found.moments}
    assert named == {(3, "like clip.wav"), (12, "like clip.wav"), (17, "like clip.wav"), (5, "like other.wav")}


def test_a_part_of_an_example_is_searched_for(hours, tmp_path):
    both = put(tmp_path / "both.wav", np.concatenate([tone(0, 0.5), tone(1, 0.5)]))
    found, _ = find([hours], [both], start=0.5, stop=1.0, top=1)
    ((event, _),) = found.moments
    assert event.start == pytest.approx(8, abs=0.3)


def test_level_and_rate_do_not_matter(hours, tmp_path):
    faint = put(tmp_path / "faint.wav", 0.02 * np.sin(2 * np.pi * TONES[1] * np.arange(12_000) / 48_000), 48_000)
    found, _ = find([hours], [faint], top=1)
    assert found.moments[0][0].start == pytest.approx(8, abs=0.3)


def test_a_second_search_hears_only_the_example(hours, clip, tmp_path):
    first, _ = find([hours], [clip], folder=tmp_path / "cache")
    again = Tones()
    second, _ = find([hours], [clip], tones(session=again), folder=tmp_path / "cache")
    assert second.moments[0][0] == first.moments[0][0]
    assert [event for event, _ in second.moments] == [event for event, _ in first.moments]
    assert second.known == 2
    assert again.asked < 5
    assert second.size == sum(path.stat().st_size for path in (tmp_path / "cache").rglob("*.npz"))


def test_what_is_kept_is_known_by_content_model_and_hop(hours, clip, tmp_path):
    def known(recognizer):
        return find([hours], [clip], recognizer, folder=tmp_path / "cache")[0].known

    assert [known(tones()), known(tones(sha256="b")), known(tones(hop=500)), known(tones())] == [0, 0, 0, 2]
    (hours / "a.wav").rename(hours / "z.wav")
    assert known(tones()) == 2
    put(hours / "z.wav", field(9, (0, 1.0)))
    assert known(tones()) == 1


@pytest.mark.parametrize("harm", ["cut", "flipped", "gone"])
def test_a_damaged_entry_is_heard_again(hours, clip, tmp_path, harm):
    first, _ = find([hours], [clip], folder=tmp_path / "cache")
    entry = min((tmp_path / "cache").rglob("*.npz"))
    content = bytearray(entry.read_bytes())
    content[len(content) // 3] ^= 255
    entry.unlink()
    if harm != "gone":
        entry.write_bytes(content if harm == "flipped" else content[:-100])
    second, _ = find([hours], [clip], folder=tmp_path / "cache")
    assert second.known == 1
    assert [event for event, _ in second.moments] == [event for event, _ in first.moments]


def test_row_73_an_index_that_cannot_be_written_is_a_sentence(hours, clip, tmp_path):
    (tmp_path / "cache").write_text("in the way")
    with pytest.raises(OSError, match=r"cache cannot be written .*OSSICLE_CACHE"):
        find([hours], [clip], folder=tmp_path / "cache")


def test_bad_files_cost_only_themselves_and_are_told_again(hours, clip, tmp_path):
    (hours / "page.wav").write_text("<!DOCTYPE html>")
    broken = field(4, (0, 2.0)).astype(np.float32)
    broken[100_000] = np.nan
    soundfile.write(hours / "broken.wav", broken, RATE, subtype="FLOAT")
    whole = put(hours / "cut.wav", field(5, (0, 2.0))).read_bytes()
    (hours / "cut.wav").write_bytes(whole[: len(whole) // 2])
    first, told = find([hours], [clip], folder=tmp_path / "cache")
    second, again = find([hours], [clip], folder=tmp_path / "cache")
    assert [Path(line["path"]).name for line in told] == ["broken.wav", "cut.wav", "page.wav"]
    assert again == told
    assert (first.recordings, second.known) == (4, 2)  # more may be read another time of those that broke off
    assert {Path(place.source).name for event, place in first.moments if event.score > 0.9} >= {"broken.wav", "cut.wav"}


@pytest.mark.parametrize("format", FORMATS)
def test_every_format_tells_rank_time_and_place(hours, clip, format):
    found, _ = find([hours / "b"], [clip], top=2)
    lines = found.lines(named(format))
    assert len(lines) == 2 + bool(FORMATS[format].heading)
    assert all("like clip.wav" in line for line in lines[-2:])
    if format == "jsonl":
        assert json.loads(lines[0])["time"].startswith("2024-05-01T05:30:1")
    if format == "raven":
        assert [line.partition("\t")[0] for line in lines[1:]] == ["1", "2"]


def test_a_format_of_one_recording_holds_no_more(hours, clip):
    found, _ = find([hours], [clip])
    with pytest.raises(SearchError, match="2: search them one by one"):
        found.lines(named("audacity"))


def test_moments_are_saved_as_they_stand_in_the_recording(hours, clip, tmp_path):
    found, _ = find([hours], [clip], top=2)
    (hours / "b" / "20240501_053000.flac").unlink()
    told: list[str] = []
    found.save(tmp_path / "clips", told.append)
    kept = [(event, place) for event, place in found.moments if place.source.endswith("a.wav")]
    saved = sorted((tmp_path / "clips" / "like clip.wav").iterdir())
    assert (len(saved), len(told)) == (len(kept), 2 - len(kept))
    event, place = kept[0]
    (same,) = [path for path in saved if f"{event.start:.3f}s" in path.name]
    original = audio.read(place.source, start=event.start, stop=event.stop)
    np.testing.assert_allclose(audio.read(same), original, atol=2**-14)


@pytest.mark.parametrize(
    ("wave", "ways", "said"),
    [
        (np.zeros(RATE), {}, "silent there"),
        (tone(0), {"top": 0}, "--top 0: at least 1"),
        (tone(0), {"start": 9.0}, "9"),
        (None, {}, "no such file"),
    ],
)
def test_what_cannot_be_searched_for(hours, tmp_path, wave, ways, said):
    path = tmp_path / "like.wav" if wave is None else put(tmp_path / "like.wav", wave)
    with pytest.raises(ValueError, match=said):
        find([hours], [path], **ways)


def test_no_sound_to_search_in(clip, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(SearchError, match=r"no sound to search in .*empty"):
        find([tmp_path / "empty"], [clip])


def test_features_have_length_1_or_no_direction():
    rows = unit(np.array([[3.0, 4.0], [0.0, 0.0], [1e6, 0.0]]))
    np.testing.assert_allclose(rows, np.array([[0.6, 0.8], [0, 0], [1, 0]]), atol=1e-6)


def as_bundle(folder: Path) -> Path:
    """`Tones` as a bundle, whose scores are two of its features."""
    from onnx import TensorProto, helper, numpy_helper

    def tensor(name, *shape):
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)

    constants = {"cos": np.cos(ANGLE), "sin": np.sin(ANGLE)}
    weights = [numpy_helper.from_array(value.astype(np.float32), name) for name, value in constants.items()]
    weights += [
        numpy_helper.from_array(np.array(value), name) for name, value in {"axis": [1], "two": [2], "zero": [0]}.items()
    ]
    nodes = [helper.make_node("MatMul", ["wave", name], [f"{name}-part"]) for name in constants]
    nodes += [helper.make_node("Mul", [f"{name}-part"] * 2, [f"{name}-power"]) for name in constants]
    nodes += [
        helper.make_node("Add", ["cos-power", "sin-power"], ["power"]),
        helper.make_node("Squeeze", ["power", "axis"], ["feature"]),
        helper.make_node("Slice", ["feature", "zero", "two", "axis"], ["score"]),
    ]
    graph = helper.make_graph(
        nodes, "tones", [tensor("wave", "B", 1, "T")], [tensor("score", "B", 2), tensor("feature", "B", 4)], weights
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    folder.mkdir()
    (folder / MODEL).write_bytes(model.SerializeToString())
    np.savez(folder / GOLDEN, name=[])
    files = {name: file_entry((folder / name).read_bytes()) for name in (MODEL, GOLDEN)}
    Config(RATE, 1, WINDOW, 123, "repeat", ("a", "b"), False, files=files).write(folder)
    return folder


def test_a_bundle_is_searched_with_without_torch(hours, clip, tmp_path):
    bundle, cache = as_bundle(tmp_path / "bundle"), {"OSSICLE_CACHE": str(tmp_path / "cache")}
    words = ["search", str(bundle), str(hours), "--like", str(clip), "--top", "3", "--clips", str(tmp_path / "clips")]
    code = "import sys; sys.modules.update(dict.fromkeys(('torch', 'sklearn'))); from ossicle.cli import main; "
    done = subprocess.run(
        [sys.executable, "-c", code + "sys.exit(main(sys.argv[1:]))", *words],
        capture_output=True,
        text=True,
        env=os.environ | cache,
    )
    assert done.returncode == 0, done.stderr
    told = [json.loads(line) for line in done.stdout.splitlines()]
    expected, _ = find([hours], [clip], top=3)
    assert [(line["source"], line["start"]) for line in told] == [
        (place.source, event.start) for event, place in expected.moments
    ]
    assert "3 moments in 0.01 hours of 2 recordings, 0 of them heard before" in done.stderr
    assert len(list((tmp_path / "clips").rglob("*.flac"))) == 3


def test_a_run_is_searched_with_through_the_same_stream(hours, clip, tmp_path):
    from ossicle.model import Backbone
    from ossicle.recipe import Spec

    frontend = Spec("logmel", {"sample_rate": RATE, "seconds": 0.25, "n_fft": 256, "hop": 128, "mels": 16})
    backbone = Backbone(frontend, Spec("small", {}))
    backbone.save(tmp_path / "model")
    recognizer = opened(tmp_path / "model", hop=0.125)
    assert recognizer.config.hop == 1000
    found, _ = find([hours], [hours / "a.wav"], recognizer, start=8.0, stop=8.25, top=1)
    event, place = found.moments[0]
    assert (place.source, event.start) == (str(hours / "a.wav"), 8.0)
    assert event.score == pytest.approx(1, abs=1e-3)


def test_what_cannot_search_says_why(tmp_path):
    with pytest.raises(ValueError, match="no is not there: give the folder of a bundle, a run or a model"):
        opened(tmp_path / "no")
    bundle = as_bundle(tmp_path / "bundle")
    for hop in (0.0, 0.3, -1.0, float("nan")):
        with pytest.raises(ValueError, match=r"at most the window, 0.25 s"):
            opened(bundle, hop=hop)
    assert opened(bundle).config.hop == WINDOW // 2
