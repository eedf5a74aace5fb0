"""Intervals and tests. Seeds are the unit of replication; `delong` is the one that treats images as the sample.

scipy is imported where it is used, so that importing this package stays light.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import checks
from .checks import InputError

__all__ = [
    "Contrast",
    "Correlation",
    "Interval",
    "Spread",
    "bootstrap",
    "delong",
    "delong_paired",
    "holm",
    "p_of_mean",
    "paired",
    "pitman_morgan",
    "spearman",
    "spearman_interval",
    "t_interval",
]

Vector = NDArray[np.float64]

_DRAWN = 2**20  # numbers of resamples that are there together, in a handful of arrays
_ROUNDING = 1e-12  # of placements, which lie whole numbers of halves of 1 / N or 1 / M apart


@dataclass(frozen=True)
class Interval:
    """An estimate with its interval, never NaN.

    Attributes:
        mean: the estimate. low, high: limits, in the same units.
        n: how many values it rests on (for `delong` ID and OOD rows together).
        sd: standard deviation of the values (`t_interval`, `paired`); standard error of the estimate (`delong`,
            `bootstrap`, `spearman_interval`).
    """

    mean: float
    low: float
    high: float
    n: int
    sd: float


@dataclass(frozen=True)
class Contrast(Interval):
    """An `Interval` of a difference, with the two-sided p value of no difference."""

    p: float


@dataclass(frozen=True)
class Correlation(Contrast):
    """A `Contrast` of a rank correlation, and how many resamples were left out as they had none."""

    lost: int


@dataclass(frozen=True)
class Spread:
    """Result of `pitman_morgan`: two-sided p, and `wider`: 1 the first group spreads more, -1 the second, 0 neither."""

    p: float
    wider: int
    n: int


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

    x = _vector("values", values)
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
    x, y = _pairs(a, b, 1)
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

    x, y = _pairs(a, b, 3)
    n = len(x)
    total, difference = (x + y) - (x + y).mean(), (x - y) - (x - y).mean()
    # A side at rounding level has no direction; correlating it would test the rounding.
    floor = 1e-12 * (1e-300 + max(np.abs(x).max(), np.abs(y).max()))
    if np.abs(total).max() <= floor or np.abs(difference).max() <= floor:
        return Spread(1.0, 0, n)
    result = pearsonr(total, difference)
    return Spread(float(result.pvalue), int(np.sign(result.statistic)), n)


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
    count, rng = _draws(resamples, seed)
    drawn, step = np.empty(count), max(1, _DRAWN // n)
    for start in range(0, count, step):
        rows = rng.integers(n, size=(min(step, count - start), n))
        drawn[start : start + step] = _rank_correlations(x[rows], y[rows])
    kept = drawn[~np.isnan(drawn)]
    low, high = _limits(kept, level)
    p = min(1.0, 2 * (1 + min(int((kept <= 0).sum()), int((kept >= 0).sum()))) / (1 + len(kept)))
    rho = float(_rank_correlations(x[None], y[None])[0])
    return Correlation(rho, low, high, n, float(kept.std(ddof=1)), p, len(drawn) - len(kept))


def _ranked_pairs(a: Any, b: Any) -> tuple[Vector, Vector]:
    x, y = _pairs(a, b, 2)
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
    p = _vector("p_values", p_values)
    if p.min() < 0 or p.max() > 1:
        raise InputError(f"p_values span {p.min():.4g}..{p.max():.4g}, expected 0..1.\nPass p values, not statistics.")
    order, m = np.argsort(p, kind="stable"), len(p)
    adjusted = np.empty(m)
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(p[order] * np.arange(m, 0, -1)))
    return [float(value) for value in adjusted]


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

    x, y = _vector("id_scores", id_scores), _vector("ood_scores", ood_scores)
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
    xa, ya, xb, yb = (_vector(name, values) for name, values in named)
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


def bootstrap(
    statistic: Callable[..., float],
    *samples: Any,
    together: bool = False,
    confidence: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> Interval:
    """Percentile bootstrap of any statistic, the same for the same seed.

    Args:
        statistic: takes one float64 array for each sample and gives a number.
        samples: arrays (n_i, ...); whole first-axis rows are drawn with replacement.
        together: draw the same rows of all samples (they belong together, such as two metrics by seed).
        confidence: fraction in (0, 1).
        resamples: at least 100.
        seed: of the draws.
    Returns:
        `Interval` with the statistic of the samples as mean; n = rows (summed over samples drawn apart).
    Raises:
        InputError: also where the statistic is not finite for a resample (a rank correlation of equal rows, say).
    Source: Efron 1979. Not valid for extremes such as a minimum.
    Example:
        >>> import numpy as np
        >>> from ood_core import stats
        >>> found = stats.bootstrap(np.median, [1.0, 2.0, 3.0, 4.0, 9.0], seed=1)
        >>> found.mean, found.low >= 1, found.high <= 9
        (3.0, True, True)
    """
    if not samples:
        raise InputError("bootstrap got no sample, expected at least one.\nPass arrays after the statistic.")
    arrays = [_finite(f"sample {i}", sample) for i, sample in enumerate(samples)]
    sizes = [len(array) for array in arrays]
    if together and len(set(sizes)) > 1:
        raise InputError(f"samples have {sizes} rows, expected as many in each.\nAlign them, or set together=False.")
    level, (count, rng) = checks.share("confidence", confidence, below=True), _draws(resamples, seed)
    drawn = np.empty(count)
    for r in range(count):
        rows = [rng.integers(size, size=size) for size in (sizes[:1] if together else sizes)]
        picked = rows * len(arrays) if together else rows
        drawn[r] = statistic(*(array[index] for array, index in zip(arrays, picked, strict=True)))
    if not np.isfinite(drawn).all():
        raise InputError(
            f"the statistic is not finite for {int((~np.isfinite(drawn)).sum())} of {count} resamples, expected a "
            "number for each.\nUse more rows, or a statistic that is defined for repeated ones."
        )
    low, high = _limits(drawn, level)
    n = sizes[0] if together else sum(sizes)
    return Interval(float(statistic(*arrays)), low, high, n, float(drawn.std(ddof=1)))


def _limits(drawn: Vector, level: float) -> tuple[float, float]:
    """Percentiles of a statistic's resamples."""
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def _draws(resamples: Any, seed: Any) -> tuple[int, np.random.Generator]:
    count = checks.whole("resamples", resamples, 100, "A few thousand are usual.")
    return count, np.random.default_rng(checks.whole("seed", seed, 0, "Pass 0 or more."))


def _finite(name: str, values: Any) -> Vector:
    x = checks.finite(name, checks.tensor(name, values))
    if x.ndim == 0 or x.shape[0] == 0:
        raise InputError(f"{name} has shape {tuple(x.shape)}, expected at least one row.\nPass one value a unit.")
    array: Vector = x.cpu().double().numpy()
    return array


def _vector(name: str, values: Any) -> Vector:
    return _finite(name, checks.vector(name, values))


def _pairs(a: Any, b: Any, least: int) -> tuple[Vector, Vector]:
    x, y = _vector("a", a), _vector("b", b)
    if len(x) != len(y):
        raise InputError(f"a has {len(x)} values and b {len(y)}, expected pairs.\nKeep the seeds that both have.")
    if len(x) < least:
        raise InputError(f"a and b hold {len(x)} pairs, expected at least {least}.\nRun more seeds.")
    return x, y
