"""Scores of the softmax by definition, one row at a time, in decimal numbers of 400 digits.

That is enough to tell a probability from 1 down to the smallest double beside it.
"""

from decimal import Context, Decimal, localcontext
from functools import lru_cache

import numpy as np

_CONTEXT = Context(prec=400, Emin=-999_999_999, Emax=999_999_999)


def _softmax(row, temperature=1.0):
    return list(_softmax_of(tuple(map(float, row)), temperature))


@lru_cache(maxsize=10_000)  # most tests ask for the same rows, and an exponential takes a millisecond
def _softmax_of(row, temperature):
    with localcontext(_CONTEXT):
        exponentials = [(Decimal(value) / Decimal(temperature)).exp() for value in row]
        total = sum(exponentials)
        return tuple(e / total for e in exponentials)


def _plogp(p):
    return sum(q * q.ln() for q in p if q)


def entropy(train, labels, rows, temperature=1.0):
    with localcontext(_CONTEXT):
        return np.array([float(_plogp(_softmax(row, temperature))) for row in rows])


def mmles(train, labels, rows):
    with localcontext(_CONTEXT):
        return np.array([max(row) + sum(row) / len(row) + float(_plogp(_softmax(row))) for row in rows])


def gen(train, labels, rows, gamma=0.1, M=100):
    scores = []
    with localcontext(_CONTEXT):
        for row in rows:
            p = sorted(_softmax(row), reverse=True)
            rest = [sum(p[:i] + p[i + 1 :]) for i in range(len(p))]  # 1 - p
            pairs = list(zip(p, rest, strict=True))[:M]
            scores.append(-float(sum((a * b) ** Decimal(gamma) for a, b in pairs)))
    return np.array(scores)


def kl_matching(train, labels, rows, classes="predicted"):
    with localcontext(_CONTEXT):
        groups = {}
        for row, label in zip(train, labels, strict=True):
            k = int(label) if classes == "true" else max(range(len(row)), key=lambda c: row[c])
            groups.setdefault(k, []).append(_softmax(row))
        templates = [[sum(column) / len(group) for column in zip(*group, strict=True)] for group in groups.values()]
        logs = [[value.ln() for value in template] for template in templates]
        scores = []
        for row in rows:
            p = _softmax(row)
            own = _plogp(p)  # once: a logarithm takes a millisecond
            away = [own - sum(a * b for a, b in zip(p, d, strict=True)) for d in logs]
            scores.append(-float(min(away)))
    return np.array(scores)


def min_distance(train, labels, rows):
    return np.array([-min(-value for value in row) for row in rows])
