"""Scores that read the logits alone, and what tells logits from the probabilities that networks may end in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from ..checks import InputError
from ..outputs import Outputs
from .base import Scorer
from .rows import blocks, rounding

FEW = 10  # rows that may look like probabilities by chance
TOTAL = 1e-3  # by how much the sum of a row of probabilities may miss 1
LOG_TOTAL = 1e-4  # by how much the logsumexp of a row of log-probabilities may miss 0


@dataclass(kw_only=True, eq=False)
class MSP(Scorer):
    """Maximum softmax probability.

    s(x) = max_c softmax(l / T)_c = 1 / sum_c exp((l_c - max l) / T), in [1/C, 1]

    In float64 it reaches 1 where the largest logit leads by about 37 T; rows beyond that tie.

    Args:
        temperature: T > 0, in units of the logits; 1 over the scale of a training that multiplied the logits gives the
            probabilities that the loss saw.
        layer: (N, C), C >= 2.
    Source: Hendrycks and Gimpel 2017, arXiv 1610.02136.
    Example:
        >>> import torch
        >>> from ood_core import Outputs, scorers
        >>> rows = Outputs(features=torch.eye(2), logits=torch.tensor([[2.0, 0.0], [1.0, 1.0]]))
        >>> scorers.make("msp").fit(rows).score(rows)
        tensor([0.8808, 0.5000], dtype=torch.float64)
    """

    name: ClassVar[str] = "msp"
    in_cache: ClassVar[bool] = True
    cost: ClassVar[str] = "one pass over N C logits"
    source: ClassVar[str] = "Hendrycks and Gimpel 2017, arXiv 1610.02136"
    learns: ClassVar[bool] = False

    temperature: float = 1.0
    layer: str = "logits"

    def _check_parameters(self) -> None:
        self._require("temperature", self.temperature > 0, "one above 0", "The paper uses 1.")

    def _fit(self, x: Tensor, outputs: Outputs) -> dict[str, Tensor]:  # noqa: ARG002
        return several_logits(self.name, x, self.memory)

    def _score(self, x: Tensor) -> Tensor:
        z = x / self.temperature
        return (z - z.amax(dim=1, keepdim=True)).exp_().sum(dim=1).reciprocal_()  # no other probability is needed


@dataclass(kw_only=True, eq=False)
class MaxLogit(Scorer):
    """Largest logit.

    s(x) = max_c l_c

    Args:
        layer: (N, C).
    Source: Hendrycks et al. 2022, arXiv 1911.11132.
    Example:
        >>> import torch
        >>> from ood_core import Outputs, scorers
        >>> rows = Outputs(features=torch.eye(2), logits=torch.tensor([[2.0, 0.0], [1.0, 1.0]]))
        >>> scorers.make("max_logit").fit(rows).score(rows)
        tensor([2., 1.], dtype=torch.float64)
    """

    name: ClassVar[str] = "max_logit"
    in_cache: ClassVar[bool] = True
    cost: ClassVar[str] = "one pass over N C logits"
    source: ClassVar[str] = "Hendrycks et al. 2022, arXiv 1911.11132"
    widens: ClassVar[bool] = False
    learns: ClassVar[bool] = False

    layer: str = "logits"

    def _fit(self, x: Tensor, outputs: Outputs) -> dict[str, Tensor]:  # noqa: ARG002
        require_logits(self.name, x, self.memory)
        return {}

    def _score(self, x: Tensor) -> Tensor:
        return x.amax(dim=1)


@dataclass(kw_only=True, eq=False)
class Energy(Scorer):
    """Negative free energy of the logits.

    s(x) = T logsumexp_c(l_c / T)

    Behind a distance head it grows with nearness to all prototypes: where unfamiliar images have short features, these
    lie nearer and the score ranks the wrong way; `entropy` does not. Logits that span about 1, as behind a unit head
    without a temperature, are averaged rather than compared: a small T, such as 0.1, looks at the largest.

    Args:
        temperature: T > 0, in units of the logits; T -> 0 gives the largest logit.
        layer: (N, C).
    Source: Liu et al. 2020, arXiv 2010.03759, equation 4 with the sign turned.
    Example:
        >>> import torch
        >>> from ood_core import Outputs, scorers
        >>> rows = Outputs(features=torch.eye(2), logits=torch.tensor([[2.0, 0.0], [1.0, 1.0]]))
        >>> scorers.make("energy").fit(rows).score(rows)
        tensor([2.1269, 1.6931], dtype=torch.float64)
    """

    name: ClassVar[str] = "energy"
    in_cache: ClassVar[bool] = True
    cost: ClassVar[str] = "one pass over N C logits"
    source: ClassVar[str] = "Liu et al. 2020, arXiv 2010.03759, equation 4"
    learns: ClassVar[bool] = False

    temperature: float = 1.0
    layer: str = "logits"

    def _check_parameters(self) -> None:
        self._require("temperature", self.temperature > 0, "one above 0", "The paper uses 1.")

    def _fit(self, x: Tensor, outputs: Outputs) -> dict[str, Tensor]:  # noqa: ARG002
        require_logits(self.name, x, self.memory)
        return {}

    def _score(self, x: Tensor) -> Tensor:
        return self.temperature * (x / self.temperature).logsumexp(dim=1)


@dataclass(kw_only=True, eq=False)
class MinDistance(Scorer):
    """Minimum-distance score: minus the distance to the nearest prototype of a distance head.

    s(x) = max_c l_c = -scale min_c ||h - w_c||  (unit vectors if the head is normalised)

    Behind a head whose logits also hold the mean distance, mean_c l_c / 2 is taken off: the score is the distance all
    the same. `fit` refuses heads of another kind; without a head, it refuses logits above 0, which are no distances.
    With a head that is not normalised (IsoMax), short features lie near all prototypes whatever they show: use
    `entropy`.

    Args:
        layer: (N, C), logits of a distance head without its training scale.
    Source: Macedo and Ludermir 2021, arXiv 2105.14399 (IsoMax+).
    Example:
        >>> import torch
        >>> from ood_core import Outputs, scorers
        >>> from ood_core.outputs import Head
        >>> head = Head("distance", torch.tensor([[0.0, 0.0], [5.0, 0.0]]))
        >>> h = torch.tensor([[0.0, 1.0], [2.5, 0.0]])
        >>> rows = Outputs(h, logits=head.logits(h), head=head)
        >>> scorers.make("min_distance").fit(rows).score(rows)
        tensor([-1.0000, -2.5000], dtype=torch.float64)
    """

    name: ClassVar[str] = "min_distance"
    in_cache: ClassVar[bool] = True
    cost: ClassVar[str] = "one pass over N C logits"
    source: ClassVar[str] = "Macedo and Ludermir 2021, arXiv 2105.14399"
    learns: ClassVar[bool] = False

    layer: str = "logits"

    def _fit(self, x: Tensor, outputs: Outputs) -> dict[str, Tensor]:
        if outputs.head is not None and outputs.head.kind != "distance":
            raise InputError(
                f"min_distance got a {outputs.head.kind} head, expected a distance head.\n"
                "Use max_logit for logits that are no distances."
            )
        require_logits(self.name, x, self.memory)
        if bool((x > 0).any()):
            raise InputError(
                "min_distance got logits above 0, expected minus distances.\n"
                "Use max_logit for logits that are no distances."
            )
        # l_c = -(D_c + mean D): the mean logit is -2 mean D
        return {"mean_share": x.new_full((), 0.5)} if outputs.head is not None and outputs.head.plus_mean else {}

    def _score(self, x: Tensor) -> Tensor:
        largest = x.amax(dim=1)
        share = self._state.get("mean_share")
        return largest if share is None else largest - share * x.mean(dim=1)


def several_logits(name: str, x: Tensor, memory: int) -> dict[str, Tensor]:
    """Nothing to learn, after a check that the softmax says anything; log-probabilities have the same softmax."""
    if x.shape[1] < 2:
        raise InputError(
            f"{name} got one logit a row, expected at least two: a softmax over one is always 1.\n"
            "For a sigmoid output pass the two logits (0, l)."
        )
    require_logits(name, x, memory, or_logarithms=True)
    return {}


def require_logits(name: str, x: Tensor, memory: int, or_logarithms: bool = False) -> None:
    """Refuse rows x (N, C) that are probabilities, all of them and more than a few: scores of them are others.

    Log-probabilities are refused as well, unless the score is the same for them (`or_logarithms`): what the largest
    logit or the energy says of a row is what a log-softmax takes off it.
    """
    if len(x) < FEW or x.shape[1] < 2:
        return
    slack = rounding(x)
    if _every(x, memory, lambda rows: bool(((rows >= 0).all(dim=1) & _near(rows.sum(dim=1), 1, TOTAL + slack)).all())):
        raise InputError(
            f"{name} got probabilities, rows from 0 on that sum to 1, expected logits.\n"
            "Take what goes into the network's softmax: its last layer without the softmax."
        )
    slack = LOG_TOTAL + 10 * slack
    if not or_logarithms and _every(x, memory, lambda rows: bool(_near(rows.logsumexp(dim=1), 0, slack).all())):
        raise InputError(
            f"{name} got log-probabilities, rows whose logsumexp is 0, expected logits: what it reads is lost there.\n"
            "Take what goes into the network's log-softmax, or use msp, which is the same for both."
        )


def _near(values: Tensor, wanted: float, slack: float) -> Tensor:
    return (values - wanted).abs() <= slack


def _every(x: Tensor, memory: int, fits: Callable[[Tensor], bool]) -> bool:
    """Whether all rows fit, seen in blocks: logits are known by the first."""
    return all(fits(block) for block in blocks(x, None, memory))
