"""(B, C, T) -> (B, C, M, F, N): random versions of clips, for training only.

All randomness comes from `draw`, so a clip's view never depends on its neighbors.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from torch import Tensor, nn

from ossicle.draw import Draw
from ossicle.views.image import (
    Blur,
    Compression,
    FrequencyShift,
    Noise,
    Patch,
    RandomResizedCrop,
    Reversal,
    SpecAugment,
    TimeShift,
)
from ossicle.views.mix import MixBack
from ossicle.views.wave import Crop, Gain, Inversion, Roll, Scale

VIEWS = {
    "inversion": Inversion,
    "scale": Scale,
    "crop": Crop,
    "roll": Roll,
    "gain": Gain,
    "patch": Patch,
    "mixback": MixBack,
    "time_shift": TimeShift,
    "frequency_shift": FrequencyShift,
    "random_resized_crop": RandomResizedCrop,
    "reversal": Reversal,
    "compression": Compression,
    "specaugment": SpecAugment,
    "noise": Noise,
    "blur": Blur,
}


class View(Protocol):
    """A new signal from a signal, of the same rank; never in place."""

    domain: str

    def __call__(self, signal: Tensor, draw: Draw) -> Tensor: ...


class Views(nn.Module):
    """(B, C, T) -> (B, C, M, F, N): the wave's views, then the front end, then the image's views, each in its order.

    `others` says how many other clips they mix into each one. What is mixed in goes through all views before the one
    that mixes it, under draws of its own. Where the image's first view is a patch, a front end that can work out the
    patch alone does no more than that.
    """

    frontend: Any

    def __init__(self, frontend: nn.Module, views: Sequence[View | MixBack] = ()) -> None:
        super().__init__()
        self.frontend = frontend
        self.on_wave = [view for view in views if view.domain == "wave" and not isinstance(view, MixBack)]
        self.on_image = [view for view in views if view.domain == "image"]
        self.mixing = [view for view in views if isinstance(view, MixBack)]
        self.others = sum(view.background == "other" for view in self.mixing)
        first = self.on_image[0] if self.on_image and hasattr(frontend, "part") else None
        self.patch = first if isinstance(first, Patch) else None
        if self.patch:
            del self.on_image[0]

    def forward(self, wave: Tensor, draw: Draw, others: Tensor | None = None, *, image: Tensor | None = None) -> Tensor:
        """The views of these clips; `others` (B, P, C, T), P at least `self.others`, are clips to mix into each.

        `image` is what the front end makes of `wave`, where that is known.
        """
        signals = [wave, *self.backgrounds(wave, others)]
        # Views 0 and 1 of a clip mix in views 2, 4, ... and 3, 5, ...: never the same draws.
        draws = [draw.at(draw.view + 2 * number) for number in range(len(signals))]
        known = [image if signal is wave else None for signal in signals]
        for view in self.on_wave:
            signals = list(map(view, signals, draws))
        image, *behind = map(self.heard, signals, draws, known)
        for step in self.on_image:
            if isinstance(step, MixBack):
                image, behind, draws = step(image, draw, behind[0]), behind[1:], [draw, *draws[2:]]
            else:
                image, *behind = map(step, [image, *behind], draws)
        return image

    def both(self, wave: Tensor, draw: Draw, others: Tensor | None = None) -> list[Tensor]:
        """Views 0 and 1 of each clip, into which different ones of the `others` (B, P, C, T) are mixed, P at least 2
        `self.others`. What both hear alike is worked out once.
        """
        image = self.frontend(wave) if self.alike(wave.shape[-1]) else None
        mixed: Sequence[Tensor | None] = (None, None)
        if self.others and others is not None:
            mixed = others.split(self.others, 1)
        return [self(wave, draw.at(view), mixed[view], image=image) for view in (0, 1)]

    def alike(self, length: int) -> bool:
        """Whether two views hear the same, and one image of all of it costs less than two patches of it."""
        if self.on_wave:
            return False
        return self.patch is None or self.frontend.frames(length) < 2 * self.patch.frames

    def heard(self, signal: Tensor, draw: Draw, image: Tensor | None) -> Tensor:
        """(B, C, T) -> (B, C, M, F, N): the signal's image, or the patch of it that is drawn."""
        if self.patch is None:
            return self.frontend(signal) if image is None else image
        if image is not None:
            return self.patch(image, draw)
        start = self.patch.start(self.frontend.frames(signal.shape[-1]), draw)
        return self.frontend.part(signal, start, self.patch.frames)

    def backgrounds(self, wave: Tensor, others: Tensor | None) -> list[Tensor]:
        """What each view that mixes is given, before any view: the next other clip, or the clip itself."""
        came = 0 if others is None else others.shape[1]
        if came < self.others:
            raise ValueError(f"the views mix in {self.others} other clips and got {came}: give as many to each clip.")
        brought = iter(()) if others is None else iter(others.unbind(1))
        return [wave if view.background == "own" else next(brought) for view in self.mixing]


__all__ = ["VIEWS", "View", "Views"]
