"""Tables over folds as Markdown and CSV: what stands where, against sums by hand and the published numbers."""

import csv
import json
import statistics

import pytest

from ossicle import cli
from ossicle.report import ReportError, tabulate

BASE, MEL = [0.685, 0.8125, 0.74, 0.6825, 0.70], [0.745, 0.835, 0.8025, 0.735, 0.7225]


def table(folder, variants, expect=None, steps=None):
    """Runs with evaluations, and their table, as `folds.run` leaves them: variant -> each fold's accuracy."""
    rows = []
    for name, scores in variants.items():
        for fold, score in enumerate(scores, 1):
            place = folder / name / f"fold{fold}"
            place.mkdir(parents=True)
            recipe = {"split": {"fold": fold}, "expect": (expect or {}).get(name, {}), "stages": [{"epochs": 1}]}
            (place / "recipe.json").write_text(json.dumps(recipe))
            (place / "data.json").write_text(json.dumps({"name": "esc50"}))
            (place / "evaluation.json").write_text(json.dumps({"accuracy": score}))
            told = {"steps": 10 * fold, "seconds": 2.0} if steps is None else {"steps": steps[name]}
            (place / "result.json").write_text(json.dumps(told))
        rows.append({"variant": name, "set": name, "point": {}, "folds": [1], "by": "test"})
    rows[-1]["against_first"] = {
        "recordings": {"mean": 0.044, "low": 0.02, "high": 0.07},
        "folds": {"mean": 0.044, "low": 0.019, "high": 0.069},
    }
    (folder / "table.json").write_text(json.dumps({"rows": rows}))
    return folder


def test_unequal_budgets_and_what_chose_the_weights_are_told(tmp_path):
    folder = table(tmp_path / "t", {"baseline": BASE, "mel": MEL})
    rows = json.loads((folder / "table.json").read_text())
    for found in rows["rows"][1]["against_first"].values():
        found["uneven"] = "170 against 190 steps"
    (folder / "table.json").write_text(json.dumps(rows))
    for name, selected in (("baseline", "valid"), ("mel", "test")):
        place = folder / name / "fold3" / "result.json"
        place.write_text(json.dumps(json.loads(place.read_text()) | {"selected": selected}))
    made = rows_of(tabulate([folder], tmp_path / "t.md"))
    assert made["at unequal budgets"][1].strip() == "170 against 190 steps"
    assert made["weights chosen on"] == ["the validation part", "the test fold"]


def rows_of(path):
    lines = [line.strip("| ").split(" | ") for line in path.read_text().splitlines() if line.startswith("|")]
    return {line[0]: line[1:] for line in lines}


def test_a_row_a_fold_then_mean_and_deviation_what_was_published_intervals_and_costs(tmp_path):
    published = {"baseline": {"accuracy": 0.724, "sd": 0.0545}, "mel": {"accuracy": 0.768, "sd": 0.0483}}
    folder = table(tmp_path / "t", {"baseline": BASE, "mel": MEL}, published)
    made = rows_of(tabulate([folder], tmp_path / "t.md"))
    assert made["fold"] == ["baseline", "mel"]
    assert [made[str(fold)] for fold in (1, 5)] == [["68.50", "74.50"], ["70.00", "72.25"]]
    by_hand = [f"{100 * statistics.mean(each):.2f} ± {100 * statistics.stdev(each):.2f}" for each in (BASE, MEL)]
    assert made["mean ± sd"] == by_hand
    numbers = [
        [[float(part) for part in cell.split(" ± ")] for cell in made[row]] for row in ("mean ± sd", "published")
    ]
    assert numbers[0] == [pytest.approx(each, abs=0.011) for each in numbers[1]]  # table 3 says so, cut to two digits
    assert made["against baseline, over recordings"][1].strip() == "+4.40 (+2.00 to +7.00)"
    assert made["against baseline, over folds"][1].strip() == "+4.40 (+1.90 to +6.90)"
    assert (made["optimizer steps"], made["seconds"]) == (["30", "30"], ["2", "2"])


def test_what_is_not_known_has_no_row_and_a_name_breaks_no_table(tmp_path):
    folder = table(tmp_path / "t", {"a|b": BASE[:1], "c": MEL[:2]}, steps={"a|b": 5, "c": None})
    text = tabulate([folder], tmp_path / "t.md").read_text()
    assert text.startswith("esc50: accuracy, %\n\n| fold | a\\|b | c |\n| --- | ---: | ---: |\n| 1 | 68.50 | 74.50 |\n")
    assert "| 2 |  | 83.50 |" in text
    assert "| mean ± sd | 68.50 | 79.00 ± 6.36 |" in text
    assert "| optimizer steps | 5 |  |" in text
    assert "published" not in text
    assert "seconds" not in text


def test_csv_has_the_same_cells(tmp_path):
    folder = table(tmp_path / "t", {"baseline": BASE, "mel, 64": MEL})
    marked = rows_of(tabulate([folder], tmp_path / "t.md"))
    with tabulate([folder, folder], tmp_path / "t.csv").open(newline="") as file:
        head, *rows = csv.reader(file)
    assert head == ["data", "measure", "fold", "baseline", "mel, 64"]
    assert rows[0] == ["esc50", "accuracy, %", "1", "68.50", "74.50"]
    half = len(rows) // 2
    assert rows[half] == head
    assert rows[:half] == rows[half + 1 :]
    assert {row[2]: row[3:] for row in rows[:half]} == {
        name: [cell.strip() for cell in cells] for name, cells in marked.items() if name not in ("---", "fold")
    }


def test_another_ending_and_no_table_are_refused(tmp_path):
    folder = table(tmp_path / "t", {"baseline": BASE})
    with pytest.raises(ReportError, match=r"written as \.md or \.csv"):
        tabulate([folder], tmp_path / "t.txt")
    with pytest.raises(ReportError, match="no table here"):
        tabulate([folder / "baseline" / "fold1"], tmp_path / "t.md")


def test_report_writes_the_table_alone(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    folder = table(tmp_path / "t", {"baseline": BASE, "mel": MEL})
    assert cli.main(["report", str(folder), "--table", "t.md", "--boxes", "b.svg"]) == 0
    assert "t.md" in capsys.readouterr().out
    assert sorted(path.name for path in tmp_path.iterdir()) == ["b.svg", "t", "t.md"]
