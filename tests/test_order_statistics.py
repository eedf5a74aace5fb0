"""A number by its rank: exact for both types, all signs and ties, and whichever blocks the numbers come in."""

import pytest
import torch

from ood_core.order_statistics import by_rank


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("scale", [1e-30, 1.0, 1e30])
@pytest.mark.parametrize("rows", [1, 7, 200])
def test_a_rank_is_that_of_sorting(dtype, scale, rows):
    x = scale * torch.randn(199, generator=torch.Generator().manual_seed(0), dtype=torch.float64).to(dtype)
    x[20:60], x[60:70], x[70:80] = x[5].item(), 0.0, -0.0
    ordered = x.sort().values
    for rank in (0, 1, 17, 98, 99, 100, 197, 198):
        found = by_rank(lambda: x.split(rows), rank, dtype)
        assert found.dtype == dtype
        assert found == ordered[rank]


def test_blocks_have_any_shape_and_extremes_are_found():
    x = torch.tensor([[3.0, float("inf")], [float("-inf"), torch.finfo(torch.float32).max]])
    assert [float(by_rank(lambda: [x[:1], x[1:]], rank, x.dtype)) for rank in range(4)] == sorted(x.flatten().tolist())
