"""Distance scorers by definition: numpy and scipy, one row at a time, no whitening, no product in place of a distance.

Each takes the training rows (N, D) and labels of the layer, the rows to score (M, D), and the scorer's parameters.
"""

import math

import numpy as np
from scipy.spatial.distance import mahalanobis as scipy_mahalanobis


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
