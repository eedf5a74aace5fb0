"""Scores through the last layer and principal subspaces by definition: one row at a time, by SVD and scikit-learn.

Each takes the training rows (N, D) and labels of the layer, the rows to score (M, D), the `Head` and the parameters.
"""

import math

import numpy as np
from scipy.special import logsumexp
from sklearn.decomposition import PCA
from sklearn.preprocessing import StandardScaler


def plain(head):
    """Weight and bias of a head in float64."""
    weight = head.weight.double().numpy()
    return weight, np.zeros(len(weight)) if head.bias is None else head.bias.double().numpy()


def direction(row):
    return row / max(math.hypot(*row), 1e-12)


def seen(head, row):
    """What the head's formula works on."""
    return direction(row) if head.kind == "unit" or head.normalized else row


def logits(head, row):
    weight, bias = plain(head)
    if head.kind != "distance":
        return np.array([math.fsum(w * seen(head, row)) + b for w, b in zip(weight, bias, strict=True)])
    prototypes = [direction(w) for w in weight] if head.normalized else weight
    return np.array([-head.scale * math.dist(seen(head, row), w) for w in prototypes])


def origin(head):
    """Where all logits agree: the shortest solution by least squares."""
    weight, bias = plain(head)
    if head.kind == "distance":
        if head.normalized:
            weight = np.array([direction(w) for w in weight])
        squares = (weight**2).sum(axis=1)
        weight, bias = weight - weight.mean(axis=0), -(squares - squares.mean()) / 2
    return np.linalg.lstsq(weight, -bias, rcond=1e-6)[0]


def outside(train, row, dim):
    """Length of what the first `dim` right singular vectors leave of a row; both are centred."""
    dim = dim or (1000 if len(row) > 1500 else 512 if len(row) >= 768 else len(row) // 2)
    axes = np.linalg.svd(train, full_matrices=False)[2][:dim]
    for axis in axes:
        row = row - (row @ axis) * axis
    return math.hypot(*row)


def vim(train, labels, rows, head, dim=0):
    u = origin(head)
    train = np.array([seen(head, row) for row in train])
    alpha = sum(max(logits(head, h)) for h in train) / sum(outside(train - u, h - u, dim) for h in train)
    return np.array([logsumexp(logits(head, h)) - alpha * outside(train - u, seen(head, h) - u, dim) for h in rows])


def residual(train, labels, rows, head, dim=0, origin="head"):
    if origin == "mean":
        return np.array([-outside(train - train.mean(axis=0), h - train.mean(axis=0), dim) for h in rows])
    u = globals()["origin"](head)
    train = np.array([seen(head, row) for row in train])
    return np.array([-outside(train - u, seen(head, h) - u, dim) for h in rows])


def neco(train, labels, rows, head, dim=0, share=0.9, scaling="standard", times="none"):
    scaler = StandardScaler().fit(train)
    z_train, z = (scaler.transform(train), scaler.transform(rows)) if scaling == "standard" else (train, rows)
    pca = PCA(svd_solver="full").fit(z_train)
    held = np.cumsum(pca.explained_variance_ratio_)
    dim = dim or min(next(k + 1 for k in range(len(held)) if held[k] >= share), train.shape[1] - 1)
    lengths = [math.hypot(*(axis @ row for axis in pca.components_[:dim])) for row in z]
    ratio = np.array([a / math.hypot(*row) if row.any() else 0.0 for a, row in zip(lengths, z, strict=True)])
    return ratio if times == "none" else ratio * np.array([max(logits(head, row)) for row in rows])


def nci(train, labels, rows, head, alpha=1e-4, p=1.0):
    weight, _ = plain(head)
    if head.kind == "distance":
        weight = np.array([direction(w) for w in weight]) if head.normalized else weight
        weight = weight - weight.mean(axis=0)
    mean = np.mean([seen(head, h) for h in train], axis=0)
    scores = []
    for row in rows:
        w = weight[np.argmax(logits(head, row))]
        centred = seen(head, row) - mean
        angle = math.fsum(direction(centred) * direction(w)) * math.hypot(*w)
        scores.append(angle + alpha * math.fsum(abs(value) ** p for value in row) ** (1 / p))
    return np.array(scores)


def fdbd(train, labels, rows, head):
    weight, bias = plain(head)
    if head.normalized:
        weight = np.array([direction(w) for w in weight])
    mean = np.mean([seen(head, h) for h in train], axis=0)
    scores = []
    for row in rows:
        x, y = seen(head, row), np.argmax(logits(head, row))
        distances = []
        for c in set(range(len(weight))) - {y}:
            normal = direction(weight[y] - weight[c])
            between = (weight[y] + weight[c]) / 2  # a point of the boundary of a distance head
            if head.kind != "distance":
                between = -(bias[y] - bias[c]) / math.dist(weight[y], weight[c]) * normal
            distances.append(abs((x - between) @ normal))
        scores.append(np.mean(distances) / math.dist(x, mean))
    return np.array(scores)


def she(train, labels, rows, head):
    said = np.array([np.argmax(logits(head, h)) for h in train])
    stored = {c: train[(labels == c) & (said == c)].mean(axis=0) for c in np.unique(labels)}
    return np.array([math.fsum(h * stored[np.argmax(logits(head, h))]) for h in rows])
