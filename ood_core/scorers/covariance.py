"""Covariances in float64 and their whitening: what the scorers by Mahalanobis distance share."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ..checks import InputError


def whitening(covariance: Tensor, ridge: float, name: str, of: str) -> tuple[Tensor, Tensor]:
    """W (D, D) with W (S + e I) W^T = I, and e = ridge trace(S) / D.

    So ||W (x - mu)||^2 is the squared Mahalanobis distance: the inverse of the Cholesky factor is taken once, and
    scoring is a matrix product.

    Args:
        covariance: S, symmetric.
        ridge: a share of the mean eigenvalue: all rows and any multiple of them are treated alike.
        name, of: the scorer, and whose covariance this is, for errors.
    Raises:
        InputError: S is zero, or is singular with this ridge.
    """
    mean_eigenvalue = covariance.diagonal().mean()
    if mean_eigenvalue == 0:
        raise InputError(
            f"{name} finds no spread in {of}, expected some: a ridge relative to no spread is none.\n"
            "Look for a dead or collapsed layer, or score another layer."
        )
    added = ridge * mean_eigenvalue
    identity = torch.eye(len(covariance), dtype=covariance.dtype, device=covariance.device)
    factor, failed = torch.linalg.cholesky_ex(covariance + added * identity)
    # In rows, as it will lie in a file: products of another layout round differently.
    whiten = torch.linalg.solve_triangular(factor, identity, upper=False).contiguous()
    if failed or not torch.isfinite(whiten).all():
        raise InputError(
            f"{name} finds the covariance of {of} singular with ridge={ridge}, expected a positive definite one.\n"
            "Raise ridge, for example to the default 1e-4."
        )
    return whiten, added


def facts(whiten: Tensor, added: Tensor) -> dict[str, Any]:
    """Ridge, eigenvalues, condition number and rank behind W (..., D, D): a number each, or lists over the front axis.

    The eigenvalues are those of S + e I; the rank counts those of S alone.
    """
    # Singular values of W are the inverse roots of the eigenvalues of S + e I.
    eigenvalues = torch.linalg.svdvals(whiten) ** -2  # (..., D), ascending
    smallest, largest = eigenvalues[..., 0], eigenvalues[..., -1]
    noise = torch.maximum(1e-8 * added, torch.finfo(whiten.dtype).eps * whiten.shape[-1] * largest)
    return {
        "ridge_added": added.tolist(),
        "eigenvalue_min": smallest.tolist(),
        "eigenvalue_max": largest.tolist(),
        "condition_number": (largest / smallest).tolist(),
        "rank": (eigenvalues - added[..., None] > noise[..., None]).sum(dim=-1).tolist(),
    }
