"""Covariances in float64 and their whitening: what the scorers by Mahalanobis distance share."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from ..checks import InputError
from .rows import PIECE

EXACT = 1e-9  # relative error from which on a squared distance is taken from differences
STRIP = 64  # rows of W that are multiplied at once, at least, and at most an eighth of them


def whitening(covariance: Tensor, ridge: float, name: str, of: str) -> tuple[Tensor, Tensor]:
    """W (D, D) with W (S + e I) W^T = I, and e = ridge trace(S) / D.

    So ||W (x - mu)||^2 is the squared Mahalanobis distance: the inverse of the Cholesky factor is taken once, and
    scoring is a matrix product with a lower triangular matrix.

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


def nearest_squares(x: Tensor, origin: Tensor, whiten: Tensor, places: Tensor) -> Tensor:
    """min_c ||W (x_i - origin) - place_c||^2 (n,), for places (C, D).

    With y = W (x_i - origin), ||y||^2 - 2 y.place_c + ||place_c||^2 takes products alone, but loses a small distance
    between long vectors to cancellation. Where its a-priori bound 4 (D + 2) u (||y|| + ||place||)^2, with u = 2^-53,
    leaves a relative error above `EXACT`, the distance is computed again, from differences.
    """
    lengths = places.square().sum(dim=1)
    bound = 4 * (x.shape[1] + 2) * torch.finfo(places.dtype).eps / 2 / EXACT
    found = places.new_empty(len(x))
    for rows, into in _pieces(x, found):
        whitened = _whitened(rows, origin, whiten)
        squares = torch.linalg.vector_norm(whitened, dim=1).square_()
        into[:] = (places @ whitened.T).mul_(-2).add_(squares).add_(lengths[:, None]).amin(dim=0)
        scale = (squares.sqrt_() + lengths.amax().sqrt()).square_()
        rough = torch.nonzero(~(into >= bound * scale)).flatten()
        if len(rough):
            again = torch.cdist(whitened[rough], places, compute_mode="donot_use_mm_for_euclid_dist")
            into[rough] = again.amin(dim=1).square()
    return found


def whitened_squares(x: Tensor, origins: Tensor, whitens: Tensor) -> Tensor:
    """||W_k (x_i - origin_k)||^2 (n, K)."""
    found = origins.new_empty(len(x), len(origins))
    for rows, into in _pieces(x, found):
        for origin, whiten, squares in zip(origins, whitens, into.unbind(dim=1), strict=True):
            squares[:] = torch.linalg.vector_norm(_whitened(rows, origin, whiten), dim=1).square_()
    return found


def _pieces(x: Tensor, found: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Rows of x in pieces, with what is found for them: a product reads them again for each strip."""
    rows = max(1, PIECE // (8 * x.shape[1]))
    return zip(x.split(rows), found.split(rows), strict=True)


def _whitened(x: Tensor, origin: Tensor, whiten: Tensor) -> Tensor:
    """W (x_i - origin) (n, D), in the type of W."""
    centred = x - origin
    made = torch.empty_like(centred)
    for start, stop in _strips(whiten):
        torch.mm(centred[:, :stop], whiten[start:stop, :stop].T, out=made[:, start:stop])
    return made


def _strips(whiten: Tensor) -> Iterator[tuple[int, int]]:
    """Ranges of rows of W, each with nothing but zeros right of its end: nearly half of the product is left out."""
    rows = len(whiten)
    step = max(STRIP, -(-rows // 8))
    return ((start, min(start + step, rows)) for start in range(0, rows, step))


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
