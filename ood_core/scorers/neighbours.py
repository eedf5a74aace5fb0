"""Scores by the nearest training rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from .. import checks
from ..checks import InputError
from ..outputs import Outputs
from .base import Scorer
from .nearest import nearest, numbers_per_query, prepare

SAME = 1e-6  # of a row's length: normalising one row alone or among others may differ in float32's last digit


@dataclass(kw_only=True, eq=False)
class KNN(Scorer):
    """Minus the Euclidean distance to the k-th nearest training row, or the mean distance to the k nearest.

    s(x) = -||h - h_(k)||_2, or with which="mean" -1/k sum_{j <= k} ||h - h_(j)||_2

    Exact: distances of the winners come from differences in float64. Keeps the training rows as they are, shared with
    the outputs that they came from. Unchanged when all rows are shifted or rotated together; grows with their scale.

    Args:
        k: neighbours, at most the training rows.
        which: "kth" or "mean".
        exclude_self: "yes" leaves out one training row that is the scored row itself (nearer than 1e-6 of its length,
            as float32 knows it), if there is one: for scoring the rows that were fitted on, each of which is its own
            nearest neighbour. Other rows lose nothing, and a copy elsewhere in training still counts.
        layer: (N, D); "unit", the default, divides each row by its length as the paper does, "features" does not.
    Source: Sun et al. 2022, arXiv 2204.06507, section 3 (k-th distance, normalised features, not squared).
    """

    name: ClassVar[str] = "knn"
    cost: ClassVar[str] = "score N n D multiply-adds for n training rows; keeps n D numbers"
    source: ClassVar[str] = "Sun et al. 2022, arXiv 2204.06507"

    k: int = 50
    which: str = "kth"
    exclude_self: str = "no"
    layer: str = "unit"

    def _check_parameters(self) -> None:
        check_k(self.name, self.k)
        checks.choice(f"{self.name}'s which", self.which, ("kth", "mean"))
        checks.choice(f"{self.name}'s exclude_self", self.exclude_self, ("no", "yes"))

    def _fit(self, x: Tensor, outputs: Outputs) -> dict[str, Tensor]:  # noqa: ARG002
        check_rows(self.name, self._wanted(), len(x))
        return prepare(x, self.memory)

    def _wanted(self) -> int:
        return self.k + (self.exclude_self == "yes")

    def _score(self, x: Tensor) -> Tensor:
        distances, _ = nearest(x, self._state, self._wanted(), self.memory)
        if self.exclude_self == "yes":
            length = torch.linalg.vector_norm(x, dim=1, keepdim=True)
            itself = (distances[:, :1] <= SAME * length).expand(-1, self.k)
            distances = distances[:, 1:].where(itself, distances[:, :-1])
        return -(distances[:, -1] if self.which == "kth" else distances.mean(dim=1))

    def _numbers_per_row(self, columns: int) -> int:
        return numbers_per_query(len(self._state["bank"]), columns) + 4 * self.k

    def _facts(self) -> dict[str, Any]:
        return {"training_rows": len(self._state["bank"])}


def check_k(name: str, k: int) -> None:
    """At least one neighbour."""
    if k < 1:
        raise InputError(f"{name} got k={k}, expected at least 1.\nThe paper uses 50 for CIFAR-10.")


def check_rows(name: str, wanted: int, rows: int) -> None:
    """Refuse more neighbours than there are."""
    if wanted > rows:
        raise InputError(
            f"{name} looks for {wanted} neighbours among {rows} training rows, expected at least as many rows.\n"
            "Lower k or fit on more rows."
        )
