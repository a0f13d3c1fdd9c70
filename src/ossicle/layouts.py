"""Published namings of weights -> our names, axes and scales: (O, I, time, frequency) kernels become (O, I, F, N).

`LAYOUTS` holds one row for each network that `ossicle convert` knows; a later one is one more row.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Tensor

from ossicle.encoders import ENCODERS
from ossicle.frontends import FRONTENDS
from ossicle.recipe import Spec

EPSILON = 1e-5  # what batch normalization adds to a variance


@dataclass(frozen=True)
class Layout:
    """A published naming of weights: the encoder that they are for, behind its front end, and what its keys become.

    `beside` opens the keys that are left out; each `renamed` is a pattern and what stands in its place. The kernels
    of `turned` ones are of (time, frequency). `silent` weights have heard no sound, and ones that learned from images
    `as_is` want them so. `stem` names the first convolution and its normalization where the images may have had a
    deviation of `spread` when the running statistics were kept.
    """

    name: str
    encoder: Spec
    frontend: Spec = field(default_factory=lambda: Spec("bands"))
    beside: tuple[str, ...] = ("fc.", "classifier.")
    renamed: tuple[tuple[str, str], ...] = ()
    turned: bool = False
    silent: bool = True
    as_is: bool = False
    stem: tuple[str, str] | None = None
    spread: float = 1.0

    @cached_property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """What the encoder wants."""
        heard = self.frontend.build(FRONTENDS)
        with torch.device("meta"):
            made = self.encoder.build(ENCODERS, maps=heard.maps, bins=heard.bins)
        return {name: tuple(value.shape) for name, value in made.state_dict().items()}

    def rename(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The tensors under our names and on our axes, without those that are left out."""
        kept = {name: value for name, value in tensors.items() if not name.startswith(self.beside)}
        for pattern, ours in self.renamed:
            kept = {re.sub(pattern, ours, name): value for name, value in kept.items()}
        turn = {name: value.mT for name, value in kept.items() if self.turned and value.ndim == 4}
        return kept | turn

    def fit(self, tensors: Mapping[str, Tensor]) -> int:
        """How many tensors have a name and shape that the encoder wants."""
        return sum(self.shapes.get(name) == tuple(value.shape) for name, value in self.rename(tensors).items())

    def of_unit_images(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The running statistics of the stem that images of deviation 1 would have left; empty where these may be so.

        A convolution of such images deviates by no more than the sum of its kernel's magnitudes (Cauchy and Schwarz),
        so variances far above its square tell of the `spread`. The convolution has no bias: with images s times as
        large the mean is s and the variance s^2 times as large, and the layer's answer is exactly the same again, its
        epsilon included.
        """
        if self.stem is None:
            return {}
        kernel, mean, variance = (state[f"{self.stem[0]}.weight"], *(state[name] for name in self.statistics))
        most = kernel.abs().sum((1, 2, 3)).square()
        if bool((variance <= self.spread * most).all()):
            return {}
        ours = ((variance + EPSILON) / self.spread**2 - EPSILON).clamp(min=0)
        return dict(zip(self.statistics, (mean / self.spread, ours), strict=True))

    @property
    def statistics(self) -> tuple[str, ...]:
        """The names of the stem's running mean and variance."""
        return tuple(f"{self.stem[1]}.running_{part}" for part in ("mean", "var")) if self.stem else ()


OLD_DENSENET = ((r"(denselayer\d+\.(?:norm|conv))\.([12])\.", r"\1\2."),)
TORCHVISION = (  # and timm after it
    Layout("ResNet-18", Spec("resnet", {"depth": 18})),
    Layout("ResNet-34", Spec("resnet", {"depth": 34})),
    Layout("ResNet-50", Spec("resnet", {"depth": 50})),
    Layout("DenseNet-121", Spec("densenet", {"depth": 121}), renamed=OLD_DENSENET),
    Layout("DenseNet-161", Spec("densenet", {"depth": 161, "width": 96}), renamed=OLD_DENSENET),
    Layout("DenseNet-169", Spec("densenet", {"depth": 169}), renamed=OLD_DENSENET),
    Layout("DenseNet-201", Spec("densenet", {"depth": 201}), renamed=OLD_DENSENET),
)

PATCH = Spec(  # 101 x 96, a second
    "logmel",
    {
        "sample_rate": 22050,
        "seconds": 1.0,
        "n_fft": 2048,
        "win": 660,
        "hop": 220,
        "mels": 96,
        "f_min": 50.0,
        "f_max": 10500.0,
        "norm": "none",
        "log": "log10",
        "offset": 1.1e-8,
        "window": "hamming",
        "headroom": 0.005,
    },
)
"""The front end of Fonseca et al. 2021; what their code adds to samples (1.1e-8) is below what it adds to energies."""
NUMBERS = 96 * (38.8 * 3600 * 22050 / 220 + 15_813)
"""In the images of FSDnoisy18k's noisy part: 38.8 hours in 15,813 clips, of a frame every 220 samples and one more."""


def _uclser20(name: str, encoder: Spec, beside: str, stem: tuple[str, str]) -> Layout:
    """Fonseca et al.'s code divides images by sqrt(sum of squares) / N where the deviation is sqrt(sum / N), so its
    networks see images whose deviation is sqrt(N).
    """
    how = {"frontend": PATCH, "turned": True, "silent": False, "spread": NUMBERS**0.5}
    return Layout(f"{name} of uclser20", encoder, beside=(beside,), stem=stem, **how)


UCLSER20 = (
    _uclser20("ResNet-18", Spec("resnet", {"depth": 18}), "fc.", ("conv1", "bn1")),
    _uclser20("VGG", Spec("vgg"), "dense_out.", ("conv0.conv", "conv0.bn")),
    _uclser20("CRNN", Spec("crnn"), "dense.", ("conv1.conv", "conv1.bn")),
)
TORCHVGGISH = Layout(
    "VGGish",
    Spec("vggish"),
    Spec("vggish"),
    beside=("pproc.",),
    renamed=((r"^embeddings\.", "dense."),),
    turned=True,
    silent=False,
    as_is=True,
)
"""Its dense layers take time, frequency and channel in our order. `pproc` whitens and quantizes what comes out."""
LAYOUTS = (*TORCHVISION, *UCLSER20, TORCHVGGISH)
