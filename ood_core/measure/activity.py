"""What units that are on or off say: entropy and sparsity, by layer, and the l1 norm against both folds of ID.

A unit is on above 0 exactly. Norms are l1. Source: Park et al. 2023, arXiv 2310.05316, sections 4 and 5; claims N4, N5
and N12 of the page `nan`.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from .. import geometry, metrics, stats
from ..data import ImageSet
from ..features import extract
from ..models.mlp import MLP
from ..models.resnet import ResNet
from ..networks import Network, network
from ..scorers.norms import negative_aware_norm
from .job import Job, Measure, Moment, Row, Seen


def _norm(features: Tensor) -> Tensor:
    return features.double().abs().sum(dim=1)


def _folds(seen: Seen, job: Job) -> list[Row]:
    """AUROC of the l1 norm against training images (through the test transform) and against test images."""
    other = _norm(seen.ood(job.ood_set).features)
    found = {split: _norm(out.features) for split, out in (("train", seen.train), ("test", seen.test))}
    values = {split: metrics.auroc(norm, other) for split, norm in found.items()}
    count = {split: len(norm) + len(other) for split, norm in found.items()}
    rows: list[Row] = [
        {"split": split, "metric": "norm_auroc", "value": value, "n": count[split]} for split, value in values.items()
    ]
    gap = values["train"] - values["test"]
    return [*rows, {"split": "", "metric": "norm_auroc_gap", "value": gap, "n": sum(count.values()) - len(other)}]


def activity(a: Tensor) -> dict[str, float]:
    """Mean share of units that are on, mean of 1 / #on over rows with any, and how many rows have none; a is (N, D)."""
    on = (a > 0).sum(dim=1).double()
    some = on[on > 0]
    inverse = float((1 / some).mean()) if len(some) else 0.0
    return {
        "active_share": float(on.mean()) / a.shape[1],
        "inverse_count": inverse,
        "zero_rows": float((on == 0).sum()),
    }


def _activity(seen: Seen, job: Job) -> list[Row]:
    """Of the features: on ID training and test images with the entropy, on an OOD set without."""
    if job.ood_set:
        sets = [("test", seen.ood(job.ood_set).features)]
    else:
        sets = [("train", seen.sample.features), ("test", seen.test.features)]
    rows: list[Row] = []
    for split, features in sets:
        values = activity(features)
        if not job.ood_set:
            values["activation_entropy"] = geometry.activation_entropy(features)
            values["log2_features"] = math.log2(features.shape[1])
        rows += [{"split": split, "metric": m, "value": value, "n": len(features)} for m, value in values.items()]
    return rows


def inner(net: Network, images: ImageSet) -> dict[str, Tensor]:
    """Activations (N, D) after each residual block, averaged over space, or after each layer of a perceptron, in order.

    A channel averaged over space is 0 only where it is off at every place; the last one is the features.
    """
    if isinstance(net.backbone, MLP):
        device = net.mean.device
        with torch.no_grad():
            states = net.backbone.hidden(net.prepare(torch.from_numpy(images.images).to(device)))
        return {f"hidden.{depth}": a for depth, (_, a) in enumerate(states, 1)}
    if not isinstance(net.backbone, ResNet):
        return {"features": extract(net, images).features}
    stages = (len(list(stage.children())) for stage in net.backbone.stages)
    names = [f"backbone.stages.{i}.{j}" for i, blocks in enumerate(stages) for j in range(blocks)]
    return dict(extract(net, images, layers=names, pool="mean").layers)


def _inner(seen: Seen, name: str) -> dict[str, Tensor]:
    """`inner` of the ID test images ("") or an OOD set, once for all jobs."""
    images = seen.ood_images(name) if name else seen.first(seen.sets.test)
    return seen.once(("inner", name), lambda: inner(seen.net, images))


def _depth(seen: Seen, job: Job) -> list[Row]:
    """By layer: activity, and AUROC of norms on an OOD set, or growth of entropy on ID test images; then over depth."""
    found, by_layer = _inner(seen, job.ood_set), {}
    if not job.ood_set and seen.last:
        fresh = network(seen.recipe, seen.sets.train, seen.seed, seen.net.mean.device).eval()
        before = inner(fresh, seen.first(seen.sets.test))
    for layer, a in found.items():
        values = activity(a)
        if job.ood_set:
            own = _inner(seen, "")[layer]
            values["norm_auroc"] = metrics.auroc(_norm(own), _norm(a))
            values["nan_auroc"] = metrics.auroc(*(negative_aware_norm(x.double()) for x in (own, a)))
            values["inverse_count_auroc"] = metrics.auroc(*(-(x > 0).sum(dim=1).double() for x in (own, a)))
        else:
            values["activation_entropy"] = geometry.activation_entropy(a)
            if seen.last:
                values["entropy_growth"] = values["activation_entropy"] - geometry.activation_entropy(before[layer])
        by_layer[layer] = values
    rows: list[Row] = [
        {"split": "test", "layer": layer, "protocol": "depth", "metric": metric, "value": value, "n": len(a)}
        for (layer, a) in found.items()
        for metric, value in by_layer[layer].items()
    ]
    for metric in ("norm_auroc", "nan_auroc") if job.ood_set else ("entropy_growth",) if seen.last else ():
        depths = [by_layer[layer][metric] for layer in found]
        whole = {"split": "test", "protocol": "depth", "n": len(depths)}
        rows.append({**whole, "metric": f"{metric}_last_minus_first", "value": depths[-1] - depths[0]})
        # where all layers agree nothing goes with depth
        rho = stats.spearman(list(range(len(depths))), depths) if len(set(depths)) > 1 else 0.0
        rows.append({**whole, "metric": f"{metric}_with_depth", "value": rho})
    return rows


def _plan_folds(at: Moment) -> list[Job]:
    sets = ((name, group, (*at.train, *at.test, *reads)) for name, group, reads in at.ood)
    return [Job("folds", at.epoch, reads, name, group, "features") for name, group, reads in sets]


def _plan_activity(at: Moment) -> list[Job]:
    own = Job("activity", at.epoch, (*at.sample, *at.test), layer="features")
    return [own, *(Job("activity", at.epoch, reads, name, group, "features") for name, group, reads in at.ood)]


def _plan_depth(at: Moment) -> list[Job]:
    if at.epoch and not at.last:
        return []
    sets = ((name, group, (*at.test, *reads)) for name, group, reads in at.ood)
    return [
        Job("depth", at.epoch, at.test),
        *(Job("depth", at.epoch, reads, name, group) for name, group, reads in sets),
    ]


MEASURES = (
    Measure("folds", 1, _plan_folds, _folds),
    Measure("activity", 1, _plan_activity, _activity),
    Measure("depth", 1, _plan_depth, _depth),
)
