"""What a bundle hears in a WAV file, or in its golden clips; numpy and onnxruntime alone: python example.py [WAV]"""

import json
import sys
import wave
from pathlib import Path

import numpy as np
import onnxruntime


def samples(path: str, rate: int, channels: int) -> np.ndarray:
    """(C, T) from -1 to 1, of a WAV file of 16 bit at the model's rate; one channel is the mean of all."""
    with wave.open(path) as file:
        if (file.getsampwidth(), file.getframerate()) != (2, rate):
            raise SystemExit(f"{path}: wanted 16 bit at {rate} Hz; convert it first")
        sound = np.frombuffer(file.readframes(file.getnframes()), "<i2").reshape(-1, file.getnchannels()).T / 32768
    return sound.mean(0, keepdims=True) if channels == 1 else np.broadcast_to(sound, (channels, sound.shape[1]))


def windows(sound: np.ndarray, size: int, policy: str) -> np.ndarray:
    """(C, T) -> (n, C, size), side by side, the last up to the end; a short sound is repeated, or zeros follow it."""
    short = max(0, size - sound.shape[1])
    sound = np.pad(sound, ((0, 0), (0, short)), mode="wrap" if policy == "repeat" else "constant")
    starts = [*range(0, sound.shape[1] - size, size), sound.shape[1] - size]
    return np.stack([sound[:, start : start + size] for start in starts]).astype(np.float32)


def main(folder: Path, path: str | None) -> None:
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    session = onnxruntime.InferenceSession(folder / "model.onnx", providers=["CPUExecutionProvider"])
    name, golden = session.get_inputs()[0].name, np.load(folder / "golden.npz")
    if path is None:
        (score,) = session.run(["score"], {name: golden[name]})
        print(f"{np.abs(score - golden['score']).max():.1e} from the trained model on {len(score)} golden clips")
    elif name == "wave":
        sound = samples(path, config["sample_rate"], config["channels"])
        (score,) = session.run(["score"], {"wave": windows(sound, config["window"], config["policy"])})
        for place in np.argsort(-score.mean(0))[:5]:
            print(f"{score.mean(0)[place]:.4f} {config['labels'][place]}")
    else:
        raise SystemExit("this model takes images: make them as frontend.json says, like those in golden.npz")


if __name__ == "__main__":
    main(Path(__file__).resolve().parent, sys.argv[1] if len(sys.argv) > 1 else None)
