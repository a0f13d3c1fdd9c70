"""Every registered component keeps the promise in the first line of its module: `(B, C, T) -> (B, C, 1, F, N): ...`."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from ossicle.deploy.image import SAYS, image
from ossicle.deploy.verify import IMAGE_TOLERANCE
from ossicle.draw import Draw
from ossicle.encoders import ENCODERS
from ossicle.frontends import FRONTENDS
from ossicle.recipe import Spec
from ossicle.views import VIEWS

SIZES = {"B": 3, "C": 2, "T": 16000, "M": 2, "F": 48, "N": 37}
CONTEXT = {"sample_rate": 16000, "seconds": 1.0, "maps": SIZES["M"], "bins": SIZES["F"], "efold": 1.0}
SMALL = {"of": {"name": "logmel", "sample_rate": 16000, "seconds": 1.0}, "size": [32, 20]}
NEEDED = {"crop": {"seconds": 0.5}, "patch": {"frames": 20}, "resized": SMALL}
NARROW = {"width": 8}
SMALLER = dict.fromkeys(ENCODERS, NARROW) | {"small": NARROW | {"attention": 32}}
SMALLER |= {"vggish": {"width": 1 / 16, "frames": 16}}
EVENTS = {"events": {"name": "vggish", "width": 1 / 16, "frames": 16}}
SMALLER |= dict.fromkeys(("vfm", "jrm"), NARROW | EVENTS | {"attention": 32})
SMALLER |= {"cmam": NARROW | EVENTS | {"attention": 32, "queries": 16, "parts": 2}}
WIDTHS = dict.fromkeys(ENCODERS, (4, 8, 16, 64)) | {"vggish": (1 / 32, 1 / 16, 1 / 8, 1)}
"""Three small widths and the published one."""


def build(table: dict[str, Any], name: str, **arguments: Any) -> Any:
    return Spec(name, NEEDED.get(name, {}) | arguments).build(table, **CONTEXT)


def encoder(name: str, **arguments: Any) -> nn.Module:
    torch.manual_seed(0)
    module: nn.Module = build(ENCODERS, name, **SMALLER[name] | arguments)
    return module.eval()


def promise(component: Any) -> tuple[list[str], list[str]]:
    """The dimensions that the first line of the component's module names, on both sides of its arrow."""
    first = (sys.modules[type(component).__module__].__doc__ or "").splitlines()[0]
    sides = re.match(r"\(([^)]*)\) -> \(([^)]*)\):", first)
    assert sides, f"{type(component).__module__} opens with {first!r}, not with its shapes"
    taken, given = ([size.strip() for size in side.split(",")] for side in sides.groups())
    return taken, given


def hold(component: Any, call: Callable[[Tensor], Tensor]) -> dict[str, int]:
    """Calls the component as promised and reads the sizes off: a name has one size, a number is itself."""
    taken, given = promise(component)
    torch.manual_seed(0)
    result = call(0.1 * torch.randn([SIZES[name] for name in taken]))
    assert len(result.shape) == len(given), f"promised {given}, gave {tuple(result.shape)}"
    sizes = {name: SIZES[name] for name in taken}
    for name, size in zip(given, result.shape, strict=True):
        assert size == (int(name) if name.isdigit() else sizes.setdefault(name, size)), f"{name} of {given}: {size}"
    assert torch.isfinite(result).all()
    return sizes


def draw(clips: list[int]) -> Draw:
    return Draw(0, 0, np.array(clips, dtype=np.uint64))


def variants(table: dict[str, Any], values: dict[str, list[Any]]) -> list[Any]:
    """One parameter set for each component, and one for each value of the arguments that it takes.

    "depth" is of every component that takes it, "resnet.depth" of one.
    """
    found = []
    for name, component in table.items():
        found.append(pytest.param(name, {}, id=name))
        for argument in component.__init__.__annotations__:
            for value in values.get(argument, []) + values.get(f"{name}.{argument}", []):
                found.append(pytest.param(name, {argument: value}, id=f"{name}-{argument}-{value}"))
    return found


READINGS: dict[str, list[Any]] = {"resnet.depth": [34, 50], "resnet.attention": [True], "small.reading": ["2d"]}
READINGS |= {"vggish.init": ["published"]}
NARROWER = {f"{name}.width": [widths[0], 3 * widths[0]] for name, widths in WIDTHS.items()}


