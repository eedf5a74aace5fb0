"""Rows by class, in blocks of float64: what every scorer that learns from labels starts with."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import chain

import torch
from torch import Tensor

from .. import checks
from ..checks import InputError
from ..outputs import Outputs, unit
from ..precision import at_least_float32, working_dtype

PIECE = 2**21  # bytes of float64 that are read together: a product reads them several times, from the cache of a core
STRIP = 64  # columns of a symmetric product that are made at once, with those left of them: half of all is left out


class Made:
    """Rows (N, D) made from others (N, D) wherever they are read: no second copy of all of them."""

    def __init__(self, rows: Rows, make: Callable[[Tensor], Tensor], dtype: torch.dtype | None = None) -> None:
        self._rows, self._make = rows, make
        self.shape: torch.Size = rows.shape
        self.dtype: torch.dtype = dtype or rows.dtype
        self.device: torch.device = rows.device

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: slice | Tensor) -> Tensor:
        return self._make(at(self._rows, index))

    def split(self, step: int) -> Iterator[Tensor]:
        """Blocks of so many rows, in order."""
        return map(self._make, self._rows.split(step))


class Directions(Made):
    """Rows h / ||h|| of a layer."""

    def __init__(self, features: Tensor) -> None:
        super().__init__(features, direction, at_least_float32(features))


Rows = Tensor | Made


def direction(x: Tensor) -> Tensor:
    """Each row over its length, as `outputs.unit` makes it, refused where a length overflows: it would give zeros."""
    wide = at_least_float32(x)
    if x.numel() and float(x.abs().amax()) > (torch.finfo(wide).max / x.shape[1]) ** 0.5:
        raise InputError(
            f"features reach {float(x.abs().amax()):.3g}, expected lengths that fit into {wide}.\n"
            "Scale the features down, or pass them in float64."
        )
    return unit(x)


def class_rows(outputs: Outputs, name: str) -> list[Tensor]:
    """Indices of the rows of each class 0..C-1; C is the network's where logits or a head tell it.

    Raises:
        InputError: no labels, or a class without a row.
    """
    if outputs.labels is None:
        raise InputError(
            f"{name} learns from labels, which these outputs lack.\nPass labels, for example extract(..., labels=y)."
        )
    classes = None
    if outputs.logits is not None:
        classes = int(outputs.logits.shape[1])
    elif outputs.head is not None:
        classes = outputs.head.classes
    y = checks.labels("labels", outputs.labels, len(outputs), classes, every_class=True)
    return list(torch.split(torch.argsort(y, stable=True), torch.bincount(y).tolist()))


def class_mean(x: Rows, rows: Tensor | None, memory: int) -> Tensor:
    """Mean (D,) of x[rows] in float64, of all rows for None."""
    return mean_of(blocks(x, rows, memory))


def mean_of(pieces: Iterator[Tensor]) -> Tensor:
    """Mean (D,) of the rows of all pieces.

    The first row is taken off before summing: n equal rows have exactly their own value as mean, and a large common
    offset costs no digits.
    """
    piece = next(pieces)
    first, total, count = piece[0].clone(), torch.zeros_like(piece[0]), 0
    for block in chain([piece], pieces):
        total += (block - first).sum(dim=0)
        count += len(block)
    return first + total / count


def mean_and_scatter(pieces: Iterator[Tensor], name: str) -> tuple[Tensor, Tensor]:
    """Mean m (D,) and sum_i (x_i - m)(x_i - m)^T (D, D) over the rows of all pieces, which are read once.

    Rows are centred at the mean a of the first piece before they are squared, and n (m - a)(m - a)^T is taken off at
    the end. Of n rows, n_1 in the first piece, that is at most n / n_1 times what is left: digits are lost only where
    the first piece lies far from all others, and then no more than that ratio has.

    Raises:
        InputError: the scatter overflows; `name` is the scorer's.
    """
    piece = next(pieces)
    origin = mean_of(iter([piece]))
    total, sums, count = _centred_products(chain([piece], pieces), origin)
    shift = sums / count
    return origin + shift, _symmetric(total.addr_(shift, sums, alpha=-1), name)


def scatter_of(pieces: Iterator[Tensor], origin: Tensor, name: str) -> Tensor:
    """sum_i (x_i - origin)(x_i - origin)^T (D, D) over the rows of all pieces, for a point that is not their mean.

    Raises:
        InputError: it overflows; `name` is the scorer's.
    """
    return _symmetric(_centred_products(pieces, origin)[0], name)


def _centred_products(pieces: Iterable[Tensor], origin: Tensor) -> tuple[Tensor, Tensor, int]:
    """Lower blocks of sum_i (x_i - origin)(x_i - origin)^T (D, D), sum_i (x_i - origin) (D,), and the rows."""
    columns, count = len(origin), 0
    sums, total = torch.zeros_like(origin), origin.new_zeros(columns, columns)
    for block in pieces:
        centred = block - origin
        for start in range(0, columns, STRIP):
            stop = min(start + STRIP, columns)
            total[start:stop, :stop].addmm_(centred[:, start:stop].T, centred[:, :stop])
        sums += centred.sum(dim=0)
        count += len(block)
    return total, sums, count


def _symmetric(lower: Tensor, name: str) -> Tensor:
    """The matrix with this lower triangle, in place, refused where it overflows."""
    lower.tril_().add_(lower.tril(-1).T)
    if not bool(torch.isfinite(lower).all()):
        raise InputError(
            f"{name}'s covariance overflows, expected features whose squares fit into {lower.dtype}.\n"
            "Scale the layer down."
        )
    return lower


def blocks(x: Rows, rows: Tensor | None, memory: int) -> Iterator[Tensor]:
    """x[rows] in float64, all rows for None, in pieces of at most a quarter of `memory` bytes; not to be written to."""
    step = max(1, min(memory // 4, PIECE) // (8 * x.shape[1]))
    for part in x.split(step) if rows is None else (at(x, index) for index in rows.to(x.device).split(step)):
        yield part.to(working_dtype(x))


def at(x: Rows, index: slice | Tensor) -> Tensor:
    """x[index], copied as whole rows and not number by number."""
    return x.index_select(0, index) if isinstance(x, Tensor) and isinstance(index, Tensor) else x[index]


def collected(parts: Iterable[Tensor], rows: int) -> Tensor:
    """The parts, of so many rows together, as one tensor (`rows`, ...), none of them kept.

    Small results that are kept between large blocks that come and go leave holes that no next block fits into.
    """
    found, stop = torch.empty(0), 0
    for part in parts:
        found = found if stop else part.new_empty((rows, *part.shape[1:]))
        found[stop : stop + len(part)] = part
        stop += len(part)
    return found


def canonical_order(x: Rows) -> Tensor:
    """An order (N,) of the rows of x (N, D) that does not depend on the one they came in: along a random direction."""
    direction = torch.randn(x.shape[1], generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    keys = ((block.cpu().double() * direction).sum(dim=1) for block in x.split(4096))
    return torch.argsort(collected(keys, len(x)), stable=True)


def marks(x: Tensor, memory: int) -> Tensor:
    """A 64-bit hash (N,) of each row by its values, whatever the precision and the device that hold them.

    Of at most 64 columns, evenly spread: all 512 of a usual network took a third of the time of a Mahalanobis fit.
    """
    x = x[:, :: -(-x.shape[1] // 64)]
    factors = torch.randint(2**62, (x.shape[1],), generator=torch.Generator().manual_seed(0)) * 2 + 1
    factors, found = factors.to(x.device), torch.empty(len(x), dtype=torch.int64, device=x.device)
    step = max(1, min(memory // 4, PIECE) // (8 * x.shape[1]))
    for block, into in zip(x.split(step), found.split(step), strict=True):
        wide = block.to(working_dtype(x)) + 0.0  # -0.0 is 0.0
        bits = wide.view(torch.int64 if wide.dtype == torch.float64 else torch.int32)
        # The upper half is turned into the lower: products of numbers with zeros at the end hold nothing there.
        mixed = (bits ^ (bits >> 29)) * factors
        into.copy_((mixed ^ (mixed >> 32)).mul_(factors).sum(dim=1))
    return found


def rounding(x: Tensor) -> float:
    """Of the coarsest precision that holds the first values of x: outputs of half precision are kept in a wider one."""
    some = x[:100]
    kinds = (x.dtype, torch.float16, torch.bfloat16)
    return max(torch.finfo(kind).eps for kind in kinds if torch.equal(some.to(kind).to(x.dtype), some))
