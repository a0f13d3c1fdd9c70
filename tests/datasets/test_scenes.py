"""TUT 2017's and TAU's acoustic scenes: made-up trees in the exact layout of their releases."""

import numpy as np
import pytest
import soundfile

from ossicle import datasets
from ossicle.data.intake import IntakeError, look_over
from ossicle.datasets import load, merged, recognize, scenes, survey
from ossicle.recipe import Spec

RATE = 8000
SILENCE = np.zeros((RATE // 10, 2))


def sound(path, number):
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, SILENCE + (number % 200 + 1) / 500, RATE, subtype="PCM_24")


def table(path, rows, header=()):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join("\t".join(row) + "\n" for row in [*([header] if header else []), *rows]))


def names(clips):
    return {clip.name for clip in clips}


def tut(root):
    """Two labels of four locations each, two clips a location; one clip of the second fold is tested on in the third
    too, as six are in the release."""
    rows = []
    for k, label in enumerate(("beach", "cafe/restaurant")):
        for location in range(4):
            place = f"{'ab'[k]}{location:03}"
            for start in (0, 10):
                rows.append((f"audio/{place}_{start}_{start + 10}.wav", label, place))
    for i, (name, *_) in enumerate(rows):
        sound(root / name, i)
    table(root / "meta.txt", rows)
    for fold in range(1, 5):
        test = [row for row in rows if int(row[2][1:]) == fold - 1]
        test += [rows[2]] if fold == 3 else []
        table(root / f"evaluation_setup/fold{fold}_evaluate.txt", [row[:2] for row in test])
        table(root / f"evaluation_setup/fold{fold}_test.txt", [row[:1] for row in test])
        table(root / f"evaluation_setup/fold{fold}_train.txt", [row[:2] for row in rows if row not in test])
    table(root / "error.txt", [(rows[0][0], "1.991448", "2.446579", "error"), (rows[0][0], "3", "4.5", "error")])
    return root


TAU_ROWS = [  # scene, city, location, segment: two of each class in training, one in the test part, one in neither
    ("airport", "lisbon", 1000, 40000),
    ("airport", "lisbon", 1000, 40001),
    ("street_pedestrian", "lyon", 1001, 40002),
    ("street_pedestrian", "lyon", 1001, 40003),
    *((("airport", "street_pedestrian")[i % 2], ("paris", "prague")[i % 2], 10 + i, i) for i in range(12)),
]
TESTED = [("airport", "milan", 1162, 44093), ("street_pedestrian", "lyon", 1163, 44094)]
UNUSED = [("airport", "milan", 1164, 44095)]


def tau(root, devices=("a",), seconds=None, first=0):
    """The release of 2019 (device a, 10 s), of 2020 (more devices) or of 2022 (a file a second); `first` is a sound's
    number, and no two are alike.
    """
    parts = {}
    for part, clips in (("train", TAU_ROWS), ("evaluate", TESTED), ("unused", UNUSED)):
        heard = [*devices, *(["s4"] if len(devices) > 1 and part == "evaluate" else [])]
        parts[part] = [
            (f"audio/{scene}-{city}-{place}-{segment}{second}-{device}.wav", scene, f"{city}-{place}", device)
            for scene, city, place, segment in clips
            for second in ([""] if seconds is None else [f"-{n}" for n in range(seconds)])
            for device in heard
        ]
    rows = [row for part in parts.values() for row in part]
    for i, (name, *_) in enumerate(rows, start=first):
        sound(root / name, i)
    table(root / "meta.csv", rows, scenes.TAU_HEADER)
    for part in ("train", "evaluate"):
        table(root / f"evaluation_setup/fold1_{part}.csv", [row[:2] for row in parts[part]], scenes.TAU_HEADER[:2])
    table(root / "evaluation_setup/fold1_test.csv", [row[:1] for row in parts["evaluate"]], scenes.TAU_HEADER[:1])
    return root, parts


