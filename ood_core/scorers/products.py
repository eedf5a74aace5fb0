"""The largest inner products with weighted rows of a bank: candidates in float32, a proof a row, values in float64."""

from __future__ import annotations

import torch
from torch import Tensor

from ..precision import at_least_float32
from .nearest import CACHE_NUMBERS, RANGE, SPARE, lengths, rows_of, smallest_of
from .rows import collected


def prepare_products(bank: Tensor, weights: Tensor, memory: int, divide: bool) -> dict[str, Tensor]:
    """What `largest_products` wants to know of rows (N, D), divided by their lengths or not, and weights (N,).

    `reach` is the largest ||weight_i t_i||, from above.
    """
    state = {"bank": bank, **({"lengths": lengths(bank, memory)} if divide else {})}
    step = max(1, memory // (24 * bank.shape[1]))
    blocks = (rows_of(state, slice(start, start + step)).to(weights) for start in range(0, len(bank), step))
    sizes = collected((torch.linalg.vector_norm(block, dim=1) for block in blocks), len(bank))
    reach = (sizes * weights.abs()).amax()
    return {**state, "weights": weights, "reach": reach}


def largest_products(x: Tensor, state: dict[str, Tensor], k: int, memory: int) -> Tensor:
    """The k largest weight_i t_i.x over the bank, in float64: (n, k).

    Args:
        x: (n, D), float64.
        state: of `prepare_products`.
        k: at most the rows of the bank.
        memory: bytes to use.
    """
    found = x.new_empty(len(x), k)
    left = torch.arange(len(x), device=x.device)
    reach = float(state["reach"])
    ieee = torch.get_float32_matmul_precision() == "highest"
    if ieee and k + SPARE < len(state["bank"]) and RANGE[torch.float32][0] < reach < RANGE[torch.float32][1]:
        best, proven = _from_candidates(x, state, k, reach, memory)
        found[proven] = best[proven]
        left = left[~proven]
    if len(left):
        found[left] = _plain(x[left], state, k, memory)
    return found


def _from_candidates(x: Tensor, state: dict[str, Tensor], k: int, reach: float, memory: int) -> tuple[Tensor, Tensor]:
    """The k largest among the candidates of a float32 product (n, k), and whether no other row can be among them (n,).

    With q = x / ||x||, a_i = weight_i t_i / reach (both at most 1 long), u the unit roundoff and gamma the usual bound
    D u / (1 - D u) of a product, the computed q.a_i is off by less than gamma + 4 u: u for q, 3 u for a_i.
    """
    columns = x.shape[1]
    length = torch.linalg.vector_norm(x, dim=1, keepdim=True)
    query = (x / length).float()
    factor = state["weights"] / reach
    wide = at_least_float32(state["bank"])

    def products(start: int, stop: int) -> Tensor:
        rows = rows_of(state, slice(start, stop)).to(wide) * factor[start:stop, None].to(wide)
        return torch.mm(query, rows.float().T).neg_()

    step = max(1, (memory // 2 - 4 * len(x) * columns) // (8 * len(x) + 16 * columns))
    values, index = smallest_of(len(factor), step, k + SPARE, products)
    best = _exactly(x, state, index, memory).topk(k, dim=1).values
    rounding = 4 * (columns + 8) * torch.finfo(x.dtype).eps
    # A row of zeros has no direction: it is NaN here, and so not proven.
    proven: Tensor = -best[:, -1] / (length[:, 0] * reach) + rounding <= _floor(values.to(x.dtype), columns)
    return best, proven


def _floor(values: Tensor, columns: int) -> Tensor:
    """Under -q.a_i for all rows that are no candidates (n,), from the products of those that are (n, count)."""
    unit = torch.finfo(torch.float32).eps / 2
    gamma = columns * unit / (1 - columns * unit)
    return values[:, -1] - 1.01 * (gamma + 4 * unit) - 8 * columns * torch.finfo(torch.float32).tiny


def _exactly(x: Tensor, state: dict[str, Tensor], index: Tensor, memory: int) -> Tensor:
    """weight_j t_j.x_i (n, count) in float64 for j = index_i."""
    count, columns = index.shape[1], x.shape[1]
    rows = max(1, min(memory // 32, CACHE_NUMBERS) // (count * columns))
    parts = []
    for queries, chosen in zip(x.split(rows), index.split(rows), strict=True):
        bank = rows_of(state, chosen.flatten()).to(x.dtype).view(-1, count, columns)
        parts.append(torch.bmm(bank, queries[:, :, None]).squeeze(2) * state["weights"][chosen])
    return torch.cat(parts)


def _plain(x: Tensor, state: dict[str, Tensor], k: int, memory: int) -> Tensor:
    """The k largest from all products in float64: the definition, and what the fast path is tested against."""

    def products(start: int, stop: int) -> Tensor:
        rows = rows_of(state, slice(start, stop)).to(x.dtype) * state["weights"][start:stop, None]
        return torch.mm(x, rows.T).neg_()

    step = max(1, memory // (24 * (len(x) + x.shape[1])))
    return -smallest_of(len(state["weights"]), step, k, products)[0]
