"""Bootstrap of any statistic."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .. import checks
from ..checks import InputError
from .estimates import Interval
from .given import Vector, finite


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

        The FPR of one detector less that of another, on the same images:

        >>> from ood_core import metrics
        >>> rng = np.random.default_rng(0)
        >>> id_pairs, ood_pairs = rng.normal(2, 1, (200, 2)), rng.normal(0, 1, (300, 2))
        >>> def less(a, b):
        ...     return metrics.fpr_at_tpr(a[:, 0], b[:, 0]) - metrics.fpr_at_tpr(a[:, 1], b[:, 1])
        >>> found = stats.bootstrap(less, id_pairs, ood_pairs, resamples=200)
        >>> found.low < found.mean < found.high
        True
    """
    if not samples:
        raise InputError("bootstrap got no sample, expected at least one.\nPass arrays after the statistic.")
    arrays = [finite(f"sample {i}", sample) for i, sample in enumerate(samples)]
    sizes = [len(array) for array in arrays]
    if together and len(set(sizes)) > 1:
        raise InputError(f"samples have {sizes} rows, expected as many in each.\nAlign them, or set together=False.")
    try:
        whole = float(statistic(*arrays))
    except TypeError as error:
        raise InputError(
            f"the statistic gives no number ({error}), expected one.\n"
            'Pick one of several, as in lambda a, b: metrics.evaluate(a, b)["fpr_at_tpr"].'
        ) from error
    level, (count, rng) = checks.share("confidence", confidence, below=True), draws(resamples, seed)
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
    low, high = limits(drawn, level)
    n = sizes[0] if together else sum(sizes)
    return Interval(whole, low, high, n, float(drawn.std(ddof=1)))


def limits(drawn: Vector, level: float) -> tuple[float, float]:
    """Percentiles of a statistic's resamples."""
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def draws(resamples: Any, seed: Any) -> tuple[int, np.random.Generator]:
    """How many resamples, and what draws them."""
    count = checks.whole("resamples", resamples, 100, "A few thousand are usual.")
    return count, np.random.default_rng(checks.whole("seed", seed, 0, "Pass 0 or more."))
