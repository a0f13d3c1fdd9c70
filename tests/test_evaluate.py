"""On made-up clips: what is predicted, how it is scored, and that a test fold is opened by one door only."""

import csv
import hashlib
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from ossicle import evaluate, material, train, words
from ossicle.data.cache import Cache
from ossicle.data.loader import Source, prepare
from ossicle.data.manifest import Clip, Manifest
from ossicle.datasets import DATASETS
from ossicle.evaluate import EvaluationError, answers, exam, measures
from ossicle.model import Backbone, Classifier, load
from ossicle.recipe import Spec, from_dict

RATE = 8000
FRONTEND = {"name": "logmel", "sample_rate": RATE, "seconds": 0.4, "n_fft": 256, "hop": 128, "mels": 16}
ENCODER = {"name": "resnet", "depth": 18, "width": 4}


@pytest.fixture(scope="module")
def sounds(tmp_path_factory):
    """Two classes of nine recordings, 0.5 s but for one of 1.5 s, in three folds; the last recording gave two clips."""
    root, noise = tmp_path_factory.mktemp("sounds"), np.random.default_rng(0)
    rows = ["filename,fold,label,group"]
    for number in range(18):
        label = ("low", "high")[number % 2]
        time_axis = np.arange(RATE // 2 if number else 3 * RATE // 2) / RATE
        tone = np.sin(2 * np.pi * (300 if label == "low" else 2000) * (1 + 0.02 * number) * time_axis)
        soundfile.write(root / f"{number}.wav", 0.3 * tone + 0.05 * noise.standard_normal(len(tone)), RATE)
        rows.append(f"{number}.wav,{number // 2 % 3 + 1},{label},{min(number, 16)}")
    (root / "clips.csv").write_text("\n".join(rows) + "\n")
    return root


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return Cache(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="module")
def manifest(sounds):
    return DATASETS["csv"](str(sounds / "clips.csv"))


@pytest.fixture(scope="module")
def source(manifest, cache):
    prepare(manifest, cache, sample_rate=RATE)
    return Source(manifest, cache, RATE)


@pytest.fixture
def classifier(manifest):
    torch.manual_seed(0)
    return Classifier(Backbone(_spec(FRONTEND), _spec(ENCODER)), manifest.classes).eval()


def _spec(tree):
    return Spec(tree["name"], {name: value for name, value in tree.items() if name != "name"})


def trained(sounds, cache, folder, objective="supervised", **changes):
    tree = {
        "data": {"name": "csv", "path": str(sounds / "clips.csv")},
        "split": {"fold": 1},
        "frontend": FRONTEND,
        "encoder": ENCODER,
        "objective": objective,
        "stages": [{"epochs": 2, "lr": 1e-2}],
        "batch": 6,
        "precision": "fp32",
        "watch": 0,
    }
    train.fit(from_dict(tree | changes), folder, cache=cache)
    return folder


@pytest.fixture(scope="module")
def recognizer(sounds, cache, tmp_path_factory):
    return trained(sounds, cache, tmp_path_factory.mktemp("runs") / "rec", stages=[{"epochs": 8, "lr": 1e-2}])


@pytest.fixture(scope="module")
def encoder(sounds, cache, tmp_path_factory):
    return trained(sounds, cache, tmp_path_factory.mktemp("runs") / "pre", "npid")


# predicting


def test_a_clip_is_the_mean_of_its_windows(classifier, source):
    """The first clip is 1.5 s long and the window 0.4 s: three whole windows and the last 0.4 s."""
    found = evaluate.predict(classifier, source)
    wave = torch.from_numpy(source.wave(source.manifest.clips[0]).copy())
    pieces = torch.stack([wave[:, start : start + 3200] for start in (0, 3200, 6400, 8800)])
    with torch.no_grad():
        logits = classifier(pieces)
    assert found.probability[0] == pytest.approx(logits.softmax(-1).mean(0).numpy(), abs=1e-5)
    assert found.feature[0] == pytest.approx(classifier.backbone(pieces).mean(0).detach().numpy(), abs=1e-4)
    assert found.probability.dtype == found.feature.dtype == np.float32
    assert found.valid.all()


def test_windows_overlap_where_a_hop_says_so(classifier, source):
    """The published patches are half a patch apart: the first clip has six and, to its end, a last one."""
    found = evaluate.predict(classifier, source, hop=0.2)
    wave = torch.from_numpy(source.wave(source.manifest.clips[0]).copy())
    pieces = torch.stack([wave[:, start : start + 3200] for start in (0, 1600, 3200, 4800, 6400, 8000, 8800)])
    with torch.no_grad():
        logits = classifier(pieces)
    assert found.probability[0] == pytest.approx(logits.softmax(-1).mean(0).numpy(), abs=1e-5)
    half, _ = evaluate.embed(classifier.backbone, source, hop=0.2)
    assert half[0] == pytest.approx(classifier.backbone(pieces).mean(0).detach().numpy(), abs=1e-4)
    whole = evaluate.predict(classifier, source).probability
    assert found.probability[1:] == pytest.approx(whole[1:], abs=1e-5)  # of half a second: the same two windows
    for hop in (0.0, -1.0, float("nan")):
        with pytest.raises(ValueError, match="windows are some way apart"):
            evaluate.predict(classifier, source, hop=hop)


def answer(folder, file="predictions.csv"):
    """The probabilities of the long clip."""
    with (folder / file).open(newline="") as lines:
        row = next(row for row in csv.DictReader(lines) if row["name"] == "0.wav")
    return [float(row[label]) for label in ("high", "low")]


def test_the_hop_is_the_recipes_or_the_one_asked_for(recognizer, source, sounds, cache, tmp_path):
    stages = [{"epochs": 1, "lr": 1e-2}]
    folder = trained(sounds, cache, tmp_path / "run", hop=0.2, stages=stages, split={"fold": 2, "valid": 1})
    model = load(folder)
    far, near = (evaluate.predict(model, source, hop=hop).probability[0] for hop in (None, 0.2))
    assert not np.allclose(far, near, atol=1e-4)
    assert answer(folder, "predictions-valid.csv") == pytest.approx(near, abs=1e-5)
    wanted = evaluate.predict(load(recognizer), source, hop=0.1).probability[0]
    assert evaluate.final(recognizer, cache=cache, hop=0.1)["hop"] == 0.1
    assert answer(recognizer) == pytest.approx(wanted, abs=1e-5)


def test_a_linear_evaluation_leaves_the_whole_encoder_as_it_was(sounds, cache, tmp_path):
    """To the last bit of its weights, running statistics and normalization; a fine-tuning moves them."""

    def digest(model):
        state = getattr(model, "backbone", model).state_dict()
        whole = b"".join(name.encode() + value.numpy().tobytes() for name, value in sorted(state.items()))
        assert any(name.endswith("running_var") for name in state)
        return hashlib.sha256(whole).hexdigest()

    views = [{"name": "noise", "sigma": 0.3}]
    start = trained(sounds, cache, tmp_path / "pre", "contrastive", views=views)
    sgd = {"name": "sgd", "weight_decay": 1e-4}
    told = {}
    for frozen in (True, False):
        stages = [{"epochs": 3, "lr": 0.1, "frozen": frozen, "schedule": {"name": "steps"}}]
        how = {"start": str(start), "stages": stages, "optimizer": sgd}
        told[frozen] = digest(load(trained(sounds, cache, tmp_path / f"frozen-{frozen}", **how)))
    assert told[True] == digest(load(start)) != told[False]


def test_a_clip_does_not_notice_its_neighbors(classifier, source):
    whole = evaluate.predict(classifier, source)
    alone = evaluate.predict(classifier, source, batch=1)
    some = evaluate.predict(classifier, replace(source, manifest=source.manifest.select([7, 0, 3])), batch=2)
    assert alone.probability == pytest.approx(whole.probability, abs=1e-5)
    assert some.probability == pytest.approx(whole.probability[[7, 0, 3]], abs=1e-5)


def test_embed_gives_the_features_of_predict(classifier, source):
    feature, valid = evaluate.embed(classifier.backbone, source)
    assert feature == pytest.approx(evaluate.predict(classifier, source).feature, abs=1e-5)
    assert valid.all()


def test_bad_files_keep_their_slot(classifier, source):
    bad = source.manifest.clips[4].path
    found = evaluate.predict(classifier, replace(source, bad=frozenset([bad])))
    assert np.flatnonzero(~found.valid).tolist() == [4]
    assert (found.probability[4] == 0).all()
    assert found.probability[5] == pytest.approx(evaluate.predict(classifier, source).probability[5], abs=1e-5)


def test_nothing_to_predict(classifier, source):
    found = evaluate.predict(classifier, replace(source, manifest=source.manifest.select([])))
    assert found.probability.shape == (0, 2)
    assert found.feature.shape == (0, classifier.backbone.dim)


def test_looking_changes_nothing(classifier, source):
    """A frozen encoder in a model that trains stays in evaluation mode, and no running statistic moves."""
    classifier.train()
    classifier.backbone.encoder.eval()
    before = {name: value.clone() for name, value in classifier.state_dict().items()}
    evaluate.watch(classifier, source, source)
    assert classifier.training
    assert not classifier.backbone.encoder.training
    assert all(torch.equal(value, before[name]) for name, value in classifier.state_dict().items())


def test_calibration_sets_the_temperature_it_says(classifier, source):
    with torch.no_grad():
        classifier.head.weight *= 100
    before = evaluate.predict(classifier, source)
    fitted = evaluate.calibrate(classifier, source)
    assert fitted == float(classifier.temperature) > 1
    target = source.manifest.targets()
    after = evaluate.predict(classifier, source)
    nll = [measures.metrics(found.probability, target, classifier.labels)["nll"] for found in (before, after)]
    assert nll[1] < nll[0]


def test_calibration_without_labels_changes_nothing(classifier, source):
    assert evaluate.calibrate(classifier, replace(source, manifest=source.manifest.select([]))) == 1.0


def test_watch_and_curve_say_which_part_they_looked_at(classifier, source):
    row = evaluate.watch(classifier, source, source)
    assert row.keys() == {"valid_accuracy", "valid_class_accuracy", "valid_nll", "valid_mAP"}
    assert {name.replace("valid", "test"): value for name, value in row.items()} == evaluate.curve(
        classifier, source, source
    )
    bank = evaluate.watch(classifier.backbone, source, source)
    assert bank.keys() == {"valid_knn_accuracy", "valid_knn_class_accuracy", "valid_knn_mAP"}
    silent = replace(source, manifest=source.manifest.unlabelled())
    assert evaluate.watch(classifier.backbone, silent, silent) == {}
    deaf = replace(source, bad=frozenset(clip.path for clip in source.manifest.clips))
    assert evaluate.watch(classifier, source, deaf) == evaluate.watch(classifier.backbone, source, deaf) == {}


# the test fold


def test_final_scores_the_test_fold_alone(recognizer, manifest, cache):
    result = evaluate.final(recognizer, cache=cache)
    asked = [clip.name for clip in manifest.clips if clip.fold == 1]
    assert result["clips"] == len(asked) == 6
    assert result["accuracy"] == 1.0
    assert (result["fold"], result["pretraining"], result["heard"], result["bad"]) == (1, "none", 0, 0)
    assert result["interval"]["over"] == "6 recordings"
    assert json.loads((recognizer / "evaluation.json").read_text()) == result
    with (recognizer / "predictions.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["name"] for row in rows] == asked
    assert all(row["target"] == row["prediction"] for row in rows)
    assert all(float(row["low"]) + float(row["high"]) == pytest.approx(1, abs=1e-4) for row in rows)


def test_openings_are_counted(recognizer, cache):
    first = evaluate.final(recognizer, cache=cache)["openings"]
    assert evaluate.final(recognizer, cache=cache)["openings"] == first + 1


def test_the_data_may_have_moved(recognizer, manifest, cache):
    result = evaluate.final(recognizer, manifest, cache=cache)
    assert (result["fold"], result["clips"]) == (1, 6)


def test_one_recording_alone_has_no_interval(recognizer, manifest, cache):
    one = replace(manifest, clips=tuple(replace(clip, group="one") for clip in manifest.clips))
    result = evaluate.final(recognizer, one, cache=cache)
    assert "interval" not in result
    assert "100.0 %  (of one recording, so without an interval)" in words.scored(result)


def test_an_encoder_is_scored_frozen_from_its_training_part(encoder, cache, monkeypatch):
    banks = []

    def spy(bank, target, feature, **options):
        banks.append((len(bank), len(feature)))
        return measures.knn(bank, target, feature, **options)

    monkeypatch.setattr(exam, "knn", spy)
    result = evaluate.final(encoder, cache=cache)
    assert banks == [(12, 6)]
    assert (result["kind"], result["by"], result["pretraining"]) == ("backbone", "knn", "inductive")
    assert result["accuracy"] >= 0.5
    assert result["linear_probe"]["accuracy"] >= 0.5
    assert (encoder / "predictions-linear_probe.csv").exists()
    assert (result["k"], result["sigma"]) == (5, 0.07)


def test_an_encoders_classes_say_how_far_they_spread(encoder, manifest, cache):
    """Over the test clips, each with another recording but for the last two of the whole set."""
    result = evaluate.final(encoder, cache=cache)
    part = manifest.select([clip.fold == 1 for clip in manifest.clips])
    prepare(part, cache, sample_rate=RATE)
    feature, _ = evaluate.embed(load(encoder), Source(part, cache, RATE))
    expected = measures.within_to_between(feature, part.targets(), part.groups(), classes=2)
    assert [row["within_to_between"] for row in result["classes"].values()] == pytest.approx(expected, abs=1e-5)
    assert "within_to_between" not in result["linear_probe"]["classes"]["low"]


def test_neighbors_are_as_many_as_asked(encoder, cache):
    result = evaluate.final(encoder, cache=cache, k=1, sigma=0.2)
    assert (result["k"], result["sigma"]) == (1, 0.2)
    with (encoder / "predictions.csv").open(newline="") as file:
        assert all({float(row["low"]), float(row["high"])} == {0.0, 1.0} for row in csv.DictReader(file))
    with pytest.raises(ValueError, match="at least one neighbor votes"):
        evaluate.final(encoder, cache=cache, k=0)


def test_siblings_of_a_query_are_no_neighbors_while_it_is_watched(classifier, manifest, source):
    """One recording of each class, so no clip has a neighbor of its own class left."""
    clips = [replace(clip, group=clip.labels[0]) for clip in manifest.clips]
    row = evaluate.watch(classifier.backbone, *[replace(source, manifest=replace(manifest, clips=tuple(clips)))] * 2)
    assert row["valid_knn_accuracy"] == 0.0


def test_a_finished_encoder_says_what_its_validation_part_makes_of_it(sounds, manifest, cache, tmp_path):
    """By neighbors and by a linear probe, and clip by clip, the features being those of the training part's windows."""
    folder = trained(sounds, cache, tmp_path / "run", "npid", split={"fold": 1, "valid": 2})
    valid = json.loads((folder / "result.json").read_text())["valid"]
    names = ("accuracy", "class_accuracy", "mAP")
    assert list(valid) == [f"valid_{way}_{name}" for way in ("knn", "linear") for name in names]
    parts = manifest.split(1, 2)
    (bank, _), (feature, _) = (
        evaluate.embed(load(folder), Source(part, cache, RATE)) for part in (parts.train, parts.valid)
    )
    probe = measures.linear_probe(bank, parts.train.targets(), feature, classes=2)
    assert valid["valid_linear_accuracy"] == (probe.argmax(1) == parts.valid.targets()).mean()
    for file, way in (("", "knn"), ("-linear_probe", "linear")):
        with (folder / f"predictions-valid{file}.csv").open(newline="") as lines:
            rows = list(csv.DictReader(lines))
        assert [row["name"] for row in rows] == [clip.name for clip in parts.valid.clips]
        assert {row["fold"] for row in rows} == {"1"}
        assert np.mean([float(row["correct"]) for row in rows]) == valid[f"valid_{way}_accuracy"]
    assert "evaluation.json" not in {path.name for path in folder.iterdir()}


def test_a_probe_learns_from_no_recording_that_it_is_asked_about(classifier, manifest, source, tmp_path):
    clips = [replace(clip, group=clip.labels[0]) for clip in manifest.clips]
    own = replace(source, manifest=replace(manifest, clips=tuple(clips)))
    assert "valid_linear_accuracy" not in evaluate.validate(classifier.backbone, own, own, tmp_path)["valid"]
    half = replace(
        source, manifest=replace(manifest, clips=tuple(clips[:-2] + [replace(c, group="") for c in clips[-2:]]))
    )
    assert "valid_linear_accuracy" in evaluate.validate(classifier.backbone, half, own, tmp_path)["valid"]


def test_what_a_transductive_pretraining_is_asked_about_is_no_neighbor(sounds, cache):
    tree = {"data": {"name": "csv", "path": str(sounds / "clips.csv")}, "objective": "npid"}
    tree |= {"split": {"fold": 1, "valid": 2, "transductive": True}, "frontend": FRONTEND, "encoder": ENCODER}
    found = material.gather(from_dict(tree | {"stages": [{"epochs": 1}]}), cache, sample_rate=RATE)
    assert len(found.parts.train) == 18
    assert {clip.fold for clip in found.bank().manifest.clips} == {3}


def test_transductive_pretraining_is_stamped_and_its_bank_is_not(sounds, cache, tmp_path, monkeypatch):
    folder = trained(
        sounds, cache, tmp_path / "run", "npid", split={"fold": 1, "transductive": True}, stages=[{"epochs": 1}]
    )
    sizes = []
    monkeypatch.setattr(
        exam, "knn", lambda *given, **options: sizes.append(len(given[0])) or measures.knn(*given, **options)
    )
    result = evaluate.final(folder, cache=cache)
    assert sizes == [12]
    assert (result["pretraining"], result["heard"]) == ("transductive", 6)
    rec = trained(sounds, cache, tmp_path / "rec", start=str(folder), stages=[{"epochs": 1}])
    assert evaluate.final(rec, cache=cache)["pretraining"] == "transductive"


def test_other_data_is_scored_whole_in_the_models_classes(recognizer, manifest, cache):
    other = Manifest.of("held: out/1", [clip for clip in manifest.clips if clip.fold == 2], classes=["high", "low"])
    other = replace(other, classes=("low", "high"))
    result = evaluate.final(recognizer, other, cache=cache)
    assert (result["clips"], result["fold"], result["accuracy"]) == (6, None, 1.0)
    assert result["heard"] == 6
    assert (recognizer / "evaluation-held-out-1.json").exists()
    assert (recognizer / "predictions-held-out-1.csv").exists()
    assert list(result["classes"]) == list(load(recognizer).labels)


@pytest.mark.parametrize("name", ["valid", "linear_probe", "valid-linear_probe"])
def test_other_data_of_any_name_takes_no_file_of_the_run(name):
    made = {f"predictions{answers.tag(name)}{mark}.csv" for mark in ("", "-linear_probe")}
    assert made.isdisjoint({*answers.TEST.values(), *answers.VALID.values()})


def test_an_encoder_is_scored_on_other_data_fold_by_fold(encoder, manifest, cache):
    other = replace(manifest, name="other", clips=manifest.clips[:-2])
    result = evaluate.final(encoder, other, cache=cache)
    assert result["clips"] == 16
    assert result["pretraining"] == "transductive"


def test_labels_never_learned_are_refused(recognizer, manifest, cache):
    strange = Manifest.of("strange", [replace(clip, labels=("owl",)) for clip in manifest.clips])
    with pytest.raises(EvaluationError, match=r"never learned: owl\. It knows: high, low"):
        evaluate.final(recognizer, strange, cache=cache)


def test_an_unfinished_run_is_refused(recognizer, cache, tmp_path):
    for name in ("recipe", "data", "environment"):
        (tmp_path / f"{name}.json").write_bytes((recognizer / f"{name}.json").read_bytes())
    with pytest.raises(EvaluationError, match="is not finished"):
        evaluate.final(tmp_path, cache=cache)


def test_a_run_without_test_fold_asks_for_other_data(sounds, cache, tmp_path):
    folder = trained(sounds, cache, tmp_path / "run", split={}, stages=[{"epochs": 1}])
    with pytest.raises(EvaluationError, match="has no test fold: give other data"):
        evaluate.final(folder, cache=cache)


def test_data_that_changed_since_is_refused(sounds, cache, tmp_path):
    table = tmp_path / "clips.csv"
    rows = (sounds / "clips.csv").read_text().splitlines()
    table.write_text("\n".join([rows[0], *(f"{sounds}/{row}" for row in rows[1:])]) + "\n")
    folder = trained(sounds, cache, tmp_path / "run", data={"name": "csv", "path": str(table)}, stages=[{"epochs": 1}])
    table.write_text(table.read_text().replace("0.wav,1,low", "0.wav,2,low", 1))
    with pytest.raises(EvaluationError, match="has changed since"):
        evaluate.final(folder, cache=cache)


def test_classes_of_one_recording_are_named(classifier, source, recognizer, manifest, cache):
    """Row 54: clips 16 and 17 were cut from one recording, and 17 alone is not enough to know `high` by."""
    part = manifest.select([0, 2, 16, 17])
    result = evaluate.final(recognizer, replace(part, name="thin"), cache=cache)
    assert result["thin"] == {"high": "1 test clip of one recording"}
    assert result["absent"] == []


def test_several_labels_a_clip(sounds, cache, tmp_path):
    table = (sounds / "clips.csv").read_text().replace(",label,", ",labels,").replace(",low,", ',"low,hum",')
    rows = table.splitlines()
    (tmp_path / "clips.csv").write_text("\n".join([rows[0], *(f"{sounds}/{row}" for row in rows[1:])]) + "\n")
    data = {"name": "csv", "path": str(tmp_path / "clips.csv")}
    folder = trained(sounds, cache, tmp_path / "rec", data=data, stages=[{"epochs": 25, "lr": 1e-2}])
    result = evaluate.final(folder, cache=cache)
    assert list(result["classes"]) == ["high", "hum", "low"]
    assert result["mAP"] == 1.0
    assert "confusion" not in result
    pre = trained(sounds, cache, tmp_path / "pre", "npid", data=data)
    result = evaluate.final(pre, cache=cache)
    assert result["mAP"] > 0.5
    assert result["linear_probe"]["mAP"] > 0.5


# answers


def test_answers_are_read_back_and_compared_clip_by_clip(tmp_path):
    """Two folds, two seeds an arm, three clips a recording: against the definition by loops."""
    chance = np.random.default_rng(0)
    arms: dict[str, list[Path]] = {"a": [], "b": []}
    right: dict[tuple[str, str], list[float]] = {}
    for fold in (1, 2):
        clips = [
            Clip(Path("x"), f'clip, "{fold}" {i} ä', (("low", "high")[i % 2],), fold=fold, group=f"{fold}-{i // 3}")
            for i in range(30)
        ]
        part = Manifest.of("made", clips)
        for arm, chances in (("a", 0.5), ("b", 0.9)):
            for seed in range(2):
                folder = tmp_path / f"{arm}{fold}{seed}"
                folder.mkdir()
                arms[arm].append(folder)
                hit = chance.random(30) < chances
                guess = np.where(hit, part.targets(), 1 - part.targets())
                answers.write(folder / answers.FILE, part, np.eye(2)[guess] * 0.8 + 0.1, np.ones(30, bool))
                for clip, value in zip(clips, hit, strict=True):
                    right.setdefault((arm, clip.name), []).append(float(value))
    found = evaluate.compare(arms["b"], arms["a"])
    gain = np.mean([np.mean(right["b", name]) - np.mean(right["a", name]) for arm, name in right if arm == "a"])
    assert found["recordings"]["mean"] == pytest.approx(gain)
    assert found["folds"]["mean"] == pytest.approx(gain)
    assert found["recordings"]["over"] == "20 recordings"
    assert found["recordings"]["sentence"].startswith("more: +")
    assert evaluate.compare(arms["a"], arms["a"])["recordings"]["sentence"].startswith("no difference")
    assert evaluate.compare(arms["b"][:1], arms["a"][:1])["folds"] is None
    with pytest.raises(ValueError, match="different clips"):
        evaluate.compare(arms["b"], arms["a"][:2])


def test_answers_of_several_labels_leave_out_what_is_unknown(tmp_path):
    clips = [
        Clip(Path("x"), "both", ("cat", "dog")),
        Clip(Path("x"), "none", no_event=True),
        Clip(Path("x"), "unknown"),
        Clip(Path("x"), "bad", ("cat",)),
    ]
    part = Manifest.of("made", clips, multilabel=True)
    answers.write(
        tmp_path / "p.csv", part, np.array([[0.9, 0.7], [0.1, 0.8], [0, 0], [0, 0]]), np.array([1, 1, 1, 0], bool)
    )
    with (tmp_path / "p.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["name"], row["target"], row["prediction"], row["correct"]) for row in rows] == [
        ("both", "cat,dog", "cat,dog", "1"),
        ("none", "", "dog", "0.5"),
    ]
