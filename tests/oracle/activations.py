"""Scores and shapes of activations by definition, one row at a time."""

import math

import numpy as np

from tests.oracle import distances, scorers


def nan(train, labels, rows):
    scores = []
    for row in rows:
        active = [value for value in row if value > 0]
        scores.append(math.fsum(map(abs, row)) / len(active) if active else 0.0)
    return np.array(scores)


def active_count(train, labels, rows):
    return np.array([-float(len([value for value in row if value > 0])) for row in rows])


def react(train, labels, rows, head, quantile=0.9, **then):
    clip = np.quantile(train, quantile)
    return _behind(np.minimum(train, clip), labels, np.minimum(rows, clip), head, **then)


def ash(train, labels, rows, head, variant="s", quantile=0.9, **then):
    def shaped(row):
        kept = _kept(row, quantile)
        before, after = math.fsum(row), math.fsum(kept)
        if variant == "b":
            return [before / len([v for v in kept if v]) if v else 0.0 for v in kept]
        return [v * (math.exp(before / after) if variant == "s" else 1) for v in kept]

    return _behind(
        np.array([shaped(row) for row in train]), labels, np.array([shaped(row) for row in rows]), head, **then
    )


def scale(train, labels, rows, head, quantile=0.85, **then):
    def shaped(row):
        return row * math.exp(math.fsum(row) / math.fsum(_kept(row, quantile)))

    return _behind(
        np.array([shaped(row) for row in train]), labels, np.array([shaped(row) for row in rows]), head, **then
    )


def _kept(row, quantile):
    count = len(row) - round(quantile * len(row))
    smallest = sorted(row)[-count]
    return [value if value >= smallest else 0.0 for value in row]


def _behind(train, labels, rows, head, then="energy", then_params=None):
    """The inner scorer's definition on the shaped rows, or on their logits."""
    definition, layer = INNER[then]
    rest = dict(then_params or {})
    layer = rest.pop("layer", layer)
    if layer == "unit":
        train, rows = (part / np.sqrt((part**2).sum(axis=1, keepdims=True)) for part in (train, rows))
    elif layer != "features":
        train, rows = (logits(head, part, layer == "raw_logits") for part in (train, rows))
    return definition(train, labels, rows, **rest)


def logits(head, features, raw=False):
    """The three kinds of head, one entry at a time."""
    weight = head.weight.double().numpy()
    if head.kind == "distance":
        return np.array([[-head.scale * math.dist(h, w) for w in weight] for h in features])
    bias = np.zeros(len(weight)) if head.bias is None else head.bias.double().numpy()
    length = [math.hypot(*h) if head.kind == "unit" and not raw else 1.0 for h in features]
    return np.array(
        [
            [math.fsum(h * w) / size + b for w, b in zip(weight, bias, strict=True)]
            for h, size in zip(features, length, strict=True)
        ]
    )


INNER = {
    "energy": (scorers.energy, "logits"),
    "msp": (scorers.msp, "logits"),
    "feature_norm": (scorers.feature_norm, "features"),
    "nan": (nan, "features"),
    "knn": (distances.knn, "features"),
    "mahalanobis": (distances.mahalanobis, "features"),
}
