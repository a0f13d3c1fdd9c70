"""What a machine is asked before a run: which precision is fast, and sound, on it."""

import platform
import subprocess
import sys
import time

import pytest
import torch
from torch import nn

from ossicle import assemble, machine
from ossicle.encoders import ENCODERS
from ossicle.recipe import from_dict


class Network(nn.Module):
    """Slow in float32; under bf16 autocast fast, and `drift` apart from call to call."""

    def __init__(self, drift):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(3))
        self.drift, self.calls = drift, 0

    def forward(self, image):
        if not torch.is_autocast_enabled("cpu"):
            time.sleep(0.01)
            return image.mean() * self.weight
        self.calls += 1
        return image.mean() * self.weight * (1 + self.drift * self.calls)


@pytest.mark.parametrize(("drift", "chosen"), [(0.0, "bf16"), (0.5, "fp32"), (float("nan"), "fp32")])
def test_bf16_must_be_faster_and_give_the_same_finite_gradient(drift, chosen):
    assert machine.fastest_precision(Network(drift), torch.ones(2, 1, 4, 4)) == chosen


def test_dropout_does_not_keep_bf16_away():
    assert machine.fastest_precision(nn.Sequential(Network(0.0), nn.Dropout(0.5)), torch.ones(2, 1, 4, 4)) == "bf16"


@pytest.mark.parametrize(("frames", "narrow"), [(65, False), (33, False), (32, True), (19, True)])
def test_bf16_keeps_away_from_images_that_shrink_to_two_columns_before_a_stride(frames, narrow):
    """A ResNet halves its image four times before its last stride."""
    encoder = ENCODERS["resnet"](depth=18, width=8, maps=1)
    image = torch.zeros(2, 1, 64, frames)
    assert machine.too_narrow(encoder, image) is narrow
    if narrow:
        assert machine.fastest_precision(encoder, image, gain=0.0) == "fp32"
    assert not any(layer._forward_pre_hooks for layer in encoder.modules())


def test_precision_is_chosen_for_what_is_learned_from():
    """Not for the window: the views of a recipe may be narrower."""
    tree = {"data": "folder", "frontend": "logmel", "encoder": "resnet", "objective": "npid", "stages": [{"epochs": 1}]}
    recipe = from_dict(tree | {"views": [{"name": "crop", "seconds": 0.5}]})
    model = assemble.backbone(recipe)
    wave, view = assemble.quiet_view(recipe, model, 3)
    assert wave.shape[-1] == model.window
    assert view.shape == model.frontend(wave[..., : model.sample_rate // 2]).shape


FAULTS = """
import resource, sys, torch
from ossicle import machine
if sys.argv[1] == "keep":
    assert machine.keep_memory()
faults = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(3):
    torch.ones(10_000_000)
before = faults()
for _ in range(10):
    torch.ones(10_000_000)
print(faults() - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="this C library has no such setting")
def test_kept_memory_is_not_asked_for_again():
    asked = {
        how: int(subprocess.run([sys.executable, "-c", FAULTS, how], capture_output=True, check=True).stdout)
        for how in ("keep", "give back")
    }
    assert asked["keep"] < 100 < 1000 < asked["give back"]
