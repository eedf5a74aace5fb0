"""The widest floating-point type at hand: everything is summed in float64, which not every device has."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor


class Placed(Protocol):
    """Anything that lies on a device: a tensor, or rows that are made where they are read."""

    @property
    def device(self) -> torch.device:
        """Where it lies."""
        ...

    @property
    def dtype(self) -> torch.dtype:
        """The type of its numbers."""
        ...


def working_dtype(x: Placed) -> torch.dtype:
    """float64 where the device of x has it, else float32: Apple's GPUs ("mps") refuse any tensor of float64."""
    return torch.float32 if x.device.type == "mps" else torch.float64


def at_least_float32(x: Placed) -> torch.dtype:
    """The type of x, or float32 where that has fewer digits."""
    return torch.promote_types(x.dtype, torch.float32)


def widened(x: Tensor) -> Tensor:
    """Values in `working_dtype`; x itself where it has that type."""
    return x.to(working_dtype(x))
