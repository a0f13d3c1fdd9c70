"""A small graph as the exporter writes it: an image of one row, two convolutions, a mean, a linear layer, a head."""

from __future__ import annotations

import numpy as np
from onnx import TensorProto, helper, load_from_string, numpy_helper

from ossicle.deploy.bundle import Recognizer, session
from ossicle.deploy.config import Config
from ossicle.deploy.folding import advance, fold, settle
from ossicle.deploy.quantize import Standard, quantize

WINDOW, MAPS, CLASSES = 120, 6, 3
CONFIG = Config(120, 1, WINDOW, WINDOW, "repeat", ("a", "b", "c"), False)
FIRST, SECOND, MIDDLE, HEAD = "backbone.encoder.first", "backbone.encoder.second", "backbone.encoder.middle", "head"


def graph(*, loud=1.0, shared=False):
    """An onnx.ModelProto; the first convolution's bias is worked out in the graph and normalization follows.

    `loud` multiplies one map of the first convolution, and divides what the second makes of it.
    """
    draw = np.random.default_rng(0)
    first, second = draw.normal(size=(MAPS, 1, 5)), draw.normal(size=(MAPS, MAPS, 3))
    scale = draw.uniform(0.5, 2, MAPS)
    scale[0] *= loud
    second[:, 0] /= loud
    numbers = {
        "classifier.backbone.mean": np.float32(-2),
        "classifier.backbone.sd": np.float32(3),
        f"classifier.{FIRST}.weight": first,
        "bn.scale": scale,
        "bn.shift": draw.normal(size=MAPS) * scale,
        "bn.mean": draw.normal(size=MAPS),
        "bn.variance": draw.uniform(0.5, 2, MAPS),
        f"classifier.{SECOND}.weight": second,
        f"classifier.{MIDDLE}.weight": np.linalg.qr(draw.normal(size=(MAPS, MAPS)))[0],
        f"classifier.{HEAD}.weight": draw.normal(size=(CLASSES, MAPS)),
        f"classifier.{HEAD}.bias": np.zeros(CLASSES),
        "floor": np.float32(1e-6),
        "zero": np.float32(0),
    }
    held = [numpy_helper.from_array(np.asarray(value, np.float32), name) for name, value in numbers.items()]
    held += [numpy_helper.from_array(np.array(value), name) for name, value in (("maps", [MAPS]), ("time", [2]))]
    node = helper.make_node
    nodes = [
        node("Abs", ["wave"], ["size"], "abs"),
        node("Add", ["size", "floor"], ["raised"], "raise"),
        node("Log", ["raised"], ["level"], "log"),
        node("Sub", ["level", "classifier.backbone.mean"], ["centered"], "center"),
        node("Div", ["centered", "classifier.backbone.sd"], ["image"], "scale"),
        node("CastLike", ["zero", "image"], ["cast"], "cast"),
        node("Expand", ["cast", "maps"], ["bias"], "expand"),
        node("Conv", ["image", f"classifier.{FIRST}.weight", "bias"], ["a"], "conv_1"),
        node("BatchNormalization", ["a", "bn.scale", "bn.shift", "bn.mean", "bn.variance"], ["b"], "norm"),
        node("MaxPool", ["b"], ["p"], "pool", kernel_shape=[2], strides=[2], pads=[0, 1]),
        node("Relu", ["p"], ["c"], "relu_1"),
        node("Conv", ["c", f"classifier.{SECOND}.weight"], ["d"], "conv_2"),
        node("MaxPool", ["d"], ["q"], "pool_2", kernel_shape=[2], strides=[2], pads=[0, 1]),
        node("Relu", ["q"], ["e"], "relu_2"),
        node("ReduceMean", ["e", "time"], ["mean"], "mean", keepdims=0),
        node("MatMul", ["mean", f"classifier.{MIDDLE}.weight"], ["feature"], "matmul"),
        node("Gemm", ["feature", f"classifier.{HEAD}.weight", f"classifier.{HEAD}.bias"], ["f"], "gemm", transB=1),
        node("Softmax", ["f"], ["score"], "softmax"),
    ]
    if shared:
        nodes.insert(-2, node("Relu", ["a"], ["unused"], "another"))
    ends = [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["B", k]) for n, k in (("score", 3), ("feature", MAPS))]
    start = helper.make_tensor_value_info("wave", TensorProto.FLOAT, ["B", 1, WINDOW])
    ends += [helper.make_tensor_value_info("unused", TensorProto.FLOAT, None)] if shared else []
    made = helper.make_graph(nodes, "tiny", [start], ends, held)
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


def recognizer(model):
    return Recognizer(CONFIG, session(model, "model.onnx"))


