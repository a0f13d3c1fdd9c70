"""What a run learned from, and new clips beside it: what was held out stays as it was."""

import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from ossicle import material
from ossicle.data.intake import IntakeError
from ossicle.data.manifest import Clip, Manifest
from ossicle.datasets.listing import listing, write
from ossicle.field.joined import join
from ossicle.recipe import from_dict, to_dict
from ossicle.run import Run, RunError

RATE = 8000


def sound(path, seed):
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.random.default_rng(seed).uniform(-0.1, 0.1, RATE // 4), RATE)


@pytest.fixture(scope="module")
def sounds(tmp_path_factory):
    """Two classes of six files in three folds, and one file without a label."""
    root = tmp_path_factory.mktemp("sounds")
    rows = ["filename,fold,label,group"]
    for number in range(12):
        sound(root / f"{number}.wav", number)
        rows.append(f"{number}.wav,{number // 2 % 3 + 1},{('low', 'high')[number % 2]},r/{number}")
    sound(root / "12.wav", 12)
    (root / "clips.csv").write_text("\n".join([*rows, "12.wav,3,?,r/12"]) + "\n")
    return root


def began(sounds, folder, **changes):
    """The folder of a run that was started on these, as far as `join` reads it."""
    tree = {
        "data": {"name": "csv", "path": str(sounds / "clips.csv")},
        "split": {"fold": 1, "valid": "next"},
        "frontend": {"name": "logmel", "sample_rate": RATE, "seconds": 0.2, "n_fft": 256, "hop": 128, "mels": 16},
        "encoder": {"name": "small", "width": 2, "attention": 8},
        "objective": "supervised",
        "stages": [{"epochs": 1}],
    }
    recipe = from_dict(tree | changes)
    data = material.gather(recipe, sample_rate=RATE).describe()
    with Run.start(folder, to_dict(recipe), data, {}) as run:
        return run


@pytest.fixture(scope="module")
def run(sounds, tmp_path_factory):
    return began(sounds, tmp_path_factory.mktemp("runs") / "rec")


def clips(root, *labels, start=100):
    """Files of noise, one a label, None where it is unknown."""
    made = []
    for number, label in enumerate(labels, start):
        sound(root / f"{number}.wav", 1000 + number)
        made.append(Clip(root / f"{number}.wav", f"{number}.wav", (label,) if label else ()))
    return Manifest.of("new", made)


def who(part):
    return sorted((clip.name, clip.labels, clip.fold, clip.path.name) for clip in part.clips)


def parts(joined):
    return joined.manifest.split(joined.split.fold, joined.split.valid)


def test_what_was_held_out_stays_and_nothing_new_is_there(run, tmp_path):
    before = material.divide(listing(run.recipe["data"]["path"]), from_dict(run.recipe), supervised=True)
    joined = join(run, clips(tmp_path, "owl", "owl", "low", None))
    after = parts(joined)
    assert who(after.test) == who(before.test)
    assert who(after.valid) == who(before.valid)
    assert set(who(before.train)) < set(who(after.train))
    assert (joined.split.fold, joined.split.valid) == (1, 2)
    assert joined.manifest.classes == ("high", "low", "owl")
    assert [clip.name for clip in joined.unlabelled.clips] == ["103.wav"]
    assert "103.wav" not in {clip.name for clip in joined.manifest.clips}


def test_a_rare_class_is_heard_until_it_is_as_large_as_the_median(sounds, run, tmp_path):
    joined = join(run, clips(tmp_path, "owl", "low"))
    train = parts(joined).train
    assert joined.times == {"owl": 2, "low": 1}
    assert Counter(clip.labels[0] for clip in train.clips) == {"low": 3, "high": 2, "owl": 2}
    again = [clip for clip in train.clips if clip.labels == ("owl",)]
    assert len({clip.key for clip in again}) == 2, "each has views of its own"
    assert len({(clip.path, clip.recording) for clip in again}) == 1, "and they are one recording"


def test_the_table_of_it_says_the_same(run, tmp_path):
    joined = join(run, clips(tmp_path / "new", "owl", "owl"))
    write(joined.manifest, tmp_path / "clips.csv")
    read = listing(tmp_path / "clips.csv").split(joined.split.fold, joined.split.valid)
    assert [who(part) for part in vars(read).values()] == [who(part) for part in vars(parts(joined)).values()]


def test_what_is_held_out_or_known_is_left_out_of_the_new(sounds, run, tmp_path):
    new = clips(tmp_path, "owl", "low", "owl", None)
    copies = [shutil.copy(sounds / f"{number}.wav", tmp_path / f"{100 + number}.wav") for number in (0, 4)]
    assert [Path(copy).name for copy in copies] == ["100.wav", "104.wav"]  # a test clip as owl, a training clip again
    known = Clip(tmp_path / "104.wav", "104.wav", ("low",))
    cut = replace(new.clips[2], group="r/2")  # of a recording in the validation part
    joined = join(run, replace(new, clips=(new.clips[0], new.clips[1], cut, new.clips[3], known)))
    assert [clip.name for clip in joined.taught.clips] == ["101.wav"]
    assert joined.notes == (
        "left out 2 new clips: held out, file or recording",
        "left out 1 new clip: known already",
    )


def test_another_label_than_it_is_known_by_is_refused(sounds, run, tmp_path):
    shutil.copy(sounds / "4.wav", tmp_path / "a.wav")
    new = Manifest.of("new", [Clip(tmp_path / "a.wav", "a.wav", ("owl",))])
    with pytest.raises(IntakeError, match=r"a.wav: is owl here, and is known as low \(4.wav\): leave it out"):
        join(run, new)


def test_a_name_that_another_file_has_gets_its_folder_in_front(run, tmp_path):
    joined = join(run, clips(tmp_path, "owl", "owl", start=0))
    assert [clip.name for clip in joined.taught.clips] == ["new/0.wav", "new/1.wav"]


def test_several_labels_where_the_run_tells_one_are_refused(run, tmp_path):
    several = clips(tmp_path, "owl", "cat")
    both = replace(several.clips[0], labels=("owl", "cat"))
    none = replace(several.clips[1], labels=(), no_event=True)
    new = Manifest.of("new", [both, none], classes=("cat", "owl"))
    with pytest.raises(IntakeError, match=r"100.wav: has several labels, and .*rec tells one class of each clip"):
        join(run, new)


def test_folds_that_were_dealt_and_clips_that_were_drawn_stay(sounds, tmp_path):
    """A folder a class has no folds; they are dealt over all of it, and would fall otherwise with more in it."""
    for number in range(12):
        label = ("low", "high")[number % 2]
        (tmp_path / "plain" / label).mkdir(parents=True, exist_ok=True)
        shutil.copy(sounds / f"{number}.wav", tmp_path / "plain" / label)
    data = {"name": "folder", "path": str(tmp_path / "plain")}
    run = began(sounds, tmp_path / "rec", data=data, split={"fold": 2, "valid": 3, "few": 2})
    recipe = from_dict(run.recipe)
    before = material.divide(material.dealt(recipe.data.build(material.DATASETS), recipe), recipe, supervised=True)
    after = parts(join(run, clips(tmp_path / "new", "owl", "low")))
    assert who(after.valid) == who(before.valid)
    assert who(after.test) == who(before.test)
    known = [clip for clip in after.train.clips if clip.fold != 6]
    assert sorted(clip.name for clip in known) == sorted(clip.name for clip in before.train.clips)
    assert len(known) == 4


def test_data_that_has_changed_is_refused(sounds, tmp_path):
    shutil.copytree(sounds, tmp_path / "sounds")
    run = began(tmp_path / "sounds", tmp_path / "rec")
    table = tmp_path / "sounds" / "clips.csv"
    table.write_text(table.read_text().replace("low", "deep"))
    with pytest.raises(RunError, match=r"clips has changed since .*rec learned from it"):
        join(run, clips(tmp_path / "new", "owl"))
