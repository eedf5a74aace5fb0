"""The number of a given rank among more numbers than fit into memory twice."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor

_DIGIT = 16  # bits of a number that one pass over the data settles


def by_rank(blocks: Callable[[], Iterable[Tensor]], rank: int, dtype: torch.dtype) -> Tensor:
    """The number with `rank` numbers before it in ascending order: () in `dtype`, on the device of the blocks.

    A float's bits, read as an integer, keep its order, so that counting their leading 16 bits, then the next among the
    candidates left, finds it in two passes (four for float64), without sorting or copying.

    Args:
        blocks: gives all numbers anew at each call, in tensors of any shape.
        rank: from 0.
        dtype: of the blocks, float32 or float64.
    """
    bits, whole = (64, torch.int64) if dtype == torch.float64 else (32, torch.int32)
    leading = torch.zeros((), dtype=whole)
    for shift in range(bits - _DIGIT, -1, -_DIGIT):
        first = shift == bits - _DIGIT
        counts = torch.zeros(2**_DIGIT, dtype=torch.int64)
        for block in blocks():
            counts = counts.to(block.device) + _counted(block, whole, shift, None if first else leading)
        total = counts.cumsum(0)
        digit = torch.searchsorted(total, rank, right=True)
        rank -= int(total[digit] - counts[digit])
        leading = (digit - 2 ** (_DIGIT - 1) if first else (leading << _DIGIT) | digit).to(whole)
    return _turned(leading).view(dtype)


def _counted(block: Tensor, whole: torch.dtype, shift: int, leading: Tensor | None) -> Tensor:
    """How often each digit stands at `shift`, in numbers whose digits before it are `leading`."""
    keys = _turned(block.flatten().view(whole))
    digits = (keys >> shift) & (2**_DIGIT - 1)
    # The first digit holds the sign, and negative numbers come first.
    digits = digits ^ 2 ** (_DIGIT - 1) if leading is None else digits[(keys >> (shift + _DIGIT)) == leading]
    return torch.bincount(digits, minlength=2**_DIGIT)


def _turned(bits: Tensor) -> Tensor:
    """A float's bits to an integer of the same order and back: negative floats have theirs turned round."""
    size = 8 * bits.element_size()
    turned: Tensor = bits ^ ((bits >> (size - 1)) & (2 ** (size - 1) - 1))
    return turned
