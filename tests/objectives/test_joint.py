import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from ossicle import assemble
from ossicle.data.loader import Batch
from ossicle.data.manifest import Clip, Manifest
from ossicle.draw import Draw
from ossicle.objectives import NPID, Contrastive, Joint
from ossicle.recipe import RecipeError, from_dict

GROUPS = [0, 0, 1, 2, 2, 2, *range(3, 17)]
NPIDS = {"softmax": {"dim": 4, "temperature": 0.3}, "nce": {"dim": 4, "temperature": 0.3, "negatives": 5}}
CONTRASTIVE = {"dim": 3, "hidden": 12, "apart": "recordings"}


class Plain(nn.Module):
    """A backbone of one matrix, which counts how often it encodes."""

    dim, times = 6, 0

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(8, 6, dtype=torch.float64))

    def encode(self, image):
        self.times += 1
        return image @ self.weight


class Shifted:
    """Views that add a draw and, where asked, the clip that they are given to mix in."""

    def __init__(self, others=0):
        self.others = others

    def __call__(self, wave, draw, others=None):
        shifted = wave + draw("shift", wave.shape[1]).double()
        return shifted if others is None else shifted + others.sum(1)

    def both(self, wave, draw, others=None):
        mixed = (None, None) if others is None else others.split(1, 1)
        return [self(wave, draw.at(view), mixed[view]) for view in (0, 1)]


