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
    """`spearman` with the interval of a percentile bootstrap by rows, and the two-sided p of a permutation test.

    p is of "no order of b goes better with a than another": all n! orders up to 7 rows, `resamples` random ones beyond.
    The bootstrap is no test where rows are few: over five independent rows its interval leaves out 0 in 13 % of all
    orders, and none but rho = -1 and 1 are rarer than 5 % (p = 2/120). Resamples in which a or b is constant have no
    correlation and are left out, where `bootstrap` would refuse them.

    Args:
        a, b: (n,), n >= 2, row i of one belongs to row i of the other.
        confidence: fraction in (0, 1).
        resamples: of the bootstrap, and permutations; at least 100.
        seed: of the draws.
    Returns:
        `Correlation`, n pairs.
    Raises:
        InputError: also where a or b is constant.
    Source: Efron 1979; for the test Pitman 1937 (`scipy.stats.permutation_test`).
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
    rho, p = _permutation_test(x, y, count, rng)
    return Correlation(rho, low, high, n, float(kept.std(ddof=1)), p, len(drawn) - len(kept))


def _permutation_test(x: Vector, y: Vector, count: int, rng: np.random.Generator) -> tuple[float, float]:
    """Rank correlation and its two-sided p over orders of x."""
    from scipy.stats import permutation_test

    count = max(count, 5040)  # 7!: scipy takes all orders where they are no more

    def correlated(orders: Vector, axis: int) -> Vector:
        rows = np.atleast_2d(np.moveaxis(orders, axis, -1))
        return _rank_correlations(rows, np.broadcast_to(y, rows.shape)).reshape(orders.shape[:-1])

    found = permutation_test(
        (x,),
        correlated,
        permutation_type="pairings",
        vectorized=True,
        n_resamples=count,
        rng=rng,
        batch=max(1, _DRAWN // len(x)),
        axis=-1,
    )
    return float(found.statistic), float(found.pvalue)


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
