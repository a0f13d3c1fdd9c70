"""What fits a small device: the limits of DCASE's low-complexity task, and settings of the small CNN within them."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from ossicle.encoders import ENCODERS
from ossicle.size import MOST_BYTES, MOST_MULTIPLY_ADDS, Latency, Row, Size, size
from ossicle.size.text import text, verdict


@pytest.mark.parametrize(
    "settings",
    [
        {"reading": "2d", "width": 16, "attention": 64},
        {"reading": "2d", "width": 8, "growth": (1, 2, 4, 8, 16), "attention": 32},
        {"width": 24, "attention": 128},
    ],
    ids=["2d", "2d-deep", "1d"],
)
def test_settings_of_the_small_cnn_fit_a_small_device(settings: dict[str, Any]) -> None:
    """On ten seconds of VGGish's log-mel, with fifteen classes; docs/distillation.md names them."""
    with torch.device("meta"):
        net = ENCODERS["small"](bins=64, **settings)
        whole = nn.Sequential(net, nn.Linear(net.dim, 15))
    counted = size(whole, torch.empty(1, 1, 64, 998, device="meta"), repeats=1)
    assert counted.weights <= MOST_BYTES
    assert counted.multiply_adds <= 10 * MOST_MULTIPLY_ADDS


def test_the_limits_are_by_the_second_and_by_the_byte() -> None:
    """Of ten seconds, ten times the multiply-adds of one."""

    def found(weights: int, multiply_adds: int, heard: float | None = 10.0) -> Size:
        row = Row("net", "Conv1d", (1,), weights, multiply_adds)
        return Size((row,), weights, weights, Latency(0.1, 0.1, 0.1, heard))

    assert found(128_000, 300_000_000).fits is True
    assert found(128_001, 300_000_000).fits is False
    assert found(128_000, 300_000_001).fits is False
    assert found(1, 1, None).fits is None
    assert verdict(found(128_000, 300_000_000)) == "fits 128 kB / 30 MMACs: yes"
    assert verdict(found(529_344, 530_000_000)) == "fits 128 kB / 30 MMACs: no: 529.3 kB, 53.0 MMACs"


def test_a_graph_whose_front_end_is_not_told_apart_says_so() -> None:
    found = Size((Row("net", "Conv", (1, 3), 7, 5),), 7, 7, Latency(0.2, 0.1, 0.3, 2.0))
    lines = dict(line.split(maxsplit=1) for line in text(found).splitlines())
    assert lines["network"] == "0.0 MMACs a second of sound: 5 in 2 s"
    assert "counted with the network" in lines["front"]
    assert lines["latency"].startswith("median 100.00 ms, slow 300.00 ms, first 200.00 ms: 20 times real time")
