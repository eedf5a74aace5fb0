"""Layers by the names of their modules."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import nn

from ..checks import InputError
from ..outputs import RESERVED

_CHANNELS_FIRST = (
    *(nn.Conv1d, nn.ConvTranspose1d, nn.BatchNorm1d, nn.SyncBatchNorm, nn.InstanceNorm1d, nn.GroupNorm),
    *(nn.MaxPool1d, nn.AvgPool1d, nn.AdaptiveMaxPool1d, nn.AdaptiveAvgPool1d),
)
_CHANNELS_LAST = (nn.Linear, nn.LayerNorm, nn.RMSNorm, nn.RNNBase)


def channels_first(module: nn.Module, shape: tuple[int, ...]) -> bool:
    """Whether an output of this shape, (B, D, L) or (B, T, D), is the former, as that of 1-D convolutions.

    The last of the parts that tells by its kind decides, unless its width is that of the other axis alone: around it,
    axes were swapped.
    """
    for part in reversed([part for part in module.modules() if not any(part.children())]):
        if isinstance(part, (*_CHANNELS_FIRST, *_CHANNELS_LAST)):
            first = isinstance(part, _CHANNELS_FIRST)
            own, other = (1, 2) if first else (2, 1)
            swapped = shape[own] != _width(part) == shape[other]
            return first != swapped
    return False


def _width(part: nn.Module) -> int | None:
    """How many channels it gives, where it knows."""
    names = ("out_channels", "num_features", "num_channels", "out_features")
    return next((getattr(part, name) for name in names if hasattr(part, name)), None)


def each_once(layers: Any) -> tuple[str, ...]:
    """The names, each once: a layer taken twice would have twice the rows."""
    if isinstance(layers, str) or not isinstance(layers, Iterable):
        advice = f"Pass layers=[{layers!r}]." if isinstance(layers, str) else "For no further layers leave it out."
        raise InputError(f"layers is {layers!r}, expected a list of names of modules.\n{advice}")
    given = list(layers)
    return tuple(name for at, name in enumerate(given) if name not in given[:at])


def layer_modules(model: nn.Module, layer: str | None, layers: Sequence[str], prefix: str) -> dict[str, nn.Module]:
    """The modules of `layers` and of `layer`, where that is named, by name.

    Args:
        prefix: what a compiled model's names begin with, which may be left out.
    """
    named = dict(model.named_modules())
    found = {}
    for name in (*layers, *([] if layer is None else [layer])):
        module = named.get(name.removeprefix(prefix)) if isinstance(name, str) and name else None
        if module is None:
            close = [n for n in named if n and "." not in n]
            raise InputError(
                f"layer {name!r} is not a module of {type(model).__name__}, expected one of: {', '.join(close)}, ...\n"
                "List all names with [name for name, _ in model.named_modules()]."
            )
        if isinstance(module, torch.jit._script.RecursiveScriptModule):  # takes no hooks, where a traced one does
            raise InputError(
                f"layer {name!r} is a {type(module).__name__} made by torch.jit, which cannot be watched, expected a "
                "module that Python runs.\nPut in the module that was scripted, or name another layer."
            )
        found[name] = module
    _refuse_reserved(layers)
    return found


def _refuse_reserved(layers: Sequence[str]) -> None:
    """Refuse names under which outputs hold something else: a scorer would read that in place of the module."""
    for name in layers:
        if name in RESERVED:
            raise InputError(
                f"layers holds the module {name!r}, expected other names than {', '.join(RESERVED)}: a scorer on "
                f"layer {name!r} would not see that module.\nMake its output the features with extract(model, images, "
                f"layer={name!r}), or keep it by another name with extract(torch.nn.Sequential(model), images, "
                f'layers=["0.{name}"]).'
            )
