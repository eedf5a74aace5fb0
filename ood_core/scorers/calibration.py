"""A threshold for scores that are there already, and the rate of acceptance that it promises."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from .. import checks


@dataclass(frozen=True)
class Calibration:
    """A threshold and what it promises: accept a row if its score is at least `threshold`.

    Attributes:
        threshold: the largest t with share(ID >= t) >= `id_tpr` on the held-out ID scores.
        id_tpr: the share of ID that was asked for, a fraction.
        rate: the share of the held-out ID rows that the threshold accepts, a fraction.
        low, high: interval of the share of *new* ID rows that it accepts, fractions. With the k-th largest of n
            independent scores as threshold, that share follows Beta(k, n - k + 1) for a continuous score, whatever its
            distribution; with ties it can only be larger.
        confidence: of that interval, a fraction.
        n: held-out ID rows.
    """

    threshold: float
    id_tpr: float
    rate: float
    low: float
    high: float
    confidence: float
    n: int


def threshold(scores: Any, id_tpr: float = 0.95, confidence: float = 0.95) -> Calibration:
    """The largest threshold that accepts the share `id_tpr` of held-out ID scores, and what it promises of new ones.

    t = s_(k), the k-th largest of n scores, with the smallest k for which k / n >= id_tpr

    `Scorer.calibrate` scores its rows and asks this; ask it yourself for scores made elsewhere. That they come from
    rows that nothing was trained or fitted on is for the caller to know.

    Args:
        scores: (n,), numpy or torch, any device, of ID rows; larger = more in-distribution.
        id_tpr: share of ID to accept, a fraction in (0, 1].
        confidence: of the interval of the rate for new rows, a fraction in (0, 1).
    Raises:
        InputError: no scores, another shape, NaN or infinity, or no such fraction.
    Source: order statistics, e.g. Wilks 1941 (tolerance limits).
    Example:
        >>> from ood_core import scorers
        >>> found = scorers.threshold([0.1, 0.5, 0.7, 0.8, 0.9], id_tpr=0.8)
        >>> found.threshold, found.rate, round(found.low, 4), round(found.high, 4)
        (0.5, 0.8, 0.2836, 0.9473)
    """
    from scipy.stats import beta

    id_tpr = checks.share("id_tpr", id_tpr)
    confidence = checks.share("confidence", confidence, below=True)
    descending = checks.vector("scores", scores).cpu().sort(descending=True).values
    n = len(descending)
    # k / n is compared as a division: n * id_tpr rounds up where the exact product is whole (100 * 0.07 > 7).
    shares = torch.arange(1, n + 1, dtype=torch.float64) / n
    k = int(torch.searchsorted(shares, id_tpr)) + 1
    level = float(descending[k - 1])
    low, high = beta.ppf([(1 - confidence) / 2, (1 + confidence) / 2], k, n - k + 1)
    rate = int((descending >= level).sum()) / n
    return Calibration(level, id_tpr, rate, float(low), float(high), confidence, n)
