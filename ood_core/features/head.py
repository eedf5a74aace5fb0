"""The linear layer that logits come from, and that layer as a `Head`."""

from __future__ import annotations

from itertools import chain

import torch
from torch import Tensor, nn

from ..checks import InputError
from ..outputs import Head
from .hooks import Ran


def logits_layer(ran: list[Ran], head: nn.Module | None, given: Tensor | None) -> Ran | None:
    """The linear layer that the logits come from, or None.

    In this order, of those with as many columns: the last whose output is the logits; the last whose output they are up
    to a factor or a softmax; the last to run, but no low-rank detour beside another one. The layer that the first batch
    settled on goes before others: features of all batches must be of one layer.
    """
    if given is None:
        return None
    runs = [one for one in reversed(ran) if one.width == given.shape[1] and (head is None or one.module is head)]
    same = (one for one in runs if equal(one.output, given))
    scaled = (one for one in runs if one.output is not None and _scaled(one.output, given))
    direct = (one for one in runs if not _detour(one, runs, ran))
    return next(chain(same, scaled, direct, runs), None)


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
    inner = [first for first in ran if first.module is not one.module and equal(first.output, one.source)]
    return any(equal(first.source, other.source) for first in inner for other in others if other is not one)


def refuse_unknown(model: nn.Module, ran: list[Ran], logits: Tensor) -> None:
    """Say that logits come from no linear layer, so that the input of none is the feature for certain."""
    name = next(name for name, module in model.named_modules() if module is ran[-1].module)
    raise InputError(
        f"{type(model).__name__} gives {logits.shape[1]} logits, and no linear layer does (the last, {name!r}, gives "
        f"{ran[-1].width}), expected one that they come from.\n"
        "Name the module whose output is the feature: extract(model, images, layer=...)."
    )


def equal(x: object, y: object) -> bool:
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
