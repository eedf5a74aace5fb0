"""Accuracy, neural collapse, and statistics of feature norms."""

from __future__ import annotations

import copy

import torch

from .. import collapse, metrics, scorers, stats
from ..checks import InputError
from ..losses import Batch, objective
from ..outputs import Outputs, unit
from .job import Job, Measure, Moment, Row, Seen

GRADIENT_IMAGES = 512


def _accuracy(seen: Seen, _: Job) -> list[Row]:
    rows = []
    for split, out in (("train", seen.train), ("test", seen.test)):
        if out.labels is None:  # learned other labels than the true ones: see `data.schemes.tested`
            continue
        if out.logits is None:
            raise InputError("the network has no logits, expected them for accuracy.\nName `probe` in its place.")
        value = metrics.accuracy(out.logits, out.labels)
        rows.append({"split": split, "metric": "accuracy", "value": value, "n": len(out)})
    return rows


def _collapse(seen: Seen, job: Job) -> list[Row]:
    out, head = seen.sample, seen.sample.head
    assert out.labels is not None
    weight, bias = (None, None) if head is None else (head.weight, head.bias)  # without: NC1, and NC2 of the means
    decided = None
    if head is not None and head.kind == "distance" and out.logits is not None:
        weight = unit(head.weight) if head.normalized else head.weight
        weight = weight - weight.mean(dim=0)
        if bool(weight.any()):
            decided = out.logits.argmax(dim=1)  # by distances, not by W f
        else:  # IsoMax before training: all prototypes are one point, which decides nothing
            weight = None
    classes = len(seen.sets.train.classes)
    values = collapse.measure(out.layer(job.layer), out.labels, weight, bias, num_classes=classes, decided=decided)
    return [{"split": "train", "metric": name, "value": value, "n": len(out)} for name, value in values.items()]


def _norms(seen: Seen, _: Job) -> list[Row]:
    assert seen.sample.labels is not None
    values = collapse.norm_statistics(seen.sample.features, seen.sample.labels)
    rows = [{"split": "train", "metric": m, "value": value, "n": len(seen.sample)} for m, value in values.items()]
    return [*rows, {"split": "test", **_mean_norm(seen.test)}]


def _ood_norm(seen: Seen, job: Job) -> list[Row]:
    return [{"split": "test", **_mean_norm(seen.ood(job.ood_set))}]


def _mean_norm(out: Outputs) -> Row:
    return {"metric": "norm_mean", "value": float(out.features.double().norm(dim=1).mean()), "n": len(out)}


def _gradient(seen: Seen, _: Job) -> list[Row]:
    """Max |cos(dL/dh, h)| over training images whose gradient is not zero, in float64."""
    out = seen.sample[:GRADIENT_IMAGES]
    assert out.labels is not None
    head = copy.deepcopy(seen.net.head).double()
    features = out.features.double().requires_grad_()
    with torch.enable_grad():
        batch = Batch(lambda h: (h, head(h)), features, out.labels, head, torch.Generator())
        on_features = seen.recipe.loss.model_copy(update={"composite": 0.0})  # composites are made of pixels
        value = objective(on_features)(batch).loss * len(out)
        (gradient,) = torch.autograd.grad(value, features)
    moved = gradient.norm(dim=1) > 0
    cosine = torch.nn.functional.cosine_similarity(gradient[moved], features.detach()[moved], dim=1, eps=1e-300)
    worst = float(cosine.abs().max()) if bool(moved.any()) else 0.0
    return [{"split": "train", "metric": "loss_gradient_cosine", "value": worst, "n": int(moved.sum())}]


def _norm_cosine(seen: Seen, _: Job) -> list[Row]:
    norm = scorers.make("feature_norm").fit(seen.train).score(seen.test)
    cosine = scorers.make("cluster", distance="cosine", layer="unit").fit(seen.train).score(seen.test)
    value = stats.spearman(norm.cpu().numpy(), cosine.cpu().numpy())
    return [{"split": "test", "metric": "spearman_norm_cosine", "value": float(value), "n": len(seen.test)}]


def _plan_accuracy(at: Moment) -> list[Job]:
    return [Job("accuracy", at.epoch, (*at.train, *at.test))]


def _plan_collapse(at: Moment) -> list[Job]:
    return [Job("collapse", at.epoch, at.sample, layer=layer) for layer in ("features", "unit")]


def _plan_norms(at: Moment) -> list[Job]:
    return [Job("norms", at.epoch, (*at.sample, *at.test), layer="features")]


def _plan_ood_norm(at: Moment) -> list[Job]:
    return [Job("ood_norm", at.epoch, reads, name, group, "features") for name, group, reads in at.ood]


def _plan_gradient(at: Moment) -> list[Job]:
    return [Job("gradient", at.epoch, at.sample, layer="features")] if at.last else []


def _plan_norm_cosine(at: Moment) -> list[Job]:
    return [Job("norm_cosine", at.epoch, (*at.train, *at.test), layer="features")] if at.last else []


MEASURES = (
    Measure("accuracy", 1, _plan_accuracy, _accuracy),
    Measure("collapse", 1, _plan_collapse, _collapse),
    Measure("norms", 1, _plan_norms, _norms),
    Measure("ood_norm", 1, _plan_ood_norm, _ood_norm),
    Measure("gradient", 1, _plan_gradient, _gradient),
    Measure("norm_cosine", 1, _plan_norm_cosine, _norm_cosine),
)
