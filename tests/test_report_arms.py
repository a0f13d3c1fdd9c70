"""Tables of encoders in a report: both by neighbors and by a linear probe, on what the table says."""

from ossicle.report import arms
from ossicle.report.found import Found
from ossicle.words import BY_TEST

AGAINST = {over: {"mean": 0.1, "low": -0.05, "high": 0.2, "over": f"3 {over}"} for over in ("recordings", "folds")}


def row(name, by, knn, linear, **more):
    told = {"variant": name, "set": name, "point": {}, "folds": [1, 2], "by": by, "pretraining": ["inductive"]}
    told |= {"measure": "knn_accuracy", "knn_accuracy": knn, **more}
    return told | {"linear": {"measure": "linear_accuracy", "linear_accuracy": linear, **more}}


def table(tmp_path, by, runs=()):
    rows = [row("one", by, [0.5, 0.6], [0.7, 0.8]), row("two", by, [0.55, 0.75], [0.85, 0.9], against_first=AGAINST)]
    return Found(tmp_path, "table", {"table": {"rows": rows}}, runs=tuple(runs))


def evaluated(tmp_path, name, fold, knn, linear):
    evaluation = {"accuracy": knn, "linear_probe": {"accuracy": linear}}
    values = {"evaluation": evaluation, "recipe": {"split": {"fold": fold}}}
    return Found(tmp_path / name / f"fold{fold}", "run", values)


def test_arms_of_encoders_have_both_scores(tmp_path):
    one, two = arms.arms(table(tmp_path, "validation"))
    assert (one.measure, one.accuracy) == ("validation accuracy of 5 neighbors", {1: 0.5, 2: 0.6})
    assert (two.linear.measure, two.linear.accuracy) == ("validation accuracy of a linear probe", {1: 0.85, 2: 0.9})
    assert two.against == two.linear.against == AGAINST
    assert one.against is None


def test_evaluations_speak_for_a_table_of_tests_and_not_for_one_of_validation_parts(tmp_path):
    runs = [evaluated(tmp_path, "one", fold, 0.1, 0.2) for fold in (1, 2)]
    tested, _ = arms.arms(table(tmp_path, "test", runs))
    assert (tested.measure, tested.accuracy) == ("accuracy of 5 neighbors", {1: 0.1, 2: 0.1})
    assert (tested.linear.measure, tested.linear.accuracy) == ("accuracy of a linear probe", {1: 0.2, 2: 0.2})
    chosen, _ = arms.arms(table(tmp_path, "validation", runs))
    assert (chosen.accuracy, chosen.linear.accuracy) == ({1: 0.5, 2: 0.6}, {1: 0.7, 2: 0.8})


def test_a_page_shows_both_tables_and_both_figures(tmp_path):
    every = arms.arms(table(tmp_path, "test"))
    shown = str(arms.fold_table(every))
    assert shown.count("<table") == 2
    for what in ("accuracy of 5 neighbors, %", "accuracy of a linear probe, %", "85.0", "+10.0"):
        assert what in shown
    assert str(arms.fold_figures(every)).count("<figure") == 4
    assert arms.fold_table([]) is arms.fold_figures([]) is None


def test_where_the_test_chose_the_weights_the_row_says_so(tmp_path):
    made = table(tmp_path, "test")
    made.json["table"]["rows"][1]["selected"] = ["none", "test"]
    assert [arm.chosen for arm in arms.arms(made)] == ["", "test"]
    shown = arms.fold_table(arms.arms(made))
    assert shown.count(BY_TEST) == 2  # by neighbors and by a linear probe
    runs = [evaluated(tmp_path, "one", fold, 0.1, 0.2) for fold in (1, 2)]
    for run, selected in zip(runs, ("valid", "none"), strict=True):
        run.json["result"] = {"selected": selected}
    one, two = arms.arms(table(tmp_path, "test", runs))
    assert (one.chosen, two.chosen) == ("valid", "")
    assert BY_TEST not in arms.fold_table([one, two])
