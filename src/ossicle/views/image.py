"""(B, C, M, F, N) -> (B, C, M, F, n): views of log images. n = N, except for `Patch`."""

from __future__ import annotations

import math
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from ossicle.draw import Draw
from ossicle.views.wave import Places, Sampling, pieces


class Patch:
    """`frames` frames of the image, one place for all channels and maps, sampled as `Places` has it."""

    domain = "image"

    def __init__(self, *, frames: int, sampling: Sampling = "random") -> None:
        if frames < 1:
            raise ValueError(f"a patch of {frames} frames: wanted at least 1.")
        self.frames, self.places = frames, Places(sampling, "patch")

    def __call__(self, image: Tensor, draw: Draw) -> Tensor:
        return pieces(image, self.start(image.shape[-1], draw), self.frames)

    def start(self, frames: int, draw: Draw) -> Tensor:
        """(B,): the first frame of each clip's patch of an image of `frames`."""
        if frames < self.frames:
            raise ValueError(f"patch of {self.frames} frames from an image of {frames}: ask for fewer.")
        return self.places(draw, frames - self.frames)


class TimeShift:
    """The image delayed by 1 to `most` frames, its end coming first (Fonseca et al. 2021, their code)."""

    domain = "image"

    def __init__(self, *, most: int = 29) -> None:
        if most < 1:
            raise ValueError(f"a shift of at most {most} frames: wanted 1 or more.")
        self.most = most

    def __call__(self, image: Tensor, draw: Draw) -> Tensor:
        return _rolled(image, draw.integers("time_shift", low=1, high=self.most + 1), -1)


class FrequencyShift:
    """The image moved up by 1 to `most` bins, its top coming in below (Fonseca et al. 2021, their code)."""

    domain = "image"

    def __init__(self, *, most: int = 9) -> None:
        if most < 1:
            raise ValueError(f"a shift of at most {most} bins: wanted 1 or more.")
        self.most = most

    def __call__(self, image: Tensor, draw: Draw) -> Tensor:
        return _rolled(image, draw.integers("frequency_shift", low=1, high=self.most + 1), -2)


def _rolled(image: Tensor, shift: Tensor, dim: int) -> Tensor:
    return torch.stack([clip.roll(by, dim) for clip, by in zip(image, shift.tolist(), strict=True)])


class Reversal:
    """With probability `p` the image runs backwards in time."""

    domain = "image"

    def __init__(self, *, p: float = 0.5) -> None:
        if not 0 <= p <= 1:
            raise ValueError(f"reversal with probability {p:g}: wanted 0 to 1.")
        self.p = p

    def __call__(self, image: Tensor, draw: Draw) -> Tensor:
        return torch.where(draw("reversal", 1, 1, 1, 1) < self.p, image.flip(-1), image)


class Blur:
    """Gaussian means over 1, 3, ... or `widest` bins and, drawn apart, as many frames; edges are mirrored.

    Weights fall off with a deviation of `sigma` bins or frames. The defaults are those of the public code of Fonseca et
    al. 2021, where the view is off: 20 is so wide that all neighbors weigh nearly alike.
    """

    domain = "image"

    def __init__(self, *, widest: int = 5, sigma: float = 20.0) -> None:
        if widest < 1 or widest % 2 == 0 or sigma <= 0:
            raise ValueError(f"blur over {widest}, deviation {sigma:g}: wanted an odd number and one above 0.")
        self.reach, self.sigma = widest // 2, sigma

    def __call__(self, image: Tensor, draw: Draw) -> Tensor:
        reach = draw.integers("blur", 2, high=self.reach + 1)
        away = torch.arange(-self.reach, self.reach + 1, device=reach.device)
        weight = torch.exp(-(away**2) / (2 * self.sigma**2)) * (away.abs() <= reach[..., None])
        weight = weight / weight.sum(-1, keepdim=True)
        padded = F.pad(image.flatten(1, 2), [self.reach] * 4, mode="reflect").unflatten(1, image.shape[1:3])
        for dim, taps in ((-2, weight[:, 0]), (-1, weight[:, 1])):
            windows = padded.unfold(dim, len(away), 1)
            padded = sum(tap[:, None, None, None, None] * windows[..., at] for at, tap in enumerate(taps.unbind(1)))
        return padded


class Noise:
    """Gaussian noise on the log image, in its units; the standard deviation is drawn from U(0, sigma) for each clip."""

    domain = "image"

    def __init__(self, *, sigma: float = 0.01) -> None:
        if sigma < 0:
            raise ValueError(f"noise of deviation {sigma:g}: wanted 0 or more.")
        self.sigma = sigma

    def __call__(self, image: Tensor, draw: Draw) -> Tensor:
        deviation = draw("noise.sigma", 1, 1, 1, 1, high=self.sigma)
        return torch.addcmul(image, deviation, draw.normal("noise.field", *image.shape[1:]))


