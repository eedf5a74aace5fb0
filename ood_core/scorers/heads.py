"""The last layer as scorers use it: a linear map of the rows it takes, whatever its kind."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from ..checks import InputError
from ..outputs import Head, Outputs, unit
from ..precision import working_dtype
from .rows import blocks, rounding

PINV_SHARE = 1e-6  # singular values of W below this share of the largest are rounding of float32 weights
_TOLERANCE = 1e-3  # of the product of lengths: above what TF32 products leave, below what a wrong layer gives


def linear_form(x: Tensor, outputs: Outputs, layer: str, name: str, memory: int) -> dict[str, Tensor]:
    """The head as W (C, D) and b (C,) on the rows it takes, after a check that it gives the logits.

    - `linear`, `unit`: its own W and b; a unit head takes h / ||h||.
    - `distance`: W = prototypes minus their mean and b_c = -(||w_c||^2 - mean_k ||w_k||^2) / 2. Then W x + b is minus
      half the squared distances, up to a number that all classes share: the same classes and decision boundaries.

    Returns:
        dict of float64 tensors: weight, bias, and divides, 1 where the head takes h / ||h||, else 0.
    Raises:
        InputError: no head; or the head does not give the logits of these outputs from this layer.
    """
    head = outputs.head
    if head is None:
        raise InputError(
            f"{name} works through the last layer, which these outputs lack.\n"
            "Pass head=(weight, bias) or a Head. extract keeps one where a single linear layer makes the logits of the "
            "features: not of another layer, not where they are scaled or summed afterwards."
        )
    if head.scale <= 0:
        raise InputError(f"{name} got a head of scale {head.scale}, expected one above 0.\nPass the scale's size.")
    _require_logits(x, head, outputs, layer, name, memory)
    weight = head.weight.to(device=x.device, dtype=working_dtype(x))
    bias = torch.zeros_like(weight[:, 0]) if head.bias is None else head.bias.to(weight)
    if head.kind == "distance":
        weight = unit(weight) if head.normalized else weight
        origin = weight.mean(dim=0)
        weight = weight - origin
        # Squares of the prototypes, from their mean: a large common offset costs no digits.
        squares = (weight * weight).sum(dim=1)
        bias = -(squares - squares.mean()) / 2 - weight @ origin
    divides = head.kind == "unit" or head.normalized
    return {"weight": weight, "bias": bias, "divides": weight.new_tensor(float(divides))}


def taken(state: dict[str, Tensor], x: Tensor) -> Tensor:
    """The rows that the head multiplies: h, or h / ||h|| where it divides."""
    return unit(x) if bool(state["divides"]) else x


def taken_blocks(state: dict[str, Tensor], x: Tensor, memory: int) -> Iterator[Tensor]:
    """All rows that the head multiplies, in the pieces of `blocks`."""
    return (taken(state, block) for block in blocks(x, None, memory))


def linear_logits(state: dict[str, Tensor], rows: Tensor) -> Tensor:
    """W x + b (n, C) of rows that `taken` gave."""
    logits: Tensor = torch.addmm(state["bias"], rows, state["weight"].T)
    return logits


def level_point(state: dict[str, Tensor]) -> Tensor:
    """-pinv(W) b (D,): the shortest x at which all of W x + b is 0, in least squares."""
    inverse: Tensor = torch.linalg.pinv(state["weight"], rtol=PINV_SHARE)
    return -inverse @ state["bias"]


def _require_logits(x: Tensor, head: Head, outputs: Outputs, layer: str, name: str, memory: int) -> None:
    if x.shape[1] != head.weight.shape[1]:
        raise InputError(
            f"{name} got layer {layer!r} with {x.shape[1]} columns, expected the {head.weight.shape[1]} that the head "
            "takes.\nName the layer that feeds the last one."
        )
    if outputs.logits is None:
        if layer != "features":
            raise InputError(
                f"{name} got layer {layer!r} without logits, expected logits that show whether the head takes it.\n"
                "Pass logits, or leave layer at 'features'."
            )
        return
    if outputs.logits.shape[1] != head.classes:
        raise InputError(
            f"{name} got {outputs.logits.shape[1]} logits and a head of {head.classes} classes, expected as many.\n"
            "Pass the head that made these logits."
        )
    lengths = torch.linalg.vector_norm(head.weight.to(device=x.device, dtype=working_dtype(x)), dim=1)
    share = _TOLERANCE + 2 * (rounding(x) + rounding(outputs.logits))
    start = 0
    for block in blocks(x, None, memory // (1 + head.classes // x.shape[1])):
        given = outputs.logits[start : start + len(block)].to(block)
        start += len(block)
        divides = head.kind == "unit" or head.normalized
        size = torch.ones_like(block[:, 0]) if divides else torch.linalg.vector_norm(block, dim=1)
        if head.kind == "distance":
            reach = head.scale * (1 + head.plus_mean) * (size + (1.0 if head.normalized else lengths.max()))
        else:
            reach = size * lengths.max() + (0.0 if head.bias is None else head.bias.abs().max().to(block))
        apart = (head.logits(block) - given).abs().amax(dim=1)
        off = ~(apart <= share * reach)
        if bool(off.any()):
            raise InputError(
                f"{name}'s head gives other logits from layer {layer!r} than these outputs hold (apart by "
                f"{float(apart[off].max()):.3g}), expected the same.\nPass the head of this network, with its kind "
                "and bias, and the layer that feeds it."
            )
