"""Distances to class means on paper, near neighbours, small angles, zero vectors."""

import pytest
import torch

from ood_core import Outputs, scorers
from ood_core.checks import InputError

TWO = Outputs(
    features=torch.tensor([[0.0, 0.0], [0.0, 2.0], [0.0, 4.0], [3.0, 0.0], [5.0, 0.0]]),
    labels=torch.tensor([0, 0, 0, 1, 1]),
)


def score(features, train=TWO, **parameters):
    return scorers.make("cluster", **parameters).fit(train).score(Outputs(features=features))


def test_by_hand():
    # Class means (0, 2) and (4, 0); not the mean over rows, (1.6, 1.2).
    rows = torch.tensor([[0.0, 2.0], [4.0, 3.0], [-3.0, -2.0]])
    assert score(rows).tolist() == pytest.approx([0, -3, -5])
    rows = torch.tensor([[0.0, 7.0], [1.0, 1.0], [-1.0, 0.0], [-1.0, -1.0]])
    assert score(rows, distance="cosine").tolist() == pytest.approx([0, 2**-0.5 - 1, -1, -1 - 2**-0.5])


def test_near_neighbours_far_from_the_origin_keep_their_distance():
    train = Outputs(features=torch.full((2, 3), 1e6, dtype=torch.float64), labels=torch.tensor([0, 0]))
    step = torch.tensor([[0.0, 0.0, 0.0], [0.0, 0.0, 2.0**-20]], dtype=torch.float64)
    assert score(train.features + step, train).tolist() == [0.0, -(2.0**-20)]


def test_small_angles_keep_their_digits():
    train = Outputs(features=torch.tensor([[1.0, 0.0]], dtype=torch.float64), labels=torch.tensor([0]))
    angle = torch.tensor([1e-9, 1e-5, 0.5], dtype=torch.float64)
    rows = 7 * torch.stack([angle.cos(), angle.sin()], dim=1)
    assert score(rows, train, distance="cosine").tolist() == pytest.approx([-0.5e-18, -0.5e-10, -0.12241743810962724])


def test_the_cosine_ignores_length_down_to_the_smallest():
    rows = torch.randn(10, 2, dtype=torch.float64)
    plain = score(rows, distance="cosine")
    for scale in (1e-20, 1e20):
        assert torch.allclose(score(scale * rows, distance="cosine"), plain, rtol=1e-12)


def test_a_zero_vector_is_at_cosine_distance_one():
    assert score(torch.zeros(1, 2), distance="cosine").item() == -1
    centred = Outputs(features=torch.tensor([[1.0, 0.0], [-1.0, 0.0]]), labels=torch.tensor([0, 0]))
    assert score(torch.tensor([[0.0, 0.0], [2.0, 0.0]]), centred, distance="cosine").tolist() == [-1, -1]


def test_equal_rows_are_their_own_mean():
    # 0.1 is no binary fraction: a plain sum divided by n moves off it.
    train = Outputs(features=torch.full((7, 3), 0.1, dtype=torch.float64), labels=torch.zeros(7, dtype=torch.long))
    assert score(train.features, train).tolist() == [0.0] * 7


def test_refuses_an_unknown_distance():
    with pytest.raises(InputError, match="cluster's distance is 'manhattan', expected one of: euclidean, cosine"):
        scorers.make("cluster", distance="manhattan")
