"""The types of floating-point numbers that there are on a device, and which of them are worth their while."""

from __future__ import annotations

from functools import cache
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


@cache
def fast_bfloat16() -> bool:
    """Whether this processor multiplies bfloat16 faster than float32: AMX, or AVX-512 BF16 of AMD's.

    Intel's AVX-512 BF16 starts one product a cycle where float32 starts two. Other processors are counted as slow:
    they then lose at most what float32 costs.
    """
    has = torch.cpu.get_capabilities()
    amd = "AMD" in str(has.get("cpu_name", ""))
    return bool(has.get("amx_bf16")) or (amd and bool(has.get("avx512_bf16")))
