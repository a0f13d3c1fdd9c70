"""A torch module -> Size: hooks count each layer's work, and storages are watched as they come and go."""

from __future__ import annotations

import time
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from math import prod
from statistics import median
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils.flop_counter import FlopCounterMode

from ossicle.model import Backbone, Classifier
from ossicle.size import Row, Size, noise, time_calls

_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
_FOLDABLE = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d, nn.Linear)


def of_module(model: nn.Module, example: Tensor | None, repeats: int) -> Size:
    """The size of a module on one example; see `ossicle.size.size`."""
    backbone = model.backbone if isinstance(model, Classifier) else model if isinstance(model, Backbone) else None
    heard = None
    if backbone is not None:
        heard = backbone.window / backbone.sample_rate
        example = torch.from_numpy(noise(backbone.channels, backbone.window)) if example is None else example
    if example is None:
        raise ValueError(f"{type(model).__name__} does not say what it hears: give an example to call it with")
    with _resting(model):
        latency = time_calls(lambda: model(example), repeats, heard)
        rows, weights = _rows(model, example, repeats)
        peak, kept = _peak_bytes(model, model, example), _kept_bytes(model, example)
        alone = None
        if backbone is not None:
            rows = tuple(_as_exported(row, backbone, example) for row in rows)
            alone = _peak_bytes(model, lambda image: _answer(model, backbone, image), backbone.frontend(example))
    parameters = sum(parameter.numel() for parameter in model.parameters())
    return Size(rows, parameters, weights, latency, peak, alone, kept)


def _answer(model: nn.Module, backbone: Backbone, image: Tensor) -> Tensor:
    """What follows the front end."""
    feature = backbone.encode(image)
    return model.head(feature) if isinstance(model, Classifier) else feature


def _as_exported(row: Row, backbone: Backbone, example: Tensor) -> Row:
    """The front end's row with the work that it is in a bundle, where matrices stand for the fast Fourier transform."""
    if row.name not in ("frontend", "backbone.frontend"):
        return row
    with _counting() as work:
        backbone.frontend.exportable()(example)
        return replace(row, multiply_adds=work(), frontend=True)


@contextmanager
def _counting() -> Iterator[Callable[[], int]]:
    """A function that tells the multiply-adds so far: of convolutions and of all products of matrices, by torch's own
    count of what its kernels are asked for.
    """
    with FlopCounterMode(display=False, custom_mapping=_UNTOLD) as counter:
        yield lambda: counter.get_total_flops() // 2


def _recurrence(given: Sequence[int], into: Sequence[int], around: Sequence[int], *_: Any, **__: Any) -> int:
    """Multiplications and additions of one layer of an LSTM one way, from shapes (N, B, I), (4 H, I) and (4 H, H)."""
    return 2 * prod(given[:2]) * (prod(into) + prod(around))


_UNTOLD = {torch.ops.aten.mkldnn_rnn_layer: _recurrence}
"""What torch does not count by itself: a kernel for LSTMs on processors."""


@contextmanager
def _resting(model: nn.Module) -> Iterator[None]:
    """In evaluation mode, without gradients and on one thread, and then as it was."""
    before, threads = [(module, module.training) for module in model.modules()], torch.get_num_threads()
    torch.set_num_threads(1)
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for module, training in before:
            module.training = training
        torch.set_num_threads(threads)


# layer by layer


def _modules(model: nn.Module, name: str = "") -> Iterator[tuple[nn.Module, str]]:
    """The module and its parts; of those that hold no parameters at all (a front end) nothing inside."""
    yield model, name or type(model).__name__
    if any(True for _ in model.parameters()):
        for inner, part in model.named_children():
            yield from _modules(part, f"{name}.{inner}" if name else inner)


def _is_layer(module: nn.Module) -> bool:
    """Whether it has parameters of its own, nothing inside, or no parameters at all."""
    own = any(True for _ in module.parameters(recurse=False))
    return own or not any(True for _ in module.children()) or not any(True for _ in module.parameters())


@dataclass
class _Calls:
    """What hooks saw of one module in one pass, but not of the modules inside it. `place` is when it was first called;
    one that was never called comes last. `onto` is the layer that made the very tensor that it was given.
    """

    place: int = 1 << 30
    taken: float = 0.0
    multiply_adds: int = 0
    output: tuple[int, ...] = ()
    onto: nn.Module | None = None


