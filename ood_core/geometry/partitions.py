"""Purity, silhouette and mutual information of classes and clusters."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from .. import checks
from ..checks import InputError

METRICS = ("euclidean", "cosine")
_BLOCK = 2**23  # numbers of float64 in one block: 64 MB
_MEGABYTES = 128  # that scikit-learn may use for distances


def local_purity(features: Any, labels: Any, neighbours: int = 10, metric: str = "euclidean") -> float:
    """Share of the most frequent label among a sample and its nearest neighbours, averaged over samples.

    mean_i max_c #{j in {i} + n nearest of i : y_j = c} / (n + 1)

    Args:
        features: (N, D). labels: integers (N,) in 0..C-1, each at least once, C >= 2.
        neighbours: n, 0 to N - 1, the sample itself not counted. Neighbours at equal distance are taken in any order.
        metric: "euclidean" or "cosine".
    Returns:
        a fraction in [1/C, 1], 1 for n = 0; larger is purer.
    Source: Bojchevski, Matkovic and Guennemann 2017 (KDD), by scikit-learn's exact neighbours.
    Example:
        >>> import torch
        >>> from ood_core import geometry
        >>> features = torch.tensor([[0.0, 0.0], [0.0, 1.0], [4.0, 0.0], [4.0, 1.0]])
        >>> [geometry.local_purity(features, labels, neighbours=1) for labels in ([0, 0, 1, 1], [0, 1, 0, 1])]
        [1.0, 0.5]
    """
    from sklearn import config_context
    from sklearn.neighbors import NearestNeighbors

    x, y, classes = labelled(features, labels)
    neighbours = checks.whole("neighbours", neighbours, 0, "Pass how many, without the sample itself.")
    if neighbours >= len(x):
        raise InputError(
            f"neighbours is {neighbours!r}, expected 0 to {len(x) - 1}.\nThe sample itself is not counted."
        )
    if neighbours == 0:
        return 1.0
    rows = _comparable(x, metric)
    with config_context(working_memory=_MEGABYTES):
        nearest = NearestNeighbors(n_neighbors=int(neighbours), algorithm="brute", metric=metric).fit(rows)
        found = torch.from_numpy(nearest.kneighbors(return_distance=False))  # (N, n), without the sample itself
    y = y.cpu()
    total = 0.0
    for own, others in zip(*(part.split(max(1, _BLOCK // (classes + neighbours))) for part in (y, found)), strict=True):
        members = torch.cat([own[:, None], y[others]], dim=1)
        counts = torch.zeros(len(own), classes, dtype=torch.float64)
        counts.scatter_add_(1, members, torch.ones(members.shape, dtype=torch.float64))
        total += float(counts.amax(dim=1).sum()) / (neighbours + 1)
    return total / len(x)


def silhouette(features: Any, labels: Any, metric: str = "euclidean") -> float:
    """Mean over samples of (b - a) / max(a, b): a to the own class, b to the nearest other one, in mean distances.

    a leaves the sample itself out; a class of one sample counts 0.

    Args:
        features: (N, D). labels: classes or clusters, integers (N,) in 0..C-1, each at least once, 2 <= C < N.
        metric: "euclidean", or "cosine" for 1 - cos.
    Returns:
        a number in [-1, 1]; larger is better separated.
    Source: Rousseeuw 1987, by scikit-learn.
    Example:
        >>> import torch
        >>> from ood_core import geometry
        >>> features = torch.tensor([[0.0, 0.0], [0.0, 1.0], [4.0, 0.0], [4.0, 1.0]])
        >>> round(geometry.silhouette(features, [0, 0, 1, 1]), 4)
        0.7538
    """
    from sklearn import config_context
    from sklearn.metrics import silhouette_score

    x, y, classes = labelled(features, labels)
    if classes >= len(x):
        raise InputError(
            f"labels hold {classes} classes for {len(x)} samples, expected fewer: some class needs two.\nPass more."
        )
    rows = _comparable(x, metric)
    with config_context(working_memory=_MEGABYTES):
        return float(silhouette_score(rows, y.cpu().numpy(), metric=metric))


def cluster_purity(labels: Any, clusters: Any) -> dict[str, float]:
    """Share of the most frequent label in each cluster.

    Purity rises with the number of clusters by construction: compare at equal numbers.

    Args:
        labels: true classes, integers (N,). clusters: of the same samples, integers (N,), e.g. of k-means; numbers
            without a member are left out.
    Returns:
        dict of fractions: mean, over clusters; weighted, by size, which is the share of samples in the majority.
    Source: Sinhamahapatra et al. 2022, arXiv 2203.08549, whose code gives the mean.
    Example:
        >>> from ood_core import geometry
        >>> found = geometry.cluster_purity(labels=[0, 0, 1, 1], clusters=[0, 0, 0, 1])
        >>> round(found["mean"], 4), found["weighted"]
        (0.8333, 0.75)
    """
    y, k = _two_partitions(labels, clusters)
    table = torch.zeros(int(k.max()) + 1, int(y.max()) + 1, dtype=torch.float64)
    table.index_put_((k, y), torch.ones(len(y), dtype=torch.float64), accumulate=True)
    table = table[table.sum(dim=1) > 0]
    largest, sizes = table.amax(dim=1), table.sum(dim=1)
    return {"mean": float((largest / sizes).mean()), "weighted": float(largest.sum() / sizes.sum())}


def nmi(labels: Any, clusters: Any) -> float:
    """Normalised mutual information of two partitions, I(y; k) / ((H(y) + H(k)) / 2).

    Args:
        labels, clusters: integers (N,) each, of the same samples.
    Returns:
        a fraction: 1 for the same partition under other names, near 0 for unrelated ones; 1 where both have one part.
    Source: Strehl and Ghosh 2002, with the arithmetic mean, by scikit-learn.
    Example:
        >>> from ood_core import geometry
        >>> geometry.nmi([0, 0, 1, 1], [7, 7, 3, 3]), geometry.nmi([0, 0, 1, 1], [0, 1, 0, 1])
        (1.0, 0.0)
    """
    from sklearn.metrics import normalized_mutual_info_score

    y, k = _two_partitions(labels, clusters)
    return float(normalized_mutual_info_score(y.numpy(), k.numpy()))


def labelled(features: Any, labels: Any) -> tuple[Tensor, Tensor, int]:
    """Features, labels on their device and the number of classes, at least two."""
    x = checks.matrix("features", features)
    y = checks.labels("labels", labels, x.shape[0], every_class=True).to(x.device)
    classes = int(y.max()) + 1
    if classes < 2:
        raise InputError("labels hold 1 class, expected at least 2: there is nothing to compare with.\nPass more.")
    return x, y, classes


def _comparable(x: Tensor, metric: str) -> np.ndarray[Any, Any]:
    """Rows for scikit-learn: in float64, and centred where that changes no distance but saves digits."""
    checks.choice("metric", metric, METRICS)
    rows = x.cpu().double()
    if metric == "euclidean":
        rows = rows - rows.mean(dim=0)
    return rows.numpy()


def _two_partitions(labels: Any, clusters: Any) -> tuple[Tensor, Tensor]:
    y = checks.tensor("labels", labels)
    y = checks.labels("labels", y, y.shape[0] if y.ndim else 0).cpu()
    return y, checks.labels("clusters", clusters, len(y)).cpu()
