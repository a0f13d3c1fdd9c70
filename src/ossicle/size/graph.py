"""A bundle's ONNX graph -> Size: it is run once with the shapes that matter as outputs. No torch."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping, Set
from pathlib import Path
from typing import Any

import numpy as np

from ossicle.size import GRAPH, Row, Size, noise, time_calls

Shape = tuple[int, ...]
PRODUCTS: dict[str, Callable[[Shape, Shape, Shape], int]] = {
    "Conv": lambda given, weight, made: math.prod(made) * math.prod(weight[1:]),
    "ConvTranspose": lambda given, weight, made: math.prod(given) * math.prod(weight[1:]),
    "MatMul": lambda given, weight, made: math.prod(made) * given[-1],
    "Gemm": lambda given, weight, made: math.prod(given) * made[-1],
    "GRU": lambda given, weight, made: math.prod(given[:2]) * math.prod(weight[:2]) * (weight[2] + made[-1]),
}
"""Multiply-adds of the operators that sum products, from the shapes of their two inputs and their output."""


def of_bundle(folder: Path, repeats: int) -> Size:
    """The size of a bundle on one window; see `ossicle.size.size`."""
    import onnx

    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    given = _given(config)
    content = (folder / GRAPH).read_bytes()
    session = _session(content)
    latency = time_calls(lambda: session.run(None, given), repeats, config["window"] / config["sample_rate"])
    rows, weights = zip(*_rows(onnx.load_from_string(content), given), strict=True)
    return Size(rows, sum(row.parameters for row in rows), sum(weights), latency)


def _given(config: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """What the graph is called with: a window of noise or, where the bundle has no front end, an image of it."""
    if shape := config.get("image"):
        return {"image": noise(1, math.prod(shape)).reshape(1, *shape)}
    return {"wave": noise(config["channels"], config["window"])}


def _session(content: bytes, *, optimize: bool = True) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    if not optimize:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


def _rows(model: Any, given: Mapping[str, np.ndarray]) -> Iterator[tuple[Row, int]]:
    """The nodes that hold numbers of their own (indices and shapes do not count) or multiply matrices, and how many
    numbers a device keeps of each.
    """
    held = {each.name: tuple(each.dims) for each in model.graph.initializer if each.data_type != each.INT64}
    shapes, ears = _shapes(model, given) | held, _frontend(model.graph)
    made_by, named = _makers(model.graph), frozenset(held)
    for node in model.graph.node:
        own = [held.pop(name) for name in dict.fromkeys(node.input) if name in held]
        parameters, made = sum(map(math.prod, own)), node.output[0]
        count = PRODUCTS.get(node.op_type)
        work = count(*(shapes[name] for name in (*node.input[:2], made))) if count else 0
        if parameters or work:
            row = Row(node.name or made, node.op_type, shapes.get(made, ()), parameters, work, frontend=made in ears)
            yield row, 0 if row.frontend else _kept(node, own, made_by.get(node.input[0]), named)


def _kept(node: Any, own: list[Shape], before: Any, named: Set[str]) -> int:
    """How many of a node's numbers a device keeps: batch normalization goes into what multiplies right `before` it, and
    gives it a bias if it has none among what is `named`.
    """
    if node.op_type != "BatchNormalization":
        return sum(math.prod(shape) for shape in own if shape)
    folds = before is not None and before.op_type in PRODUCTS
    return math.prod(own[0]) * (named.isdisjoint(before.input[2:]) if folds else 2)


def _frontend(graph: Any) -> set[str]:
    """The names of all that is worked out on the way to the image: where the images' mean is taken away, it ends."""
    made_by = _makers(graph)
    ends = [node for node in graph.node if any(name.endswith("backbone.mean") for name in node.input)]
    found: set[str] = set()
    asked = [name for node in ends for name in node.input]
    while asked:
        name = asked.pop()
        if name in made_by and name not in found:
            found.add(name)
            asked.extend(made_by[name].input)
    return found


def _makers(graph: Any) -> dict[str, Any]:
    return {name: node for node in graph.node for name in node.output}


def _shapes(model: Any, given: Mapping[str, np.ndarray]) -> dict[str, Shape]:
    """The shape of all that goes into a product, or comes out of a node with numbers, of a graph `given` this."""
    import onnx

    seen = onnx.ModelProto()
    seen.CopyFrom(model)
    held = {each.name for each in seen.graph.initializer}
    asked: set[str] = set()
    for node in seen.graph.node:
        asked.update(node.input[:2] if node.op_type in PRODUCTS else ())
        asked.update(node.output[:1] if node.op_type in PRODUCTS or held.intersection(node.input) else ())
    asked -= held | {each.name for each in (*seen.graph.output, *seen.graph.input)}
    seen.graph.output.extend(onnx.ValueInfoProto(name=name) for name in sorted(asked))
    session = _session(seen.SerializeToString(), optimize=False)
    found = session.run(None, dict(given))
    names = [each.name for each in session.get_outputs()]
    return {name: each.shape for name, each in given.items()} | {
        name: np.shape(value) for name, value in zip(names, found, strict=True)
    }
