"""Rank correlation of two lists that belong together."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import checks
from ..checks import InputError
from .estimates import Correlation
from .given import Vector, pairs
from .resampling import draws, limits

_DRAWN = 2**20  # numbers of resamples that are there together, in a handful of arrays


def spearman(a: Any, b: Any) -> float:
    """Rank correlation, ties by midranks.

    Pearson's correlation of the ranks of a and b

    Args:
        a, b: (n,), n >= 2, row i of one belongs to row i of the other.
    Returns:
        rho in [-1, 1].
    Raises:
        InputError: also where a or b is constant: it has no ranks to correlate.
    Example:
        >>> from ood_core import stats
        >>> round(stats.spearman([1, 2, 3, 4], [1, 3, 2, 4]), 4)
        0.8
    """
    x, y = _ranked_pairs(a, b)
    return float(_rank_correlations(x[None], y[None])[0])


def spearman_interval(a: Any, b: Any, confidence: float = 0.95, resamples: int = 10_000, seed: int = 0) -> Correlation:
    """`spearman` with a percentile bootstrap by rows: its interval, and a two-sided p of no correlation.

    p = min(1, 2 (1 + min(#(rho* <= 0), #(rho* >= 0))) / (1 + R)) over the R resamples that have a correlation rho*

    Resamples in which a or b is constant have none and are left out, where `bootstrap` would refuse them.

    Args:
        a, b: (n,), n >= 2, row i of one belongs to row i of the other.
        confidence: fraction in (0, 1).
        resamples: at least 100.
        seed: of the draws.
    Returns:
        `Correlation`, n pairs.
    Raises:
        InputError: also where a or b is constant.
    Source: Efron 1979.
    Example:
        >>> from ood_core import stats
        >>> found = stats.spearman_interval([1, 2, 3, 4, 5, 6], [1, 3, 2, 4, 6, 5])
        >>> round(found.mean, 4), found.low > 0, found.p < 0.05
        (0.8857, True, True)
    """
    x, y = _ranked_pairs(a, b)
    level, n = checks.share("confidence", confidence, below=True), len(x)
    count, rng = draws(resamples, seed)
    drawn, step = np.empty(count), max(1, _DRAWN // n)
    for start in range(0, count, step):
        rows = rng.integers(n, size=(min(step, count - start), n))
        drawn[start : start + step] = _rank_correlations(x[rows], y[rows])
    kept = drawn[~np.isnan(drawn)]
    low, high = limits(kept, level)
    p = min(1.0, 2 * (1 + min(int((kept <= 0).sum()), int((kept >= 0).sum()))) / (1 + len(kept)))
    rho = float(_rank_correlations(x[None], y[None])[0])
    return Correlation(rho, low, high, n, float(kept.std(ddof=1)), p, len(drawn) - len(kept))


def _ranked_pairs(a: Any, b: Any) -> tuple[Vector, Vector]:
    x, y = pairs(a, b, 2)
    for name, values in (("a", x), ("b", y)):
        if np.all(values == values[0]):
            raise InputError(
                f"{name} is constant, expected values that differ: it has no ranks to correlate.\n"
                "Look at how it was made."
            )
    return x, y


def _rank_correlations(a: Vector, b: Vector) -> Vector:
    """Rank correlation of each pair of rows, (m, n) and (m, n) -> (m,); NaN where a row is constant."""
    from scipy.stats import rankdata

    x, y = (rankdata(values, axis=1) for values in (a, b))
    x, y = x - x.mean(axis=1, keepdims=True), y - y.mean(axis=1, keepdims=True)
    size = np.sqrt((x**2).sum(axis=1) * (y**2).sum(axis=1))
    rho: Vector = np.divide((x * y).sum(axis=1), size, out=np.full(len(x), np.nan), where=size > 0)
    return np.clip(rho, -1, 1, out=rho)
