"""One entry a scorer: its definition, and parameters that the shared tests try. Adding a scorer adds a line here."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from ood_core import Outputs, scorers
from ood_core.outputs import Head, unit
from tests.oracle import activations, distances, odin, probabilities, subspaces
from tests.oracle import scorers as oracle


@dataclass(frozen=True)
class Case:
    """Attributes: oracle, its definition; settings, parameters to try, defaults always included;
    needs_head, whether the definition takes the head too.
    """

    oracle: Callable[..., Any]
    settings: tuple[dict[str, Any], ...] = field(default=())
    needs_row_labels: bool = False  # the definition takes the labels of the rows to score
    needs_logits: bool = False  # the definition takes the logits of both
    needs_head: bool = False
    head_kind: str = "linear"  # of the outputs that the shared tests make
    given: dict[str, Any] = field(default_factory=dict)  # what `make` takes beside parameters


CASES = {
    "msp": Case(oracle.msp, ({"layer": "raw_logits"}, {"temperature": 2.5}, {"temperature": 0.1})),
    "max_logit": Case(oracle.max_logit),
    "energy": Case(oracle.energy, ({"temperature": 2.5}, {"temperature": 0.1})),
    "entropy": Case(probabilities.entropy, ({"temperature": 2.5}, {"temperature": 0.1})),
    "kl_matching": Case(probabilities.kl_matching, ({"classes": "true"}, {"layer": "raw_logits"})),
    "gen": Case(probabilities.gen, ({"gamma": 0.5}, {"M": 2, "gamma": 0.3})),
    "min_distance": Case(probabilities.min_distance, head_kind="distance"),
    "mmles": Case(probabilities.mmles),
    "feature_norm": Case(oracle.feature_norm, ({"p": 1.0}, {"p": 3.5}, {"p": 150.0}, {"p": "inf"}, {"layer": "mixed"})),
    "nan": Case(activations.nan, ({"layer": "mixed"},)),
    "active_count": Case(activations.active_count, ({"layer": "mixed"},)),
    "ddu": Case(oracle.ddu, ({"ridge": 1e-2}, {"jitter": "ladder"}, {"layer": "unit"}, {"layer": "logits"})),
    "cluster": Case(
        distances.cluster,
        (
            {"distance": "cosine"},
            {"layer": "unit"},
            {"distance": "mahalanobis", "ridge": 1e-2, "threshold": "cluster"},
            {"centres": "kmeans"},
            {"centres": "kmeans", "clusters": 3, "seed": 1, "n_init": 30, "pca": 2, "threshold": "cluster"},
        ),
    ),
    "vim": Case(subspaces.vim, ({"dim": 2},), needs_head=True),
    "residual": Case(
        subspaces.residual,
        ({"dim": 2}, {"origin": "mean"}, {"origin": "mean", "layer": "unit"}, {"origin": "mean", "layer": "mixed"}),
        needs_head=True,
    ),
    "neco": Case(
        subspaces.neco,
        ({"dim": 2}, {"share": 0.6}, {"scaling": "none"}, {"times": "max_logit"}, {"layer": "mixed"}),
        needs_head=True,
    ),
    "nci": Case(subspaces.nci, ({"alpha": 0.5}, {"p": 3.0, "alpha": 0.1}), needs_head=True),
    "fdbd": Case(subspaces.fdbd, needs_head=True),
    "she": Case(subspaces.she, needs_head=True),
    "mahalanobis": Case(distances.mahalanobis, ({"ridge": 1e-2}, {"layer": "unit"}, {"layer": "logits"})),
    "relative_mahalanobis": Case(distances.relative_mahalanobis, ({"ridge": 1e-2}, {"layer": "unit"})),
    "knn": Case(distances.knn, ({"k": 5, "exclude_self": "yes"}, {"which": "mean", "layer": "features"})),
    "ssd": Case(distances.ssd, ({"clusters": 2, "seed": 1, "n_init": 30}, {"ridge": 1e-2, "layer": "features"})),
    "cluster_leaky": Case(
        distances.cluster_leaky, ({"distance": "mahalanobis", "ridge": 1e-2},), needs_row_labels=True
    ),
    "react": Case(
        activations.react,
        (
            {"quantile": 0.7, "then": "msp"},
            {"then": "mahalanobis", "then_params": {"ridge": 1e-2, "layer": "unit"}},
            {"then": "nan", "layer": "mixed"},
        ),
        needs_head=True,
    ),
    "ash": Case(
        activations.ash,
        (
            {"variant": "p", "quantile": 0.5},
            {"variant": "b", "quantile": 0.5, "then": "knn", "then_params": {"k": 5, "layer": "features"}},
            {"quantile": 0.8, "then_params": {"temperature": 2.5, "layer": "raw_logits"}},
        ),
        needs_head=True,
    ),
    "scale": Case(
        activations.scale,
        ({"quantile": 0.5, "then": "feature_norm", "then_params": {"p": "inf"}}, {"then": "msp"}),
        needs_head=True,
    ),
    "odin": Case(odin.odin, ({"epsilon": 0.05, "temperature": 10.0}, {"epsilon": 0.0}), given={"model": odin.NETWORK}),
    "nnguide": Case(distances.nnguide, ({"k": 3, "ratio": 0.999, "seed": 2}, {"layer": "features"}), needs_logits=True),
    "knn_nan": Case(distances.knn_nan, ({"k": 5, "squared": "yes", "clip": 0.7}, {"which": "mean", "on": "features"})),
    "ssd_nan": Case(
        distances.ssd_nan,
        (
            {"clusters": 2, "seed": 1, "n_init": 30, "clip": 0.9},
            {"squared": "no", "on": "features", "ridge": 1e-2},
        ),
    ),
    "react_nan": Case(distances.react_nan, ({"quantile": 0.7}, {"layer": "mixed"})),
}

VARIANTS = [
    (name, settings) for name in scorers.names() for settings in ({}, *(CASES[name].settings if name in CASES else ()))
]
IDS = [f"{name}-{'-'.join(map(str, settings.values()))}".rstrip("-") for name, settings in VARIANTS]

CLASSES, DIM = 4, 6
HEAD_KIND = "linear"  # the shared tests set these two to what the scorer at hand works on
MODEL = None  # the network that gives the logits of the images, in place of the head


def outputs(per_class=(40, 55, 30, 25), scale=1.0, dtype=torch.float64, seed=0, head_kind=None) -> Outputs:
    """Classes of unequal size, shape and place, off the origin, in shuffled order, behind a head."""
    generator = torch.Generator().manual_seed(seed)
    shapes = torch.Generator().manual_seed(99)  # the same classes for every seed of samples
    centres = 2 * torch.randn(CLASSES, DIM, generator=shapes, dtype=torch.float64) + 1
    mixing = torch.randn(CLASSES, DIM, DIM, generator=shapes, dtype=torch.float64)
    # Near the discriminant of the centres: right on some rows of every class, wrong on others.
    weight = torch.randn(CLASSES, DIM, generator=shapes, dtype=torch.float64) + centres - centres.mean(dim=0)
    bias = torch.randn(CLASSES, generator=shapes, dtype=torch.float64) - weight @ centres.mean(dim=0)
    labels = torch.cat([torch.full((n,), c) for c, n in enumerate(per_class)])
    noise = torch.randn(len(labels), DIM, generator=generator, dtype=torch.float64)
    features = centres[labels] + torch.einsum("nij,nj->ni", mixing[labels], noise)
    order = torch.randperm(len(labels), generator=generator)
    features, labels = scale * features[order], labels[order]
    heads = {
        "linear": Head("linear", weight, scale * bias),
        "unit": Head("unit", 3 * unit(centres), 0.1 * unit(bias[None])[0]),
        "distance": Head("distance", scale * centres),
    }
    head = heads[head_kind or HEAD_KIND]
    inputs = features.flip(0).reshape(-1, *odin.IMAGE).to(dtype)
    with torch.no_grad():
        logits = head.logits(features) if MODEL is None else MODEL.eval()(inputs.double())
    return Outputs(
        features=features.to(dtype),
        logits=logits.to(dtype),
        labels=labels,
        head=head,
        layers={"mixed": (features.flip(1) - scale).to(dtype)},
        inputs=inputs,
    )


WIDE_CLASSES, WIDE_DIM = 120, 70  # more than GEN's M, and columns of more than one strip


def wide_outputs(per_class=2, seed=0) -> Outputs:
    """Many classes in many dimensions, near their centres, behind the head that tells these apart."""
    generator, shapes = torch.Generator().manual_seed(seed), torch.Generator().manual_seed(98)
    centres = 2 * torch.randn(WIDE_CLASSES, WIDE_DIM, generator=shapes, dtype=torch.float64) + 1
    away = centres - centres.mean(dim=0)
    bias = -(away.square().sum(dim=1) / 2 + away @ centres.mean(dim=0))
    labels = torch.arange(WIDE_CLASSES).repeat(per_class)
    noise = torch.randn(len(labels), WIDE_DIM, generator=generator, dtype=torch.float64)
    features = centres[labels] + noise * (1 + labels[:, None] / WIDE_CLASSES)
    heads = {
        "linear": Head("linear", 0.05 * away, 0.05 * bias),
        "unit": Head("unit", 3 * unit(centres)),
        "distance": Head("distance", centres),
    }
    head = heads[HEAD_KIND]
    return Outputs(features, head.logits(features), labels, head)


def _layer(part: Outputs, name):
    """A layer in float64 by its formula, not by the package's; in other precisions, as it was rounded."""
    if name == "inputs":
        return part.inputs.flatten(1).double().numpy()
    if part.features.dtype != torch.float64 or name not in ("unit", "logits", "raw_logits"):
        return part.layer(name).double().numpy()
    rows = part.features.numpy()
    if name == "unit":
        return np.array([subspaces.direction(row) for row in rows])
    return activations.logits(part.head, rows, raw=name == "raw_logits")


def expected(name, settings, train: Outputs, test: Outputs):
    """The oracle's scores of `test`, from the values that the scorer is given."""
    layer = settings.get("layer", scorers.describe(name)["layer"])
    arrays = [_layer(part, layer) for part in (train, test)]
    rest = {key: value for key, value in settings.items() if key != "layer"}
    if CASES[name].needs_head:
        rest["head"] = train.head
    if CASES[name].needs_logits:
        rest["logits"] = [_layer(part, "logits") for part in (train, test)]
    if CASES[name].needs_row_labels:
        rest["row_labels"] = test.labels.numpy()
    return CASES[name].oracle(arrays[0], train.labels.numpy(), arrays[1], **rest)
