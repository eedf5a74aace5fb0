"""Exact quantiles of more numbers than fit into memory twice."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from .rows import PIECE

_DIGIT = 16  # bits of a number that one pass over the data settles


def quantile(x: Tensor, share: float, memory: int) -> float:
    """The quantile of all numbers of x (N, D), between the two nearest in rank (numpy's and the usual "linear").

    Neither sorted nor copied: a float's bits, read as an integer, keep its order, so that counting their leading 16
    bits, then the next among the candidates left, finds a number by rank in two passes (four for float64).

    Args:
        share: a fraction in [0, 1]; 0.9 gives the 90th percentile.
        memory: bytes to use above x.
    """
    place = share * (x.numel() - 1)
    rank = math.floor(place)
    low = _by_rank(x, rank, memory)
    if place == rank:
        return low
    not_above, next_up = 0, math.inf
    for block in _blocks(x, memory):
        above = block > low
        not_above += int((~above).sum())
        next_up = min(next_up, float(block[above].min()) if bool(above.any()) else math.inf)
    high = low if not_above > rank + 1 else next_up
    return low + (place - rank) * (high - low)


def _by_rank(x: Tensor, rank: int, memory: int) -> float:
    """The number with `rank` numbers before it in ascending order."""
    bits = 64 if x.dtype == torch.float64 else 32
    whole, real = (torch.int64, torch.float64) if bits == 64 else (torch.int32, torch.float32)
    leading = 0
    for shift in range(bits - _DIGIT, -1, -_DIGIT):
        first = shift == bits - _DIGIT
        counts = torch.zeros(2**_DIGIT, dtype=torch.int64, device=x.device)
        for block in _blocks(x, memory):
            keys = _turn(block.view(whole))
            digits = (keys >> shift) & (2**_DIGIT - 1)
            # The first digit holds the sign, and negative numbers come first; later ones count among candidates.
            digits = digits ^ 2 ** (_DIGIT - 1) if first else digits[(keys >> (shift + _DIGIT)) == leading]
            counts += torch.bincount(digits, minlength=2**_DIGIT)
        total = counts.cumsum(0)
        digit = int(torch.searchsorted(total, rank, right=True))
        rank -= int(total[digit] - counts[digit])
        leading = digit - 2 ** (_DIGIT - 1) if first else (leading << _DIGIT) | digit
    return float(_turn(torch.tensor(leading, dtype=whole)).view(real))


def _turn(bits: Tensor) -> Tensor:
    """A float's bits to an integer of the same order and back: negative floats have theirs turned round."""
    size = 8 * bits.element_size()
    turned: Tensor = bits ^ ((bits >> (size - 1)) & (2 ** (size - 1) - 1))
    return turned


def _blocks(x: Tensor, memory: int) -> Iterator[Tensor]:
    """Flat pieces in at least 32 bits, which leave room for the integers made of them."""
    for part in x.split(max(1, min(memory // 5, PIECE) // (8 * x.shape[1]))):
        yield (part if part.dtype in (torch.float32, torch.float64) else part.float()).flatten()
