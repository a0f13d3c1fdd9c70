"""AudioSet: made-up trees in the exact layout of its tables, with sound that is partly gone."""

import numpy as np
import pytest
import soundfile

from ossicle import evaluate, folds, plan, train
from ossicle.data.cache import Cache
from ossicle.data.intake import IntakeError, look_over
from ossicle.datasets import load, recognize
from ossicle.datasets.audioset import EVAL, TRAIN, audioset
from ossicle.recipe import from_dict

RATE = 16000
MIDS = ("/m/09x0r", "/m/0ytgt", "/t/dd00088", "/m/07qfr4h")
NAMES = ("Speech", "Child speech, kid speaking", "Bang", "Bang")
WORDS = ("Speech", "Child speech, kid speaking", "Bang (/t/dd00088)", "Bang (/m/07qfr4h)")
LABELS = ("/m/09x0r", "/m/09x0r,/m/0ytgt", "/t/dd00088,/m/07qfr4h")
COUNTS = {"balanced": 20, "unbalanced": 30, "eval": 10}
FORMS = ("{}.wav", "Y{}.wav", "{}_30.000.wav", "{}_30.wav", "{}_30000_40000.wav", "deep/er/Y{}_30.0_40.0.wav")


def video(part, number):
    """Eleven characters, of the odd ones that YouTube takes."""
    return f"-_{part[:3]}{number:05d}_"


def segments(part):
    return [f'{video(part, n)}, 30.000, {40 if n else 38.5}, "{LABELS[n % 3]}"' for n in range(COUNTS[part])]


def classes():
    rows = (f'{number},{mid},"{name}"' for number, (mid, name) in enumerate(zip(MIDS, NAMES, strict=True)))
    return "\n".join(("index,mid,display_name", *rows)) + "\n"


def table(part):
    rows = segments(part)
    counted = f"# num_ytids={len(rows)}, num_segs={len(rows)}, num_unique_labels=4, num_positive_labels=99"
    head = (
        "# Segments csv created Sun Mar  5 10:54:31 2017",
        counted,
        "# YTID, start_seconds, end_seconds, positive_labels",
    )
    return "\n".join((*head, *rows)) + "\n"


def name(part):
    return TRAIN.get(part, EVAL)


@pytest.fixture(scope="module")
def release(tmp_path_factory):
    return made(tmp_path_factory.mktemp("audioset"))


def made(root):
    (root / "class_labels_indices.csv").write_text(classes())
    for part, count in COUNTS.items():
        (root / name(part)).write_text(table(part))
        for n in range(count):
            path = root / "audio" / part / FORMS[n % len(FORMS)].format(video(part, n))
            path.parent.mkdir(parents=True, exist_ok=True)
            tone = 0.3 * np.sin(2 * np.pi * 300 * (1 + n % 3) * np.arange(RATE) / RATE)
            soundfile.write(path, tone, RATE, subtype="PCM_16")
    return root


def lost(root, part, *numbers):
    for n in numbers:
        (root / "audio" / part / FORMS[n % len(FORMS)].format(video(part, n))).unlink()


def refused(root, **how):
    with pytest.raises(IntakeError) as caught:
        audioset(root, **how)
    return str(caught.value), {problem.row for problem in caught.value.problems}


def test_all_of_it_is_found_whatever_files_are_called(release):
    found = load(release)
    assert found == load(f"audioset:{release}") == audioset(release)
    assert recognize(release)[0] == "audioset"
    assert (found.classes, found.folds, found.multilabel, found.notes) == (WORDS, (1, 2), True, ())
    assert len(found) == sum(COUNTS.values())
    for part, count in COUNTS.items():
        own = [clip for clip in found.clips if f"/{part}/" in clip.name]
        assert [clip.group for clip in own] == [f"youtube/{video(part, n)}" for n in range(count)]
        assert [clip.meta["seconds"] for clip in own] == [8.5] + [10.0] * (count - 1)
        assert all(video(part, n) in clip.path.name and clip.path.is_file() for n, clip in enumerate(own))
        rows = found.targets()[[f"/{part}/" in clip.name for clip in found.clips]]
        assert rows[:3].tolist() == [[1, 0, 0, 0], [1, 1, 0, 0], [0, 0, 1, 1]]


def test_eval_is_tested_on_and_a_share_of_videos_is_held_out(release):
    parts = audioset(release, valid=0.2).split(1, "next")
    assert [len(part) for part in (parts.train, parts.valid, parts.test)] == [40, 10, 10]
    assert {clip.name.split("/")[1] for clip in parts.test.clips} == {"eval"}
    assert {clip.name.split("/")[1] for clip in parts.valid.clips} == {"balanced", "unbalanced"}
    assert audioset(release, valid=0).folds == (1,)
    other = audioset(release, valid=0.2, seed=1).split(1, 2).valid
    assert other.clips != parts.valid.clips
    assert not [problem for problem in look_over(audioset(release), fold=1) if problem.severity == "refuse"]


@pytest.mark.parametrize("part", TRAIN)
def test_a_part_of_it(release, part):
    found = audioset(release, part=part, valid=0)
    assert (len(found), len(found.split(1).train)) == (COUNTS[part] + 10, COUNTS[part])
    left = 50 - COUNTS[part]
    assert [note for note in found.notes if note.startswith(f"{left} files are in no row that was read")]


