"""Clusters of training rows: k-means that does not depend on the order of rows, principal axes, and their distances."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import torch
from torch import Tensor

from ..checks import InputError
from ..precision import at_least_float32, working_dtype
from .covariance import whitened_squares, whitening
from .rows import PIECE, Rows, blocks, canonical_order, class_mean, mean_and_scatter


def kmeans(x: Rows, clusters: int, seed: int, n_init: int, name: str) -> list[Tensor]:
    """Indices of the rows of each cluster: k-means++ and Lloyd's iterations until no row moves, best of `n_init`.

    Rows are brought into an order of their own first, so that the seed means the same for any order of `x` (N, D).
    Needs one copy of the rows in their own precision, float32 at least, beyond any budget.

    Raises:
        InputError: fewer distinct rows than clusters.
    Source: Arthur and Vassilvitskii 2007; scikit-learn's KMeans.
    """
    from sklearn.cluster import KMeans

    if clusters == 1:
        return [torch.arange(len(x))]
    order = canonical_order(x)
    rows = torch.empty(tuple(x.shape), dtype=at_least_float32(x))
    step = max(1, PIECE // (8 * x.shape[1]))
    for index, into in zip(order.split(step), rows.split(step), strict=True):
        into.copy_(x[index.to(x.device)])
    rows -= rows.mean(dim=0)
    largest = torch.maximum(rows.amax(), -rows.amin())
    rows /= largest if largest > 0 else 1  # squares of any scale fit
    model = KMeans(clusters, n_init=n_init, random_state=seed, max_iter=1000, tol=0.0, copy_x=False)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            labels = torch.as_tensor(model.fit(rows.numpy()).labels_).long()
        except (UserWarning, ValueError) as problem:
            raise InputError(
                f"{name} finds no {clusters} clusters in {len(rows)} rows ({problem}), expected as many distinct "
                "rows.\nLower clusters or fit on more rows."
            ) from problem
    return list(torch.split(order[torch.argsort(labels, stable=True)], torch.bincount(labels).tolist()))


def principal_axes(x: Tensor, count: int, memory: int, name: str) -> dict[str, Tensor]:
    """Mean (D,) and the `count` orthonormal axes (D, count) of largest variance, with their share of all variance.

    Raises:
        InputError: the rows span fewer dimensions, so that the last axes would be arbitrary.
    """
    origin, squares = mean_and_scatter(blocks(x, None, memory), name)
    variances, axes = torch.linalg.eigh(squares)  # ascending
    rank = int((variances > len(variances) * torch.finfo(variances.dtype).eps * variances[-1]).sum())
    if count > rank:
        raise InputError(
            f"{name} got pca={count}, expected at most {rank}, the dimensions that the training rows span.\nLower pca."
        )
    share = variances[-count:].sum() / variances.sum()
    return {"origin": origin, "axes": axes[:, -count:].contiguous(), "axes_share": share}


def project(x: Tensor, state: dict[str, Tensor]) -> Tensor:
    """Coordinates (n, p) on the principal axes; without axes the rows themselves."""
    return (x.to(working_dtype(x)) - state["origin"]) @ state["axes"] if "axes" in state else x


def fit_centres(
    x: Tensor, clusters: Sequence[Tensor], distance: str, ridge: float, memory: int, name: str
) -> dict[str, Tensor]:
    """Centres (K, D) and, for the Mahalanobis distance, whitenings (K, D, D) of covariances with divisor n_k."""
    sizes = torch.tensor([len(rows) for rows in clusters], dtype=working_dtype(x), device=x.device)
    if distance != "mahalanobis":
        return {"centres": torch.stack([class_mean(x, rows, memory) for rows in clusters]), "sizes": sizes}
    fitted = []
    for k, rows in enumerate(clusters):
        mean, scatter = mean_and_scatter(blocks(x, rows, memory), name)
        fitted.append((mean, *whitening(scatter / len(rows), ridge, name, f"cluster {k}")))
    centres, whiten, added = (torch.stack(parts) for parts in zip(*fitted, strict=True))
    return {"centres": centres, "sizes": sizes, "whiten": whiten, "added": added}


def distances(x: Tensor, state: dict[str, Tensor], distance: str) -> Tensor:
    """Distances (n, K): Euclidean, cosine (1 - cos), or the squared Mahalanobis distance of each cluster."""
    centres = state["centres"]
    if distance == "euclidean":
        return _euclidean(x, centres)
    if distance == "cosine":
        return _cosine(x, centres)
    return whitened_squares(x, centres, state["whiten"])


def _euclidean(a: Tensor, b: Tensor) -> Tensor:
    """||a_i - b_j|| (n, C) from the differences: |a|^2 - 2 a.b + |b|^2 loses near neighbours to cancellation."""
    return torch.cdist(a, b, compute_mode="donot_use_mm_for_euclid_dist")


def _cosine(a: Tensor, b: Tensor) -> Tensor:
    """1 - cos(a_i, b_j) (n, C), as half the squared distance of the unit vectors: small angles keep their digits."""
    (unit_a, zero_a), (unit_b, zero_b) = _direction(a), _direction(b)
    # With one zero vector the half square is 1/2, with two it is 0; each adds 1/2 to give 1.
    return _euclidean(unit_a, unit_b) ** 2 / 2 + (zero_a[:, None] + zero_b[None, :]) / 2


def _direction(x: Tensor) -> tuple[Tensor, Tensor]:
    length = torch.linalg.vector_norm(x, dim=1)
    zero = length == 0
    return x / length.masked_fill(zero, 1.0)[:, None], zero.to(x.dtype)
