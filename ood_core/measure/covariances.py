"""What the Gaussians of a density score rest on: jitter, extreme eigenvalues, condition of each covariance."""

from __future__ import annotations

from .detection import asked, fitted
from .job import Job, Measure, Moment, Row, Seen

SCORER = "ddu"
FACTS = ("jitter", "eigenvalue_min", "eigenvalue_max", "condition_number")


def _plan(at: Moment) -> list[Job]:
    found = [own for own in asked(at) if own["scorer"] == SCORER] if at.last else []
    return [Job("covariances", at.epoch, at.train, **own) for own in found]


def _rows(seen: Seen, job: Job) -> list[Row]:
    summary = fitted(seen, job).summary()
    classes, count = seen.sets.train.classes, len(seen.train)
    return [
        {"split": "train", "metric": fact, "class": name, "value": float(value), "n": count}
        for fact in FACTS
        for name, value in zip(classes, summary[fact], strict=True)
    ]


MEASURES = (Measure("covariances", 1, _plan, _rows),)
