"""Hooks that catch what layers take and give while a model runs, pooled to a row an image."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from ..checks import InputError
from .layers import channels_first
from .storage import Key

POOLS = ("mean", "max", "flatten")


class Value(NamedTuple):
    """What a layer took or gave, pooled to (B, D); None where that has no such axes. `shape` is the unpooled one."""

    pooled: Tensor | None
    shape: tuple[int, ...] | str


class Ran(NamedTuple):
    """A linear layer that ran: what it took where that may be the feature, what it gave where that may be logits.

    `source` is what it took, neither pooled nor copied; `width` how many columns it gave.
    """

    module: nn.Module
    taken: Value | None
    output: Tensor | None
    source: object = None
    width: int = 0


@dataclass
class Caught:
    """What the hooks keep of one batch."""

    rows: int = 0
    values: dict[Key, Value] = field(default_factory=dict)
    ran: list[Ran] = field(default_factory=list)

    def clear(self, rows: int) -> None:
        """Forget the last batch; the next one has so many rows."""
        self.rows, self.values, self.ran = rows, {}, []


@contextmanager
def watch(
    model: nn.Module, layer: str | None, layers: Sequence[str], modules: Mapping[str, nn.Module], pool: str
) -> Iterator[Caught]:
    """Catch the linear layers that may give the logits, with their inputs, and the named layers' outputs.

    A module with a `formula` stands for the linear layers inside it.
    """
    caught = Caught()

    def linear_ran(module: nn.Module, inputs: tuple[Any, ...], named: dict[str, Any], output: Any) -> None:
        source = next(iter((*inputs, *named.values())))
        taken = _pooled(source, pool) if layer is None else None
        logits = output if isinstance(output, Tensor) and output.ndim == 2 and len(output) == caught.rows else None
        if caught.ran and caught.ran[-1].output is None:  # neither the last to run nor the one that gives the logits
            caught.ran.pop()
        width = output.shape[-1] if isinstance(output, Tensor) and output.ndim else 0
        caught.ran.append(Ran(module, taken, logits, None if logits is None else source, width))

    heads = [module for module in model.modules() if hasattr(module, "formula")]
    inside = {part for head in heads for part in head.modules()}
    linear = [module for module in model.modules() if isinstance(module, nn.Linear) and module not in inside]
    handles = [module.register_forward_hook(linear_ran, with_kwargs=True) for module in (*linear, *heads)]
    for name, module in modules.items():

        def layer_ran(module: nn.Module, _: Any, output: Any, name: str = name) -> None:
            value = _pooled(output, pool, module)
            if name == layer:
                caught.values["features",] = value
            if name in layers:
                caught.values["layers", name] = value

        handles.append(module.register_forward_hook(layer_ran))
    try:
        yield caught
    finally:
        for handle in handles:
            handle.remove()


def _pooled(value: Any, pool: str, gave: nn.Module | None = None) -> Value:
    """Pooled or copied at once: the operation after the layer, of which it is what it `gave`, may write into it."""
    if isinstance(value, list | tuple) and value:
        value = value[0]
    if not isinstance(value, Tensor):
        return Value(None, type(value).__name__)
    shape = tuple(value.shape)
    if value.ndim < 2:
        return Value(None, shape)
    if value.ndim == 2 or pool == "flatten":
        return Value(value.clone(memory_format=torch.contiguous_format).flatten(1), shape)
    tokens = value.ndim == 3 and (gave is None or not channels_first(gave, shape))
    axes = 1 if tokens else tuple(range(2, value.ndim))
    return Value(value.mean(dim=axes) if pool == "mean" else value.amax(dim=axes), shape)


def pooled_rows(model: nn.Module, layer: str | None, key: Key, values: dict[Key, Value], rows: int) -> Tensor:
    """One layer's output (B, D), pooled; with no `layer` named, features are what the last linear layer took."""
    name = layer if key == ("features",) else key[-1]
    value = values.get(key)
    if value is None:
        advice = f"Name {'the' if name is None else 'another'} layer to use: extract(model, images, layer=...)."
        if any(isinstance(part, torch.jit.ScriptModule) for part in model.modules()):
            advice = "What torch.jit made runs its layers unseen: put in the modules that were traced or scripted."
        raise InputError(
            f"{type(model).__name__} ran no {'linear layer' if name is None else f'layer {name!r}'}, "
            f"expected one before its logits.\n{advice}"
        )
    if value.pooled is None or len(value.pooled) != rows:
        raise InputError(f"{key[-1]} gave {value.shape}, expected a tensor ({rows}, D, ...).\nName another layer.")
    return value.pooled
