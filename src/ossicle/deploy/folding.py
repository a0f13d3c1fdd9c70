"""An ONNX graph -> the same function in fewer nodes, or in an order of them that 8 bit likes better."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence, Set
from typing import Any

import numpy as np

LAYERS = ("Conv", "Gemm", "MatMul")
THIN = 4
"""Convolutions of fewer maps stay in float: 8 bit multiplies four numbers at a time, and took six times as long."""


def giving(proto: Any, names: Sequence[str]) -> Any:
    """A session of the graph as it stands that gives these values too."""
    import onnx
    import onnxruntime

    whole = onnx.ModelProto()
    whole.CopyFrom(proto)
    there = {each.name for each in whole.graph.output}
    whole.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names if name not in there)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    return onnxruntime.InferenceSession(whole.SerializeToString(), options, providers=["CPUExecutionProvider"])


def is_thin(layer: Any, weight: Sequence[int]) -> bool:
    """Whether a convolution has few input maps; one of each map by itself has a way of its own in 8 bit."""
    groups = next((each.i for each in layer.attribute if each.name == "group"), 1)
    return layer.op_type == "Conv" and groups == 1 and len(weight) > 1 and weight[1] < THIN


def settle(proto: Any, ears: Set[str], given: Mapping[str, np.ndarray]) -> None:
    """Store what layers behind the front end (`ears`) multiply with, wherever the graph works it out from constants."""
    from onnx import numpy_helper

    open_ = {each.name for each in proto.graph.input}
    for node in proto.graph.node:  # in the order of computation
        told = node.input[:1] if node.op_type == "CastLike" else node.input  # of the other only the type counts
        open_.update(node.output if open_.intersection(told) else ())
    held = {each.name for each in proto.graph.initializer}
    settled = (*LAYERS, "BatchNormalization")
    layers = [node for node in proto.graph.node if node.op_type in settled and node.output[0] not in ears]
    fixed = sorted({name for node in layers for name in node.input} - open_ - held - {""})
    found = giving(proto, fixed).run(fixed, dict(given)) if fixed else []
    for name, value in zip(fixed, found, strict=True):
        proto.graph.initializer.append(numpy_helper.from_array(value, name))
    for node in [node for node in proto.graph.node if set(node.output) & set(fixed)]:
        proto.graph.node.remove(node)
    _prune(proto.graph)


def _prune(graph: Any) -> None:
    """Leave out what nothing needs."""
    needed = {each.name for each in graph.output}
    for node in reversed(list(graph.node)):
        if needed.intersection(node.output):
            needed.update(node.input)
        else:
            graph.node.remove(node)
    kept = [each for each in graph.initializer if each.name in needed]
    del graph.initializer[:]
    graph.initializer.extend(kept)


def fold(graph: Any) -> None:
    """Fold each batch normalization that alone follows a convolution into that one's weights and bias, in place."""
    from onnx import numpy_helper

    held = {each.name: each for each in graph.initializer}
    makers = {name: node for node in graph.node for name in node.output}
    readers = Counter(name for node in graph.node for name in node.input)
    for norm in [node for node in graph.node if node.op_type == "BatchNormalization"]:
        layer = makers.get(norm.input[0])
        if layer is None or layer.op_type != "Conv":
            continue
        own = (*norm.input[1:], *layer.input[1:])
        if readers[norm.input[0]] != 1 or any(readers[name] != 1 or name not in held for name in own):
            continue  # another layer hears what is between them, or shares their numbers
        scale, shift, mean, variance = (numpy_helper.to_array(held[name]) for name in norm.input[1:5])
        epsilon = next((each.f for each in norm.attribute if each.name == "epsilon"), 1e-5)
        gain = scale / np.sqrt(variance.astype(np.float64) + epsilon)
        weight, *bias = (numpy_helper.to_array(held[name]) for name in layer.input[1:])
        name = layer.input[2] if bias else norm.input[2]
        _put(held, layer.input[1], weight * gain.reshape(-1, *[1] * (weight.ndim - 1)))
        _put(held, name, ((bias[0] if bias else 0.0) - mean) * gain + shift)
        layer.input[2:] = [name]
        layer.output[0] = norm.output[0]
        graph.node.remove(norm)
    _prune(graph)


def advance(graph: Any) -> None:
    """Let each ReLU that alone follows a maximum over a convolution come before that, in place: the same numbers.

    A convolution of 8 bit takes a ReLU along that follows it, and its range is then that of the ReLU, half as wide; a
    maximum between them would be worked out in float. Behind a convolution in float it is the other way round: the ReLU
    keeps onnxruntime from working out the maximum in 8 bit, in an order of memory that makes it slow.
    """
    makers: dict[str, Any] = {name: node for node in graph.node for name in node.output}
    shapes = {each.name: each.dims for each in graph.initializer}
    readers = Counter([*(name for node in graph.node for name in node.input), *(each.name for each in graph.output)])
    for relu in [node for node in graph.node if node.op_type == "Relu"]:
        pool = makers.get(relu.input[0])
        if pool is None or pool.op_type != "MaxPool" or len(pool.output) != 1:
            continue
        layer = makers.get(pool.input[0])
        if layer is None or layer.op_type != "Conv" or is_thin(layer, shapes.get(layer.input[1], ())):
            continue
        if readers[pool.input[0]] == readers[relu.input[0]] == 1:
            pool.op_type, relu.op_type = relu.op_type, pool.op_type
            relu.attribute.extend(pool.attribute)
            pool.ClearField("attribute")


def _put(held: Mapping[str, Any], name: str, value: np.ndarray) -> None:
    from onnx import numpy_helper

    held[name].CopyFrom(numpy_helper.from_array(value.astype(np.float32), name))
