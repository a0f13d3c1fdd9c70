"""Box plots over folds: quartiles by hand, what has too few folds, and the figure as a file and on the page."""

import json

import matplotlib.figure
import numpy as np
import pytest

from ossicle.report import ReportError, boxes, draw, found, report


def table(folder, scores, **more):
    """A table as `folds.run` leaves it: each variant's score by fold."""
    rows = [
        {
            "variant": name,
            "set": name,
            "point": {},
            "folds": list(range(1, len(each) + 1)),
            "by": "test",
            "measure": "accuracy",
            "accuracy": each,
        }
        for name, each in scores.items()
    ]
    folder.mkdir(parents=True)
    (folder / "table.json").write_text(json.dumps({"rows": [row | more for row in rows]}))
    return folder


TEN = [0.80, 0.79, 0.71, 0.77, 0.73, 0.85, 0.73, 0.66, 0.71, 0.72]


def test_a_box_is_quartiles_and_whiskers_end_within_one_and_a_half_boxes():
    far = [0.50, *TEN[1:]]
    axes = matplotlib.figure.Figure().subplots()
    boxes.draw(boxes.Panel("birds", "accuracy", (("one", tuple(far)),)), axes)
    ordered = sorted(100 * np.array(far))
    first, middle, third = (  # of ten values the quarters lie at 2.25, 4.5 and 6.75 steps
        ordered[low] + part * (ordered[low + 1] - ordered[low]) for low, part in ((2, 0.25), (4, 0.5), (6, 0.75))
    )
    (box,) = axes.patches
    assert (box.get_x(), box.get_x() + box.get_width()) == pytest.approx((first, third))
    drawn = [tuple(line.get_xdata()) for line in axes.lines]
    assert drawn[0] == pytest.approx((middle, middle))
    within = [value for value in ordered if first - 1.5 * (third - first) <= value <= third + 1.5 * (third - first)]
    assert drawn[1] == pytest.approx((first, within[0]))
    assert drawn[2] == pytest.approx((third, within[-1]))
    assert within[0] > ordered[0]
    assert sorted(drawn[3]) == pytest.approx(ordered)  # the far one is a ring
    assert drawn[4] == pytest.approx((np.mean(ordered),))


def test_variants_are_rows_tables_panels_and_an_encoder_has_two(tmp_path):
    linear = {"measure": "linear_accuracy", "linear_accuracy": [0.9] * 5}
    first = table(tmp_path / "birds", {"base": [0.5] * 5, "mel": [0.6] * 5})
    second = table(tmp_path / "bells", {"base": [0.7] * 5}, linear=linear)
    made = boxes.panels([*found.look(first), *found.look(second)])
    assert [(panel.data, panel.what) for panel in made] == [
        ("birds", "accuracy"),
        ("bells", "accuracy"),
        ("bells", "accuracy of a linear probe"),
    ]
    assert made[0].rows == (("base", (0.5,) * 5), ("mel", (0.6,) * 5))


def test_of_three_folds_there_are_rings_and_alone_they_are_no_figure(tmp_path):
    mixed = boxes.Panel("birds", "accuracy", (("whole", tuple(TEN)), ("begun", (0.5, 0.6, 0.7))))
    axes = matplotlib.figure.Figure().subplots()
    boxes.draw(mixed, axes)
    assert len(axes.patches) == 1
    assert [text.get_text() for text in axes.get_yticklabels()] == ["whole", "begun"]
    few = table(tmp_path / "few", {"base": [0.5, 0.6, 0.7]})
    with pytest.raises(ReportError, match="scored on 4 folds or more"):
        draw([few], tmp_path / "b.svg", of="boxes")
    assert not (tmp_path / "b.svg").exists()


def test_the_page_and_the_files_show_the_boxes(tmp_path):
    folder = table(tmp_path / "birds", {"base": TEN, "<mel> $x_": [0.1 + each for each in TEN]})
    whole = report([folder], tmp_path / "r.html").read_text()
    assert "accuracy on birds over folds: base 66.0 to 85.0 %, median 73.0 %; &lt;mel&gt; $x_ 76.0 to" in whole
    assert "the middle half of them" in whole
    for name, begins in (("b.svg", b"<?xml"), ("b.png", b"\x89PNG")):
        made = [draw([folder], tmp_path / name, of="boxes").read_bytes() for _ in range(2)]
        assert made[0] == made[1]
        assert made[0].startswith(begins)
        assert b"#fd00" not in made[0]


def test_where_the_test_chose_the_weights_the_figure_says_so(tmp_path):
    folder = table(tmp_path / "birds", {"base": TEN})
    for fold, score in enumerate(TEN, 1):
        place = folder / "base" / f"fold{fold}"
        place.mkdir(parents=True)
        (place / "recipe.json").write_text(json.dumps({"split": {"fold": fold}}))
        (place / "evaluation.json").write_text(json.dumps({"accuracy": score}))
        (place / "result.json").write_text(json.dumps({"selected": "test" if fold == 1 else "valid"}))
    (panel,) = boxes.panels(found.look(folder))
    assert panel.what == "accuracy, weights chosen on the test fold"
    assert panel.rows == (("base", tuple(TEN)),)
