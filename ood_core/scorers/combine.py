"""Distances recalibrated by the negative-aware norm, and the norm of clipped activations."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from .. import checks
from ..checks import InputError
from ..outputs import Outputs
from ..precision import working_dtype
from .base import FitScores, Scorer
from .covariance import facts
from .nearest import AS_GIVEN, nearest, numbers_per_query, prepare
from .neighbours import check_rows
from .norms import negative_aware_norm
from .quantiles import quantile
from .rows import Directions, collected, direction
from .ssd import SSD, fit_ssd, squared_ssd

FLOOR = 1e-12  # of the training rows' mean NAN: what a row without an active unit is divided by


@dataclass(kw_only=True, eq=False)
class OverNAN(Scorer):
    """A distance over the negative-aware norm (NAN) of the same row: the frame of `knn_nan` and `ssd_nan`.

    NAN reads the layer as it is; the distance may read its direction, which the division gives a length again.
    `fit_scores` are of the training rows with an active unit.
    """

    on: str = "unit"
    clip: float = 0.0

    def _check_parameters(self) -> None:
        checks.choice(f"{self.name}'s on", self.on, ("unit", "features"))
        self._require("clip", 0 <= self.clip <= 1, "a fraction in (0, 1], or 0", "For the 95th percentile pass 0.95.")

    def _fit(self, x: Tensor, outputs: Outputs) -> dict[str, Tensor]:
        level = _clip_level(self.name, x, self.clip, self.memory) if self.clip else {}
        parts = x.split(max(1, self.memory // (40 * x.shape[1])))
        norms = collected((_clipped_nan(part.to(working_dtype(x)), level) for part in parts), len(x))
        if not norms.mean() > 0:
            raise InputError(
                f"{self.name} finds no active unit in any training row, expected positive activations.\n"
                "Name the layer after its rectifier."
            )
        own = {**level, "nan_mean": norms.mean(), "inactive_rows": (norms == 0).sum().to(norms)}
        return {**self._fit_distance(x, outputs), **own}

    def _own_scores(self, x: Tensor, outputs: Outputs) -> FitScores | None:
        # A row without an active unit scores 1e12 times the others: alone it would be the unit of an ensemble.
        live = (x > 0).any(dim=1)
        return super()._own_scores(x, outputs) if live.all() else super()._own_scores(x[live], outputs[live])

    def _placed(self, x: Tensor) -> Tensor:
        return x if self.on == "features" else direction(x)

    def _score(self, x: Tensor) -> Tensor:
        norm = _clipped_nan(x, self._state).clamp(min=FLOOR * float(self._state["nan_mean"]))
        return -self._distance(self._placed(x)) / norm

    @abstractmethod
    def _fit_distance(self, x: Tensor, outputs: Outputs) -> dict[str, Tensor]:
        """What `_distance` needs, from the layer as it is."""

    @abstractmethod
    def _distance(self, placed: Tensor) -> Tensor:
        """Distances (n,), not negative."""

    def _facts(self) -> dict[str, Any]:
        level = {"clip_level": float(self._state["clip_level"])} if self.clip else {}
        return {**level, "nan_mean": float(self._state["nan_mean"]), "inactive_rows": int(self._state["inactive_rows"])}


@dataclass(kw_only=True, eq=False)
class KNNNAN(OverNAN):
    """Minus the distance to the k-th nearest training row, over the negative-aware norm.

    s(x) = -d(h) / max(NAN(h), 1e-12 m),  d = ||z - z_(k)||_2,  z = h / ||h||,  m the training rows' mean NAN

    The floor is for rows without an active unit, whose NAN is 0: they score least, as far as their distance is not 0.
    Training rows are shared with the outputs that they came from, which are not to be written to.

    Args:
        k: neighbours, at most the training rows.
        which: "kth", or "mean" of the distances to the k nearest.
        squared: whether distances are squared: they rank otherwise once divided.
        on: what the distance is measured on, of the rows that `layer` names: "unit" (z, as the field does) or
            "features" (h as it is).
        clip: level c that activations are clipped at, as a quantile of all N D training activations: a fraction in
            (0, 1], with c above 0; 1 clips at the largest, 0 does not clip. For NAN alone and not for the distance; the
            `quantile` of `react_nan`.
        layer: (N, D), h: activations after the rectifier, not normalised, since NAN is their length.
    Source: Park et al. 2023, arXiv 2310.05316, section 6.2; the distance of Sun et al. 2022, arXiv 2204.06507, which
        they divide without saying whether it is squared.
    Example:
        >>> import torch
        >>> from ood_core import Outputs, scorers
        >>> train = Outputs(torch.tensor([[1.0, 0.0], [0.0, 2.0], [3.0, 3.0]]))
        >>> scorer = scorers.make("knn_nan", k=1).fit(train)
        >>> scorer.score(Outputs(torch.tensor([[1.0, 3.0], [2.0, 1.0]])))
        tensor([-0.1602, -0.2136], dtype=torch.float64)
    """

    name: ClassVar[str] = "knn_nan"
    cost: ClassVar[str] = "as knn"
    source: ClassVar[str] = "Park et al. 2023, arXiv 2310.05316, section 6.2"
    as_given: ClassVar[tuple[str, ...]] = AS_GIVEN

    k: int = 50
    which: str = "kth"
    squared: bool = False

    def _check_parameters(self) -> None:
        super()._check_parameters()
        checks.choice("knn_nan's which", self.which, ("kth", "mean"))

    def _fit_distance(self, x: Tensor, outputs: Outputs) -> dict[str, Tensor]:  # noqa: ARG002
        check_rows(self.name, self.k, len(x))
        return prepare(x, self.memory, divide=self.on == "unit")

    def _distance(self, placed: Tensor) -> Tensor:
        distances, _ = nearest(placed, self._state, self.k, self.memory)
        distances = distances.square() if self.squared else distances
        return distances[:, -1] if self.which == "kth" else distances.mean(dim=1)

    def _numbers_per_row(self, columns: int) -> int:
        return 2 * columns + numbers_per_query(len(self._state["bank"]), columns) + 4 * self.k

    @property
    def _meets_itself(self) -> bool:
        return self.k == 1


@dataclass(kw_only=True, eq=False)
class SSDNAN(OverNAN):
    """Minus SSD's distance over the negative-aware norm.

    s(x) = -d(h) / max(NAN(h), 1e-12 m),  d = SSD's squared Mahalanobis distance,  m the training rows' mean NAN

    The floor is for rows without an active unit, whose NAN is 0: they score least.

    Args:
        clusters: of SSD.
        ridge: of SSD.
        seed: of SSD.
        n_init: of SSD.
        squared: False for the root of the distance, which ranks otherwise once divided.
        on: what the distance is measured on, of the rows that `layer` names: "unit" (h / ||h||, as the field does) or
            "features" (h as it is).
        clip: level c that activations are clipped at, as a quantile of all N D training activations: a fraction in
            (0, 1], with c above 0; 1 clips at the largest, 0 does not clip. For NAN alone and not for the distance; the
            `quantile` of `react_nan`.
        layer: (N, D), h: activations after the rectifier, not normalised, since NAN is their length.
    Source: Park et al. 2023, arXiv 2310.05316, section 6.2; the distance of Sehwag, Chiang and Mittal 2021,
        arXiv 2103.12051, which they divide without saying whether it is squared.
    Example:
        >>> import torch
        >>> from ood_core import Outputs, scorers
        >>> train = Outputs(torch.tensor([[1.0, 0.0], [0.0, 2.0], [3.0, 3.0]]))
        >>> scorer = scorers.make("ssd_nan", on="features").fit(train)
        >>> scorer.score(Outputs(torch.tensor([[1.0, 2.0], [0.0, 8.0]])))
        tensor([-0.1904, -5.3919], dtype=torch.float64)
    """

    name: ClassVar[str] = "ssd_nan"
    cost: ClassVar[str] = "as ssd"
    source: ClassVar[str] = "Park et al. 2023, arXiv 2310.05316, section 6.2"
    advice: ClassVar[str] = SSD.advice

    clusters: int = 1
    ridge: float = 1e-4
    seed: int = 0
    n_init: int = 20
    squared: bool = True

    def _check_parameters(self) -> None:
        super()._check_parameters()
        self._require("clusters", self.clusters >= 1, "at least 1", "The paper uses 1.")

    def _fit_distance(self, x: Tensor, outputs: Outputs) -> dict[str, Tensor]:  # noqa: ARG002
        rows = x if self.on == "features" else Directions(x)
        return fit_ssd(rows, self.clusters, self.ridge, self.seed, self.n_init, self.name, self.memory)

    def _distance(self, placed: Tensor) -> Tensor:
        squared = squared_ssd(placed, self._state)
        return squared if self.squared else squared.sqrt()

    def _numbers_per_row(self, columns: int) -> int:
        return 8 * columns + 3 * len(self._state["centres"])

    def _facts(self) -> dict[str, Any]:
        return {**super()._facts(), **facts(self._state["whiten"], self._state["added"])}


@dataclass(kw_only=True, eq=False)
class ReActNAN(Scorer):
    """Negative-aware norm of activations clipped from above.

    s(x) = NAN(min(h, c)),  c = a quantile of all N D training activations

    The count of active units stays; only the l1 norm is cut.

    Args:
        quantile: level c that activations are clipped at, as a quantile of all N D training activations: a fraction in
            (0, 1], with c above 0; 1 clips at the largest.
        layer: (N, D), activations after the rectifier, never normalised.
    Source: Park et al. 2023, arXiv 2310.05316, section 6.2, which gives no formula; ReAct of Sun, Guo and Li 2021,
        arXiv 2111.12797. The quantile is that of the authors' code for a sister paper (arXiv 2309.14888).
    Example:
        >>> import torch
        >>> from ood_core import Outputs, scorers
        >>> rows = Outputs(features=torch.tensor([[3.0, 4.0], [1.0, 0.0]]))
        >>> scorers.make("react_nan", quantile=0.5).fit(rows).score(rows)
        tensor([2., 1.], dtype=torch.float64)
    """

    name: ClassVar[str] = "react_nan"
    cost: ClassVar[str] = "fit a few passes over N D activations, score one"
    source: ClassVar[str] = "Park et al. 2023, arXiv 2310.05316, section 6.2"

    quantile: float = 0.95

    def _check_parameters(self) -> None:
        in_range = 0 < self.quantile <= 1
        self._require("quantile", in_range, "a fraction in (0, 1]", "For the 95th percentile pass 0.95.")

    def _fit(self, x: Tensor, outputs: Outputs) -> dict[str, Tensor]:  # noqa: ARG002
        return _clip_level(self.name, x, self.quantile, self.memory)

    def _score(self, x: Tensor) -> Tensor:
        return _clipped_nan(x, self._state)

    def _facts(self) -> dict[str, Any]:
        return {"clip_level": float(self._state["clip_level"])}


def _clip_level(name: str, x: Tensor, share: float, memory: int) -> dict[str, Tensor]:
    level = quantile(x, share, memory)
    if level <= 0:
        raise InputError(
            f"{name} would clip at {level}, expected a level above 0: no activation would be left.\n"
            "Raise the quantile, or name the layer after its rectifier."
        )
    return {"clip_level": torch.tensor(level, dtype=working_dtype(x), device=x.device)}


def _clipped_nan(x: Tensor, state: dict[str, Tensor]) -> Tensor:
    return negative_aware_norm(torch.minimum(x, state["clip_level"]) if "clip_level" in state else x)
