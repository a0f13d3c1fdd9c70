"""Students and teachers, from end to end, on a few made-up clips."""

import json
import shutil

import numpy as np
import pytest
import soundfile
import torch

from ossicle import audio, cli, lessons, material, model, plan, train
from ossicle.data.cache import Cache
from ossicle.data.loader import DataError
from ossicle.datasets import DATASETS
from ossicle.evaluate import final
from ossicle.recipe import RecipeError, Spec, from_dict
from ossicle.run import RunError

RATE = 8000


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Two classes of six recordings each in three folds, half a second long; `field`: longer ones without labels."""
    root = tmp_path_factory.mktemp("place")
    (root / "field").mkdir()
    noise = np.random.default_rng(0)
    rows = ["filename,fold,label,group"]
    for number in range(12):
        label, fold = ("low", "high")[number % 2], number // 2 % 3 + 1
        tone = np.sin(2 * np.pi * (300 if label == "low" else 2000) * (1 + 0.02 * number) * np.arange(4000) / RATE)
        wave = 0.3 * tone + 0.05 * noise.standard_normal(len(tone))
        soundfile.write(root / f"{number}.wav", wave, RATE)
        rows.append(f"{number}.wav,{fold},{label},{number}")
        if number < 2:
            soundfile.write(root / "field" / f"{number}.wav", np.tile(wave[::-1], 4), RATE)
    (root / "clips.csv").write_text("\n".join(rows) + "\n")
    return root


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return Cache(tmp_path_factory.mktemp("cache"))


def recipe_for(place, objective="supervised", **changes):
    tree = {
        "data": {"name": "csv", "path": str(place / "clips.csv")},
        "split": {"fold": 1},
        "frontend": {"name": "logmel", "sample_rate": RATE, "seconds": 0.5, "n_fft": 256, "hop": 128, "mels": 16},
        "encoder": {"name": "small", "width": 4, "attention": 8},
        "objective": objective,
        "stages": [{"epochs": 2, "lr": 1e-2}],
        "batch": 4,
        "precision": "fp32",
    }
    return from_dict(tree).override(changes)


@pytest.fixture(scope="module")
def runs(place, cache):
    """Three teachers: `own` hears as students do, `deep` at half the rate, `elsewhere` has fold 1 to learn from."""
    changed = {"own": {}, "deep": {"frontend.sample_rate": RATE // 2}, "elsewhere": {"split.fold": 2}}
    for seed, (name, changes) in enumerate(changed.items()):
        train.fit(recipe_for(place, seed=seed, **changes), place / name, cache=cache)
    return place


def taught(place, *names, **changes):
    args = {"name": "distill", "teachers": [str(place / name) for name in names]}
    return recipe_for(place, args, **changes)


def learner(recipe, cache, tell=lambda kind, row: None):
    from ossicle.learner import Learner

    found = material.gather(recipe, cache, sample_rate=RATE, tell=tell)
    made = Learner(recipe, found, tell=tell)
    made.ready(recipe.stages[0])
    return made


def test_a_teacher_hears_each_clip_at_its_own_rate_and_is_asked_once(runs, cache, monkeypatch):
    made = learner(taught(runs, "deep"), cache)
    teacher = model.load(runs / "deep")
    for clip, said in zip(made.source.manifest.clips, made.objective.bank[0], strict=True):
        wave = torch.from_numpy(audio.read(clip.path, sample_rate=RATE // 2)[0]).reshape(1, 1, -1)
        with torch.no_grad():
            torch.testing.assert_close(teacher.probability(teacher(wave))[0], said, rtol=1e-4, atol=1e-5)
    monkeypatch.setattr(lessons, "load", lambda folder: pytest.fail("asked again"))
    again = learner(taught(runs, "deep"), cache)
    assert torch.equal(again.objective.bank, made.objective.bank)


def test_answers_that_are_damaged_or_of_other_weights_are_asked_for_again(runs, tmp_path, cache):
    mine, notes = Cache(tmp_path), []

    def tell(kind, row):
        notes.extend([row["note"]] if "asked" in row.get("note", "") else [])

    before = learner(taught(runs, "own"), mine, tell).objective.bank
    (held,) = tmp_path.glob("answers-1/*/*.npz")
    held.write_bytes(held.read_bytes()[:-40])
    assert torch.equal(learner(taught(runs, "own"), mine, tell).objective.bank, before)
    learner(taught(runs, "own", "elsewhere"), mine, tell)
    assert [note.rpartition(" in ")[0].rpartition("about ")[2] for note in notes] == ["8 clips"] * 3
    assert len({path.parent for path in tmp_path.glob("answers-1/*/*.npz")}) == 2


def test_classes_are_matched_by_name(runs, cache, tmp_path):
    turned = lessons._in_order(model.load(runs / "own"), ("low", "high"))
    assert model.load(runs / "own").labels == ("high", "low")
    turned.save(tmp_path / "turned")
    both = learner(taught(runs, "own", str(tmp_path / "turned"), **{"objective.how": "augmented"}), cache).objective
    torch.testing.assert_close(both.bank[0], both.bank[1])
    assert both.model.labels == ("high", "low")


def test_where_the_view_is_the_clip_it_is_the_same_who_hears(runs, cache):
    losses = []
    for hear in ("clips", "views"):
        made = learner(taught(runs, "own", **{"objective.hear": hear}), cache)
        batch = next(iter(made.loader(made.backbone.window).epoch(0))).usable()
        from ossicle.draw import Draw

        with torch.no_grad():
            losses.append(made.objective.eval()(batch, Draw(0, 0, batch.key))["loss"].item())
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


def test_a_student_is_a_classifier_that_says_who_taught_it(runs, cache, tmp_path):
    result = train.fit(taught(runs, "own", "deep"), tmp_path / "student", cache=cache)
    assert (result["kind"], result["pretraining"]) == ("classifier", "inductive")
    assert list(result["teachers"]) == [str(runs / "own"), str(runs / "deep")]
    taken = [json.loads((runs / name / "result.json").read_text())["cpu_seconds"] for name in ("own", "deep")]
    assert result["teaching"]["cpu_seconds"] == pytest.approx(sum(taken))
    assert final(tmp_path / "student", cache=cache)["heard"] == 0
    assert set(model.load(tmp_path / "student").state_dict()) == set(model.load(runs / "own").state_dict())


def test_a_teacher_that_heard_the_test_fold_is_stamped(runs, cache, tmp_path):
    result = train.fit(taught(runs, "own", "elsewhere"), tmp_path / "student", cache=cache)
    assert result["pretraining"] == "leaky"
    evaluated = final(tmp_path / "student", cache=cache)
    assert (evaluated["pretraining"], evaluated["heard"]) == ("leaky", 4)
    heard = {name: set(json.loads((runs / name / "heard.json").read_text())) for name in ("own", "elsewhere")}
    assert set(json.loads((tmp_path / "student" / "heard.json").read_text())) == heard["own"] | heard["elsewhere"]


def test_what_a_bare_model_heard_is_unknown(runs, cache, tmp_path):
    result = train.fit(taught(runs, "own", "own/model"), tmp_path / "student", cache=cache)
    assert result["pretraining"] == "unknown"
    assert not (tmp_path / "student" / "heard.json").exists()


def test_a_run_does_not_go_on_under_another_teacher(runs, cache, tmp_path):
    shutil.copytree(runs / "own", tmp_path / "teacher")
    stopped = taught(runs, str(tmp_path / "teacher"))
    train.fit(stopped, tmp_path / "student", cache=cache)
    (tmp_path / "student" / "result.json").unlink()
    shutil.rmtree(tmp_path / "teacher")
    shutil.copytree(runs / "elsewhere", tmp_path / "teacher")
    with pytest.raises(RunError, match=r"started otherwise[\s\S]*teachers"):
        train.fit(stopped, tmp_path / "student", cache=cache)


def test_a_teacher_that_is_replaced_while_it_is_asked_is_refused(runs, tmp_path):
    shutil.copytree(runs / "own", tmp_path / "teacher")
    found = material.gather(taught(runs, str(tmp_path / "teacher")), Cache(tmp_path), sample_rate=RATE)
    shutil.rmtree(tmp_path / "teacher")
    shutil.copytree(runs / "elsewhere", tmp_path / "teacher")
    with pytest.raises(RecipeError, match="was replaced after this run had begun"):
        lessons.answers(found.teachers[0], found, "probability")
    assert not list(tmp_path.glob("answers-1/*/*"))


def test_a_teacher_that_cannot_hear_what_the_student_hears_is_refused(runs, tmp_path):
    """One for stereo, and a recording of four channels: it would have nothing to say of it."""
    shutil.copytree(runs / "field", tmp_path / "field")
    soundfile.write(tmp_path / "field" / "four.wav", np.zeros((4000, 4)) + 0.1, RATE)
    teacher = model.load(runs / "own")
    teacher.backbone.channels = 2
    teacher.save(tmp_path / "stereo")
    changes = {"data": {"name": "folder", "path": str(tmp_path / "field")}, "split.fold": None}
    recipe = taught(runs, str(tmp_path / "stereo")).override(changes)
    found = material.gather(recipe, Cache(tmp_path), sample_rate=RATE)
    with pytest.raises(DataError, match=r"stereo cannot hear 1 file .*four.wav for one: 4 channels where 2"):
        lessons.lesson(recipe, found)


def test_few_labels_leave_the_clips_that_had_none(runs):
    recipe = plan.student(runs / "clips.csv", [runs / "own"], unlabelled=[runs / "field"], fold=1)
    recipe = recipe.override({"split.few": 1})
    train_part = material.divide(recipe.data.build(DATASETS), recipe, supervised=False).train
    assert [len(train_part.labelled()), len(train_part)] == [2, 10]
    assert {clip.stop - clip.start for clip in train_part.clips if clip.stop} == {0.5}


def test_recordings_that_a_table_lists_stay_in_their_folds(runs):
    """Labels of what is given as unlabelled are not learned from, and its clips are as long as the window."""
    recipe = plan.student(None, [runs / "own"], unlabelled=[runs / "clips.csv"]).override({"split.fold": 2})
    parts = material.divide(recipe.data.build(DATASETS), recipe, supervised=False)
    assert ({clip.fold for clip in parts.train.clips}, parts.train.classes) == ({1, 3}, ())
    both = plan.student(runs / "clips.csv", [runs / "own"], unlabelled=[f"csv:{runs / 'clips.csv'}", runs / "field"])
    found = both.data.build(DATASETS)
    assert (len(found), len(found.labelled()), both.split.valid) == (20, 12, "next")


@pytest.fixture(scope="module")
def encoders(place, cache):
    """Two encoders: `inner` hears at half the rate, `outer` has fold 1 to learn from."""
    npid = {"name": "npid", "negatives": 4}
    changes = {"stages.0.epochs": 1, "views": [{"name": "noise", "sigma": 0.1}]}
    train.fit(recipe_for(place, npid, **changes, **{"frontend.sample_rate": RATE // 2}), place / "inner", cache=cache)
    train.fit(recipe_for(place, npid, **changes, **{"split.fold": 2, "encoder.width": 6}), place / "outer", cache=cache)
    return place


def test_recordings_are_cut_into_windows_of_what_a_student_begins_from(runs, encoders, tmp_path):
    start = model.load(encoders / "inner")
    start.hear(Spec("logmel", {**start.specs["frontend"].args, "seconds": 0.25}))
    start.save(tmp_path / "start")
    recipe = plan.student(None, [runs / "own"], unlabelled=[runs / "field"], start=tmp_path / "start")
    assert (recipe.data.args["segment"], recipe.frontend.args["seconds"]) == (0.25, 0.25)


def mimic(place, *names, **changes):
    return recipe_for(place, {"name": "mimic", "teachers": [str(place / name) for name in names]}, **changes)


def test_an_encoders_features_are_asked_once_and_are_those_of_an_evaluation(encoders, cache, monkeypatch):
    made = learner(mimic(encoders, "inner", "outer"), cache)
    inner, outer = model.load(encoders / "inner"), model.load(encoders / "outer")
    assert made.objective.sizes == [inner.dim, outer.dim]
    for clip, said in zip(made.source.manifest.clips, made.objective.bank, strict=True):
        wave = torch.from_numpy(audio.read(clip.path, sample_rate=RATE // 2)[0]).reshape(1, 1, -1)
        with torch.no_grad():
            torch.testing.assert_close(inner(wave)[0], said[: inner.dim], rtol=1e-4, atol=1e-5)
    monkeypatch.setattr(lessons, "load", lambda folder: pytest.fail("asked again"))
    assert torch.equal(learner(mimic(encoders, "inner", "outer"), cache).objective.bank, made.objective.bank)


def test_a_classifiers_features_and_answers_are_kept_apart(runs, cache):
    said = learner(taught(runs, "own"), cache).objective.bank
    made = learner(mimic(runs, "own"), cache).objective
    assert (said.shape[-1], made.sizes) == (2, [model.load(runs / "own").backbone.dim])
    assert isinstance(made.model, model.Backbone)


def test_a_student_of_encoders_is_an_encoder_that_says_what_they_heard(encoders, cache, tmp_path):
    result = train.fit(mimic(encoders, "inner", "outer"), tmp_path / "student", cache=cache)
    assert (result["kind"], result["pretraining"]) == ("backbone", "transductive")
    assert list(result["teachers"]) == [str(encoders / "inner"), str(encoders / "outer")]
    heard = {name: set(json.loads((encoders / name / "heard.json").read_text())) for name in ("inner", "outer")}
    assert set(json.loads((tmp_path / "student" / "heard.json").read_text())) == heard["inner"] | heard["outer"]
    assert train.fit(mimic(encoders, "inner"), tmp_path / "clean", cache=cache)["pretraining"] == "inductive"
    assert final(tmp_path / "student", cache=cache)["heard"] == 4
    onward = plan.recognizer(encoders / "clips.csv", start=tmp_path / "student", fold=1)
    tuned = train.fit(
        onward.override({"split.fold": 1, "stages.0.epochs": 1, "batch": 4}), tmp_path / "rec", cache=cache
    )
    assert (tuned["kind"], tuned["pretraining"]) == ("classifier", "transductive")


def test_classes_that_were_learned_stay_told_and_so_does_what_teachers_took(runs, cache, tmp_path):
    """A classifier's features are learned by an encoder, and that is learned on by a classifier: labels came along."""
    one = {"stages.0.epochs": 1}
    student = train.fit(mimic(runs, "elsewhere", **one), tmp_path / "student", cache=cache)
    assert (student["kind"], student["pretraining"], student["told"]) == ("backbone", "leaky", True)
    tuned = train.fit(recipe_for(runs, start=str(tmp_path / "student"), **one), tmp_path / "rec", cache=cache)
    assert (tuned["pretraining"], tuned["teaching"]) == ("leaky", None)
    teacher = json.loads((runs / "elsewhere" / "result.json").read_text())
    for name in material.COST:
        assert student["teaching"][name] == teacher[name]
        assert tuned["before"][name] == pytest.approx(student[name] + teacher[name])
    rows = material.mean_cost([student, tuned])
    assert rows["teaching"]["cpu_seconds"] == teacher["cpu_seconds"]
    assert material.teaching([runs / "elsewhere", runs / "elsewhere" / "model"])["seconds"] is None


