"""How classes lie in the embedding: separation, purity of k-means clusters, a linear probe, and what training cost.

Embeddings are unit features (h / ||h||), for every training alike; labels are the true ones.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .. import geometry
from ..checks import InputError
from ..losses import objective
from ..outputs import Outputs
from ..scorers.centres import distances, kmeans
from ..scorers.rows import class_mean
from .job import Job, Measure, Moment, Row, Seen

METRICS = ("cosine", "euclidean")
PER_CLASS = {"half": 0.5, "one": 1, "two": 2, "five": 5}  # k-means clusters for each class
STARTS = 5  # of k-means++; the best is kept
ITERATIONS = 5000


def _separation(seen: Seen, _: Job) -> list[Row]:
    """Global separation of ID test classes by two metrics: one number a class, and what they have in the middle."""
    out, labels = _labelled(seen.test)
    found: list[Row] = []
    for metric in METRICS:
        values = geometry.global_separation(out.layer("unit"), labels, metric=metric).cpu().numpy()
        quartiles = np.quantile(values, (0.0, 0.25, 0.5, 0.75))
        names = ("gs_min", "gs_lower_quartile", "gs_median", "gs_upper_quartile")
        common = {"split": "test", "protocol": metric}
        counts = torch.bincount(labels).tolist()
        found += [
            {**common, "metric": name, "value": float(value), "n": len(out)}
            for name, value in zip(names, quartiles, strict=True)
        ]
        if seen.last:
            names_of = seen.sets.test.classes
            found += [
                {**common, "metric": "gs", "class": name, "value": float(value), "n": count}
                for name, value, count in zip(names_of, values, counts, strict=True)
            ]
    return found


def _purity(seen: Seen, __: Job) -> list[Row]:
    """Test images put to the nearest centre of k-means on training images: purity and shared information by K.

    `protocol` says how many clusters there are for each class.
    """
    (train, _), (test, labels) = _labelled(seen.train), _labelled(seen.test)
    fitted, tested = train.layer("unit"), test.layer("unit")
    classes = len(seen.sets.train.classes)
    found: list[Row] = []
    for name, share in PER_CLASS.items():
        clusters = nearest_cluster(fitted, tested, max(2, int(classes * share)))
        purity = geometry.cluster_purity(labels, clusters)
        values = {f"purity_{key}": value for key, value in purity.items()} | {"nmi": geometry.nmi(labels, clusters)}
        found += [
            {"split": "test", "protocol": name, "metric": metric, "value": value, "n": len(test)}
            for metric, value in values.items()
        ]
    return found


def nearest_cluster(train: Tensor, test: Tensor, clusters: int) -> Tensor:
    """The k-means cluster of `train` (N, D) whose centre is nearest to each row of `test` (M, D), by number (M,)."""
    groups = kmeans(train, clusters, 0, STARTS, "purity")
    centres = torch.stack([class_mean(train, rows, 2**28) for rows in groups])
    return distances(test.to(centres.dtype), {"centres": centres}, "euclidean").argmin(dim=1)


def _probe(seen: Seen, _: Job) -> list[Row]:
    """Accuracy of a linear layer on frozen features: what a network without logits is asked in place of its own."""
    fitted, tested = (_labelled(out) for out in (seen.train, seen.test))
    guessed = linear_probe(*(_array(*pair) for pair in (fitted, tested)))
    found = []
    for split, (out, labels), guess in zip(("train", "test"), (fitted, tested), guessed, strict=True):
        value = float((guess == labels.cpu().numpy()).mean())
        found.append({"split": split, "metric": "accuracy", "protocol": "linear_probe", "value": value, "n": len(out)})
    return found


def linear_probe(
    train: tuple[NDArray[np.float64], NDArray[np.int64]], test: tuple[NDArray[np.float64], NDArray[np.int64]]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Labels that multinomial logistic regression gives to the rows it was fitted on and to others.

    min_W  sum_i -log softmax(W x_i + b)[y_i] + ||W||^2 / 2, coordinates standardised by the training rows

    Args:
        train, test: features (N, D) and labels (N,); those of `test` are not read.
    Raises:
        InputError: no minimum was found.
    """
    from sklearn.linear_model import LogisticRegression

    x, y = train
    mean, sd = x.mean(axis=0), x.std(axis=0)
    sd[sd == 0] = 1.0
    model = LogisticRegression(max_iter=ITERATIONS)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            model.fit((x - mean) / sd, y)
        except UserWarning as problem:
            raise InputError(f"the linear probe found no minimum ({problem}).\nLook at the features.") from problem
    first, second = (model.predict((rows - mean) / sd) for rows in (x, test[0]))
    return first, second


def _passes(seen: Seen, _: Job) -> list[Row]:
    """Images that go forward and backward through the network in training, augmented views counted one by one.

    Every image counts in every epoch, also those that a last short batch leaves out of it: a saving of one batch size
    over another would be no property of the loss.
    """
    count = len(seen.sets.train)
    value = seen.epoch * count * objective(seen.recipe.loss).views
    return [{"split": "train", "metric": "image_passes", "value": float(value), "n": count}]


def _labelled(out: Outputs) -> tuple[Outputs, Tensor]:
    if out.labels is None:
        raise InputError("images came without true labels, expected them.\nLeave this measure out of the recipe.")
    return out, out.labels


def _array(out: Outputs, labels: Tensor) -> tuple[NDArray[Any], NDArray[Any]]:
    return out.features.double().cpu().numpy(), labels.cpu().numpy()


def _plan_separation(at: Moment) -> list[Job]:
    return [Job("separation", at.epoch, at.test, layer="unit")]


def _plan_purity(at: Moment) -> list[Job]:
    return [Job("purity", at.epoch, (*at.train, *at.test), layer="unit")] if at.last else []


def _plan_probe(at: Moment) -> list[Job]:
    return [Job("probe", at.epoch, (*at.train, *at.test), layer="features")] if at.last else []


def _plan_passes(at: Moment) -> list[Job]:
    return [Job("passes", at.epoch, at.train)] if at.last else []


MEASURES = (
    Measure("separation", 1, _plan_separation, _separation),
    Measure("purity", 1, _plan_purity, _purity),
    Measure("probe", 1, _plan_probe, _probe),
    Measure("passes", 2, _plan_passes, _passes),
)
