"""What an ONNX file holds, read without running it: operator domains, and tensors kept in other files. No dependency.

A protocol-buffer message is a run of (field number, wire type, value); the numbers below are those of onnx.proto3.
"""

from __future__ import annotations

from collections.abc import Iterator

_MODEL_GRAPH, _MODEL_OPSET, _MODEL_FUNCTIONS = 7, 8, 25
_FUNCTION_NODE = 7
_GRAPH_NODE, _GRAPH_INITIALIZER, _GRAPH_SPARSE = 1, 5, 15
_NODE_OPERATOR, _NODE_ATTRIBUTE, _NODE_DOMAIN = 4, 5, 7
_ATTRIBUTE_TENSORS, _ATTRIBUTE_GRAPHS, _ATTRIBUTE_SPARSE = (5, 10), (6, 11), (22, 23)
_TENSOR_NAME, _TENSOR_EXTERNAL, _TENSOR_LOCATION = 8, 13, 14
KNOWN_DOMAINS = ("", "ai.onnx", "com.microsoft")


def problems(model: bytes) -> list[str]:
    """Sentences on why this file should not be run; an empty list where nothing speaks against it."""
    try:
        return sorted(set(_of_model(memoryview(model))))
    except (IndexError, ValueError, RecursionError) as error:
        return [f"it is no ONNX file, or a broken one ({error})"]


def _of_model(model: memoryview) -> Iterator[str]:
    graphs = 0
    for number, value in _fields(model):
        if number == _MODEL_GRAPH:
            graphs += 1
            yield from _of_graph(_message(value))
        elif number == _MODEL_FUNCTIONS:
            for inner, node in _fields(_message(value)):
                if inner == _FUNCTION_NODE:
                    yield from _of_node(_message(node))
    if graphs != 1:
        raise ValueError(f"it has {graphs} graphs")


def _of_graph(graph: memoryview) -> Iterator[str]:
    for number, value in _fields(graph):
        if number == _GRAPH_NODE:
            yield from _of_node(_message(value))
        elif number == _GRAPH_INITIALIZER:
            yield from _of_tensor(_message(value))
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
            yield from _of_tensor(_message(value))


def _of_tensor(tensor: memoryview) -> Iterator[str]:
    fields = list(_fields(tensor))
    if any(number == _TENSOR_EXTERNAL or (number == _TENSOR_LOCATION and value) for number, value in fields):
        name = "".join(_text(value) for number, value in fields if number == _TENSOR_NAME)
        yield f"it keeps the tensor {name!r} in another file"


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
