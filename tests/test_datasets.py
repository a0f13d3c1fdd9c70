"""Made-up trees in the layouts that people have."""

import csv
import wave
from pathlib import Path

import numpy as np
import pytest

from ossicle.data.intake import IntakeError
from ossicle.datasets import PLACED, described, esc, listing, load, summary
from ossicle.datasets.annotated import annotated
from ossicle.datasets.folder import folder

ESC10 = Path(__file__).parents[1] / "../shared/esc10"


def sound(path, *, rate=8000, seconds=0.2):
    """A small wav file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(bytes(2 * int(rate * seconds)))
    return path


def esc_release(root, ending=".wav"):
    """Six clips of three classes, two of them ESC-10's, their stored targets not in alphabetical order."""
    rows = [
        (1, "100", "A", 0, "dog", True),
        (1, "100", "B", 0, "dog", True),
        (2, "200", "A", 1, "rooster", True),
        (2, "201", "A", 40, "helicopter", True),
        (3, "300", "A", 2, "pig", False),
        (3, "301", "A", 40, "helicopter", True),
    ]
    (root / "meta").mkdir(parents=True)
    with (root / "meta" / "esc50.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["filename", "fold", "target", "category", "esc10", "src_file", "take"])
        for fold, source, take, target, category, esc10 in rows:
            name = f"{fold}-{source}-{take}-{target}"
            sound(root / "audio" / (name + ending))
            writer.writerow([f"{name}.wav", fold, target, category, esc10, source, take])
    return root


@pytest.mark.parametrize("ending", [".wav", ".ogg"])
def test_esc_release(tmp_path, ending):
    root = esc_release(tmp_path / "esc", ending)
    whole, part = load(f"esc50:{root}"), load(f"esc10:{root}")
    assert whole.classes == ("dog", "rooster", "pig", "helicopter")
    assert part.classes == ("dog", "rooster", "helicopter")
    assert (len(whole), len(part), whole.folds, part.folds) == (6, 5, (1, 2, 3), (1, 2, 3))
    assert [clip.group for clip in whole.clips] == [f"freesound/{n}" for n in (100, 100, 200, 201, 300, 301)]
    assert all(clip.path.is_file() and clip.path.suffix == ending for clip in whole.clips)
    assert load(root) == whole
    assert set(part.keys()) < set(whole.keys())


def test_esc_clips_are_the_same_in_every_format(tmp_path):
    one, two = esc_release(tmp_path / "1", ".wav"), esc_release(tmp_path / "2", ".ogg")
    assert load(one).fingerprint() == load(two).fingerprint()


def test_esc_that_is_none(tmp_path):
    with pytest.raises(IntakeError, match=r"looked for meta/esc50\.csv and audio/"):
        load(f"esc10:{tmp_path}")
    root = esc_release(tmp_path / "esc")
    table = root / "meta" / "esc50.csv"
    table.write_text(
        table.read_text().replace("2,201", "two,201", 1).replace("2-201-A-40.wav,2,", "2-201-A-40.wav,two,")
    )
    with pytest.raises(IntakeError, match=r"esc50\.csv line 5"):
        load(root)


@pytest.mark.skipif(not ESC10.exists(), reason="ESC-10 is not here")
def test_real_esc10():
    esc10 = load(f"esc10:{ESC10}")
    assert esc10.classes == (
        "dog", "rooster", "rain", "sea_waves", "crackling_fire",
        "crying_baby", "sneezing", "clock_tick", "helicopter", "chainsaw",
    )  # fmt: skip
    for fold in esc10.folds:
        assert np.bincount(esc10.split(fold).test.targets()).tolist() == [8] * 10
    assert all(clip.path.is_file() for clip in esc10.clips)
    assert load(ESC10) == esc10
    assert esc.esc50(ESC10).fingerprint() == esc10.fingerprint()


def test_folder_per_class_with_birdnets_habits(tmp_path):
    for name in ("owl/1.wav", "owl/deep/2.wav", "owl, dog/3.wav", "background/4.wav", "Noise/5.wav", "6.wav"):
        sound(tmp_path / name)
    (tmp_path / "owl" / ".hidden.wav").touch()
    (tmp_path / "owl" / "readme.md").touch()
    found = load(tmp_path)
    assert found.classes == ("dog", "owl")
    assert found.multilabel
    known = {clip.name: (clip.labels, clip.no_event) for clip in found.clips}
    assert known == {
        "owl/1.wav": (("owl",), False),
        "owl/deep/2.wav": (("owl",), False),
        "owl, dog/3.wav": (("owl", "dog"), False),
        "background/4.wav": ((), True),
        "Noise/5.wav": ((), True),
        "6.wav": ((), False),
    }
    assert np.nansum(found.targets(), axis=0).tolist() == [1, 3]
    assert any("1 clips lie beside the class folders" in note for note in found.notes)
    assert any("1 .md" in note for note in found.notes)


def test_plain_folder_is_unlabelled(tmp_path):
    for i in range(3):
        sound(tmp_path / f"{i}.wav")
    found = load(tmp_path)
    assert (found.classes, found.multilabel, found.notes) == ((), False, ())
    assert found.targets().tolist() == [-1, -1, -1]
    assert folder(tmp_path.parent, labels=False).classes == ()


def test_order_does_not_depend_on_the_disk(tmp_path):
    for name in ("b/2.wav", "a/1.wav", "b/1.wav", "B/3.wav"):
        sound(tmp_path / name)
    assert [clip.name for clip in load(tmp_path).clips] == ["B/3.wav", "a/1.wav", "b/1.wav", "b/2.wav"]


def test_segments_cover_a_recording_once(tmp_path):
    sound(tmp_path / "long.wav", seconds=10.4)
    sound(tmp_path / "short.wav", seconds=1.0)
    (tmp_path / "broken.wav").write_bytes(b"nothing")
    pieces = {}
    for clip in folder(tmp_path, segment=3.0).clips:
        pieces.setdefault(clip.name, []).append((clip.start, clip.stop))
    assert pieces == {"long.wav": [(0, 3), (3, 6), (6, None)], "short.wav": [(0, None)], "broken.wav": [(0, None)]}
    assert [c.start for c in folder(tmp_path, segment=2.0).clips if c.name == "long.wav"] == [0, 2, 4, 6, 8]
    assert {clip.recording for clip in folder(tmp_path, segment=3.0).clips} == set(pieces)
    with pytest.raises(ValueError, match="above 0"):
        folder(tmp_path, segment=0)


def test_group_from_a_name(tmp_path):
    for name in ("x/XC1-1.wav", "x/XC1-2.wav", "y/XC2-1.wav", "y/other.wav"):
        sound(tmp_path / name)
    found = folder(tmp_path, group=r"(XC\d+)-")
    assert [clip.recording for clip in found.clips] == ["XC1", "XC1", "XC2", "y/other.wav"]


def test_table_paths_are_found_where_people_put_them(tmp_path):
    for place, table in (("", "a.csv"), ("audio", "b.csv"), ("", "meta/c.csv"), ("audio", "meta/d.csv")):
        root = tmp_path / table[0] / table[-5]
        sound(root / place / "s.wav")
        path = root / table
        path.parent.mkdir(exist_ok=True)
        path.write_text("filename,label\ns.wav,x\n")
        assert load(path).clips[0].path.samefile(root / place / "s.wav")
    other = sound(tmp_path / "elsewhere" / "t.wav").parent
    path.write_text("filename,label\nt.wav,x\n")
    assert listing.listing(path, root=other).clips[0].path == other / "t.wav"
    path.write_text(f"filename,label\n{other / 't.wav'},x\n")
    assert load(path).clips[0].path == other / "t.wav"


def test_unknown_and_no_event_in_tables(tmp_path):
    for name in "abc":
        sound(tmp_path / f"{name}.wav")
    (tmp_path / "clips.csv").write_text("filename,label,fold\na.wav,x,1\nb.wav,?,\nc.wav,background,2\n")
    found = load(tmp_path / "clips.csv")
    assert [(c.labels, c.no_event, c.fold) for c in found.clips] == [
        (("x",), False, 1),
        ((), False, None),
        ((), True, 2),
    ]
    assert found.multilabel


def test_stretches_in_tables(tmp_path):
    sound(tmp_path / "a.wav", seconds=5)
    (tmp_path / "t.tsv").write_text("file\tonset\toffset\tlabel\na.wav\t0\t1.5\tx\na.wav\t1.5\t3\ty\n")
    assert [(c.start, c.stop, c.labels) for c in load(tmp_path / "t.tsv").clips] == [(0, 1.5, ("x",)), (1.5, 3, ("y",))]
    (tmp_path / "t.csv").write_text("file;start;end;label\na.wav;0,5;1,5;x\n")
    assert [(c.start, c.stop) for c in load(tmp_path / "t.csv").clips] == [(0.5, 1.5)]


def test_written_tables_are_read_back(tmp_path):
    for name in ("owl/1.wav", "owl,dog/2.wav", "background/3.wav", "4.wav"):
        sound(tmp_path / "sounds" / name, seconds=4)
    found = folder(tmp_path / "sounds", segment=2.0).with_folds(2)
    listing.write(found, tmp_path / "out.csv")
    again = load(tmp_path / "out.csv")
    assert again.clips == found.clips
    assert again.fingerprint() == found.fingerprint()


RAVEN = (
    "Selection\tView\tChannel\tBegin Time (s)\tEnd Time (s)\tLow Freq (Hz)\tAnnotation\n"
    "1\tWaveform 1\t1\t0.5\t2.5\t100\towl\n"
    "1\tSpectrogram 1\t1\t0.5\t2.5\t100\towl\n"
    "2\tSpectrogram 1\t1\t6.2\t6.4\t100\tdog\n"
)
AUDACITY = "0.500000\t2.500000\towl\n\\\t100.0\t900.0\n6,200000\t6.400000\tdog\n"


@pytest.mark.parametrize(
    ("table", "content"),
    [("rec.Table.1.selections.txt", RAVEN), ("rec.txt", AUDACITY), ("rec.txt", RAVEN.replace("\n", "\r\n"))],
)
def test_annotation_tables(tmp_path, table, content):
    sound(tmp_path / "rec.wav", seconds=10)
    sound(tmp_path / "rec.2.wav", seconds=3)
    (tmp_path / table).write_bytes(content.encode("utf-16" if table == "rec.txt" else "utf-8"))
    found = load(tmp_path)
    heard = [(c.start, c.labels, c.no_event) for c in found.clips if c.name == "rec.wav"]
    assert heard == [(0, ("owl",), False), (3, (), True), (6, ("dog",), False)]
    assert [(c.name, c.labelled) for c in found.clips if c.name != "rec.wav"] == [("rec.2.wav", False)]
    assert (found.classes, found.multilabel, found.notes) == (("dog", "owl"), True, ())
    assert {clip.recording for clip in found.clips} == {"rec.wav", "rec.2.wav"}


def test_a_window_that_an_event_only_touches_is_unknown(tmp_path):
    sound(tmp_path / "rec.wav", seconds=8)
    (tmp_path / "rec.txt").write_text("0\t2.2\towl\n5\t5\tclick\n6\t8\tnoise\n")
    heard = [(c.labels, c.no_event) for c in annotated(tmp_path, segment=2.0).clips]
    assert heard == [(("owl",), False), ((), False), (("click",), False), ((), True)]
    assert annotated(tmp_path, segment=2.0, enough=0.05).clips[1].labels == ("owl",)


def test_wrong_annotations_are_all_listed(tmp_path):
    sound(tmp_path / "a.wav", seconds=2)
    sound(tmp_path / "b.wav", seconds=2)
    sound(tmp_path / "c.wav", seconds=2)
    (tmp_path / "a.txt").write_text("0\t1\towl\n1\t0\towl\n0\t1\n0\t1\t\n")
    (tmp_path / "b.txt").write_text("30\t31\towl\n")
    (tmp_path / "c.txt").write_text("my notes on this day\n")
    with pytest.raises(IntakeError) as caught:
        load(tmp_path)
    said = str(caught.value)
    for part in (
        "a.txt line 2",
        "a.txt line 3",
        "a.txt line 4",
        "beyond the end of the recording",
        "c.txt: is no Raven",
    ):
        assert part in said, said


def test_ravens_column_of_labels_can_be_named(tmp_path):
    sound(tmp_path / "rec.wav", seconds=3)
    (tmp_path / "rec.txt").write_text("Begin Time (s)\tEnd Time (s)\tKind\n0\t2\towl\n")
    assert annotated(tmp_path, column="kind").clips[0].labels == ("owl",)
    with pytest.raises(IntakeError, match="Begin Time"):
        annotated(tmp_path)


def test_load_says_what_it_knows(tmp_path):
    (tmp_path / "notes.doc").touch()
    for source in (tmp_path / "gone", tmp_path / "notes.doc", "esc11:nowhere"):
        with pytest.raises(IntakeError) as caught:
            load(source)
        assert all(f"{kind}:PATH" in str(caught.value) for kind in PLACED)


def test_summary_counts_and_describes(tmp_path):
    for i in range(4):
        sound(tmp_path / "owl" / f"{i}.wav", seconds=1 + i / 10)
        sound(tmp_path / "dog" / f"{i}.wav", seconds=2 + i / 10)
    (tmp_path / "dog" / "bad.wav").write_bytes(b"no sound")
    found = summary(load(tmp_path).with_folds(2))
    assert (found["clips"], found["recordings"], found["labelled"]) == (9, 9, 9)
    assert found["classes"] == {"dog": 5, "owl": 4}
    assert sum(found["folds"].values()) == 9
    assert found["seconds"]["total"] == pytest.approx(13.2)
    assert found["sample_rates"] == {8000: 8}
    assert len(found["unreadable"]) == 1
    text = described(found)
    for part in ("9 clips", "dog: 5, owl: 4", "8000 Hz: 8", "bad.wav", "none found"):
        assert part in text, text


def test_summary_of_leaks_and_problems(tmp_path):
    for name in ("a", "b"):
        sound(tmp_path / f"{name}.wav", seconds=0.3 if name == "a" else 0.2)
    (tmp_path / "t.csv").write_text("filename,label,fold,group\na.wav,x,1,r\nb.wav,y,2,r\n")
    found = summary(load(tmp_path / "t.csv"))
    assert [leak["kind"] for leak in found["leaks"]] == ["recording"]
    assert {problem["row"] for problem in found["problems"]} >= {54, 57}
    assert "several folds: r" in described(found)