def test_a_start_that_learned_labels_of_the_test_fold_is_leaky(runs, encoders):
    for name, stamp in (("elsewhere", "leaky"), ("outer", "transductive"), ("own", "inductive")):
        own = json.loads((runs / "own" / "heard.json").read_text())
        test = sorted(set(json.loads((runs / "elsewhere" / "heard.json").read_text())).difference(own))
        assert material.stamp(str(runs / name), test) == stamp


def test_what_a_student_of_encoders_heard_is_known_when_its_teachers_are_gone(encoders, cache, tmp_path):
    shutil.copytree(encoders / "inner", tmp_path / "teacher")
    train.fit(mimic(encoders, str(tmp_path / "teacher"), **{"stages.0.epochs": 1}), tmp_path / "student", cache=cache)
    shutil.rmtree(tmp_path / "teacher")
    assert final(tmp_path / "student", cache=cache)["pretraining"] == "inductive"


def test_a_stopped_student_of_encoders_goes_on_as_if_it_had_not_been(encoders, cache, tmp_path):
    recipe = mimic(encoders, "inner", **{"stages.0.epochs": 3})
    train.fit(recipe, tmp_path / "whole", cache=cache)

    def stop(kind, row):
        if kind == "epoch" and row["epoch"] == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train.fit(recipe, tmp_path / "torn", cache=cache, save_every=0, tell=stop)
    train.fit(recipe, tmp_path / "torn", cache=cache)
    whole, torn = (model.load(tmp_path / name).state_dict() for name in ("whole", "torn"))
    assert all(torch.equal(value, torn[name]) for name, value in whole.items())


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"objective.teachers": "own"}, "wanted: a list of runs"),
        ({"objective.teachers": ["nowhere"]}, "nowhere holds no model"),
        ({"objective.teachers": ["encoder"]}, "is an encoder, which knows no classes"),
        ({"objective.teachers": ["renamed"]}, "renamed alone has LOW and clips alone has low"),
        ({"objective.teachers": ["own", "renamed"]}, "own alone has low and .*renamed alone has LOW"),
        ({"objective.teachers": ["several"]}, "several gives a clip several labels, and clips one label"),
        ({"objective.teachers": ["own"], "split.transductive": True}, "'distill' learns classes: leave it out"),
        ({"objective.teachers": ["deep"], "objective.hear": "views"}, "hear = \"clips\" each hears in its own way"),
        ({"objective.teachers": ["own"], "data": {"name": "folder"}, "objective.hard": 0.5}, "has no labels to learn"),
    ],
)  # fmt: skip
def test_teachers_that_cannot_teach_are_refused_with_a_sentence(runs, cache, tmp_path, changes, said):
    teacher = model.load(runs / "own")
    teacher.backbone.save(tmp_path / "encoder")
    teacher.labels = ("high", "LOW")
    teacher.save(tmp_path / "renamed")
    teacher.labels, teacher.multilabel = ("high", "low"), True
    teacher.save(tmp_path / "several")
    shutil.copytree(runs / "own", tmp_path / "own")
    shutil.copytree(runs / "deep", tmp_path / "deep")
    asked = changes["objective.teachers"]
    placed = asked if isinstance(asked, str) else [str(tmp_path / name) for name in asked]
    recipe = taught(runs, "own").override(changes | {"objective.teachers": placed})
    if recipe.data.name == "folder":
        recipe = recipe.override({"data": {"name": "folder", "path": str(runs / "field")}, "split.fold": None})
    with pytest.raises(RecipeError, match=said):
        train.fit(recipe, tmp_path / "student", cache=cache)


