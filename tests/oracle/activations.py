"""Scores and shapes of activations by definition, one row at a time."""

import math

import numpy as np


def nan(train, labels, rows):
    scores = []
    for row in rows:
        active = [value for value in row if value > 0]
        scores.append(math.fsum(map(abs, row)) / len(active) if active else 0.0)
    return np.array(scores)


def active_count(train, labels, rows):
    return np.array([-float(len([value for value in row if value > 0])) for row in rows])
