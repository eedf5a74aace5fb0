"""What the Gaussians of a density score rest on: jitter, extreme eigenvalues, condition of each covariance."""

from __future__ import annotations

from .. import scorers
from .detection import canonical, fitted
from .job import Job, Measure, Moment, Row, Seen

SCORER = "ddu"
FACTS = ("jitter", "eigenvalue_min", "eigenvalue_max", "condition_number")


def _plan(at: Moment) -> list[Job]:
    found = []
    for score in at.recipe.evaluate.scores:
        if score.scorer == SCORER and at.last:
            layer, params = canonical(score)
            version = scorers.version(SCORER, **score.params)
            found.append(Job("covariances", at.epoch, at.train, "", "", layer, SCORER, params, version))
    return found


def _rows(seen: Seen, job: Job) -> list[Row]:
    summary = fitted(seen, job).summary()
    classes, count = seen.sets.train.classes, len(seen.train)
    return [
        {"split": "train", "metric": fact, "class": name, "value": float(value), "n": count}
        for fact in FACTS
        for name, value in zip(classes, summary[fact], strict=True)
    ]


MEASURES = (
    Measure("covariances", 1, _plan, _rows, "jitter, eigenvalues and condition of each class's Gaussian, as used"),
)
