"""Scores that read the length of the features."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from ..checks import InputError
from .base import Scorer


@dataclass(kw_only=True, eq=False)
class FeatureNorm(Scorer):
    """L^p norm of the raw features, without the division that a unit head makes in training.

    s(x) = (sum_d |h_d|^p)^(1/p)

    Args:
        p: order of the norm, at least 1.
        layer: (N, D); the zero vector scores 0.
    Source: Haas, Yolland and Rabus 2024, arXiv 2306.04072 (p = 2).
    """

    name: ClassVar[str] = "feature_norm"
    cost: ClassVar[str] = "one pass over N D features"
    source: ClassVar[str] = "Haas, Yolland and Rabus 2024, arXiv 2306.04072"

    p: float = 2.0

    def _check_parameters(self) -> None:
        if self.p < 1:
            raise InputError(
                f"feature_norm got p={self.p}, expected at least 1: below it is no norm.\nThe paper uses 2."
            )

    def _score(self, x: Tensor) -> Tensor:
        length: Tensor = torch.linalg.vector_norm(x, ord=self.p, dim=1)
        return length
