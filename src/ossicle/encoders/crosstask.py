"""(B, M, F, N) -> (B, D): scenes by way of events, in three networks around one that knows sound events.

VFM, JRM and CMAM of "Cross-task pre-training for on-device acoustic scene classification" (Zhang, Zou and Li 2020). The
event model is the branch `events` of each: learned along, from scratch or from a run's weights, or kept as it is. The
document's figures are not at hand, so the wiring is read from its text, its sizes and its results; parameters are
counted without the event model's, at 64 bins and the published arguments:

    base   1,059,648   of them 529,344 of convolutions, 1,920 of normalization, 528,384 of pooling (`SmallCNN`)
    VFM    1,071,936   the same, and the 12,288 that 128 numbers for 64 bins cost in the first layer
    JRM   27,321,984   11,543,488 and 11,555,776 of convolutions, 20,224 of normalization, 4,202,496 of pooling
    CMAM  22,689,600   22,020,096 of attention, 3,072 of its normalization, 531,264 of the CNN, 135,168 of pooling
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from ossicle.encoders.small import AttentivePool, Convolutions, SmallCNN
from ossicle.encoders.vggish import VGGish
from ossicle.spec import Spec, parse

EVENTS = {"vggish": VGGish}
"""Networks that can be the event model: `embeddings(image)` is (B, E, dim), one of each stretch of the image."""
DEEP = (1, 2, 4, 8, 16, 16, 32)
"""How the channels of JRM's seven layers grow: 64 to 2048 at the published width."""


def _event_model(events: str | Mapping[str, Any], bins: int, maps: int) -> Any:
    return parse(Spec, events, "events").build(EVENTS, bins=bins, maps=maps)


class VFM(nn.Module):
    """The base model on the event model's embeddings in place of the image: its bins are their 128 numbers.

    Ten seconds are ten embeddings, of which four maxima over two leave one.
    """

    def __init__(
        self,
        *,
        bins: int,
        maps: int = 1,
        events: str | Mapping[str, Any] = "vggish",
        width: int = 64,
        heads: int = 4,
        attention: int = 1024,
    ) -> None:
        super().__init__()
        self.events = _event_model(events, bins, maps)
        self.scenes = SmallCNN(bins=self.events.dim, width=width, heads=heads, attention=attention)
        self.dim = self.scenes.dim

    def blocks(self) -> list[nn.Module]:
        """The parts from stem to last, as parameter groups; the first is the event model."""
        return [self.events, *self.scenes.blocks()]

    def attention(self, image: Tensor) -> dict[str, Tensor]:
        """(B, M, F, N) -> "pool" (B, heads, about E / 16): where each head listens."""
        return {"pool": self.scenes.attention(_as_image(self.events.embeddings(image)))}

    def strides(self) -> dict[str, int]:
        """The frames of an image from one weight of `attention` to the next, along its last dimension."""
        return {"pool": self.events.frames * self.scenes.stride}

    def forward(self, image: Tensor) -> Tensor:
        return self.scenes(_as_image(self.events.embeddings(image)))


class JRM(nn.Module):
    """Image and embeddings each by seven layers and pooling of their own; the feature is both, side by side.

    A "relative deep CNN-based encoder to process the pre-trained feature" and "separate calculations" are read so; with
    seven layers over the image alone convolutions would be half as many.
    """

    def __init__(
        self,
        *,
        bins: int,
        maps: int = 1,
        events: str | Mapping[str, Any] = "vggish",
        width: int = 64,
        heads: int = 4,
        attention: int = 1024,
    ) -> None:
        super().__init__()
        tower: dict[str, Any] = {"width": width, "growth": DEEP, "heads": heads, "attention": attention}
        self.events = _event_model(events, bins, maps)
        self.image = SmallCNN(bins=bins, maps=maps, **tower)
        self.heard = SmallCNN(bins=self.events.dim, **tower)
        self.dim = self.image.dim + self.heard.dim

    def blocks(self) -> list[nn.Module]:
        """The parts from stem to last, as parameter groups; the first is the event model."""
        pairs = zip(self.image.blocks(), self.heard.blocks(), strict=True)
        return [self.events, *(nn.ModuleList(pair) for pair in pairs)]

    def attention(self, image: Tensor) -> dict[str, Tensor]:
        """(B, M, F, N) -> "image" (B, heads, about N / 128) and "heard" (B, heads, about E / 128)."""
        heard = _as_image(self.events.embeddings(image))
        return {"image": self.image.attention(image), "heard": self.heard.attention(heard)}

    def strides(self) -> dict[str, int]:
        """The frames of an image from one weight of `attention` to the next, along its last dimension."""
        return {"image": self.image.stride, "heard": self.events.frames * self.heard.stride}

    def forward(self, image: Tensor) -> Tensor:
        heard = _as_image(self.events.embeddings(image))
        return torch.cat([self.image(image), self.heard(heard)], 1)


