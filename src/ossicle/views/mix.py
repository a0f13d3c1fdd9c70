"""(B, C, M, F, N) -> (B, C, M, F, N): log images with a little of another image mixed in, in linear power."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from ossicle.draw import Draw


class MixBack:
    """(1 - share) X + share (E_X / E_B) B in power, with E the sum of all of a clip's power (Fonseca et al. 2021).

    The share is U(0, `most`), one number for both views of a clip (views 0 and 1, 2 and 3, and so on). The background B
    is another clip or, with `background` "own", another piece of the clip itself; it went through the views before this
    one under draws of its own. `efold` is what the front end's image gains where power grows by a factor of e. A
    background without any sound, whose image is one flat value, is not mixed in.
    """

    domain = "image"

    def __init__(self, *, efold: float, most: float = 0.05, background: Literal["other", "own"] = "other") -> None:
        if not 0 <= most <= 1:
            raise ValueError(f"mixing in a share of at most {most:g}: wanted 0 to 1.")
        if efold <= 0:
            raise ValueError(f"efold = {efold:g}: wanted above 0; an image from 0 to 1 does not tell a clip's power.")
        if background not in ("other", "own"):
            raise ValueError(f"background {background!r}; known: other, own.")
        self.efold, self.most, self.background = efold, most, background

    def __call__(self, image: Tensor, draw: Draw, background: Tensor) -> Tensor:
        near, far = image / self.efold, background / self.efold
        share = draw.at(draw.view // 2 * 2)("mixback", 1, 1, 1, 1, high=self.most)
        whole = tuple(range(1, image.ndim))
        flat = far.amax(whole, keepdim=True) == far.amin(whole, keepdim=True)
        share = share.masked_fill(flat, 0.0)
        # All of it on logarithms, so that no power is too small or too large for its number format.
        gain = share.log() + near.logsumexp(whole, keepdim=True) - far.logsumexp(whole, keepdim=True)
        return self.efold * torch.logaddexp(near + (-share).log1p(), far + gain)
