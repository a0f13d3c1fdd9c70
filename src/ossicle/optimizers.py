"""Optimizers over the parts of a model, each at its own share of the rate; their pace, and their state as tensors."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

Part = tuple[Iterable[nn.Module], float]
"""Modules, and their share of the rate."""


def adamw(
    parts: Iterable[Part],
    *,
    lr: float,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-8,
    weight_decay: float = 0.01,
) -> torch.optim.Optimizer:
    """Adam with decoupled weight decay (Loshchilov and Hutter 2019)."""
    parameters = groups(parts, weight_decay=weight_decay)
    return torch.optim.AdamW(parameters, lr=lr, betas=(betas[0], betas[1]), eps=eps, fused=True)


def adam(
    parts: Iterable[Part],
    *,
    lr: float,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-8,
    weight_decay: float = 0.0,
) -> torch.optim.Optimizer:
    """Adam (Kingma and Ba 2015), the decay a part of the gradient and on every parameter, as ESResNet was trained."""
    parameters = groups(parts, weight_decay=weight_decay, vectors=True)
    return torch.optim.Adam(parameters, lr=lr, betas=(betas[0], betas[1]), eps=eps, fused=True)


def sgd(
    parts: Iterable[Part],
    *,
    lr: float,
    momentum: float = 0.9,
    nesterov: bool = False,
    weight_decay: float = 1e-4,
) -> torch.optim.Optimizer:
    """Stochastic gradient descent with momentum."""
    parameters = groups(parts, weight_decay=weight_decay)
    return torch.optim.SGD(parameters, lr=lr, momentum=momentum, nesterov=nesterov, fused=True)


OPTIMIZERS: dict[str, Callable[..., torch.optim.Optimizer]] = {"adamw": adamw, "adam": adam, "sgd": sgd}


def groups(parts: Iterable[Part], *, weight_decay: float, vectors: bool = False) -> list[dict[str, Any]]:
    """Parameter groups: each holds its `scale` on the rate; matrices and kernels decay, `vectors` (gains, biases)
    where asked.

    Parts learn at rates of their own (discriminative rates, Howard and Ruder 2018). What needs no gradient is left out.
    """
    made = []
    for modules, scale in parts:
        trained = [p for module in modules for p in module.parameters() if p.requires_grad]
        for decays in (True, False):
            chosen = [p for p in trained if (p.ndim > 1) == decays]
            decay = weight_decay if decays or vectors else 0.0
            made.append({"params": chosen, "scale": scale, "weight_decay": decay})
    return [group for group in made if group["params"]]


def set_pace(optimizer: torch.optim.Optimizer, rate: float, momentum: float | None) -> None:
    """Sets each group's rate, times its scale, and the momentum (Adam's first beta) where a schedule moves it."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group["scale"]
        if momentum is not None and "betas" in group:
            group["betas"] = (momentum, group["betas"][1])
        elif momentum is not None:
            group["momentum"] = momentum


def parameters(optimizer: torch.optim.Optimizer) -> list[Tensor]:
    """All that the optimizer moves, in a fixed order."""
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]


def state(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The optimizer's memory as named tensors; rates are not part of it, a schedule sets them at each step."""
    return {
        f"{number}.{name}": value
        for number, parameter in enumerate(parameters(optimizer))
        for name, value in optimizer.state.get(parameter, {}).items()
        if isinstance(value, Tensor)
    }


def restore(optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Puts back what `state` gave, in each parameter's own memory layout, so that the same kernels run on it."""
    moved = parameters(optimizer)
    for dotted, value in tensors.items():
        number, _, name = dotted.partition(".")
        parameter = moved[int(number)]
        own = (
            torch.empty_like(parameter, dtype=value.dtype)
            if value.shape == parameter.shape
            else torch.empty_like(value, device=parameter.device)
        )
        optimizer.state[parameter][name] = own.copy_(value)
