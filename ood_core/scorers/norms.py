"""Scores that read the length of the features."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from ..checks import InputError
from ..outputs import Outputs
from ..precision import working_dtype
from .base import CACHE_BYTES, Scorer
from .logits import FEW
from .rows import blocks, collected, rounding

SPREAD = 1e-6  # of the largest score: a smaller range of all scores is rounding


@dataclass(kw_only=True, eq=False)
class FeatureNorm(Scorer):
    """L^p norm of the raw features, without the division that a unit head makes in training.

    s(x) = (sum_d |h_d|^p)^(1/p)

    Args:
        p: order of the norm, at least 1; float("inf") or "inf" takes the largest |h_d|.
        layer: (N, D); the zero vector scores 0. Rows of one norm, such as normalised ones, are refused by `fit`.
    Source: Haas, Yolland and Rabus 2024, arXiv 2306.04072 (p = 2).
    Example:
        >>> import torch
        >>> from ood_core import Outputs, scorers
        >>> rows = Outputs(features=torch.tensor([[3.0, 4.0], [1.0, 0.0]]))
        >>> scorers.make("feature_norm").fit(rows).score(rows)
        tensor([5., 1.], dtype=torch.float64)
    """

    name: ClassVar[str] = "feature_norm"
    in_cache: ClassVar[bool] = True
    cost: ClassVar[str] = "one pass over N D features"
    source: ClassVar[str] = "Haas, Yolland and Rabus 2024, arXiv 2306.04072"
    learns: ClassVar[bool] = False

    p: float = 2.0

    def _typed(self, key: str, value: Any, default: Any) -> Any:
        return math.inf if key == "p" and value in (math.inf, "inf") else super()._typed(key, value, default)

    def _check_parameters(self) -> None:
        self._require("p", self.p >= 1, "at least 1: below it is no norm", "The paper uses 2.")

    def _fit(self, x: Tensor, outputs: Outputs) -> dict[str, Tensor]:  # noqa: ARG002
        _require_spread(self, x)
        return {}

    def _score(self, x: Tensor) -> Tensor:
        if self.p in (1, 2, math.inf):
            return _length(x, self.p)
        # Powers of a large order overflow: |h| relative to its largest entry does not.
        largest = x.abs().amax(dim=1)
        return largest * _length(x / largest.masked_fill(largest == 0, 1.0)[:, None], self.p)


@dataclass(kw_only=True, eq=False)
class NAN(Scorer):
    """Negative-aware norm: the l1 norm over the number of active units.

    s(x) = ||h||_1 / #{d : h_d > 0}, and 0 for a row without an active unit

    After a ReLU it is the mean of the active units. The paper states no rule for 0/0; a row without an active unit is
    taken for least in-distribution, also where leaky units leave it some l1 norm. `summary` counts such rows among
    those fitted, and gives the mean share of active units: where it is near 1, this is the l1 norm over D.

    Args:
        layer: (N, D), activations after the rectifier, never normalised and in the precision they were made in. A
            feature that is averaged over space is 0 only where its channel is off everywhere, so that the count hardly
            varies; the rectified layer within a head of several is sparse. Look at the share before choosing.
    Source: Park et al. 2023, arXiv 2310.05316, equations 9 and 10. Which of these layers it means is not stated.
    Example:
        >>> import torch
        >>> from ood_core import Outputs, scorers
        >>> rows = Outputs(features=torch.tensor([[3.0, 4.0], [1.0, 0.0]]))
        >>> scorers.make("nan").fit(rows).score(rows)
        tensor([3.5000, 1.0000], dtype=torch.float64)
    """

    name: ClassVar[str] = "nan"
    in_cache: ClassVar[bool] = True
    cost: ClassVar[str] = "one pass over N D features"
    source: ClassVar[str] = "Park et al. 2023, arXiv 2310.05316, equations 9 and 10"
    learns: ClassVar[bool] = False

    def _fit(self, x: Tensor, outputs: Outputs) -> dict[str, Tensor]:  # noqa: ARG002
        _require_spread(self, x)
        return _activity(x, self.memory)

    def _score(self, x: Tensor) -> Tensor:
        return negative_aware_norm(x)

    def _facts(self) -> dict[str, Any]:
        return _activity_facts(self._state)


@dataclass(kw_only=True, eq=False)
class ActiveCount(Scorer):
    """Minus the number of active units.

    s(x) = -#{d : h_d > 0}

    Fewer active units mean more in-distribution, as in the sparsity factor 1 / #{d : h_d > 0} of the negative-aware
    norm, which ranks rows alike; a row without an active unit scores 0, the most. Many rows tie.

    Args:
        layer: (N, D), activations after the rectifier, in the precision they were made in.
    Source: Park et al. 2023, arXiv 2310.05316, section 5 (the sparsity term).
    Example:
        >>> import torch
        >>> from ood_core import Outputs, scorers
        >>> rows = Outputs(features=torch.tensor([[3.0, 4.0], [1.0, 0.0]]))
        >>> scorers.make("active_count").fit(rows).score(rows)
        tensor([-2., -1.], dtype=torch.float64)
    """

    name: ClassVar[str] = "active_count"
    in_cache: ClassVar[bool] = True
    cost: ClassVar[str] = "one pass over N D features"
    source: ClassVar[str] = "Park et al. 2023, arXiv 2310.05316, section 5"
    learns: ClassVar[bool] = False

    def _fit(self, x: Tensor, outputs: Outputs) -> dict[str, Tensor]:  # noqa: ARG002
        return _activity(x, self.memory)

    def _score(self, x: Tensor) -> Tensor:
        return -_active(x)

    def _facts(self) -> dict[str, Any]:
        return _activity_facts(self._state)


def _require_spread(scorer: Scorer, x: Tensor) -> None:
    """Refuse rows x (N, D) of one score, all of them and more than a few: what is left to rank by is rounding."""
    if len(x) < FEW:
        return
    slack, low, high = max(SPREAD, rounding(x)), math.inf, -math.inf
    for block in blocks(x, None, min(scorer.memory, CACHE_BYTES)):
        scores = scorer._score(block)
        low, high = min(low, float(scores.min())), max(high, float(scores.max()))
        if high - low > slack * high:
            return
    raise InputError(
        f"{scorer.name} gives all {len(x)} training rows the score {high:.6g}, to rounding, expected rows of different "
        "length.\nPass the features before they are normalised, or look for a dead layer."
    )


def negative_aware_norm(x: Tensor) -> Tensor:
    """||h||_1 / #{d : h_d > 0} (n,), and 0 for a row without an active unit."""
    count = _active(x)
    return (_length(x, 1) / count.clamp(min=1)).masked_fill(count == 0, 0.0)


def _length(x: Tensor, p: float) -> Tensor:
    length: Tensor = torch.linalg.vector_norm(x, ord=p, dim=1)
    return length


def _active(x: Tensor) -> Tensor:
    """Strictly positive units of each row (n,), not merely non-zero ones: leaky units are off below 0."""
    return torch.count_nonzero(x > 0, dim=1).to(working_dtype(x))


def _activity(x: Tensor, memory: int) -> dict[str, Tensor]:
    rows = max(1, min(memory, CACHE_BYTES) // (8 * x.shape[1]))
    counts = collected((_active(block) for block in x.split(rows)), len(x))
    return {"inactive_rows": (counts == 0).sum().to(counts), "active_share": counts.mean() / x.shape[1]}


def _activity_facts(state: dict[str, Tensor]) -> dict[str, Any]:
    return {"inactive_rows": int(state["inactive_rows"]), "active_share": float(state["active_share"])}
