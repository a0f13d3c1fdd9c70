"""Scores by device and by city, and answers as DCASE takes them: on made-up arrays and on a run over a small TAU."""

import csv
import json
from dataclasses import replace

import numpy as np
import pytest
import soundfile
from sklearn.metrics import accuracy_score, average_precision_score, balanced_accuracy_score

from ossicle import cli, evaluate, train, words
from ossicle.data.cache import Cache
from ossicle.data.loader import Source
from ossicle.data.manifest import Clip, Manifest
from ossicle.datasets import load, scenes
from ossicle.evaluate import EvaluationError, Prediction, submit
from ossicle.evaluate.conditions import by_condition
from ossicle.model import load as model_of
from ossicle.recipe import from_dict
from ossicle.report import conditions, sections
from ossicle.report.found import Found

RATE = 8000
DEVICES = ("a", "b", "s4")


@pytest.fixture
def answered(tmp_path):
    """Ninety clips of three classes by three devices in two cities, five of which tell neither, and random answers."""
    chance = np.random.default_rng(0)
    clips = [
        Clip(tmp_path, f"{i}", (scenes.TAU_CLASSES[i % 3],), meta=_meta(i) if i >= 5 else {"note": "no place"})
        for i in range(90)
    ]
    probability = chance.dirichlet(np.ones(3), 90).astype(np.float32)
    valid = chance.random(90) < 0.9
    part = Manifest.of("made", clips, classes=scenes.TAU_CLASSES[:3])
    return part, Prediction(probability, np.zeros((90, 1), np.float32), valid)


def _meta(number):
    return {"device": DEVICES[number % 7 % 3], "city": ("lyon", "milan")[number % 5 % 2]}


def test_scores_by_condition_are_those_of_its_clips_alone(answered):
    part, found = answered
    told = by_condition(part, found, part.select([8, 9]))
    assert {name: list(rows) for name, rows in told.items()} == {"device": list(DEVICES), "city": ["lyon", "milan"]}
    target, guess = part.targets(), found.probability.argmax(1)
    for name, rows in told.items():
        for value, row in rows.items():
            own = np.array([clip.meta.get(name) == value for clip in part.clips]) & found.valid
            assert row["clips"] == own.sum() > 0
            assert row["accuracy"] == accuracy_score(target[own], guess[own])
            assert row["class_accuracy"] == pytest.approx(balanced_accuracy_score(target[own], guess[own]))
            assert row["new"] == (value not in {part.clips[8].meta[name], part.clips[9].meta[name]})
    assert sum(row["clips"] for row in told["device"].values()) == found.valid[5:].sum()


def test_where_nothing_tells_a_condition_there_is_none(answered):
    part, found = answered
    bare = replace(part, clips=tuple(replace(clip, meta={}) for clip in part.clips))
    assert by_condition(bare, found) == {}
    deaf = replace(found, valid=np.zeros(90, dtype=bool))
    assert by_condition(part, deaf) == {}
    assert all("new" not in row for rows in by_condition(part, found).values() for row in rows.values())


def test_several_labels_a_clip_are_told_by_mean_average_precision(answered):
    part, found = answered
    both = tuple(replace(clip, labels=part.classes[: 1 + i % 3]) for i, clip in enumerate(part.clips))
    several = replace(part, clips=both, multilabel=True)
    told = by_condition(several, found)["device"]
    for device, row in told.items():
        own = np.array([clip.meta.get("device") == device for clip in part.clips]) & found.valid
        truth, score = several.targets()[own], found.probability[own]
        assert row.keys() == {"clips", "mAP"}
        assert row["mAP"] == pytest.approx(average_precision_score(truth, score, average="macro"))


