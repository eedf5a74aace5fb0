"""What the functions of this package return."""

from __future__ import annotations

from dataclasses import dataclass


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
