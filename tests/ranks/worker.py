"""What each of several processes does in the tests, and one alone as the reference: `worker.py OUT RECIPE...`."""

import hashlib
import json
import sys
from pathlib import Path

import numpy as np
import torch
from torch import nn

from ossicle import distributed, recipe, train
from ossicle.data.loader import Batch
from ossicle.draw import Draw
from ossicle.objectives import NPID, Contrastive, Joint, Supervised

CLIPS, BATCH, STEPS = 23, 9, 100
LABELS = ("a", "b", "c")


class Plain(nn.Module):
    """A backbone of two matrices, without batch statistics, and a head for `Supervised`."""

    dim, labels, multilabel = 6, LABELS, False

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(8, 16), nn.Tanh(), nn.Linear(16, 6))
        self.head = nn.Linear(6, len(LABELS))

    backbone = property(lambda self: self)

    def encode(self, image):
        return self.layers(image)


def views(wave, draw):
    return wave + 0.3 * draw("shift", 8).double()


class Given:
    """`views` that mix nothing in."""

    others = 0

    def __call__(self, wave, draw, others=None):
        return views(wave, draw)

    def both(self, wave, draw, others=None):
        return [views(wave, draw.at(view)) for view in (0, 1)]


def share(step):
    """This process's part of a batch of seven to nine clips, one in three without a label."""
    rows = np.random.default_rng(step).permutation(CLIPS)[: BATCH - step % 3]
    rows = torch.from_numpy(np.array_split(rows, distributed.size())[distributed.rank()])
    waves = torch.randn(CLIPS, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    target = torch.arange(CLIPS) % 4 - 1
    ones, keys = torch.ones(len(rows)), rows.numpy().astype(np.uint64)
    return Batch(waves[rows], ones.long(), target[rows], rows, keys, ones.bool()), Draw(0, step, keys)


def learn(objective, steps):
    """Losses (steps,), the last gradients and the weights after so many updates."""
    parameters = list(objective.parameters())
    optimizer, losses = torch.optim.SGD(parameters, lr=0.1, momentum=0.9), []
    for step in range(steps):
        batch, draws = share(step)
        optimizer.zero_grad()
        out = objective(batch, draws)
        out["loss"].backward()
        losses.append(float(distributed.join(out, len(batch), objective, parameters)["loss"]))
        optimizer.step()
        objective.after_step()
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    return {
        "losses": np.array(losses),
        "gradients": torch.cat([gradient.flatten() for gradient in gradients]).numpy(),
        "weights": torch.cat([parameter.detach().flatten() for parameter in parameters]).numpy(),
    }


def npid(**options):
    torch.manual_seed(0)
    keys = np.arange(CLIPS, dtype=np.uint64)
    objective = NPID(Plain(), views, keys, keys // 2, dim=4, temperature=0.4, **options).double()
    return learn(objective, STEPS) | {"bank": objective.bank.numpy(), "scale": objective.scale.numpy()}


def supervised():
    torch.manual_seed(0)
    return learn(Supervised(Plain(), views, torch.tensor([1.0, 4.0, 9.0]), weights="balanced").double(), 5)


def contrastive(**options):
    torch.manual_seed(0)
    keys = np.arange(CLIPS, dtype=np.uint64)
    objective = Contrastive(Plain(), Given(), keys, keys // 2, dim=4, hidden=12, **options).double()
    objective.project[1] = nn.Identity()  # no batch statistics
    return learn(objective, STEPS)


def joint(**options):
    torch.manual_seed(0)
    keys, settings = np.arange(CLIPS, dtype=np.uint64), {"contrastive": {"dim": 4, "hidden": 12}}
    settings["npid"] = {"dim": 4, "temperature": 0.4, **options}
    objective = Joint(Plain(), Given(), keys, keys // 2, weight=0.3, **settings).double()
    objective.contrastive.project[1] = nn.Identity()  # no batch statistics
    return learn(objective, 30) | {"bank": objective.npid.bank.numpy(), "scale": objective.npid.scale.numpy()}


def told():
    """What the plain exchanges give."""
    rank, found = distributed.rank(), {}
    found["every"] = distributed.every({"rank": rank})
    found["gather"] = distributed.gather(torch.full((2 * rank + 1, 2), rank)).tolist()
    found["mean"] = float(distributed.mean(torch.full((rank + 1,), rank + 1.0)))
    found["first"] = distributed.first(lambda: f"of {rank}")
    found["after_first"] = distributed.after_first(lambda: f"of {rank}")
    for name, call in (("refused", lambda: distributed.first(refuse)), ("stopped", stop)):
        try:
            call()
        except (ValueError, distributed.StoppedElsewhere) as error:
            found[name] = type(error).__name__
    return found


def refuse():
    raise ValueError("refused")


def stop():
    distributed.stop(ValueError("all see it"))


def fit(folder, path):
    """Follows a recipe; the digest of all that was learned, bank and running statistics included."""
    seen = {}
    original = train.Session.work

    def work(session):
        original(session)
        state = session.objective.state_dict()
        seen["digest"] = hashlib.sha256(b"".join(value.numpy().tobytes() for value in state.values())).hexdigest()

    train.Session.work = work
    seen["result"] = train.fit(recipe.from_dict(json.loads(Path(path).read_text())), folder)
    train.Session.work = original
    return seen


def main(out, *recipes):
    out, rank = Path(out), distributed.rank()
    kinds = {"softmax": npid(), "nce": npid(negatives=5), "supervised": supervised()}
    kinds |= {"contrastive": contrastive(), "recordings": contrastive(apart="recordings")}
    kinds |= {"joint": joint(), "joint nce": joint(negatives=5)}
    for kind, found in kinds.items():
        np.savez(out / f"{kind}-{rank}.npz", **found)
    runs = {Path(path).stem: fit(out / Path(path).stem, path) for path in recipes}
    (out / f"told-{rank}.json").write_text(json.dumps(told() | {"runs": runs}))


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(*sys.argv[1:])
