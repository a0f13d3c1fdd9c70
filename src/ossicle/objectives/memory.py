"""What an objective keeps beside its model -> named tensors, from which a later run goes on."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn


def kept(objective: nn.Module) -> dict[str, Tensor]:
    """All of an objective's state but its model's."""
    return {name: value for name, value in objective.state_dict().items() if not name.startswith("model.")}


def part(memory: Mapping[str, Tensor], name: str) -> dict[str, Tensor]:
    """What the objective `name` may find its own in: of a joint memory the part of that name, else all of it."""
    own = {key.removeprefix(f"{name}."): value for key, value in memory.items() if key.startswith(f"{name}.")}
    return own or dict(memory)
