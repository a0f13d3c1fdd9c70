"""(B, M, F, N) -> (B, D): VGGish, a network for sound events, its embeddings averaged over examples of 96 frames.

Hershey et al. 2017, "CNN architectures for large-scale audio classification", as released with AudioSet (Gemmeke et al.
2017).
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any, Literal

import torch
from torch import Tensor, nn

BLOCKS = ((64,), (128,), (256, 256), (512, 512))  # channels of the convolutions between poolings
DENSE = 4096
EMBEDDING = 128


class VGGish(nn.Module):
    """Six 3 x 3 convolutions, four maxima over 2 x 2, two dense layers of 4096, ReLU behind each, and the embedding.

    The image is cut into examples of `frames` without overlap; what is left at its end is dropped. An example's
    embedding is 128 numbers that no activation has seen, as the original gives them (the port to torch adds a ReLU), so
    a linear layer above it is affine in the layer below. `dim` is 128 at any `width`, which multiplies all other
    channels: 72,141,184 parameters at 1, of which 4,499,712 are convolutions'. There is no normalization inside.

    `init` "published" is the original's N(0, 0.01) cut off at two deviations and biases of zero. Without normalization
    it leaves images of deviation 1 with embeddings near 1e-5, in narrower networks less, and Adam at 1e-3 stands still
    for the first fifty steps or so before it learns. "he" (He et al. 2015) keeps them near 5 and learns at once.
    """

    def __init__(
        self,
        *,
        bins: int,
        maps: int = 1,
        width: float = 1.0,
        frames: int = 96,
        init: Literal["he", "published"] = "he",
    ) -> None:
        super().__init__()
        halved = 2 ** len(BLOCKS)
        if maps < 1 or min(bins, frames) < halved or round(width * BLOCKS[0][0]) < 1:
            raise ValueError(
                f"{maps} maps, {bins} bins, {frames} frames and a width of {width:g}: wanted at least 1, {halved}, "
                f"{halved} and {1 / BLOCKS[0][0]:g}."
            )
        if init not in ("he", "published"):
            raise ValueError(f"init = {init!r}; known: he, published.")
        self.frames, self.dim = frames, EMBEDDING
        channels = [[round(width * each) for each in block] for block in BLOCKS]
        pixels, wide = (bins // halved) * (frames // halved), round(width * DENSE)
        sizes = (pixels * channels[-1][-1], wide, wide)
        self.features = nn.Sequential(*_convolutions(maps, channels))
        self.dense = nn.Sequential(*_layers(sizes), nn.Linear(wide, EMBEDDING))
        self.start_from(init)

    def start_from(self, init: Literal["he", "published"]) -> None:
        """Draws new weights."""
        for layer in self.blocks():
            if init == "he":
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            else:
                nn.init.trunc_normal_(layer.weight, std=0.01, a=-0.02, b=0.02)
            nn.init.zeros_(layer.bias)

    def blocks(self) -> list[Any]:
        """The layers from first to last, as parameter groups."""
        return [layer for part in (self.features, self.dense) for layer in part if hasattr(layer, "weight")]

    def embeddings(self, image: Tensor) -> Tensor:
        """(B, M, F, N) -> (B, E, 128): one of each whole example."""
        count = image.shape[-1] // self.frames
        if not torch.compiler.is_exporting() and count < 1:
            raise ValueError(
                f"an image of {image.shape[-1]} frames holds no example of {self.frames}: take a longer window (by the "
                "front end 'vggish' 0.975 s or more)."
            )
        whole = image[..., : count * self.frames].unflatten(-1, (count, self.frames))
        examples = whole.permute(0, 3, 1, 2, 4).flatten(0, 1)
        # the published order of what goes into the dense part: time, frequency, channel
        convolved = self.features(examples).permute(0, 3, 2, 1).flatten(1)
        return self.dense(convolved).unflatten(0, (image.shape[0], count))

    def forward(self, image: Tensor) -> Tensor:
        return self.embeddings(image).mean(1)


def _convolutions(maps: int, channels: list[list[int]]) -> Iterator[nn.Module]:
    """Convolutions of 3 x 3 that keep the size, each with ReLU, and in each block a maximum over 2 x 2.

    The maximum is taken before a block's last ReLU, which is the same and leaves that a quarter of the work.
    """
    for block in channels:
        for place, outputs in enumerate(block, start=1):
            yield nn.Conv2d(maps, outputs, 3, padding=1)
            if place == len(block):
                yield nn.MaxPool2d(2)
            yield nn.ReLU(inplace=True)
            maps = outputs


def _layers(sizes: tuple[int, ...]) -> Iterator[nn.Module]:
    for inputs, outputs in pairwise(sizes):
        yield nn.Linear(inputs, outputs)
        yield nn.ReLU(inplace=True)
