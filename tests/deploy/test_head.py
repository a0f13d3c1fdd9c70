from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from ossicle.deploy.bundle import session
from ossicle.deploy.graph import problems
from ossicle.deploy.head import Head, HeadError, head, with_head

SIZE, CLASSES = 5, 3
DRAW = np.random.default_rng(0)


def model(*, last="Softmax", temperature=1.7, of="feature", kind=np.float32):
    """What the exporter makes of a network that gives its input's mean over time as its feature."""
    numbers = {"head.weight": DRAW.normal(size=(CLASSES, SIZE)), "head.bias": DRAW.normal(size=CLASSES)}
    numbers |= {"temperature": np.asarray(temperature), "other": DRAW.normal(size=300)}
    held = [numpy_helper.from_array(value.astype(kind), name) for name, value in numbers.items()]
    nodes = [
        helper.make_node("ReduceMean", ["image", "axes"], ["mean"], keepdims=0),
        helper.make_node("Identity", ["mean"], ["feature"]),
        helper.make_node("Gemm", [of, "head.weight", "head.bias"], ["linear"], transB=1),
        helper.make_node("Div", ["linear", "temperature"], ["divided"]),
        helper.make_node(last, ["divided"], ["score"]),
    ]
    tensor, held = helper.make_tensor_value_info, [*held, numpy_helper.from_array(np.array([2]), "axes")]
    given = tensor("image", held[0].data_type, ["B", SIZE, "T"])
    ends = [tensor(name, held[0].data_type, ["B", size]) for name, size in (("score", CLASSES), ("feature", SIZE))]
    graph = helper.make_graph(nodes, "mean", [given], ends, held)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10).SerializeToString()


def answers(content):
    image = DRAW.normal(size=(4, SIZE, 7)).astype(np.float32)
    return session(content, "model.onnx").run(["score", "feature"], {"image": image})


@pytest.mark.parametrize("last", ["Softmax", "Sigmoid"])
def test_numpy_and_the_head_that_is_read_say_what_the_model_says(last):
    content = model(last=last)
    score, feature = answers(content)
    np.testing.assert_allclose(head(content).scores(feature, multilabel=last == "Sigmoid"), score, atol=1e-6)


@pytest.mark.parametrize("classes", [2, CLASSES, 200])
def test_a_model_with_another_head_is_a_model_that_answers_by_it(classes):
    new = Head(DRAW.normal(size=(classes, SIZE)).astype(np.float32), DRAW.normal(size=classes).astype(np.float32))
    content = with_head(model(), new)
    onnx.checker.check_model(onnx.load_from_string(content), full_check=True)
    assert problems(content) == []
    score, feature = answers(content)
    np.testing.assert_allclose(new.scores(feature), score, atol=1e-6)
    np.testing.assert_array_equal(head(content).weight, new.weight)
    assert onnx.load_from_string(content).graph.output[0].type.tensor_type.shape.dim[1].dim_value == classes


def test_all_else_stays_as_it_was():
    old = onnx.load_from_string(model())
    new = onnx.load_from_string(with_head(old.SerializeToString(), Head(np.ones((4, SIZE)), np.ones(4))))
    for graph in (old.graph, new.graph):
        del graph.initializer[:3], graph.output[0]
    assert old == new


@pytest.mark.parametrize("odd", [{"last": "Relu"}, {"of": "mean"}, {"kind": np.float64}])
def test_a_model_whose_head_is_elsewhere_is_a_sentence(odd):
    with pytest.raises(HeadError, match="export its run again"):
        head(model(**odd))


@pytest.mark.parametrize(
    ("shape", "why"), [([1 << 32, 1 << 32], "not in float32"), ([SIZE * CLASSES], r"\(15,\) and \(3,\), wanted")]
)
def test_a_head_of_a_shape_that_cannot_be_is_a_sentence(shape, why):
    changed = onnx.load_from_string(model())
    weight = next(each for each in changed.graph.initializer if each.name == "head.weight")
    weight.dims[:] = shape
    weight.raw_data = weight.raw_data if shape[0] == SIZE * CLASSES else b""
    with pytest.raises(HeadError, match=why):
        head(changed.SerializeToString())


def test_a_head_for_other_features_is_a_sentence():
    with pytest.raises(HeadError, match=rf"a head of \(3, 4\) and \(3,\) for features of {SIZE}"):
        with_head(model(), Head(np.ones((3, 4)), np.ones(3)))