def ossicle(command, place, capsys, monkeypatch):
    monkeypatch.chdir(place)
    status = cli.main(command.split())
    return status, "".join(capsys.readouterr())


def test_sound_without_labels_is_enough(runs, capsys, monkeypatch):
    small = "--epochs 1 --set encoder.width=4 --set precision=fp32"
    status, said = ossicle(f"distill --teacher own --unlabelled field -o student {small}", runs, capsys, monkeypatch)
    assert status == 0, said
    assert "wrote student\nnext  ossicle export student -o bundle/\n" in said
    student = model.load(runs / "student")
    assert (student.labels, student.backbone.specs["encoder"].name, student.window) == (("high", "low"), "small", 4000)
    assert json.loads((runs / "student" / "data.json").read_text())["clips"]["train"] == 8


def test_encoders_and_sound_without_labels_make_a_small_encoder(encoders, capsys, monkeypatch):
    small = "--epochs 1 --set encoder.width=4 --set precision=fp32"
    command = f"distill --teacher inner --unlabelled field -o small {small}"
    status, said = ossicle(command, encoders, capsys, monkeypatch)
    assert status == 0, said
    assert "wrote small\nnext  ossicle train LABELLED --from small -o runs/rec\n" in said
    assert isinstance(model.load(encoders / "small"), model.Backbone)
    status, said = ossicle(f"{command} --temperature 2", encoders, capsys, monkeypatch)
    assert (status, "leave out --temperature" in said) == (2, True), said
    status, said = ossicle("distill clips.csv --teacher own --teacher inner -o no", encoders, capsys, monkeypatch)
    assert (status, "own knows classes and inner is an encoder" in said) == (2, True), said


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("distill --teacher own -o student-2", "nothing to learn from: give labelled data, or recordings"),
        ("distill clips.csv --teacher nowhere -o student-2", "teacher nowhere holds no model: give a finished run"),
        ("distill clips.csv --teacher seeded --fold 7 -o student-2", "teacher seeded/fold7-seed{seed} holds no model"),
        ("distill --teacher own --unlabelled field --folds -o student-2", "nothing here has labels: leave it out, or"),
    ],
)
def test_commands_that_cannot_be_followed(runs, capsys, monkeypatch, command, said):
    shutil.copytree(runs / "own", runs / "seeded" / "fold1-seed0", dirs_exist_ok=True)
    status, told = ossicle(command, runs, capsys, monkeypatch)
    assert (status, said in told) == (2, True), told
