"""Distance scorers by definition: numpy and scipy, one row at a time, no whitening, no product in place of a distance.

Each takes the training rows (N, D) and labels of the layer, the rows to score (M, D), and the scorer's parameters.
"""

import math

import numpy as np
from scipy.spatial.distance import mahalanobis as scipy_mahalanobis

from .scorers import DISTANCES


def inverse(covariance, ridge):
    """Inverse of S + ridge trace(S) / D I."""
    size = len(covariance)
    return np.linalg.inv(covariance + ridge * np.trace(covariance) / size * np.eye(size))


def _within(train, labels):
    residuals = np.concatenate([train[labels == c] - train[labels == c].mean(axis=0) for c in np.unique(labels)])
    return sum(np.outer(r, r) for r in residuals) / len(train)


def _class_distances(train, labels, row, precision):
    return [scipy_mahalanobis(row, train[labels == c].mean(axis=0), precision) ** 2 for c in np.unique(labels)]


def mahalanobis(train, labels, rows, ridge=1e-4):
    precision = inverse(_within(train, labels), ridge)
    return np.array([-min(_class_distances(train, labels, row, precision)) for row in rows])


def relative_mahalanobis(train, labels, rows, ridge=1e-4):
    background = inverse(np.atleast_2d(np.cov(train, rowvar=False, bias=True)), ridge)
    far = np.array([scipy_mahalanobis(row, train.mean(axis=0), background) ** 2 for row in rows])
    return mahalanobis(train, labels, rows, ridge) + far


def neighbour_distances(train, row, k, exclude_self="no"):
    distances = sorted(math.dist(row, other) for other in train)
    if exclude_self == "yes" and distances[0] == 0:
        distances = distances[1:]
    return distances[:k]


def knn(train, labels, rows, k=50, which="kth", exclude_self="no"):
    near = [neighbour_distances(train, row, k, exclude_self) for row in rows]
    return np.array([-(d[-1] if which == "kth" else math.fsum(d) / k) for d in near])


def lloyd(train, clusters, starts=40):
    """Rows of each cluster of the best of many runs of k-means, each from rows picked at random."""
    generator, best = np.random.default_rng(1), (math.inf, None)
    for _ in range(starts):
        centres = train[generator.choice(len(train), clusters, replace=False)]
        labels = None
        while True:
            squared = ((train[:, None] - centres) ** 2).sum(axis=2)
            if labels is not None and (squared.argmin(axis=1) == labels).all():
                break
            labels = squared.argmin(axis=1)
            if len(set(labels.tolist())) < clusters:
                break
            centres = np.stack([train[labels == k].mean(axis=0) for k in range(clusters)])
        lost_one = len(set(labels.tolist())) < clusters
        cost = math.inf if lost_one else squared.min(axis=1).sum()
        if cost < best[0]:
            best = cost, labels
    return [train[best[1] == k] for k in range(clusters)]


def _to_centres(row, groups, distance, ridge):
    if distance != "mahalanobis":
        return [DISTANCES[distance](row, group.mean(axis=0)) for group in groups]
    precisions = [inverse(np.atleast_2d(np.cov(group, rowvar=False, bias=True)), ridge) for group in groups]
    return [
        scipy_mahalanobis(row, group.mean(axis=0), precision) ** 2
        for group, precision in zip(groups, precisions, strict=True)
    ]


def cluster(
    train, labels, rows, distance="euclidean", centres="class_means", clusters=0, seed=0, n_init=20, pca=0, ridge=1e-4,
    threshold="global",
):  # fmt: skip
    if pca:
        mean, axes = train.mean(axis=0), np.linalg.svd(train - train.mean(axis=0))[2][:pca]
        train, rows = (train - mean) @ axes.T, (rows - mean) @ axes.T
    if centres == "kmeans":
        groups = lloyd(train, clusters or len(np.unique(labels)))
    else:
        groups = [train[labels == c] for c in np.unique(labels)]
    found = [_to_centres(row, groups, distance, ridge) for row in rows]
    if threshold == "global":
        return np.array([-min(d) for d in found])
    inside = [_to_centres(row, groups, distance, ridge) for row in train]
    near = [[min(d) for d in inside if int(np.argmin(d)) == k] for k in range(len(groups))]
    return np.array([-(min(d) - np.mean(near[np.argmin(d)])) / np.std(near[np.argmin(d)]) for d in found])


def cluster_leaky(train, labels, rows, row_labels, distance="euclidean", ridge=1e-4):
    groups = [train[labels == c] for c in np.unique(labels)]
    pairs = zip(rows, row_labels, strict=True)
    return np.array([-_to_centres(row, groups, distance, ridge)[label] for row, label in pairs])


def ssd(train, labels, rows, clusters=1, ridge=1e-4, seed=0, n_init=20):
    z, new = ((part - train.mean(axis=0)) / train.std(axis=0) for part in (train, rows))
    groups = lloyd(z, clusters)
    return np.array([-min(_to_centres(row, groups, "mahalanobis", ridge)) for row in new])


def nnguide(train, labels, rows, logits, k=10, ratio=1.0, seed=0):
    """A ratio below 1 is compared only where it rounds up to all rows."""
    assert math.ceil(ratio * len(train)) == len(train)
    bank, new = (np.logaddexp.reduce(part, axis=1) for part in logits)
    guides = [sorted((e * float(np.dot(z, row)) for e, z in zip(bank, train, strict=True)))[-k:] for row in rows]
    return np.array([e * math.fsum(guide) / k for e, guide in zip(new, guides, strict=True)])


def _unit(rows):
    return np.array([row / max(math.hypot(*row), 1e-12) for row in rows])


def _nan(rows):
    return np.array([math.fsum(map(abs, row)) / sum(value > 0 for value in row) for row in rows])


def react_nan(train, labels, rows, quantile=0.95):
    level = np.quantile(train, quantile)
    return _nan([[min(value, level) for value in row] for row in rows])


def _over_nan(distances, train, rows, clip):
    return distances / (react_nan(train, None, rows, clip) if clip else _nan(rows))


def knn_nan(train, labels, rows, k=50, which="kth", squared="no", on="unit", clip=0.0):
    bank, new = (_unit(train), _unit(rows)) if on == "unit" else (train, rows)
    power = 2 if squared == "yes" else 1
    near = [[d**power for d in neighbour_distances(bank, row, k)] for row in new]
    distances = np.array([-(d[-1] if which == "kth" else math.fsum(d) / k) for d in near])
    return _over_nan(distances, train, rows, clip)


def ssd_nan(
    train, labels, rows, clusters=1, ridge=1e-4, seed=0, n_init=20, squared="yes", on="unit", clip=0.0
):  # fmt: skip
    bank, new = (_unit(train), _unit(rows)) if on == "unit" else (train, rows)
    distances = ssd(bank, labels, new, clusters, ridge)
    distances = distances if squared == "yes" else -np.sqrt(-distances)
    return _over_nan(distances, train, rows, clip)
