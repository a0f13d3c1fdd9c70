"""Rows of the list of bad inputs that are seen before work starts; each test's id names its row."""

import json
import os
import unicodedata
import wave
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ossicle.data.intake import IntakeError, Problem, look_over, refuse, told
from ossicle.data.manifest import Clip, Manifest
from ossicle.datasets import load
from ossicle.datasets.folder import folder
from ossicle.datasets.listing import listing


def sound(path, *, rate=16_000, seconds=0.2):
    """A small wav file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(np.arange(int(rate * seconds), dtype="<i2").tobytes())
    return path


def clips(*labels, folds=(1, 2), per_fold=2, **more):
    """Clips that need no file: `per_fold` of each label in each fold."""
    made = [
        Clip(Path(f"/none/{label}-{fold}-{i}.wav"), f"{label}-{fold}-{i}.wav", (label,), fold, **more)
        for label in labels
        for fold in folds
        for i in range(per_fold)
    ]
    return Manifest.of("made", made)


def rows(problems, severity="refuse"):
    return {problem.row for problem in problems if problem.severity == severity}


def table(folder, content, names=("a.wav", "b.wav", "c.wav"), file="clips.csv"):
    """A table with these sounds beside it."""
    for name in names:
        sound(folder / name)
    path = folder / file
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def refusals(path, **options):
    with pytest.raises(IntakeError) as caught:
        listing(path, **options)
    return caught.value.problems


def test_good_data_has_no_problems():
    assert look_over(clips("dog", "cat"), fold=1, batch=3) == []


def test_refuse_lists_every_refusal_and_lets_the_rest_pass():
    problems = [Problem("warn", 54, "odd"), Problem("refuse", 53, "two"), Problem("refuse", 49, "one", "line 3")]
    with pytest.raises(IntakeError) as caught:
        refuse(problems)
    assert str(caught.value) == "line 3: one\ntwo"
    refuse([problems[0]])


def test_long_lists_are_shortened_not_lost():
    text = told(Problem("refuse", 52, "is missing", f"{i}.wav") for i in range(25))
    assert text.splitlines()[-1] == "... and 15 more like this"
    assert len(text.splitlines()) == 11


@pytest.mark.parametrize("row", [pytest.param(22, id="row-22")])
def test_a_rate_that_tells_the_class(tmp_path, row):
    for i in range(4):
        sound(tmp_path / "dog" / f"{i}.wav", rate=8000, seconds=0.1 + i / 100)
        sound(tmp_path / "cat" / f"{i}.wav", rate=16000, seconds=0.2 + i / 100)
    problems = look_over(folder(tmp_path))
    assert rows(problems, "warn") == {row}
    assert "4 of 4 files at 8000 Hz, the other classes 0 of 4" in told(problems)
    sound(tmp_path / "dog" / "4.wav", rate=16000)
    for i in range(4):
        sound(tmp_path / "cat" / f"{i}.wav", rate=8000)
    assert not rows(look_over(folder(tmp_path)), "warn") & {row}


@pytest.mark.parametrize("row", [pytest.param(23, id="row-23")])
def test_a_duration_that_the_header_denies(tmp_path, row):
    path = table(tmp_path, "filename,label,duration\na.wav,x,0.2\nb.wav,y,0.184\nc.wav,x,0.2\n")
    sound(tmp_path / "c.wav", rate=8000, seconds=0.4)
    problems = look_over(listing(path))
    assert [(p.row, p.where) for p in problems if p.row == row] == [(row, "c.wav")]
    path = table(tmp_path, "filename,label,start,stop\na.wav,x,0,0.1\nb.wav,y,0.1,0.9\n", file="ends.csv")
    assert "beyond the end of the file at 0.20 s" in told(look_over(listing(path)))


@pytest.mark.parametrize("row", [pytest.param(40, id="row-40")])
def test_links_are_followed_within_the_root_only(tmp_path, row):
    inside, outside = tmp_path / "in", tmp_path / "out"
    sound(inside / "dog" / "a.wav")
    sound(outside / "secret.wav")
    (inside / "dog" / "alias.wav").symlink_to("a.wav")
    (inside / "dog" / "loop").symlink_to(inside)
    (inside / "dog" / "self").symlink_to("self")
    (inside / "dog" / "gone.wav").symlink_to("nothing.wav")
    (inside / "dog" / "far.wav").symlink_to(outside / "secret.wav")
    (inside / "far").symlink_to(outside)
    (inside / "again").symlink_to("dog")
    found = folder(inside)
    assert [clip.name for clip in found.clips] == ["dog/a.wav", "dog/alias.wav"]
    for name in ("dog/loop", "dog/self", "dog/gone.wav", "dog/far.wav", "far", "again"):
        assert sum(note.startswith(f"{name} is a") for note in found.notes) == 1, name
    with_links = {clip.name for clip in folder(inside, links=True).clips}
    assert with_links == {"dog/a.wav", "dog/alias.wav", "dog/far.wav", "far/secret.wav"}


@pytest.mark.parametrize("row", [pytest.param(39, id="row-39")])
def test_what_only_looks_like_a_file_is_not_opened(tmp_path, row):
    sound(tmp_path / "a.wav")
    (tmp_path / "folder.wav").mkdir()
    os.mkfifo(tmp_path / "pipe.wav")
    found = folder(tmp_path)
    assert [clip.name for clip in found.clips] == ["a.wav"]
    assert found.notes == ("pipe.wav is no regular file",)


STRANGE = [
    "a b.wav",
    "new\nline.wav",
    "tab\t.wav",
    "co,mma.wav",
    'quo"te.wav',
    "-rf.wav",
    "é.wav",
    "🐕.wav",
    "x" * 251 + ".wav",
]


@pytest.mark.parametrize("row", [pytest.param(43, id="row-43")])
def test_any_name_is_allowed_and_told_in_json(tmp_path, row):
    for name in STRANGE:
        sound(tmp_path / "dog" / name)
    raw = os.fsdecode(b"bad\xff.wav")
    sound(tmp_path / "dog" / raw)
    found = folder(tmp_path)
    assert {clip.name for clip in found.clips} == {f"dog/{name}" for name in [*STRANGE, raw]}
    assert len(found.fingerprint()) == 32
    json.dumps([clip.name for clip in found.clips]).encode()
    problems = [Problem("note", row, "is odd", clip.name) for clip in found.clips]
    told(problems).encode()


@pytest.mark.parametrize("row", [pytest.param(43, id="row-43")])
def test_names_that_look_the_same_are_told(tmp_path, row):
    composed, apart = (unicodedata.normalize(form, "é.wav") for form in ("NFC", "NFD"))
    sound(tmp_path / composed)
    if (tmp_path / apart).exists():
        pytest.skip("this disk does not tell them apart")
    sound(tmp_path / apart)
    assert rows(look_over(folder(tmp_path), purpose="pretrain"), "warn") == {row}
    written = table(tmp_path / "other", f"filename,label\n{apart},x\n".encode(), names=[composed])
    assert listing(written).clips[0].path.name == composed


@pytest.mark.parametrize("row", [pytest.param(44, id="row-44")])
def test_names_that_differ_in_case_are_refused_together(row):
    manifest = Manifest.of("m", [Clip(Path(name), name, (name[-5],)) for name in ("Dog/a.wav", "dog/A.wav", "b.wav")])
    problems = [p for p in look_over(manifest, purpose="pretrain") if p.row == row]
    assert len(problems) == 1
    assert problems[0].severity == "refuse"
    assert "Dog/a.wav" in str(problems[0])
    assert "dog/A.wav" in str(problems[0])


@pytest.mark.parametrize("row", [pytest.param(45, id="row-45")])
def test_no_files_and_one_file(tmp_path, row):
    (tmp_path / "notes.m4a").touch()
    for source in (tmp_path, tmp_path / "gone", f"folder:{tmp_path / 'gone'}"):
        with pytest.raises(IntakeError) as caught:
            load(source)
        assert {problem.row for problem in caught.value.problems} == {row}
        assert str(tmp_path) in str(caught.value)
    with pytest.raises(IntakeError, match=r"looked for \.wav .* in .*1 \.m4a"):
        load(tmp_path)
    sound(tmp_path / "a.wav")
    one = load(tmp_path)
    assert row in rows(look_over(one, purpose="pretrain"))
    assert "tells clips apart" in told(look_over(one, purpose="pretrain"))
    assert len(look_over(one, purpose="pretrain", batch=64)) == len(look_over(one, purpose="pretrain"))
    with pytest.raises(IntakeError, match="lists no clips"):
        listing(table(tmp_path, "filename,label\n"))
    with pytest.raises(IntakeError, match="is empty"):
        listing(table(tmp_path, ""))


@pytest.mark.parametrize("row", [pytest.param(45, id="row-45")])
def test_the_scan_holds_one_folder_at_a_time(tmp_path, row):
    from ossicle.datasets.scan import Scan

    for i in range(3):
        (tmp_path / f"{i}").mkdir()
        (tmp_path / f"{i}" / "a.wav").touch()
    names = iter(Scan(tmp_path))
    assert next(names)[1] == "0/a.wav"
    (tmp_path / "2" / "b.wav").touch()
    assert [name for _, name in names] == ["1/a.wav", "2/a.wav", "2/b.wav"]


PLAIN = 'filename,label,fold,comment\na.wav,dog,1,"says\n""woof"""\nb.wav,café,2,\n'
READINGS = {
    "bom": PLAIN.encode("utf-8-sig"),
    "utf-16": PLAIN.encode("utf-16"),
    "utf-16-be": b"\xfe\xff" + PLAIN.encode("utf-16-be"),
    "utf-16-bare": PLAIN.encode("utf-16-le"),
    "crlf": PLAIN.replace("\n", "\r\n").encode(),
    "cp1252": PLAIN.encode("cp1252"),
    "semicolon": PLAIN.replace(",", ";").encode(),
    "tab": PLAIN.replace(",", "\t").encode(),
    "spaces": PLAIN.replace(",", " , ").replace(' , "', ', "').encode(),
    "capitals": PLAIN.replace("filename,label", "File,Category").encode(),
}


