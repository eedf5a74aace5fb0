"""Scores that read the whole softmax: its entropy, its shape, and what other rows of the class had."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from .. import checks
from ..outputs import Outputs
from .base import Scorer
from .logits import require_logits, several_logits
from .rows import blocks, class_rows

CLASSES = ("predicted", "true")
LOW = 1e-290  # sums of exponentials below it have lost digits


@dataclass(kw_only=True, eq=False)
class Entropy(Scorer):
    """Entropic score: minus the entropy of the softmax.

    s(x) = sum_c p_c log p_c,  p = softmax(l / T), in [-log C, 0] nats; 0 log 0 = 0

    Where the largest logit leads, both parts of the entropy are summed without the class in the lead, so that rows
    tie only once the lead exceeds about 745 T.

    Args:
        temperature: T > 0, in units of the logits.
        layer: (N, C), C >= 2.
    Source: Macedo et al. 2021, arXiv 1908.05569 and 2006.04005 (entropic score, on logits without their training
        scale); as a score of any softmax, Shannon's entropy.
    Example:
        >>> import torch
        >>> from ood_core import Outputs, scorers
        >>> rows = Outputs(features=torch.eye(2), logits=torch.tensor([[2.0, 0.0], [1.0, 1.0]]))
        >>> scorers.make("entropy").fit(rows).score(rows)
        tensor([-0.3653, -0.6931], dtype=torch.float64)
    """

    name: ClassVar[str] = "entropy"
    in_cache: ClassVar[bool] = True
    cost: ClassVar[str] = "one pass over N C logits"
    source: ClassVar[str] = "Macedo et al. 2021, arXiv 2006.04005"
    learns: ClassVar[bool] = False

    temperature: float = 1.0
    layer: str = "logits"

    def _check_parameters(self) -> None:
        self._require("temperature", self.temperature > 0, "one above 0", "The paper uses 1.")

    def _fit(self, x: Tensor, outputs: Outputs) -> dict[str, Tensor]:  # noqa: ARG002
        return several_logits(self.name, x, self.memory)

    def _score(self, x: Tensor) -> Tensor:
        return -_entropy(x / self.temperature)

    def _numbers_per_row(self, columns: int) -> int:
        return 6 * columns


@dataclass(kw_only=True, eq=False)
class MMLES(Scorer):
    """Max-mean logit entropy score.

    s(x) = max_c l_c + 1/C sum_c l_c - H(softmax(l)),  H in nats

    The mean tells something where the logits have a meaning beyond their differences, as distances to prototypes do;
    for a linear head it is computed all the same.

    Args:
        layer: (N, C), C >= 2; of a distance head, without its training scale.
    Source: Macedo et al. 2022, arXiv 2205.05874 (DisMax).
    Example:
        >>> import torch
        >>> from ood_core import Outputs, scorers
        >>> rows = Outputs(features=torch.eye(2), logits=torch.tensor([[2.0, 0.0], [1.0, 1.0]]))
        >>> scorers.make("mmles").fit(rows).score(rows)
        tensor([2.6347, 1.3069], dtype=torch.float64)
    """

    name: ClassVar[str] = "mmles"
    in_cache: ClassVar[bool] = True
    cost: ClassVar[str] = "one pass over N C logits"
    source: ClassVar[str] = "Macedo et al. 2022, arXiv 2205.05874"
    learns: ClassVar[bool] = False

    layer: str = "logits"

    def _fit(self, x: Tensor, outputs: Outputs) -> dict[str, Tensor]:  # noqa: ARG002
        several_logits(self.name, x, self.memory)
        require_logits(self.name, x, self.memory)
        return {}

    def _score(self, x: Tensor) -> Tensor:
        return x.amax(dim=1) + x.mean(dim=1) - _entropy(x)

    def _numbers_per_row(self, columns: int) -> int:
        return 6 * columns


@dataclass(kw_only=True, eq=False)
class GEN(Scorer):
    """Minus the generalised entropy of the M largest probabilities.

    s(x) = -sum_{c in top M} p_c^gamma (1 - p_c)^gamma,  p = softmax(l)

    In logarithms, with 1 - p of the class in the lead as the sum of the others: exact where p rounds to 1 or to 0.

    Args:
        gamma: in (0, 1]; small values weigh small probabilities up.
        M: how many of the largest probabilities count, at least 1; all of them if C is smaller.
        layer: (N, C), C >= 2.
    Source: Liu, Lochman and Zach 2023 (CVPR), "GEN: Pushing the Limits of Softmax-Based Out-of-Distribution
        Detection"; gamma = 0.1 and M = 100 are theirs for ImageNet.
    Example:
        >>> import torch
        >>> from ood_core import Outputs, scorers
        >>> rows = Outputs(features=torch.eye(2), logits=torch.tensor([[2.0, 0.0], [1.0, 1.0]]))
        >>> scorers.make("gen", gamma=0.5).fit(rows).score(rows)
        tensor([-0.6481, -1.0000], dtype=torch.float64)
    """

    name: ClassVar[str] = "gen"
    in_cache: ClassVar[bool] = True
    cost: ClassVar[str] = "one pass over N C logits with a power each, and a partial sort if C > M"
    source: ClassVar[str] = "Liu, Lochman and Zach 2023, CVPR"
    learns: ClassVar[bool] = False

    gamma: float = 0.1
    M: int = 100
    layer: str = "logits"

    def _check_parameters(self) -> None:
        self._require("gamma", 0 < self.gamma <= 1, "one in (0, 1]", "The paper uses 0.1.")
        self._require("M", self.M >= 1, "at least 1", "The paper uses 100.")

    def _fit(self, x: Tensor, outputs: Outputs) -> dict[str, Tensor]:  # noqa: ARG002
        return several_logits(self.name, x, self.memory)

    def _score(self, x: Tensor) -> Tensor:
        z, others, rest, leader = _lead(x)
        log_total = rest.log1p()
        log_p = z - log_total
        log_rest = rest.log()
        low = torch.nonzero(rest.squeeze(1) < LOW).squeeze(1)  # where its parts underflow
        log_rest[low] = z[low].scatter_(1, leader[low], -torch.inf).logsumexp(dim=1, keepdim=True)
        log_q = (-others / (1 + rest)).log1p().scatter_(1, leader, log_rest - log_total)
        product = log_p + log_q
        if x.shape[1] > self.M:
            # The largest p have the largest p (1 - p): no other p exceeds 1 - max p.
            product = product.topk(self.M, dim=1).values
        return -(self.gamma * product).exp().sum(dim=1)

    def _numbers_per_row(self, columns: int) -> int:
        return 9 * columns


@dataclass(kw_only=True, eq=False)
class KLMatching(Scorer):
    """Minus the divergence of the softmax from the nearest class template.

    s(x) = -min_k KL(p || d_k),  p = softmax(l),  d_k = mean of p over the fitted rows of class k, at most 0

    Templates are averaged and compared as logarithms, so that no probability is 0.

    Args:
        classes: "predicted" groups the fitted rows by their largest logit and needs no labels; "true" groups them by
            label. A class that is never predicted has no template; `summary` counts the rows of each.
        layer: (N, C), C >= 2.
    Source: Hendrycks et al. 2022, arXiv 1911.11132, who fit on held-out rows; implementations differ in the grouping.
    Example:
        >>> import torch
        >>> from ood_core import Outputs, scorers
        >>> train = Outputs(features=torch.eye(2), logits=torch.tensor([[2.0, 0.0], [0.0, 2.0]]))
        >>> new = Outputs(features=torch.eye(2), logits=torch.tensor([[1.0, 0.0], [0.5, 0.5]]))
        >>> scorers.make("kl_matching").fit(train).score(new)
        tensor([-0.0826, -0.4338], dtype=torch.float64)
    """

    name: ClassVar[str] = "kl_matching"
    in_cache: ClassVar[bool] = True
    cost: ClassVar[str] = "fit N C, score N C^2 multiply-adds; keeps C^2 numbers"
    source: ClassVar[str] = "Hendrycks et al. 2022, arXiv 1911.11132"

    classes: str = "predicted"
    layer: str = "logits"

    def _check_parameters(self) -> None:
        checks.choice("kl_matching's classes", self.classes, CLASSES)

    def _fit(self, x: Tensor, outputs: Outputs) -> dict[str, Tensor]:
        several_logits(self.name, x, self.memory)
        if self.classes == "true":
            groups = class_rows(outputs, self.name)
        else:
            predicted = x.argmax(dim=1)
            counts = torch.bincount(predicted, minlength=x.shape[1]).tolist()
            groups = list(torch.split(torch.argsort(predicted, stable=True), counts))
        means = [self._log_mean(x, rows) for rows in groups if len(rows)]
        return {"log_templates": torch.stack(means), "rows": means[0].new_tensor([len(rows) for rows in groups])}

    def _log_mean(self, x: Tensor, rows: Tensor) -> Tensor:
        sums = [_log_softmax(block).logsumexp(dim=0) for block in blocks(x, rows, self.memory)]
        # Taken as logits, the sums give the mean without the logarithm of a number that rounds to 1.
        return _log_softmax(torch.stack(sums).logsumexp(dim=0, keepdim=True)).squeeze(0)

    def _score(self, x: Tensor) -> Tensor:
        log_p = _log_softmax(x)
        p = log_p.exp()
        cross = p @ self._state["log_templates"].T  # (n, K); the entropy of p is the same for all templates
        return (cross.amax(dim=1) - (p * log_p).sum(dim=1)).clamp(max=0)

    def _numbers_per_row(self, columns: int) -> int:
        return 5 * columns + 2 * len(self._state["log_templates"])

    def _facts(self) -> dict[str, Any]:
        return {"rows_per_class": [int(n) for n in self._state["rows"]]}


def _lead(x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Logits less the largest, z (n, C); exp(z) without the leader's 1 (n, C); its sum (n, 1); the leader (n, 1)."""
    largest, leader = x.max(dim=1, keepdim=True)
    z = x - largest
    others = z.exp().scatter_(1, leader, 0.0)
    return z, others, others.sum(dim=1, keepdim=True), leader


def _log_softmax(x: Tensor) -> Tensor:
    """As torch's, but exact for the leader too, whose log p = -log1p(R) torch rounds to multiples of 1e-16."""
    z, _, rest, _ = _lead(x)
    return z - rest.log1p()


def _entropy(x: Tensor) -> Tensor:
    """H(softmax(x)) (n,) in nats = log1p(R) + sum_c e^z_c (-z_c) / (1 + R), R the sum without the leader."""
    z, others, rest, _ = _lead(x)
    return (rest.log1p() - (others * z).sum(dim=1, keepdim=True) / (1 + rest)).squeeze(1)
