"""A model and clips (n) -> probabilities (n, K) and features (n, D): the mean over each clip's windows.

These are `hop` seconds apart, without one a window: no two overlap, but for the last one of a clip.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ossicle.data.loader import Source, windows
from ossicle.evaluate import measures
from ossicle.model import Backbone, Classifier

if TYPE_CHECKING:
    from torch import Tensor, nn


@dataclass(frozen=True)
class Prediction:
    """(n, K) probability and (n, D) feature, float32, means over a clip's windows; (n,) valid: could be heard."""

    probability: np.ndarray
    feature: np.ndarray
    valid: np.ndarray


def predict(classifier: Classifier, source: Source, *, batch: int = 64, hop: float | None = None) -> Prediction:
    """What a classifier makes of every clip of a source. The rows of bad files are zero and not `valid`."""

    def see(wave: Tensor) -> tuple[Tensor, Tensor]:
        feature = classifier.backbone(wave)
        return classifier.probability(classifier.head(feature)), feature

    sizes = (len(classifier.labels), classifier.backbone.dim)
    (probability, feature), valid = _means(classifier, source, see, sizes, batch, hop)
    return Prediction(probability, feature, valid)


def embed(
    backbone: Backbone, source: Source, *, batch: int = 64, hop: float | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """(n, D) float32 features, the mean over a clip's windows, and (n,) whether the clip could be heard."""
    (feature,), valid = _means(backbone, source, lambda wave: (backbone(wave),), (backbone.dim,), batch, hop)
    return feature, valid


def _means(
    model: Backbone | Classifier,
    source: Source,
    see: Callable[[Tensor], Sequence[Tensor]],
    sizes: Sequence[int],
    batch: int,
    hop: float | None,
) -> tuple[list[np.ndarray], np.ndarray]:
    """What `see` makes of windows (B, C, T), each a (B, size), as the mean over each clip's windows (n, size)."""
    sums = [np.zeros((len(source.manifest), size)) for size in sizes]
    count = np.zeros(len(source.manifest))
    for index, seen in _heard(model, source, see, batch, hop):
        np.add.at(count, index, 1)
        for total, part in zip(sums, seen, strict=True):
            np.add.at(total, index, part)
    return [(total / np.maximum(count, 1)[:, None]).astype(np.float32) for total in sums], count > 0


def _heard(
    model: Backbone | Classifier,
    source: Source,
    see: Callable[[Tensor], Sequence[Tensor]],
    batch: int,
    hop: float | None,
) -> Iterator[tuple[np.ndarray, list[np.ndarray]]]:
    """The clips' rows (B,) and what `see` makes of their windows, batch by batch, in evaluation mode."""
    import torch

    if hop is not None and not hop > 0:
        raise ValueError(f"hop is {hop:g} s; windows are some way apart, half a window, say")
    device = next(model.parameters()).device
    apart = None if hop is None else max(1, round(hop * model.sample_rate))
    with _evaluating(model), torch.no_grad():
        for part in windows(source, window=model.window, hop=apart, policy=model.policy, batch=batch):
            yield part.index.numpy(), [seen.float().cpu().numpy() for seen in see(part.wave.to(device))]


@contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    """Evaluation mode, and afterwards each module as it was: a frozen encoder in a model that trains stays frozen."""
    before = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in before:
            module.training = training


def calibrate(classifier: Classifier, source: Source, *, batch: int = 64, hop: float | None = None) -> float:
    """Sets and returns the classifier's temperature, fitted on clips that it was not trained on."""
    found = list(_heard(classifier, source, lambda wave: (classifier(wave),), batch, hop))
    if found:
        logits, clip = np.concatenate([seen[0] for _, seen in found]), np.concatenate([index for index, _ in found])
        fitted = measures.temperature(logits, source.manifest.targets(), multilabel=classifier.multilabel, clip=clip)
        classifier.temperature.fill_(fitted)
    return float(classifier.temperature)
