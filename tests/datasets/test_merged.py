"""Several sets in one, and side by side."""

import json
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile

from ossicle import cli, datasets, material, recipe
from ossicle.data import audit
from ossicle.data.intake import look_over
from ossicle.data.manifest import Clip, Manifest
from ossicle.datasets import DATASETS, compared, load, merged, survey
from ossicle.datasets.merged import merge
from ossicle.options import setting


def noise(path, seed, seconds=0.2):
    path.parent.mkdir(parents=True, exist_ok=True)
    samples = np.random.default_rng(seed).uniform(-0.5, 0.5, int(8000 * seconds))
    soundfile.write(path, samples, 8000)
    return path


def table(root, *rows):
    """A set of its own: (file, seed of its sound, label, fold, group)."""
    for file, seed, *_ in rows:
        noise(root / file, seed)
    lines = [f"{file},{label},{fold},{group}" for file, _, label, fold, group in rows]
    (root / f"{root.name}.csv").write_text("\n".join(["filename,label,fold,group", *lines]) + "\n")
    return str(root / f"{root.name}.csv")


@pytest.fixture
def two(tmp_path):
    """Two sets: recording 7 in fold 1 of one and fold 2 of the other, recording 8 in fold 1 of both; a copy."""
    one = table(
        tmp_path / "one",
        ("a.wav", 1, "dog", 1, "freesound/7"),
        ("b.wav", 2, "cat", 2, "5"),
        ("c.wav", 3, "cat", 1, "freesound/8"),
    )
    two = table(
        tmp_path / "two",
        ("a.wav", 4, "dog_bark", 2, "freesound/7"),
        ("d.wav", 2, "cat", 2, "6"),
        ("e.wav", 5, "cat", 2, "5"),
        ("f.wav", 6, "siren", 1, "freesound/8"),
    )
    return one, two


def test_folds_add_up_and_copies_are_kept_once(two):
    found = merged(two)
    assert (len(found), found.folds) == (6, (1, 2))
    assert found.classes == ("cat", "dog", "dog_bark", "siren")
    assert len({clip.name for clip in found.clips}) == 6
    assert {(clip.path.parent.name, clip.path.stem) for clip in found.clips if clip.fold == 1} == {
        ("one", "a"),
        ("one", "c"),
        ("two", "f"),
    }
    assert any("1 clips are copies, byte for byte" in note for note in found.notes)


def test_a_recording_has_one_group_and_a_number_of_ones_own_does_not_leave_its_set(two):
    """Numbers of the first set stay as they are: its folds are dealt by them, alone or with others."""
    groups = {(clip.path.parent.name, clip.path.stem): clip.group for clip in merged(two).clips}
    assert groups["one", "a"] == groups["two", "a"] == "freesound/7"
    assert (groups["one", "b"], groups["two", "e"]) == ("5", "two/5")


def test_a_recording_in_several_folds_is_told_and_strictly_left_out(two):
    found = merged(two)
    assert any("2 clips of 1 recordings that stand in several folds are kept" in note for note in found.notes)
    assert [problem.row for problem in look_over(found) if problem.severity == "warn"].count(57) == 1
    strict = merged(two, strict=True)
    assert not audit.by_recording(strict)
    assert {clip.group for clip in found.clips} - {clip.group for clip in strict.clips} == {"freesound/7"}
    assert (len(strict), strict.folds) == (4, (1, 2))
    for fold in strict.folds:
        parts = strict.split(fold)
        assert not {c.recording for c in parts.train.clips} & {c.recording for c in parts.test.clips}


def test_a_copy_in_another_fold_is_a_leak_too(tmp_path):
    one = table(tmp_path / "one", ("a.wav", 1, "x", 1, ""), ("b.wav", 2, "y", 2, ""))
    two = table(tmp_path / "two", ("c.wav", 1, "x", 2, ""), ("d.wav", 3, "y", 1, ""))
    assert len(merged([one, two])) == 3
    assert any("1 clips of 1 recordings that stand in several folds" in note for note in merged([one, two]).notes)
    assert {clip.path.stem for clip in merged([one, two], strict=True).clips} == {"b", "d"}


