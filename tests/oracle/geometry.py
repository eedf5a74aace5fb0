"""Geometry by definition: one sample, one pair or one unit at a time."""

import math
from collections import Counter

import numpy as np


def distance(a, b, metric):
    if metric == "euclidean":
        return math.dist(a, b)
    lengths = math.hypot(*a) * math.hypot(*b)
    return 1 - math.fsum(x * y for x, y in zip(a, b, strict=True)) / lengths if lengths else 1.0


def distances(features, metric):
    return np.array(
        [[distance(a, b, metric) if i != j else 0.0 for j, b in enumerate(features)] for i, a in enumerate(features)]
    )


def global_separation(features, labels, share=1.0, metric="cosine"):
    table = distances(features, metric)

    def mean(c, other):
        found = sorted(table[i][j] for i in np.flatnonzero(labels == c) for j in np.flatnonzero(labels == other))
        return math.fsum(found[: max(1, math.floor(len(found) * share + 1e-9))]) / max(
            1, math.floor(len(found) * share + 1e-9)
        )

    scores = []
    for c in range(labels.max() + 1):
        nearest, own = min(mean(c, other) for other in range(labels.max() + 1) if other != c), mean(c, c)
        scores.append((nearest - own) / max(nearest, own) if max(nearest, own) else 0.0)
    return scores


def local_purity(features, labels, neighbours=10, metric="euclidean"):
    table = distances(features, metric)
    shares = []
    for i in range(len(labels)):
        others = sorted((j for j in range(len(labels)) if j != i), key=lambda j: table[i][j])
        members = [labels[j] for j in [i, *others[:neighbours]]]
        shares.append(Counter(members).most_common(1)[0][1] / len(members))
    return math.fsum(shares) / len(shares)


def silhouette(features, labels, metric="euclidean"):
    table = distances(features, metric)
    scores = []
    for i, own in enumerate(labels):
        to = {c: [table[i][j] for j in np.flatnonzero(labels == c) if j != i] for c in set(labels)}
        if not to[own]:
            scores.append(0.0)
            continue
        a = math.fsum(to[own]) / len(to[own])
        b = min(math.fsum(to[c]) / len(to[c]) for c in to if c != own)
        scores.append((b - a) / max(a, b))
    return math.fsum(scores) / len(scores)


def cluster_purity(labels, clusters):
    groups = [[y for y, k in zip(labels, clusters, strict=True) if k == kind] for kind in sorted(set(clusters))]
    most = [Counter(group).most_common(1)[0][1] for group in groups]
    shares = [count / len(group) for count, group in zip(most, groups, strict=True)]
    return {"mean": math.fsum(shares) / len(shares), "weighted": sum(most) / len(labels)}


def nmi(labels, clusters):
    n = len(labels)

    def entropy(values):
        return -math.fsum(count / n * math.log(count / n) for count in Counter(values).values())

    pairs = list(zip(labels, clusters, strict=True))
    both = entropy(labels) + entropy(clusters)
    return 2 * (both - entropy(pairs)) / both if both else 1.0


def activation_entropy(features):
    total = []
    for unit in features.T:
        shares = [sum(value > 0 for value in unit) / len(unit), sum(value <= 0 for value in unit) / len(unit)]
        total.append(-math.fsum(q * math.log(q) for q in shares if q > 0))
    return math.fsum(total) / len(total)


def hidden(features, coefficients):
    """Logits, gaps and bounds of the hidden classifier, unit by unit; the gap as twice what has the wrong sign."""
    logits, gaps, bounds = [], [], []
    for i, a in enumerate(features):
        matrix = coefficients if coefficients.ndim == 2 else coefficients[i]
        signs = [[1 if c > 0 else -1 for c in row] for row in matrix]
        own = [1 if value > 0 else -1 for value in a]
        logits.append([math.fsum(b * value for b, value in zip(row, a, strict=True)) for row in signs])
        gaps.append([2 * math.fsum(abs(v) for b, s, v in zip(row, own, a, strict=True) if b != s) for row in signs])
        bounds.append([max(abs(a)) * sum(abs(b - s) for b, s in zip(row, own, strict=True)) for row in signs])
    return np.array(logits), np.array(gaps), np.array(bounds)
