"""One entry a scorer: its definition, and parameters that the shared tests try. Adding a scorer adds a line here."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch

from ood_core import Outputs, scorers
from tests.oracle import distances
from tests.oracle import scorers as oracle


@dataclass(frozen=True)
class Case:
    """Attributes: oracle, its definition; settings, parameters to try, defaults always included."""

    oracle: Callable[..., Any]
    settings: tuple[dict[str, Any], ...] = field(default=())


CASES = {
    "msp": Case(oracle.msp, ({"layer": "raw_logits"},)),
    "max_logit": Case(oracle.max_logit),
    "energy": Case(oracle.energy, ({"temperature": 2.5}, {"temperature": 0.1})),
    "feature_norm": Case(oracle.feature_norm, ({"p": 1.0}, {"p": 3.5}, {"layer": "mixed"})),
    "ddu": Case(oracle.ddu, ({"ridge": 1e-2}, {"jitter": "ladder"}, {"layer": "unit"}, {"layer": "logits"})),
    "cluster": Case(oracle.cluster, ({"distance": "cosine"}, {"layer": "unit"})),
    "mahalanobis": Case(distances.mahalanobis, ({"ridge": 1e-2}, {"layer": "unit"}, {"layer": "logits"})),
    "relative_mahalanobis": Case(distances.relative_mahalanobis, ({"ridge": 1e-2}, {"layer": "unit"})),
    "knn": Case(distances.knn, ({"k": 5, "exclude_self": "yes"}, {"which": "mean", "layer": "features"})),
}

VARIANTS = [
    (name, settings) for name in scorers.names() for settings in ({}, *(CASES[name].settings if name in CASES else ()))
]
IDS = [f"{name}-{'-'.join(map(str, settings.values()))}".rstrip("-") for name, settings in VARIANTS]

CLASSES, DIM = 4, 6


def outputs(per_class=(40, 55, 30, 25), scale=1.0, dtype=torch.float64, seed=0) -> Outputs:
    """Classes of unequal size, shape and place, off the origin, in shuffled order, behind a unit head."""
    generator = torch.Generator().manual_seed(seed)
    shapes = torch.Generator().manual_seed(99)  # the same classes for every seed of samples
    centres = 2 * torch.randn(CLASSES, DIM, generator=shapes, dtype=torch.float64) + 1
    mixing = torch.randn(CLASSES, DIM, DIM, generator=shapes, dtype=torch.float64)
    head = (
        torch.randn(CLASSES, DIM, generator=shapes, dtype=torch.float64),
        torch.randn(CLASSES, generator=shapes, dtype=torch.float64),
    )
    labels = torch.cat([torch.full((n,), c) for c, n in enumerate(per_class)])
    noise = torch.randn(len(labels), DIM, generator=generator, dtype=torch.float64)
    features = centres[labels] + torch.einsum("nij,nj->ni", mixing[labels], noise)
    order = torch.randperm(len(labels), generator=generator)
    features, labels = scale * features[order], labels[order]
    return Outputs(
        features=features.to(dtype),
        logits=(features @ head[0].T + scale * head[1]).to(dtype),
        labels=labels,
        head=head,
        layers={"mixed": (features.flip(1) - scale).to(dtype)},
    )


def expected(name, settings, train: Outputs, test: Outputs):
    """The oracle's scores of `test`, from the values that the scorer is given."""
    layer = settings.get("layer", scorers.describe(name)["layer"])
    arrays = [part.layer(layer).double().numpy() for part in (train, test)]
    rest = {key: value for key, value in settings.items() if key != "layer"}
    return CASES[name].oracle(arrays[0], train.labels.numpy(), arrays[1], **rest)
