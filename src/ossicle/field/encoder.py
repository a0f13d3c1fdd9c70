"""A run, or a model's folder, as a Recognizer: (B, C, T) to no score (B, 1) and feature (B, D), by torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch

from ossicle.deploy.bundle import Recognizer
from ossicle.deploy.config import Config, file_entry
from ossicle.model import Backbone, load
from ossicle.plain import digest, json_text
from ossicle.run import Run, RunError, is_run


def encoder(folder: str | Path, threads: int = 1) -> Recognizer:
    """The backbone of a run's encoder or classifier, heard through the stream that bundles are heard through.

    Its one label has a score of 0 always; its window is the model's, and the hop half of it. RunError where the run is
    not finished.
    """
    if is_run(folder) and not Run.open(folder).done:
        raise RunError(f"{folder} is not finished: start it again with the same command, and search with it then")
    model = load(folder)
    backbone = model if isinstance(model, Backbone) else model.backbone
    torch.set_num_threads(threads)
    config = Config(
        sample_rate=backbone.sample_rate,
        channels=backbone.channels,
        window=backbone.window,
        hop=max(1, backbone.window // 2),
        policy=backbone.policy,
        labels=("sound",),
        multilabel=False,
        files={Backbone.kind: file_entry(_content(backbone))},
    )
    return Recognizer(config, _Session(backbone), model=Backbone.kind)


class _Session:
    """Answers as an onnxruntime session of an exported model would."""

    def __init__(self, backbone: Backbone) -> None:
        self._backbone = backbone

    def run(self, outputs: Sequence[str], given: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        """{"wave": (B, C, window)} -> (B, 1) and (B, D) float32."""
        with torch.no_grad():
            feature = self._backbone(torch.from_numpy(given["wave"])).numpy()
        return [np.zeros((len(feature), 1), np.float32), feature]


def _content(backbone: Backbone) -> bytes:
    """Everything that a feature depends on."""
    weights = {name: digest(value.numpy().tobytes()) for name, value in backbone.state_dict().items()}
    return json_text({"config": backbone.config(), "weights": weights}).encode()
