"""report(): a page that parses, fetches nothing, says what the JSON says, and shows what there is of broken runs."""

from __future__ import annotations

import json
import re
import shutil
import tomllib
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import soundfile

from ossicle import evaluate, folds
from ossicle.data.cache import Cache
from ossicle.recipe import from_dict, to_dict
from ossicle.report import ReportError, arms, draw, figures, found, page, report, sounds
from ossicle.report.found import Answer
from ossicle.report.toml import toml
from ossicle.train import fit

RATE = 8000
LOW, HIGH = 'low "&amp;', "<img src=x onerror=alert(1)>"
EVIL = "<script>alert(1)</script>".replace("/", "|")


class Page(HTMLParser):
    """Tags in order, text, and what was not closed; raises on a wrong end tag."""

    VOID = ("meta", "img", "br", "col", "input", "link")

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.source = path.read_text(encoding="utf-8")
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(self.source)
        self.close()
        self.text = " ".join(" ".join(self.words).replace("\u00a0", " ").split())

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, f"</{tag}> closes something else"

    def handle_data(self, data):
        if not self.open or self.open[-1] not in ("style", "text"):
            self.words.append(data)

    def named(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Two classes of hostile names, six recordings each, half a second long, in three folds."""
    root = tmp_path_factory.mktemp("sounds")
    noise, rows = np.random.default_rng(0), ["filename,fold,label,group"]
    for number in range(12):
        label, fold = (LOW, HIGH)[number % 2], number // 2 % 3 + 1
        beat = np.sin(2 * np.pi * (300 if label == LOW else 2000) * np.arange(RATE // 2) / RATE)
        name = f"{EVIL}{number}.wav"
        soundfile.write(root / name, 0.3 * beat + 0.05 * noise.standard_normal(len(beat)), RATE)
        rows.append(",".join([name, str(fold), '"' + label.replace('"', '""') + '"', str(number)]))
    (root / "clips.csv").write_text("\n".join(rows) + "\n")
    return root


def recipe_for(data: Path, objective: str, **changes):
    tree = {
        "data": {"name": "csv", "path": str(data / "clips.csv")},
        "split": {"fold": 1},
        "frontend": {"name": "logmel", "sample_rate": RATE, "seconds": 0.4, "n_fft": 256, "hop": 128, "mels": 16},
        "encoder": {"name": "small", "width": 4, "attention": 8},
        "objective": objective,
        "stages": [{"epochs": 2, "lr": 1e-2}],
        "batch": 4,
        "precision": "fp32",
    }
    return from_dict(tree | changes)


@pytest.fixture(scope="module")
def runs(data, tmp_path_factory):
    """pre: a pretraining. table/fold1..3: recognizers over folds. waiting: trained, its test fold not opened."""
    root = tmp_path_factory.mktemp("runs")
    cache = Cache(root / "cache")
    fit(recipe_for(data, "npid"), root / "pre", cache=cache)
    evaluate.final(root / "pre", cache=cache)
    varied = recipe_for(data, "supervised", variants=[{"name": "short", "stages.0.epochs": 1}, {"name": "long"}])
    folds.run(varied, root / "table", folds=[1, 2], cache=cache)
    fit(recipe_for(data, "supervised", split={"fold": 1, "valid": "next"}), root / "waiting", cache=cache)
    return root


@pytest.fixture(autouse=True)
def own_cache(runs, monkeypatch):
    monkeypatch.setenv("OSSICLE_CACHE", str(runs / "cache"))


@pytest.fixture(scope="module")
def whole(runs, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OSSICLE_CACHE", str(runs / "cache"))
        return Page(report([runs], tmp_path_factory.mktemp("page") / "report.html"))


def page_of(tmp_path: Path, *folders: Path) -> Page:
    return Page(report(folders, tmp_path / "out" / "report.html"))


def shown(share: float) -> str:
    return f"{100 * share:.1f} %"


def test_the_page_is_balanced_and_every_id_is_used_once(whole) -> None:
    assert whole.open == []
    ids = [attributes["id"] for _, attributes in whole.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    targets = re.findall(r'(?:href="|url\()#([^")]+)', whole.source)
    assert set(targets) <= set(ids)


def test_the_page_fetches_nothing_and_runs_nothing(whole) -> None:
    assert "http" not in whole.source.replace("http-equiv", "")
    assert not re.findall(r"@import|url\((?!#)|\bsrc=\"(?!data:)|\bhref=\"(?!#|data:image/png)", whole.source)
    assert not {"script", "link", "iframe", "object", "base"} & {tag for tag, _ in whole.tags}
    assert not [name for _, attributes in whole.tags for name in attributes if name.startswith("on")]


def test_hostile_names_are_shown_and_not_obeyed(whole) -> None:
    assert whole.named("img") == []
    for name in (LOW, HIGH, EVIL):
        assert name in whole.text


def test_every_figure_has_a_text_and_every_table_a_name(whole) -> None:
    pictures = whole.named("svg")
    assert len(pictures) > 10
    assert all(each["role"] == "img" and each["aria-label"] for each in pictures)
    boxes = [each for each in whole.named("div") if "scroll" in (each.get("class") or "").split()]
    assert len(boxes) == len(whole.named("table")) > 5
    assert all(box["aria-label"] for box in boxes)


def test_the_numbers_are_those_of_the_json(whole, runs) -> None:
    test = json.loads((runs / "pre" / "evaluation.json").read_text())
    for number in (test["accuracy"], test["class_accuracy"], test["mAP"], test["linear_probe"]["accuracy"]):
        assert shown(number) in whole.text
    low, high = 100 * test["interval"]["low"], 100 * test["interval"]["high"]
    assert f"{low:.1f} to {high:.1f}, 95 % interval over {test['interval']['over']}" in whole.text
    loss = [json.loads(line)["loss"] for line in (runs / "pre" / "log.jsonl").read_text().splitlines()]
    texts = " ".join(each["aria-label"] or "" for each in whole.named("svg"))
    assert f"training from {loss[0]:.3g} to {loss[-1]:.3g}" in texts


def test_the_fold_table_is_the_one_of_table_json(whole, runs) -> None:
    for row in json.loads((runs / "table" / "table.json").read_text())["rows"]:
        cells = " ".join(f"{100 * value:.1f}" for value in row["accuracy"])
        assert f"{row['variant']} {cells} {100 * row['mean']:.1f} ± {100 * row['sd']:.1f} %" in whole.text
        if against := row.get("against_first"):
            over = against["recordings"]
            assert f"{100 * over['low']:+.1f} to {100 * over['high']:+.1f}, over {over['over']}" in whole.text


def test_confusion_and_classes_are_counted_over_folds(runs, tmp_path) -> None:
    shutil.copytree(runs / "table" / "long", tmp_path / "long")
    tests = [json.loads((tmp_path / "long" / f"fold{n}" / "evaluation.json").read_text()) for n in (1, 2)]
    counts = np.sum([test["confusion"] for test in tests], axis=0)
    seen = page_of(tmp_path, tmp_path / "long").text
    for name, row, right in zip(tests[0]["classes"], counts, np.diag(counts), strict=True):
        assert f"{name} {' '.join(str(count) for count in row if count)} {100 * right / row.sum():.0f} %" in seen
        mean = np.mean([test["classes"][name]["ap"] for test in tests])
        assert re.search(rf"{re.escape(name)} [\d–]+ ?%? [\d–]+ ?%? {100 * mean:.0f} % {row.sum()}", seen)


def test_spectrograms_maps_and_sizes_are_there(whole) -> None:
    texts = [each["aria-label"] or "" for each in whole.named("svg")]
    assert sum("log-mel spectrogram" in text for text in texts) >= 4
    assert sum("clips of 2 classes by principal components" in text for text in texts) == 3
    assert "parameters" in whole.text
    assert "times real time" in whole.text
    assert "Layer by layer" in whole.text


def test_a_report_opens_no_test_fold(whole, runs) -> None:
    assert not (runs / "waiting" / "evaluation.json").exists()
    assert "no test" in whole.text
    assert "4 validation clips" in whole.text


def test_stamps_say_what_a_reader_must_know(whole, runs, tmp_path) -> None:
    assert "inductive pretraining heard no clip of the test fold" in whole.text
    assert "test opened once" in whole.text
    shutil.copytree(runs / "table" / "long" / "fold1", tmp_path / "run")
    place = tmp_path / "run" / "evaluation.json"
    test = json.loads(place.read_text()) | {"openings": 3, "pretraining": "transductive", "heard": 2}
    place.write_text(json.dumps(test))
    bad = {"path": f"/x/{EVIL}.wav", "stage": "check", "reason": "it ends early"}
    (tmp_path / "run" / "bad_files.jsonl").write_text(json.dumps(bad) + "\n")
    seen = page_of(tmp_path, tmp_path / "run").text
    for stamp in ("transductive", "test opened 3 times", "2 files are in both", "1 bad file", "it ends early"):
        assert stamp in seen


def test_an_unfinished_run_shows_what_there_is(runs, tmp_path) -> None:
    source, begun = runs / "table" / "long" / "fold1", tmp_path / "begun"
    begun.mkdir()
    shutil.copy(source / "recipe.json", begun)
    seen = page_of(tmp_path, begun).text
    assert "unfinished 0 of 2 epochs" in seen
    shutil.copy(source / "data.json", begun)
    first, second = (source / "log.jsonl").read_text().splitlines()
    (begun / "log.jsonl").write_text(f"{first}\n{second[:20]}")
    whole = page_of(tmp_path, begun)
    assert "unfinished 1 of 2 epochs" in whole.text
    assert whole.open == []
    assert any((each["aria-label"] or "").startswith("loss by epoch") for each in whole.named("svg"))


def test_folds_given_one_by_one_are_one_table(runs, tmp_path) -> None:
    seen = page_of(tmp_path, *(runs / "table" / "long" / f"fold{n}" for n in (1, 2)))
    assert len([section for section in seen.named("section") if section.get("id")]) == 1
    assert "fold 1 fold 2 mean ± sd" in seen.text


def test_lost_recordings_and_damaged_files_are_told(runs, tmp_path) -> None:
    shutil.copytree(runs / "table" / "long" / "fold1", tmp_path / "run")
    recipe = json.loads((tmp_path / "run" / "recipe.json").read_text())
    recipe["data"]["path"] = str(tmp_path / "gone.csv")
    (tmp_path / "run" / "recipe.json").write_text(json.dumps(recipe))
    (tmp_path / "run" / "environment.json").write_text("{")
    (tmp_path / "run" / "model" / "model.safetensors").write_bytes(b"no model")
    seen = page_of(tmp_path, tmp_path / "run")
    assert seen.open == []
    for sentence in ("No images: ", "No map: ", "Not measured: ", "environment.json is left out, it cannot be read"):
        assert sentence in seen.text


def test_json_that_is_not_as_expected_costs_one_section(runs, tmp_path) -> None:
    for name in ("one", "two"):
        shutil.copytree(runs / "table" / "long" / "fold1", tmp_path / name)
    (tmp_path / "one" / "evaluation.json").write_text('{"classes": [1, 2], "confusion": {"a": 1}}')
    seen = page_of(tmp_path, tmp_path / "one", tmp_path / "two")
    assert "This folder cannot be shown: something in it is not as expected" in seen.text
    assert "Who was taken for whom" in seen.text


def test_a_bundle_is_sized_and_asked_again(tmp_path) -> None:
    from onnx import TensorProto, helper

    from ossicle.deploy.config import GOLDEN, MODEL, Config, file_entry

    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["B", 2]) for name in ("score", "feature")]
    start = helper.make_tensor_value_info("wave", TensorProto.FLOAT, ["B", 1, 100])
    weight = helper.make_tensor("weight", TensorProto.FLOAT, [100, 2], np.zeros(200))
    nodes = [
        helper.make_node("Flatten", ["wave"], ["flat"]),
        helper.make_node("MatMul", ["flat", "weight"], ["score"]),
        helper.make_node("Identity", ["score"], ["feature"]),
    ]
    graph = helper.make_graph(nodes, "none", [start], ends, [weight])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    place = tmp_path / "bundle"
    place.mkdir()
    (place / MODEL).write_bytes(model.SerializeToString())
    answer = {"score": np.full((1, 2), 0.25, np.float32), "feature": np.zeros((1, 2), np.float32)}
    np.savez(place / GOLDEN, name=["tone"], wave=np.ones((1, 1, 100), np.float32), **answer)
    files = {name: file_entry((place / name).read_bytes()) for name in (MODEL, GOLDEN)}
    Config(200, 1, 100, 50, "repeat", (LOW, HIGH), False, files=files).write(place)
    seen = page_of(tmp_path, place).text
    assert f"score '{LOW}' of clip 'tone' by model.onnx is 0 here and was 0.25" in seen
    assert "parameters 200 " in seen
    assert "window 500 ms" in seen
    assert HIGH in seen
    (place / GOLDEN).write_bytes(b"changed")
    assert "No: " in page_of(tmp_path, place).text


def test_nothing_to_report_is_an_error_with_a_sentence(tmp_path) -> None:
    for folder, sentence in ((tmp_path, "holds no run"), (tmp_path / "none", "is no folder")):
        with pytest.raises(ReportError, match=sentence):
            report([folder], tmp_path / "report.html")
    with pytest.raises(ReportError, match="give the folder"):
        report([], tmp_path / "report.html")


def test_a_page_that_cannot_be_written_is_an_error_with_a_sentence(runs, tmp_path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ReportError, match="Choose another place"):
        report([runs / "table" / "long" / "fold1"], tmp_path / "file" / "report.html")


def test_the_recipe_on_the_page_is_the_recipe(data) -> None:
    followed = recipe_for(
        data,
        "supervised",
        name='quo"ted \\ \n ü',
        start="runs/pre/fold{fold}",
        clip_norm=1e-7,
        compile=True,
        split={"fold": 2, "valid": "next", "few": 5},
        views=[{"name": "roll"}, {"name": "noise", "sigma": 0.5}],
        stages=[{"epochs": 1}, {"epochs": 2, "schedule": {"name": "one_cycle", "momentum": [0.9, 0.8]}}],
        variants=[{"name": "wide", "encoder.width": 8}],
        expect={"accuracy": 0.9},
    )
    assert from_dict(tomllib.loads(toml(to_dict(followed)))) == followed


def test_figures_are_the_same_every_time() -> None:
    lines = [figures.Line([1, 2, 3], [3.0, 2.0, 1.0], name) for name in ("a $\\bad$ name \ud800 😀", "</svg>")]
    drawn = [figures.curves(lines, what="loss", alt="falls", epochs=3) for _ in range(2)]
    assert drawn[0] == drawn[1]
    assert drawn[0].startswith("<svg ")
    assert "\\ud800" in drawn[0]
    assert drawn[0].count("</svg>") == 1


def test_figures_use_only_colors_that_both_themes_define(whole) -> None:
    light, dark = re.findall(r":root \{(.*?)\}", whole.source, flags=re.DOTALL)
    used = set(re.findall(r"var\((--[a-z0-9]+)\)", whole.source)) - {"--p", "--width"}
    for theme in (light, dark):
        assert used <= set(re.findall(r"(--[a-z0-9]+):", theme))
    assert "#fd00" not in whole.source


def test_clips_are_chosen_surest_first_and_one_a_class() -> None:
    answers = [Answer(f"{n}", 0.0, "1", "ab"[n % 2], "a", float(n % 2 == 0), n / 10) for n in range(10)]
    wrong, right = sounds.choose(answers, 3)
    assert [answer.name for answer in wrong] == ["9", "7", "5"]
    assert [answer.name for answer in right] == ["8"]


def test_numbers_are_written_for_people() -> None:
    values = {
        0: "0",
        7: "7",
        999: "999",
        1234: "1.23 k",
        999_600: "1.00 M",
        1_813_561_344: "1.81 G",
        418.82: "419",
        0.5: "0.50",
    }
    assert {value: (page.quantity(value) or "").replace("\u00a0", " ") for value in values} == values
    spans = {13e-6: "13 µs", 0.0013: "1.3 ms", 41.26: "41.3 s", 725: "12 min 5 s", 12_000: "3 h 20 min"}
    assert {value: (page.duration(value) or "").replace("\u00a0", " ") for value in spans} == spans


def test_text_is_escaped_wherever_it_enters() -> None:
    made = page.tag("p", "<b>&", page.tag("i", "\u202e\x00\udcff"), title='"><x')
    assert made == '<p title="&quot;&gt;&lt;x">&lt;b&gt;&amp;<i>\\u202e\\x00\\udcff</i></p>'


def test_a_folder_is_found_by_what_it_holds(runs) -> None:
    kinds = [(each.folder.name, each.kind) for each in found.look(runs)]
    assert kinds == [("pre", "run"), ("table", "table"), ("waiting", "run")]


def test_several_labels_a_clip_are_scored_by_average_precision(runs, tmp_path) -> None:
    for number in (1, 2):
        place = tmp_path / "several" / f"fold{number}"
        shutil.copytree(runs / "table" / "long" / f"fold{number}", place, ignore=shutil.ignore_patterns("model"))
        test = json.loads((place / "evaluation.json").read_text()) | {"mAP": 0.5 + number / 10}
        kept = {key: value for key, value in test.items() if key not in ("accuracy", "confusion", "interval")}
        (place / "evaluation.json").write_text(json.dumps(kept))
    seen = page_of(tmp_path, tmp_path / "several").text
    assert "mean AP, % fold 1 fold 2 mean ± sd learned in mean AP 60.0 70.0 65.0 ± 7.1 %" in seen
    assert "Who was taken for whom" not in seen


def test_an_encoders_classes_are_shown_with_their_spread(whole, runs) -> None:
    test = json.loads((runs / "pre" / "evaluation.json").read_text())
    for name, row in test["classes"].items():
        ratio = "–" if row["within_to_between"] is None else f"{row['within_to_between']:.2f}"
        assert re.search(rf"{re.escape(name)} [\d–]+ ?%? [\d–]+ ?%? [\d–]+ ?%? {ratio} {row['support']}", whole.text)


def test_a_rows_runs_are_found_whatever_its_numbers(data, tmp_path) -> None:
    point = {"objective.temperature": 1.0, "objective.dim": 64}
    recipe = recipe_for(data, "npid", grid={key: [value] for key, value in point.items()})
    folder = folds.cells(recipe, tmp_path, folds=[1])[0].folder.parent
    assert arms._place({"set": "", "point": point}) == folder.name


def test_without_looks_at_the_test_there_is_no_curve(runs, tmp_path) -> None:
    with pytest.raises(ReportError, match="curve = true"):
        draw([runs], tmp_path / "c.svg", of="curves")


def test_classes_are_shown_by_training_clips_of_different_recordings(runs, data) -> None:
    run = found.look(runs / "table" / "long" / "fold1")[0]
    rows = sounds.by_class(sounds.training(run), run.get("recipe.frontend"))
    tested = {answer.name for answer in run.answers}
    assert set(rows) == {LOW, HIGH}
    for pictures in rows.values():
        names = [picture.name for picture in pictures]
        assert len(names) == len(set(names)) == 4
        assert not tested & set(names)
        assert all(picture.image.shape[0] == 16 for picture in pictures)


def test_recordings_that_are_gone_cannot_be_drawn(runs, tmp_path) -> None:
    shutil.copytree(runs / "table" / "long" / "fold1", tmp_path / "run")
    recipe = json.loads((tmp_path / "run" / "recipe.json").read_text())
    recipe["data"]["path"] = str(tmp_path / "gone.csv")
    (tmp_path / "run" / "recipe.json").write_text(json.dumps(recipe))
    with pytest.raises(ReportError, match=r"no recordings can be shown\. .*gone\.csv"):
        draw([tmp_path / "run"], tmp_path / "s.svg", of="sounds")
