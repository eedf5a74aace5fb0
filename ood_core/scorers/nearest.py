"""Exact nearest neighbours: candidates from matrix products, distances from differences, and a proof a row.

||x - t||^2 = ||x||^2 + ||t||^2 - 2 x.t is one product but loses near neighbours to cancellation. So the product, first
in float32, only names a few more candidates than asked for; their distances are computed again from the differences in
float64. An a-priori bound on the product's rounding then shows, row by row, that no other row of the bank can be
nearer. Rows without that proof go through a float64 product, and those still without it to the plain computation.
Large searches begin with bfloat16 products and more candidates, where the processor is quick at them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from ..checks import InputError
from ..outputs import NORM_EPS
from ..precision import at_least_float32, working_dtype
from . import coarse
from .rows import at, collected

AS_GIVEN = ("bank", "lengths")  # what `prepare` leaves in the rows' own precision
SPARE = 14  # candidates above k: room between the k-th distance and the best row that was not a candidate
GROUP = 16  # columns that share one minimum in the search for the smallest
TRIAL = 256  # rows that tell whether bfloat16 has digits enough for a bank
TOGETHER = 64  # rows that have as many more candidates measured as one of them needs
CACHE_NUMBERS = 2**17  # that a processor's cache holds: differences are read again as soon as they are made
RANGE = {torch.float32: (1e-15, 1e15), torch.float64: (1e-120, 1e120)}  # radii whose squares are safe in products


def prepare(bank: Tensor, memory: int, divide: bool = False) -> dict[str, Tensor]:
    """What `nearest` wants to know of a bank (N, D): the rows as given, a centre (D,), squared lengths from it (N,).

    With `divide` the rows that count are bank / ||bank||, made anew wherever they are read: a bank may be as large as
    what a machine holds once. Their lengths are kept, so that a row is the same number for number each time.
    """
    state = {"bank": bank, **({"lengths": lengths(bank, memory)} if divide else {})}
    first = rows_of(state, slice(0, 1)).to(working_dtype(bank))[0]
    total = torch.zeros_like(first)
    for block in _blocks(state, memory):
        total += (block - first).sum(dim=0)
    # float32 holds the centre exactly, so that every stage subtracts the same point; any point would do.
    centre = (first + total / len(bank)).float().nan_to_num(posinf=0.0, neginf=0.0).to(first.dtype)
    norms = collected(((block - centre).square().sum(dim=1) for block in _blocks(state, memory)), len(bank))
    return {**state, "centre": centre, "norms": norms}


def lengths(bank: Tensor, memory: int) -> Tensor:
    """Lengths (N, 1) that `outputs.unit` divides by, in the type that it divides in."""
    kind = at_least_float32(bank)
    parts = bank.split(max(1, memory // (16 * bank.shape[1])))
    norms = collected((torch.linalg.vector_norm(part.to(kind), dim=1, keepdim=True) for part in parts), len(bank))
    if not bool(torch.isfinite(norms).all()):
        raise InputError(
            f"training rows have lengths that overflow {kind}, expected rows whose squares fit.\n"
            "Scale the features down, or pass them in float64."
        )
    return norms.clamp_(min=NORM_EPS)


def rows_of(state: dict[str, Tensor], index: slice | Tensor) -> Tensor:
    """Rows of a prepared bank, divided by their lengths where `prepare` was told to: then in float32 at least."""
    rows = at(state["bank"], index)
    if "lengths" not in state:
        return rows
    divisor = at(state["lengths"], index)
    return rows.to(divisor.dtype) / divisor


def _blocks(state: dict[str, Tensor], memory: int) -> Iterator[Tensor]:
    """All rows of a prepared bank in float64, in pieces that leave room within `memory` bytes for two more."""
    bank = state["bank"]
    step = max(1, memory // (32 * bank.shape[1]))
    for start in range(0, len(bank), step):
        yield rows_of(state, slice(start, start + step)).to(working_dtype(bank))


def nearest(x: Tensor, state: dict[str, Tensor], k: int, memory: int) -> tuple[Tensor, Tensor]:
    """The k smallest Euclidean distances of each row, ascending, and whose they are: (n, k) and (n, k) int64.

    Args:
        x: (n, D), float64.
        state: of `prepare`.
        k: at most the rows of the bank.
        memory: bytes to use; about half of them for products, a quarter for differences.
    """
    bank = state["bank"]
    known = _Known(x, k, float(state["norms"].max().sqrt()))
    stages = _stages(x, known.radius) if k + SPARE < len(bank) else []
    if torch.float32 in stages and coarse.pays(x, len(bank), k, memory):
        _settle_coarsely(known, x, state, memory)
    for dtype in stages:
        left = known.left()
        if len(left):
            rows = x[left]
            found, floor = _candidates(rows, state, k + SPARE, known.radius, dtype, memory)
            known.settle(left, _differences(rows, state, found, memory), found, floor)
    left = known.left()
    for part in left.split(rows_at_once(len(bank), x.shape[1], memory)) if len(left) else ():
        known.distances[part], known.index[part] = _plain(x[part], state, k, memory)
    return known.distances, known.index


class _Known:
    """The k nearest of each row of x among what was measured, and for which rows they are proven to be the nearest."""

    def __init__(self, x: Tensor, k: int, radius: float) -> None:
        self.k, self.radius = k, radius
        self.rounding = 1 + 2 * (x.shape[1] + 8) * torch.finfo(x.dtype).eps
        self.distances = x.new_full((len(x), k), torch.inf)
        self.index = torch.zeros(len(x), k, dtype=torch.int64, device=x.device)
        self.proven = torch.zeros(len(x), dtype=torch.bool, device=x.device)

    def settle(self, rows: Tensor, near: Tensor, found: Tensor, floor: Tensor) -> Tensor:
        """Add distances `near` to `found`, with a floor under all other squared distances in units of the radius.

        Returns the squared k-th distances in these units, from above.
        """
        near, order = torch.cat([self.distances[rows], near], dim=1).sort(dim=1)
        found = torch.cat([self.index[rows], found], dim=1).gather(1, order)
        self.distances[rows], self.index[rows] = near[:, : self.k], found[:, : self.k]
        reach: Tensor = (near[:, self.k - 1] / self.radius).square() * self.rounding
        self.proven[rows] = reach <= floor
        return reach

    def left(self) -> Tensor:
        """Rows without a proof, for which what was measured is forgotten."""
        rows = torch.nonzero(~self.proven).flatten()
        self.distances[rows] = torch.inf
        return rows


def rows_at_once(bank_rows: int, columns: int, memory: int) -> int:
    """Queries for which a block of the bank, its products and the differences fit into `memory` bytes."""
    return max(1, memory // (8 * numbers_per_query(bank_rows, columns)))


def numbers_per_query(bank_rows: int, columns: int) -> int:
    """Numbers that a query takes: large products are quick, so that a block of queries should meet 8192 rows."""
    return 6 * columns + 2 * min(bank_rows, 2048)


def _stages(x: Tensor, radius: float) -> list[torch.dtype]:
    """Types of product that the bound holds for."""
    ieee = torch.get_float32_matmul_precision() == "highest"  # else products may run in TF32 or bfloat16
    types = [torch.float32] * ieee + [torch.float64] * (x.dtype == torch.float64)
    return [dtype for dtype in types if RANGE[dtype][0] < radius < RANGE[dtype][1]]


def _settle_coarsely(known: _Known, x: Tensor, state: dict[str, Tensor], memory: int) -> None:
    """Settle rows by bfloat16 candidates: the first few, and the others where that settled most of those."""
    centre, norms = state["centre"], state["norms"] / known.radius**2
    wide = at_least_float32(state["bank"])

    def block(part: slice) -> Tensor:
        return (rows_of(state, part).to(wide) - centre.to(wide)).div_(known.radius).float()

    everyone = torch.arange(len(x), device=x.device)
    pieces = -(-(len(x) - TRIAL) // coarse.at_once(x.shape[1], known.k, memory))
    for rows in (everyone[:TRIAL], *everyone[TRIAL:].tensor_split(pieces)):
        query = (x[rows] - centre) / known.radius
        _settle_from(coarse.candidates(query, norms, block, known.k, memory), known, rows, x[rows], state, memory)
        if int(known.proven[rows].sum()) < len(rows) / 2:
            return


def _settle_from(
    candidates: coarse.Candidates, known: _Known, rows: Tensor, x: Tensor, state: dict[str, Tensor], memory: int
) -> None:
    """Settle the rows x = x[rows] from as few of their candidates as prove them."""

    def measure(at: Tensor, count: int) -> Tensor:
        found, none = candidates.take(count, at)
        near = _differences(x[at], state, found, memory).masked_fill_(none, torch.inf)
        return known.settle(rows[at], near, found, candidates.floor(at))

    reach = measure(torch.arange(len(x), device=x.device), known.k + SPARE)
    # What is now known of the k-th distance tells how many more a proof takes, and where there is none.
    more = (candidates.floors < reach[:, None]).sum(dim=1)
    at = torch.nonzero((more > 0) & (reach <= candidates.last)).flatten()
    for part in at[more[at].argsort()].split(TOGETHER) if len(at) else ():
        measure(part, int(more[part].max()))


def _candidates(
    x: Tensor, state: dict[str, Tensor], count: int, radius: float, dtype: torch.dtype, memory: int
) -> tuple[Tensor, Tensor]:
    """Indices (n, count) of the rows nearest by a product, and a floor (n,) under the squared distance of all others.

    Lengths are in units of the bank's radius R, and with u the unit roundoff of the product's type, gamma its usual
    bound D u / (1 - D u), the product's ||t||^2 - 2 x.t is off by less than 2 (gamma + 6 u) ||x|| + 3 u.
    """
    bank, norms, centre = state["bank"], state["norms"] / radius**2, state["centre"]
    query = (x - centre) / radius
    length = torch.linalg.vector_norm(query, dim=1)
    query = query.to(dtype)
    wide = torch.promote_types(bank.dtype, dtype)
    columns = x.shape[1]

    def products(start: int, stop: int) -> Tensor:
        rows = (rows_of(state, slice(start, stop)).to(wide) - centre.to(wide)).div_(radius).to(dtype)
        return torch.addmm(norms[start:stop].to(dtype), query, rows.T, alpha=-2)

    per_row = torch.finfo(dtype).bits // 8
    step = max(1, (memory // 2 - per_row * 2 * len(x) * columns) // (per_row * 2 * len(x) + 16 * columns))
    values, index = smallest_of(len(bank), step, count, products)
    unit = torch.finfo(dtype).eps / 2
    gamma = columns * unit / (1 - columns * unit)
    error = 2 * (gamma + 6 * unit) * length + 3 * unit + 8 * columns * torch.finfo(dtype).tiny
    floor = length.square() + values[:, -1] - 1.01 * error
    # Beyond this a float32 query would overflow, which the bound does not cover.
    return index, floor.masked_fill(~(length < RANGE[dtype][1]), -torch.inf)


def _differences(x: Tensor, state: dict[str, Tensor], index: Tensor, memory: int) -> Tensor:
    """||x_i - t_j|| (n, count) for the bank's rows j = index_i, from the differences."""
    count, columns = index.shape[1], x.shape[1]
    rows = max(1, min(memory // 32, CACHE_NUMBERS) // (count * columns))
    parts = []
    for queries, chosen in zip(x.split(rows), index.split(rows), strict=True):
        difference = rows_of(state, chosen.flatten()).to(x.dtype).view(-1, count, columns)
        difference -= queries[:, None]
        parts.append(torch.linalg.vector_norm(difference, dim=2))
    return torch.cat(parts)


def _plain(x: Tensor, state: dict[str, Tensor], k: int, memory: int) -> tuple[Tensor, Tensor]:
    """The k nearest from all differences: the definition, and what the fast path is tested against."""

    def distances(start: int, stop: int) -> Tensor:
        return torch.cdist(
            x, rows_of(state, slice(start, stop)).to(x.dtype), compute_mode="donot_use_mm_for_euclid_dist"
        )

    return smallest_of(len(state["bank"]), max(1, memory // (16 * (len(x) + x.shape[1]))), k, distances)


def smallest_of(rows: int, step: int, k: int, values: Callable[[int, int], Tensor]) -> tuple[Tensor, Tensor]:
    """The k smallest of values (n, rows) and their columns, ascending, seeing `step` columns at a time."""
    best, index = _smallest(values(0, min(step, rows)), k)
    for start in range(step, rows, step):
        worst = best.amax(dim=1, keepdim=True) if best.shape[1] == k else None
        new, at = _smallest(values(start, min(start + step, rows)), k, worst)
        both, places = torch.cat([best, new], dim=1), torch.cat([index, at + start], dim=1)
        best, chosen = both.topk(min(k, both.shape[1]), dim=1, largest=False, sorted=False)
        index = places.gather(1, chosen)
    best, order = best.sort(dim=1)
    return best, index.gather(1, order)


def _smallest(values: Tensor, k: int, worst: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """The k smallest of each row and their columns, in no order; with `worst` (n, 1), at least those below it.

    They lie in the k groups of columns with the smallest minima, or in the fewer groups with a minimum below `worst`:
    one pass for the minima and two short searches take the place of a search through all columns.
    """
    n, columns = values.shape
    groups = columns // GROUP
    if groups <= 2 * k:
        return values.topk(min(k, columns), dim=1, largest=False, sorted=False)
    # Column j belongs to group j mod groups, so that minima are taken over whole rows of memory.
    minima = values[:, : groups * GROUP].unflatten(1, (GROUP, groups)).amin(dim=1)
    count = k if worst is None else min(k, int((minima < worst).sum(dim=1).max()))
    chosen = minima.topk(count, dim=1, largest=False, sorted=False).indices  # (n, count)
    offsets = torch.arange(GROUP, device=values.device) * groups
    members = (chosen[:, None, :] + offsets[:, None]).flatten(1)  # (n, GROUP count)
    tail = torch.arange(groups * GROUP, columns, device=values.device).expand(n, -1)
    members = torch.cat([members, tail], dim=1)
    best, at = values.gather(1, members).topk(min(k, members.shape[1]), dim=1, largest=False, sorted=False)
    return best, members.gather(1, at)