class Compression:
    """The log image times U(low, 1): a power law on energies (Fonseca et al. 2021)."""

    domain = "image"

    def __init__(self, *, low: float = 0.75) -> None:
        if not 0 <= low <= 1:
            raise ValueError(f"compression down to {low:g}: wanted 0 to 1.")
        self.low = low

    def __call__(self, image: Tensor, draw: Draw) -> Tensor:
        return image * draw("compression", 1, 1, 1, 1, low=self.low)


class SpecAugment:
    """Frequency and time masks (Park et al. 2019), the same on all channels and maps of a clip.

    Each of `freq_masks` masks hides 0 to `freq` bins, each of `time_masks` 0 to `time` frames, at most the whole image.
    Hidden values become the map's minimum ("min") or mean ("mean").
    """

    domain = "image"

    def __init__(
        self,
        *,
        freq_masks: int = 2,
        freq: int = 20,
        time_masks: int = 2,
        time: int = 20,
        value: Literal["min", "mean"] = "min",
    ) -> None:
        if value not in ("min", "mean"):
            raise ValueError(f"specaugment value {value!r}; known: min, mean.")
        if min(freq_masks, freq, time_masks, time) < 0:
            raise ValueError("specaugment counts and widths are 0 or more.")
        self.freq_masks, self.freq, self.time_masks, self.time, self.value = freq_masks, freq, time_masks, time, value

    def __call__(self, image: Tensor, draw: Draw) -> Tensor:
        bins, frames = image.shape[-2:]
        freq = _masks(draw, "specaugment.freq", self.freq_masks, self.freq, bins)
        time = _masks(draw, "specaugment.time", self.time_masks, self.time, frames)
        hidden = freq[:, None, None, :, None] | time[:, None, None, None, :]
        value = image.amin((-2, -1), keepdim=True) if self.value == "min" else image.mean((-2, -1), keepdim=True)
        return torch.where(hidden, value, image)


def _masks(draw: Draw, name: str, count: int, widest: int, length: int) -> Tensor:
    """(B, length) bool: True under any of `count` masks."""
    width = draw.integers(f"{name}.width", count, high=min(widest, length) + 1)
    start = (draw(f"{name}.start", count) * (length - width + 1)).floor()
    place = torch.arange(length, device=width.device)[:, None]
    return ((place >= start[:, None]) & (place < (start + width)[:, None])).any(-1)


class RandomResizedCrop:
    """A rectangle of the image, stretched back to the image's size bilinearly.

    Its area is U(`area`, 1) of the image's, its aspect ratio exp(U(-ln `aspect`, ln `aspect`)) times the image's own
    (for square images this is torchvision's rule; for others torchvision's would nearly always fail). Of `tries`
    rectangles the first that fits is taken, and the whole image where none does.
    """

    domain = "image"

    def __init__(self, *, area: float = 0.8, aspect: float = 4 / 3, tries: int = 10) -> None:
        if not (0 < area <= 1 <= aspect and tries >= 1):
            raise ValueError(f"area {area:g}, aspect {aspect:g}, {tries} tries: wanted 0 < area <= 1 <= aspect, 1 try.")
        self.area, self.aspect, self.tries = area, aspect, tries

    def __call__(self, image: Tensor, draw: Draw) -> Tensor:
        bins, frames = image.shape[-2:]
        size, corner = self.rectangles(draw, bins, frames)
        grid = torch.empty(len(image), bins, frames, 2, device=image.device)
        grid[..., 0] = _places(corner[:, 1], size[:, 1], frames)[:, None, :]
        grid[..., 1] = _places(corner[:, 0], size[:, 0], bins)[:, :, None]
        return F.grid_sample(image.flatten(1, 2), grid, align_corners=False, padding_mode="border").view_as(image)

    def rectangles(self, draw: Draw, bins: int, frames: int) -> tuple[Tensor, Tensor]:
        """(B, 2) sizes and (B, 2) first corners, in bins and frames."""
        name, edge = "random_resized_crop", math.log(self.aspect)
        area = draw(f"{name}.area", self.tries, low=self.area)
        aspect = draw(f"{name}.aspect", self.tries, low=-edge, high=edge).exp()
        size = torch.stack([bins * (area / aspect).sqrt(), frames * (area * aspect).sqrt()], -1).round()
        whole = size.new_tensor([bins, frames])
        fits = ((size >= 1) & (size <= whole)).all(-1)
        first = fits.int().argmax(1)
        rows = torch.arange(len(size), device=size.device)
        size = torch.where(fits.any(1, keepdim=True), size[rows, first], whole)
        return size, (draw(f"{name}.corner", 2) * (whole - size + 1)).floor()


def _places(corner: Tensor, size: Tensor, length: int) -> Tensor:
    """(B,), (B,) -> (B, length) in [-1, 1]: where each output pixel looks, never past the rectangle's own pixels."""
    step = (torch.arange(length, device=corner.device) + 0.5) / length
    inside = (step * size[:, None] - 0.5).clamp(min=0).minimum(size[:, None] - 1)
    return (corner[:, None] + inside + 0.5) * 2 / length - 1
