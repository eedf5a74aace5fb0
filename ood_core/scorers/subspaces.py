"""Scores by the part of a feature inside or outside the principal subspace of the training features."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from .. import checks
from ..checks import InputError
from ..outputs import Outputs
from .base import Scorer
from .heads import level_point, linear_form, linear_logits, taken, taken_blocks
from .rows import blocks, class_mean, mean_and_scatter, scatter_of


@dataclass(kw_only=True, eq=False)
class ViM(Scorer):
    """Energy of the logits minus a virtual logit: the length outside the principal subspace, scaled like a logit.

    s(x) = logsumexp_c l_c - alpha ||R^T (h - u)||_2,  u = -pinv(W) b,
    R = eigenvectors of sum_i (h_i - u)(h_i - u)^T beyond the first d,
    alpha = sum_i max_c l_ic / sum_i ||R^T (h_i - u)||_2

    It is the log-odds of all classes against the virtual one: the order of the paper's probability, which saturates.
    A unit head's h here is h / ||h||. A distance head is refused: its logits are negative, and so would alpha be.

    Args:
        dim: d, or 0 for 1000 of more than 1500 columns, 512 of 768 to 1500, half of fewer, rounded down.
        layer: (N, D), what feeds the head; fit checks that the head gives the logits.
    Source: Wang et al. 2022, arXiv 2203.10807. Departure: pinv drops singular values of W below 1e-6 of the largest.
        Origin, covariance about it and alpha as read in pytorch-ood 0.4.0, whose scores are equal. The rule behind
        dim=0 is the authors' as commonly given, not checked against paper or code; pytorch-ood asks for d.
    Example:
        >>> import torch
        >>> from ood_core import Outputs, scorers
        >>> h = torch.tensor([[3.0, 0.0, 0.1], [0.0, 3.0, 0.1], [2.0, 1.0, 0.2]])
        >>> train = Outputs(h, logits=h[:, :2], head=(torch.eye(2, 3), torch.zeros(2)))
        >>> new = Outputs(torch.tensor([[3.0, 0.0, 0.1], [3.0, 0.0, 0.4]]))
        >>> scorers.make("vim", dim=2).fit(train).score(new)
        tensor([  0.3795, -12.9397], dtype=torch.float64)
    """

    name: ClassVar[str] = "vim"
    needs: ClassVar[tuple[str, ...]] = ("head",)
    cost: ClassVar[str] = "fit N D^2 + D^3, score N D (D - d + C) multiply-adds; keeps D (D - d + C) numbers"
    source: ClassVar[str] = "Wang et al. 2022, arXiv 2203.10807"

    dim: int = 0

    def _check_parameters(self) -> None:
        self._require("dim", self.dim >= 0, "at least 1, or 0 for the rule", "Leave dim out.")

    def _fit(self, x: Tensor, outputs: Outputs) -> dict[str, Tensor]:
        head = linear_form(x, outputs, self.layer, self.name, self.memory)
        if outputs.head is not None and outputs.head.kind == "distance":
            raise InputError(
                "vim got a distance head, expected a linear or a unit one: minus distances give no positive scale for "
                "a virtual logit.\nUse residual, which works through such a head."
            )
        state = {**head, **_subspace(x, head, level_point(head), self.dim, self.name, self.memory, spare=1)}
        largest, outside = torch.zeros_like(state["rank"]), torch.zeros_like(state["rank"])
        for rows in taken_blocks(state, x, self.memory // 2):
            largest += linear_logits(state, rows).amax(dim=1).sum()
            outside += _outside(state, rows).sum()
        if largest <= 0:
            raise InputError(
                f"vim got largest logits of mean {float(largest) / len(x):.3g}, expected a mean above 0 to scale the "
                "virtual logit.\nUse residual."
            )
        return {**state, "alpha": largest / outside}

    def _score(self, x: Tensor) -> Tensor:
        rows = taken(self._state, x)
        energy = linear_logits(self._state, rows).logsumexp(dim=1)
        return energy - self._state["alpha"] * _outside(self._state, rows)

    def _numbers_per_row(self, columns: int) -> int:
        return 4 * columns + 3 * len(self._state["weight"])

    def _facts(self) -> dict[str, Any]:
        return {**_subspace_facts(self._state), "alpha": float(self._state["alpha"])}


@dataclass(kw_only=True, eq=False)
class Residual(Scorer):
    """Minus the length outside the principal subspace.

    s(x) = -||R^T (h - u)||_2,  R = eigenvectors of sum_i (h_i - u)(h_i - u)^T beyond the first d

    Args:
        dim: d, or 0 for the rule of `vim`.
        origin: u is "head" for -pinv(W) b, as published, or "mean" for the training mean, which needs no head and
            takes any layer. A unit head's h is h / ||h||. For a distance head, u is the shortest point at equal
            distance from all prototypes, in least squares.
        layer: (N, D); with origin="head" what feeds the head, and fit checks that the head gives the logits. Rows that
            are short because they are unfamiliar lie near u = 0, and so score well.
    Source: Wang et al. 2022, arXiv 2203.10807, its ablation without the energy. Departure: as for `vim`.
    Example:
        >>> import torch
        >>> from ood_core import Outputs, scorers
        >>> train = Outputs(torch.tensor([[-1.0, 0.0], [1.0, 0.0], [-2.0, 0.0], [2.0, 0.0]]))
        >>> new = Outputs(torch.tensor([[9.0, 1.0], [0.0, 3.0]]))
        >>> scorers.make("residual", dim=1, origin="mean").fit(train).score(new)
        tensor([-1., -3.], dtype=torch.float64)
    """

    name: ClassVar[str] = "residual"
    needs: ClassVar[tuple[str, ...]] = ("head",)
    cost: ClassVar[str] = "fit N D^2 + D^3, score N D (D - d) multiply-adds; keeps D (D - d) numbers"
    source: ClassVar[str] = "Wang et al. 2022, arXiv 2203.10807"

    dim: int = 0
    origin: str = "head"

    def _check_parameters(self) -> None:
        self._require("dim", self.dim >= 0, "at least 1, or 0 for the rule", "Leave dim out.")
        checks.choice("residual's origin", self.origin, ("head", "mean"))

    def _fit(self, x: Tensor, outputs: Outputs) -> dict[str, Tensor]:
        if self.origin == "head":
            head = linear_form(x, outputs, self.layer, self.name, self.memory)
            origin = level_point(head)
        else:
            origin = class_mean(x, None, self.memory)
            head = {"divides": torch.zeros_like(origin[0])}
        return _subspace(x, head, origin, self.dim, self.name, self.memory)

    def _score(self, x: Tensor) -> Tensor:
        return -_outside(self._state, taken(self._state, x))

    def _numbers_per_row(self, columns: int) -> int:
        return 4 * columns

    def _facts(self) -> dict[str, Any]:
        return _subspace_facts(self._state)


@dataclass(kw_only=True, eq=False)
class NECO(Scorer):
    """Share of a feature's length that lies in the principal subspace.

    s(x) = ||P^T z||_2 / ||z||_2, times max_c l_c if asked for,  P = first d eigenvectors of the covariance of z

    A zero vector z scores 0. With times="max_logit" a distance head is refused, and so are largest logits whose mean
    over the training rows is not above 0: a larger share would then lower the score.

    Args:
        dim: d, at least 1 and less than D, or 0 for the fewest that hold `share` of the variance (at most D - 1).
        share: of the variance of the training rows, a fraction, where dim is 0.
        scaling: z is "standard" for (h - mean) / sd by column (sd with N; columns without spread are only centred),
            as in the authors' code, or "none" for h itself.
        times: "none", as the authors use for residual networks, or "max_logit", as for transformers.
        layer: (N, D); with times="max_logit" what feeds the head, and fit checks that the head gives the logits.
    Source: Ammar et al. 2024, arXiv 2310.06823. Departure: the code centres P^T z but not z with scaling="none"; here,
        as in the paper's formula, neither is. Scaling, share and the maximal logit follow the authors' code as commonly
        given; neither it nor a peer was at hand to check (pytorch-ood 0.4.0 has none).
    Example:
        >>> import torch
        >>> from ood_core import Outputs, scorers
        >>> train = Outputs(torch.tensor([[-1.0, 0.0], [1.0, 0.0], [-2.0, 0.0], [2.0, 0.0]]))
        >>> new = Outputs(torch.tensor([[9.0, 0.0], [3.0, 4.0]]))
        >>> scorers.make("neco", dim=1, scaling="none").fit(train).score(new)
        tensor([1.0000, 0.6000], dtype=torch.float64)
    """

    name: ClassVar[str] = "neco"
    cost: ClassVar[str] = "fit N D^2 + D^3, score N D d multiply-adds; keeps D d numbers"
    source: ClassVar[str] = "Ammar et al. 2024, arXiv 2310.06823"

    dim: int = 0
    share: float = 0.9
    scaling: str = "standard"
    times: str = "none"

    def _check_parameters(self) -> None:
        self._require("dim", self.dim >= 0, "at least 1, or 0 for the rule", "Leave dim out.")
        checks.choice("neco's scaling", self.scaling, ("standard", "none"))
        checks.choice("neco's times", self.times, ("none", "max_logit"))
        self._require("share", 0 < self.share < 1, "a fraction between 0 and 1", "For 90 % pass 0.9.")
        if self.dim and "share" in self.params:
            raise InputError("neco got a share beside dim, expected one of them.\nLeave share out.")

    def _fit(self, x: Tensor, outputs: Outputs) -> dict[str, Tensor]:
        head: dict[str, Tensor] = {}
        if self.times == "max_logit":
            head = linear_form(x, outputs, self.layer, self.name, self.memory)
            if outputs.head is not None and outputs.head.kind == "distance":
                raise InputError(
                    "neco got a distance head with times='max_logit', expected a linear or a unit one: its logits are "
                    "negative.\nUse times='none'."
                )
            largest = sum(
                linear_logits(head, rows).amax(dim=1).sum() for rows in taken_blocks(head, x, self.memory // 2)
            )
            if largest <= 0:
                raise InputError(
                    f"neco got largest logits of mean {float(largest) / len(x):.3g} on training rows with "
                    "times='max_logit', expected a mean above 0: a larger share would lower the score.\n"
                    "Use times='none'."
                )
        mean, scatter = mean_and_scatter(blocks(x, None, self.memory), self.name)
        spread = (scatter.diagonal() / len(x)).sqrt()
        divisor = spread.masked_fill(spread == 0, 1.0) if self.scaling == "standard" else torch.ones_like(spread)
        eigenvalues, vectors, rank = _spectrum(scatter / divisor / divisor[:, None], self.name)
        within = eigenvalues.cumsum(0) / eigenvalues.sum()
        dim = self.dim or min(int((within < self.share).sum()) + 1, x.shape[1] - 1)
        _require_dim(dim, x.shape[1], rank, self.name)
        centre = mean if self.scaling == "standard" else torch.zeros_like(mean)
        return {
            **head,
            "centre": centre,
            "divisor": divisor,
            "inside": vectors[:, :dim].contiguous(),
            "rank": eigenvalues.new_tensor(float(rank)),
            "explained": within[dim - 1],
        }

    def _score(self, x: Tensor) -> Tensor:
        z = (x - self._state["centre"]) / self._state["divisor"]
        length = torch.linalg.vector_norm(z, dim=1)
        inside = torch.linalg.vector_norm(z @ self._state["inside"], dim=1)
        ratio: Tensor = inside / length.masked_fill(length == 0, 1.0)
        if self.times == "max_logit":
            ratio = ratio * linear_logits(self._state, taken(self._state, x)).amax(dim=1)
        return ratio

    def _numbers_per_row(self, columns: int) -> int:
        return 4 * columns + (2 * len(self._state["weight"]) if self.times == "max_logit" else 0)

    def _facts(self) -> dict[str, Any]:
        dim, rank = self._state["inside"].shape[1], int(self._state["rank"])
        return {"dim": dim, "rank": rank, "explained": float(self._state["explained"])}


def published_dim(columns: int) -> int:
    """Principal dimensions that ViM takes of so many columns."""
    return 1000 if columns > 1500 else 512 if columns >= 768 else columns // 2


def _subspace(
    x: Tensor, head: dict[str, Tensor], origin: Tensor, dim: int, name: str, memory: int, spare: int = 0
) -> dict[str, Tensor]:
    """What `_outside` needs: origin (D,) and an orthonormal basis (D, D - d) of what is outside."""
    eigenvalues, vectors, rank = _spectrum(scatter_of(taken_blocks(head, x, memory), origin, name), name)
    dim = dim or published_dim(len(origin))
    _require_dim(dim, len(origin), rank, name, spare)
    return {
        "divides": head["divides"],
        "origin": origin,
        "outside": vectors[:, dim:].contiguous(),
        "rank": eigenvalues.new_tensor(float(rank)),
        "explained": eigenvalues[:dim].sum() / eigenvalues.sum(),
    }


def _outside(state: dict[str, Tensor], rows: Tensor) -> Tensor:
    length: Tensor = torch.linalg.vector_norm((rows - state["origin"]) @ state["outside"], dim=1)
    return length


def _subspace_facts(state: dict[str, Tensor]) -> dict[str, Any]:
    columns, outside = state["outside"].shape
    return {"dim": columns - outside, "rank": int(state["rank"]), "explained": float(state["explained"])}


def _spectrum(scatter: Tensor, name: str) -> tuple[Tensor, Tensor, int]:
    """Eigenvalues (D,), largest first, their vectors (D, D) as columns, and the rank."""
    values, vectors = torch.linalg.eigh(scatter)
    values, vectors = values.flip(0).clamp(min=0), vectors.flip(1)
    rank = int((values > len(values) * torch.finfo(values.dtype).eps * values[0]).sum())
    if rank == 0:
        raise InputError(
            f"{name} got features without spread, expected some: no direction is principal.\n"
            "Look for a dead or collapsed layer."
        )
    return values, vectors, rank


def _require_dim(dim: int, columns: int, rank: int, name: str, spare: int = 0) -> None:
    """Refuse a principal part without columns or without directions of its own; `spare` of them stay outside it."""
    if columns < 2:
        raise InputError(
            f"{name} got dim={dim} of 1 columns, expected at least 2 columns: both parts must hold something.\n"
            "The layer is too narrow; name a wider one."
        )
    if not 0 < dim < columns:
        raise InputError(
            f"{name} got dim={dim} of {columns} columns, expected 1 to {columns - 1}: both parts must hold something.\n"
            "Pass a dim in that range, or a layer with more columns."
        )
    if dim + spare > rank:
        why = "nothing is left outside to scale by" if spare else "the other directions would be arbitrary"
        largest = rank - spare
        raise InputError(
            f"{name} finds training features of rank {rank}, expected {'more than' if spare else 'at least'} dim, "
            f"which is {dim}: {why}.\n"
            + (f"Pass dim={largest} or less, or look" if largest else "Fit on more rows, or look")
            + " for dead units."
        )
