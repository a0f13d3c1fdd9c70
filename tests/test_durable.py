import json
from pathlib import Path

import numpy as np
import pytest

from ossicle.durable import append_row, keep_rows, read_json, read_rows, write_json
from ossicle.plain import Difference, differences, digest, flat, json_text


def test_json_is_read_back_as_it_was_written(tmp_path):
    value = {"ä": [1, 0.1, None, True, "x\n"], "deep": {"empty": {}, "none": []}}
    write_json(tmp_path / "value.json", value)
    assert read_json(tmp_path / "value.json") == value
    assert [item.name for item in tmp_path.iterdir()] == ["value.json"]


def test_numbers_of_numpy_and_paths_become_plain():
    value = {"a": np.float32(0.5), "b": np.int64(3), "c": np.bool_(True), "d": np.arange(3), "e": Path("x/y")}
    assert json.loads(json_text(value)) == {"a": 0.5, "b": 3, "c": True, "d": [0, 1, 2], "e": "x/y"}


def test_nan_is_refused_by_name_and_the_file_stays(tmp_path):
    write_json(tmp_path / "value.json", 1)
    with pytest.raises(ValueError, match=r"NaN or infinity, and a\.b\.1, c is one"):
        write_json(tmp_path / "value.json", {"a": {"b": [0.0, float("nan")]}, "c": float("inf")})
    assert read_json(tmp_path / "value.json") == 1


def test_what_json_cannot_hold_is_refused():
    with pytest.raises(TypeError, match="set"):
        json_text({"a": {1, 2}})


def test_a_missing_or_damaged_file_is_a_sentence(tmp_path):
    with pytest.raises(ValueError, match=r"cannot be read: .*No such file"):
        read_json(tmp_path / "nothing.json")
    (tmp_path / "half.json").write_text('{"a": ')
    with pytest.raises(ValueError, match=r"half\.json cannot be read"):
        read_json(tmp_path / "half.json")


def test_rows_are_added_cut_back_and_read(tmp_path):
    path = tmp_path / "log.jsonl"
    assert read_rows(path) == []
    assert keep_rows(path, 3) == 0
    for step in range(5):
        append_row(path, {"step": step})
    with path.open("a") as file:
        file.write('{"step": 5, "los')
    assert [row["step"] for row in read_rows(path)] == [0, 1, 2, 3, 4]
    assert keep_rows(path, 9) == 5
    assert path.read_text().endswith('{"step": 4}\n')
    assert keep_rows(path, 2) == 2
    assert [row["step"] for row in read_rows(path)] == [0, 1]
    assert [item.name for item in tmp_path.iterdir()] == ["log.jsonl"]


def test_flat_names_every_leaf():
    assert flat({"a": {"b": [1, {"c": 2}]}, "d": {}, "e": None}) == {"a.b.0": 1, "a.b.1.c": 2, "d": {}, "e": None}


def test_differences_are_all_named():
    old = {"same": 1, "lr": 0.1, "gone": "x", "stages": [{"epochs": 3}]}
    new = {"same": 1, "lr": 0.2, "stages": [{"epochs": 3}, {"epochs": 5}]}
    assert differences(old, old) == []
    assert differences(old, new) == [("lr", 0.1, 0.2), ("gone", "x", None), ("stages.1.epochs", None, 5)]
    assert str(Difference("lr", 0.1, None)) == "lr: 0.1 -> (none)"
    assert len(str(Difference("long", "x" * 500, 1))) < 100


def test_a_digest_is_of_bytes_or_of_json():
    assert digest(b"") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"  # FIPS 180-4
    assert digest(["a"]) == digest(b'["a"]')
