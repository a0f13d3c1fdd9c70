"""The demo, small and whole."""

import json
import time

import pytest

from ossicle import demo
from ossicle.deploy.events import Event
from ossicle.material import quiet
from ossicle.recipe import from_dict


def test_the_demo_writes_all_it_says_and_does_nothing_twice(tmp_path, monkeypatch):
    monkeypatch.setattr(demo, "SYNTHETIC", {"per_class": 10, "unlabelled": 10})
    monkeypatch.setattr(demo, "SYNTHETIC_EPOCHS", 1)
    monkeypatch.setattr(demo, "EPOCHS", 1)
    monkeypatch.setattr(demo, "FEW", 2)
    said = demo.demo(tmp_path)
    assert [line.split()[0] for line in said.splitlines()] == [
        "accuracy",
        "scratch",
        "pretrained",
        "encoder",
        "bundle:",
        "stream:",
    ]
    for name in ("report.html", "stream.wav", "bundle/model.onnx", "encoder/result.json", "scratch/evaluation.json"):
        assert (tmp_path / name).is_file()
    recipes = {name: json.loads((tmp_path / name / "recipe.json").read_text()) for name in ("pretrained", "scratch")}
    assert recipes["pretrained"].pop("start") == str(tmp_path / "encoder")
    assert recipes["scratch"].pop("start") is None
    assert recipes["pretrained"] == recipes["scratch"]
    again = from_dict(json.loads((tmp_path / "scratch" / "recipe.json").read_text()))
    assert demo.work(again, tmp_path / "scratch", quiet)["openings"] == 1


def test_events_are_matched_by_name_and_time():
    sounded = [Event("dog", 0, 2, 1), Event("rain", 3, 5, 1)]
    heard = [Event("dog", 1, 3, 0.9), Event("dog", 3, 4, 0.6), Event("rain", 5, 6, 0.9)]
    assert demo.matched(sounded, heard) == (1, 2)
    assert demo.matched(sounded, sounded) == (2, 0)
    assert demo.matched(sounded, []) == (0, 0)


@pytest.mark.slow
def test_the_demo_reaches_ninety_percent_in_three_minutes(tmp_path):
    began = time.process_time()
    demo.demo(tmp_path)
    assert time.process_time() - began < 180
    assert json.loads((tmp_path / "pretrained" / "evaluation.json").read_text())["accuracy"] >= 0.9
