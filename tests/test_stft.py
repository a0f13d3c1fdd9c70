"""The spectrum in its two forms against closed forms, and against each other."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from ossicle.frontends.logmel import LogMel
from ossicle.frontends.stft import WINDOWS, ConvolutionSpectrum, Framing, Spectrum, window

FRAMINGS = [
    Framing(1024, 1024, 512),
    Framing(2048, 660, 220, "hamming"),
    Framing(2048, 1654, 561, "blackman_harris", gain=32768.0),
    Framing(512, 400, 160, center=False),
    Framing(1001, 777, 333, pad_mode="constant"),
    Framing(2048, 2048, 700, "boxcar"),
]


def noise(*shape: int) -> Tensor:
    return 0.3 * torch.randn(*shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("name", WINDOWS)
def test_windows_are_scipys(name: str) -> None:
    signal = pytest.importorskip("scipy.signal")
    theirs = signal.get_window(name.replace("_", ""), 331, fftbins=True)
    assert np.abs(window(name, 331).numpy() - theirs).max() < 1e-14


@pytest.mark.parametrize("form", [Spectrum, ConvolutionSpectrum])
@pytest.mark.parametrize("framing", FRAMINGS, ids=str)
def test_a_full_scale_tone_has_magnitude_half_the_windows_sum(framing: Framing, form: Any) -> None:
    bin_ = framing.n_fft // 5
    tone = torch.cos(2 * math.pi * bin_ / framing.n_fft * torch.arange(8000, dtype=torch.float64)).float()
    power = form(framing)(tone[None])[0, bin_, 3]
    assert float(power.sqrt()) == pytest.approx(float(framing.weights().sum()) / 2, rel=2e-4)


@pytest.mark.parametrize("form", [Spectrum, ConvolutionSpectrum])
def test_parseval(form: Any) -> None:
    wave = noise(2, 512 * 5)
    power = form(Framing(512, 512, 512, "boxcar", center=False))(wave).double()
    both_sides = power[:, 0] + power[:, -1] + 2 * power[:, 1:-1].sum(1)
    assert torch.allclose(both_sides / 512, wave.double().unflatten(1, (5, 512)).square().sum(-1), rtol=1e-5)


@pytest.mark.parametrize("framing", FRAMINGS, ids=str)
def test_both_forms_agree_to_1e_5_of_the_peak(framing: Framing) -> None:
    rising = torch.sin(torch.arange(9000.0).square() * 1e-4)[None]
    wave = torch.cat([noise(2, 9000), rising])
    fast, exportable = Spectrum(framing)(wave), ConvolutionSpectrum(framing)(wave)
    assert fast.shape == exportable.shape == (3, framing.bins, framing.frames(9000))
    for ours, theirs in zip(exportable, fast, strict=True):
        assert (ours - theirs).abs().max() < 1e-5 * theirs.max()


def test_frames_are_counted_right() -> None:
    for framing in FRAMINGS:
        spectrum = Spectrum(framing)
        for length in (2049, 2050, 4096, 5000, 6543):
            assert spectrum(torch.zeros(1, length)).shape[-1] == framing.frames(length)
    assert Framing(1024, 1024, 512).frames(22050) == 1 + 22050 // 512


@pytest.mark.parametrize(
    ("framing", "shortest"),
    [(FRAMINGS[0], 513), (FRAMINGS[1], 331), (FRAMINGS[3], 400), (FRAMINGS[4], 1)],
)
def test_the_shortest_wave_passes_and_a_shorter_one_is_refused(framing: Framing, shortest: int) -> None:
    assert Spectrum(framing)(torch.zeros(1, shortest)).shape[-1] == framing.frames(shortest) >= 1
    with pytest.raises(ValueError, match=f"at least {shortest} are needed"):
        framing.check(shortest - 1)


@pytest.mark.parametrize("framing", FRAMINGS, ids=str)
def test_rows_have_the_spectra_they_have_alone_however_many_are_worked_on_at_once(framing: Framing) -> None:
    spectrum, rows = Spectrum(framing), noise(40, 9000)
    assert 1 < spectrum.at_once(rows) < 40
    together = spectrum(rows)
    for row, power in zip(rows, together, strict=True):
        assert (spectrum(row[None])[0] - power).abs().max() < 1e-6 * power.max()


def test_what_is_not_padded_is_not_copied() -> None:
    rows = noise(3, 9000)
    assert Framing(512, 400, 160, center=False).pad(rows) is rows
    assert Framing(512, 400, 160).pad(rows).shape == (3, 9400)


def test_all_frames_of_a_clip_are_the_clip() -> None:
    frontend, wave = LogMel(sample_rate=8000, seconds=0.5, n_fft=256, hop=100, mels=16), noise(5, 2, 4000)
    nowhere_else = torch.zeros(5, dtype=torch.long)
    assert torch.equal(frontend.part(wave, nowhere_else, frontend.frames(4000)), frontend(wave))
