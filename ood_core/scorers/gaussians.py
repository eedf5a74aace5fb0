"""Scores by Gaussian densities of the features."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from .. import checks
from ..checks import InputError
from ..outputs import Outputs
from ..precision import working_dtype
from .base import Scorer
from .covariance import whitened_squares
from .rows import Rows, blocks, class_rows, mean_and_scatter

LADDER = (0.0, sys.float_info.min, *(float(f"1e{exponent}") for exponent in range(-308, 0)))


@dataclass(kw_only=True, eq=False)
class DDU(Scorer):
    """Log-density of a sum of Gaussians, one a class, without class weights.

    s(x) = log sum_c N(h; mu_c, Sigma_c + e_c I),  Sigma_c = 1/(n_c - 1) sum_i (h_i - mu_c)(h_i - mu_c)^T

    In float64 and log space throughout, by the inverses of the Cholesky factors. Keep the scores in float64: near -1e6
    numbers of float32 lie 1/16 apart, and rows would tie.

    Args:
        ridge: with jitter="relative", e_c = ridge trace(Sigma_c) / D: a share of the class's mean eigenvalue, so that
            the score orders h and any multiple of h alike.
        jitter: "relative", or "ladder" for the published search: 0, the smallest normal double, 1e-308, 1e-307, ...,
            1e-1, absolute; the first value with which every class has a Cholesky factor serves all classes.
            Near-singular covariances then rest on rounding noise; `summary` shows the condition numbers.
        layer: (N, D), at least two rows a class. Where unfamiliar images have short features, these lie inside the
            Gaussians of raw ones, whatever they show; "unit" leaves length out.
    Source: Mukhoti et al. 2023, arXiv 2102.11582, and its code. Departure: the ladder is theirs, the relative ridge is
        ours and the default.
    Example:
        >>> import torch
        >>> from ood_core import Outputs, scorers
        >>> train = Outputs(torch.tensor([[0.0, 0], [2, 0], [0, 9], [2, 9], [1, 1], [1, 8]]), labels=[0, 0, 1, 1, 0, 1])
        >>> new = Outputs(torch.tensor([[1.0, 0.0], [1.0, 5.0]]))
        >>> scorers.make("ddu").fit(train).score(new)
        tensor([ -1.4553, -21.4513], dtype=torch.float64)
    """

    name: ClassVar[str] = "ddu"
    needs: ClassVar[tuple[str, ...]] = ("labels",)
    cost: ClassVar[str] = "fit N D^2 + C D^3 / 3, score C N D^2 / 2 multiply-adds; keeps C D^2 numbers"
    source: ClassVar[str] = "Mukhoti et al. 2023, arXiv 2102.11582"
    by_block: ClassVar[bool] = True
    widens: ClassVar[bool] = False
    advice: ClassVar[str] = (
        "The densities overflow: a covariance is singular for these rows. Use jitter='relative' or a larger ridge."
    )

    ridge: float = 1e-4
    jitter: str = "relative"

    def _check_parameters(self) -> None:
        checks.choice("ddu's jitter", self.jitter, ("relative", "ladder"))
        if self.jitter == "ladder" and "ridge" in self.params:
            raise InputError("ddu got a ridge beside jitter='ladder', expected one of them.\nLeave ridge out.")

    def _fit(self, x: Rows, outputs: Outputs) -> dict[str, Tensor]:
        rows = class_rows(outputs, self.name)
        short = [c for c, index in enumerate(rows) if len(index) < 2]
        if short:
            raise InputError(
                f"ddu got one row of class {', '.join(map(str, short))}, expected at least two a class: one has no "
                "covariance.\nFit on more rows."
            )
        dtype, columns = working_dtype(x), x.shape[1]
        means = torch.empty(len(rows), columns, dtype=dtype, device=x.device)
        whiten = means.new_empty(len(rows), columns, columns)  # covariances at first
        for mine, mean, covariance in zip(rows, means, whiten, strict=True):
            mean[:], scatter = mean_and_scatter(blocks(x, mine, self.memory), self.name)
            torch.div(scatter, len(mine) - 1, out=covariance)
        jitter = self._ladder(whiten) if self.jitter == "ladder" else self._relative(whiten)  # (C,)
        for c, (covariance, added) in enumerate(zip(whiten, jitter, strict=True)):
            covariance.diagonal().add_(added)
            factor, failed = torch.linalg.cholesky_ex(covariance)
            if failed:
                raise InputError(
                    f"ddu finds the covariance of class {c} singular with ridge={self.ridge}, expected a positive "
                    "definite one.\nRaise ridge, for example to the default 1e-4."
                )
            covariance.copy_(_inverse(factor))
        log_scale = 0.5 * x.shape[1] * math.log(2 * math.pi) - whiten.diagonal(dim1=1, dim2=2).log().sum(dim=1)
        return {"means": means, "whiten": whiten, "log_scale": log_scale, "jitter": jitter}

    def _relative(self, covariances: Tensor) -> Tensor:
        mean_eigenvalue = covariances.diagonal(dim1=1, dim2=2).mean(dim=1)
        flat = torch.nonzero(mean_eigenvalue == 0).flatten().tolist()
        if flat:
            raise InputError(
                f"ddu got equal features for all rows of class {', '.join(map(str, flat))}, expected some spread: a "
                "ridge relative to no spread is none.\nLook for a dead or collapsed layer, or score another layer."
            )
        return self.ridge * mean_eigenvalue

    def _ladder(self, covariances: Tensor) -> Tensor:
        identity = torch.eye(covariances.shape[1], dtype=covariances.dtype, device=covariances.device)

        def failures(step: float) -> Iterator[bool]:
            return (bool(torch.linalg.cholesky_ex(matrix + step * identity).info) for matrix in covariances)

        for step in LADDER:
            if not any(failures(step)):
                return covariances.new_full((len(covariances),), step)
        raise InputError(
            "ddu finds covariances singular for every value of the ladder, expected one up to 0.1 to suffice: it is "
            "absolute and these features are large.\nUse jitter='relative'."
        )

    def _score(self, x: Tensor) -> Tensor:
        squared = whitened_squares(x, self._state["means"], self._state["whiten"])
        return (-0.5 * squared - self._state["log_scale"]).logsumexp(dim=1)

    def _numbers_per_row(self, columns: int) -> int:
        return 3 * columns + 5 * len(self._state["means"])

    def _facts(self) -> dict[str, Any]:
        # The largest singular value of a matrix is exact to rounding, the smallest drowns in a near-singular one: one
        # end of the spectrum comes from W, the other from the factor. Of the covariance as used, jitter included.
        # A unit that is zero for a whole class has the ladder's jitter for its variance, where numbers end: kept normal
        # and finite, also with denormal numbers flushed.
        whiten = self._state["whiten"]
        limits = torch.finfo(whiten.dtype)
        largest = torch.linalg.svdvals(_inverse(whiten))[:, 0] ** 2
        smallest = (torch.linalg.svdvals(whiten)[:, 0] ** -2).clamp(min=limits.tiny)
        return {
            "jitter": self._state["jitter"].tolist(),
            "eigenvalue_min": smallest.tolist(),
            "eigenvalue_max": largest.tolist(),
            "condition_number": (largest / smallest).clamp(max=limits.max).tolist(),
        }


def _inverse(triangular: Tensor) -> Tensor:
    """Of lower triangular matrices (..., D, D)."""
    identity = torch.eye(triangular.shape[-1], dtype=triangular.dtype, device=triangular.device)
    inverse: Tensor = torch.linalg.solve_triangular(triangular, identity, upper=False)
    return inverse
