"""Means of seeds, how much they spread, and p values of several tests at once."""

from __future__ import annotations

import math
import statistics
from typing import Any

import numpy as np

from .. import checks
from ..checks import InputError
from .estimates import Interval, Spread
from .given import pairs, vector


def t_interval(values: Any, confidence: float = 0.95) -> Interval:
    """Interval of a mean by the t distribution.

    mean -+ t_{n-1, (1 + confidence) / 2} sd / sqrt(n),  sd with n - 1

    Args:
        values: (n,), one a seed, independent and roughly normal.
        confidence: fraction in (0, 1).
    Returns:
        `Interval`. One value says nothing about spread: low = -inf, high = inf, sd = inf. Equal values have sd
        exactly 0 and an interval without width.
    Raises:
        InputError: no values, NaN or infinity.
    Example:
        >>> from ood_core import stats
        >>> found = stats.t_interval([0.90, 0.92, 0.94])
        >>> round(found.mean, 4), round(found.low, 4), round(found.high, 4), found.n
        (0.92, 0.8703, 0.9697, 3)
    """
    from scipy.stats import t

    x = vector("values", values)
    level, n = checks.share("confidence", confidence, below=True), len(x)
    # Exact rational arithmetic: the mean of equal values is that value and their sd is 0, not 1e-17.
    mean = statistics.mean(x.tolist())
    if n == 1:
        return Interval(mean, -math.inf, math.inf, 1, math.inf)
    sd = statistics.stdev(x.tolist())
    half = float(t.ppf((1 + level) / 2, n - 1)) * sd / math.sqrt(n)
    return Interval(mean, mean - half, mean + half, n, sd)


def p_of_mean(found: Interval, value: float = 0.0) -> float:
    """Two-sided p of the t test that a mean is `value`, from what `t_interval` or `paired` says of it.

    p = 2 P(T > |mean - value| / (sd / sqrt(n))),  T by the t distribution with n - 1

    Args:
        found: of `t_interval` or `paired`, at any confidence.
        value: in the units of the mean.
    Returns:
        a fraction; 1 for one value, which says nothing about spread. Equal values have no spread to doubt them: p = 0
        unless they are `value` itself.
    Example:
        >>> from ood_core import stats
        >>> round(stats.p_of_mean(stats.t_interval([0.90, 0.92, 0.94]), 0.89), 4)
        0.1217
    """
    from scipy.stats import t

    away = abs(found.mean - value)
    if found.n == 1 or away == 0:
        return 1.0
    return 0.0 if found.sd == 0 else float(2 * t.sf(away / (found.sd / math.sqrt(found.n)), found.n - 1))


def paired(a: Any, b: Any, confidence: float = 0.95) -> Interval:
    """`t_interval` of the differences a - b of values that belong together, such as two recipes at one seed.

    Args:
        a, b: (n,), in the same order of seeds.
    Example:
        >>> from ood_core import stats
        >>> found = stats.paired([0.95, 0.93, 0.97], [0.91, 0.90, 0.92])
        >>> round(found.mean, 4), found.low > 0
        (0.04, True)
    """
    x, y = pairs(a, b, 1)
    return t_interval(x - y, confidence)


def pitman_morgan(a: Any, b: Any) -> Spread:
    """Test that two paired groups have equal variance.

    r = corr(a + b, a - b) is 0 exactly if the variances are equal; t = r sqrt((n - 2) / (1 - r^2)) with n - 2 degrees
    of freedom, two-sided. r > 0: a spreads more.

    Args:
        a, b: (n,), n >= 3, in the same order of seeds; roughly bivariate normal.
    Returns:
        `Spread`. Groups that differ by a constant (or mirror each other) spread alike: p = 1, wider = 0.
    Source: Pitman 1939; Morgan 1939.
    Example:
        >>> from ood_core import stats
        >>> stats.pitman_morgan([1.0, 9.0, 2.0, 8.0, 1.0, 9.0], [4.0, 5.0, 4.5, 5.0, 4.0, 5.5]).wider
        1
    """
    from scipy.stats import pearsonr

    x, y = pairs(a, b, 3)
    n = len(x)
    total, difference = (x + y) - (x + y).mean(), (x - y) - (x - y).mean()
    # A side at rounding level has no direction; correlating it would test the rounding.
    floor = 1e-12 * (1e-300 + max(np.abs(x).max(), np.abs(y).max()))
    if np.abs(total).max() <= floor or np.abs(difference).max() <= floor:
        return Spread(1.0, 0, n)
    result = pearsonr(total, difference)
    return Spread(float(result.pvalue), int(np.sign(result.statistic)), n)


def holm(p_values: Any) -> list[float]:
    """Holm's step-down adjusted p values, in the order given; reject where one is at most the level.

    p_(i) adjusted = max over j <= i of min(1, (m - j + 1) p_(j)),  p_(1) <= ... <= p_(m)

    Args:
        p_values: (m,), fractions in [0, 1].
    Source: Holm 1979.
    Example:
        >>> from ood_core import stats
        >>> [round(p, 4) for p in stats.holm([0.03, 0.01, 0.5, 0.02])]
        [0.06, 0.04, 0.5, 0.06]
    """
    p = vector("p_values", p_values)
    if p.min() < 0 or p.max() > 1:
        raise InputError(f"p_values span {p.min():.4g}..{p.max():.4g}, expected 0..1.\nPass p values, not statistics.")
    order, m = np.argsort(p, kind="stable"), len(p)
    adjusted = np.empty(m)
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(p[order] * np.arange(m, 0, -1)))
    return [float(value) for value in adjusted]
