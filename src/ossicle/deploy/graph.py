"""What an ONNX file holds, read without running it: what it needs, what it hears, and numbers that are none. No onnx.

A protocol-buffer message is a run of (field number, wire type, value); the numbers below are those of onnx.proto3.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

_MODEL_GRAPH, _MODEL_OPSET, _MODEL_FUNCTIONS = 7, 8, 25
_OPSET_DOMAIN, _OPSET_VERSION = 1, 2
_FUNCTION_NODE = 7
_GRAPH_NODE, _GRAPH_INITIALIZER, _GRAPH_INPUT, _GRAPH_OUTPUT, _GRAPH_SPARSE = 1, 5, 11, 12, 15
_VALUE_NAME, _VALUE_TYPE, _TYPE_TENSOR, _TENSOR_TYPE_NUMBER = 1, 2, 1, 1
_NODE_OPERATOR, _NODE_ATTRIBUTE, _NODE_DOMAIN = 4, 5, 7
_ATTRIBUTE_TENSORS, _ATTRIBUTE_GRAPHS, _ATTRIBUTE_SPARSE = (5, 10), (6, 11), (22, 23)
_TENSOR_TYPE, _TENSOR_NAME, _TENSOR_EXTERNAL, _TENSOR_LOCATION = 2, 8, 13, 14
_TENSOR_NUMBERS = {4: "<f4", 10: "<f8"}
_TENSOR_RAW, _RAW_NUMBERS = 9, {1: "<f4", 10: "<f2", 11: "<f8"}
_FLOAT = 1
KNOWN_DOMAINS = ("", "ai.onnx", "com.microsoft")
OPSETS = range(13, 22)
"""Those that the oldest onnxruntime we stand on runs, from the one on that can quantize each channel by itself."""
INPUTS, OUTPUTS = ({"wave"}, {"image"}), {"score", "feature"}


def problems(model: bytes) -> list[str]:
    """Sentences on why this file should not be run; an empty list where nothing speaks against it."""
    try:
        return sorted(set(_of_model(memoryview(model))))
    except (IndexError, ValueError, RecursionError) as error:
        return [f"it is no ONNX file, or a broken one ({error})"]


def _of_model(model: memoryview) -> Iterator[str]:
    graphs, opsets = [], []
    for number, value in _fields(model):
        if number == _MODEL_GRAPH:
            graphs.append(_message(value))
        elif number == _MODEL_OPSET:
            opset = dict(_fields(_message(value)))
            opsets += [opset.get(_OPSET_VERSION)] if not opset.get(_OPSET_DOMAIN) else []
        elif number == _MODEL_FUNCTIONS:
            for inner, node in _fields(_message(value)):
                if inner == _FUNCTION_NODE:
                    yield from _of_node(_message(node))
    if len(graphs) != 1:
        raise ValueError(f"it has {len(graphs)} graphs")
    if len(opsets) != 1 or opsets[0] not in OPSETS:
        named = ", ".join(map(str, opsets)) or "none"
        yield f"it is written in opset {named}, and opsets {OPSETS[0]} to {OPSETS[-1]} are known here"
    yield from _of_ends(graphs[0])
    yield from _of_graph(graphs[0])


def _of_ends(graph: memoryview) -> Iterator[str]:
    """What goes in must be waves or images, and what comes out scores and features, all of float32."""
    inputs, outputs = (
        dict(_end(_message(value)) for number, value in _fields(graph) if number == wanted)
        for wanted in (_GRAPH_INPUT, _GRAPH_OUTPUT)
    )
    if set(inputs) not in INPUTS or set(outputs) != OUTPUTS or {*inputs.values(), *outputs.values()} != {_FLOAT}:
        yield (
            f"it takes {', '.join(inputs) or 'nothing'} and gives {', '.join(outputs) or 'nothing'}; wanted wave or "
            "image, and score and feature, as float32"
        )


def _end(value: memoryview) -> tuple[str, object]:
    """The name of an input or output, and the number of its type, None where it is no tensor."""
    said = dict(_fields(value))
    tensor = dict(_fields(_message(said.get(_VALUE_TYPE, memoryview(b""))))).get(_TYPE_TENSOR, memoryview(b""))
    return _text(said.get(_VALUE_NAME, memoryview(b""))), dict(_fields(_message(tensor))).get(_TENSOR_TYPE_NUMBER)


def _of_graph(graph: memoryview) -> Iterator[str]:
    for number, value in _fields(graph):
        if number == _GRAPH_NODE:
            yield from _of_node(_message(value))
        elif number == _GRAPH_INITIALIZER:
            yield from _of_tensor(_message(value), weights=True)
        elif number == _GRAPH_SPARSE:
            yield from _of_sparse(_message(value))


def _of_node(node: memoryview) -> Iterator[str]:
    fields = list(_fields(node))
    domain = "".join(_text(value) for number, value in fields if number == _NODE_DOMAIN)
    if domain not in KNOWN_DOMAINS:
        operator = "".join(_text(value) for number, value in fields if number == _NODE_OPERATOR)
        yield f"it needs the custom operator {operator!r} of {domain!r}"
    for number, value in fields:
        if number == _NODE_ATTRIBUTE:
            yield from _of_attribute(_message(value))


def _of_attribute(attribute: memoryview) -> Iterator[str]:
    for number, value in _fields(attribute):
        if number in _ATTRIBUTE_GRAPHS:
            yield from _of_graph(_message(value))
        elif number in _ATTRIBUTE_TENSORS:
            yield from _of_tensor(_message(value))
        elif number in _ATTRIBUTE_SPARSE:
            yield from _of_sparse(_message(value))


def _of_sparse(sparse: memoryview) -> Iterator[str]:
    for number, value in _fields(sparse):
        if number in (1, 2):  # values, indices
            yield from _of_tensor(_message(value), weights=True)


def _of_tensor(tensor: memoryview, *, weights: bool = False) -> Iterator[str]:
    fields = list(_fields(tensor))
    name = "".join(_text(value) for number, value in fields if number == _TENSOR_NAME)
    if any(number == _TENSOR_EXTERNAL or (number == _TENSOR_LOCATION and value) for number, value in fields):
        yield f"it keeps the tensor {name!r} in another file"
    numbers = _numbers(fields)
    odd = ~np.isfinite(numbers)
    if np.isnan(numbers).any() or (odd.any() and (weights or len(numbers) > 1)):  # one infinity may be a mask's fill
        yield f"{odd.sum()} of {len(numbers)} numbers of the tensor {name!r} are not finite"


def _numbers(fields: list[tuple[int, int | memoryview]]) -> np.ndarray:
    """(n,) a tensor's floating-point numbers, as float64; none of what holds others."""
    kind = next((value for number, value in fields if number == _TENSOR_TYPE), 0)
    found = [np.zeros(0)]
    for number, value in fields:
        if number in _TENSOR_NUMBERS:
            found.append(np.frombuffer(_message(value), _TENSOR_NUMBERS[number]))
        elif number == _TENSOR_RAW and kind in _RAW_NUMBERS:
            found.append(np.frombuffer(_message(value), _RAW_NUMBERS[kind]))
    return np.concatenate(found)


def _fields(message: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Field number and value: a whole number, or the bytes of a string or of a message within."""
    at = 0
    while at < len(message):
        tag, at = _varint(message, at)
        kind = tag & 7
        if kind == 0:
            value, at = _varint(message, at)
            yield tag >> 3, value
            continue
        if kind == 2:
            size, at = _varint(message, at)
        elif kind in (1, 5):
            size = 8 if kind == 1 else 4
        else:
            raise ValueError(f"wire type {kind} at byte {at}")
        if at + size > len(message):
            raise ValueError("it ends early")
        yield tag >> 3, message[at : at + size]
        at += size


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        byte = message[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
    raise ValueError("a number longer than 64 bits")


def _message(value: int | memoryview) -> memoryview:
    if isinstance(value, int):
        raise ValueError("a number where a message should be")
    return value


def _text(value: int | memoryview) -> str:
    return bytes(_message(value)).decode("utf-8", "replace")
