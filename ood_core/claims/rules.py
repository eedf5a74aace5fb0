"""The handful of named rules that turn per-seed numbers into a verdict.

Every rule takes numpy arrays with one entry per seed, `a` and `b` in the same order, and returns a `Finding`.
Intervals are 95 %; `p` is two-sided, taken at the bound that made the word, so a word stands alone when p < .05.
Common order: an interval wholly inside the band of no relevant effect is decided first, then the claimed side of the
margin, then the other side; whatever contains the margin, or has zero width on it, is inconclusive.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy import stats as scipy_stats

from .. import stats

HOLDS, FAILS, OPEN = "holds", "does not hold", "inconclusive"
ANSWERED, DESCRIPTIVE, NOT_RUN = "answered", "descriptive", "not run"
WORDS = (HOLDS, FAILS, OPEN, ANSWERED, DESCRIPTIVE, NOT_RUN)
HIGHER, LOWER, NO_DIFFERENCE = "higher", "lower", "no clear difference"
MIXED = "mixed"  # the answer of a claim whose parts answer differently

Array = NDArray[np.float64]
Direction = Literal["greater", "less", "two_sided"]
OneSided = Literal["greater", "less"]
Otherwise = Literal["does not hold", "inconclusive"]

LEVEL = 0.95
ROUNDING = 1e-12  # an interval this close to a bound lies on it: .945 - .95 is not below -.005
RESAMPLES = 10_000


@dataclass(frozen=True)
class Finding:
    """What a rule says: the word, the estimate with its 95 % interval, the p value behind the word, a remark."""

    word: str
    estimate: float | None = None
    low: float | None = None
    high: float | None = None
    p: float | None = None
    answer: str = ""
    note: str = ""


class _Mean:
    """Mean of n numbers with the t interval of n - 1 degrees of freedom; n = 1 gives no interval."""

    def __init__(self, values: Array) -> None:
        found = stats.t_interval(values, LEVEL)
        self.value, self.alone = found.mean, found.n == 1
        self.low = None if self.alone else found.low
        self.high = None if self.alone else found.high
        # numbers that are equal but for rounding have no spread to test with
        self.flat = bool(np.ptp(values) <= ROUNDING)
        self.found = replace(found, sd=0.0) if self.flat else found

    def above(self, bound: float) -> bool:
        return self.low is not None and self.low > bound + ROUNDING

    def below(self, bound: float) -> bool:
        return self.high is not None and self.high < bound - ROUNDING

    def p(self, bound: float) -> float | None:
        """Two-sided p of `mean = bound`."""
        return None if self.alone else self._p(bound)

    def _p(self, bound: float) -> float:
        on_it = self.flat and abs(self.value - bound) <= ROUNDING
        return 1.0 if on_it else stats.p_of_mean(self.found, bound)

    def p_inside(self, low: float, high: float) -> float | None:
        """The p of `mean outside (low, high)`: the larger of two one-sided tests, doubled to match a 95 % interval."""
        if self.alone:
            return None
        return max(self._p(low), self._p(high)) if low < self.value < high else 1.0

    def finding(self, word: str, p: float | None, answer: str = "", note: str = "") -> Finding:
        return Finding(word, self.value, self.low, self.high, p, answer, note)


def _common(mean: _Mean, direction: Direction, up: float, down: float, band: tuple[float, float]) -> Finding:
    """The common order. `up` and `down` are the margins to the right and to the left; `band` is empty if low = high."""
    inside = mean.above(band[0]) and mean.below(band[1])
    irrelevant = "no relevant effect: the interval lies inside the band"
    if inside:
        p = mean.p_inside(*band)
        if direction == "two_sided":
            return mean.finding(ANSWERED, p, NO_DIFFERENCE, irrelevant)
        return mean.finding(FAILS, p, note=irrelevant)
    if direction == "two_sided":
        if mean.above(up):
            return mean.finding(ANSWERED, mean.p(up), HIGHER)
        if mean.below(down):
            return mean.finding(ANSWERED, mean.p(down), LOWER)
        nearer = up if mean.value >= (up + down) / 2 else down
        return mean.finding(ANSWERED, mean.p(nearer), NO_DIFFERENCE)
    margin = up if direction == "greater" else down
    right, left = (mean.above, mean.below) if direction == "greater" else (mean.below, mean.above)
    word = HOLDS if right(margin) else FAILS if left(margin) else OPEN
    return mean.finding(word, mean.p(margin))


def paired(a: Array, b: Array, *, direction: Direction, margin: float = 0.0, band: float = 0.005) -> Finding:
    """Mean of a - b beyond `margin` on the claimed side; wholly inside +-`band` is no relevant effect.

    `margin` is a size: `greater` asks for a - b > margin, `less` for a - b < -margin.
    """
    return _common(_Mean(a - b), direction, margin, -margin, (-band, band))


def one_sample(a: Array, *, direction: Direction, margin: float, band: float = 0.0) -> Finding:
    """Mean of a above (`greater`) or below (`less`) the value `margin`; wholly inside margin +- `band` is no effect."""
    return _common(_Mean(a), direction, margin, margin, (margin - band, margin + band))


def non_inferior(a: Array, b: Array, *, direction: OneSided, margin: float) -> Finding:
    """No worse than b by more than `margin`: a - b > -margin (`greater` is better) or < margin (`less` is better).

    An interval that clears 0 as well is noted as superior.
    """
    mean = _Mean(a - b)
    found = _common(mean, direction, -margin, margin, (0.0, 0.0))
    superior = mean.above(0.0) if direction == "greater" else mean.below(0.0)
    return mean.finding(found.word, found.p, note="superior as well" if superior else "")


def equivalent(a: Array, b: Array, *, margin: float) -> Finding:
    """The difference a - b lies inside +-`margin`; does not hold when the interval lies wholly outside."""
    mean = _Mean(a - b)
    if mean.above(-margin) and mean.below(margin):
        return mean.finding(HOLDS, mean.p_inside(-margin, margin))
    if mean.above(margin) or mean.below(-margin):
        return mean.finding(FAILS, mean.p(margin if mean.above(margin) else -margin))
    return mean.finding(OPEN, mean.p_inside(-margin, margin))


def threshold(a: Array, *, direction: OneSided, hold_at: float, fail_at: float) -> Finding:
    """Mean of a wholly beyond `hold_at` holds, wholly on the other side of `fail_at` fails, between them is open.

    A number that is the same for all seeds, such as one of the means over them, is placed without an interval or a p.
    """
    mean = _Mean(a)
    right, left = (mean.above, mean.below) if direction == "greater" else (mean.below, mean.above)
    word, bound = (FAILS, fail_at) if left(fail_at) else (HOLDS if right(hold_at) else OPEN, hold_at)
    if mean.flat and not mean.alone:
        return Finding(word, mean.value, note="one number for all seeds, without an interval")
    return mean.finding(word, mean.p(bound))


def spread(a: Array, b: Array, *, direction: Direction) -> Finding:
    """Ratio of standard deviations sd(a) / sd(b) against 1, by the Pitman-Morgan test for paired groups.

    With r the correlation of a and b, F = var(a) / var(b), t the 97.5 % point of n - 2 degrees of freedom and
    K = 1 + 2 t^2 (1 - r^2) / (n - 2), the interval of the variance ratio is F (K -+ sqrt(K^2 - 1)); p is that of the
    correlation between a + b and a - b. Fewer than three seeds, or a group without spread, decide nothing.
    Source: Pitman 1939; Morgan 1939.
    """
    n = len(a)
    if n < 3 or np.ptp(a) <= ROUNDING or np.ptp(b) <= ROUNDING:
        return Finding(OPEN, note="undefined: needs three seeds and some spread in both groups")
    ratio = float(np.var(a, ddof=1) / np.var(b, ddof=1))
    r = float(np.clip(np.corrcoef(a, b)[0, 1], -1, 1))
    t = float(scipy_stats.t.ppf((1 + LEVEL) / 2, n - 2))
    k = 1 + 2 * t**2 * (1 - r**2) / (n - 2)
    root = np.sqrt(max(k**2 - 1, 0.0))
    low, high = float(np.sqrt(ratio * (k - root))), float(np.sqrt(ratio * (k + root)))
    p = stats.pitman_morgan(a, b).p
    found = Finding(OPEN, float(np.sqrt(ratio)), low, high, p, note="sd of the first over sd of the second")
    return _placed(found, 1.0, direction)


def correlation(a: Array, b: Array, *, direction: Direction, over: Literal["seeds", "epochs"]) -> Finding:
    """Spearman's rank correlation of a and b against 0: an association, never a cause.

    `over: seeds` takes (n,) arrays and needs both a percentile bootstrap by seed (10,000 resamples, fixed generator) on
    one side of 0 and p < .05 in a permutation test, since the bootstrap alone finds something in 13 % of the orders of
    five unrelated seeds. `over: epochs` takes (n, E) arrays, one correlation per run, and the t interval of those.
    """
    if over == "epochs":
        if any(np.ptp(run) == 0 for run in (*a, *b)):
            return Finding(OPEN, note="undefined: a run whose numbers do not change has no rank correlation")
        each = np.array([stats.spearman(*run) for run in zip(a, b, strict=True)])
        return _common(_Mean(each), direction, 0.0, 0.0, (0.0, 0.0))
    if np.ptp(a) == 0 or np.ptp(b) == 0:
        return Finding(OPEN, note="undefined: numbers that do not change have no rank correlation")
    rho = stats.spearman_interval(a, b, LEVEL, RESAMPLES)
    lost = f"; {rho.lost} of {RESAMPLES} resamples were constant and left out" if rho.lost else ""
    found = Finding(
        OPEN, rho.mean, rho.low, rho.high, rho.p, note=f"bootstrap by seed, permutation p {rho.p:.2g}{lost}"
    )
    return _placed(found, 0.0, direction, clear=rho.p < 1 - LEVEL)


def always(a: Array, *, at_most: float, otherwise: Otherwise = "does not hold") -> Finding:
    """Every single value is at most `at_most`: a check of an identity, without an interval or a p value.

    `otherwise` is the word for a larger value.
    """
    worst = float(np.max(a))
    return Finding(
        HOLDS if worst <= at_most else otherwise, worst, note=f"largest of {a.size}; an identity, not a finding"
    )


def lowest(a: Array, b: Array | None = None) -> Finding:
    """The smallest number over seeds, or its difference between two groups: described, never tested.

    A bootstrap of a minimum is not valid: simulated false alarms were 16 to 23 % at 5 to 15 seeds.
    """
    return Finding(DESCRIPTIVE, float(a.min() - (0.0 if b is None else b.min())), note=f"smallest of {len(a)} seeds")


def reaches(a: Array, b: Array, *, over: Literal["epochs"], epochs: Array) -> Finding:  # noqa: ARG001 (`over` is `epochs`)
    """The first recorded epoch at which a is at or below where b ends, meaned over the seeds that reach it: described.

    `a` and `b` are (n, E), recorded at the `epochs` (E,).
    """
    reached = a <= b[:, -1:]
    there = reached.any(axis=1)
    first = epochs[reached.argmax(axis=1)][there]
    note = f"reached in {there.sum()} of {len(a)} seeds, of {epochs[-1]:g} epochs"
    return Finding(DESCRIPTIVE, float(first.mean()) if len(first) else None, note=note)


def _placed(found: Finding, margin: float, direction: Direction, clear: bool = True) -> Finding:
    """The word for an interval that does not come from a mean, without a band; if not `clear`, as on the margin."""
    low = -np.inf if found.low is None else found.low
    high = np.inf if found.high is None else found.high
    side = 0 if not clear else 1 if low > margin + ROUNDING else -1 if high < margin - ROUNDING else 0
    if direction == "two_sided":
        return replace(found, word=ANSWERED, answer={1: HIGHER, -1: LOWER, 0: NO_DIFFERENCE}[side])
    claimed = 1 if direction == "greater" else -1
    return replace(found, word=HOLDS if side == claimed else FAILS if side == -claimed else OPEN)


RULES: dict[str, Callable[..., Finding]] = {
    rule.__name__: rule
    for rule in (
        *(paired, one_sample, non_inferior, equivalent, threshold, spread, correlation, always),
        *(lowest, reaches),
    )
}


REQUIRED = inspect.Parameter.empty


def takes(rule: str) -> dict[str, Any]:
    """The fields a rule takes with their defaults; `REQUIRED` where there is none."""
    return {name: parameter.default for name, parameter in inspect.signature(RULES[rule]).parameters.items()}
