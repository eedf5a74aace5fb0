"""Scores by the distance to the nearest of a few centres."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from .. import checks
from ..checks import InputError
from ..outputs import Outputs
from ..precision import working_dtype
from .base import Scorer, without_autocast
from .centres import distances, fit_centres, kmeans, principal_axes, project
from .covariance import facts
from .rows import class_rows

DISTANCES = ("euclidean", "cosine", "mahalanobis")
NOISE = 1e-4  # of the spread of all rows: a cluster that spreads less has rows at one distance, and rounding


@dataclass(kw_only=True, eq=False)
class Cluster(Scorer):
    """Minus the distance to the nearest cluster centre.

    s(x) = -min_k d_k(h), with d_k = ||h - mu_k||_2, or "cosine" 1 - cos(h, mu_k), or "mahalanobis"
    (h - mu_k)^T (S_k + e_k I)^-1 (h - mu_k), squared, S_k = 1/n_k sum_{i in k} (h_i - mu_k)(h_i - mu_k)^T

    Args:
        distance: "euclidean" (not squared, in units of the features), "cosine" (0 to 2) or "mahalanobis".
        centres: "class_means", or "kmeans" on the training rows, always by Euclidean distance.
        clusters: of k-means; 0 takes as many as there are classes. Labels are needed for class means and for 0 only.
        seed: of k-means; the same clusters for any order of the training rows.
        n_init: starts of k-means++, of which the best is kept.
        pca: components to keep, fitted on the training rows and centred at their mean; 0 keeps the rows as they are.
        ridge: of "mahalanobis": e_k = ridge trace(S_k) / D.
        threshold: "global", or "cluster": then the score is -(d_k - m_k) / sd_k of the nearest centre k, with mean and
            standard deviation (divisor n) of d_k over the training rows nearest to k. One threshold on it is one
            threshold a cluster on the distance, and it orders rows beyond all training distances. A centre without
            two training rows nearest to it at different distances takes mean and deviation over all rows (a deviation
            below 1e-4 of theirs is rounding).
        layer: (N, D). The cosine with a zero vector counts as 0, so its distance is 1.
    Source: Sinhamahapatra et al. 2022, arXiv 2203.08549. Departures: the ridge; standardised distances in place of
        percentiles of training distances, which end at the largest.
    Example:
        >>> import torch
        >>> from ood_core import Outputs, scorers
        >>> train = Outputs(torch.tensor([[0.0, 0], [2, 0], [0, 9], [2, 9], [1, 1], [1, 8]]), labels=[0, 0, 1, 1, 0, 1])
        >>> new = Outputs(torch.tensor([[1.0, 0.0], [1.0, 5.0]]))
        >>> scorers.make("cluster").fit(train).score(new)
        tensor([-0.3333, -3.6667], dtype=torch.float64)
    """

    name: ClassVar[str] = "cluster"
    needs: ClassVar[tuple[str, ...]] = ("labels",)
    cost: ClassVar[str] = "fit N D, score K N D multiply-adds, mahalanobis D times that; keeps K D or K D^2 numbers"
    source: ClassVar[str] = "Sinhamahapatra et al. 2022, arXiv 2203.08549"

    distance: str = "euclidean"
    centres: str = "class_means"
    clusters: int = 0
    seed: int = 0
    n_init: int = 20
    pca: int = 0
    ridge: float = 1e-4
    threshold: str = "global"

    def _check_parameters(self) -> None:
        checks.choice("cluster's distance", self.distance, DISTANCES)
        checks.choice("cluster's centres", self.centres, ("class_means", "kmeans"))
        checks.choice("cluster's threshold", self.threshold, ("global", "cluster"))
        self._require("clusters", self.clusters >= 0, "at least 0", "For as many as there are classes pass 0.")
        self._require("pca", self.pca >= 0, "at least 0", "To keep the rows as they are pass 0.")
        idle = {"ridge"} if self.distance != "mahalanobis" else set()
        idle |= {"clusters", "seed", "n_init"} if self.centres != "kmeans" else set()
        without_effect = sorted(idle & set(self.params))
        if without_effect:
            raise InputError(
                f"cluster got {', '.join(without_effect)}, expected only with "
                f"{'distance=mahalanobis' if 'ridge' in without_effect else 'centres=kmeans'}: it has no effect here.\n"
                "Leave it out."
            )

    def _fit(self, x: Tensor, outputs: Outputs) -> dict[str, Tensor]:
        if self.centres == "kmeans" and not self.clusters and outputs.labels is None:
            raise InputError(
                "cluster got neither labels nor a number of clusters, expected one of them.\n"
                'Say how many: make("cluster", centres="kmeans", clusters=10).'
            )
        classes = class_rows(outputs, self.name) if self.centres == "class_means" or not self.clusters else []
        axes = principal_axes(x, self.pca, self.memory, self.name) if self.pca else {}
        rows = max(1, self.memory // (32 * x.shape[1]))
        placed = torch.empty(len(x), self.pca, dtype=working_dtype(x), device=x.device) if axes else x
        for block, into in zip(x.split(rows), placed.split(rows), strict=True) if axes else ():
            into.copy_(project(block, axes))
        if self.centres == "kmeans":
            classes = kmeans(placed, self.clusters or len(classes), self.seed, self.n_init, self.name)
        state = {**axes, **fit_centres(placed, classes, self.distance, self.ridge, self.memory, self.name)}
        return state if self.threshold == "global" else {**state, **self._spread(placed, state)}

    def _spread(self, placed: Tensor, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """Mean and standard deviation (K,) of the distances of the training rows nearest to each centre."""
        rows = max(1, self.memory // (8 * (5 * placed.shape[1] + 3 * len(state["centres"]))))
        blocks = (block.to(working_dtype(block)) for block in placed.split(rows))
        near = torch.empty(len(placed), dtype=working_dtype(placed), device=placed.device)
        at = torch.empty(len(placed), dtype=torch.int64, device=placed.device)
        for block, *into in zip(blocks, near.split(rows), at.split(rows), strict=True):
            torch.min(distances(block, state, self.distance), dim=1, out=into)
        count = torch.bincount(at, minlength=len(state["centres"]))
        mean = torch.zeros_like(state["sizes"]).index_add_(0, at, near) / count
        variance = torch.zeros_like(mean).index_add_(0, at, (near - mean[at]).square()) / count
        whole = near.mean(), near.var(correction=0)
        if not whole[1] > 0:
            raise InputError(
                "cluster finds no spread of the distances to the nearest centres, expected training rows at different "
                "distances.\nUse threshold='global'."
            )
        # Two rows lie equally far from their mean: their spread is rounding. NaN where no row is nearest.
        alone = ~(variance > NOISE**2 * whole[1])
        mean, variance = (torch.where(alone, all_, own) for all_, own in zip(whole, (mean, variance), strict=True))
        return {"near_mean": mean, "near_sd": variance.sqrt()}

    def _score(self, x: Tensor) -> Tensor:
        state = self._state
        near, at = distances(project(x, state), state, self.distance).min(dim=1)
        return -near if self.threshold == "global" else -(near - state["near_mean"][at]) / state["near_sd"][at]

    def _numbers_per_row(self, columns: int) -> int:
        return 6 * columns + 3 * len(self._state["centres"])

    def _facts(self) -> dict[str, Any]:
        state = self._state
        found: dict[str, Any] = {"cluster_rows": [round(size) for size in state["sizes"].tolist()]}
        if "axes" in state:
            found["pca_share_of_variance"] = state["axes_share"].item()
        return {**found, **(facts(state["whiten"], state["added"]) if "whiten" in state else {})}


@dataclass(kw_only=True, eq=False)
class ClusterLeaky(Scorer):
    """AN ARTEFACT TO SHOW, NOT A SCORER TO USE: it reads the true label of the row that it scores.

    s(x) = -d_y(h) for a row with the label y, -min_c d_c(h) for rows without labels; d_c to class means as in `cluster`

    Released code measured in-distribution test images by the distance to their true class, and OOD images by the
    smallest distance. No one who meets a new image knows its class; and as d_y >= min_c d_c, the in-distribution scores
    can only fall: AUROC is too low, and the more so the more images the network gets wrong. Compare with `cluster`.

    Args:
        distance: "euclidean", "cosine" or "mahalanobis" (squared, one covariance a class).
        ridge: of "mahalanobis": e_c = ridge trace(S_c) / D.
        layer: (N, D). Labels of the outputs to score mean in-distribution rows: pass OOD rows without labels.
    Source: the evaluation released with Koner et al. 2021, arXiv 2107.08976, whose ingredients are those of
        Sinhamahapatra et al. 2022, arXiv 2203.08549.
    Example:
        >>> import torch
        >>> from ood_core import Outputs, scorers
        >>> train = Outputs(torch.tensor([[0.0, 0], [2, 0], [0, 9], [2, 9], [1, 1], [1, 8]]), labels=[0, 0, 1, 1, 0, 1])
        >>> new = Outputs(torch.tensor([[1.0, 0.0], [1.0, 5.0]]), labels=[1, 1])
        >>> scorers.make("cluster_leaky").fit(train).score(new)
        tensor([-8.6667, -3.6667], dtype=torch.float64)
    """

    name: ClassVar[str] = "cluster_leaky"
    needs: ClassVar[tuple[str, ...]] = ("labels",)
    cost: ClassVar[str] = "as cluster, and N D more"
    source: ClassVar[str] = "the code of Koner et al. 2021, arXiv 2107.08976: an artefact, for comparison only"

    distance: str = "euclidean"
    ridge: float = 1e-4

    def _check_parameters(self) -> None:
        checks.choice("cluster_leaky's distance", self.distance, DISTANCES)

    def _fit(self, x: Tensor, outputs: Outputs) -> dict[str, Tensor]:
        return fit_centres(x, class_rows(outputs, self.name), self.distance, self.ridge, self.memory, self.name)

    @without_autocast
    def score(self, outputs: Outputs) -> Tensor:
        """Scores (N,): by the true class where the outputs have labels, by the nearest class where they have none.

        Raises:
            InputError: also for labels that the fit did not have: they look like those of OOD rows.
        """
        scores = super().score(outputs)
        if outputs.labels is None:
            return scores
        if int(outputs.labels.max()) >= len(self._state["centres"]):
            raise InputError(
                f"cluster_leaky got the label {int(outputs.labels.max())}, expected labels of the "
                f"{len(self._state['centres'])} classes fitted: labels mark in-distribution rows here.\n"
                "Pass OOD rows without labels, for example dataclasses.replace(outputs, labels=None)."
            )
        x, labels = self._layer(outputs), outputs.labels.to(scores.device)
        state = self._beside(scores.device, scores.dtype)._state
        for c in torch.unique(labels).tolist():
            own = {key: value[c : c + 1] for key, value in state.items()}
            rows = torch.nonzero(labels == c).flatten()
            for part in rows.split(max(1, self.memory // (8 * self._numbers_per_row(self._columns)))):
                scores[part] = -distances(x[part].to(scores.dtype), own, self.distance).squeeze(1)
        if not torch.isfinite(scores).all():
            raise InputError(f"cluster_leaky's distances overflow, expected finite scores.\n{self.advice}")
        return scores

    def _score(self, x: Tensor) -> Tensor:
        return -distances(x, self._state, self.distance).amin(dim=1)

    def _numbers_per_row(self, columns: int) -> int:
        return 6 * columns + 3 * len(self._state["centres"])

    def _facts(self) -> dict[str, Any]:
        return facts(self._state["whiten"], self._state["added"]) if "whiten" in self._state else {}
