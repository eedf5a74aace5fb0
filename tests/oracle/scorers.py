"""Scores by definition: one row at a time, numpy, scipy and math only.

Each takes the training rows (N, D) and labels of the layer, the rows to score (M, D), and the scorer's parameters.
"""

import math
from decimal import Decimal

import numpy as np
from scipy.stats import multivariate_normal


def msp(train, labels, rows, temperature=1.0):
    return np.array([1 / math.fsum(math.exp((other - max(row)) / temperature) for other in row) for row in rows])


def max_logit(train, labels, rows):
    return np.array([sorted(row)[-1] for row in rows])


def energy(train, labels, rows, temperature=1.0):
    return np.array([temperature * np.logaddexp.reduce(row / temperature) for row in rows])


def feature_norm(train, labels, rows, p=2.0):
    if p == "inf":
        return np.array([max(abs(value) for value in row) for row in rows])
    order = Decimal(p)  # decimals do not overflow
    return np.array([float(sum(Decimal(abs(float(v))) ** order for v in row) ** (1 / order)) for row in rows])


def ddu(train, labels, rows, ridge=1e-4, jitter="relative"):
    """The ladder stops at 0 for covariances of full rank, which is what this is compared on."""
    total = np.full(len(rows), -np.inf)
    for c in np.unique(labels):
        mine = train[labels == c]
        covariance = np.atleast_2d(np.cov(mine, rowvar=False))
        share = 0.0 if jitter == "ladder" else ridge
        covariance = covariance + share * np.trace(covariance) / len(covariance) * np.eye(len(covariance))
        log_density = np.atleast_1d(multivariate_normal(mine.mean(axis=0), covariance).logpdf(rows))
        total = np.logaddexp(total, log_density)
    return total


def _cosine_distance(a, b):
    lengths = math.hypot(*a) * math.hypot(*b)
    return 1 - math.fsum(x * y for x, y in zip(a, b, strict=True)) / lengths if lengths else 1.0


DISTANCES = {"euclidean": math.dist, "cosine": _cosine_distance}
