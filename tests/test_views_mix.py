"""Mix-back: the published formula, whatever logarithm the image has, and what is brought to it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from ossicle.draw import Draw
from ossicle.frontends import FRONTENDS
from ossicle.frontends.logmel import LogMel
from ossicle.recipe import Spec
from ossicle.views import Views
from ossicle.views.image import Compression, Patch
from ossicle.views.mix import MixBack
from ossicle.views.wave import Crop, Gain

RATE = 8000
FRONTS: list[dict[str, Any]] = [
    {"name": "bands", "n_fft": 256, "win": 200, "hop": 100},
    *(
        {"name": "logmel", "mels": 16, "n_fft": 256, "log": log, "power": power, "offset": 1e-9}
        for log in ("ln", "log10", "db")
        for power in (1.0, 2.0)
    ),
]


def front(tree: dict[str, Any]) -> Any:
    arguments = {name: value for name, value in tree.items() if name != "name"}
    return Spec(tree["name"], arguments | {"sample_rate": RATE, "seconds": 0.5}).build(FRONTENDS)


def draw(clips: int | list[int], **where: int) -> Draw:
    keys = np.arange(clips) if isinstance(clips, int) else np.array(clips)
    return Draw(where.get("seed", 1), 0, keys.astype(np.uint64) * 7919, where.get("view", 0))


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(
    "tree", FRONTS, ids=lambda tree: "-".join(str(tree.get(k, "")) for k in ("name", "log", "power"))
)
def test_an_image_gains_its_efold_where_power_grows_by_e(tree: dict[str, Any]) -> None:
    frontend, wave = front(tree), noise(2, 1, 4000)
    gained = frontend(wave * torch.e**0.5) - frontend(wave)
    assert torch.allclose(gained, torch.full_like(gained, frontend.efold), rtol=1e-3)


@pytest.mark.parametrize("base", [("ln", 1.0), ("log10", 1 / np.log(10)), ("db", 10 / np.log(10))])
def test_mix_back_is_the_published_formula_in_linear_power(base: tuple[str, float]) -> None:
    """(1 - lambda) X + lambda (E_X / E_B) B, E the sum over all of a clip's bins, as loops in float64."""
    efold, where = base[1], draw(5)
    image, background = 2 * efold * noise(5, 2, 3, 6, 7), 3 * efold * noise(5, 2, 3, 6, 7, seed=1) - 4 * efold
    mixed = MixBack(efold=efold, most=0.9)(image, where, background)
    share = where("mixback", 1, 1, 1, 1, high=0.9).flatten().tolist()
    for clip in range(5):
        x, b = (np.exp(each[clip].double().numpy() / efold) for each in (image, background))
        wanted = (1 - share[clip]) * x + share[clip] * x.sum() / b.sum() * b
        assert np.allclose(mixed[clip].double().numpy(), efold * np.log(wanted), atol=1e-4 * efold)
        assert np.exp(mixed[clip].double().numpy() / efold).sum() == pytest.approx(x.sum(), rel=1e-4)


def test_a_background_counts_by_its_shape_and_not_by_its_level() -> None:
    image, background = noise(4, 1, 1, 8, 9), noise(4, 1, 1, 8, 9, seed=1)
    view = MixBack(efold=1.0, most=0.5)
    quiet, loud = (view(image, draw(4), background + level) for level in (-400.0, 400.0))
    assert torch.allclose(quiet, loud, atol=1e-3)


def test_the_share_is_one_for_both_views_and_uniform_up_to_the_most() -> None:
    """A background of all its power in one bin that the image lacks shows the share there."""
    image, background = torch.zeros(3000, 1, 1, 1, 2), torch.zeros(3000, 1, 1, 1, 2)
    image[..., 1], background[..., 0] = -80.0, -80.0
    one, other, next_pair = (
        MixBack(efold=1.0)(image, draw(3000, view=view), background)[..., 1].exp().flatten() for view in (0, 1, 2)
    )
    assert torch.equal(one, other)
    assert not torch.equal(one, next_pair)
    assert 0.0499 < float(one.max()) <= 0.05
    assert float(one.mean()) == pytest.approx(0.025, abs=0.001)


def test_nothing_is_mixed_in_where_nothing_is_asked_or_nothing_sounds() -> None:
    image = noise(4, 1, 1, 8, 9)
    assert torch.allclose(MixBack(efold=4.0, most=0.0)(image, draw(4), image.flip(-1)), image, atol=1e-5)
    silent = torch.full_like(image, -180.0)
    assert torch.allclose(MixBack(efold=4.0)(image, draw(4), silent), image, atol=1e-5)
    assert MixBack(efold=4.0, most=1.0)(silent, draw(4), silent).isfinite().all()
    assert MixBack(efold=4.0, most=1.0)(silent, draw(4), image).isfinite().all()


