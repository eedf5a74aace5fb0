"""Shapes of the features in front of any scorer: clip, prune or scale them, and let the head make new logits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from .. import checks
from ..checks import InputError
from ..precision import working_dtype
from .quantiles import quantile
from .shaped import Shaped

VARIANTS = ("s", "p", "b")


@dataclass(kw_only=True, eq=False)
class ReAct(Shaped):
    """Features clipped from above, in front of another scorer.

    s(x) = inner score of h' = min(h, c),  c = a quantile of all N D training activations; logits of h' by the head

    Args:
        quantile: level c that activations are clipped at, as a quantile of all N D training activations: a fraction in
            (0, 1]; 1 clips at the largest. `summary` gives c.
        then: name of the inner scorer.
        then_params: its parameters by name, for example then="knn", then_params={"k": 10}.
        layer: (N, D) to clip; the inner scorer sees the result as its features.
    Source: Sun, Guo and Li 2021, arXiv 2111.12797, with the 90th percentile as there.
    Example:
        >>> import torch
        >>> from ood_core import Outputs, scorers
        >>> h = torch.tensor([[3.0, 0.0], [2.0, 1.0], [0.0, 3.0], [1.0, 2.0]])
        >>> train = Outputs(h, logits=h, labels=[0, 0, 1, 1], head=(torch.eye(2), torch.zeros(2)))
        >>> new = Outputs(torch.tensor([[4.0, 0.0], [1.0, 1.5]]))
        >>> scorers.make("react", then="max_logit", quantile=0.75).fit(train).score(new)
        tensor([2.2500, 1.5000], dtype=torch.float64)
    """

    name: ClassVar[str] = "react"
    cost: ClassVar[str] = (
        "fit three to six passes over N D activations, score N C D; and the inner's, on a copy where it learns"
    )
    source: ClassVar[str] = "Sun, Guo and Li 2021, arXiv 2111.12797"

    quantile: float = 0.9

    def _check_parameters(self) -> None:
        super()._check_parameters()
        in_range = 0 < self.quantile <= 1
        self._require("quantile", in_range, "a fraction in (0, 1]", "For the 90th percentile pass 0.9.")

    def _learn(self, x: Tensor) -> dict[str, Tensor]:
        clip = quantile(x, self.quantile, self.memory)
        return {"clip": torch.tensor(clip, dtype=working_dtype(x), device=x.device)}

    def _shape(self, x: Tensor, state: dict[str, Tensor]) -> Tensor:
        return torch.minimum(x, state["clip"])

    def _facts(self) -> dict[str, Any]:
        return {"clip": float(self._state["clip"]), **super()._facts()}


@dataclass(kw_only=True, eq=False)
class ASH(Shaped):
    """Each row's small features pruned and the rest reshaped, in front of another scorer.

    s(x) = inner score of h' = shape(h);  kept: h_d >= t, t the k-th largest of the row, k = D - round(quantile D)

    With s1 = sum_d h_d and s2 = sum of those kept: "s" h'_d = h_d exp(s1 / s2); "p" h'_d = h_d; "b" h'_d = s1 / n for
    the n units kept that are not 0. All others become 0; equal values at t are all kept. Logits of h' by the head.

    Args:
        variant: "s" (scale), "p" (prune) or "b" (binarise).
        quantile: share of the units of a row to prune, a fraction in [0, 1), with k >= 1.
        then: name of the inner scorer.
        then_params: its parameters by name.
        layer: (N, D), activations after the rectifier; "s" refuses rows whose kept sum is not above 0, and "b" gives
            the units of a row with a negative sum that sign. Behind a distance head that is not normalised, both move
            rows away from the prototypes and rank short ones first. The inner scorer sees the result as its features.
    Source: Djurisic et al. 2023, arXiv 2209.09858. Departures: on pooled features, theirs on the map before pooling;
        "b" spreads the sum over the kept units that are not 0, theirs over all k (alike where k units are active).
    Example:
        >>> import torch
        >>> from ood_core import Outputs, scorers
        >>> h = torch.tensor([[3.0, 0.0], [2.0, 1.0], [0.0, 3.0], [1.0, 2.0]])
        >>> train = Outputs(h, logits=h, labels=[0, 0, 1, 1], head=(torch.eye(2), torch.zeros(2)))
        >>> new = Outputs(torch.tensor([[4.0, 0.0], [1.0, 1.5]]))
        >>> scorers.make("ash", then="max_logit", quantile=0.5).fit(train).score(new)
        tensor([10.8731,  7.9417], dtype=torch.float64)
    """

    name: ClassVar[str] = "ash"
    cost: ClassVar[str] = (
        "score a selection over N D and N C D multiply-adds; and the inner's, fitted on a copy where it learns"
    )
    source: ClassVar[str] = "Djurisic et al. 2023, arXiv 2209.09858"
    learns: ClassVar[bool] = False  # itself

    variant: str = "s"
    quantile: float = 0.9

    def _check_parameters(self) -> None:
        super()._check_parameters()
        checks.choice("ash's variant", self.variant, VARIANTS)
        in_range = 0 <= self.quantile < 1
        self._require("quantile", in_range, "a fraction in [0, 1)", "For the 90th percentile pass 0.9.")

    def _learn(self, x: Tensor) -> dict[str, Tensor]:
        _units(self.name, x, self.quantile)
        return {}

    def _shape(self, x: Tensor, state: dict[str, Tensor]) -> Tensor:  # noqa: ARG002
        kept = _largest(x, _units(self.name, x, self.quantile))
        if self.variant == "p":
            return kept
        if self.variant == "s":
            return kept * _growth(self.name, x, kept)
        full = kept != 0
        return full * (x.sum(dim=1) / full.sum(dim=1).clamp(min=1))[:, None]


@dataclass(kw_only=True, eq=False)
class Scale(Shaped):
    """Each row multiplied by how little its large features hold of its sum, in front of another scorer.

    s(x) = inner score of h' = h exp(s1 / s2),  s1 = sum_d h_d,  s2 = sum of the k largest, k = D - round(quantile D)

    Nothing is pruned; equal values at the k-th are all summed. Logits of h' by the head. A row of zeros stays.

    Args:
        quantile: share of the units of a row left out of s2, a fraction in [0, 1), with k >= 1.
        then: name of the inner scorer.
        then_params: its parameters by name.
        layer: (N, D), activations after the rectifier; rows whose s2 is not above 0 are refused. Behind a distance head
            that is not normalised, rows move away from the prototypes and short ones rank first. The inner scorer sees
            the result as its features.
    Source: Xu et al. 2024, arXiv 2310.00227, with the 85th percentile as there.
    Example:
        >>> import torch
        >>> from ood_core import Outputs, scorers
        >>> h = torch.tensor([[3.0, 0.0], [2.0, 1.0], [0.0, 3.0], [1.0, 2.0]])
        >>> train = Outputs(h, logits=h, labels=[0, 0, 1, 1], head=(torch.eye(2), torch.zeros(2)))
        >>> new = Outputs(torch.tensor([[4.0, 0.0], [1.0, 1.5]]))
        >>> scorers.make("scale", then="max_logit", quantile=0.5).fit(train).score(new)
        tensor([10.8731,  7.9417], dtype=torch.float64)
    """

    name: ClassVar[str] = "scale"
    cost: ClassVar[str] = (
        "score a selection over N D and N C D multiply-adds; and the inner's, fitted on a copy where it learns"
    )
    source: ClassVar[str] = "Xu et al. 2024, arXiv 2310.00227"
    learns: ClassVar[bool] = False  # itself

    quantile: float = 0.85

    def _check_parameters(self) -> None:
        super()._check_parameters()
        in_range = 0 <= self.quantile < 1
        self._require("quantile", in_range, "a fraction in [0, 1)", "For the 90th percentile pass 0.9.")

    def _learn(self, x: Tensor) -> dict[str, Tensor]:
        _units(self.name, x, self.quantile)
        return {}

    def _shape(self, x: Tensor, state: dict[str, Tensor]) -> Tensor:  # noqa: ARG002
        return x * _growth(self.name, x, _largest(x, _units(self.name, x, self.quantile)))


def _units(name: str, x: Tensor, share: float) -> int:
    """How many units of a row count as large."""
    columns = x.shape[1]
    units = columns - round(share * columns)
    if units < 1:
        raise InputError(
            f"{name} got quantile={share} for {columns} units a row, which keeps none of them, expected at least one.\n"
            "Lower quantile."
        )
    return units


def _largest(x: Tensor, units: int) -> Tensor:
    """Rows (n, D) with all but the largest units of each row set to 0; ties at the smallest of these stay."""
    threshold = x.kthvalue(x.shape[1] - units + 1, dim=1, keepdim=True).values
    return torch.where(x >= threshold, x, 0.0)


def _growth(name: str, x: Tensor, kept: Tensor) -> Tensor:
    """exp(s1 / s2) (n, 1), at most exp(D / k); 1 for a row of zeros."""
    s1, s2 = x.sum(dim=1, keepdim=True), kept.sum(dim=1, keepdim=True)
    bad = int(((s2 <= 0) & (x != 0).any(dim=1, keepdim=True)).sum())
    if bad:
        raise InputError(
            f"{name} got {bad} of {len(x)} rows whose largest features do not sum above 0, expected activations after "
            "a rectifier.\nTake the layer after its ReLU, or use react."
        )
    return torch.where(s2 > 0, s1 / s2.where(s2 > 0, 1.0), 0.0).exp()
