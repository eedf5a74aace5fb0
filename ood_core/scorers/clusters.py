"""Scores by the distance to the nearest of a few centres."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from .. import checks
from ..outputs import Outputs
from .base import Scorer
from .rows import class_mean, class_rows

DISTANCES = ("euclidean", "cosine")


@dataclass(kw_only=True, eq=False)
class Cluster(Scorer):
    """Minus the distance to the nearest class mean.

    s(x) = -min_c ||h - mu_c||_2, or with distance="cosine" -min_c (1 - cos(h, mu_c)),  mu_c = 1/n_c sum_i h_i

    Args:
        distance: "euclidean" (not squared, in units of the features) or "cosine" (0 to 2).
        layer: (N, D). The cosine with a zero vector counts as 0, so its distance is 1.
    Source: Sinhamahapatra et al. 2022, arXiv 2203.08549, class means as centres.
    """

    name: ClassVar[str] = "cluster"
    needs: ClassVar[tuple[str, ...]] = ("labels",)
    cost: ClassVar[str] = "fit N D, score C N D multiply-adds; keeps C D numbers"
    source: ClassVar[str] = "Sinhamahapatra et al. 2022, arXiv 2203.08549"

    distance: str = "euclidean"

    def _check_parameters(self) -> None:
        checks.choice("cluster's distance", self.distance, DISTANCES)

    def _fit(self, x: Tensor, outputs: Outputs) -> dict[str, Tensor]:
        means = [class_mean(x, index, self.memory) for index in class_rows(outputs, self.name)]
        return {"centres": torch.stack(means)}  # (C, D)

    def _score(self, x: Tensor) -> Tensor:
        centres = self._state["centres"]
        return -(_euclidean(x, centres) if self.distance == "euclidean" else _cosine(x, centres)).amin(dim=1)

    def _numbers_per_row(self, columns: int) -> int:
        return 3 * columns + 3 * len(self._state["centres"])


def _euclidean(a: Tensor, b: Tensor) -> Tensor:
    """||a_i - b_j|| (n, C) from the differences: |a|^2 - 2 a.b + |b|^2 loses near neighbours to cancellation."""
    return torch.cdist(a, b, compute_mode="donot_use_mm_for_euclid_dist")


def _cosine(a: Tensor, b: Tensor) -> Tensor:
    """1 - cos(a_i, b_j) (n, C), as half the squared distance of the unit vectors: small angles keep their digits."""
    (unit_a, zero_a), (unit_b, zero_b) = _direction(a), _direction(b)
    # With one zero vector the half square is 1/2, with two it is 0; each adds 1/2 to give 1.
    return _euclidean(unit_a, unit_b) ** 2 / 2 + (zero_a[:, None] + zero_b[None, :]) / 2


def _direction(x: Tensor) -> tuple[Tensor, Tensor]:
    length = torch.linalg.vector_norm(x, dim=1)
    zero = length == 0
    return x / length.masked_fill(zero, 1.0)[:, None], zero.to(x.dtype)
