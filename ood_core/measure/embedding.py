"""Where images lie in the plane of the two largest principal axes of ID test features: for a picture, not a score."""

from __future__ import annotations

import torch
from torch import Tensor

from .job import Job, Measure, Moment, Row, Seen, score_name

IMAGES = 300  # of each set, the first in canonical order
NAME = "embedding"
COORDINATES = ("x", "y", "label")


def _plan(at: Moment) -> list[Job]:
    if not at.last:
        return []
    reads = [digest for _, _, found in at.ood for digest in found]
    return [Job(NAME, at.epoch, (*at.test, *reads), layer="unit")]


def _rows(seen: Seen, _: Job) -> list[Row]:
    """Leaves x, y (and the label of ID images) of each set among the stored scores; says how much two axes hold."""
    rows = seen.test.layer("unit").double()
    centre, axes, share = plane(rows)
    labels = seen.test.labels
    assert labels is not None
    for name in ("", *seen.sets.ood):
        out = seen.test if name == "" else seen.ood(name)
        placed = (out.layer("unit").double()[:IMAGES] - centre) @ axes
        for key, values in zip(COORDINATES, (*placed.T, labels[:IMAGES].double()), strict=True):
            if key != "label" or name == "":
                seen.scores[stored(key, name)] = values.cpu().numpy()
    return [{"split": "test", "metric": "plane_share", "value": share, "n": len(rows)}]


def stored(coordinate: str, name: str) -> str:
    """Under which name `x`, `y` or `label` of a set stands among the stored scores; no set of a score has this form."""
    return score_name(NAME, "unit", f"{coordinate} of {name}")


def plane(rows: Tensor) -> tuple[Tensor, Tensor, float]:
    """Mean (D,), the two axes (D, 2) of largest variance and their share of it; each axis' largest entry is positive.

    Args:
        rows: float64 (N, D), D of at least 2.
    """
    centre = rows.mean(dim=0)
    variances, vectors = torch.linalg.eigh((rows - centre).T @ (rows - centre))
    axes = vectors[:, [-1, -2]]
    axes = axes * axes.gather(0, axes.abs().argmax(dim=0, keepdim=True)).sign()
    return centre, axes, float(variances[-2:].sum() / variances.sum())


MEASURES = (Measure(NAME, 1, _plan, _rows),)
