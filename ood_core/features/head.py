"""The logits in what a model returns, the linear layer that gives them, and that layer as a `Head`."""

from __future__ import annotations

from collections.abc import Sequence
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
    """The last linear layer to run whose output is the logits, or the last to run.

    The layer that the first batch settled on goes before others: features of all batches must be of one layer.
    """
    runs = [one for one in ran if head is None or one.module is head] or ran
    for one in reversed(runs):
        if _equal(one.output, given):
            return one
    return runs[-1] if runs else None


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
