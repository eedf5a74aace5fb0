"""How flat the softmax is, with and without the training's scale, and how well it is calibrated by one temperature."""

from __future__ import annotations

import json
import math
from collections.abc import Callable

import torch
from scipy.optimize import minimize_scalar
from torch import Tensor
from torch.nn import functional as F

from .. import data, metrics, scorers
from ..features import extract
from .job import Job, Measure, Moment, Row, Seen, written

LOWEST, HIGHEST = 0.001, 100.0  # temperatures, as in the DisMax code
STEPS = 501  # of the grid, equal in the logarithm: 2.3 % apart


def _plan_posterior(at: Moment) -> list[Job]:
    """Entropies of ID test images and every OOD set, without the training's scale and with it."""
    if not at.last:
        return []
    scale = at.recipe.loss.scale
    settings = [{}, *([{"temperature": 1 / scale}] if scale != 1 else [])]
    sets = [("", "", at.test), *at.ood]
    return [
        Job("posterior", at.epoch, (*reads, *at.test), name, group, "logits", params=written(params))
        for params in settings
        for name, group, reads in sets
    ]


def _posterior(seen: Seen, job: Job) -> list[Row]:
    """Mean of H(P) / ln C, in [0, 1]: 1 where all classes are equally likely."""
    out = seen.ood(job.ood_set) if job.ood_set else seen.test
    assert out.logits is not None
    scorer = scorers.make("entropy", **(json.loads(job.params) if job.params else {}))
    share = -float(scorer.fit(out).score(out).mean()) / math.log(out.logits.shape[1])
    return [{"split": "test", "metric": "posterior_entropy", "value": share, "n": len(out)}]


def _plan_calibration(at: Moment) -> list[Job]:
    """On test images, with the temperature fitted on the ID validation images; nothing without validation images."""
    if not at.last or at.recipe.data.train_on == "all":
        return []
    reads = (data.digest(at.recipe.data.id_set, "train"), *at.test)
    return [
        Job("calibration", at.epoch, reads, layer="logits", params=written(params))
        for params in ({}, {"fitted_by": "ece"}, {"fitted_by": "nll"})
    ]


def _calibration(seen: Seen, job: Job) -> list[Row]:
    """Calibration error of the test images at T = 1, or at the temperature that validation images ask for."""
    validation = seen.sets.validation
    assert validation is not None
    held_out = seen.once("validation", lambda: extract(seen.net, validation))
    logits, labels = seen.test.logits, seen.test.labels
    assert held_out.logits is not None
    assert held_out.labels is not None
    assert logits is not None
    assert labels is not None
    how = json.loads(job.params)["fitted_by"] if job.params else ""
    temperature = FITS[how](held_out.logits.double(), held_out.labels) if how else 1.0
    error = ece_at(temperature, logits.double(), labels)
    rows: list[Row] = [{"split": "test", "metric": "ece", "value": error, "n": len(labels)}]
    if how:
        rows.append({"split": "test", "metric": "temperature", "value": temperature, "n": len(held_out)})
    return rows


def ece_at(temperature: float, logits: Tensor, labels: Tensor) -> float:
    """Expected calibration error (15 equal bins) of softmax(logits / T); a fraction."""
    return metrics.ece((logits / temperature).softmax(dim=1), labels)


def nll_at(temperature: float, logits: Tensor, labels: Tensor) -> float:
    """Mean of -log softmax(logits / T)[label], in nats."""
    return float(F.cross_entropy(logits / temperature, labels))


def by_ece(logits: Tensor, labels: Tensor) -> float:
    """The temperature of least calibration error: the best of a grid, because the error moves in steps.

    A search by slopes stalls on those steps or at a bound. Of equal errors, the temperature nearest to `by_nll`'s.

    Args:
        logits: float64 (N, C). labels: (N,).
    """
    grid = torch.logspace(math.log10(LOWEST), math.log10(HIGHEST), STEPS, dtype=torch.float64).tolist()
    centre = by_nll(logits, labels)
    ranked = [(ece_at(t, logits, labels), abs(math.log(t / centre)), t) for t in (*grid, centre)]
    return float(min(ranked)[2])


def by_nll(logits: Tensor, labels: Tensor) -> float:
    """The temperature of least negative log-likelihood, which is convex in 1 / T, so that the minimum is the only one.

    Args:
        logits: float64 (N, C). labels: (N,). Where every row is right, the minimum lies at the lower bound.
    """
    found = minimize_scalar(
        lambda x: nll_at(math.exp(x), logits, labels),
        bounds=(math.log(LOWEST), math.log(HIGHEST)),
        method="bounded",
        options={"xatol": 1e-6},
    )
    return math.exp(float(found.x))


FITS: dict[str, Callable[[Tensor, Tensor], float]] = {"ece": by_ece, "nll": by_nll}


MEASURES = (
    Measure("posterior", 1, _plan_posterior, _posterior),
    Measure("calibration", 1, _plan_calibration, _calibration),
)
