"""Classifier -> one ONNX file: wave (B, C, T) -> score (B, K) probabilities and feature (B, D); any B and T.

Without the front end it is image (B, C, M, F, N) -> score and feature, for one M, F and N.
"""

from __future__ import annotations

import copy
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ossicle.durable import write
from ossicle.model import Classifier

OPSET = 18


class Network(nn.Module):
    """(B, C, M, F, N) images, not normalized -> score (B, K), feature (B, D): what follows the front end.

    In float32, with the temperature folded into the probabilities.
    """

    def __init__(self, classifier: Classifier) -> None:
        super().__init__()
        self.classifier = as_float32(classifier)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        feature = self.classifier.backbone.encode(image)
        return self.classifier.probability(self.classifier.head(feature)), feature


class Deployed(Network):
    """(B, C, T) -> score (B, K), feature (B, D): a classifier as it is shipped, its front end in exportable form."""

    def __init__(self, classifier: Classifier) -> None:
        super().__init__(classifier)
        self.frontend = self.classifier.backbone.frontend.exportable()

    def forward(self, wave: Tensor) -> tuple[Tensor, Tensor]:
        return super().forward(self.frontend(wave))


def as_float32(classifier: Classifier) -> Classifier:
    """A copy on the CPU, in evaluation mode and full precision: the reference that everything exported is held to."""
    own = copy.deepcopy(classifier).cpu().float().eval().requires_grad_(False)
    own.backbone.precision = "fp32"
    return own


def to_onnx(classifier: Classifier, path: str | Path, *, frontend: bool = True) -> None:
    """Write `path`: inputs and outputs are `wave`, `score` and `feature`; no tensor lives in another file.

    Without the `frontend` the input is `image`, that of a window.

    The graph is not optimized on the way, because folding constants would store the DFT kernel that it makes from a
    table a tenth that size; onnxruntime folds it, and batch normalization too, when it loads the file.
    """
    given = torch.zeros(2, classifier.channels, classifier.window)
    open_sides: dict[int, str] = {0: "batch", 2: "time"}
    if not frontend:
        given, open_sides = classifier.backbone.frontend(given), {0: "batch"}
    with _quiet():
        program = torch.onnx.export(
            (Deployed if frontend else Network)(classifier).eval(),
            (given,),
            dynamo=True,
            opset_version=OPSET,
            optimize=False,
            input_names=["wave" if frontend else "image"],
            output_names=["score", "feature"],
            dynamic_shapes=(open_sides,),
            verbose=False,
        )
    if program is None:
        raise RuntimeError("torch.onnx.export gave no program")
    model = program.model_proto
    _forget_origins(model)
    write(Path(path), model.SerializeToString())


def _forget_origins(model: Any) -> None:
    """Drop from an onnx.ModelProto what the exporter notes of each node: stack traces with paths of this machine."""
    model.graph.ClearField("value_info")
    for part in (model, model.graph, *model.graph.node, *model.graph.initializer, *model.graph.input):
        part.ClearField("metadata_props")
        part.ClearField("doc_string")


@contextmanager
def _quiet() -> Iterator[None]:
    """Mute two remarks of the exporter that concern nobody here: no torchvision, and a deprecation within torch."""
    remarks = logging.getLogger("torch.onnx._internal.exporter._registration")
    level = remarks.level
    remarks.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", r".*isinstance\(treespec, LeafSpec\)", FutureWarning)
            yield
    finally:
        remarks.setLevel(level)
