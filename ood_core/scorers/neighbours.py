"""Scores by the nearest training rows."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from .. import checks
from ..checks import InputError
from ..outputs import Outputs
from ..precision import working_dtype
from .base import Scorer, without_autocast
from .logits import require_logits
from .nearest import AS_GIVEN, nearest, numbers_per_query, prepare
from .products import largest_products, prepare_products
from .rows import canonical_order

SAME = 1e-6  # of a row's length: normalising one row alone or among others may differ in float32's last digit


@dataclass(kw_only=True, eq=False)
class KNN(Scorer):
    """Minus the Euclidean distance to the k-th nearest training row, or the mean distance to the k nearest.

    s(x) = -||h - h_(k)||_2, or with which="mean" -1/k sum_{j <= k} ||h - h_(j)||_2

    Exact: distances of the winners come from differences in float64. Keeps the training rows as they are, shared with
    the outputs that they came from, and refuses to score once those were written to. Unchanged when all rows are
    shifted or rotated together; grows with their scale.

    Args:
        k: neighbours, at most the training rows.
        which: "kth" or "mean".
        exclude_self: True leaves out one training row that is the scored row itself (nearer than 1e-6 of its length,
            as float32 knows it, or than two roundings of float16 or bfloat16 rows), if there is one: for scoring the
            rows that were fitted on, each of which is its own nearest neighbour. Other rows lose nothing, and a copy
            elsewhere in training still counts.
        layer: (N, D); "unit", the default, divides each row by its length as the paper does, "features" does not.
    Source: Sun et al. 2022, arXiv 2204.06507, section 3 (k-th distance, normalised features, not squared).
    Example:
        >>> import torch
        >>> from ood_core import Outputs, scorers
        >>> train = Outputs(torch.tensor([[0.0, 0.0], [0.0, 3.0], [4.0, 0.0]]))
        >>> scorer = scorers.make("knn", k=2, layer="features").fit(train)
        >>> scorer.score(Outputs(torch.tensor([[0.0, 0.0], [4.0, 3.0]])))
        tensor([-3., -4.], dtype=torch.float64)
    """

    name: ClassVar[str] = "knn"
    cost: ClassVar[str] = "score N n D multiply-adds for n training rows; keeps n D numbers"
    source: ClassVar[str] = "Sun et al. 2022, arXiv 2204.06507"
    as_given: ClassVar[tuple[str, ...]] = AS_GIVEN

    k: int = 50
    which: str = "kth"
    exclude_self: bool = False
    layer: str = "unit"

    def _check_parameters(self) -> None:
        checks.choice(f"{self.name}'s which", self.which, ("kth", "mean"))

    def _fit(self, x: Tensor, outputs: Outputs) -> dict[str, Tensor]:  # noqa: ARG002
        check_rows(self.name, self._wanted(), len(x))
        return prepare(x, self.memory, divide=self.layer == "unit")

    def _rows(self, outputs: Outputs) -> Tensor:
        return outputs.features if self.layer == "unit" else super()._rows(outputs)  # divided where they are read

    def _wanted(self) -> int:
        return self.k + self.exclude_self

    def _score(self, x: Tensor) -> Tensor:
        distances, _ = nearest(x, self._state, self._wanted(), self.memory)
        if self.exclude_self:
            length = torch.linalg.vector_norm(x, dim=1, keepdim=True)
            # Of rows in half precision both the length and the quotient may be rounded otherwise.
            same = max(SAME, 2 * torch.finfo(self._state["bank"].dtype).eps)
            itself = (distances[:, :1] <= same * length).expand(-1, self.k)
            distances = distances[:, 1:].where(itself, distances[:, :-1])
        return -(distances[:, -1] if self.which == "kth" else distances.mean(dim=1))

    def _numbers_per_row(self, columns: int) -> int:
        return numbers_per_query(len(self._state["bank"]), columns) + 4 * self.k

    @property
    def _meets_itself(self) -> bool:
        return self.k == 1 and not self.exclude_self

    def _facts(self) -> dict[str, Any]:
        return {"training_rows": len(self._state["bank"])}


@dataclass(kw_only=True, eq=False)
class NNGuide(Scorer):
    """The energy of a row's logits times its likeness to confident training rows near it.

    s(x) = E(x) 1/k sum of the k largest over the bank of E_i z_i.z,  E = logsumexp_c(l_c),  z = h / ||h||

    A distance head is refused: its logits and so its energies are negative, and their product grows with distance. For
    activations after a rectifier: of signed features a negative guidance times a negative energy is a high score.

    Args:
        k: rows of the bank to average, at most as many as it holds.
        ratio: share of the training rows in the bank, a fraction in (0, 1], rounded up; a random sample below 1. All of
            them are shared with the outputs that they came from, which are not to be written to.
        seed: of the sample; the same rows for any order of the training rows.
        layer: (N, D); "unit" is z. With another layer the product is as it is, not a cosine.
    Source: Park, Jung and Teoh 2023, arXiv 2309.14888, with their k = 10; their bank is 1 % of ImageNet.
    Example:
        >>> import torch
        >>> from ood_core import Outputs, scorers
        >>> h = torch.tensor([[3.0, 0.0], [2.0, 1.0], [0.0, 3.0], [1.0, 2.0]])
        >>> train = Outputs(h, logits=h, labels=[0, 0, 1, 1], head=(torch.eye(2), torch.zeros(2)))
        >>> new = Outputs(torch.tensor([[4.0, 0.0], [1.0, 1.5]]), torch.tensor([[4.0, 0.0], [1.0, 1.5]]))
        >>> scorers.make("nnguide", k=1).fit(train).score(new)
        tensor([12.2497,  5.0074], dtype=torch.float64)
    """

    name: ClassVar[str] = "nnguide"
    needs: ClassVar[tuple[str, ...]] = ("logits",)
    cost: ClassVar[str] = "score N n D multiply-adds for a bank of n rows; keeps n D numbers"
    source: ClassVar[str] = "Park, Jung and Teoh 2023, arXiv 2309.14888"
    as_given: ClassVar[tuple[str, ...]] = AS_GIVEN

    k: int = 10
    ratio: float = 1.0
    seed: int = 0
    layer: str = "unit"

    def _check_parameters(self) -> None:
        advice = "For 1 % of the training rows pass 0.01."
        self._require("ratio", 0 < self.ratio <= 1, "a fraction in (0, 1]", advice)

    def _fit(self, x: Tensor, outputs: Outputs) -> dict[str, Tensor]:
        kept = math.ceil(self.ratio * len(x))
        check_rows(self.name, self.k, kept)
        if outputs.head is not None and outputs.head.kind == "distance":
            raise InputError(
                "nnguide got a distance head, expected a linear or a unit one: energies of minus distances are "
                "negative, and two negative factors would rank far rows first.\nUse entropy or knn."
            )
        logits = outputs.layer("logits")
        require_logits(self.name, logits, self.memory)
        if kept < len(x):
            sample = torch.randperm(len(x), generator=torch.Generator().manual_seed(self.seed))[:kept]
            rows = canonical_order(x)[sample].to(x.device)
            x, logits = x[rows], logits[rows.to(logits.device)]
        dtype = working_dtype(x)
        energy = logits.to(x.device, dtype).logsumexp(dim=1)
        if energy.mean() <= 0:
            raise InputError(
                f"nnguide got energies of mean {float(energy.mean()):.3g} on training rows, expected a mean above 0: "
                "two negative factors would rank far rows first.\nUse knn, which needs no logits."
            )
        state = prepare_products(x, energy, self.memory, divide=self.layer == "unit")
        return {**state, "classes": torch.tensor(float(logits.shape[1]), dtype=dtype)}

    def _rows(self, outputs: Outputs) -> Tensor:
        return outputs.features if self.layer == "unit" else super()._rows(outputs)

    @without_autocast
    def score(self, outputs: Outputs) -> Tensor:
        """Scores (N,): the guidance of the layer times the energy of the logits."""
        guidance = super().score(outputs)
        logits = checks.matrix("logits", outputs.layer("logits"), int(self._state["classes"]))
        scores = guidance * logits.to(guidance).logsumexp(dim=1)
        if not torch.isfinite(scores).all():
            raise InputError(f"nnguide's products overflow, expected finite scores.\n{self.advice}")
        return scores

    def _score(self, x: Tensor) -> Tensor:
        return largest_products(x, self._state, self.k, self.memory).mean(dim=1)

    def _numbers_per_row(self, columns: int) -> int:
        return numbers_per_query(len(self._state["bank"]), columns) + 4 * self.k

    def _facts(self) -> dict[str, Any]:
        return {"bank_rows": len(self._state["bank"])}


def check_rows(name: str, wanted: int, rows: int) -> None:
    """Refuse more neighbours than there are."""
    if wanted > rows:
        raise InputError(
            f"{name} looks for {wanted} neighbours among {rows} training rows, expected at least as many rows.\n"
            "Lower k or fit on more rows."
        )
