"""A run's classifier as a Recognizer: (B, C, T) to score (B, K) and feature (B, D), by torch, without a bundle."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from ossicle.deploy.bundle import Recognizer
from ossicle.deploy.config import Config
from ossicle.deploy.head import Head
from ossicle.model import Classifier, load


class Hearer(Recognizer):
    """The classifier in a folder, heard as a bundle is, in windows side by side."""

    def __init__(self, folder: str | Path) -> None:
        model = load(folder)
        assert isinstance(model, Classifier), "whoever asks has looked"
        self.classifier = model
        config = Config(
            sample_rate=model.sample_rate,
            channels=model.channels,
            window=model.window,
            hop=max(1, model.window // 2),
            policy=model.policy,
            labels=model.labels,
            multilabel=model.multilabel,
        )
        super().__init__(config, session=None)

    def scores(self, wave: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(B, C, window) float32 -> probabilities (B, K) and feature (B, D)."""
        with torch.no_grad():
            feature = self.classifier.backbone(torch.from_numpy(np.ascontiguousarray(wave, np.float32)))
            score = self.classifier.probability(self.classifier.head(feature))
        return score.numpy(), feature.numpy()

    @property
    def head(self) -> Head:
        """What makes the scores of the features, the temperature folded into it."""
        head, warm = self.classifier.head, np.float32(float(self.classifier.temperature))
        return Head(head.weight.detach().numpy() / warm, head.bias.detach().numpy() / warm)

    def with_head(self, head: Head, labels: tuple[str, ...]) -> Classifier:
        """The same backbone under another head, whose rows these labels name."""
        model = Classifier(self.classifier.backbone, labels, multilabel=self.classifier.multilabel)
        with torch.no_grad():
            model.head.weight.copy_(torch.from_numpy(head.weight))
            model.head.bias.copy_(torch.from_numpy(head.bias))
        return model.eval()
