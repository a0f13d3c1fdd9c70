"""A training step of the networks for scenes: the base, which is the student, and the event model."""

from __future__ import annotations

from itertools import pairwise

import torch
from bench import Bench
from record import Row, interleaved
from torch import Tensor, nn

from ossicle import machine
from ossicle.recipe import Spec

HEARD = Spec("vggish", {"seconds": 10.0})  # 64 x 998


class Plain(nn.Module):
    """The base network as its document tells it, written with torch's layers in one dimension."""

    def __init__(self) -> None:
        super().__init__()
        sizes = (64, 64, 128, 256, 512)
        layers = [
            [nn.Conv1d(a, b, 3, padding=1), nn.BatchNorm1d(b), nn.ReLU(), nn.MaxPool1d(2, ceil_mode=True)]
            for a, b in pairwise(sizes)
        ]
        self.layers = nn.Sequential(*(layer for each in layers for layer in each))
        self.attention = nn.Sequential(nn.Linear(512, 1024, bias=False), nn.ReLU(), nn.Linear(1024, 4, bias=False))

    def forward(self, image: Tensor) -> Tensor:
        """(B, 1, 64, N) -> (B, 2048)."""
        steps = self.layers(image[:, 0]).mT
        return (self.attention(steps).softmax(1).mT @ steps).flatten(1)


def step(*, batch: int = 64, width: float = 0.25, frontend: Spec = HEARD, repeats: int = 7) -> list[Row]:
    """The base and VGGish, ours against plain."""
    machine.keep_memory()
    rows = []
    for spec, plain in ((Spec("small"), Plain()), (Spec("vggish", {"width": width}), None)):
        bench = Bench(frontend, spec, batch)
        taken = interleaved({"plain": bench.plain(plain), "ours": bench.ours()}, repeats)
        rows.append(bench.row(taken, "ours", f"{bench.precision}, channels last, fused AdamW"))
        torch.manual_seed(0)
    return rows
