"""Candidates for the nearest rows from bfloat16 products, where a processor multiplies them faster than float32.

The bank is read in strides, so that its first block is a sample of all of it. The sample sets a bar for each query such
that a few times as many rows as are wanted lie under it. Those are kept while the blocks pass; no row at or above the
bar is looked at again. A bound on what bfloat16 does to a value then tells how near such a row can be.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from .. import precision

COLUMNS = 4096  # rows of the bank in a block
QUERIES = 512  # that meet a block at once: their products stay in a shared cache
KEEP = 5  # times as many candidates as rows wanted: room for the bound, and for chance in the sample
FEWEST = 64  # candidates for any k
ROOM, FULL = 2, 1.75  # times as many have room in a table, and make it look again at what it keeps
LEAST = 8  # candidates in the sample: fewer tell too little of the others
GROUP = 8  # columns that share one minimum in the search for values under the bar
LONGEST = 1e15  # query, in radii of the bank
MEMORY = 2**27  # bytes for blocks, products and candidates


def pays(x: Tensor, bank_rows: int, k: int, memory: int) -> bool:
    """Whether there is enough to multiply, room for it, and a processor with instructions for it."""
    enough = len(x) >= 2 * QUERIES and x.shape[1] >= 64 and bank_rows >= max(4 * COLUMNS, 16 * KEEP * k)
    return enough and memory >= MEMORY and x.device.type == "cpu" and fast()


def at_once(columns: int, k: int, memory: int) -> int:
    """Queries whose tables take half of `memory`: 28 bytes a place while they are read, 32 a number of the query."""
    return max(1, memory // 2 // (28 * ROOM * _wanted(k) + 32 * columns))


def fast() -> bool:
    """Whether oneDNN has fast bfloat16 instructions to use: it sums in float32 and rounds the sum once."""
    return bool(torch.backends.mkldnn.enabled) and precision.fast_bfloat16()


def _wanted(k: int) -> int:
    return max(KEEP * k, FEWEST)


@dataclass
class Candidates:
    """Rows of the bank that may be the nearest of each of n queries.

    Attributes:
        index: (n, W), where they lie.
        floors: (n, W), what their squared distances cannot be under; infinite where none is, or none any more.
        last: (n,), the same for all rows that never were candidates.
    """

    index: Tensor
    floors: Tensor
    last: Tensor

    def take(self, count: int, rows: Tensor) -> tuple[Tensor, Tensor]:
        """The candidates of some queries with the lowest floors (n, count), no more to be taken, and which are none."""
        floors, places = self.floors[rows].topk(min(count, self.floors.shape[1]), dim=1, largest=False, sorted=False)
        self.floors[rows[:, None], places] = torch.inf
        return self.index[rows].gather(1, places).long(), floors.isinf()

    def floor(self, rows: Tensor) -> Tensor:
        """What no row of the bank that was not taken is under, for some queries."""
        return torch.minimum(self.floors[rows].amin(dim=1), self.last[rows])


def candidates(query: Tensor, norms: Tensor, rows: Callable[[slice], Tensor], k: int, memory: int) -> Candidates:
    """Rows of the bank that may be the k nearest of each query, a few times as many as k.

    Args:
        query: (n, D), float64, from the bank's centre and in units of its radius.
        norms: (N,), squared lengths of the bank's rows in the same units.
        rows: of the bank in float32 and the same units, to within 4 units of rounding.
        k: neighbours that are wanted.
        memory: bytes to use.
    """
    n, columns = query.shape
    doubled = -2 * query.bfloat16()  # exact
    stride = -(-len(norms) // min(COLUMNS, memory // (64 * columns)))
    tables = [_Table(len(part), _wanted(k), len(norms), query.device) for part in doubled.split(QUERIES)]
    lost, room = 0.0, torch.empty(QUERIES * COLUMNS, device=query.device)  # fresh memory each time is slower
    for start in range(stride):
        exact = rows(slice(start, None, stride))
        block = exact.bfloat16()
        lost = max(lost, float(torch.linalg.vector_norm(exact.sub_(block), dim=1).amax()))
        fill = -len(block) % GROUP
        block = torch.nn.functional.pad(block, (0, 0, 0, fill))
        lengths = torch.nn.functional.pad(norms[start::stride].float(), (0, fill), value=torch.inf)
        for part, table in zip(doubled.split(QUERIES), tables, strict=True):
            product = torch.mm(part, block.T)
            table.add(room[: product.numel()].view_as(product).copy_(product).add_(lengths), start, stride)
    floors = query.new_empty(n, tables[0].values.shape[1] + 1)
    for part, given, table in zip(floors.split(QUERIES), query.split(QUERIES), tables, strict=True):
        part[:] = _floors(given, torch.cat([table.values, table.bar[:, None]], dim=1), lost)
    return Candidates(torch.cat([table.index for table in tables]), floors[:, :-1], floors[:, -1])


def _floors(query: Tensor, values: Tensor, lost: float) -> Tensor:
    """What the squared distance of a row is not under whose ||t||^2 - 2 x.t came out as (n, W) or above.

    With x' for x in bfloat16, Cauchy and Schwarz bound the error of x'.t' by ||x - x'|| ||t'|| + ||x|| ||t - t'||: what
    rounding took from a row is measured, ||t - t'|| <= `lost`, and ||t|| <= 1 by the units. Sums of D terms in float32
    add gamma ||x'|| ||t'||, gamma twice the usual bound, as instructions may round products too, and flush what
    underflows; the sum p is then rounded to within u |p|, u = 2^-8. With w = ||t||^2 - 2 p >= v either p >= 0 and
    2 p <= 1 - w, or 2 |p| <= w: w is above the truth by u max(1 - w, w) at most, and w less that grows with w.
    """
    columns, unit = query.shape[1], torch.finfo(torch.float32).eps / 2
    gamma = 2 * columns * unit / (1 - 2 * columns * unit)
    length = torch.linalg.vector_norm(query, dim=1, keepdim=True)
    away = torch.linalg.vector_norm(query - query.bfloat16(), dim=1, keepdim=True)
    away, lost = 1.01 * away, 1.01 * lost + 4 * unit
    product = away * (1 + lost) + length * lost + gamma * (length + away) * (1 + lost)
    error = 2 * product + (4 * unit + 8 * columns * torch.finfo(torch.float32).tiny) * (1 + length)
    v, u = values.to(query.dtype), 1.01 * torch.finfo(torch.bfloat16).eps / 2
    floors: Tensor = torch.minimum(v - u * (1 - v), v * (1 - u)) + (length.square() - 1.01 * error)
    # Beyond this a query would overflow, which the bound does not cover.
    return floors.masked_fill_(~(length < LONGEST), -torch.inf)


class _Table:
    """What lies under a bar of each of n queries while the blocks of a bank pass, in (n, W)."""

    def __init__(self, n: int, wanted: int, bank_rows: int, device: torch.device) -> None:
        self.wanted, self.bank_rows, self.seen = wanted, bank_rows, 0
        self.values = torch.full((n, ROOM * wanted), torch.inf, device=device)
        self.index = torch.zeros((n, ROOM * wanted), dtype=torch.int32, device=device)
        self.count = torch.zeros(n, dtype=torch.int64, device=device)
        self.bar = torch.full((n,), torch.inf, device=device)

    def add(self, values: Tensor, start: int, stride: int) -> None:
        """Take what is under the bar of values (n, columns), of the bank's rows start, start + stride, ..."""
        columns = values.shape[1]
        self.seen += columns
        # Column j belongs to group j mod groups, so that minima are taken over whole rows of memory.
        groups = columns // GROUP
        minima = values.unflatten(1, (GROUP, groups)).amin(dim=1)
        if self.seen == columns:
            self.bar = minima.topk(min(self._share(), groups), dim=1, largest=False, sorted=False).values.amax(dim=1)
        row, group = (minima < self.bar[:, None]).nonzero(as_tuple=True)
        members = group[:, None] + torch.arange(0, columns, groups, device=values.device)
        found = values.take(members + columns * row[:, None])
        hit, member = (found < self.bar[row, None]).nonzero(as_tuple=True)
        row, place = row[hit], members[hit, member]
        new = torch.bincount(row, minlength=len(self.count))
        over = self.count + new > self.values.shape[1]
        if bool(over.any()):  # far more than the sample promised, as where the bank is in some order
            fits = ~over[row]
            row, place, new = row[fits], place[fits], new.where(~over, 0)
            index = (start + stride * torch.arange(columns, device=values.device)).expand(int(over.sum()), -1)
            self._keep_best(
                torch.nonzero(over).flatten(),
                torch.cat([self.values[over], values[over]], dim=1),
                torch.cat([self.index[over], index.int()], dim=1),
            )
        # Rows ascend: a value's place in its row is its place among all, less where its row begins.
        at = (self.count + new - new.cumsum(dim=0))[row] + torch.arange(len(row), device=row.device)
        self.values[row, at], self.index[row, at] = values[row, place], (start + stride * place).int()
        self.count += new
        if int(self.count.max()) > FULL * self.wanted:
            self._keep_best(torch.arange(len(self.count), device=row.device), self.values, self.index)

    def _keep_best(self, rows: Tensor, values: Tensor, index: Tensor) -> None:
        """Lower some rows' bars to what the bank as far as seen says of all of it."""
        best, places = values.topk(self._share(), dim=1, largest=False)
        kept = index.gather(1, places)
        self.values[rows] = torch.inf
        self.values[rows, : best.shape[1]], self.index[rows, : best.shape[1]] = best, kept
        self.count[rows] = best.isfinite().sum(dim=1)
        self.bar[rows] = torch.minimum(self.bar[rows], best[:, -1])

    def _share(self) -> int:
        """How many of the rows seen are to lie under the bar."""
        return max(LEAST, math.ceil(self.wanted * self.seen / self.bank_rows))
