"""Metrics by definition: all pairs, or all thresholds one at a time."""

import numpy as np


def auroc(inside, outside):
    return float(np.mean([[(a > b) + 0.5 * (a == b) for b in outside] for a in inside]))


def oscr(inside, outside, correct):
    pairs = [[right * ((a > b) + 0.5 * (a == b)) for b in outside] for a, right in zip(inside, correct, strict=True)]
    return float(np.mean(pairs))


def fpr_at_tpr(inside, outside, tpr=0.95):
    thresholds = [t for t in inside if sum(a >= t for a in inside) / len(inside) >= tpr]
    return sum(b >= max(thresholds) for b in outside) / len(outside)


def fpr_ood_positive(inside, outside, tpr=0.95):
    thresholds = [t for t in outside if sum(b <= t for b in outside) / len(outside) >= tpr]
    return sum(a <= min(thresholds) for a in inside) / len(inside)


def detection_accuracy(inside, outside):
    thresholds = [*inside, *outside, float("inf")]
    return max((np.mean([a >= t for a in inside]) + np.mean([b < t for b in outside])) / 2 for t in thresholds)


def ece(probabilities, labels, bins=15):
    total = 0.0
    for b in range(bins):
        members = [(max(p), np.argmax(p) == y) for p, y in zip(probabilities, labels, strict=True)]
        members = [(c, hit) for c, hit in members if b / bins < c <= (b + 1) / bins]
        if members:
            confidence, hits = np.mean([c for c, _ in members]), np.mean([hit for _, hit in members])
            total += len(members) / len(labels) * abs(hits - confidence)
    return total
