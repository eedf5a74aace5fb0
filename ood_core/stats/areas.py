"""AUROC of one network, or of two scores of the same images, with images as the sample."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .. import checks
from ..checks import InputError
from .estimates import Contrast, Interval
from .given import Vector, vector

_ROUNDING = 1e-12  # of placements, which lie whole numbers of halves of 1 / N or 1 / M apart


def delong(id_scores: Any, ood_scores: Any, confidence: float = 0.95) -> Interval:
    """Interval of one network's AUROC over images, by placement values.

    V_i = share of OOD below s_i, W_j = share of ID above s_j, ties one half;  AUROC = mean V = mean W
    sd^2 = var(V) / N + var(W) / M;  AUROC -+ z sd, cut to [0, 1]

    It speaks of other images under the same network and says nothing about other seeds.

    Where all pairs are alike (sets that do not overlap, or one score for all rows) the formula has no spread, which is
    no certainty. The limits are then those of Clopper and Pearson for min(N, M) independent pairs, all of them alike:
    [u AUROC, u AUROC + 1 - u],  u = ((1 - confidence) / 2)^(1 / min(N, M))

    Args:
        id_scores: (N,). ood_scores: (M,).
        confidence: fraction in (0, 1).
    Returns:
        `Interval`. With one row on a side nothing is known of the spread: [0, 1], sd = inf. Where all pairs are alike
        sd = inf as well.
    Source: DeLong et al. 1988; midranks as in Sun and Xu 2014; Clopper and Pearson 1934.
    Example:
        >>> from ood_core import stats
        >>> found = stats.delong([0.9, 0.8, 0.4, 0.7], [0.5, 0.1, 0.3])
        >>> round(found.mean, 4), round(found.sd, 4), found.high
        (0.9167, 0.1179, 1.0)
    """
    from scipy.stats import norm

    x, y = vector("id_scores", id_scores), vector("ood_scores", ood_scores)
    level, n, m = checks.share("confidence", confidence, below=True), len(x), len(y)
    above, below = _placements(x, y)
    area = float(above.mean())
    if n == 1 or m == 1:
        return Interval(area, 0.0, 1.0, n + m, math.inf)
    if _alike(above, below):
        share = _share_alike(n, m, level)
        return Interval(area, share * area, share * area + 1 - share, n + m, math.inf)
    z, sd = float(norm.ppf((1 + level) / 2)), math.sqrt(above.var(ddof=1) / n + below.var(ddof=1) / m)
    return Interval(area, max(0.0, area - z * sd), min(1.0, area + z * sd), n + m, sd)


def delong_paired(id_a: Any, ood_a: Any, id_b: Any, ood_b: Any, confidence: float = 0.95) -> Contrast:
    """Interval and test of AUROC(a) - AUROC(b) for two scores of the same images.

    sd^2 = var(V_a - V_b) / N + var(W_a - W_b) / M, V and W as in `delong`;  difference -+ z sd, cut to [-1, 1];
    p = 2 P(Z > |difference| / sd)

    What both scores find hard cancels out, so that the interval is narrower than two of `delong` suggest. Like that
    one it speaks of other images under the same network; two networks differ by their seeds as well (`paired`).

    Where all pairs are alike for a and for b, there is no spread but no certainty either. With the difference d and
    u as in `delong` the limits are then u d -+ (1 - u), cut, and p = min(1, 2 (1 + |d|)^-min(N, M)): differences of
    single pairs lie in [-1, 1], and of mean 0 they are d at most 1 / (1 + |d|) of the time.

    Args:
        id_a, id_b: (N,), row i of both is the same ID image. ood_a, ood_b: (M,), the same for OOD images.
        confidence: fraction in (0, 1).
    Returns:
        `Contrast`, n = N + M. With one row on a side the spread is unknown: [-1, 1], sd = inf, p = 1; so it is for any
        other difference without spread. Where all pairs are alike for a and for b, sd = inf. Scores that rank the rows
        alike, one a function of the other, give sd = 0, no width and p = 1.
    Raises:
        InputError: other numbers of rows for a and b, NaN, infinity.
    Source: DeLong, DeLong and Clarke-Pearson 1988, their covariance of two areas; midranks as in Sun and Xu 2014;
        Clopper and Pearson 1934.
    Example:
        >>> from ood_core import stats
        >>> a = [0.9, 0.8, 0.7, 0.4], [0.1, 0.3, 0.5]
        >>> b = [0.9, 0.2, 0.7, 0.4], [0.1, 0.3, 0.5]
        >>> round(stats.delong_paired(*a, *b).mean, 4)
        0.1667
    """
    from scipy.stats import norm

    named = (("id_a", id_a), ("ood_a", ood_a), ("id_b", id_b), ("ood_b", ood_b))
    xa, ya, xb, yb = (vector(name, values) for name, values in named)
    n, m, level = len(xa), len(ya), checks.share("confidence", confidence, below=True)
    if (len(xb), len(yb)) != (n, m):
        raise InputError(
            f"a has {n} ID and {m} OOD scores, b {len(xb)} and {len(yb)}, expected the same images.\n"
            "Score the same sets with both."
        )
    (above_a, below_a), (above_b, below_b) = _placements(xa, ya), _placements(xb, yb)
    above, below = above_a - above_b, below_a - below_b
    difference = float(above.mean())
    low, high, sd, p = -1.0, 1.0, math.inf, 1.0  # nothing known of the spread
    if n > 1 and m > 1:
        if _alike(above_a, below_a) and _alike(above_b, below_b):
            share = _share_alike(n, m, level)
            low, high = share * difference - (1 - share), share * difference + (1 - share)
            p = min(1.0, 2 * (1 + abs(difference)) ** -min(n, m))
        elif not _alike(above, below):
            sd = math.sqrt(above.var(ddof=1) / n + below.var(ddof=1) / m)
            reach = float(norm.ppf((1 + level) / 2)) * sd
            low, high = difference - reach, difference + reach
            p = 2 * float(norm.sf(abs(difference) / sd))
        elif abs(difference) <= _ROUNDING:
            low, high, sd = difference, difference, 0.0
    return Contrast(difference, max(-1.0, low), min(1.0, high), n + m, sd, p)


def _alike(above: Vector, below: Vector) -> bool:
    """Whether placements do not vary; those of one score do not where, and only where, all its pairs are alike."""
    return bool(max(np.ptp(above), np.ptp(below)) <= _ROUNDING)


def _share_alike(n: int, m: int, level: float) -> float:
    """The least share of pairs that can be as all min(n, m) independent ones were, by Clopper and Pearson."""
    return float(((1 - level) / 2) ** (1 / min(n, m)))


def _placements(x: Vector, y: Vector) -> tuple[Vector, Vector]:
    """Share of y below each x (N,), and share of x above each y (M,), ties one half."""
    from scipy.stats import rankdata

    n, m = len(x), len(y)
    ranks = rankdata(np.concatenate([x, y]))
    return (ranks[:n] - rankdata(x)) / m, 1 - (ranks[n:] - rankdata(y)) / n
