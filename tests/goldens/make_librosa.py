"""Writes librosa.npz: what librosa 0.11 says about one short wave. Run by hand; no test imports librosa.

pip install librosa && python tests/goldens/make_librosa.py
"""

from __future__ import annotations

import json
from pathlib import Path

import librosa
import numpy as np

SAMPLE_RATE = 22050

USUAL = {"f_min": 50.0, "f_max": 11025.0, "scale": "slaney", "norm": "slaney"}
CASES = {
    "default": USUAL | {"n_fft": 1024, "win": 1024, "hop": 512, "mels": 64},
    "uclser20": USUAL | {"n_fft": 2048, "win": 660, "hop": 220, "mels": 96, "norm": None, "window": "hamming"},
    "htk": USUAL | {"n_fft": 512, "win": 400, "hop": 160, "mels": 40, "scale": "htk", "norm": None, "power": 1.0},
    "constant": USUAL | {"n_fft": 1024, "win": 882, "hop": 441, "mels": 64, "f_min": 0.0, "pad_mode": "constant"},
    "uncentered": USUAL | {"n_fft": 1024, "win": 1024, "hop": 300, "mels": 32, "f_max": 8000.0, "center": False},
    "odd": USUAL | {"n_fft": 1001, "win": 1001, "hop": 333, "mels": 32, "scale": "htk", "norm": None},
}


def sound() -> np.ndarray:
    """A quarter of a second: a rising tone, noise 40 dB below it, a click and silence at the end."""
    rng = np.random.default_rng(20050)
    time = np.arange(SAMPLE_RATE // 4) / SAMPLE_RATE
    wave = 0.5 * np.sin(2 * np.pi * (200 * time + 12000 * time**2)) + 0.005 * rng.standard_normal(len(time))
    wave[1234] += 0.4
    wave[-900:] = 0
    return wave.astype(np.float32)


def mel_spectrogram(wave: np.ndarray, case: dict) -> np.ndarray:
    return librosa.feature.melspectrogram(
        y=wave.astype(np.float64),
        sr=SAMPLE_RATE,
        n_fft=case["n_fft"],
        win_length=case["win"],
        hop_length=case["hop"],
        window=case.get("window", "hann"),
        center=case.get("center", True),
        pad_mode=case.get("pad_mode", "reflect"),
        power=case.get("power", 2.0),
        n_mels=case["mels"],
        fmin=case["f_min"],
        fmax=case["f_max"],
        htk=case["scale"] == "htk",
        norm=case["norm"],
        dtype=np.float64,
    )


def band_split(wave: np.ndarray) -> np.ndarray:
    """The first 1023 bins of ESResNet's spectrum: power of the 16-bit wave over n_fft."""
    stft = librosa.stft(
        wave.astype(np.float64) * 32768,
        n_fft=2048,
        win_length=1654,
        hop_length=561,
        window="blackmanharris",
        pad_mode="reflect",
    )
    return (np.abs(stft) ** 2 / 2048)[:1023]


def main() -> None:
    wave = sound()
    numbers = {"wave": wave, "bands": band_split(wave)}
    for name, case in CASES.items():
        numbers[f"{name}.mel"] = mel_spectrogram(wave, case)
        numbers[f"{name}.bank"] = librosa.filters.mel(
            sr=SAMPLE_RATE,
            n_fft=case["n_fft"],
            n_mels=case["mels"],
            fmin=case["f_min"],
            fmax=case["f_max"],
            htk=case["scale"] == "htk",
            norm=case["norm"],
            dtype=np.float64,
        )
    numbers["default.db"] = librosa.power_to_db(numbers["default.mel"], ref=1.0, amin=1e-5, top_db=None)
    numbers["htk.db"] = librosa.amplitude_to_db(numbers["htk.mel"], ref=1.0, amin=1e-3, top_db=None)
    small = {name: value.astype(np.float32) for name, value in numbers.items()}
    np.savez_compressed(Path(__file__).with_name("librosa.npz"), cases=np.array(json.dumps(CASES)), **small)


if __name__ == "__main__":
    main()
