"""Global separation: distances between all members of all classes, in blocks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from .. import checks
from ..order_statistics import by_rank
from ..outputs import unit
from ..precision import widened, working_dtype
from .partitions import METRICS, labelled

_BLOCK = 2**23  # numbers of float64 in one block: 64 MB, of which three live at once


def global_separation(features: Any, labels: Any, share: float = 1.0, metric: str = "cosine") -> Tensor:
    """How much farther the nearest other class is than the own one, for each class.

    GS(c) = (min_{c' != c} P(c, c') - P(c, c)) / max(min_{c' != c} P(c, c'), P(c, c)),
    P(c, c') = mean of the `share` smallest of the n_c n_c' distances between members of c and of c'

    0: as far; 0.5: twice as far. P(c, c) counts the n_c distances of members to themselves, as published, which makes
    it smaller by (n_c - 1) / n_c at share 1. Values of different metrics cannot be compared.

    Args:
        features: (N, D). labels: classes or clusters, integers (N,) in 0..C-1, each at least once, C >= 2.
        share: of the distances, a fraction in (0, 1]; rounded down to a whole number of them, at least one.
        metric: "euclidean", or "cosine" for 1 - cos; the cosine with a zero vector counts as 0.
    Returns:
        tensor (C,) in [-1, 1], float64 where the device has it; larger is better separated. 0 where both means of
        distances are 0.
    Source: Bojchevski, Matkovic and Guennemann 2017 (KDD) and its code.
    Example:
        >>> import torch
        >>> from ood_core import geometry
        >>> features = torch.tensor([[0.0, 0.0], [0.0, 1.0], [4.0, 0.0], [4.0, 1.0]])
        >>> geometry.global_separation(features, [0, 0, 1, 1], metric="euclidean")
        tensor([0.8769, 0.8769], dtype=torch.float64)
    """
    x, y, classes = labelled(features, labels)
    checks.choice("metric", metric, METRICS)
    share = checks.share("share", share)
    rows = list(torch.split(torch.argsort(y, stable=True), torch.bincount(y).tolist()))
    means = torch.zeros(classes, classes, dtype=working_dtype(x), device=x.device)
    for a in range(classes):
        for b in range(a, classes):
            means[a, b] = means[b, a] = _mean_distance(_Pair(x[rows[a]], x[rows[b]], a == b, metric), share)
    own = means.diagonal().clone()
    other = means.fill_diagonal_(torch.inf).amin(dim=1)
    larger = torch.maximum(own, other)
    return (other - own) / larger.masked_fill(larger == 0, 1.0)


class _Pair:
    """Distances between the members of two classes, block by block."""

    def __init__(self, a: Tensor, b: Tensor, same: bool, metric: str) -> None:
        a, b, self._same, self._metric = widened(a), widened(b), same, metric
        self._zeros = None
        if metric == "cosine":
            self._zeros = [(part == 0).all(dim=1).to(a.dtype) for part in (a, b)]
            a, b = unit(a), unit(b)
        # From the mean of one class, products of rows are as small as the distances, and cancel no digits.
        centre = a.mean(dim=0)
        self._a, self._b = a - centre, b - centre
        self.count, self.dtype, self.device = len(a) * len(b), a.dtype, a.device
        self.rows = max(1, _BLOCK // len(b))

    def blocks(self) -> Iterator[Tensor]:
        for start in range(0, len(self._a), self.rows):
            part = self._a[start : start + self.rows]
            squares = (part**2).sum(dim=1, keepdim=True) + (self._b**2).sum(dim=1) - 2 * part @ self._b.T
            distances = squares.clamp_(min=0)
            if self._zeros is None:
                distances = distances.sqrt_()
            else:
                # Half the square of unit vectors; with one zero vector 1/2, with two 0: each adds 1/2 to give 1.
                distances = distances / 2 + (self._zeros[0][start : start + self.rows, None] + self._zeros[1]) / 2
            if self._same:
                distances.diagonal(offset=start).zero_()
            yield distances


def _mean_distance(pair: _Pair, share: float) -> Tensor:
    """Mean of the smallest distances, without keeping more than a block of them."""
    kept = max(1, int(pair.count * share + 1e-9))
    total, below = torch.zeros((), dtype=pair.dtype, device=pair.device), 0
    if kept == pair.count:
        for block in pair.blocks():
            total += block.sum()
        return total / kept
    if pair.count <= _BLOCK:
        return torch.cat(list(pair.blocks())).flatten().topk(kept, largest=False).values.mean()
    limit = by_rank(pair.blocks, kept - 1, pair.dtype)
    for block in pair.blocks():
        smaller = block[block < limit]
        total, below = total + smaller.sum(), below + len(smaller)
    return (total + (kept - below) * limit) / kept
