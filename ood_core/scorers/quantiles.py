"""Exact quantiles of more numbers than fit into memory twice."""

from __future__ import annotations

import math
from collections.abc import Iterator

from torch import Tensor

from ..order_statistics import by_rank
from ..precision import at_least_float32
from .rows import PIECE


def quantile(x: Tensor, share: float, memory: int) -> float:
    """The quantile of all numbers of x (N, D), between the two nearest in rank (numpy's and the usual "linear").

    Neither sorted nor copied.

    Args:
        share: a fraction in [0, 1]; 0.9 gives the 90th percentile.
        memory: bytes to use above x.
    """
    place = share * (x.numel() - 1)
    rank = math.floor(place)
    low = float(by_rank(lambda: _blocks(x, memory), rank, at_least_float32(x)))
    if place == rank:
        return low
    not_above, next_up = 0, math.inf
    for block in _blocks(x, memory):
        above = block > low
        not_above += int((~above).sum())
        next_up = min(next_up, float(block[above].min()) if bool(above.any()) else math.inf)
    high = low if not_above > rank + 1 else next_up
    return low + (place - rank) * (high - low)


def _blocks(x: Tensor, memory: int) -> Iterator[Tensor]:
    """Flat pieces in at least 32 bits, which leave room for the integers made of them."""
    for part in x.split(max(1, min(memory // 5, PIECE) // (8 * x.shape[1]))):
        yield part.to(at_least_float32(part)).flatten()