# -- a run ------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def release(tmp_path_factory):
    """Two scenes that differ in pitch, four locations each, by two devices; a third device and city to test on only;
    and an evaluation set of eight files, of which names tell nothing."""
    root, noise = tmp_path_factory.mktemp("tau"), np.random.default_rng(0)

    def write(folder, name, scene):
        (folder / "audio").mkdir(parents=True, exist_ok=True)
        tone = np.sin(2 * np.pi * {"bus": 300, "tram": 2000}[scene] * np.arange(RATE // 4) / RATE)
        soundfile.write(folder / "audio" / name, 0.3 * tone + 0.05 * noise.standard_normal(len(tone)), RATE)

    rows = {"train": [], "evaluate": []}
    for place in range(6):
        for scene in ("bus", "tram"):
            part, city = ("evaluate", "milan") if place > 3 else ("train", "lyon")
            for device in ("a", "s4" if place > 3 else "b"):
                name = f"{scene}-{city}-{place}{len(scene)}-{place}-{device}.wav"
                write(root / "dev", name, scene)
                rows[part].append((f"audio/{name}", scene, f"{city}-{place}{len(scene)}", device))
    tables = {"meta.csv": [scenes.TAU_HEADER, *rows["train"], *rows["evaluate"]]}
    tables |= {f"evaluation_setup/fold1_{part}.csv": [scenes.TAU_HEADER, *rows[part]] for part in rows}
    (root / "dev/evaluation_setup").mkdir()
    for name, table in tables.items():
        cells = [row[: 2 if "fold1" in name else 4] for row in table]
        (root / "dev" / name).write_text("".join("\t".join(row) + "\n" for row in cells))
    for number in range(8):
        write(root / "asked", f"{number}.wav", ("bus", "tram")[number % 2])
    (root / "asked/evaluation_setup").mkdir()
    listed = "".join(f"audio/{number}.wav\n" for number in range(8))
    (root / "asked/evaluation_setup/fold1_test.csv").write_text(f"filename\n{listed}")
    return root


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return Cache(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="module")
def run(release, cache, tmp_path_factory):
    tree = {
        "data": {"name": "tau", "path": str(release / "dev"), "valid": 0},
        "split": {"fold": 1},
        "frontend": {"name": "logmel", "sample_rate": RATE, "seconds": 0.25, "n_fft": 256, "hop": 128, "mels": 16},
        "encoder": {"name": "resnet", "depth": 18, "width": 4},
        "objective": "supervised",
        "stages": [{"epochs": 2, "lr": 1e-2}],
        "batch": 8,
        "precision": "fp32",
        "watch": 0,
    }
    folder = tmp_path_factory.mktemp("runs") / "rec"
    train.fit(from_dict(tree), folder, cache=cache)
    return folder


def test_a_run_is_scored_by_device_and_city_in_its_file_its_words_and_its_page(run, cache, tmp_path):
    result = evaluate.final(run, cache=cache)
    assert result["conditions"] == json.loads((run / "evaluation.json").read_text())["conditions"]
    known = {name: {value: row["new"] for value, row in rows.items()} for name, rows in result["conditions"].items()}
    assert known == {"device": {"a": False, "s4": True}, "city": {"milan": True}}
    assert result["conditions"]["city"]["milan"]["accuracy"] == result["accuracy"]
    lines = [" ".join(line.split()) for line in words.scored(result).splitlines()]
    assert f"s4 (new) {words.percent(result['conditions']['device']['s4']['accuracy'])}" in "\n".join(lines)
    kept = {name: json.loads((run / f"{name}.json").read_text()) for name in ("evaluation", "recipe", "data", "result")}
    for page in (
        sections.run(Found(tmp_path, "run", kept)),
        [conditions.shown(conditions.pooled([Found(run, "run", kept)]))],
    ):
        assert "milan (new)" in str(page)
        assert "Scores by device" in str(page)


def rows_of(path):
    with path.open(newline="") as file:
        return list(csv.reader(file, delimiter="\t"))


def test_a_submission_is_what_the_challenge_of_its_year_takes(run, release, cache, tmp_path):
    asked = load(release / "asked")
    head, *rows = rows_of(submit(run, asked, tmp_path / "2022.csv", year=2022, cache=cache))
    assert head == ["filename", "scene_label", *scenes.TAU_CLASSES]
    assert [row[0] for row in rows] == [f"{number}.wav" for number in range(8)]
    for _, scene, *scores in rows:
        assert scene == scenes.TAU_CLASSES[int(np.argmax(np.array(scores, dtype=float)))]
        assert sum(map(float, scores)) == pytest.approx(1, abs=1e-5)
    plain = rows_of(submit(run, asked, tmp_path / "2019.csv", year=2019, cache=cache))
    assert plain == [row[:2] for row in rows]
    model = model_of(run)
    expected = evaluate.predict(model, Source(asked, cache, RATE)).probability
    assert np.array([row[2:] for row in rows], dtype=float) == pytest.approx(expected, abs=1e-6)


def test_a_submission_looks_at_no_label_and_leaves_no_clip_out(run, release, cache, tmp_path):
    dev = load(release / "dev")
    wrong = replace(dev, clips=tuple(replace(clip, labels=("park",)) for clip in dev.clips))
    one, other = (submit(run, each, tmp_path / "out.csv", cache=cache).read_bytes() for each in (dev, wrong))
    assert one == other
    (tmp_path / "audio").mkdir()
    for name, wave in (("whole", np.full(RATE, 0.1)), ("empty", np.zeros(0))):
        soundfile.write(tmp_path / "audio" / f"{name}.wav", wave, RATE)
    clips = [Clip(tmp_path / "audio" / f"{name}.wav", f"audio/{name}.wav") for name in ("whole", "empty")]
    with pytest.raises(EvaluationError, match=r"1 files cannot be heard, and a submission .*empty\.wav"):
        submit(run, Manifest.of("lost", clips), tmp_path / "none.csv", cache=cache)
    assert not (tmp_path / "none.csv").exists()
    (tmp_path / "begun").mkdir()
    for name in ("recipe", "data", "environment"):
        (tmp_path / "begun" / f"{name}.json").write_bytes((run / f"{name}.json").read_bytes())
    with pytest.raises(EvaluationError, match="no finished recognizer"):
        submit(tmp_path / "begun", dev, tmp_path / "none.csv")


def test_the_command_writes_one_and_scores_nothing(run, release, tmp_path, capsys):
    before = sorted(path.name for path in run.iterdir())
    out = tmp_path / "team.output.csv"
    assert cli.main(["evaluate", str(run), str(release / "asked"), "--submission", str(out), "--year", "2017"]) == 0
    assert f"wrote {out}" in capsys.readouterr().out
    assert [(row[0], len(row)) for row in rows_of(out)] == [(f"{number}.wav", 2) for number in range(8)]
    assert sorted(path.name for path in run.iterdir()) == before
    assert cli.main(["evaluate", str(run), "--submission", str(out)]) == 2
    assert "name it after the run" in capsys.readouterr().err
