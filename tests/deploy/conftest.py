from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ossicle.deploy.config import GOLDEN, MODEL, Config, file_entry

RATE, WINDOW, HOP = 8000, 800, 400


@pytest.fixture(scope="session")
def loudness_model() -> bytes:
    """An ONNX model that needs no training: score = (mean |wave|, 1 - mean |wave|), feature = the same two."""
    from onnx import TensorProto, helper

    def tensor(name, *shape):
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)

    nodes = [
        helper.make_node("Abs", ["wave"], ["size"]),
        helper.make_node("ReduceMean", ["size", "axes"], ["loud"], keepdims=0),
        helper.make_node("Sub", ["one", "loud"], ["quiet"]),
        helper.make_node("Concat", ["loud", "quiet"], ["score"], axis=1),
        helper.make_node("Identity", ["score"], ["feature"]),
    ]
    constants = [
        helper.make_tensor("axes", TensorProto.INT64, [1], [2]),
        helper.make_tensor("one", TensorProto.FLOAT, [1], [1.0]),
    ]
    outputs = [tensor("score", "B", 2), tensor("feature", "B", 2)]
    graph = helper.make_graph(nodes, "loudness", [tensor("wave", "B", 1, "T")], outputs, constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    return model.SerializeToString()


def write_bundle(folder: Path, model: bytes, window: int = WINDOW, hop: int = HOP) -> Path:
    folder.mkdir(parents=True)
    (folder / MODEL).write_bytes(model)
    wave = np.random.default_rng(0).uniform(-1, 1, (3, 1, window)).astype(np.float32)
    loud = np.abs(wave).mean(axis=2)
    score = np.concatenate([loud, 1 - loud], axis=1)
    np.savez(folder / GOLDEN, name=list("abc"), wave=wave, image=wave[:, :, None, None], feature=score, score=score)
    files = {name: file_entry((folder / name).read_bytes()) for name in (MODEL, GOLDEN)}
    Config(RATE, 1, window, hop, "repeat", ("loud", "quiet"), False, files=files).write(folder)
    return folder


@pytest.fixture
def loudness(tmp_path: Path, loudness_model: bytes) -> Path:
    """A bundle's folder around `loudness_model`."""
    return write_bundle(tmp_path / "bundle", loudness_model)
