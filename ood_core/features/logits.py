"""The logits in what a model returns."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from ..checks import InputError
from .head import equal, logits_layer
from .hooks import Ran, Value

_NEAR = 1e-2  # of the length of rows, by which the same numbers may differ


def logits_of(
    model: nn.Module, output: Any, ran: list[Ran], features: Value | None, again: Callable[[], Any] | None
) -> Tensor | None:
    """The logits (B, C) in what the model returned, by the linear layers that `ran`; in a tuple, not its features.

    Args:
        again: what the model makes of a few images of the first batch, once more; None for later batches, of which
            nothing is asked any more.
        features: what a layer that the caller named gave, or None. A model then need not end in logits: None where it
            ends in something else, in the features themselves or in what its last linear layer takes.
    """
    parts = output if isinstance(output, list | tuple) and not hasattr(output, "logits") else ()
    if hasattr(output, "logits"):
        output = output.logits
    elif parts:
        output = parts[0]
    if not isinstance(output, Tensor) or output.ndim != 2:
        if features is not None:
            return None
        empty = "an empty " if isinstance(output, list | tuple) and not output else ""
        shape = tuple(output.shape) if isinstance(output, Tensor) else f"{empty}{type(output).__name__}"
        raise InputError(f"the model returned {shape}, expected logits (B, C).\nWrap it in a module that returns them.")
    if output.is_meta:
        raise InputError(
            f"{type(model).__name__} gave logits on the meta device, expected numbers: its weights are not loaded.\n"
            "Load them, or use a model that loads them as it runs."
        )
    if parts and again is not None:
        if ran:
            _logits_first(model, parts, ran)
        _first_is_no_source(model, parts, ran, features, again)
    elif ran and equal(ran[-1].source, output):
        if features is None:
            raise InputError(
                f"{type(model).__name__} returned what its last linear layer takes, expected logits (B, C).\n"
                "Return what that layer gives, or name the layer of the features: extract(model, images, layer=...)."
            )
        return None
    if features is not None and equal(features.pooled, output) and not any(equal(r.output, output) for r in ran):
        return None
    return output


def _logits_first(model: nn.Module, parts: Sequence[Any], ran: list[Ran]) -> None:
    """Refuse a tuple such as (features, logits), whose first element would be taken for the logits.

    Its first element is then what the last linear layer takes, or no linear layer's output where another element is
    the last one's, or of the shape that the layer takes where another is of that it gives: (h, s fc(h / ||h||)).
    """
    first, last = parts[0], ran[-1]
    at = next((i for i, other in enumerate(parts) if i and equal(last.output, other)), None)
    taken, is_there = equal(last.source, first), ""
    if at is not None:
        is_there = f", while element {at} is what the last one gives"
    elif not taken and _shape(first) == _shape(last.source) != _shape(last.output):
        at = next((i for i, other in enumerate(parts) if i and _shape(other) == _shape(last.output)), None)
        is_there = f", while element {at} has the shape of what the last one gives"
    if not taken and (at is None or any(equal(one.output, first) for one in ran)):
        return
    is_not = "what its last linear layer takes" if taken else "given by no linear layer"
    raise InputError(
        f"{type(model).__name__} returned a tuple whose element 0 is {is_not}{is_there}, expected logits (B, C) first."
        "\nReturn the logits first, or wrap the model in a module that returns them alone."
    )


def _first_is_no_source(
    model: nn.Module, parts: Sequence[Any], ran: list[Ran], features: Value | None, again: Callable[[], Any]
) -> None:
    """Refuse a tuple where another element may be the logits, as in (h, s F.linear(h / ||h||, W)).

    It has several columns, but not as many as element 0, and is no known features. The layer that gives element 0 then
    runs with another output: what changes with it is made of element 0.
    """
    first = parts[0]
    known = [one.source for one in ran] + ([] if features is None else [features.pooled])
    others = [at for at, part in enumerate(parts) if at and _several(part, first) and not _along(part, known)]
    giving = logits_layer(ran, None, first)
    if not others or (giving is None and (features is None or equal(first, features.pooled))):
        return  # without features, the layer that they come from must be named
    at, how = others[0], "and nothing shows which of them is the logits"
    if giving is not None:
        before = again()
        handle = giving.module.register_forward_hook(lambda _, __, output: 1 - output)
        try:
            after = again()
        finally:
            handle.remove()
        made = [one for one in others if (after[one] - before[one]).norm() > _NEAR * before[one].norm()]
        if not made:
            return
        at, how = made[0], "and the latter is made of the former"
    raise InputError(
        f"{type(model).__name__} returned a tuple whose elements 0 and {at} have {first.shape[1]} and "
        f"{parts[at].shape[1]} columns, {how}, expected logits (B, C) first.\n"
        "Return the logits first, or wrap the model in a module that returns them alone."
    )


def _several(part: Any, first: Tensor) -> bool:
    """Whether an element of a tuple can be logits of other classes than the first."""
    fits = isinstance(part, Tensor) and part.ndim == 2 and part.is_floating_point() and len(part) == len(first)
    return fits and 1 < part.shape[1] != first.shape[1]


def _along(x: Tensor, known: Sequence[object]) -> bool:
    """Whether the rows of x have the directions of those of one of the known results."""
    likely = [y for y in known if isinstance(y, Tensor) and y.shape == x.shape]
    unit = F.normalize(x.float())
    return any(bool((F.normalize(y.to(unit)) - unit).norm() <= _NEAR * unit.norm()) for y in likely)


def _shape(x: object) -> tuple[int, ...]:
    return tuple(x.shape) if isinstance(x, Tensor) else ()
