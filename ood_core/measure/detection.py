"""OOD detection: every scorer of a recipe on every OOD set."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from torch import Tensor

from .. import metrics, scorers
from ..data import ImageSet
from ..features import extract
from ..outputs import Outputs
from ..recipes import Score
from .job import Job, Measure, Moment, Row, Seen, score_name, written

CORRECT = "correct|logits||"  # among the stored scores: 1 for ID test images that the network classifies right


def canonical(score: Score) -> tuple[str, str]:
    """The layer a scorer reads, and its other non-default parameters as canonical JSON ("" for none)."""
    made = scorers.make(score.scorer, **score.params)
    rest = {name: value for name, value in made.params.items() if name != "layer"}
    return made.layer, written(rest)


def asked(at: Moment) -> Iterator[dict[str, Any]]:
    """What a `Job` says of its scorer, for each score that a recipe asks for at this epoch."""
    for score in at.recipe.evaluate.scores:
        if at.last or score.through_training:
            layer, params = canonical(score)
            version = scorers.version(score.scorer, **score.params)
            yield {"layer": layer, "scorer": score.scorer, "params": params, "scorer_version": version}


def _plan(at: Moment) -> list[Job]:
    return [
        Job("ood", at.epoch, (*at.train, *at.test, *reads), name, group, **own)
        for own in asked(at)
        for name, group, reads in at.ood
    ]


def _rows(seen: Seen, job: Job) -> list[Row]:
    name = (job.scorer, job.layer, job.params)
    scorer, id_scores = seen.once(name, lambda: _tested(seen, job))
    ood = seen.ood(job.ood_set) if reads_features(scorer) else images(seen, seen.sets.ood[job.ood_set])
    ood_scores = scorer.score(ood)
    if seen.last:
        seen.scores[score_name(*name)] = id_scores.double().cpu().numpy()
        seen.scores[score_name(*name, job.ood_set)] = ood_scores.double().cpu().numpy()
        if seen.test.correct is not None:
            seen.scores[CORRECT] = seen.test.correct.double().cpu().numpy()
    values = metrics.evaluate(id_scores, ood_scores, correct=seen.test.correct)
    count = len(id_scores) + len(ood_scores)
    return [{"split": "test", "metric": metric, "value": value, "n": count} for metric, value in values.items()]


def _tested(seen: Seen, job: Job) -> tuple[scorers.Scorer, Tensor]:
    """The fitted scorer of a job, and its scores of ID test images."""
    scorer = fitted(seen, job)
    return scorer, scorer.score(seen.test if reads_features(scorer) else images(seen, seen.sets.test))


def fitted(seen: Seen, job: Job) -> scorers.Scorer:
    """The scorer of a job, with the network where it takes one, fitted on training images."""
    settings = {"layer": job.layer, **(json.loads(job.params) if job.params else {})}
    if "model" in scorers.describe(job.scorer)["needs"]:
        settings["model"] = seen.net
    scorer = scorers.make(job.scorer, **settings)
    return scorer.fit(seen.train if reads_features(scorer) else images(seen, seen.sets.train.part(slice(64), "few")))


def reads_features(scorer: scorers.Scorer) -> bool:
    """Whether one pass over the images is all a scorer needs; the others move the images themselves."""
    return "inputs" not in scorer.needs


def images(seen: Seen, found: ImageSet) -> Outputs:
    """A set with its preprocessed images; they are large, so they are not kept."""
    return extract(seen.net, replace(found, labels=None), keep_inputs=True).to(seen.net.mean.device)


MEASURES = (Measure("ood", 1, _plan, _rows),)
