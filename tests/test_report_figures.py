"""The figures of a report: curves over epochs against their sums, and how classes look by three bands."""

from __future__ import annotations

import html
import json
import re
import shutil
from pathlib import Path

import matplotlib.figure
import numpy as np
import pytest
import scipy.stats
import soundfile

from ossicle.report import ReportError, draw, epochs, figures, found, grids, looks, report, sounds


def page_of(tmp_path: Path, *folders: Path) -> tuple[str, list[str]]:
    """The page's words, and what it says of each picture."""
    source = report(folders, tmp_path / "out" / "report.html").read_text().replace("\u00a0", " ")
    said = re.findall(r'<svg role="img" aria-label="([^"]*)"', source)
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", source)).split()), [html.unescape(each) for each in said]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Two classes of six recordings each, a third of a second long."""
    root, rows = tmp_path_factory.mktemp("sounds"), ["filename,label,group"]
    for number in range(12):
        label, chance = ("low", "high")[number % 2], np.random.default_rng(number)
        soundfile.write(root / f"{number}.wav", 0.1 * chance.standard_normal(4000), 12000)
        rows.append(f"{number}.wav,{label},{number}")
    (root / "clips.csv").write_text("\n".join(rows) + "\n")
    return root


# accuracy by epoch


def curved(folder: Path, accuracy: dict[tuple[int, int], list[float]], data: str = "birds", **result: object) -> Path:
    """A table of runs (fold, seed) that looked at their test folds, as `train` leaves them."""
    for (fold, seed), values in accuracy.items():
        place = folder / f"fold{fold}-seed{seed}"
        place.mkdir(parents=True)
        recipe = {"objective": {"name": "supervised"}, "split": {"fold": fold}, "stages": [{"epochs": 3}], "seed": seed}
        rows = [{"epoch": n, "loss": 1.0, "test_accuracy": value} for n, value in enumerate(values, 1)]
        (place / "recipe.json").write_text(json.dumps(recipe))
        (place / "data.json").write_text(json.dumps({"name": data, "classes": ["a", "b", "c", "d"]}))
        (place / "log.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        told = {"openings": 3, "seconds": 60.0, "hours": 0.5, "bytes": 2e6, "pretraining": "none"} | result
        (place / "result.json").write_text(json.dumps(told))
    return folder


def test_a_curve_is_the_mean_over_folds_of_the_mean_over_seeds(tmp_path) -> None:
    chance = np.random.default_rng(0)
    value = {(fold, seed): chance.random(3).tolist() for fold in (1, 2, 3) for seed in (0, 1)}
    value[3, 2] = chance.random(3).tolist()  # a third seed on one fold weighs no more
    (panel,) = epochs.panels(found.look(curved(tmp_path / "scratch", value)))
    by_fold = [np.mean([value[key] for key in value if key[0] == fold], axis=0) for fold in (1, 2, 3)]
    (line,) = panel.lines
    assert line.name == "scratch"
    assert list(line.x) == [1, 2, 3]
    assert line.y == pytest.approx(np.mean(by_fold, axis=0))
    assert line.spread == pytest.approx(np.std(by_fold, axis=0, ddof=1))


def test_arms_are_lines_data_sets_panels_and_an_arm_keeps_its_color(tmp_path) -> None:
    flat = {(fold, 0): [0.5] * 3 for fold in (1, 2)}
    for data in ("birds", "bells"):
        for arm in ("scratch", "DLS") if data == "birds" else ("DLS", "scratch"):
            curved(tmp_path / data / arm, flat, data)
    made = epochs.panels([each for name in ("birds", "bells") for each in found.look(tmp_path / name)])
    assert [panel.data for panel in made] == ["birds", "bells"]
    colors = [{line.name: line.color for line in panel.lines} for panel in made]
    assert colors[0] == colors[1]
    assert len(set(colors[0].values())) == 2
    again = curved(tmp_path / "again" / "DLS", flat)
    (both,) = epochs.panels([*found.look(tmp_path / "birds" / "DLS"), *found.look(again)])
    assert [line.name for line in both.lines] == ["birds/DLS", "again/DLS"]
    assert len({line.color for line in both.lines}) == 2


def test_the_caption_says_how_often_the_test_was_opened_and_what_is_unfinished(tmp_path) -> None:
    whole = curved(tmp_path / "whole", {(1, 0): [0.1, 0.2, 0.3], (2, 0): [0.3, 0.4, 0.5]})
    (whole / "fold2-seed0" / "evaluation.json").write_text('{"openings": 4}')
    said = epochs.caption(epochs.panels(found.look(whole)))
    assert said.startswith("2 runs: ")
    assert "opened its test fold 3 to 4 times; nothing was chosen by it." in said
    half = curved(tmp_path / "half", {(1, 0): [0.1, 0.2, 0.3], (2, 0): [0.3, 0.4]})
    (half / "fold2-seed0" / "result.json").unlink()
    (panel,) = epochs.panels(found.look(half))
    assert list(panel.lines[0].x) == [1, 2]
    assert "2 to 3 times" in epochs.caption([panel])
    assert "1 runs are unfinished" in epochs.caption([panel])


def test_the_page_and_the_files_show_the_curves(tmp_path) -> None:
    before = {"seconds": 400.0, "hours": 0.5, "bytes": 2e6, "weights": 1e8}
    folders = [
        curved(tmp_path / "scratch", {(1, 0): [0.1, 0.2, 0.3], (2, 0): [0.3, 0.4, 0.5]}),
        curved(tmp_path / "<DLS> $x_", {(1, 0): [0.5, 0.6, 0.7], (2, 0): [0.7, 0.8, 0.9]}, before=before),
    ]
    words, pictures = page_of(tmp_path, *folders)
    said = "accuracy on the test folds of birds by epoch: scratch from 20.0 % to 40.0 %; <DLS> $x_ from 60.0 %"
    assert any(each.startswith(said) for each in pictures)
    assert "test opened after each of 3 epochs for a curve; nothing was chosen by it" in words
    assert "no test the numbers" not in words
    assert "400 s on 0.50 h, 2 MB of sound, from weights of 100 MB" in words
    for name, begins in (("c.svg", b"<?xml"), ("c.png", b"\x89PNG")):
        made = [draw(folders, tmp_path / name, of="curves").read_bytes() for _ in range(2)]
        assert made[0] == made[1]
        assert made[0].startswith(begins)
        assert b"#fd00" not in made[0]
    with pytest.raises(ReportError, match="its name must end so"):
        draw(folders, tmp_path / "c.jpg", of="curves")


# score by the number of a grid


def grown(
    folder: Path, key: str, scores: dict[tuple[str, object], list[float]], measure: str = "accuracy", by: str = "test"
) -> Path:
    """The table of a grid, (variant, number) -> each fold's score, as `folds.run` leaves it."""
    folder.mkdir(parents=True)
    same = {"by": by, "measure": measure, "runs": 6, "pretraining": ["none"], "openings": int(by == "test")}
    rows = [
        {"variant": f"{name}, few {n}", "set": name, "point": {key: n}, "folds": list(range(len(each))), measure: each}
        for (name, n), each in scores.items()
    ]
    (folder / "table.json").write_text(json.dumps({"rows": [row | same for row in rows]}))
    return folder


def shown(*folders: Path) -> list[grids.Panel]:
    return grids.panels([each for folder in folders for each in found.look(folder)])


def test_a_grid_is_lines_over_its_number_with_the_interval_of_each_mean(tmp_path) -> None:
    chance = np.random.default_rng(0)
    value = {(arm, few): chance.random(5).tolist() for few in (32, 1, 5) for arm in ("scratch", "tuned")}
    (panel,) = shown(grown(tmp_path / "labels", "split.few", value))
    assert (panel.what, panel.along) == ("accuracy", "labelled clips a class")
    assert [line.name for line in panel.lines] == ["scratch", "tuned"]
    for line in panel.lines:
        each = [value[line.name, few] for few in (1, 5, 32)]
        low, high = np.transpose([scipy.stats.ttest_1samp(one, 0).confidence_interval() for one in each])
        assert list(line.x) == [1, 5, 32]
        assert np.array(line.y) - line.spread == pytest.approx(low)
        assert np.array(line.y) + line.spread == pytest.approx(high)
        assert line.rings == []


def test_two_folds_are_rings_and_one_is_itself(tmp_path) -> None:
    heat = {("", t): [0.4 + t, 0.6 + t] for t in (0.1, 0.2)}
    two = grown(tmp_path / "two", "objective.temperature", heat, "knn_accuracy", "validation")
    one = grown(tmp_path / "one", "objective.temperature", {("", 0.1): [0.3], ("", 0.2): [0.4]}, by="validation")
    first, second = shown(two, one)
    assert (first.data, first.what, first.along) == ("data, validation part", "accuracy of 5 neighbors", "temperature")
    assert first.lines[0].rings == [(0.5, 0.7), (pytest.approx(0.6), pytest.approx(0.8))]
    assert (list(first.lines[0].spread), second.lines[0].rings) == ([], [])
    said = grids.caption([first, second])
    assert "a ring is one fold" in said
    assert "Student" not in said
    assert "no test fold was opened" in said


def test_an_encoder_has_a_panel_for_its_neighbors_and_one_for_its_linear_probe(tmp_path) -> None:
    folder = grown(tmp_path / "t", "objective.temperature", {("", t): [t] * 3 for t in (0.1, 0.2)}, "knn_accuracy")
    table = json.loads((folder / "table.json").read_text())
    for row in table["rows"]:
        row["linear"] = {"measure": "linear_accuracy", "linear_accuracy": [2 * score for score in row["knn_accuracy"]]}
    (folder / "table.json").write_text(json.dumps(table))
    made = {panel.what: panel.lines[0].y for panel in shown(folder)}
    assert made == {
        "accuracy of 5 neighbors": pytest.approx([0.1, 0.2]),
        "accuracy of a linear probe": pytest.approx([0.2, 0.4]),
    }


def test_tables_of_one_key_share_a_panel_and_keep_their_names_apart(tmp_path) -> None:
    flat = {(arm, few): [0.5, 0.6, 0.7] for few in (1, 10) for arm in ("scratch", "tuned")}
    here, there = (grown(tmp_path / name / "labels", "split.few", flat) for name in ("here", "there"))
    noise = grown(tmp_path / "noise", "split.label_noise", {("tuned", 0.0): [0.9] * 3, ("tuned", 0.4): [0.5] * 3})
    labels, wrong = shown(here, there, noise)
    assert [line.name for line in labels.lines][::2] == ["here/labels/scratch", "there/labels/scratch"]
    assert len({line.color for line in labels.lines}) == 4
    assert wrong.along == "share of labels made wrong"


def test_a_grid_of_two_numbers_or_of_none_has_no_figure(tmp_path) -> None:
    both = {"rows": [{"set": "", "point": {"a.x": n, "a.y": n}, "folds": [1], "accuracy": [0.5]} for n in (1, 2)]}
    words = {"rows": [{"set": "", "point": {"a.x": n}, "folds": [1], "accuracy": [0.5]} for n in ("one", "two")]}
    for name, rows in (("both", both), ("words", words), ("empty", {"rows": []})):
        (tmp_path / name).mkdir()
        (tmp_path / name / "table.json").write_text(json.dumps(rows))
        assert shown(tmp_path / name) == []
        with pytest.raises(ReportError, match="grid with one number in it"):
            draw([tmp_path / name], tmp_path / "g.svg", of="grid")


def test_what_else_a_grid_varies_is_part_of_a_lines_name(tmp_path) -> None:
    rows = [
        {
            "set": "DLS",
            "point": {"split.few": few, "objective.name": head, "batch": 16},
            "folds": [1],
            "accuracy": [0.5],
        }
        for few in (1, 5)
        for head in ("linear", "whole")
    ]
    (tmp_path / "table.json").write_text(json.dumps({"rows": rows}))
    (panel,) = shown(tmp_path)
    assert [line.name for line in panel.lines] == ["DLS, name linear", "DLS, name whole"]


def test_the_axis_is_logarithmic_beyond_a_decade(tmp_path) -> None:
    for name, numbers, scale in (("long", (1, 5, 32), "log"), ("short", (0.05, 0.1, 0.5), "linear")):
        (panel,) = shown(grown(tmp_path / name, "split.few", {("", n): [0.5, 0.6, 0.7] for n in numbers}))
        axes = matplotlib.figure.Figure().subplots()
        grids.draw(panel, axes)
        assert axes.get_xscale() == scale
        assert axes.get_xticks() == pytest.approx(numbers)
        low, high = axes.get_ylim()
        assert low < 60 - 24.9 < 60 + 24.9 < high <= 100


def test_a_number_that_stands_alone_is_drawn(tmp_path) -> None:
    """Of two points one was scored on its test fold and the other on its validation part: a panel each."""
    folder = grown(tmp_path / "half", "split.few", {("", n): [0.5, 0.6, 0.7] for n in (1, 32)})
    table = json.loads((folder / "table.json").read_text())
    table["rows"][1]["by"] = "validation"
    (folder / "table.json").write_text(json.dumps(table))
    for panel, number in zip(shown(folder), (1, 32), strict=True):
        axes = matplotlib.figure.Figure().subplots()
        grids.draw(panel, axes)
        assert [tick.get_text() for tick in axes.get_xticklabels()] == [str(number)]


def test_the_page_and_the_files_show_the_grid(tmp_path) -> None:
    value = {(arm, few): [0.5, 0.6, 0.7] for few in (5, 10) for arm in ("scratch", "<tuned> $x_")}
    folder = grown(tmp_path / "labels", "split.few", value)
    words, pictures = page_of(tmp_path, folder)
    told = "accuracy on data by labelled clips a class: scratch 60.0 % at 5, 60.0 % at 10; <tuned> $x_ 60.0 %"
    assert any(each.startswith(told) for each in pictures)
    assert "24 runs: a dot is the mean over folds" in words
    for name, begins in (("g.svg", b"<?xml"), ("g.png", b"\x89PNG")):
        made = [draw([folder], tmp_path / name, of="grid").read_bytes() for _ in range(2)]
        assert made[0] == made[1]
        assert made[0].startswith(begins)
        assert b"#fd00" not in made[0]


# how classes look


def test_each_band_is_its_color() -> None:
    """A tone in the low, middle or high third lights red, green or blue, and nothing else."""
    seen = looks.look({"name": "bands", "sample_rate": 24000, "seconds": 0.5, "n_fft": 1024, "win": 1024, "hop": 512})
    assert seen.width == pytest.approx(4.0, rel=0.01)
    for color, tone in enumerate((2000, 6000, 10000)):
        wave = np.sin(2 * np.pi * tone * np.arange(12000) / 24000).astype(np.float32)[None]
        shades = figures.tones(seen(wave))[:, 3:-3]
        row = shades.mean(1).argmax(0)[color]
        assert row == pytest.approx(seen.frontend.bins / 2, abs=2)
        assert shades.mean(1)[row].argmax() == color
        assert shades[..., color].max() == 1.0
        assert np.delete(shades.max((0, 1)), color).max() < 0.5


def test_a_thumbnail_is_the_mean_of_what_it_stands_for() -> None:
    image = np.arange(200 * 300.0).reshape(200, 300)
    small = figures._averaged(figures._averaged(image, 0, 50), 1, 100)
    assert small == pytest.approx(image.reshape(50, 4, 100, 3).mean((1, 3)))
    assert figures._averaged(image, 0, 500) is image
    assert 'href="data:image/png;base64,' in figures.thumbnail(image, "rises")


def test_a_data_set_is_shown_by_three_bands(data, tmp_path) -> None:
    words, pictures = page_of(tmp_path, data / "clips.csv")
    assert sum("three-band spectrogram" in each for each in pictures) == 2 * sounds.EACH
    assert "0 to 7.3 kHz in red, 7.3 to 14.7 kHz in green, 14.7 to 22 kHz in blue" in words
    assert "12 clips of 12 recordings" in words


def test_sounds_without_labels_are_one_row(data, tmp_path) -> None:
    place = tmp_path / "bare"
    place.mkdir()
    for number in range(3):
        shutil.copy(data / f"{number}.wav", place)
    words, pictures = page_of(tmp_path, place)
    assert "not labelled" in words
    assert sum("three-band" in each for each in pictures) == 3
    assert draw([place], tmp_path / "s.png", of="sounds").read_bytes().startswith(b"\x89PNG")
