"""The logits in what a model returns, the linear layer that gives them, and that layer as a `Head`."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn

from ..checks import InputError
from ..outputs import Head
from .hooks import Ran, Value


def logits_of(model: nn.Module, output: Any, ran: list[Ran], features: Value | None) -> Tensor | None:
    """The logits (B, C) in what the model returned, by the linear layers that `ran`; in a tuple, not its features.

    Args:
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
    if parts and ran:
        _logits_first(model, parts, ran)
    elif ran and _equal(ran[-1].source, output):
        if features is None:
            raise InputError(
                f"{type(model).__name__} returned what its last linear layer takes, expected logits (B, C).\n"
                "Return what that layer gives, or name the layer of the features: extract(model, images, layer=...)."
            )
        return None
    if features is not None and _equal(features.pooled, output) and not any(_equal(r.output, output) for r in ran):
        return None
    return output


def _logits_first(model: nn.Module, parts: Sequence[Any], ran: list[Ran]) -> None:
    """Refuse a tuple such as (features, logits), whose first element would be taken for the logits.

    Its first element is then what the last linear layer takes, or no linear layer's output where another element is
    the last one's, or of the shape that the layer takes where another is of that it gives: (h, s fc(h / ||h||)).
    """
    first, last = parts[0], ran[-1]
    at = next((i for i, other in enumerate(parts) if i and _equal(last.output, other)), None)
    taken, is_there = _equal(last.source, first), ""
    if at is not None:
        is_there = f", while element {at} is what the last one gives"
    elif not taken and _shape(first) == _shape(last.source) != _shape(last.output):
        at = next((i for i, other in enumerate(parts) if i and _shape(other) == _shape(last.output)), None)
        is_there = f", while element {at} has the shape of what the last one gives"
    if not taken and (at is None or any(_equal(one.output, first) for one in ran)):
        return
    is_not = "what its last linear layer takes" if taken else "given by no linear layer"
    raise InputError(
        f"{type(model).__name__} returned a tuple whose element 0 is {is_not}{is_there}, expected logits (B, C) first."
        "\nReturn the logits first, or wrap the model in a module that returns them alone."
    )


def logits_layer(ran: list[Ran], head: nn.Module | None, given: Tensor | None) -> Ran | None:
    """The linear layer that the logits come from, or None.

    In this order, of those with as many columns: the last whose output is the logits; the last whose output they are up
    to a factor or a softmax; the last to run, but no low-rank detour beside another one. The layer that the first batch
    settled on goes before others: features of all batches must be of one layer.
    """
    if given is None:
        return None
    runs = [one for one in reversed(ran) if one.width == given.shape[1] and (head is None or one.module is head)]
    equal = (one for one in runs if _equal(one.output, given))
    scaled = (one for one in runs if one.output is not None and _scaled(one.output, given))
    direct = (one for one in runs if not _detour(one, runs, ran))
    return next(chain(equal, scaled, direct, runs), None)


def _scaled(output: Tensor, logits: Tensor) -> bool:
    """Whether the logits or their logarithms are the output times one factor, but for a shift of each row."""
    x, share = output.to(logits).float(), 1e-3 + 2 * rounding(output, logits)
    x = x - x.mean(dim=1, keepdim=True)
    for made in (logits.float(), logits.float().log()):  # NaN for what is no probability, which is near nothing
        y = made - made.mean(dim=1, keepdim=True)
        if (y - x * (x * y).sum() / (x * x).sum()).norm() <= share * y.norm():
            return True
    return False


def _detour(one: Ran, others: list[Ran], ran: list[Ran]) -> bool:
    """Whether a layer takes what a linear layer makes of the input of another one, as in a low-rank adapter."""
    inner = [first for first in ran if first.module is not one.module and _equal(first.output, one.source)]
    return any(_equal(first.source, other.source) for first in inner for other in others if other is not one)


def refuse_unknown(model: nn.Module, ran: list[Ran], logits: Tensor) -> None:
    """Say that logits come from no linear layer, so that the input of none is the feature for certain."""
    name = next(name for name, module in model.named_modules() if module is ran[-1].module)
    raise InputError(
        f"{type(model).__name__} gives {logits.shape[1]} logits, and no linear layer does (the last, {name!r}, gives "
        f"{ran[-1].width}), expected one that they come from.\n"
        "Name the module whose output is the feature: extract(model, images, layer=...)."
    )


def _shape(x: object) -> tuple[int, ...]:
    return tuple(x.shape) if isinstance(x, Tensor) else ()


def _equal(x: object, y: object) -> bool:
    """Whether two results of a model are the same numbers, in whichever type."""
    if not (isinstance(x, Tensor) and isinstance(y, Tensor)) or x.shape != y.shape:
        return False
    return x is y or torch.equal(x.to(y), y)


def projects(head: nn.Module | None) -> bool:
    """Whether the network ends in a head of this package that gives no logits."""
    formula = getattr(head, "formula", None)
    return formula is not None and formula() is None


def rounding(*computed: Tensor | None) -> float:
    """The coarsest rounding among these results of the model."""
    return max((torch.finfo(x.dtype).eps for x in computed if x is not None and x.is_floating_point()), default=0.0)


def as_head(module: nn.Module | None) -> Head | None:
    """The linear layer as a formula, to be read in eval mode: in train mode, a parametrisation may change its weights.

    None where its weights are on meta: they are there only while it runs.
    """
    if module is None or any(tensor.is_meta for tensor in (*module.parameters(), *module.buffers())):
        return None
    formula = getattr(module, "formula", None)
    if formula is not None:
        head: Head | None = formula()
        return head
    assert isinstance(module, nn.Linear)
    bias = None if module.bias is None else module.bias.detach().float().cpu().clone()
    return Head("linear", module.weight.detach().float().cpu().clone(), bias)


def explaining(head: Head | None, features: Tensor, logits: Tensor, eps: float) -> Head | None:
    """The head, if it explains the logits of the first rows up to the model's rounding `eps`."""
    if head is None or features.shape[1] != head.weight.shape[1] or logits.shape[1] != head.classes:
        return None
    share = 1e-3 + 2 * eps
    expected = logits[:64].double()  # a caller's autocast leaves float64 alone
    found = head.logits(features[:64].double())
    explained = torch.allclose(found, expected, rtol=share, atol=share * float(expected.abs().max()))
    return head if explained else None
