"""Models that a bundle may not hold, under a hash that is right."""

from __future__ import annotations

import numpy as np
import pytest

from ossicle.deploy.bundle import load
from ossicle.deploy.config import MODEL, BundleError, Config, file_entry
from ossicle.deploy.graph import problems


def put_model(folder, model):
    """Another model under a correct hash: what a hostile bundle would look like."""
    (folder / MODEL).write_bytes(model)
    config = Config.read(folder)
    files = config.files | {MODEL: file_entry(model)}
    Config(**vars(config) | {"files": files}).write(folder)


def hostile(model, kind):
    import onnx
    from onnx import helper

    proto = onnx.load_from_string(model)
    if kind == "custom":
        proto.graph.node[0].domain = "evil"
        proto.opset_import.append(helper.make_opsetid("evil", 1))
    elif kind == "external":
        tensor = proto.graph.initializer[0]
        tensor.data_location = onnx.TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value="../../etc/passwd")
    elif kind == "not finite":
        proto.graph.initializer[1].float_data[0] = np.nan
    elif kind == "raw infinity":
        proto.graph.initializer[1].CopyFrom(onnx.numpy_helper.from_array(np.float32([-np.inf]), "one"))
    elif kind == "half":
        proto.graph.initializer[1].CopyFrom(onnx.numpy_helper.from_array(np.float16([1, np.nan]), "one"))
    elif kind == "constant":
        nan = onnx.numpy_helper.from_array(np.float32(np.nan))
        proto.graph.node.append(helper.make_node("Constant", [], ["c"], value=nan))
    elif kind == "number":
        proto.graph.node.append(helper.make_node("Constant", [], ["c"], value_floats=[1.0, np.nan]))
    elif kind == "function":
        secret = onnx.TensorProto(name="secret", data_type=1, data_location=onnx.TensorProto.EXTERNAL)
        proto.functions.add(name="f").attribute_proto.append(helper.make_attribute("a", secret))
    elif kind == "opset":
        proto.opset_import[0].version = 99
    elif kind == "whole numbers":
        proto.graph.input[0].type.tensor_type.elem_type = onnx.TensorProto.INT64
    elif kind == "renamed":
        proto.graph.output[1].name = "loot"
    elif kind == "nested":
        inner = helper.make_node("Steal", [], ["loot"], domain="evil")
        branch = helper.make_graph([inner], "branch", [], [])
        proto.graph.node.append(helper.make_node("If", ["c"], ["y"], then_branch=branch, else_branch=branch))
    return proto.SerializeToString()


@pytest.mark.parametrize(
    ("kind", "sentence"),
    [
        ("custom", "custom operator 'Abs' of 'evil'"),
        ("external", "tensor 'axes' in another file"),
        ("nested", "custom operator 'Steal' of 'evil'"),
        ("not finite", "1 of 1 numbers of the tensor 'one' are not finite"),
        ("raw infinity", "1 of 1 numbers of the tensor 'one'"),
        ("half", "the tensor 'one' of ONNX's data type 10; wanted whole numbers, float32 or float64"),
        ("constant", "1 of 1 numbers of the tensor ''"),
        ("number", "1 of 2 numbers of the attribute 'value_floats' are not finite"),
        ("function", "tensor 'secret' in another file"),
        ("opset", "opset 99, and opsets 13 to 21"),
        ("whole numbers", "it takes wave and gives score, feature; wanted wave or image"),
        ("renamed", "gives score, loot"),
    ],
)
def test_models_that_reach_out_are_refused_before_they_run(loudness, loudness_model, monkeypatch, kind, sentence):
    put_model(loudness, hostile(loudness_model, kind))
    monkeypatch.setattr("ossicle.deploy.bundle.session", lambda *_: pytest.fail("a session was made"))
    with pytest.raises(BundleError, match=sentence):
        load(loudness)


def test_an_infinity_that_masks_something_is_no_weight(loudness_model):
    import onnx

    proto = onnx.load_from_string(loudness_model)
    mask = onnx.numpy_helper.from_array(np.float32(-np.inf))
    proto.graph.node.append(onnx.helper.make_node("Constant", [], ["mask"], value=mask))
    assert problems(proto.SerializeToString()) == []


def test_any_bytes_are_looked_through_without_a_crash(loudness_model):
    assert problems(loudness_model) == []
    assert problems(b"") != []
    assert problems(b"not a model at all") != []
    draw = np.random.default_rng(1)
    for _ in range(500):
        mutated = bytearray(loudness_model)
        for position in draw.integers(0, len(mutated), 3):
            mutated[position] = draw.integers(256)
        assert isinstance(problems(bytes(mutated[: draw.integers(1, len(mutated) + 1)])), list)


def test_a_model_that_onnxruntime_cannot_run_is_a_sentence(loudness, loudness_model):
    put_model(loudness, loudness_model.replace(b"Identity", b"Unheard!"))
    with pytest.raises(BundleError, match=r"cannot run .*model\.onnx"):
        load(loudness)
