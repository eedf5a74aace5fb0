"""Numbers as callers give them, checked and in float64."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import checks
from ..checks import InputError

Vector = NDArray[np.float64]


def finite(name: str, values: Any) -> Vector:
    """Rows of finite numbers, at least one, in float64: (n, ...)."""
    x = checks.finite(name, checks.tensor(name, values))
    if x.ndim == 0 or x.shape[0] == 0:
        raise InputError(f"{name} has shape {tuple(x.shape)}, expected at least one row.\nPass one value a unit.")
    array: Vector = x.cpu().double().numpy()
    return array


def vector(name: str, values: Any) -> Vector:
    """The same with one number a row: (n,)."""
    return finite(name, checks.vector(name, values))


def pairs(a: Any, b: Any, least: int) -> tuple[Vector, Vector]:
    """Two vectors of one length, `least` or more."""
    x, y = vector("a", a), vector("b", b)
    if len(x) != len(y):
        raise InputError(f"a has {len(x)} values and b {len(y)}, expected pairs.\nKeep the seeds that both have.")
    if len(x) < least:
        raise InputError(f"a and b hold {len(x)} pairs, expected at least {least}.\nRun more seeds.")
    return x, y
