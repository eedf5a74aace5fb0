"""SSD: Mahalanobis distances among standardised features, without labels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from ..outputs import Outputs
from ..precision import at_least_float32, working_dtype
from .base import Scorer
from .centres import distances, kmeans
from .covariance import facts, whitening
from .rows import Made, Rows, blocks, mean_and_scatter


@dataclass(kw_only=True, eq=False)
class SSD(Scorer):
    """Minus the squared Mahalanobis distance to the nearest cluster of standardised features.

    s(x) = -min_k (z - mu_k)^T (S_k + e_k I)^-1 (z - mu_k),  z = (h - m) / sd by coordinate

    with m, sd, mu_k and S_k (divisors N and n_k) of the training rows. A coordinate without any spread in training is
    only centred; the ridge then weighs it. With one cluster the same for features shifted, or scaled by coordinate.

    Args:
        clusters: K, of k-means among the standardised rows; 1 is the paper's default.
        ridge: e_k = ridge trace(S_k) / D.
        seed: of k-means; the same clusters for any order of the training rows.
        n_init: starts of k-means++, of which the best is kept.
        layer: (N, D); "unit", the default, divides each row by its length as the paper does.
    Source: Sehwag, Chiang and Mittal 2021, arXiv 2103.12051, section 3. Departure: the ridge in place of their code's
        pseudo-inverse.
    Example:
        >>> import torch
        >>> from ood_core import Outputs, scorers
        >>> train = Outputs(torch.tensor([[0.0, 0], [2, 0], [0, 9], [2, 9], [1, 1], [1, 8]]), labels=[0, 0, 1, 1, 0, 1])
        >>> new = Outputs(torch.tensor([[1.0, 0.0], [1.0, 5.0]]))
        >>> scorers.make("ssd", layer="features").fit(train).score(new)
        tensor([-1.1515, -0.0142], dtype=torch.float64)
    """

    name: ClassVar[str] = "ssd"
    cost: ClassVar[str] = "fit N D^2, and k-means for K > 1, score K N D^2 / 2 multiply-adds; keeps K D^2 numbers"
    source: ClassVar[str] = "Sehwag, Chiang and Mittal 2021, arXiv 2103.12051"
    by_block: ClassVar[bool] = True
    advice: ClassVar[str] = "Squared distances overflow: rows lie far outside the fitted ones. Look at the rows' scale."

    clusters: int = 1
    ridge: float = 1e-4
    seed: int = 0
    n_init: int = 20
    layer: str = "unit"

    def _check_parameters(self) -> None:
        self._require("clusters", self.clusters >= 1, "at least 1", "The paper uses 1.")

    def _fit(self, x: Rows, outputs: Outputs) -> dict[str, Tensor]:  # noqa: ARG002
        return fit_ssd(x, self.clusters, self.ridge, self.seed, self.n_init, self.name, self.memory)

    def _score(self, x: Tensor) -> Tensor:
        return -squared_ssd(x, self._state)

    def _numbers_per_row(self, columns: int) -> int:
        return 6 * columns + 3 * len(self._state["centres"])

    def _facts(self) -> dict[str, Any]:
        return facts(self._state["whiten"], self._state["added"])


def fit_ssd(x: Rows, clusters: int, ridge: float, seed: int, n_init: int, name: str, memory: int) -> dict[str, Tensor]:
    """Mean and deviation (D,) of the rows; centres (K, D) and whitenings (K, D, D) among the standardised rows."""
    mean, scatter = mean_and_scatter(blocks(x, None, memory), name)
    sd = (scatter.diagonal() / len(x)).sqrt()
    sd = sd.masked_fill(sd == 0, 1.0)
    means, covariances = [mean], [scatter / len(x)]
    if clusters > 1:
        kind = at_least_float32(x)
        z = Made(x, lambda block: ((block.to(working_dtype(x)) - mean) / sd).to(kind), kind)
        parts = kmeans(z, clusters, seed, n_init, name)
        fitted = [mean_and_scatter(blocks(x, rows, memory), name) for rows in parts]
        means = [mine for mine, _ in fitted]
        covariances = [scatter / len(rows) for rows, (_, scatter) in zip(parts, fitted, strict=True)]
    # Of z, without making z: each covariance over sd sd^T.
    whitenings = [whitening(s / sd / sd[:, None], ridge, name, f"cluster {k}") for k, s in enumerate(covariances)]
    whiten, added = (torch.stack(column) for column in zip(*whitenings, strict=True))
    return {"mean": mean, "sd": sd, "centres": (torch.stack(means) - mean) / sd, "whiten": whiten, "added": added}


def squared_ssd(x: Tensor, state: dict[str, Tensor]) -> Tensor:
    """Squared Mahalanobis distance (n,) of standardised rows to the nearest cluster; state of `fit_ssd`."""
    return distances((x - state["mean"]) / state["sd"], state, "mahalanobis").amin(dim=1)
