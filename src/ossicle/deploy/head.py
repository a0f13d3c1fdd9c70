"""The head inside an ONNX file: weight (K, D) and bias (K,), read and replaced without the onnx package.

score = softmax (several labels: sigmoid) of feature @ weight.T + bias; the file divides that by a temperature, which is
folded into both where they are read, and is 1 where they were written.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ossicle.deploy.wire import Value, edited, fields, message, put, text

_MODEL_GRAPH = 7
_GRAPH_NODE, _GRAPH_INITIALIZER, _GRAPH_OUTPUT = 1, 5, 12
_NODE_INPUT, _NODE_OUTPUT, _NODE_OPERATOR = 1, 2, 4
_TENSOR_DIMS, _TENSOR_TYPE, _TENSOR_FLOATS, _TENSOR_NAME, _TENSOR_RAW = 1, 2, 4, 8, 9
_VALUE_NAME, _VALUE_TYPE, _TYPE_TENSOR, _TENSOR_SHAPE, _SHAPE_DIM, _DIM_SIZE = 1, 2, 1, 2, 1, 1
_FLOAT = 1


class HeadError(ValueError):
    """The head of this model cannot be found, or not be replaced; says what to do."""


@dataclass(frozen=True, eq=False)
class Head:
    """(..., D) features -> (..., K) logits of probabilities: `weight` (K, D) and `bias` (K,), float32."""

    weight: np.ndarray
    bias: np.ndarray

    def logits(self, feature: np.ndarray) -> np.ndarray:
        """(..., D) -> (..., K) float32."""
        return np.asarray(feature, np.float32) @ self.weight.T + self.bias

    def scores(self, feature: np.ndarray, *, multilabel: bool = False) -> np.ndarray:
        """(..., D) -> (..., K) probabilities, as the model gives them."""
        logits = self.logits(feature)
        if multilabel:
            return 1 / (1 + np.exp(-logits.clip(-80, 80)))
        raised = np.exp(logits - logits.max(-1, keepdims=True))
        return raised / raised.sum(-1, keepdims=True)


class _Node(NamedTuple):
    operator: str
    inputs: tuple[str, ...]


class _Names(NamedTuple):
    weight: str
    bias: str
    temperature: str | None


def head(model: bytes) -> Head:
    """The head of an exported model, its temperature folded in. HeadError where there is none to be found in float."""
    graph = _graph(model)
    names = _names(graph)
    tensors = _tensors(graph, names)
    weight, bias = tensors[names.weight], tensors[names.bias]
    if (
        weight.ndim != 2
        or bias.shape != weight.shape[:1]
        or (names.temperature and tensors[names.temperature].size != 1)
    ):
        raise HeadError(f"this model's head is {weight.shape} and {bias.shape}, wanted (K, D) and (K,): export again")
    temperature = 1.0 if names.temperature is None else tensors[names.temperature].reshape(())
    return Head(weight / temperature, bias / temperature)


def with_head(model: bytes, new: Head) -> bytes:
    """The model with another head, of as many classes as that has; all else stays byte for byte as it is.

    HeadError where the model's own is not found, or where the new one hears features of another size.
    """
    graph = _graph(model)
    names = _names(graph)
    (classes, size), (_, wanted) = new.weight.shape, head(model).weight.shape
    if size != wanted or new.bias.shape != (classes,):
        raise HeadError(
            f"a head of {new.weight.shape} and {new.bias.shape} for features of {wanted}: wanted (K, {wanted}) and (K,)"
        )
    held = {names.weight: new.weight, names.bias: new.bias}
    held |= {} if names.temperature is None else {names.temperature: np.ones((), np.float32)}

    def change(number: int, value: Value) -> bytes | None:
        if number == _GRAPH_INITIALIZER and (name := _named(value, _TENSOR_NAME)) in held:
            return _tensor(name, held[name])
        if number == _GRAPH_OUTPUT and _named(value, _VALUE_NAME) == "score":
            return _of_size(message(value), classes)
        return None

    made = edited(graph, change)
    return edited(memoryview(model), lambda number, _: made if number == _MODEL_GRAPH else None)


def _graph(model: bytes) -> memoryview:
    return next(message(value) for number, value in fields(memoryview(model)) if number == _MODEL_GRAPH)


def _names(graph: memoryview) -> _Names:
    """What the head's tensors are called, found from the score upwards."""
    makers = _makers(graph)
    temperature = None
    last = makers.get("score", _Node("", ()))
    layer = makers.get(last.inputs[0]) if last.operator in ("Softmax", "Sigmoid") else None
    if layer and layer.operator == "Div":
        temperature, layer = layer.inputs[1], makers.get(layer.inputs[0])
    if not layer or layer.operator != "Gemm" or len(layer.inputs) != 3 or layer.inputs[0] != "feature":
        raise HeadError(
            "this model's head is not where it can be refitted: it was exported by an older ossicle, or by something "
            "else; export its run again"
        )
    return _Names(layer.inputs[1], layer.inputs[2], temperature)


