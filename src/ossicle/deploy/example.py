"""What a bundle hears in a WAV file, or in its golden clips; numpy and onnxruntime alone: python example.py [WAV]"""

import json
import sys
import wave
from pathlib import Path

import numpy as np
import onnxruntime


def windows(path: str, rate: int, channels: int, size: int, policy: str) -> np.ndarray:
    """(n, C, size) of a WAV file, side by side, the last up to its end; a short one is repeated, or zeros follow it."""
    with wave.open(path) as file:
        if (file.getsampwidth(), file.getframerate()) != (2, rate) or not file.getnframes():
            raise SystemExit(f"{path}: wanted 16 bit at {rate} Hz, and a sample at least; convert it first")
        sound = np.frombuffer(file.readframes(file.getnframes()), "<i2").reshape(-1, file.getnchannels()).T / 32768
    sound = sound.mean(0, keepdims=True) if channels == 1 else np.broadcast_to(sound, (channels, sound.shape[1]))
    short = max(0, size - sound.shape[1])
    sound = np.pad(sound, ((0, 0), (0, short)), mode="wrap" if policy == "repeat" else "constant")
    starts = [*range(0, sound.shape[1] - size, size), sound.shape[1] - size]
    return np.stack([sound[:, start : start + size] for start in starts]).astype(np.float32)


if __name__ == "__main__":
    folder = Path(__file__).resolve().parent
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    session = onnxruntime.InferenceSession(folder / "model.onnx", providers=["CPUExecutionProvider"])
    name, golden = session.get_inputs()[0].name, np.load(folder / "golden.npz")
    if len(sys.argv) < 2:
        (score,) = session.run(["score"], {name: golden[name]})
        print(f"{np.abs(score - golden['score']).max():.1e} from the trained model on {len(score)} golden clips")
    elif name == "wave":
        keys = ("sample_rate", "channels", "window", "policy")
        (score,) = session.run(["score"], {"wave": windows(sys.argv[1], *(config[key] for key in keys))})
        for place in np.argsort(-score.mean(0))[:5]:
            print(f"{score.mean(0)[place]:.4f} {config['labels'][place]}")
    else:
        raise SystemExit("this model takes images: make them as frontend.json says, like those in golden.npz")