def test_of_a_fold_that_is_held_out_nothing_without_a_label_is_heard(tmp_path):
    """Folds 1 and 2 have labels. Of the recordings without: a table's with folds 1 to 3, and a folder's, with none."""
    labelled = table(
        tmp_path / "one",
        ("a.wav", 1, "x", 1, "p/1"),
        ("b.wav", 2, "y", 2, "p/2"),
        ("c.wav", 3, "x", 2, "p/3"),
        ("d.wav", 4, "y", 1, "p/4"),
    )
    rows = [(f"{number}.wav", 10 + number, "x", 1 + number % 3, f"q/{number}") for number in range(6)]
    bare = {"name": "unlabelled", "of": {"name": "csv", "path": table(tmp_path / "bare", *rows)}, "segment": 0.1}
    noise(tmp_path / "field" / "copy.wav", 1)
    noise(tmp_path / "field" / "other.wav", 20)
    field = {"name": "folder", "path": str(tmp_path / "field"), "labels": False, "segment": 0.1}
    whole = recipe.Spec("merged", {"sets": [labelled, bare, field]})
    assert datasets.tested(whole) == (1, 2)
    found = whole.build(DATASETS)
    assert (found.folds, found.scorable, found.classes) == ((1, 2, 3), (1, 2), ("x", "y"))
    assert sum("2 clips of it are learned from whichever fold" in note for note in found.notes) == 1
    for fold in (1, 2):
        parts = found.split(fold, "next")
        assert {clip.path.parent.name for clip in (*parts.test.clips, *parts.valid.clips)} == {"one"}
        assert {(clip.path.parent.name, clip.fold) for clip in parts.train.clips} == {("bare", 3), ("field", None)}
        alone = found.split(fold).train.clips
        assert any(clip.path.name == "copy.wav" for clip in alone) == (fold == 2)  # a.wav, which is of fold 1
        assert len([clip for clip in alone if clip.path.parent.name == "bare"]) == 8
    assert datasets.tested(recipe.Spec("unlabelled", {"of": labelled})) == (1, 2)


def test_a_clip_without_a_fold_is_where_its_recording_is(tmp_path):
    one = table(tmp_path / "one", ("a.wav", 1, "x", 1, "freesound/7"), ("b.wav", 2, "y", 2, ""))
    (tmp_path / "two").mkdir()
    noise(tmp_path / "two" / "c.wav", 3)
    (tmp_path / "two" / "two.csv").write_text("filename,label,group\nc.wav,?,freesound/7\n")
    found = merged([one, str(tmp_path / "two" / "two.csv")])
    assert {clip.path.stem: clip.fold for clip in found.clips} == {"a": 1, "b": 2, "c": 1}
    assert not [note for note in found.notes if "several folds" in note or "has no folds" in note]


def test_a_clip_without_a_label_is_where_the_labelled_ones_of_its_recording_are(tmp_path):
    """Whatever its own table says; and so is what is known to be of that recording by other clips alone."""
    one = table(tmp_path / "one", ("a.wav", 1, "x", 1, "freesound/7"), ("b.wav", 2, "y", 2, ""))
    rows = [("c.wav", 3, "?", 2, "freesound/7"), ("d.wav", 2, "?", 1, "q/1"), ("e.wav", 4, "?", "", "q/1")]
    bare = {"name": "unlabelled", "of": table(tmp_path / "two", *rows, ("f.wav", 5, "?", 1, "q/2")), "segment": 0.1}
    found = merged([one, bare])
    assert {clip.path.stem: clip.fold for clip in found.clips} == {"a": 1, "b": 2, "c": 1, "d": 2, "e": 2, "f": 1}
    assert not audit.by_recording(found)
    assert not [note for note in found.notes if "several folds" in note]


def test_of_a_copy_the_label_is_kept_whichever_comes_first(tmp_path):
    one = table(tmp_path / "one", ("a.wav", 1, "x", 1, ""), ("b.wav", 2, "y", 2, ""))
    bare = {"name": "unlabelled", "of": table(tmp_path / "two", ("c.wav", 1, "?", 2, ""))}
    for sets in ([one, bare], [bare, one]):
        kept = {clip.path.stem: (clip.labels, clip.fold) for clip in merged(sets).clips}
        assert kept == {"a": (("x",), 1), "b": (("y",), 2)}


