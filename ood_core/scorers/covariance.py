"""Covariances in float64 and their whitening: what the scorers by Mahalanobis distance share."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from ..checks import InputError

EXACT = 1e-9  # relative error from which on a squared distance is taken from differences
PIECE = 2**22  # bytes of rows that are scored together; a fit, which keeps a product beside them, takes half as many
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
    bound = 4 * (x.shape[1] + 2) * torch.finfo(x.dtype).eps / 2 / EXACT
    found = x.new_empty(len(x))
    for rows, into in zip(_pieces(x), _pieces(found, x.shape[1]), strict=True):
        centred = rows - origin
        squares, products = x.new_zeros(len(rows), 1), x.new_zeros(len(rows), len(places))
        for start, stop in _strips(whiten):
            part = centred[:, :stop] @ whiten[start:stop, :stop].T
            squares += part.square().sum(dim=1, keepdim=True)
            products.addmm_(part, places[:, start:stop].T)
        into[:] = products.mul_(-2).add_(squares).add_(lengths).amin(dim=1)
        scale = (squares[:, 0].sqrt() + lengths.amax().sqrt()).square()
        rough = torch.nonzero(~(into >= bound * scale)).flatten()
        if len(rough):
            again = torch.cdist(centred[rough] @ whiten.T, places, compute_mode="donot_use_mm_for_euclid_dist")
            into[rough] = again.amin(dim=1).square()
    return found


def whitened_squares(x: Tensor, origins: Tensor, whitens: Tensor) -> Tensor:
    """||W_k (x_i - origin_k)||^2 (n, K)."""
    found = x.new_zeros(len(x), len(origins))
    for rows, into in zip(_pieces(x), _pieces(found, x.shape[1]), strict=True):
        for origin, whiten, total in zip(origins, whitens, into.unbind(dim=1), strict=True):
            centred = rows - origin
            for start, stop in _strips(whiten):
                total.add_((centred[:, :stop] @ whiten[start:stop, :stop].T).square().sum(dim=1))
    return found


def _pieces(x: Tensor, columns: int | None = None) -> Iterator[Tensor]:
    """Rows of x in pieces of `PIECE` bytes, by this many columns: they are read again for each strip."""
    return iter(x.split(max(1, PIECE // (8 * (columns or x.shape[1])))))


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
