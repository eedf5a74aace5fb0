"""Whether stored runs still say what they said: checksums, and metrics computed again from stored scores."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from . import metrics
from .checks import ArtifactError
from .measure import parse_score_name
from .store import Run


@dataclass(frozen=True)
class Finding:
    """The outcome for one run: how many numbers were computed again, and what is wrong ("" for nothing)."""

    run: str
    recipe: str
    seed: int
    numbers: int
    problem: str


def verify(runs: Iterable[Run]) -> list[Finding]:
    """Check every file of each run against its checksum and every OOD metric against the stored scores.

    A metric agrees if it differs by less than 1e-9; OSCR needs the network's decisions, which scores do not hold, and
    is left out.
    """
    return [_verify(run) for run in runs]


def _verify(run: Run) -> Finding:
    recipe, seed = str(run.info["recipe"]["id"]), int(run.info["seed"])
    try:
        run.check()
        rows, scores = run.rows(), run.scores()
    except ArtifactError as error:
        return Finding(run.key, recipe, seed, 0, str(error).partition("\n")[0])
    last = rows[(rows["split"] == "test") & (rows["epoch"] == rows["epoch"].max())]
    count, wrong = 0, []
    for name, ood in scores.items():
        scorer, layer, params, ood_set = parse_score_name(name)
        if not ood_set:
            continue
        again = metrics.evaluate(scores["|".join((scorer, layer, params, ""))], ood)
        kept = last[
            (last["scorer"] == scorer)
            & (last["layer"] == layer)
            & (last["params"] == params)
            & (last["ood_set"] == ood_set)
        ].set_index("metric")["value"]
        for metric, value in again.items():
            count += 1
            if metric not in kept.index or not np.isclose(kept[metric], value, rtol=0, atol=1e-9):
                wrong.append(f"{scorer} on {ood_set}: {metric} is {kept.get(metric)}, the scores give {value}")
    if len(wrong) > 3:
        wrong = [*wrong[:3], f"and {len(wrong) - 3} more"]
    return Finding(run.key, recipe, seed, count, "; ".join(wrong))
