"""Progress on a terminal and elsewhere; results as text."""

import io

import pytest

from ossicle import words
from ossicle.show import Show

ROW = {
    "stage": 0,
    "epoch": 3,
    "steps": 6,
    "lr": 1e-3,
    "loss": 1.23456,
    "accuracy": 0.8125,
    "seconds": 4.07,
    "waited": 0.0,
}


class Terminal(io.StringIO):
    def isatty(self):
        return True


def told(stream, monkeypatch, *news):
    monkeypatch.setattr("sys.stderr", stream)
    with Show() as tell:
        for kind, row in news:
            tell(kind, row)
    return stream.getvalue()


def test_a_line_an_epoch_elsewhere(monkeypatch):
    said = told(io.StringIO(), monkeypatch, ("step", {"done": 6, "total": 30}), ("epoch", ROW))
    assert said == "epoch 3/15  loss 1.235  accuracy 81.2 %  4.1 s\n"


def test_a_bar_on_a_terminal_and_lines_above_it(monkeypatch):
    news = [("decode", {"done": n, "total": 2}) for n in range(3)]
    news += [("note", {"note": "[bold]as it is[/bold]"}), ("step", {"done": 1, "total": 30}), ("epoch", ROW)]
    said = told(Terminal(), monkeypatch, *news)
    assert "learning" in said
    assert "[bold]as it is[/bold]" in said
    assert "epoch 3/15" not in said


def test_what_several_runs_say_is_said_once_and_unknown_news_are_no_fault(monkeypatch):
    bad = {"path": "a\nb.wav", "stage": "open", "reason": "empty file"}
    news = [("note", {"note": "twice"}), ("bad", bad), ("something new", {})] * 2
    assert told(io.StringIO(), monkeypatch, *news) == "note: twice\nbad file: a\\nb.wav: empty file\n"


def test_long_reading_is_told_of_at_its_end(monkeypatch):
    monkeypatch.setattr("ossicle.show.PATIENCE", -1.0)
    news = [("decode", {"done": done, "total": 2}) for done in range(3)]
    assert told(io.StringIO(), monkeypatch, *news) == "read 2 files in 0 s\n"


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"loss": 2.0}, "loss 2.000"),
        ({"loss": 2.0, "valid_accuracy": 1.0, "valid_mAP": 0.5}, "loss 2.000  valid accuracy 100.0 %"),
        ({"loss": 2.0, "valid_mAP": 0.5}, "loss 2.000  valid mAP 50.0 %"),
        ({"loss": 2.0, "valid_accuracy": None}, "loss 2.000"),
    ],
)
def test_news_are_short(row, said):
    assert words.news(row) == said


def test_a_table_says_mean_deviation_folds_and_how_variants_compare():
    row = {
        "variant": "",
        "measure": "accuracy",
        "accuracy": [0.8, 0.9],
        "mean": 0.85,
        "sd": 0.0707,
        "pretraining": ["none"],
    }
    assert words.tabled({"rows": [row]}) == "accuracy  85.0 % ± 7.1 %  (folds 80.0 %  90.0 %; pretraining none)"
    other = {**row, "variant": "wide", "against_first": {"recordings": {"sentence": "better by 1"}, "folds": None}}
    assert words.tabled({"rows": [row, other]}).splitlines()[1:] == [
        "wide accuracy  85.0 % ± 7.1 %  (folds 80.0 %  90.0 %; pretraining none)",
        "  better by 1",
    ]
    bare = row | {"measure": "knn_accuracy", "knn_accuracy": [0.8, 0.9]}
    assert words.tabled({"rows": [bare]}) == "knn_accuracy  85.0 % ± 7.1 %  (folds 80.0 %  90.0 %)"
    begun = words.tabled({"rows": [bare | {"pretraining": ["inductive"]}]})
    assert begun.endswith("90.0 %; pretraining inductive)")
    assert words.tabled({"rows": []}).startswith("no scores: no test fold was opened, and no validation part tells; ")


def test_an_evaluation_names_the_commonest_mistakes_and_what_pretraining_heard():
    shares = {"precision": None, "recall": 0.5, "ap": 0.25, "support": 4}
    result = {"data": "set", "fold": 2, "clips": 8, "openings": 2, "pretraining": "transductive", "accuracy": 0.5}
    result |= {"interval": {"low": 0.25, "high": 0.75, "over": "8 recordings"}, "class_accuracy": 0.5, "mAP": 0.25}
    result |= {"nll": 1.5, "classes": {"a": shares, "b": shares}, "confusion": [[1, 3], [0, 4]]}
    said = words.scored(result).splitlines()
    assert said[0] == "set fold 2: 8 clips, looked at for the 2nd time"
    assert " ".join(said[1].split()) == "accuracy 50.0 % (25.0 % to 75.0 %, 95 % over 8 recordings)"
    assert any("it heard clips of the test fold" in line for line in said)
    assert said[-1] == "  a taken for b: 3"
    assert words.scored(result | {"bad": 2}).startswith("set fold 2: 8 clips and 2 that cannot be heard, looked at")


@pytest.mark.parametrize("nth", ["1st", "2nd", "3rd", "4th", "11th", "112th", "21st"])
def test_openings_are_counted_in_words(nth):
    result = {"data": "set", "fold": None, "clips": 1, "pretraining": "none", "classes": {}}
    assert f"for the {nth} time" in words.scored({**result, "openings": int(nth[:-2])})


SOUND = {"seconds": 41.2, "hours": 0.36, "bytes": 115e6}
UNTOLD = dict.fromkeys(("seconds", "hours", "bytes"))


@pytest.mark.parametrize(
    ("before", "said"),
    [
        (None, ""),
        ({**SOUND, "seconds": 407.4}, "; its start: 407 s on 0.36 h, 115 MB of sound"),
        ({**SOUND, "weights": 98e6}, "; its start: 41 s on 0.36 h, 115 MB of sound, from weights of 98 MB"),
        ({**UNTOLD, "weights": 98e6}, "; its start: weights of 98 MB"),
        (UNTOLD, "; its start: nothing tells"),
    ],
)
def test_what_learning_took_is_told_with_what_its_start_took(before, said):
    assert words.cost({**SOUND, "before": before}) == f"41 s on 0.36 h, 115 MB of sound{said}"
    taught = words.cost({**SOUND, "before": before, "teaching": SOUND})
    assert taught == f"41 s on 0.36 h, 115 MB of sound{said}; its teachers: 41 s on 0.36 h, 115 MB of sound"


def test_a_class_of_an_encoder_says_how_far_it_spreads():
    shares = {"precision": 1.0, "recall": 0.5, "ap": 0.25, "support": 4}
    result = {"data": "set", "fold": 1, "clips": 8, "openings": 1, "pretraining": "none"}
    result["classes"] = {"a": {**shares, "within_to_between": 0.625}, "b": {**shares, "within_to_between": None}}
    *_, head, a, b = words.scored(result).splitlines()
    assert head.endswith("within/between")
    assert (a.split()[-1], b.split()[-1]) == ("0.62", "-")
