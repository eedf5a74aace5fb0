"""Scores by how a feature lies to the class that the head predicts: its weight, its boundaries, its stored pattern."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from ..checks import InputError
from ..outputs import Outputs
from .base import Scorer
from .heads import linear_form, linear_logits, taken, taken_blocks
from .rows import class_mean, class_rows, collected, mean_of


@dataclass(kw_only=True, eq=False)
class NCI(Scorer):
    """Projection of the centred direction on the weight of the predicted class, plus a share of the feature's norm.

    s(x) = w_y . (h - mu) / ||h - mu||_2 + alpha ||h||_p,  y = argmax_c l_c,  mu = mean of the training features

    In the first term a unit head's h is h / ||h||, and a distance head's w_c are the prototypes minus their mean. The
    norm is that of the layer as given. A feature equal to mu has the projection 0.

    Args:
        alpha: at least 0, in units of a weight's length over those of the features. The authors choose it on
            validation data with OOD samples.
        p: order of the norm, at least 1. The paper uses 1.
        layer: (N, D), what feeds the head; fit checks that the head gives the logits.
    Source: Liu and Qin 2025, arXiv 2311.01479. That w_y keeps its length and the norm is taken of h, not of h - mu, is
        as read in pytorch-ood 0.4.0, whose scores are equal and whose alpha is 0 unless chosen (among 0 to 1); the
        default of 1e-4 was not checked.
    Example:
        >>> import torch
        >>> from ood_core import Outputs, scorers
        >>> h = torch.tensor([[3.0, 0.0], [2.0, 1.0], [0.0, 3.0], [1.0, 2.0]])
        >>> train = Outputs(h, logits=h, labels=[0, 0, 1, 1], head=(torch.eye(2), torch.zeros(2)))
        >>> new = Outputs(torch.tensor([[4.0, 0.0], [1.0, 1.5]]))
        >>> scorers.make("nci", alpha=0.1).fit(train).score(new)
        tensor([1.2575, 0.2500], dtype=torch.float64)
    """

    name: ClassVar[str] = "nci"
    needs: ClassVar[tuple[str, ...]] = ("head",)
    cost: ClassVar[str] = "fit one pass over N D features, score N C D multiply-adds; keeps C D numbers"
    source: ClassVar[str] = "Liu and Qin 2025, arXiv 2311.01479"

    alpha: float = 1e-4
    p: float = 1.0

    def _check_parameters(self) -> None:
        self._require("alpha", self.alpha >= 0, "at least 0", "The default is 1e-4.")
        self._require("p", self.p >= 1, "at least 1: below it is no norm", "The paper uses 1.")

    def _fit(self, x: Tensor, outputs: Outputs) -> dict[str, Tensor]:
        head = linear_form(x, outputs, self.layer, self.name, self.memory)
        return {**head, "mean": mean_of(taken_blocks(head, x, self.memory))}

    def _score(self, x: Tensor) -> Tensor:
        rows = taken(self._state, x)
        centred = rows - self._state["mean"]
        weights = self._state["weight"][linear_logits(self._state, rows).argmax(dim=1)]
        length = torch.linalg.vector_norm(centred, dim=1)
        projection: Tensor = (weights * centred).sum(dim=1) / length.masked_fill(length == 0, 1.0)
        norm: Tensor = torch.linalg.vector_norm(x, ord=self.p, dim=1)
        return projection + self.alpha * norm

    def _numbers_per_row(self, columns: int) -> int:
        return 6 * columns + len(self._state["weight"])


@dataclass(kw_only=True, eq=False)
class FDBD(Scorer):
    """Mean distance to the decision boundaries of the predicted class, over the distance to the training mean.

    s(x) = 1/(C - 1) sum_{c != y} |l_y - l_c| / ||w_y - w_c||_2 / ||h - mu||_2,  y = argmax_c l_c

    A unit head's h and mu are those of h / ||h||. For a distance head the boundary of two classes is the plane midway
    between their prototypes, and its distance is exact too.

    Args:
        layer: (N, D), what feeds the head; fit checks that the head gives the logits. A feature equal to mu is refused,
            and one close to it scores high, unless mu lies on the boundaries.
    Source: Liu and Qin 2024, arXiv 2312.11536. The authors' code sums where the paper takes the mean: C - 1 times this.
    Example:
        >>> import torch
        >>> from ood_core import Outputs, scorers
        >>> h = torch.tensor([[3.0, 0.0], [2.0, 1.0], [0.0, 3.0], [1.0, 2.0]])
        >>> train = Outputs(h, logits=h, labels=[0, 0, 1, 1], head=(torch.eye(2), torch.zeros(2)))
        >>> new = Outputs(torch.tensor([[4.0, 0.0], [1.0, 1.5]]))
        >>> scorers.make("fdbd").fit(train).score(new)
        tensor([0.9701, 0.7071], dtype=torch.float64)
    """

    name: ClassVar[str] = "fdbd"
    needs: ClassVar[tuple[str, ...]] = ("head",)
    cost: ClassVar[str] = "fit one pass over N D features and C^2 D, score N C D multiply-adds; keeps C D + C^2 numbers"
    source: ClassVar[str] = "Liu and Qin 2024, arXiv 2312.11536"
    advice: ClassVar[str] = "Look for rows equal to the training mean, to which the distance is 0, and at their scale."

    def _fit(self, x: Tensor, outputs: Outputs) -> dict[str, Tensor]:
        head = linear_form(x, outputs, self.layer, self.name, self.memory)
        weight = head["weight"]
        if len(weight) < 2:
            raise InputError("fdbd got a head of one class, expected at least two: one has no boundary.\nPass another.")
        gaps = torch.cdist(weight, weight, compute_mode="donot_use_mm_for_euclid_dist")  # (C, C)
        gaps.fill_diagonal_(torch.inf)  # the predicted class has no boundary with itself: 0 / inf = 0
        same = torch.nonzero(gaps == 0)
        if len(same):
            first, second = same[0].tolist()
            raise InputError(
                f"fdbd got equal weights for the classes {first} and {second}, expected different ones: no boundary "
                "lies between them.\nPass the trained head."
            )
        # What divides is kept as factors: a file holds finite numbers, and 0 stands for the class itself.
        return {**head, "mean": mean_of(taken_blocks(head, x, self.memory)), "factors": 1 / gaps / (len(weight) - 1)}

    def _score(self, x: Tensor) -> Tensor:
        rows = taken(self._state, x)
        logits = linear_logits(self._state, rows)
        largest, predicted = logits.max(dim=1)
        to_boundaries = ((largest[:, None] - logits) * self._state["factors"][predicted]).sum(dim=1)
        from_mean: Tensor = torch.linalg.vector_norm(rows - self._state["mean"], dim=1)
        return to_boundaries / from_mean

    def _numbers_per_row(self, columns: int) -> int:
        return 4 * columns + 4 * len(self._state["weight"])

    def _facts(self) -> dict[str, Any]:
        factors = self._state["factors"]
        return {"smallest_weight_gap": float(1 / (factors.max() * (len(factors) - 1)))}


@dataclass(kw_only=True, eq=False)
class SHE(Scorer):
    """Inner product with the stored pattern of the predicted class (simplified Hopfield energy).

    s(x) = h . S_y,  y = argmax_c l_c,  S_c = mean of the training features of class c that are classified as c

    Args:
        layer: (N, D), what feeds the head, taken as it is (for a unit head, "unit" takes the length out); fit checks
            that the head gives the logits. Every class needs a training row that the head classifies right.
    Source: Zhang et al. 2023, "Out-of-distribution detection based on in-distribution data patterns memorization with
        modern Hopfield energy", ICLR.
    Example:
        >>> import torch
        >>> from ood_core import Outputs, scorers
        >>> h = torch.tensor([[3.0, 0.0], [2.0, 1.0], [0.0, 3.0], [1.0, 2.0]])
        >>> train = Outputs(h, logits=h, labels=[0, 0, 1, 1], head=(torch.eye(2), torch.zeros(2)))
        >>> new = Outputs(torch.tensor([[4.0, 0.0], [1.0, 1.5]]))
        >>> scorers.make("she").fit(train).score(new)
        tensor([10.0000,  4.2500], dtype=torch.float64)
    """

    name: ClassVar[str] = "she"
    needs: ClassVar[tuple[str, ...]] = ("labels", "head")
    cost: ClassVar[str] = "fit and score N C D multiply-adds; keeps C D numbers twice"
    source: ClassVar[str] = "Zhang et al. 2023, ICLR (modern Hopfield energy)"

    def _fit(self, x: Tensor, outputs: Outputs) -> dict[str, Tensor]:
        classes = class_rows(outputs, self.name)
        head = linear_form(x, outputs, self.layer, self.name, self.memory)
        if len(classes) != len(head["weight"]):
            raise InputError(
                f"she got labels of {len(classes)} classes and a head of {len(head['weight'])}, expected as many.\n"
                "Pass the head that these labels belong to."
            )
        every = taken_blocks(head, x, self.memory // (1 + len(classes) // x.shape[1]))
        predicted = collected((linear_logits(head, rows).argmax(dim=1) for rows in every), len(x))
        right = [index[predicted[index.to(x.device)].to(index.device) == c] for c, index in enumerate(classes)]
        never = [c for c, index in enumerate(right) if len(index) == 0]
        if never:
            raise InputError(
                f"she finds no training row of class {', '.join(map(str, never))} that the head classifies right, "
                "expected at least one a class.\nTrain longer, or use a scorer that needs none, such as nci."
            )
        patterns = torch.stack([class_mean(x, index, self.memory) for index in right])  # (C, D)
        counts = patterns.new_tensor([float(len(index)) for index in right])
        return {**head, "patterns": patterns, "counts": counts}

    def _score(self, x: Tensor) -> Tensor:
        predicted = linear_logits(self._state, taken(self._state, x)).argmax(dim=1)
        return (x * self._state["patterns"][predicted]).sum(dim=1)

    def _numbers_per_row(self, columns: int) -> int:
        return 4 * columns + len(self._state["weight"])

    def _facts(self) -> dict[str, Any]:
        return {"stored": [int(count) for count in self._state["counts"]]}