@pytest.fixture
def frontend() -> LogMel:
    return LogMel(sample_rate=RATE, seconds=0.5, n_fft=256, hop=128, mels=16)


def test_what_is_mixed_in_goes_through_the_views_before_under_draws_of_its_own(frontend: LogMel) -> None:
    crop, gain, patch, squash = Crop(seconds=0.3, sample_rate=RATE), Gain(), Patch(frames=8), Compression()
    mix = MixBack(efold=frontend.efold, most=0.5)
    wave, other = noise(6, 1, 4000), noise(6, 1, 4000, seed=1)
    views = Views(frontend, [crop, gain, patch, mix, squash])
    assert views.others == 1
    for view in (0, 1):
        here, there = draw(6, view=view), draw(6, view=view + 2)
        near, far = (patch(frontend(gain(crop(each, at), at)), at) for each, at in ((wave, here), (other, there)))
        assert torch.equal(views(wave, here, other[:, None]), squash(mix(near, here, far), here))


def test_two_mixings_take_the_others_in_turn(frontend: LogMel) -> None:
    first, second, patch = MixBack(efold=1.0, most=0.5), MixBack(efold=1.0, most=0.3), Patch(frames=8)
    views = Views(frontend, [first, patch, second])
    wave, others = noise(3, 1, 4000), noise(3, 2, 1, 4000, seed=1)
    here = draw(3)
    once = first(frontend(wave), here, frontend(others[:, 0]))
    wanted = second(patch(once, here), here, patch(frontend(others[:, 1]), here.at(4)))
    assert torch.equal(views(wave, here, others), wanted)


def test_a_clip_can_be_mixed_with_another_piece_of_itself(frontend: LogMel) -> None:
    patch, mix = Patch(frames=8), MixBack(efold=1.0, most=0.5, background="own")
    views, wave, here = Views(frontend, [patch, mix]), noise(6, 1, 4000), draw(6)
    assert views.others == 0
    image = frontend(wave)
    assert torch.equal(views(wave, here), mix(patch(image, here), here, patch(image, here.at(2))))


def test_views_that_are_brought_too_few_others_say_so(frontend: LogMel) -> None:
    with pytest.raises(ValueError, match="mix in 1 other clips and got 0"):
        Views(frontend, [MixBack(efold=1.0)])(noise(2, 1, 4000), draw(2))


class Counted(LogMel):
    """A front end that knows how many frames it worked out."""

    worked = 0

    def painted(self, power: Tensor) -> Tensor:
        self.worked += power.shape[0] * power.shape[-1]
        return super().painted(power)


def mixing(frontend: LogMel, before: list[Any], *, background: Any = "other") -> list[Any]:
    return [*before, MixBack(efold=frontend.efold, most=0.5, background=background), Compression()]


@pytest.mark.parametrize(
    ("before", "background", "frames"),
    [
        ([Patch(frames=8)], "other", 8 + 8 + 8 + 8),
        ([Patch(frames=20)], "other", 32 + 20 + 20),
        ([Patch(frames=8)], "own", 8 + 8 + 8 + 8),
        ([Patch(frames=20)], "own", 32),
        ([], "other", 32 + 32 + 32),
        ([Gain(), Patch(frames=20)], "other", 20 + 20 + 20 + 20),
        ([Gain()], "other", 32 + 32 + 32 + 32),
        ([Compression(), Patch(frames=8)], "other", 32 + 32 + 32),
    ],
)
def test_two_views_are_what_each_is_alone_and_no_frame_is_worked_out_for_nothing(
    before: list[Any], background: Any, frames: int
) -> None:
    frontend = Counted(sample_rate=RATE, seconds=0.5, n_fft=256, hop=128, mels=16, headroom=0.005)
    views = Views(frontend, mixing(frontend, before, background=background))
    wave, others, here = noise(5, 1, 4000), noise(5, 2 * views.others, 1, 4000, seed=1), draw(5)
    both = views.both(wave, here, others)
    assert frontend.worked == 5 * frames
    plain = Views(Whole(frontend), mixing(frontend, before, background=background))
    for view, image in enumerate(both):
        brought = others[:, view : view + 1] if views.others else None
        torch.testing.assert_close(image, plain(wave, here.at(view), brought), rtol=1e-5, atol=1e-5)


class Whole(torch.nn.Module):
    """A front end that always works out all of a clip."""

    def __init__(self, frontend: LogMel) -> None:
        super().__init__()
        self.frontend = frontend

    def forward(self, wave: Tensor) -> Tensor:
        return self.frontend(wave)
