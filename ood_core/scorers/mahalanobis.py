"""Scores by Mahalanobis distance to class means, with one covariance for all classes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from ..outputs import Outputs
from ..precision import working_dtype
from .base import Scorer
from .covariance import facts, nearest_squares, whitened_squares, whitening
from .rows import Rows, blocks, class_rows, mean_and_scatter


@dataclass(kw_only=True, eq=False)
class Mahalanobis(Scorer):
    """Minus the squared Mahalanobis distance to the nearest class mean, with one covariance for all classes.

    s(x) = -min_c (h - mu_c)^T (S + e I)^-1 (h - mu_c),  S = 1/N sum_c sum_{i in c} (h_i - mu_c)(h_i - mu_c)^T

    Unchanged when all rows are shifted, rotated or scaled together.

    Args:
        ridge: e = ridge trace(S) / D, a share of the mean eigenvalue.
        layer: (N, D); any, for example "logits", or "unit": where unfamiliar images have short features, raw ones lie
            near the means whatever they show.
    Source: Lee et al. 2018, arXiv 1807.03888, equations 1 and 2, on one layer and without input perturbation.
        Departure: the ridge, which collapsed and normalised features need.
    Example:
        >>> import torch
        >>> from ood_core import Outputs, scorers
        >>> train = Outputs(torch.tensor([[0.0, 0], [2, 0], [0, 9], [2, 9], [1, 1], [1, 8]]), labels=[0, 0, 1, 1, 0, 1])
        >>> new = Outputs(torch.tensor([[1.0, 0.0], [1.0, 5.0]]))
        >>> scorers.make("mahalanobis").fit(train).score(new)
        tensor([ -0.4999, -60.4879], dtype=torch.float64)
    """

    name: ClassVar[str] = "mahalanobis"
    needs: ClassVar[tuple[str, ...]] = ("labels",)
    cost: ClassVar[str] = "fit N D^2, score N D^2 / 2 + C N D multiply-adds; keeps D^2 + C D numbers"
    source: ClassVar[str] = "Lee et al. 2018, arXiv 1807.03888"
    by_block: ClassVar[bool] = True
    widens: ClassVar[bool] = False
    advice: ClassVar[str] = "Squared distances overflow: rows lie far outside the fitted ones. Look at the rows' scale."

    ridge: float = 1e-4

    def _fit(self, x: Rows, outputs: Outputs) -> dict[str, Tensor]:
        classes = class_rows(outputs, self.name)
        within = torch.zeros(x.shape[1], x.shape[1], dtype=working_dtype(x), device=x.device)
        means = within.new_empty(len(classes), x.shape[1])
        for rows, mean in zip(classes, means, strict=True):
            mean[:], scatter = mean_and_scatter(blocks(x, rows, self.memory), self.name)
            within += scatter / len(x)
        whiten, added = whitening(within, self.ridge, self.name, "the rows within classes")
        sizes = means.new_tensor([len(rows) for rows in classes])
        origin = means[0] + sizes @ (means - means[0]) / len(x)  # the mean of all rows
        places = (means - origin) @ whiten.T  # of the class means among whitened rows
        return {"origin": origin, "whiten": whiten, "added": added, "places": places}

    def _score(self, x: Tensor) -> Tensor:
        return -nearest_squares(x, **{key: self._state[key] for key in ("origin", "whiten", "places")})

    def _numbers_per_row(self, columns: int) -> int:
        return 3 * columns + 3 * len(self._state["places"])

    def _facts(self) -> dict[str, Any]:
        return facts(self._state["whiten"], self._state["added"])


@dataclass(kw_only=True, eq=False)
class RelativeMahalanobis(Mahalanobis):
    """The Mahalanobis score less that of one Gaussian for all classes: what sets a row apart from any class.

    s(x) = -(min_c d_c(h)^2 - d_0(h)^2), d_c as in `mahalanobis`, d_0 from the mean and covariance of all rows

    Positive where the background is farther than the nearest class. `summary` says two of everything: within classes,
    then of all rows.

    Args:
        ridge: for both covariances, each relative to its own mean eigenvalue.
        layer: (N, D).
    Source: Ren et al. 2021, arXiv 2106.09022, equations 4 to 6. Departure: the ridge.
    Example:
        >>> import torch
        >>> from ood_core import Outputs, scorers
        >>> train = Outputs(torch.tensor([[0.0, 0], [2, 0], [0, 9], [2, 9], [1, 1], [1, 8]]), labels=[0, 0, 1, 1, 0, 1])
        >>> new = Outputs(torch.tensor([[1.0, 0.0], [1.0, 5.0]]))
        >>> scorers.make("relative_mahalanobis").fit(train).score(new)
        tensor([  0.6517, -60.4737], dtype=torch.float64)
    """

    name: ClassVar[str] = "relative_mahalanobis"
    cost: ClassVar[str] = "fit 2 N D^2, score N D^2 + C N D multiply-adds; keeps 2 D^2 + C D numbers"
    source: ClassVar[str] = "Ren et al. 2021, arXiv 2106.09022"

    def _fit(self, x: Rows, outputs: Outputs) -> dict[str, Tensor]:
        state = super()._fit(x, outputs)
        _, scatter = mean_and_scatter(blocks(x, None, self.memory), self.name)
        whiten, added = whitening(scatter / len(x), self.ridge, self.name, "all rows")
        pairs = {"whiten": (state["whiten"], whiten), "added": (state["added"], added)}
        return {**state, **{key: torch.stack(pair) for key, pair in pairs.items()}}

    def _score(self, x: Tensor) -> Tensor:
        origin, (within, background) = self._state["origin"], self._state["whiten"]
        nearest = nearest_squares(x, origin, within, self._state["places"])
        return whitened_squares(x, origin[None], background[None])[:, 0] - nearest