def test_files_of_one_name_in_two_folders_are_two_recordings(tmp_path):
    one = table(tmp_path / "one", ("a.wav", 1, "x", 1, ""), ("b.wav", 2, "y", 2, ""))
    noise(tmp_path / "field" / "a.wav", 3)
    found = merged([one, {"name": "folder", "path": str(tmp_path / "field"), "labels": False, "segment": 0.1}])
    assert len({clip.recording for clip in found.clips}) == 3
    assert not [note for note in found.notes if "several folds" in note]


def test_folds_that_are_dealt_are_those_of_the_labelled_set_alone_and_hold_its_copies(tmp_path):
    """A teacher of fold k that learned from the labelled set alone has not heard what a student is tested on."""
    files = [(f"{number}.wav", number, "xy"[number % 2], f"site{number // 2}") for number in range(12)]
    for file, seed, *_ in files:
        noise(tmp_path / "one" / file, seed)
    lines = [f"{file},{label},{site}" for file, _, label, site in files]
    (tmp_path / "one.csv").write_text("\n".join(["filename,label,group", *(f"one/{line}" for line in lines)]) + "\n")
    noise(tmp_path / "field" / "copy.wav", 3)
    noise(tmp_path / "field" / "other.wav", 20)
    field = {"name": "folder", "path": str(tmp_path / "field"), "labels": False, "segment": 0.1}
    alone = load(tmp_path / "one.csv").with_folds(5)
    both = merged([str(tmp_path / "one.csv"), field]).with_folds(5)
    folds = {clip.path.name: clip.fold for clip in alone.clips}
    assert {clip.path.name: clip.fold for clip in both.labelled().clips} == folds
    bare = {(clip.path.name, clip.fold) for clip in both.clips if not clip.labelled}
    assert bare == {("copy.wav", folds["3.wav"]), ("other.wav", None)}


def test_where_only_clips_without_labels_have_folds_labelled_ones_are_dealt_anew(tmp_path):
    for number in range(10):
        noise(tmp_path / "dir" / "ab"[number % 2] / f"{number}.wav", number)
    bare = table(tmp_path / "bare", *((f"{number}.wav", 20 + number, "x", 1 + number % 2, "") for number in range(4)))
    whole = recipe.Spec("merged", {"sets": [str(tmp_path / "dir"), {"name": "unlabelled", "of": bare}]})
    assert datasets.tested(whole) == ()
    followed = recipe.from_dict(
        {"data": recipe.to_dict(whole), "split": {"fold": 5}, "frontend": "logmel", "encoder": "small"}
        | {"objective": "npid", "stages": [{"epochs": 1}]}
    )
    parts = material.divide(material.dealt(whole.build(DATASETS), followed), followed, supervised=False)
    assert {clip.labels for clip in parts.test.clips} == {("a",), ("b",)}
    assert len([clip for clip in parts.train.clips if not clip.labels]) == 4


def test_pieces_of_a_clip_stay_within_it(tmp_path):
    noise(tmp_path / "a.wav", 1, seconds=1)
    (tmp_path / "clips.csv").write_text("filename,label,start,stop\na.wav,x,0.2,0.72\na.wav,?,0.72,\n")
    pieces = recipe.Spec("unlabelled", {"of": str(tmp_path / "clips.csv"), "segment": 0.2}).build(DATASETS).clips
    said = [(round(clip.start, 6), clip.stop and round(clip.stop, 6)) for clip in pieces]
    assert said == [(0.2, 0.4), (0.4, 0.6), (0.6, 0.72), (0.72, None)]


def test_sets_of_one_name_and_a_set_in_two_places(tmp_path, two):
    shutil.copytree(tmp_path / "one", tmp_path / "again" / "one")
    found = merged([two[0], str(tmp_path / "again" / "one" / "one.csv")])
    assert len(found) == 3
    assert any("3 clips are copies" in note for note in found.notes)
    assert merged([two[0], two[0]]).clips == merged([two[0], two[0]], strict=True).clips


def test_a_recipe_names_the_sets(tmp_path, two):
    text = (
        f'data = {{ name = "merged", sets = [ {{ name = "csv", path = "{two[0]}" }}, '
        f'{{ name = "csv", path = "{two[1]}" }} ], strict = true }}\n'
        'frontend = "logmel"\nencoder = "small"\nobjective = "npid"\nstages = [{ epochs = 1 }]\n'
    )
    (tmp_path / "recipe.toml").write_text(text)
    read = recipe.load(tmp_path / "recipe.toml")
    assert read.data.build(DATASETS) == merged(two, strict=True)
    assert recipe.from_dict(recipe.to_dict(read)) == read