@pytest.mark.parametrize("content", [pytest.param(READINGS[name], id=f"row-48-{name}") for name in READINGS])
def test_a_table_is_read_as_it_was_written(tmp_path, content):
    found = listing(table(tmp_path, content))
    plain = listing(table(tmp_path, PLAIN, file="plain.csv"))
    assert [(c.name, c.labels, c.fold) for c in found.clips] == [("a.wav", ("dog",), 1), ("b.wav", ("café",), 2)]
    assert found.fingerprint() == plain.fingerprint()
    assert found.clips[0].meta["comment"].replace("\r", "") == 'says\n"woof"'
    unusual = content != READINGS["capitals"]
    assert any("was read with" in note for note in found.notes) == unusual
    assert not any("was read with" in note for note in plain.notes)


@pytest.mark.parametrize("row", [pytest.param(48, id="row-48")])
def test_a_table_without_header_is_refused_with_a_hint(tmp_path, row):
    problems = refusals(table(tmp_path, "a.wav,dog,1\nb.wav,cat,2\n"))
    assert [problem.row for problem in problems] == [row]
    assert "starts with data" in str(problems[0])
    assert "filename,label,fold" in str(problems[0])


@pytest.mark.parametrize("content", [b'filename,label\na.wav,"x\n', b"\xff\xfe\x00", b'filename\na.wav"b"\n"c'])
def test_what_is_no_table_is_refused(tmp_path, content):
    assert refusals(table(tmp_path, content))


