"""How many rows each threshold accepts, from two sorted arrays, in blocks that fit the processor's cache.

Scores that are equal form a group, which no threshold can part; every count stands at the end of a group.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

BLOCK = 1 << 15
"""Rows of either kind between two limits of a block; from 8,000 to 65,000 it matters by a tenth."""


class Sorted(NamedTuple):
    """Scores of ID (N,) and OOD (M,) rows, each ascending."""

    id: NDArray[Any]
    ood: NDArray[Any]


class Groups(NamedTuple):
    """Consecutive groups of equal scores, ascending: rows in each group, and rows in it or below it; int64 (K,)."""

    id: NDArray[np.int64]
    ood: NDArray[np.int64]
    id_up_to: NDArray[np.int64]
    ood_up_to: NDArray[np.int64]


def groups(rows: Sorted) -> Iterator[Groups]:
    """All groups, in blocks. A block never ends within a group, so that a constant score is one block."""
    limits = np.unique(np.concatenate([rows.id[::BLOCK], rows.ood[::BLOCK]]))
    of_id, of_ood = (np.append(np.searchsorted(part, limits), len(part)).tolist() for part in rows)
    for id_from, id_to, ood_from, ood_to in zip(of_id, of_id[1:], of_ood, of_ood[1:], strict=False):
        both = np.concatenate([rows.id[id_from:id_to], rows.ood[ood_from:ood_to]])
        order = np.argsort(both, kind="stable")  # numpy finds two ascending runs and merges them in one pass
        scores, is_id = both[order], order < id_to - id_from
        last = np.append(np.flatnonzero(scores[1:] != scores[:-1]), len(scores) - 1)  # where each group ends
        id_up_to = np.cumsum(is_id)[last]
        ood_up_to = last + 1 - id_up_to
        yield Groups(
            np.diff(id_up_to, prepend=0), np.diff(ood_up_to, prepend=0), id_up_to + id_from, ood_up_to + ood_from
        )


def fewest(count: int, share: float) -> int:
    """The smallest k, at least 1, with k / count >= share.

    Counts are divided before they are compared: share * count can round past a whole number.
    """
    k = max(1, round(share * count))
    while k > 1 and (k - 1) / count >= share:
        k -= 1
    while k / count < share:
        k += 1
    return k
