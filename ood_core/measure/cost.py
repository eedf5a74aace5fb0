"""What a scorer costs: seconds to fit, microseconds an image to score, on the machine and threads of the run."""

from __future__ import annotations

import time
from statistics import median

from .detection import asked, fitted, images, reads_features
from .job import Job, Measure, Moment, Row, Seen

ROUNDS = 3


def _plan(at: Moment) -> list[Job]:
    return [Job("cost", at.epoch, (*at.train, *at.test), **own) for own in asked(at)] if at.last else []


def _rows(seen: Seen, job: Job) -> list[Row]:
    """The median of three rounds; features are at hand, so the pass over the images is not in it, except for ODIN."""
    fits, scores = [], []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        scorer = fitted(seen, job)
        fits.append(time.perf_counter() - began)
        read = seen.test if reads_features(scorer) else images(seen, seen.sets.test.part(slice(256), "few"))
        began = time.perf_counter()
        scorer.score(read)
        scores.append((time.perf_counter() - began) / len(read) * 1e6)
    return [
        {"split": "train", "metric": "fit_seconds", "value": median(fits), "n": len(seen.train)},
        {"split": "test", "metric": "score_microseconds", "value": median(scores), "n": len(read)},
    ]


MEASURES = (Measure("cost", 1, _plan, _rows, repeats=False),)