def test_holes_are_counted_and_too_many_are_refused(tmp_path):
    root = made(tmp_path)
    held = {clip.group for clip in audioset(root, valid=0.3).split(None, 2).valid.clips}
    lost(root, "balanced", 0, 1, 2, 3)
    found = audioset(root, valid=0.3)
    assert len(found) == 56
    note = f"{name('balanced')}: 4 of 20 files are missing and left out: {video('balanced', 0)}.wav"
    assert [said for said in found.notes if said.startswith(note)]
    still = {clip.group for clip in found.split(None, 2).valid.clips}
    assert held - still <= {f"youtube/{video('balanced', n)}" for n in range(4)}
    assert still < held | {"none"}
    lost(root, "balanced", 4)
    told, rows = refused(root)
    assert rows == {52}
    assert f"{name('balanced')}: 5 of 20 files are missing, more than max_missing = 20.0% allows" in told
    assert len(audioset(root, part="unbalanced")) == 40
    assert len(audioset(root, max_missing=0.25)) == 55


def test_tables_that_are_not_there_are_not_missed(tmp_path):
    root = made(tmp_path)
    (root / EVAL).unlink()
    (root / TRAIN["unbalanced"]).unlink()
    assert audioset(root).folds == (2,)
    assert (
        "looked for class_labels_indices.csv and unbalanced_train_segments.csv" in refused(root, part="unbalanced")[0]
    )
    (root / TRAIN["balanced"]).unlink()
    assert "is no AudioSet" in refused(root)[0]


def test_tables_without_comments_or_with_a_header(release, tmp_path):
    root = made(tmp_path)
    for part, first in (("balanced", []), ("eval", ["YTID,start_seconds,end_seconds,positive_labels"])):
        (root / name(part)).write_text("\n".join((*first, *segments(part))))
    assert [clip.name for clip in load(root).clips] == [clip.name for clip in load(release).clips]


@pytest.mark.parametrize(
    ("part", "old", "new", "row", "said"),
    [
        ("balanced", "30.000, 40", "half a minute, 40", 49, "start_seconds is 'half a minute', not a number"),
        ("balanced", "30.000, 40", "40.000, 40", 49, "ends at 40 s, which is not after its start"),
        ("balanced", "/t/dd00088,", "/m/none,", 49, "['/m/none'] are none of the 4 classes"),
        ("balanced", video("balanced", 3), "short", 49, "YTID is 'short'; wanted the eleven letters"),
        ("balanced", ', "/m/09x0r"', "", 49, "has 3 cells, and the header has 4"),
        ("eval", video("eval", 3), video("eval", 4), 51, "stands here and, as another, in eval_segments.csv line"),
        ("eval", video("eval", 3), video("balanced", 3), 57, "stands in balanced_train_segments.csv too"),
        ("classes", "2,/t/", "5,/t/", 55, "index is '5'; wanted 2"),
        ("classes", "mid,", "id,", 49, "has the columns"),
    ],
)
def test_what_is_wrong_is_named(tmp_path, part, old, new, row, said):
    path = made(tmp_path) / ("class_labels_indices.csv" if part == "classes" else name(part))
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    told, rows = refused(tmp_path)
    assert rows == {row}
    assert said in told


def test_second_copies_are_told(tmp_path):
    root = made(tmp_path)
    soundfile.write(root / "audio" / f"{video('eval', 0)}.flac", np.zeros(800), RATE)
    notes = audioset(root).notes
    assert [note for note in notes if note.startswith("1 files are called as another one")]


@pytest.mark.parametrize("how", [{"part": "some"}, {"valid": 1.0}])
def test_options_that_are_none(release, how):
    with pytest.raises(ValueError, match="wanted all, balanced"):
        audioset(release, **how)


def test_a_table_tests_on_eval_alone(release, tmp_path):
    tree = {"data": {"name": "audioset", "path": str(release)}, "encoder": "vggish", "frontend": "vggish"}
    recipe = from_dict(tree | {"objective": "supervised", "stages": [{"epochs": 1}]})
    assert [cell.fold for cell in folds.cells(recipe, tmp_path)] == [1]
    planned = plan.recognizer(release)
    assert (planned.split.fold, planned.split.valid) == (1, "next")


def learned(data, folder, epochs):
    """VGGish after so many epochs, and what it is worth on fold 1."""
    tree = {
        "data": data,
        "split": {"fold": 1, "valid": "next"},
        "frontend": {"name": "vggish", "seconds": 1.0},
        "encoder": {"name": "vggish", "width": 1 / 16},
        "objective": "supervised",
        "stages": [{"epochs": epochs, "lr": 1e-3}],
        "batch": 10,
        "watch": epochs,
        "precision": "fp32",
    }
    result = train.fit(from_dict(tree), folder, cache=Cache(folder.parent / "cache"))
    return result["valid"], evaluate.final(folder, cache=Cache(folder.parent / "cache"))


def test_vggish_learns_events_and_is_scored(release, tmp_path):
    """Three sets of labels, each with a tone of its own."""
    valid, scored = learned({"name": "audioset", "path": str(release), "valid": 0.2}, tmp_path / "run", 8)
    assert valid["valid_mAP"] > 0.9
    assert min(scored["mAP"], scored["AUC"]) > 0.9
    assert scored["clips"] == 10
    assert [row["support"] for row in scored["classes"].values()] == [7, 3, 3, 3]


def test_any_table_of_several_labels_will_do(release, tmp_path):
    rows = [
        f"{release / clip.name},{clip.fold or 3},{'|'.join(label[0] for label in clip.labels)}"
        for clip in load(release).clips
    ]
    (tmp_path / "events.csv").write_text("\n".join(("filename,fold,labels", *rows)))
    valid, scored = learned({"name": "csv", "path": str(tmp_path / "events.csv")}, tmp_path / "run", 1)
    assert {"valid_mAP", "valid_AUC"} <= valid.keys()
    assert list(scored["classes"]) == ["B", "C", "S"]