class CMAM(nn.Module):
    """Embeddings that attend to one another and then to what the base model's convolutions say, in `pairs` of both.

    Position is added to the embeddings (Vaswani et al. 2017, 3.5) and the pooling of the base model ends it. `queries`
    is the size of Q, K and V over all heads, the document's "query dimension of 2048", while what is passed on stays
    as wide as an embedding, 128: so equation 6 can add it to its input, and the size comes near JRM's, as the document
    says. `state` makes it wider by a linear layer (2048: 144 million parameters more). Keys and values of the second of
    each pair are from the convolutions' steps. Dropout is not told; 0.1 is the Transformer's.
    """

    def __init__(
        self,
        *,
        bins: int,
        maps: int = 1,
        events: str | Mapping[str, Any] = "vggish",
        width: int = 64,
        pairs: int = 6,
        queries: int = 2048,
        parts: int = 8,
        state: int | None = None,
        dropout: float = 0.1,
        heads: int = 4,
        attention: int = 1024,
    ) -> None:
        super().__init__()
        if pairs < 1 or (state is not None and state < 1):
            raise ValueError(f"{pairs} pairs of attention and a state of {state}: wanted at least 1 of each.")
        self.events = _event_model(events, bins, maps)
        self.scenes = Convolutions(bins=bins, maps=maps, width=width)
        self.size = state or self.events.dim
        self.widen = nn.Linear(self.events.dim, self.size) if state else nn.Identity()
        args: dict[str, Any] = {"queries": queries, "parts": parts, "dropout": dropout}
        self.itself = nn.ModuleList(Attention(self.size, self.size, **args) for _ in range(pairs))
        self.across = nn.ModuleList(Attention(self.size, self.scenes.channels, **args) for _ in range(pairs))
        self.pool = AttentivePool(self.size, heads=heads, hidden=attention)
        self.dim = heads * self.size

    def blocks(self) -> list[nn.Module]:
        """The parts from stem to last, as parameter groups; the first is the event model."""
        pairs = map(nn.ModuleList, self._pairs())
        return [self.events, self.scenes, self.widen, *pairs, self.pool]

    def attention(self, image: Tensor) -> dict[str, Tensor]:
        """(B, M, F, N) -> "itself" (B, pairs, parts, E, E), "across" (B, pairs, parts, E, about N / 16) and "pool"
        (B, heads, E): where each head looks, summing to 1 over the last dimension.
        """
        state, steps = self._begin(image)
        seen: dict[str, list[Tensor]] = {"itself": [], "across": []}
        for itself, across in self._pairs():
            seen["itself"].append(itself.weights(state, state))
            state = itself(state, state)
            seen["across"].append(across.weights(state, steps))
            state = across(state, steps)
        return {name: torch.stack(each, 1) for name, each in seen.items()} | {"pool": self.pool.weights(state.mT)}

    def strides(self) -> dict[str, int]:
        """The frames of an image from one weight of `attention` to the next, along its last dimension."""
        return {"itself": self.events.frames, "across": self.scenes.stride, "pool": self.events.frames}

    def forward(self, image: Tensor) -> Tensor:
        state, steps = self._begin(image)
        for itself, across in self._pairs():
            state = across(itself(state, state), steps)
        return self.pool(state.mT)

    def _pairs(self) -> Iterator[tuple[Any, Any]]:
        return zip(self.itself, self.across, strict=True)

    def _begin(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """(B, E, size) embeddings in their places, and (B, N', c) steps to attend to."""
        state = self.widen(self.events.embeddings(image))
        return state + positions(state.shape[1], self.size).to(state), self.scenes(image).mT


class Attention(nn.Module):
    """(B, n, state), (B, m, source) -> (B, n, state): equations 1 to 6, Q of the first and K and V of the second.

    As printed the equations leave two readings; here d is the size of one head's queries and W^O is applied to all
    heads together, as in the Transformer that they follow. No biases.
    """

    def __init__(self, state: int, source: int, *, queries: int, parts: int, dropout: float) -> None:
        super().__init__()
        if parts < 1 or queries < parts or queries % parts:
            raise ValueError(
                f"queries = {queries} cannot be split into {parts} heads: take a multiple, {64 * parts} say."
            )
        self.parts = parts
        self.query = nn.Linear(state, queries, bias=False)
        self.key = nn.Linear(source, queries, bias=False)
        self.value = nn.Linear(source, queries, bias=False)
        self.out = nn.Linear(queries, state, bias=False)
        self.dropout = nn.Dropout(dropout)
        self.norm = nn.LayerNorm(state)

    def weights(self, state: Tensor, source: Tensor) -> Tensor:
        """(B, n, state), (B, m, source) -> (B, parts, n, m): softmax(Q K^T / sqrt(d)) of equation 4."""
        query, key = self._split(self.query(state)), self._split(self.key(source))
        return (query @ key.mT / math.sqrt(query.shape[-1])).softmax(-1)

    def forward(self, state: Tensor, source: Tensor) -> Tensor:
        heard = self.weights(state, source) @ self._split(self.value(source))
        return self.norm(self.dropout(self.out(heard.transpose(1, 2).flatten(2))) + state)

    def _split(self, each: Tensor) -> Tensor:
        """(B, n, queries) -> (B, parts, n, queries / parts)."""
        return each.unflatten(2, (self.parts, -1)).transpose(1, 2)


def positions(count: int, size: int) -> Tensor:
    """(count, size): sines and cosines of each place, of wavelengths from 2 pi to 10,000 x 2 pi, in turn."""
    rates = 10_000.0 ** (-torch.arange(0, size, 2) / size)
    angles = torch.arange(count)[:, None] * rates
    return torch.stack([angles.sin(), angles.cos()], -1).flatten(1)[:, :size]


def _as_image(embeddings: Tensor) -> Tensor:
    """(B, E, D) -> (B, 1, D, E)."""
    return embeddings.mT[:, None]