class _Watch:
    """Hooks that share out seconds and work: whatever was spent since the last hook is the innermost open module's."""

    def __init__(self, modules: Mapping[str, nn.Module], work: Callable[[], int] = lambda: 0) -> None:
        self.modules, self.work = modules, work
        self.calls = {name: _Calls() for name in modules}
        self.open: list[_Calls] = []
        self.spent, self.order = (0.0, 0), iter(range(1 << 30))
        self.last: tuple[Tensor | None, nn.Module | None] = (None, None)

    def __call__(self, model: nn.Module, example: Tensor) -> dict[str, _Calls]:
        """One pass."""
        hooks = [
            self.modules[name].register_forward_pre_hook(partial(self.enter, of)) for name, of in self.calls.items()
        ]
        hooks += [self.modules[name].register_forward_hook(partial(self.leave, of)) for name, of in self.calls.items()]
        try:
            model(example)
        finally:
            for hook in hooks:
                hook.remove()
        return self.calls

    def share(self) -> None:
        before, self.spent = self.spent, (time.perf_counter(), self.work())
        if self.open:
            self.open[-1].taken += self.spent[0] - before[0]
            self.open[-1].multiply_adds += self.spent[1] - before[1]

    def enter(self, calls: _Calls, module: nn.Module, given: Any) -> None:
        self.share()
        self.open.append(calls)
        calls.place = min(calls.place, next(self.order))
        calls.onto = self.last[1] if given and given[0] is self.last[0] else None

    def leave(self, calls: _Calls, module: nn.Module, given: Any, made: Any) -> None:
        self.share()
        self.open.pop()
        made = made[0] if isinstance(module, nn.RNNBase) else made
        if isinstance(made, Tensor):
            calls.output = tuple(made.shape)
            self.last = (made, module) if isinstance(module, _FOLDABLE) else self.last


def _rows(model: nn.Module, example: Tensor, repeats: int) -> tuple[tuple[Row, ...], int]:
    """The layers in the order of work, and how many numbers a device keeps of them all.

    A layer that is called twice stands once, with what both calls need; a module of several layers stands there too if
    it multiplies matrices itself.
    """
    modules = {name: module for module, name in dict(_modules(model)).items()}
    passes = [_Watch(modules)(model, example) for _ in range(max(1, repeats))]
    with _counting() as work:
        counted = _Watch(modules, work)(model, example)
    rows = tuple(
        Row(
            name,
            type(modules[name]).__name__,
            calls.output,
            sum(parameter.numel() for parameter in modules[name].parameters(recurse=False)),
            calls.multiply_adds,
            median(each[name].taken for each in passes),
        )
        for name, calls in sorted(counted.items(), key=lambda item: item[1].place)
        if calls.multiply_adds or _is_layer(modules[name])
    )
    trained = sum(parameter.numel() for parameter in model.parameters())
    return rows, trained + sum(_after_folding(modules[name], calls.onto) for name, calls in counted.items())


def _after_folding(module: nn.Module, onto: nn.Module | None) -> int:
    """How many numbers more a device keeps than are trained in this module.

    Batch normalization right behind a convolution or linear layer goes into its weights and bias, which it gives it
    where there was none. Elsewhere it is a factor and a summand a channel.
    """
    if not isinstance(module, _NORMS):
        return 0
    kept = 2 if onto is None else int(onto.bias is None)
    return kept * module.num_features - sum(parameter.numel() for parameter in module.parameters())


# memory


class _Alive(TorchFunctionMode):
    """Adds up the storages that are made and given back while it is on; `peak` is the most at once, in bytes."""

    def __init__(self, known: set[int]) -> None:
        super().__init__()
        self.known, self.alive, self.peak = known, 0, 0

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        for tensor in made if isinstance(made, tuple | list) else (made,):
            if isinstance(tensor, Tensor):
                self.meet(tensor.untyped_storage())
        return made

    def meet(self, storage: torch.UntypedStorage) -> None:
        address, size = storage.data_ptr(), storage.nbytes()
        if address and address not in self.known:
            self.known.add(address)
            self.alive += size
            self.peak = max(self.peak, self.alive)
            weakref.finalize(storage, self.part, address, size).atexit = False

    def part(self, address: int, size: int) -> None:
        self.known.discard(address)
        self.alive -= size


def _weights(model: nn.Module) -> set[int]:
    return {tensor.untyped_storage().data_ptr() for tensor in (*model.parameters(), *model.buffers())}


def _peak_bytes(model: nn.Module, answer: Callable[[Tensor], Any], given: Tensor) -> int:
    with _Alive(_weights(model)) as alive:
        answer(given.clone())
    return alive.peak


def _kept_bytes(model: nn.Module, example: Tensor) -> int:
    """What a forward pass keeps for the backward pass, each storage once and weights left out."""
    weights = _weights(model)
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.enable_grad(), torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        made = model(example)  # held until the sum is made, so that no address is used twice
    del made
    return sum(kept.values())
