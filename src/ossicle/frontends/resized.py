"""(B, C, T) -> (B, C, M, F, N): the image of any other front end, resized to F bins and N frames.

Progressive resizing of images (Howard et al. 2018) on spectrograms, as in Colangelo et al. 2019: first small images of
the whole, then larger ones. Each stage of a recipe names its size.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ossicle.frontends import workings
from ossicle.frontends.bands import Bands
from ossicle.frontends.clipmel import ClipMel
from ossicle.frontends.logmel import LogMel
from ossicle.frontends.vggish import VGGishMel
from ossicle.spec import Spec

How = Literal["bilinear", "bicubic", "nearest", "area"]
WHOLE = {"logmel": LogMel, "bands": Bands, "clipmel": ClipMel, "vggish": VGGishMel}
"""Front ends whose images can be resized."""


class Resized(nn.Module):
    """The image of the front end `of`, a table as in a recipe, brought to `size` [bins, frames].

    `how` is an operator of torch.nn.functional.interpolate, between the centers of pixels (align_corners=False) and
    without a low-pass in front: "bilinear" and "bicubic" weigh the 2 x 2 or 4 x 4 nearest, "nearest" takes one, and
    "area" the mean of all that a new pixel covers a part of. The image is of `size` whatever the wave's length.
    """

    def __init__(self, *, of: Mapping[str, Any], size: Sequence[int], how: How = "bilinear") -> None:
        super().__init__()
        if how not in get_args(How):
            raise ValueError(f"how = {how!r}; known: {', '.join(get_args(How))}.")
        sides = size if isinstance(size, list | tuple) else ()
        if len(sides) != 2 or not all(isinstance(side, int) and side > 0 for side in sides):
            raise ValueError(f"size = {size!r}: wanted [bins, frames], [64, 128] say.")
        if not isinstance(of, Mapping) or "name" not in of:
            raise ValueError(f'of = {of!r}: wanted a front end to resize, {{ name = "logmel" }} say.')
        self.of = Spec(of["name"], {name: value for name, value in of.items() if name != "name"}).build(WHOLE)
        self.size, self.how = (int(size[0]), int(size[1])), how
        self.maps, self.bins, self.efold = self.of.maps, self.size[0], self.of.efold
        self.sample_rate, self.seconds = self.of.sample_rate, self.of.seconds
        self.policy = getattr(self.of, "policy", None)

    def frames(self, length: int) -> int:
        """The frames of an image, the same for waves of any `length`."""
        return self.size[1]

    def forward(self, wave: Tensor) -> Tensor:
        with torch.autocast(wave.device.type, enabled=False):
            return self.resized(self.of(wave))

    def workings(self) -> list[dict[str, Any]]:
        """Those of the front end `of`, and the resizing of the image of a window, as weights of its bins and frames."""
        given = self.of.bins, self.of.frames(round(self.seconds * self.sample_rate))
        bins, frames = (workings.rows(self.weights(*sides)) for sides in zip(given, self.size, strict=True))
        return [*self.of.workings(), {"do": "resize", "bins": bins, "frames": frames}]

    def weights(self, given: int, made: int) -> Tensor:
        """(made, given): what each pixel of a side of `made` is made of, where the side had `given` before."""
        every = torch.eye(given)[None, None]
        return F.interpolate(every, (made, given), mode=self.how, **self._corners)[0, 0]

    @property
    def _corners(self) -> dict[str, bool]:
        return {"align_corners": False} if self.how in ("bilinear", "bicubic") else {}

    def resized(self, image: Tensor) -> Tensor:
        """(B, C, M, f, n) -> (B, C, M, F, N)."""
        return F.interpolate(image.flatten(0, 1), self.size, mode=self.how, **self._corners).unflatten(
            0, image.shape[:2]
        )

    def exportable(self) -> Exportable:
        """A module of equal output that ONNX can hold."""
        return Exportable(self)


class Exportable(nn.Module):
    """(B, C, T) -> (B, C, M, F, N): the other front end's exportable form, and the same resizing behind it.

    ONNX has no means over areas of an image whose length is open, so these are products with matrices of weights.
    """

    def __init__(self, frontend: Resized) -> None:
        super().__init__()
        self.frontend, self.of = frontend, frontend.of.exportable()

    def forward(self, wave: Tensor) -> Tensor:
        image = self.of(wave)
        if self.frontend.how != "area":
            return self.frontend.resized(image)
        bins, frames = (
            shares(image.shape[axis], size) for axis, size in zip((-2, -1), self.frontend.size, strict=True)
        )
        return bins @ image @ frames.mT


def shares(given: int, made: int) -> Tensor:
    """(made, given): the weights of means over all pixels, of `given` ones, that each of `made` new ones lies on."""
    at, new = torch.arange(given), torch.arange(made)[:, None]
    covered = (made * (at + 1) > given * new) & (made * at < given * (new + 1))
    return covered.float() / covered.sum(1, keepdim=True)
