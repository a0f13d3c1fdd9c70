"""What an ONNX file holds, read without running it: what it needs, what it hears, and numbers that are none. No onnx.

The field numbers below are those of onnx.proto3.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ossicle.deploy.wire import Value, fields, message, text

_MODEL_GRAPH, _MODEL_OPSET, _MODEL_FUNCTIONS = 7, 8, 25
_OPSET_DOMAIN, _OPSET_VERSION = 1, 2
_FUNCTION_NODE, _FUNCTION_ATTRIBUTE = 7, 11
_GRAPH_NODE, _GRAPH_INITIALIZER, _GRAPH_INPUT, _GRAPH_OUTPUT, _GRAPH_SPARSE = 1, 5, 11, 12, 15
_VALUE_NAME, _VALUE_TYPE, _TYPE_TENSOR, _TENSOR_TYPE_NUMBER = 1, 2, 1, 1
_NODE_OPERATOR, _NODE_ATTRIBUTE, _NODE_DOMAIN = 4, 5, 7
_ATTRIBUTE_NAME, _ATTRIBUTE_NUMBERS = 1, (2, 7)
_ATTRIBUTE_TENSORS, _ATTRIBUTE_GRAPHS, _ATTRIBUTE_SPARSE = (5, 10), (6, 11), (22, 23)
_TENSOR_TYPE, _TENSOR_NAME, _TENSOR_EXTERNAL, _TENSOR_LOCATION = 2, 8, 13, 14
_TENSOR_NUMBERS = {4: "<f4", 10: "<f8"}
_TENSOR_RAW, _RAW_NUMBERS = 9, {1: "<f4", 11: "<f8"}
_FLOAT, _WHOLE = 1, (2, 3, 4, 5, 6, 7, 9, 12, 13)
KNOWN_DOMAINS = ("", "ai.onnx", "com.microsoft")
OPSETS = range(13, 22)
"""Those that the oldest onnxruntime we stand on runs, from the one on that can quantize each channel by itself."""
_NO = memoryview(b"")
INPUTS, OUTPUTS = ({"wave"}, {"image"}), {"score", "feature"}


def problems(model: bytes) -> list[str]:
    """Sentences on why this file should not be run; an empty list where nothing speaks against it."""
    try:
        return sorted(set(_of_model(memoryview(model))))
    except (IndexError, ValueError, RecursionError) as error:
        return [f"it is no ONNX file, or a broken one ({error})"]


def _of_model(model: memoryview) -> Iterator[str]:
    graphs, opsets = [], []
    for number, value in fields(model):
        if number == _MODEL_GRAPH:
            graphs.append(message(value))
        elif number == _MODEL_OPSET:
            opset = dict(fields(message(value)))
            opsets += [opset.get(_OPSET_VERSION)] if not opset.get(_OPSET_DOMAIN) else []
        elif number == _MODEL_FUNCTIONS:
            for inner, node in fields(message(value)):
                if inner == _FUNCTION_NODE:
                    yield from _of_node(message(node))
                elif inner == _FUNCTION_ATTRIBUTE:
                    yield from _of_attribute(message(node))
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
        dict(_end(message(value)) for number, value in fields(graph) if number == wanted)
        for wanted in (_GRAPH_INPUT, _GRAPH_OUTPUT)
    )
    if set(inputs) not in INPUTS or set(outputs) != OUTPUTS or {*inputs.values(), *outputs.values()} != {_FLOAT}:
        yield (
            f"it takes {', '.join(inputs) or 'nothing'} and gives {', '.join(outputs) or 'nothing'}; wanted wave or "
            "image, and score and feature, as float32"
        )


def _end(value: memoryview) -> tuple[str, object]:
    """The name of an input or output, and the number of its type, None where it is no tensor."""
    said = dict(fields(value))
    tensor = dict(fields(message(said.get(_VALUE_TYPE, _NO)))).get(_TYPE_TENSOR, _NO)
    return text(said.get(_VALUE_NAME, _NO)), dict(fields(message(tensor))).get(_TENSOR_TYPE_NUMBER)


def _of_graph(graph: memoryview) -> Iterator[str]:
    for number, value in fields(graph):
        if number == _GRAPH_NODE:
            yield from _of_node(message(value))
        elif number == _GRAPH_INITIALIZER:
            yield from _of_tensor(message(value), weights=True)
        elif number == _GRAPH_SPARSE:
            yield from _of_sparse(message(value))


def _of_node(node: memoryview) -> Iterator[str]:
    held = list(fields(node))
    domain, operator = (text(dict(held).get(number, _NO)) for number in (_NODE_DOMAIN, _NODE_OPERATOR))
    if domain not in KNOWN_DOMAINS:
        yield f"it needs the custom operator {operator!r} of {domain!r}"
    for number, value in held:
        if number == _NODE_ATTRIBUTE:
            yield from _of_attribute(message(value))


def _of_attribute(attribute: memoryview) -> Iterator[str]:
    held = list(fields(attribute))
    for number, value in held:
        if number in _ATTRIBUTE_GRAPHS:
            yield from _of_graph(message(value))
        elif number in _ATTRIBUTE_TENSORS:
            yield from _of_tensor(message(value))
        elif number in _ATTRIBUTE_SPARSE:
            yield from _of_sparse(message(value))
    numbers = b"".join(message(value) for number, value in held if number in _ATTRIBUTE_NUMBERS)
    yield from _not_finite(np.frombuffer(numbers, "<f4"), f"attribute {text(dict(held).get(_ATTRIBUTE_NAME, _NO))!r}")


def _of_sparse(sparse: memoryview) -> Iterator[str]:
    for number, value in fields(sparse):
        if number in (1, 2):  # values, indices
            yield from _of_tensor(message(value), weights=True)


def _of_tensor(tensor: memoryview, *, weights: bool = False) -> Iterator[str]:
    held = list(fields(tensor))
    said = dict(held)
    name, kind = text(said.get(_TENSOR_NAME, _NO)), said.get(_TENSOR_TYPE, 0)
    if said.get(_TENSOR_LOCATION) or _TENSOR_EXTERNAL in said:
        yield f"it keeps the tensor {name!r} in another file"
    if kind not in _RAW_NUMBERS and kind not in _WHOLE:
        yield f"it holds the tensor {name!r} of ONNX's data type {kind}; wanted whole numbers, float32 or float64"
    yield from _not_finite(_numbers(held, kind), f"tensor {name!r}", weights=weights)


def _numbers(held: list[tuple[int, Value]], kind: Value) -> np.ndarray:
    """(n,) a tensor's floating-point numbers, as float64; none of what holds others."""
    found = [np.zeros(0)]
    for number, value in held:
        if number in _TENSOR_NUMBERS:
            found.append(np.frombuffer(message(value), _TENSOR_NUMBERS[number]))
        elif number == _TENSOR_RAW and kind in _RAW_NUMBERS:
            found.append(np.frombuffer(message(value), _RAW_NUMBERS[kind]))
    return np.concatenate(found)


def _not_finite(numbers: np.ndarray, where: str, *, weights: bool = False) -> Iterator[str]:
    odd = ~np.isfinite(numbers)
    if np.isnan(numbers).any() or (odd.any() and (weights or len(numbers) > 1)):  # one infinity may be a mask's fill
        yield f"{odd.sum()} of {len(numbers)} numbers of the {where} are not finite"