@pytest.mark.parametrize(("name", "arguments"), variants(FRONTENDS, {"hop": [111], "log": ["db"]}))
def test_front_ends_keep_their_promise(name: str, arguments: dict[str, Any]) -> None:
    frontend = build(FRONTENDS, name, **arguments)
    sizes = hold(frontend, frontend)
    assert (sizes["F"], sizes["N"]) == (frontend.bins, frontend.frames(SIZES["T"]))
    assert promise(frontend)[1][2] in (str(frontend.maps), "M")
    assert (frontend.sample_rate, frontend.seconds) == (16000, 1.0)
    assert hold(frontend, frontend.exportable()) == sizes


HEARD = {"hop": [111], "log": ["db", "log10"], "power": [1.0], "headroom": [0.1], "center": [False]}
HEARD |= {"pad_mode": ["constant"], "how": ["bicubic", "nearest", "area"]}


@pytest.mark.parametrize(("name", "arguments"), variants(FRONTENDS, HEARD))
def test_front_ends_tell_all_that_firmware_needs(name: str, arguments: dict[str, Any]) -> None:
    """numpy makes the same image from the plain values that a front end says it consists of, sound or silence."""
    frontend, noise = build(FRONTENDS, name, **arguments), np.random.default_rng(0).normal(0, 0.1, (2, 16000))
    steps = json.loads(json.dumps(frontend.workings()))
    assert all(step["do"] in SAYS for step in steps)
    burst = noise * (np.abs(np.arange(16000) - 5000) < 300)
    for wave in (noise, burst, 0 * noise):
        wanted = frontend(torch.from_numpy(wave).float()[None])[0].numpy()
        apart = np.abs(image(steps, wave.astype(np.float32)) - wanted) / max(1, np.ptp(wanted))
        assert apart.max() < IMAGE_TOLERANCE
        assert np.quantile(apart, 0.999) < 1e-5


@pytest.mark.parametrize("name", FRONTENDS)
def test_front_ends_hear_a_clip_alone(name: str) -> None:
    frontend = build(FRONTENDS, name)
    wave = 0.1 * torch.randn(5, 2, 16000)
    assert torch.allclose(frontend(wave)[3], frontend(wave[3:4])[0], atol=1e-4)


@pytest.mark.parametrize(("name", "arguments"), variants(ENCODERS, READINGS | NARROWER))
def test_encoders_keep_their_promise(name: str, arguments: dict[str, Any]) -> None:
    module = encoder(name, **arguments)
    assert hold(module, module)["D"] == module.dim


@pytest.mark.parametrize(("name", "arguments"), variants(ENCODERS, READINGS))
def test_encoders_hear_a_clip_alone(name: str, arguments: dict[str, Any]) -> None:
    module = encoder(name, **arguments)
    image = torch.randn(5, 2, 48, 37)
    assert torch.allclose(module(image)[3], module(image[3:4])[0], atol=1e-5)


@pytest.mark.parametrize(("name", "arguments"), variants(ENCODERS, READINGS))
def test_encoders_train_in_bfloat16_with_channels_last(name: str, arguments: dict[str, Any]) -> None:
    module = encoder(name, **arguments).train().to(memory_format=torch.channels_last)
    image = torch.randn(4, 2, 48, 37).contiguous(memory_format=torch.channels_last)
    with torch.autocast("cpu", torch.bfloat16):
        feature = module(image)
    feature.float().square().mean().backward()
    assert torch.isfinite(feature).all()
    assert all(parameter.grad is not None for parameter in module.parameters())
    assert all(torch.isfinite(parameter.grad).all() for parameter in module.parameters())


@pytest.mark.parametrize("name", ENCODERS)
def test_width_makes_an_encoder_larger_and_full_width_is_the_published_one(name: str) -> None:
    *narrow, published = WIDTHS[name]
    sizes = [sum(p.numel() for p in encoder(name, width=width).parameters()) for width in narrow]
    assert sizes == sorted(set(sizes))
    assert build(ENCODERS, name).dim == encoder(name, width=published).dim


@pytest.mark.parametrize("name", VIEWS)
def test_views_keep_their_promise(name: str) -> None:
    view = build(VIEWS, name)
    taken, given = promise(view)
    assert (len(taken), view.domain) in ((3, "wave"), (5, "image"))
    mixed = [torch.randn([SIZES[size] for size in taken])] if name == "mixback" else []
    sizes = hold(view, lambda signal: view(signal, draw([0, 1, 2]), *mixed))
    last, new = taken[-1], given[-1]
    assert (sizes[new] != sizes[last]) == (name in NEEDED)