BROKEN = {
    "filename,label\na.wav\nb.wav,y,z\nc.wav,x": ["line 2: has 1 cells and the header 2", "line 3: has 3 cells"],
    "sound,label\na,x\n": ["has no column that names files among ['sound', 'label']"],
    "filename,label\na.wav,\nb.wav,x\nc.wav,\n": ["line 2: the label is empty", "line 4: the label is empty"],
    "filename,label\n,x\n": ["line 2: names no file"],
    "filename,label,label\na.wav,x,y\n": ["two columns are called 'label'"],
    "filename,start,stop\na.wav,x,1\nb.wav,2,1\nc.wav,nan,\n": [
        "line 2: start is 'x'",
        "line 3: stops at 1.0 s",
        "line 4: start is 'nan'",
    ],
}


@pytest.mark.parametrize(
    ("content", "said"), [pytest.param(*item, id=f"row-49-{i}") for i, item in enumerate(BROKEN.items())]
)
def test_a_broken_table_is_refused_with_its_lines(tmp_path, content, said):
    text = "\n".join(map(str, refusals(table(tmp_path, content))))
    assert all(sentence in text for sentence in said), text


@pytest.mark.parametrize("row", [pytest.param(49, id="row-49")])
def test_labels_that_differ_only_in_writing(tmp_path, row):
    found = listing(table(tmp_path, "filename,label\na.wav,dog \nb.wav,dog\nc.wav,Dog\n"))
    assert found.classes == ("Dog", "dog")
    assert any("spaces around 1 cells" in note for note in found.notes)
    problems = [problem for problem in look_over(found) if problem.row == row]
    assert [problem.severity for problem in problems] == ["warn"]
    assert "['Dog', 'dog']" in str(problems[0])


