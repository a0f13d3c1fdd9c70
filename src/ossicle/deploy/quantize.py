"""An exported model -> the same with weights and activations of 8 bit: static, per channel, both ends in float.

The front end's numbers span too much for 256 steps; the head is small, and can be refitted on a device.

Calibrated on windows of the user's own sound (Jacob et al. 2018, "Quantization and training of neural networks for
efficient integer-arithmetic-only inference"), batch normalization folded into the convolution before it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ossicle.deploy.bundle import Recognizer
from ossicle.deploy.folding import LAYERS, advance, fold, giving, is_thin, settle

QUANTIZED = (*LAYERS, "Add", "Relu", "MaxPool", "AveragePool", "GlobalAveragePool", "Concat")
MARGIN = 0.01
"""What 8 bit may cost of a score from 0 to 1."""
RANKED = 32
"""Windows on which single layers are compared."""


@dataclass(frozen=True)
class Standard:
    """What a model of 8 bit is made and measured by.

    `windows` (n, C, T) are sound like that which it will hear; `judge` gives a recognizer's score, higher is better,
    and `told` says of what, in words for config.json.
    """

    windows: np.ndarray
    judge: Callable[[Recognizer], float]
    told: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Quantized:
    """A model of 8 bit, what both it and the float model score, and the layers that were left in float with how far
    each alone had moved the probabilities (half the sum of all differences, the mean over windows).
    """

    model: bytes
    score: float
    float_score: float
    left: Mapping[str, float] = field(default_factory=dict)
    on: Mapping[str, Any] = field(default_factory=dict)

    @property
    def told(self) -> dict[str, Any]:
        """Plain values for config.json."""
        return {**self.on, "score": self.score, "float_score": self.float_score, "left": dict(self.left)}


def quantize(
    model: bytes, standard: Standard, recognizer: Callable[[bytes], Recognizer], *, margin: float = MARGIN
) -> Quantized | None:
    """The model in 8 bit, at most `margin` under the float model's score, or None where not one layer bears it.

    `recognizer` makes one of a model. While the whole costs more than the margin, the layer that alone moves the
    probabilities most goes back to float.
    """
    whole = recognizer(model)
    wanted = standard.judge(whole)
    draft = _Draft(model, [whole.given(part) for part in _parts(standard.windows)])
    left: dict[str, float] = {}
    costs: dict[str, float] = {}
    while layers := [layer for layer in draft.layers if layer not in left]:
        made = draft.quantized(layers)
        score = standard.judge(recognizer(made))
        if score >= wanted - margin - 1e-9:  # exactly the margin is borne, whatever the last bit says
            return Quantized(made, score, wanted, left, standard.told)
        costs = costs or _costs(draft, whole, recognizer, standard.windows[:RANKED])
        worst = max(layers, key=costs.__getitem__)
        left[worst] = costs[worst]
    return None


def _parts(windows: np.ndarray) -> Iterator[np.ndarray]:
    """(n, C, T) -> (b, C, T), a few at a time."""
    for start in range(0, len(windows), 16):
        yield windows[start : start + 16]


def _costs(
    draft: _Draft, whole: Recognizer, recognizer: Callable[[bytes], Recognizer], windows: np.ndarray
) -> dict[str, float]:
    """How far each layer alone, in 8 bit, moves the probabilities."""
    wanted = whole.scores(windows)[0]
    costs = {}
    for layer in draft.layers:
        score = recognizer(draft.quantized([layer])).scores(windows)[0]
        costs[layer] = float(np.abs(score - wanted).sum(1).mean() / 2)
    return costs


class _Draft:
    """A model with batch normalization folded, and the range of every value that could be kept in 8 bit.

    `layers` are those with weights of their own that 8 bit may be worth: what they are told as, and their node's name.
    """

    def __init__(self, model: bytes, given: Sequence[Mapping[str, np.ndarray]]) -> None:
        import onnx

        self.proto = onnx.load_from_string(model)
        ears = _frontend(self.proto.graph)
        settle(self.proto, ears, given[0])
        fold(self.proto.graph)
        advance(self.proto.graph)
        held = {each.name: each.dims for each in self.proto.graph.initializer}
        ends = ears | _behind(self.proto.graph, "feature")
        self.nodes = [
            node for node in self.proto.graph.node if node.op_type in QUANTIZED and node.output[0] not in ends
        ]
        self.layers: dict[str, str] = {}
        for node in self.nodes:
            own = [name for name in node.input if name in held]
            if node.op_type in LAYERS and own and not is_thin(node, held[own[0]]):
                self.layers[own[0].removeprefix("classifier.").removesuffix(".weight")] = node.name
        self.ranges = self._ranges(given)

    def _ranges(self, given: Sequence[Mapping[str, np.ndarray]]) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """The least and the greatest number of each float value in and around the nodes, over all that is given."""
        inside = {name for node in self.nodes for name in (*node.input, *node.output)}
        known = {each.name for each in (*self.proto.graph.initializer, *self.proto.graph.input)}
        asked = sorted(inside - known - {""})
        session = giving(self.proto, asked)
        found: dict[str, tuple[np.ndarray, np.ndarray]] = {}
        for each in given:
            for name, value in zip(asked, session.run(asked, dict(each)), strict=True):
                if value.dtype == np.float32:
                    low, high = found.get(name, (value.min(), value.max()))
                    found[name] = np.minimum(low, value.min()), np.maximum(high, value.max())
        return found

    def quantized(self, layers: Iterable[str]) -> bytes:
        """The model with these `layers`, and all that can be between them, in 8 bit.

        Weights take 7 of the 8: x86 processors without VNNI add two products of 8 bit in 16, which overflow otherwise,
        so that a bundle would answer otherwise there.
        """
        import onnx
        from onnxruntime.quantization import QuantType
        from onnxruntime.quantization.calibrate import CalibrationMethod, TensorsData
        from onnxruntime.quantization.qdq_quantizer import QDQQuantizer

        kept = self._with_neighbors({self.layers[layer] for layer in layers})
        work = QDQQuantizer(
            onnx.shape_inference.infer_shapes(self.proto),
            per_channel=True,
            reduce_range=True,
            weight_qType=QuantType.QInt8,
            activation_qType=QuantType.QUInt8,
            tensors_range=TensorsData(CalibrationMethod.MinMax, dict(self.ranges)),
            nodes_to_quantize=kept,
            nodes_to_exclude=[],
            op_types_to_quantize=list(QUANTIZED),
            extra_options={"OpTypesToExcludeOutputQuantization": ["Gemm", "MatMul"]},
        )
        work.quantize_model()
        made = work.model.model
        made.graph.ClearField("value_info")
        return bytes(made.SerializeToString())

    def _with_neighbors(self, named: Set[str]) -> list[str]:
        """These layers, and the nodes behind and between them that touch no layer that stays in float."""
        apart = [node for node in self.nodes if node.op_type in LAYERS and node.name not in named]
        touched = {name for node in apart for name in (*node.input, *node.output)}
        made: set[str] = set()
        kept = []
        for node in self.nodes:  # in the order of computation
            free = made.intersection(node.input) and touched.isdisjoint((*node.input, *node.output))
            if node.name in named or (free and node.op_type not in LAYERS):
                kept.append(node.name)
                made.update(node.output)
        return kept


def _frontend(graph: Any) -> set[str]:
    """The names of all that is worked out up to the normalized image: the front end ends where the images' deviation is
    divided by.
    """
    makers = {name: node for node in graph.node for name in node.output}
    asked = [node.output[0] for node in graph.node if any(name.endswith("backbone.sd") for name in node.input)]
    found: set[str] = set()
    while asked:
        name = asked.pop()
        if name in makers and name not in found:
            found.add(name)
            asked.extend(makers[name].input)
    return found


def _behind(graph: Any, name: str) -> set[str]:
    """The names of all that is worked out from a value."""
    found = {name}
    for node in graph.node:  # in the order of computation
        found.update(node.output if found.intersection(node.input) else ())
    return found - {name}
