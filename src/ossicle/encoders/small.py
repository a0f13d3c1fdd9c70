"""(B, M, F, N) -> (B, D): four convolutions and multi-head attentive pooling, small enough for a device.

The base model of "Cross-task pre-training for on-device acoustic scene classification" (Zhang, Zou and Li): kernels of
3, max pooling of 2, channels 64, 128, 256 and 512, four attention heads.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn


class AttentivePool(nn.Module):
    """(B, c, N) -> (B, heads c): each head's own weighted mean over time (Zhu et al. 2018; Lin et al. 2017, eq. 6).

    The weights are softmax_time(W2 relu(W1 h)), W1 and W2 without bias: c * hidden + hidden * heads parameters.
    """

    def __init__(self, channels: int, *, heads: int, hidden: int) -> None:
        super().__init__()
        if min(heads, hidden) < 1:
            raise ValueError(f"{heads} heads and attention over {hidden}: wanted at least 1 of each.")
        self.hidden = nn.Linear(channels, hidden, bias=False)
        self.score = nn.Linear(hidden, heads, bias=False)

    def weights(self, steps: Tensor) -> Tensor:
        """(B, c, N) -> (B, heads, N): positive, summing to 1 over time."""
        return self.score(self.hidden(steps.mT).relu()).mT.softmax(-1)

    def forward(self, steps: Tensor) -> Tensor:
        return (self.weights(steps) @ steps.mT).flatten(1)


class Convolutions(nn.Module):
    """(B, M, F, N) -> (B, c, about N / 2^layers): convolutions, each with normalization, ReLU and a maximum over two.

    `growth` has a layer's channels as multiples of `width`. "1d" convolves over time with maps x bins as input
    channels, "2d" over the image, and averages over frequency at last. A maximum keeps an odd last step, so that even
    an image of one frame passes.
    """

    def __init__(
        self,
        *,
        bins: int,
        maps: int = 1,
        reading: Literal["1d", "2d"] = "1d",
        width: int = 64,
        growth: Sequence[int] = (1, 2, 4, 8),
    ) -> None:
        super().__init__()
        if reading not in ("1d", "2d"):
            raise ValueError(f"reading {reading!r}; known: 1d, 2d.")
        if min(bins, maps, width, *growth) < 1 or not growth:
            raise ValueError(
                "bins, maps, width and what is in growth are at least 1, and growth names a layer or more."
            )
        self.reading = reading
        channels = (maps * bins if reading == "1d" else maps, *(width * each for each in growth))
        high = 1 if reading == "1d" else 3
        self.layers = nn.ModuleList(_layer(a, b, high) for a, b in pairwise(channels))
        self.channels = channels[-1]

    @property
    def stride(self) -> int:
        """The frames of an image from one step to the next."""
        return int(2 ** len(self.layers))

    def steps(self, image: Tensor) -> Tensor:
        """(B, M, F, N) -> (B, c, about N / 2^layers): what heads attend to."""
        steps = image.flatten(1, 2)[:, :, None] if self.reading == "1d" else image
        steps = steps.contiguous(memory_format=torch.channels_last)
        for layer in self.layers:
            steps = layer(steps)
        return steps.mean(2)

    def forward(self, image: Tensor) -> Tensor:
        return self.steps(image)


class SmallCNN(Convolutions):
    """The small CNN in two readings; `dim` is heads times the last layer's channels, 2048 as published.

    "1d" is the reading by which the published sizes add up: at 64 bins 529,344 convolution parameters, 1,920 of batch
    normalization and 528,384 of pooling. `growth` is that of `Convolutions`. As published it is too large for 128 kB at
    8 bit (1,078,218 weights with ten classes); width = 16 in "2d" and width = 24 in "1d" are not, with attention over
    64 or 128 (`ossicle size` counts).
    """

    def __init__(
        self,
        *,
        bins: int,
        maps: int = 1,
        reading: Literal["1d", "2d"] = "1d",
        width: int = 64,
        growth: Sequence[int] = (1, 2, 4, 8),
        heads: int = 4,
        attention: int = 1024,
    ) -> None:
        super().__init__(bins=bins, maps=maps, reading=reading, width=width, growth=growth)
        self.pool = AttentivePool(self.channels, heads=heads, hidden=attention)
        self.dim = heads * self.channels

    def blocks(self) -> list[nn.Module]:
        """The parts from stem to last, as parameter groups."""
        return [*self.layers, self.pool]

    def attention(self, image: Tensor) -> Tensor:
        """(B, M, F, N) -> (B, heads, about N / 2^layers): where each head listens."""
        return self.pool.weights(self.steps(image))

    def strides(self) -> dict[str, int]:
        """The frames of an image from one weight of `attention` to the next."""
        return {"pool": self.stride}

    def forward(self, image: Tensor) -> Tensor:
        return self.pool(self.steps(image))


def _layer(inputs: int, outputs: int, high: int) -> nn.Sequential:
    """Over time alone where a kernel is 1 `high`. The maximum comes before the ReLU, which has half as much to do."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, (high, 3), padding=(high // 2, 1)),
        nn.BatchNorm2d(outputs),
        nn.MaxPool2d((min(high, 2), 2), ceil_mode=True),
        nn.ReLU(inplace=True),
    )