def test_columns_can_be_named(tmp_path):
    path = table(tmp_path, "Sound,ebird_code,site\na.wav,amerob,1\nb.wav,norcar,2\n")
    found = listing(path, columns={"file": "sound", "label": "ebird_code", "group": "site"})
    assert [(c.name, c.labels, c.group) for c in found.clips] == [
        ("a.wav", ("amerob",), "1"),
        ("b.wav", ("norcar",), "2"),
    ]
    assert "has no column 'nothing'" in str(refusals(path, columns={"file": "nothing"})[0])


@pytest.mark.parametrize(
    "cell", [pytest.param(c, id=f"row-50-{c or 'empty'}") for c in ("0", "1.0", "nan", "", "-1", "one", "²")]
)
def test_a_fold_is_a_whole_number_from_1(tmp_path, cell):
    problems = refusals(table(tmp_path, f"filename,label,fold\na.wav,x,1\nb.wav,y,{cell}\n"))
    assert [(problem.row, problem.where) for problem in problems] == [(50, "clips.csv line 3")]
    assert "whole numbers from 1" in str(problems[0])


@pytest.mark.parametrize("row", [pytest.param(50, id="row-50")])
def test_an_unknown_fold_is_refused_with_the_others(row):
    problems = look_over(clips("dog", "cat"), fold=7)
    assert rows(problems) == {row}
    assert "has no fold 7; known: 1, 2" in told(problems)


@pytest.mark.parametrize("row", [pytest.param(50, id="row-50")])
def test_a_fold_without_labelled_clips_is_told_before_it_is_trained_for(row):
    manifest = replace(clips("dog", "cat"), folds=(1, 2, 3))
    for asked, sentence in (
        ({"fold": 3}, "fold 3 of made has no labelled clip: there is no test part to score"),
        ({"fold": 2, "valid": 3}, "fold 3 of made has no labelled clip: there is no validation part to score"),
    ):
        problems = look_over(manifest, **asked)
        assert [(problem.row, problem.severity) for problem in problems] == [(row, "warn")]
        assert sentence in told(problems)
        assert look_over(manifest, purpose="pretrain", **asked) == []


@pytest.mark.parametrize("row", [pytest.param(51, id="row-51")])
def test_duplicate_rows(tmp_path, row):
    found = listing(table(tmp_path, "filename,label\na.wav,x\nb.wav,y\na.wav,x\n./a.wav,x\n"))
    assert [clip.name for clip in found.clips] == ["a.wav", "b.wav"]
    assert any("2 rows of clips.csv repeat" in note for note in found.notes)
    problems = refusals(table(tmp_path, "filename,label\na.wav,x\nb.wav,y\na.wav,y\n"))
    assert [(p.row, p.where) for p in problems] == [(row, "clips.csv line 4")]
    assert "stands here as y and on line 2 as x" in str(problems[0])
    many = listing(table(tmp_path, 'filename,labels\na.wav,x\nb.wav,"y,z"\na.wav,y\n'))
    assert [clip.labels for clip in many.clips] == [("x", "y"), ("y", "z")]


@pytest.mark.parametrize("row", [pytest.param(52, id="row-52")])
def test_missing_and_unlisted_files_are_listed_once(tmp_path, row):
    path = table(tmp_path, "filename,label\na.wav,x\ngone.wav,y\nlost.wav,y\nb.wav,y\n")
    problems = refusals(path)
    assert {problem.row for problem in problems} == {row}
    assert sorted(problem.where for problem in problems) == ["clips.csv", "gone.wav", "lost.wav"]
    assert "2 of 4 files are missing" in told(problems)
    found = listing(path, max_missing=0.5)
    assert [clip.name for clip in found.clips] == ["a.wav", "b.wav"]
    assert "2 of 4 files are missing and left out: gone.wav, lost.wav" in found.notes
    assert "1 files lie beside the others and not in clips.csv: c.wav" in found.notes


@pytest.mark.parametrize("row", [pytest.param(53, id="row-53")])
def test_a_class_that_only_the_test_fold_has(row):
    manifest = clips("dog", "cat") + clips("owl", folds=(2,))
    problems = look_over(manifest, fold=2)
    assert "class 'owl' has 0 training clips in fold 2" in told(problems)
    assert rows(problems) == {row}
    assert rows(look_over(manifest, fold=1)) == set()
    assert rows(look_over(manifest, fold=2, purpose="pretrain")) == set()


@pytest.mark.parametrize("row", [pytest.param(54, id="row-54")])
def test_classes_whose_accuracy_cannot_be_estimated(row):
    manifest = clips("dog", "cat")
    for odd, said in (
        (clips("owl", folds=(1,), per_fold=1), "has 1 clip"),
        (clips("owl", folds=(1,)), "has all its 2 clips in fold 1"),
        (clips("owl", folds=(1,), group="r"), "has 2 clips, all from 1 recording"),
    ):
        problems = [problem for problem in look_over(manifest + odd, fold=2) if problem.row == row]
        assert [(problem.severity, problem.where) for problem in problems] == [("warn", "owl")]
        assert said in str(problems[0])


