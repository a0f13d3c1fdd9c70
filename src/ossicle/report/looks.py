"""wave (1, T) -> how it looks to a front end: (F, N) levels, or (F, N, 3) where that makes three maps of them.

The three are what a bands image is seen as: the low, middle and high third of the spectrum as red, green and blue.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np

from ossicle import audio

KHZ = (0.1, 0.2, 0.5, 1, 2, 5, 10, 20)
APART = 0.12  # of the axis, from mark to mark


class Look(Protocol):
    """What a picture is drawn by: its `name` and frequency axis in words, and marks of that axis in bins."""

    name: str
    axis: str
    sample_rate: int
    seconds: float

    def __call__(self, wave: np.ndarray) -> np.ndarray: ...

    def ticks(self) -> list[tuple[float, str]]: ...


def look(spec: dict[str, Any]) -> Look:
    """How recordings look by this front end, or by a plain log-mel where it makes other images than these two. Resized
    ones are shown as they were before.
    """
    from ossicle.frontends import FRONTENDS
    from ossicle.frontends.vggish import SETTINGS

    spec = spec.get("of", spec)
    named = FRONTENDS.get(spec.get("name", ""))
    if spec.get("name") == "vggish":
        spec = {**spec, **SETTINGS, "name": "logmel"}
    return Thirds(spec) if getattr(named, "maps", 1) == 3 else Logmel(spec)


class Thirds:
    """(1, T) -> (F, N, 3): the low, middle and high third of the spectrum, each its own map."""

    name = "three-band spectrogram"
    axis = "above each third's start, kHz"

    def __init__(self, spec: dict[str, Any]) -> None:
        from ossicle.frontends import FRONTENDS

        own = {name: value for name, value in spec.items() if name != "name"}
        self.frontend = FRONTENDS[spec["name"]](**own)
        self.sample_rate, self.seconds = self.frontend.sample_rate, self.frontend.seconds
        self.shortest = own.get("n_fft", 2048)
        self.width = self.frontend.bins * self.sample_rate / self.shortest / 1000

    def __call__(self, wave: np.ndarray) -> np.ndarray:
        return _image(self.frontend, wave, self.shortest).transpose(1, 2, 0)

    def ticks(self) -> list[tuple[float, str]]:
        return [(share * self.frontend.bins, f"{share * self.width:.2g}") for share in (0, 0.5, 1)]


class Logmel:
    """(1, T) -> (F, N): the log-mel energies that a run hears, or plain ones if it hears by something else."""

    name = "log-mel spectrogram"
    axis = "frequency, kHz"

    def __init__(self, spec: dict[str, Any]) -> None:
        from ossicle.frontends import FRONTENDS

        rate = {"sample_rate": spec["sample_rate"]} if "sample_rate" in spec else {}
        own = {name: value for name, value in spec.items() if name != "name"} if spec.get("name") == "logmel" else rate
        self.frontend = FRONTENDS["logmel"](**own)
        self.sample_rate, self.seconds = self.frontend.sample_rate, self.frontend.seconds
        self.low, self.high = own.get("f_min", 50.0), own.get("f_max") or self.sample_rate / 2
        self.scale, self.shortest = own.get("scale", "slaney"), own.get("n_fft", 1024)

    def __call__(self, wave: np.ndarray) -> np.ndarray:
        return _image(self.frontend, wave, self.shortest)[0]

    def ticks(self) -> list[tuple[float, str]]:
        import torch

        from ossicle.frontends.logmel import hz_to_mel

        marks = [khz for khz in KHZ if self.low <= 1000 * khz <= self.high]
        mel = hz_to_mel(torch.tensor([self.low, self.high, *(1000 * khz for khz in marks)]), self.scale).numpy()
        share = (mel[2:] - mel[0]) / (mel[1] - mel[0])
        kept: list[tuple[float, str]] = []
        for at, khz in zip(share.tolist(), marks, strict=True):
            if not kept or at - kept[-1][0] > APART:
                kept.append((at, f"{khz:g}"))
        return [(at * (self.frontend.bins + 1) - 0.5, name) for at, name in kept]


def _image(frontend: Any, wave: np.ndarray, shortest: int) -> np.ndarray:
    """(1, T) -> (M, F, N), whatever its length."""
    import torch

    wave = audio.fit(wave, max(wave.shape[1], shortest), policy="zero")
    with torch.no_grad():
        return frontend(torch.from_numpy(np.ascontiguousarray(wave))[None])[0, 0].numpy()