def batch_of(rows, others=None):
    rows = torch.tensor(rows)
    wave = torch.randn(len(rows), 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    ones = torch.ones(len(rows))
    return Batch(wave, ones.long(), ones.long(), rows, rows.numpy().astype(np.uint64), ones.bool(), others)


def joint(npid, weight, others=0, n=20):
    torch.manual_seed(1)
    keys, groups = np.arange(n, dtype=np.uint64), np.array(GROUPS[:n], np.uint64)
    return Joint(Plain(), Shifted(others), keys, groups, weight=weight, npid=npid, contrastive=CONTRASTIVE).double()


def alone(made, kind, **options):
    """NPID or Contrastive on the same backbone, with the same projection and, of NPID, bank."""
    keys, groups = np.arange(20, dtype=np.uint64), np.array(GROUPS, np.uint64)
    single = kind(made.model, made.views, keys, groups, **options).double()
    single.load_state_dict(getattr(made, kind.__name__.lower()).state_dict(), strict=False)
    return single


def gradients(module, loss):
    """Of the model, and of what else the module learns, by name."""
    module.zero_grad()
    loss.backward()
    return {name: parameter.grad.clone() for name, parameter in module.named_parameters()}


@pytest.mark.parametrize("npid", NPIDS.values(), ids=NPIDS)
def test_weight_0_is_instance_discrimination_of_both_views(npid):
    made, batch = joint(npid, 0.0), batch_of([3, 17, 5, 0])
    draws = Draw(0, 4, batch.key)
    single = alone(made, NPID, **npid)
    wanted = sum(single(batch, draws.at(view))["loss"] for view in (0, 1)) / 2
    found = made(batch, draws)["loss"]
    assert found.item() == wanted.item()
    mine, theirs = gradients(made, found), gradients(single, wanted)
    assert torch.equal(mine["model.weight"], theirs["model.weight"])
    assert torch.equal(mine["npid.project.weight"], theirs["project.weight"])
    assert not any(mine[name].any() for name in mine if name.startswith("contrastive."))


@pytest.mark.parametrize("npid", NPIDS.values(), ids=NPIDS)
@pytest.mark.parametrize("others", [0, 1])
def test_weight_1_is_contrastive_and_a_half_is_the_mean_of_both(npid, others):
    mixed = torch.randn(4, 2 * others, 8, dtype=torch.float64) if others else None
    batch = batch_of([3, 17, 5, 0], mixed)
    draws = Draw(0, 4, batch.key)
    made = joint(npid, 1.0, others)
    single = alone(made, Contrastive, **CONTRASTIVE)
    wanted, found = single(batch, draws)["loss"], made(batch, draws)["loss"]
    assert made.others == 2 * others
    assert found.item() == wanted.item()
    assert torch.equal(gradients(made, found)["model.weight"], gradients(single, wanted)["model.weight"])
    told = joint(npid, 0.5, others)(batch, draws)
    assert told["contrastive"].item() == wanted.item()
    assert told["loss"].item() == pytest.approx((told["npid"].item() + wanted.item()) / 2, rel=1e-15)


def test_each_view_is_encoded_once_and_the_row_moves_once_to_between_the_views():
    made, batch = joint(NPIDS["softmax"] | {"momentum": 0.25}, 0.5), batch_of([3, 7])
    draws, before = Draw(0, 0, batch.key), made.npid.bank.clone()
    made(batch, draws)["loss"].backward()
    assert made.model.times == 2
    assert torch.equal(made.npid.bank, before)
    with torch.no_grad():
        one, other = (made.npid.embed(made.views(batch.wave, draws.at(view)) @ made.model.weight) for view in (0, 1))
    made.after_step()
    wanted = 0.25 * before[[3, 7]] + 0.75 * F.normalize(one + other)
    assert torch.allclose(made.npid.bank[[3, 7]], F.normalize(wanted))
    after = made.npid.bank.clone()
    assert (after != before).any(1).nonzero().flatten().tolist() == [3, 7]
    made.after_step()
    assert torch.equal(made.npid.bank, after)


def test_what_is_learned_and_kept_is_there_once():
    made = joint(NPIDS["softmax"], 0.5)
    assert [name for name, _ in made.named_children()] == ["model", "npid", "contrastive"]
    assert {name.rpartition(".")[0] for name in made.memory()} == {
        *("npid", "npid.project"),
        *(f"contrastive.project.{layer}" for layer in (0, 1, 3)),
    }
    assert set(made.state_dict()) == set(made.memory()) | {"model.weight"}


def test_any_of_the_three_goes_on_with_what_any_kept():
    options = {"npid": NPIDS["softmax"], "contrastive": CONTRASTIVE}
    keys = np.arange(20, dtype=np.uint64)
    singles = {"npid": NPID, "contrastive": Contrastive}
    for name, kind in singles.items():
        old = joint(options["npid"], 0.5)
        old.npid.bank.copy_(F.normalize(torch.randn(20, 4, dtype=torch.float64)))
        new = kind(Plain(), Shifted(), keys, keys, **options[name]).double()
        assert "goes on" in new.remember(old.memory())
        assert all(
            torch.equal(value, old.memory()[f"{name}.{key}"]) for key, value in new.memory().items() if key != "groups"
        )
        again, other = joint(options["npid"], 0.5), next(each for each in singles if each != name)
        fresh = {key: value.clone() for key, value in again.memory().items() if key.startswith(other)}
        said = again.remember(new.memory())
        assert ("head goes on" in said, "bank" in said) == (name == "contrastive", name == "npid")
        assert all(
            torch.equal(again.memory()[f"{name}.{key}"], value)
            for key, value in new.memory().items()
            if key != "groups"
        )
        assert all(torch.equal(again.memory()[key], value) for key, value in fresh.items())
    whole = joint(options["npid"], 0.5, n=9)
    assert whole.remember(old.memory()).count("goes on") == 2
    assert singles["npid"](Plain(), Shifted(), keys, keys, dim=4).remember(new.memory()) == ""
    assert singles["contrastive"](Plain(), Shifted(), keys, keys).remember({"project.weight": keys, "bank": keys}) == ""


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"weight": 1.5}, "weight 1.5: wanted 0"),
        ({"npid": "softmax"}, "npid is 'softmax'; wanted: a table of its settings"),
        ({"npid": {"temprature": 0.1}}, "'npid' has no argument 'temprature'.* Did you mean 'temperature'"),
        ({"contrastive": {"temperature": 0.0}}, "'contrastive' cannot be built"),
    ],
)
def test_what_cannot_be_learned_is_refused_in_sentences(options, says):
    with pytest.raises(RecipeError, match=says):
        assemble.objective(recipe({"name": "joint", **options}), clips())


def clips():
    return Manifest("m", tuple(Clip(f"{number}.wav", str(number)) for number in range(6)), ())


def recipe(objective):
    return from_dict(
        {
            "data": "folder",
            "frontend": {"name": "logmel", "sample_rate": 8000, "seconds": 0.4, "n_fft": 256, "hop": 128, "mels": 16},
            "encoder": {"name": "small", "width": 2, "attention": 8},
            "objective": objective,
            "views": [{"name": "patch", "frames": 20}, "mixback", "random_resized_crop"],
            "stages": [{"epochs": 1}],
        }
    )


def test_a_recipe_sets_both_and_mixes_back():
    asked = {"name": "joint", "weight": 0.25, "npid": {"temperature": 0.2}, "contrastive": {"dim": 32}}
    made = assemble.objective(recipe(asked), clips())
    assert (made.others, made.weight, made.npid.temperature) == (2, 0.25, 0.2)
    assert made.contrastive.project[3].out_features == 32
    changed = recipe(asked).override({"objective.npid.temperature": 0.5})
    assert assemble.objective(changed, clips()).npid.temperature == 0.5