@pytest.mark.parametrize(
    ("sets", "said"),
    [
        ("one.csv", "sets is a text; wanted a list"),
        ([], "at least 2 sets, and 0 came"),
        ([{"path": "one"}, {"path": "two"}], "names no data set"),
        ([{"name": "esc11", "path": "one"}, {"name": "csv", "path": "two"}], "unknown component 'esc11'.*esc10"),
    ],
)
def test_what_cannot_be_merged(sets, said):
    with pytest.raises(ValueError, match=said):
        merged(sets)


def test_labels_of_one_clip_that_disagree_are_refused():
    one, other = (Manifest.of(label, [Clip(Path("a.wav"), "a.wav", (label,), 1)]) for label in ("dog", "cat"))
    with pytest.raises(ValueError, match="leave one out"):
        merge([one, other])


def test_sets_side_by_side(two):
    found = compared([load(source) for source in two])
    assert [(one["name"], one["clips"], one["recordings"]) for one in found["sets"]] == [("one", 3, 3), ("two", 4, 4)]
    assert found["sets"][0]["channels"] == {1: 3}
    assert found["sets"][0]["bytes"] == sum(Path(two[0]).with_name(f"{name}.wav").stat().st_size for name in "abc")
    shared = {common["kind"]: (common["shared"], common["clips"]) for common in found["shared"]}
    assert set(shared["recording"][0]) == {"freesound/7", "freesound/8", "5"}
    assert shared["content"][1] == (("b.wav",), ("d.wav",))
    assert "sound" not in shared


def test_the_table_of_several_sets(two):
    _, text = survey(two)
    lines = text.splitlines()
    assert lines[0].split()[:4] == ["clips", "recordings", "classes", "clips"]
    assert lines[1].split() == ["one", "3", "3", "2", "1-2", "0.20-0.20-0.20", "0.00", "0.0", "8000", "1", "2"]
    assert lines[2].split()[:5] == ["two", "4", "4", "3", "1-2"]
    assert len({len(line) for line in lines[:3]}) == 1
    assert "one and two share 3 recordings (3 clips and 3), 1 files of equal bytes (1 clips and 1)" in text
    assert "one: no leak between its folds found" in text


def test_listening_finds_copies_that_bytes_do_not_show(tmp_path):
    one = table(tmp_path / "one", ("a.wav", 1, "x", 1, ""), ("b.wav", 2, "y", 2, ""))
    noise(tmp_path / "one" / "a.wav", 1, seconds=2)
    samples, rate = soundfile.read(tmp_path / "one" / "a.wav")
    soundfile.write(tmp_path / "one" / "b.wav", 0.3 * samples[2000:], rate)
    (tmp_path / "two").mkdir()
    soundfile.write(tmp_path / "two" / "c.ogg", samples, rate)
    found, text = survey([one, str(tmp_path / "two")], listen=True)
    assert [leak["kind"] for leak in found["sets"][0]["leaks"]] == ["sound"]
    assert "one: a.wav = b.wav: one sound in folds 1, 2" in text
    assert "one and two share 1 sounds by ear (2 clips and 1)" in text
    assert "one sound in folds 1, 2" in survey([one], listen=True)[1]
    assert "one sound" not in survey([one])[1]
    (tmp_path / "two" / "d.wav").write_bytes(b"no sound")
    found, text = survey([one, str(tmp_path / "two")], listen=True)
    assert list(found["unheard"]) == [str(tmp_path / "two" / "d.wav")]
    assert "not heard: " in text


def test_the_verb_prints_the_table_its_values_and_the_command_that_learns_from_all(two, capsys):
    assert cli.main(["data", *two, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == json.loads(json.dumps(compared([load(source) for source in two])))
    assert cli.main(["data", *two]) == 0
    text = capsys.readouterr().out
    assert survey(two)[1] in text
    command = shlex.split(text.splitlines()[-1])
    name, value = setting(command[command.index("--set") + 1])
    assert name == "data"
    assert recipe.Spec(value.pop("name"), value).build(DATASETS) == merged(two)
