"""Rows by class, in blocks of float64: what every scorer that learns from labels starts with."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from .. import checks
from ..checks import InputError
from ..outputs import Outputs


def working_dtype(x: Tensor) -> torch.dtype:
    """float64 where the device of x has it."""
    return torch.float32 if x.device.type == "mps" else torch.float64


def class_rows(outputs: Outputs, name: str) -> list[Tensor]:
    """Indices of the rows of each class 0..C-1; C is the network's where logits or a head tell it.

    Raises:
        InputError: no labels, or a class without a row.
    """
    if outputs.labels is None:
        raise InputError(
            f"{name} learns from labels, which these outputs lack.\nPass labels, for example extract(..., labels=y)."
        )
    classes = None
    if outputs.logits is not None:
        classes = int(outputs.logits.shape[1])
    elif outputs.head is not None:
        classes = outputs.head.classes
    y = checks.labels("labels", outputs.labels, len(outputs), classes, every_class=True)
    return list(torch.split(torch.argsort(y, stable=True), torch.bincount(y).tolist()))


def class_mean(x: Tensor, rows: Tensor, memory: int) -> Tensor:
    """Mean (D,) of x[rows] in float64.

    The first row is taken off before summing: n equal rows have exactly their own value as mean, and a large common
    offset costs no digits.
    """
    first = x[rows[0].to(x.device)].to(working_dtype(x))
    total = torch.zeros_like(first)
    for block in blocks(x, rows, memory):
        total += (block - first).sum(dim=0)
    return first + total / len(rows)


def blocks(x: Tensor, rows: Tensor, memory: int) -> Iterator[Tensor]:
    """x[rows] in float64, in pieces that leave room within `memory` bytes for two more of their size."""
    for part in torch.split(rows.to(x.device), max(1, memory // (24 * x.shape[1]))):
        yield x[part].to(working_dtype(x))


def canonical_order(x: Tensor) -> Tensor:
    """An order (N,) of the rows of x (N, D) that does not depend on the one they came in: along a random direction."""
    direction = torch.randn(x.shape[1], generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    keys = [(block.cpu().double() * direction).sum(dim=1) for block in x.split(4096)]
    return torch.argsort(torch.cat(keys), stable=True)