TARGETS = {
    "gap": ("0,1,3", ["a", "b", "c"], True),
    "from-1": ("1,2,3", ["a", "b", "c"], True),
    "floats": ("2.0,1.0,0.0", ["c", "b", "a"], False),
    "negative": ("-1,1,0", ["a", "c", "b"], True),
}


@pytest.mark.parametrize("case", [pytest.param(case, id=f"row-55-{name}") for name, case in TARGETS.items()])
def test_target_numbers_set_the_order_of_the_classes(tmp_path, case):
    numbers, order, noted = case
    lines = [f"{name}.wav,{name},{number}" for name, number in zip("abc", numbers.split(","), strict=True)]
    found = listing(table(tmp_path, "\n".join(["filename,label,target", *lines])))
    assert list(found.classes) == order
    assert any("became 0 to 2" in note for note in found.notes) == noted


@pytest.mark.parametrize("row", [pytest.param(55, id="row-55")])
def test_targets_that_contradict_and_a_model_that_differs(tmp_path, row):
    content = "filename,label,target\na.wav,x,0\nb.wav,x,1\nc.wav,y,0\n"
    problems = refusals(table(tmp_path, content))
    assert {problem.row for problem in problems} == {row}
    assert "class 'x' has target 1 here and 0 before" in told(problems)
    assert "target 0 stands for ['x', 'y']" in told(problems)
    assert rows(refusals(table(tmp_path, "filename,target\na.wav,x\nb.wav,1\n"))) == {row}
    numbered = listing(table(tmp_path, "filename,classID\na.wav,10\nb.wav,9.0\nc.wav,2\n"))
    assert numbered.classes == ("2", "9", "10")
    manifest = clips("dog", "cat")
    assert look_over(manifest, fold=1, labels=["cat", "dog"]) == []
    assert rows(look_over(manifest, fold=1, labels=["dog", "cat"])) == {row}
    assert "target 2 is None in the data and 'owl'" in told(look_over(manifest, labels=["cat", "dog", "owl"]))


@pytest.mark.parametrize("row", [pytest.param(56, id="row-56")])
def test_too_few_and_too_many_classes(row):
    one = clips("dog")
    bare = Manifest.of("bare", [Clip(Path(f"/{i}"), f"{i}") for i in range(9)])
    each = Manifest.of("each", [Clip(Path(f"/{i}"), f"{i}", (f"c{i}",)) for i in range(10_000)])
    for manifest in (one, bare, each):
        assert rows(look_over(manifest)) == {row}
        assert rows(look_over(manifest, purpose="pretrain")) == set()
    assert "is that the column of the labels?" in told(look_over(each))
    detector = Manifest.of("dogs", [*one.clips, Clip(Path("/n"), "n", no_event=True)])
    assert rows(look_over(detector)) == set()


@pytest.mark.parametrize("row", [pytest.param(57, id="row-57")])
def test_a_recording_in_two_folds(row):
    manifest = clips("dog", "cat", group="r")
    problems = look_over(manifest, fold=1)
    assert row in rows(problems, "warn")
    assert "1 recordings have clips in several folds: r" in told(problems)
    assert row in rows(look_over(manifest, fold=1, strict=True))


@pytest.mark.parametrize("row", [pytest.param(58, id="row-58")])
def test_equal_bytes_in_two_folds(tmp_path, row):
    path = table(tmp_path, "filename,label,fold\na.wav,x,1\nb.wav,y,1\nc.wav,x,2\n")
    sound(tmp_path / "a.wav", seconds=0.3)
    manifest = listing(path)
    assert "b.wav = c.wav: the same bytes in folds (1, 2)" in told(look_over(manifest))
    assert row in rows(look_over(manifest, strict=True))


@pytest.mark.parametrize("row", [pytest.param(60, id="row-60")])
def test_sets_smaller_than_a_batch_and_batches_of_one(row):
    manifest = clips("dog", "cat")
    assert row in rows(look_over(manifest, batch=64), "warn")
    assert row in rows(look_over(manifest, batch=1))
    assert row in rows(look_over(manifest.select([0, 1, 4, 5, 6]), batch=2))
    assert look_over(manifest, batch=7) == []
    assert "0 training clips" in told(look_over(clips("dog", "cat", folds=(1,)), fold=1))