def _makers(graph: memoryview) -> dict[str, _Node]:
    """By what each node makes."""
    makers: dict[str, _Node] = {}
    for number, value in fields(graph):
        if number == _GRAPH_NODE:
            held = [(inner, text(each)) for inner, each in fields(message(value)) if inner <= _NODE_OPERATOR]
            operator = "".join(each for inner, each in held if inner == _NODE_OPERATOR)
            node = _Node(operator, tuple(each for inner, each in held if inner == _NODE_INPUT))
            makers |= {each: node for inner, each in held if inner == _NODE_OUTPUT}
    return makers


def _tensors(graph: memoryview, names: _Names) -> Mapping[str, np.ndarray]:
    found = {
        name: _array(message(value))
        for number, value in fields(graph)
        if number == _GRAPH_INITIALIZER and (name := _named(value, _TENSOR_NAME)) in names
    }
    if missing := [name for name in names if name is not None and name not in found]:
        raise HeadError(
            f"{missing[0]} of this model is of 8 bit, or worked out on the way, and cannot be refitted: export its run "
            "again"
        )
    return found


def _array(tensor: memoryview) -> np.ndarray:
    """A float32 tensor. HeadError for others."""
    held = list(fields(tensor))
    raw = b"".join(bytes(message(value)) for number, value in held if number in (_TENSOR_RAW, _TENSOR_FLOATS))
    dims = [value for number, value in held if number == _TENSOR_DIMS and isinstance(value, int)]
    if dict(held).get(_TENSOR_TYPE) != _FLOAT or len(raw) != 4 * math.prod(dims):
        raise HeadError(f"the head's tensor {_named(tensor, _TENSOR_NAME)!r} is not in float32: export its run again")
    return np.frombuffer(raw, "<f4").reshape(dims)


def _tensor(name: str, values: np.ndarray) -> bytes:
    """A TensorProto of float32."""
    dims = b"".join(put(_TENSOR_DIMS, size) for size in values.shape)
    raw = put(_TENSOR_RAW, np.ascontiguousarray(values, "<f4").tobytes())
    return dims + put(_TENSOR_TYPE, _FLOAT) + put(_TENSOR_NAME, name.encode()) + raw


def _of_size(value: memoryview, classes: int) -> bytes:
    """A graph's output (B, K) with another K: the size that is written in its type."""

    def sized(number: int, value: Value) -> bytes | None:
        fixed = number == _SHAPE_DIM and any(inner == _DIM_SIZE for inner, _ in fields(message(value)))
        return put(_DIM_SIZE, classes) if fixed else None

    def within(path: tuple[int, ...], value: Value) -> bytes:
        if not path:
            return edited(message(value), sized)
        return edited(message(value), lambda number, inner: within(path[1:], inner) if number == path[0] else None)

    return within((_VALUE_TYPE, _TYPE_TENSOR, _TENSOR_SHAPE), value)


def _named(value: Value, field: int) -> str:
    return "".join(text(each) for number, each in fields(message(value)) if number == field)