def sounds(count, seed=0):
    """Noise whose level runs from one to another."""
    draw = np.random.default_rng(seed)
    ends = draw.uniform(-6, 0, (count, 2, 1))
    level = np.exp(ends[:, :1] + (ends[:, 1:] - ends[:, :1]) * np.linspace(0, 1, WINDOW))
    return (level * draw.normal(size=(count, 1, WINDOW))).astype(np.float32)


def centered(model):
    """The model with a head that tells sounds apart."""
    heard = recognizer(model.SerializeToString()).scores(sounds(64))[1]
    weight = next(each for each in model.graph.initializer if each.name == f"classifier.{HEAD}.weight")
    spread = 4 * numpy_helper.to_array(weight) / heard.std(0)
    weight.CopyFrom(numpy_helper.from_array(spread, weight.name))
    bias = next(each for each in model.graph.initializer if each.name == f"classifier.{HEAD}.bias")
    bias.CopyFrom(numpy_helper.from_array(-spread @ heard.mean(0), bias.name))
    return model.SerializeToString()


def standard(model, count=200):
    """By how many sounds are told as in float; calibrated on others."""
    asked = sounds(count, seed=1)
    top = recognizer(model).scores(asked)[0].argmax(1)
    assert np.bincount(top, minlength=CLASSES).min() > 0.1 * count
    return Standard(sounds(64), lambda small: float((small.scores(asked)[0].argmax(1) == top).mean()), {"clips": count})


def initializers(model):
    return {each.name: numpy_helper.to_array(each) for each in load_from_string(model).graph.initializer}


def test_normalization_is_folded_and_nothing_else_changes():
    model = graph()
    before, wave = recognizer(model.SerializeToString()), sounds(8)
    settle(model, {"image"}, before.given(wave))
    fold(model.graph)
    advance(model.graph)
    kinds = [node.op_type for node in model.graph.node]
    assert kinds[5:12] == ["Conv", "MaxPool", "Relu", "Conv", "Relu", "MaxPool", "ReduceMean"]
    assert not {"BatchNormalization", "Expand", "CastLike"} & set(kinds)
    after = recognizer(model.SerializeToString())
    np.testing.assert_allclose(after.scores(wave)[0], before.scores(wave)[0], atol=1e-6)
    np.testing.assert_allclose(after.scores(wave)[1], before.scores(wave)[1], rtol=1e-4)
    assert "bn.variance" not in {each.name for each in model.graph.initializer}


def test_what_another_layer_hears_too_is_not_folded():
    model = graph(shared=True)
    settle(model, {"image"}, {"wave": sounds(2)})
    fold(model.graph)
    assert "BatchNormalization" in [node.op_type for node in model.graph.node]


def test_all_layers_bear_8_bit_and_the_front_end_stays_in_float():
    model = centered(graph())
    small = quantize(model, standard(model), recognizer, margin=0.05)
    assert small is not None
    assert (small.float_score, dict(small.left)) == (1.0, {})
    assert small.score >= 0.95
    assert small.told == {"clips": 200, "score": small.score, "float_score": 1.0, "left": {}}
    made = load_from_string(small.model).graph
    first = next(node for node in made.node if node.op_type == "QuantizeLinear")
    ahead = [node.op_type for node in made.node][: list(made.node).index(first)]
    assert ahead[:8] == ["Abs", "Add", "Log", "Sub", "Div", "Conv", "MaxPool", "Relu"]
    assert first.input[0] == "c", "what hears one map stays in float, and so does what follows until the next layer"
    held = initializers(small.model)
    assert held[f"classifier.{HEAD}.weight"].dtype == np.float32
    assert held[f"classifier.{FIRST}.weight"].dtype == np.float32
    weight = held[f"classifier.{SECOND}.weight_quantized"]
    assert weight.dtype == np.int8
    assert np.abs(weight).max() <= 64
    assert held[f"classifier.{SECOND}.weight_scale"].shape == (MAPS,)


def test_a_layer_that_costs_too_much_stays_in_float_and_is_told():
    """One map ten thousand times as loud as the others leaves these no step of 256."""
    model = centered(graph(loud=1e4))
    asked = standard(model)
    small = quantize(model, asked, recognizer, margin=0.03)
    assert small is not None
    assert small.score == asked.judge(recognizer(small.model)) >= 0.97
    assert set(small.left) == {SECOND}
    assert max(small.left.values()) > 0.05
    assert initializers(small.model)[f"classifier.{SECOND}.weight"].dtype == np.float32
    assert f"classifier.{MIDDLE}.weight_quantized" in initializers(small.model)


def test_where_no_layer_bears_it_there_is_none():
    made = []

    def remembered(content):
        made.append(recognizer(content))
        return made[-1]

    model = centered(graph())
    picky = Standard(sounds(8), lambda small: float(small is made[0]))
    assert quantize(model, picky, remembered) is None
    assert len(made) == 1 + 2 + 2  # the model, two drafts with ever fewer layers, and each layer alone
