"""(B, C, T) -> (B, C, 1, F, N): log-mel energies, the lowest band first."""

from __future__ import annotations

import math
from typing import Any, Literal

import torch
from torch import Tensor

from ossicle.frontends import workings
from ossicle.frontends.stft import Framing, SpectralFrontend

Scale = Literal["slaney", "htk"]
Sides = Literal["hz", "mel"]


def hz_to_mel(hz: Tensor, scale: Scale) -> Tensor:
    """HTK: 2595 log10(1 + f / 700). Slaney (Auditory Toolbox): 3 f / 200 up to 1 kHz, then 27 steps a factor of 6.4."""
    if scale == "htk":
        return 2595 * torch.log10(1 + hz / 700)
    return torch.where(hz < 1000, hz * 3 / 200, 15 + 27 / math.log(6.4) * torch.log(hz.clamp(min=1000) / 1000))


def mel_to_hz(mel: Tensor, scale: Scale) -> Tensor:
    """The inverse of `hz_to_mel`."""
    if scale == "htk":
        return 700 * (10 ** (mel / 2595) - 1)
    return torch.where(mel < 15, mel * 200 / 3, 1000 * torch.exp((mel - 15) * (math.log(6.4) / 27)))


def filterbank(
    sample_rate: int,
    n_fft: int,
    mels: int,
    f_min: float,
    f_max: float,
    scale: Scale,
    norm: Literal["slaney"] | None,
    *,
    sides: Sides = "hz",
) -> Tensor:
    """(mels, n_fft // 2 + 1) float64: triangles whose corners are equally far apart in mels.

    Their `sides` are straight over Hz, or over mels. Peaks of 1 with norm=None; with "slaney" each band is divided by
    half its width in Hz, so that white noise lights all bands alike. Raises ValueError where a band would hear nothing.
    """
    if not 0 <= f_min < f_max <= sample_rate / 2:
        raise ValueError(
            f"mel bands from {f_min:g} to {f_max:g} Hz at a rate of {sample_rate} Hz: "
            f"wanted 0 <= f_min < f_max <= {sample_rate / 2:g}."
        )
    low, high = hz_to_mel(torch.tensor([f_min, f_max], dtype=torch.float64), scale).tolist()
    corners = mel_to_hz(torch.linspace(low, high, mels + 2, dtype=torch.float64), scale)
    hz = torch.arange(n_fft // 2 + 1, dtype=torch.float64) * (sample_rate / n_fft)
    at, ends = (hz, corners) if sides == "hz" else (hz_to_mel(hz, scale), hz_to_mel(corners, scale))
    left, peak, right = ends[:-2, None], ends[1:-1, None], ends[2:, None]
    bank = torch.minimum((at - left) / (peak - left), (right - at) / (right - peak)).clamp(min=0)
    deaf = int((bank.amax(1) == 0).sum())
    if deaf:
        raise ValueError(
            f"{deaf} of {mels} mel bands hold no frequency bin ({sample_rate / n_fft:.1f} Hz apart): "
            "take fewer mels, a longer n_fft or a higher f_min."
        )
    return bank * 2 / (corners[2:] - corners[:-2])[:, None] if norm == "slaney" else bank


def staircase(bank: Tensor, at_once: int = 16) -> list[tuple[slice, slice]]:
    """(F, K) -> pairs of (bands, bins) outside of which it is zero: a product with these costs a fourth of one with all
    of it.
    """
    steps = [slice(low, low + at_once) for low in range(0, len(bank), at_once)]
    heard = [(bank[bands] > 0).any(0).nonzero().flatten().tolist() for bands in steps]
    return [(bands, slice(bins[0], bins[-1] + 1)) for bands, bins in zip(steps, heard, strict=True)]


def packed(bank: Tensor) -> tuple[Tensor, Tensor]:
    """(F, K) -> (K,), (2, K): triangles overlap in pairs, so a bin lights its first band and perhaps the next."""
    first = (bank > 0).int().argmax(0)
    padded = torch.cat([bank, torch.zeros_like(bank[:1])])
    return first, torch.cat([padded.gather(0, first[None]), padded.gather(0, first[None] + 1)])


class LogMel(SpectralFrontend):
    """log(M |STFT|^power + offset) for waves whose full scale is 1.

    M is the mel filter bank. STFT is unscaled, as in librosa.feature.melspectrogram: a full-scale sine at a bin's
    frequency has magnitude sum(window) / 2. `log` is "ln" or "log10", which add `offset`, or "db", which takes it for a
    floor: 10 log10(max(E, offset)) of energies E (power=2), 20 log10 of magnitudes (power=1), as librosa's power_to_db
    and amplitude_to_db with ref=1 and top_db=None. So `offset` is in the units of E and silence gives log(offset).
    `gain` multiplies the wave: 32768 reads it as 16-bit integers. For win, hop, center and pad_mode see `Framing`.
    `headroom` levels each wave first: freed of its mean, it is divided by its largest magnitude plus `headroom`. In
    TOML, which knows no None, norm = "none" leaves the triangles at peaks of 1. For `sides` see `filterbank`.
    """

    maps = 1
    band: Tensor
    weights: Tensor
    dense: Tensor

    def __init__(
        self,
        *,
        sample_rate: int = 22050,
        seconds: float = 5.0,
        n_fft: int = 1024,
        win: int | None = None,
        hop: int = 512,
        mels: int = 64,
        f_min: float = 50.0,
        f_max: float | None = None,
        scale: Scale = "slaney",
        norm: Literal["slaney", "none"] | None = "slaney",
        power: float = 2.0,
        log: Literal["ln", "log10", "db"] = "ln",
        offset: float = 1e-6,
        window: str = "hann",
        center: bool = True,
        pad_mode: Literal["reflect", "constant"] = "reflect",
        gain: float = 1.0,
        headroom: float | None = None,
        sides: Sides = "hz",
    ) -> None:
        _one_of("sides", sides, ("hz", "mel"))
        _one_of("scale", scale, ("slaney", "htk"))
        _one_of("norm", norm, ("slaney", "none", None))
        _one_of("power", power, (1.0, 2.0))
        _one_of("log", log, ("ln", "log10", "db"))
        if mels < 1:
            raise ValueError(f"{mels} mel bands: wanted at least 1.")
        if offset <= 0:
            raise ValueError(f"offset = {offset:g}: the logarithm of silence needs a positive one.")
        if headroom is not None and headroom <= 0:
            raise ValueError(f"headroom = {headroom:g}: silence is divided by it, so it is above zero.")
        super().__init__(
            Framing(n_fft, n_fft if win is None else win, hop, window, center, pad_mode, gain),
            sample_rate=sample_rate,
            seconds=seconds,
        )
        self.bins, self.power, self.log, self.offset, self.headroom = mels, power, log, offset, headroom
        self.efold = {"ln": power / 2, "log10": power / 2 / math.log(10), "db": 10 / math.log(10)}[log]
        f_max = sample_rate / 2 if f_max is None else f_max
        area: Literal["slaney"] | None = "slaney" if norm == "slaney" else None
        bank = filterbank(sample_rate, n_fft, mels, f_min, f_max, scale, area, sides=sides)
        self.steps, (band, weights) = staircase(bank), packed(bank)
        self.register_buffer("band", band, persistent=False)
        self.register_buffer("weights", weights.float(), persistent=False)
        self.register_buffer("dense", bank.float(), persistent=False)

    def bank(self) -> Tensor:
        """(F, K): the filter bank, unpacked. An exported file so holds 3 numbers a bin instead of F."""
        empty = torch.zeros(self.bins + 1, self.framing.bins, device=self.weights.device)
        return empty.scatter(0, torch.stack([self.band, self.band + 1]), self.weights)[: self.bins]

    def leveled(self, rows: Tensor, whole: Tensor | None = None) -> Tensor:
        if self.headroom is None:
            return rows
        whole = rows if whole is None else whole
        mean = whole.mean(1, keepdim=True)
        peak = torch.maximum(whole.amax(1, keepdim=True) - mean, mean - whole.amin(1, keepdim=True))
        return (rows - mean) / (peak + self.headroom)

    def picture(self, power: Tensor) -> Tensor:
        return self.level((self.rooted(power).mT @ self.bank().mT).mT)[:, None]

    def painted(self, power: Tensor) -> Tensor:
        frames, bank = self.rooted(power).mT, self.dense.mT
        energies = [frames[..., bins] @ bank[bins, bands] for bands, bins in self.steps]
        return self.level(torch.cat(energies, -1).mT)[:, None]

    def rooted(self, power: Tensor) -> Tensor:
        """Power, or magnitudes where these are asked for."""
        return power if self.power == 2 else power.sqrt()

    def level(self, energy: Tensor) -> Tensor:
        """Mel energies or magnitudes to their logarithm."""
        if self.log == "db":
            return 20 / self.power * torch.log10(energy.clamp(min=self.offset))
        return torch.log(energy + self.offset) if self.log == "ln" else torch.log10(energy + self.offset)

    def workings(self) -> list[dict[str, Any]]:
        """Perhaps a level, power or magnitude, its bands, their logarithm."""
        level = [] if self.headroom is None else [{"do": "level", "headroom": self.headroom}]
        root = [] if self.power == 2 else [{"do": "root"}]
        bands = {"do": "bands", "rows": workings.rows(self.dense)}
        own = {"floor" if self.log == "db" else "offset": self.offset}
        return [*level, *workings.power(self.framing), *root, bands, workings.log(2 / self.power * self.efold, **own)]


def _one_of(name: str, value: object, known: tuple[object, ...]) -> None:
    if value not in known:
        raise ValueError(f"{name} = {value!r}; known: {', '.join(map(str, known))}.")
