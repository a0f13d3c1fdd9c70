import numpy as np
import pytest
import torch
from torch import nn

from ossicle.data.loader import Batch
from ossicle.draw import Draw
from ossicle.objectives.mimic import Mimic

CLIPS, WIDE = 60, 8


class Encoder(nn.Module):
    """(B, 6) -> (B, 5): two layers, whose images are their waves."""

    dim = 5

    def __init__(self):
        super().__init__()
        torch.manual_seed(1)
        self.layers = nn.Sequential(nn.Linear(6, 32), nn.Tanh(), nn.Linear(32, self.dim))

    def encode(self, image):
        return self.layers(image)


def as_is(wave, draw):
    return wave


def batch_of(clips=CLIPS):
    rows = torch.arange(clips)
    wave = torch.randn(CLIPS, 6, generator=torch.Generator().manual_seed(3))[:clips]
    return Batch(wave, rows, -torch.ones_like(rows), rows, np.arange(clips, dtype=np.uint64), rows >= 0)


def loss_of(objective, batch):
    return objective(batch, Draw(0, 0, batch.key))["loss"]


def features(*sizes):
    return [torch.randn(CLIPS, size, generator=torch.Generator().manual_seed(size)) for size in sizes]


def test_directions_that_agree_cost_nothing_whatever_their_scale():
    batch, made = batch_of(), Mimic(Encoder(), as_is, features(4, 3), teachers=["a", "b"])
    said = made.map(made.model.encode(batch.wave)).detach()
    scale = torch.rand(CLIPS, 1) + 0.1
    made.bank = torch.cat([scale * said[:, :4], 7 * said[:, 4:]], 1)
    assert loss_of(made, batch).item() == pytest.approx(0, abs=1e-6)
    made.bank = torch.cat([-said[:, :4], 7 * said[:, 4:]], 1)
    assert loss_of(made, batch).item() == pytest.approx(1, abs=1e-6)  # 2 by one teacher, 0 by the other


def test_the_loss_is_half_the_squared_distance_of_unit_vectors():
    batch, made = batch_of(7), Mimic(Encoder(), as_is, features(4), teachers=["a"])
    mine = made.map(made.model.encode(batch.wave)).detach().numpy()
    pairs = zip(mine, features(4)[0].numpy(), strict=False)
    unit = [(one / np.linalg.norm(one), other / np.linalg.norm(other)) for one, other in pairs]
    assert loss_of(made, batch).item() == pytest.approx(np.mean([np.sum((u - v) ** 2) / 2 for u, v in unit]), rel=1e-5)


def test_each_clip_is_compared_with_its_own_feature_and_only_the_student_and_its_map_are_saved():
    batch, made = batch_of(), Mimic(Encoder(), as_is, features(4), teachers=["a"])
    turned = Batch(batch.wave.flip(0), batch.length, batch.target, batch.index.flip(0), batch.key[::-1], batch.valid)
    assert loss_of(made, turned).item() == pytest.approx(loss_of(made, batch).item(), rel=1e-6)
    assert {name.partition(".")[0] for name in made.state_dict()} == {"model", "map"}


def test_a_student_takes_over_its_teachers_geometry():
    """Near for the teacher is near for the student, without its map, and for clips that it did not learn from."""
    batch = batch_of()
    teacher = nn.Sequential(nn.Linear(6, 2, bias=False), nn.Linear(2, WIDE, bias=False))
    with torch.no_grad():
        taught = teacher(batch.wave)
    made = Mimic(Encoder(), as_is, [taught], teachers=["a"])
    fresh = torch.randn(CLIPS, 6, generator=torch.Generator().manual_seed(9))

    def likeness():
        with torch.no_grad():
            units = [nn.functional.normalize(each, dim=1) for each in (made.model.encode(fresh), teacher(fresh))]
        pairs = torch.triu_indices(CLIPS, CLIPS, 1)
        return np.corrcoef([(unit @ unit.T)[*pairs].numpy() for unit in units])[0, 1]

    before, optimizer = likeness(), torch.optim.Adam(made.parameters(), lr=1e-2)
    for _ in range(300):
        optimizer.zero_grad()
        loss = loss_of(made, batch)
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.01
    assert before < 0.5 < 0.9 < likeness()