def edited(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


# -- TUT 2017 ---------------------------------------------------------------------------------------------------------


def test_tut_tests_on_the_official_parts_and_no_location_is_torn(tmp_path):
    root = tut(tmp_path)
    found = load(root)
    assert (found.name, len(found), found.folds, found.classes) == ("tut2017", 16, (1, 2, 3, 4), scenes.TUT_CLASSES)
    assert {clip.labels[0] for clip in found.clips} == {"beach", "cafe/restaurant"}
    for fold in found.folds:
        listed = (root / f"evaluation_setup/fold{fold}_test.txt").read_text().split()
        doubled = {"audio/a001_0_10.wav"} if fold == 3 else set()
        parts = found.split(fold)
        assert names(parts.test.clips) == {*listed} - doubled
        assert names(parts.train.clips) == names(found.clips) - names(parts.test.clips)
        assert not set(parts.test.groups()) & set(parts.train.groups())
    assert "1 clips are tested on in several folds; each is kept where more of its location is" in found.notes
    assert found == load(f"tut2017:{root}")


def test_tuts_faulty_stretches_are_told_and_may_be_left_out(tmp_path):
    root = tut(tmp_path)
    kept, cleaned = scenes.tut2017(root), scenes.tut2017(root, errors="leave_out")
    faulty = [clip for clip in kept.clips if clip.meta]
    assert [(clip.name, clip.meta["errors"]) for clip in faulty] == [
        ("audio/a000_0_10.wav", ((1.991448, 2.446579), (3.0, 4.5)))
    ]
    assert names(kept.clips) - names(cleaned.clips) == names(faulty)
    for found, what in ((kept, "they are kept"), (cleaned, "these clips are left out")):
        assert any(f"2 stretches in 1 clips are marked as faulty in error.txt; {what}" in note for note in found.notes)
    edited(root / "error.txt", "audio/a000_0_10.wav\t3\t", "a000_0_10.wav\t3\t")
    assert "1 files in error.txt are none that meta.txt lists: a000_0_10.wav" in scenes.tut2017(root).notes
    (root / "error.txt").unlink()
    assert scenes.tut2017(root).clips == kept.clips
    with pytest.raises(ValueError, match="wanted 'keep' or 'leave_out'"):
        scenes.tut2017(root, errors="cut")


@pytest.mark.parametrize(
    ("file", "old", "new", "row", "said"),
    [
        ("meta.txt", "\tbeach\t", "\tcafe\t", 55, "scene_label is 'cafe'; classes are beach, bus, cafe/restaurant"),
        ("meta.txt", "\ta000\n", "\t\n", 49, "has no identifier"),
        ("meta.txt", "\tbeach\ta000\n", "\tbeach\n", 49, "has 2 cells, and the header has 3"),
        ("evaluation_setup/fold1_evaluate.txt", "\tbeach", "\tbus", 51, "calls audio/a000_0_10.wav 'bus', and it is"),
        ("evaluation_setup/fold2_evaluate.txt", "a001_0", "a111_0", 52, "lists audio/a111_0_10.wav, which the table"),
        ("error.txt", "2.446579", "soon", 49, "wanted a file and where in it an error starts and ends"),
    ],
)
def test_tuts_wrong_lines_are_named(tmp_path, file, old, new, row, said):
    root = tut(tmp_path)
    edited(root / file, old, new)
    with pytest.raises(IntakeError) as caught:
        load(root)
    assert {problem.row for problem in caught.value.problems} == {row}
    assert said in str(caught.value)
    assert file.rpartition("/")[2] in str(caught.value)


def test_tut_without_a_list_or_with_files_missing(tmp_path):
    root = tut(tmp_path)
    (root / "audio/a000_0_10.wav").unlink()
    with pytest.raises(IntakeError, match=r"1 of 16 files are missing, more than max_missing = 1\.0%"):
        load(root)
    assert len(scenes.tut2017(root, max_missing=0.1)) == 15
    (root / "evaluation_setup/fold3_evaluate.txt").unlink()
    with pytest.raises(IntakeError, match=r"fold3_evaluate\.txt: is missing"):
        load(root)


def test_tuts_evaluation_set_has_labels_once_they_are_published(tmp_path):
    for number in range(3):
        sound(tmp_path / f"audio/{number}.wav", number)
    files = [f"audio/{number}.wav" for number in range(3)]
    table(tmp_path / "evaluation_setup/test.txt", [[file] for file in files])
    found = load(tmp_path)
    assert (found.name, found.classes, found.folds, [clip.name for clip in found.clips]) == ("tut2017", (), (), files)
    table(tmp_path / "evaluation_setup/evaluate.txt", [[file, "cafe/restaurant"] for file in files])
    assert load(tmp_path).targets().tolist() == [2, 2, 2]
    table(tmp_path / "meta.txt", [[file, "cafe/restaurant"] for file in files])  # as dcase_util adds it
    assert load(tmp_path).targets().tolist() == [2, 2, 2]


# -- TAU --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("devices", "seconds"), [(("a",), None), (("a", "b", "s1"), None), (("a", "c"), 3)])
def test_tau_of_every_year(tmp_path, devices, seconds):
    root, parts = tau(tmp_path, devices, seconds)
    found = load(root)
    assert (found.name, found.folds, found.classes) == ("tau", (1, 2), scenes.TAU_CLASSES)
    split = found.split(1)
    assert names(split.test.clips) == {row[0] for row in parts["evaluate"]}
    assert names(split.train.clips) == {row[0] for row in parts["train"]}
    told = {row[0]: row[2:] for part in parts.values() for row in part}
    for clip in found.clips:
        place, device = told[clip.name]
        assert (clip.group, clip.meta) == (f"tau/{place}", {"city": place.partition("-")[0], "device": device})
    assert f"{len(parts['unused'])} clips are in neither part of the official split and are left out" in found.notes
    assert not [problem for problem in look_over(found, fold=1, valid=2) if problem.row == 57]
    assert datasets.tested(Spec("tau", {"path": str(root)})) == (1,)


def test_tau_holds_out_whole_locations_by_the_seed_alone(tmp_path):
    root, _ = tau(tmp_path, ("a", "b"))
    found = scenes.tau(root, valid=0.3, seed=1)
    parts = found.split(1, 2)
    assert not set(parts.train.groups()) & set(parts.valid.groups())
    for label in ("airport", "street_pedestrian"):
        share = [sum(label in clip.labels for clip in part.clips) for part in (parts.valid, parts.train)]
        assert share[0] == pytest.approx(0.3 * sum(share), abs=2)
    assert found == scenes.tau(root, valid=0.3, seed=1)
    assert scenes.tau(root, valid=0).folds == (1,)
    with pytest.raises(ValueError, match=r"valid 1\.5"):
        scenes.tau(root, valid=1.5)


@pytest.mark.parametrize("place", ["split_setup", "evaluation_setup", "."])
def test_taus_subsets_are_nested_and_hold_out_the_same_locations(tmp_path, place):
    root, parts = tau(tmp_path, ("a", "b"), 2)
    rows = parts["train"]
    for share, every in ((25, 4), (100, 1)):
        table(root / place / f"split{share}.csv", [row[:1] for row in rows[::every]], ["filename"])
    table(root / place / "test.csv", [row[:1] for row in parts["evaluate"][:-1]], ["filename"])
    small, large, whole = (scenes.tau(root, subset=subset) for subset in (25, 100, None))
    assert names(small.split(1).train.clips) == {row[0] for row in rows[::4]}
    assert names(large.split(1).train.clips) == names(whole.split(1).train.clips)
    kept = names(small.clips)
    assert names(small.split(1, 2).valid.clips) == names(large.split(1, 2).valid.clips) & kept
    assert names(small.split(1).test.clips) == {row[0] for row in parts["evaluate"][:-1]}
    assert f"16 training clips, {len(rows)} in all, are in split25.csv" in small.notes
    with pytest.raises(IntakeError, match=r"split5\.csv: is missing .* DCASE 2024's task 1"):
        scenes.tau(root, subset=5)
    with pytest.raises(ValueError, match=r"subset is 20 .* wanted one of \(5, 10, 25, 50, 100\)"):
        scenes.tau(root, subset=20)


@pytest.mark.parametrize(
    ("file", "old", "new", "row", "said"),
    [
        ("meta.csv", "source_label", "device", 49, "has the columns"),
        ("meta.csv", "\tlisbon-1000\t", "\tlisbon\t", 49, "identifier is 'lisbon' and source_label 'a'"),
        ("meta.csv", "wav\tairport\t", "wav\tsea\t", 55, "scene_label is 'sea'"),
        ("evaluation_setup/fold1_train.csv", "40001-a.wav\tairport", "40001-a.wav\tbus", 51, "and it is 'airport'"),
        ("evaluation_setup/fold1_train.csv", "lisbon-1000-40001", "milan-1162-44093", 51, "and in the test part"),
        ("evaluation_setup/fold1_train.csv", "filename", "file", 49, "none of them is filename"),
    ],
)
def test_taus_wrong_lines_are_named(tmp_path, file, old, new, row, said):
    root, _ = tau(tmp_path)
    edited(root / file, old, new)
    with pytest.raises(IntakeError) as caught:
        load(root)
    assert {problem.row for problem in caught.value.problems} == {row}
    assert said in str(caught.value)


@pytest.mark.parametrize("asked", ["fold1_test.csv", "test.csv"])
def test_taus_evaluation_set_has_labels_once_they_are_published(tmp_path, asked):
    for number in range(3):
        sound(tmp_path / f"audio/{number}.wav", number)
    files = [f"audio/{number}.wav" for number in range(3)]
    table(tmp_path / "evaluation_setup" / asked, [[file] for file in files], ["filename"])
    assert recognize(tmp_path)[0] == "tau"
    found = load(tmp_path)
    assert ([clip.name for clip in found.clips], found.classes) == (files, ())
    answers = tmp_path / "evaluation_setup" / asked.replace("test", "evaluate")
    table(answers, [[file, "bus"] for file in files], scenes.TAU_HEADER[:2])
    assert load(tmp_path).targets().tolist() == [1, 1, 1]


def test_what_is_left_of_a_development_set_is_no_evaluation_set(tmp_path):
    root, _ = tau(tmp_path)
    (root / "evaluation_setup/fold1_evaluate.csv").unlink()
    with pytest.raises(IntakeError, match=r"no TAU Urban .* looked for meta\.csv and evaluation_setup/fold1_evaluate"):
        load(f"tau:{root}")


def test_a_place_is_one_recording_in_every_year(tmp_path):
    (one, _), (other, _) = tau(tmp_path / "2019"), tau(tmp_path / "2022", ("a",), 2, 100)
    both = merged([f"tau:{one}", f"tau:{other}"])
    assert {clip.group for clip in both.clips} == {clip.group for clip in load(one).clips}


@pytest.mark.parametrize("kind", ["tut2017", "tau"])
def test_they_are_looked_for_and_shown(tmp_path, kind):
    with pytest.raises(IntakeError, match=r"meta\.\w+ and evaluation_setup/fold1_evaluate"):
        load(f"{kind}:{tmp_path}")
    root = tut(tmp_path) if kind == "tut2017" else tau(tmp_path)[0]
    found, text = survey([root])
    assert found["recordings"] == (8 if kind == "tut2017" else 16)
    assert found["channels"] == {2: found["clips"]}
    assert f"folds     {', '.join(f'{fold}: {n}' for fold, n in found['folds'].items())}" in text
    assert "leaks     none found" in text
    assert "tabs between cells" not in text
