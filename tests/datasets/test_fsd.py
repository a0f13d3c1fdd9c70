"""FSDnoisy18k and FSD50K: made-up trees in the exact layout of their releases."""

import csv
from collections import Counter

import numpy as np
import pytest
import soundfile

from ossicle import evaluate, folds, plan, train
from ossicle.data.cache import Cache
from ossicle.data.intake import IntakeError, look_over
from ossicle.datasets import fsd50k, load, recognize
from ossicle.datasets.fsdnoisy18k import PARTS, TEST_HEADER, TRAIN_HEADER, fsdnoisy18k
from ossicle.recipe import from_dict

RATE = 8000
LABELS = ("Walk, footsteps", "Walk_or_footsteps", "Café/restaurant")
PORTIONS = {"clean": (1, 0), "noisy": (0, 0), "noisy_small": (0, 1)}


def tone(number, rate=RATE, seconds=0.1):
    return 0.5 * np.sin(2 * np.pi * (200 + 7 * (number % 300)) * np.arange(int(rate * seconds)) / rate)


def write(folder, number):
    folder.mkdir(parents=True, exist_ok=True)
    soundfile.write(folder / f"{number}.wav", tone(number), RATE, subtype="PCM_16")


def table(path, header, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows([*([header] if header else []), *rows])


def noisy(root, each, test=2):
    """`each` clips of every label in each portion of the training set, and `test` in the test set."""
    rows = {"train": [], "test": []}
    for k, label in enumerate(LABELS):
        for p, flags in enumerate(PORTIONS.values()):
            for i in range(each):
                rows["train"].append((f"{1000 * k + 100 * p + i + 1}.wav", label, f"/m/{k}", *flags))
        rows["test"] += [(f"{9000 + 10 * k + i}.wav", label, f"/m/{k}") for i in range(test)]
    for part, header in (("train", TRAIN_HEADER), ("test", TEST_HEADER)):
        table(root / "FSDnoisy18k.meta" / f"{part}.csv", header, rows[part])
        for name, *_ in rows[part]:
            write(root / f"FSDnoisy18k.audio_{part}", int(name.removesuffix(".wav")))
    return root


@pytest.fixture(scope="module")
def release(tmp_path_factory):
    """20 clips of each label and portion, so that 15 % of them is 3."""
    return noisy(tmp_path_factory.mktemp("noisy"), 20)


def refused(root):
    with pytest.raises(IntakeError) as caught:
        load(root)
    return str(caught.value), {problem.row for problem in caught.value.problems}


def edited(path, old, new):
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")


def test_fsdnoisy18k(release):
    found = load(release)
    assert found == load(f"fsdnoisy18k:{release}") == fsdnoisy18k(release)
    assert recognize(release)[0] == "fsdnoisy18k"
    assert found.classes == tuple(sorted(LABELS))
    assert (found.folds, found.multilabel, found.notes) == ((1, 2), False, ())
    assert (len(found), len(found.split(1).test)) == (186, 6)
    assert all(clip.path.is_file() for clip in found.clips)
    first = found.clips[0]
    assert (first.name, first.group) == ("FSDnoisy18k.audio_train/1.wav", "freesound/1")
    assert not [problem for problem in look_over(found, fold=1, valid="next") if problem.severity == "refuse"]


@pytest.mark.parametrize(("valid", "few"), [("next", [1, 2]), (2, [1]), (None, [2])])
def test_a_table_tests_on_the_test_set_alone(release, tmp_path, valid, few):
    """And on fold 2, which is for validation, not even where nothing is validated on."""
    tree = {"data": {"name": "fsdnoisy18k", "path": str(release)}, "encoder": "small", "objective": "supervised"}
    tree |= {"frontend": {"name": "logmel", "sample_rate": RATE, "seconds": 0.1}, "split": {"valid": valid}}
    recipe = from_dict(tree | {"grid": {"split.few": few}, "stages": [{"epochs": 1, "lr": 0.1}]})
    assert [cell.fold for cell in folds.cells(recipe, tmp_path)] == [1] * len(few)
    assert [cell.fold for cell in folds.cells(recipe, tmp_path, folds=[2])] == [2] * len(few)


def test_training_is_planned_to_leave_the_test_set_alone(release):
    planned = plan.recognizer(release)
    parts = load(release).split(planned.split.fold, planned.split.valid)
    assert {clip.fold for clip in parts.test.clips} == {1}
    assert {clip.fold for clip in parts.valid.clips} == {2}
    assert {clip.fold for clip in parts.train.clips} == {None}
    assert plan.recognizer(release, fold=1).split.valid is None


def test_labels_with_commas_and_slashes_reach_the_wave_they_belong_to(release, tmp_path):
    found = load(release)
    cache = Cache(tmp_path)
    cache.prepare([clip.path for clip in found.clips[:70]], sample_rate=RATE, workers=1)
    for clip in (found.clips[0], found.clips[65]):
        number = int(clip.path.stem)
        assert clip.labels == (LABELS[number // 1000],)
        wave = cache.wave(clip.path, sample_rate=RATE)
        np.testing.assert_allclose(wave[0], tone(number), atol=2**-15)


@pytest.mark.parametrize("part", PARTS)
def test_15_percent_of_every_class_and_portion_is_held_out(release, part):
    """The code that came with the paper validated on clips that it trained on."""
    found = fsdnoisy18k(release, part=part)
    parts = found.split(1, "next")
    assert found.classes == load(release).classes
    assert {clip.meta["portion"] for clip in parts.train.clips} == set(PARTS[part])
    count = Counter((*clip.labels, clip.meta["portion"]) for clip in parts.valid.clips)
    assert count == {(label, portion): 3 for label in LABELS for portion in PARTS[part]}
    names = [{clip.recording for clip in each.clips} for each in (parts.train, parts.valid, parts.test)]
    assert sum(map(len, names)) == len(set.union(*names)) == len(found)


def test_what_one_part_holds_out_no_part_learns_from(release):
    held = {part: {clip.name for clip in fsdnoisy18k(release, part=part).split(1, 2).valid.clips} for part in PARTS}
    assert held["all"] == held["clean"] | held["noisy"]
    assert held["noisy_small"] < held["noisy"]
    assert held["clean"] != {clip.name for clip in fsdnoisy18k(release, part="clean", seed=1).split(1, 2).valid.clips}
    wider = {clip.name for clip in fsdnoisy18k(release, part="clean", valid=0.3).split(1, 2).valid.clips}
    assert held["clean"] < wider
    assert len(wider) == 2 * len(held["clean"])


def test_the_deal_is_the_tables_whatever_files_are_missing(tmp_path):
    root = noisy(tmp_path, 10)
    before = {clip.name: clip.fold for clip in load(root).clips}
    (root / "FSDnoisy18k.audio_train" / "1.wav").unlink()
    after = {clip.name: clip.fold for clip in fsdnoisy18k(root, max_missing=0.05).clips}
    assert after.items() < before.items()


def test_the_clean_part_may_be_the_validation_of_a_noisy_one(release):
    parts = fsdnoisy18k(release, part="noisy_small", valid="clean").split(1, 2)
    assert ({clip.meta["portion"] for clip in parts.valid.clips}, len(parts.valid)) == ({"clean"}, 60)
    assert ({clip.meta["portion"] for clip in parts.train.clips}, len(parts.train)) == ({"noisy_small"}, 60)


@pytest.mark.parametrize("options", [{"part": "dirty"}, {"valid": 1.0}, {"valid": -0.1}, {"valid": "noisy"}])
def test_options_that_are_none(release, options):
    with pytest.raises(ValueError, match="wanted"):
        fsdnoisy18k(release, **options)
    with pytest.raises(ValueError, match="'clean' of a noisy part"):
        fsdnoisy18k(release, part="clean", valid="clean")


@pytest.mark.parametrize(
    ("old", "new", "row", "said"),
    [
        (",".join(TRAIN_HEADER) + "\n", "", 48, "put this line on top of it: fname,label,aso_id,manually_verified"),
        ("noisy_small", "small", 49, "has the columns"),
        (",/m/1,1,0", ",/m/1,1", 49, "has 4 cells"),
        (",/m/1,1,0", ",/m/1,yes,0", 49, "manually_verified is 'yes'"),
        ("1001.wav,Walk_or_footsteps", "1001.wav,", 49, "has no label"),
        ("1001.wav,", "rain.wav,", 49, "fname is 'rain'"),
        (",/m/1,1,0", ",/m/2,1,0", 55, "class 'Walk_or_footsteps' has the aso_id"),
        ("1002.wav,Walk_or_footsteps,/m/1", "1001.wav,Café/restaurant,/m/2", 51, "stands here and, as another, in"),
        ("1001.wav,", "77.wav,", 52, "1 of 24 files are missing, more than max_missing = 1.0% allows"),
    ],
)
def test_what_is_wrong_with_fsdnoisy18k_is_named(tmp_path, old, new, row, said):
    root = noisy(tmp_path, 2)
    edited(root / "FSDnoisy18k.meta" / "train.csv", old, new)
    told, rows = refused(root)
    assert rows == {row}
    assert said in told


def test_fsdnoisy18k_with_rows_twice_and_files_in_no_row(tmp_path):
    root = noisy(tmp_path, 2)
    lines = (root / "FSDnoisy18k.meta" / "train.csv").read_text(encoding="utf-8").splitlines()
    (root / "FSDnoisy18k.meta" / "train.csv").write_text("\n".join([*lines, lines[1]]), encoding="utf-8")
    write(root / "FSDnoisy18k.audio_train", 77)
    for part in PARTS:
        notes = "\n".join(fsdnoisy18k(root, part=part).notes)
        assert "1 rows repeat a clip that stands above: FSDnoisy18k.meta/train.csv line 20" in notes
        assert "1 files are in no row and left out: 77.wav" in notes


def test_a_recording_in_training_and_test_set_is_warned_of(tmp_path):
    root = noisy(tmp_path, 2)
    edited(root / "FSDnoisy18k.meta" / "test.csv", "9000.wav", "1.wav")
    (root / "FSDnoisy18k.audio_test" / "9000.wav").rename(root / "FSDnoisy18k.audio_test" / "1.wav")
    assert any(problem.row == 57 and "freesound/1" in problem.sentence for problem in look_over(load(root)))


# -- FSD50K -----------------------------------------------------------------------------------------------------------

WORDS = ("Bird", "Wild_animal", "Keyboard_(musical)", "Crash_cymbal")


def many(root, each=6):
    """`each` clips of train and half as many of val and of eval for each of three sets of labels."""
    sets = (WORDS[:2], (WORDS[2],), (WORDS[3], WORDS[2]))
    dev, asked = [], []
    for k, labels in enumerate(sets):
        cells = ",".join(labels), ",".join(f"/m/{WORDS.index(label)}" for label in labels)
        dev += [(100 * k + i, *cells, "train" if i <= each else "val") for i in range(1, each + each // 2 + 1)]
        asked += [(100 * k + 50 + i, *cells) for i in range(each // 2)]
    truth = root / "FSD50K.ground_truth"
    table(truth / "dev.csv", fsd50k.DEV_HEADER, dev)
    table(truth / "eval.csv", fsd50k.EVAL_HEADER, asked)
    table(truth / "vocabulary.csv", None, [(i, label, f"/m/{i}") for i, label in enumerate(WORDS)])
    for folder, rows in ((fsd50k.DEV_AUDIO, dev), (fsd50k.EVAL_AUDIO, asked)):
        for number, *_ in rows:
            write(root / folder, number)
    return root


def test_fsd50k(tmp_path):
    root = many(tmp_path)
    found = load(root)
    assert found == load(f"fsd50k:{root}")
    assert (found.classes, found.folds, found.multilabel, found.notes) == (WORDS, (1, 2), True, ())
    assert found.targets()[0].tolist() == [1, 1, 0, 0]
    assert found.clips[0].name == "FSD50K.dev_audio/1.wav"
    assert [clip.group for clip in found.clips] == [f"freesound/{clip.path.stem}" for clip in found.clips]
    parts = found.split(1, "next")
    assert [len(part) for part in (parts.train, parts.valid, parts.test)] == [18, 9, 9]
    assert {clip.path.parent.name for clip in parts.test.clips} == {"FSD50K.eval_audio"}


@pytest.mark.parametrize(
    ("name", "old", "new", "row", "said"),
    [
        ("dev", ",".join(fsd50k.DEV_HEADER) + "\n", "", 49, "not ('fname', 'labels', 'mids', 'split')"),
        ("eval", "mids", "mids,split", 49, "has the columns"),
        ("dev", ",train\n", ",test\n", 50, "split is 'test'; wanted one of train, val"),
        ("dev", "Wild_animal", "Wild animal", 49, "['Wild animal'] are none of the 4 classes"),
        ("eval", '50,"Bird,Wild_animal"', "50,", 49, "[''] are none of the 4 classes"),
        ("vocabulary", "1,Wild_animal", "2,Wild_animal", 55, "wanted 1, label, mid"),
        ("vocabulary", "0,Bird", "index,label,mid\n0,Bird", 55, "wanted 0, label, mid"),
        ("dev", "\n2,", "\n7777,", 52, "1 of 36 files are missing"),
    ],
)
def test_what_is_wrong_with_fsd50k_is_named(tmp_path, name, old, new, row, said):
    root = many(tmp_path)
    edited(root / "FSD50K.ground_truth" / f"{name}.csv", old, new)
    told, rows = refused(root)
    assert rows == {row}
    assert said in told
    assert name in told


def test_releases_that_are_none_say_what_was_looked_for(tmp_path):
    for kind, wanted in (("fsdnoisy18k", r"FSDnoisy18k\.meta/train\.csv"), ("fsd50k", r"FSD50K\.ground_truth/dev")):
        with pytest.raises(IntakeError, match=wanted):
            load(f"{kind}:{tmp_path}")
    root = many(tmp_path)
    (root / "FSD50K.ground_truth" / "vocabulary.csv").unlink()
    assert "it tells the classes" in refused(root)[0]


def trained(data, folder, **split):
    tree = {
        "data": data,
        "split": {"fold": 1, "valid": "next", **split},
        "frontend": {"name": "logmel", "sample_rate": RATE, "seconds": 0.1, "n_fft": 256, "hop": 128, "mels": 8},
        "encoder": {"name": "resnet", "depth": 18, "width": 2},
        "objective": "supervised",
        "stages": [{"epochs": 2, "lr": 1e-2}],
        "batch": 16,
        "precision": "fp32",
    }
    result = train.fit(from_dict(tree), folder, cache=Cache(folder.parent / "cache"))
    return result, evaluate.final(folder, cache=Cache(folder.parent / "cache"))


def test_both_train_for_two_epochs_and_are_scored_on_their_test_sets(release, tmp_path):
    data = {"name": "fsdnoisy18k", "path": str(release), "part": "clean"}
    result, scored = trained(data, tmp_path / "noisy", label_noise=0.4)
    assert (result["clips"], scored["clips"]) == (2 * 51, 6)
    assert set(scored["classes"]) == set(LABELS)
    assert 0 <= result["valid"]["valid_class_accuracy"] <= 1
    result, scored = trained({"name": "fsd50k", "path": str(many(tmp_path / "many"))}, tmp_path / "fsd50k")
    assert (result["clips"], scored["clips"]) == (2 * 18, 9)
    assert 0 <= scored["mAP"] <= 1
    assert "accuracy" not in scored
