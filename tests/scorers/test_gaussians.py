"""DDU: a density on paper, its laws, singular covariances, the published ladder."""

import math
import sys

import numpy as np
import pytest
import torch

from ood_core import Outputs, metrics, scorers
from ood_core.checks import InputError
from ood_core.scorers.gaussians import LADDER

from .cases import outputs


def ddu(features, labels, **parameters):
    return scorers.make("ddu", **parameters).fit(Outputs(features=features, labels=labels))


def density(scorer, features):
    return scorer.score(Outputs(features=features))


def test_by_hand():
    # Class 0: mean 0, variance 2 (of -1, 1 with n - 1). Class 1: mean 10, variance 8.
    scorer = ddu(torch.tensor([[-1.0], [1.0], [8.0], [12.0]]), torch.tensor([0, 0, 1, 1]), ridge=0.5)
    # Ridge 0.5 adds half of each variance: 3 and 12.
    first = math.exp(-(1**2) / (2 * 3)) / math.sqrt(2 * math.pi * 3)
    second = math.exp(-(9**2) / (2 * 12)) / math.sqrt(2 * math.pi * 12)
    assert density(scorer, torch.tensor([[1.0]])).item() == pytest.approx(math.log(first + second))
    assert scorer.summary()["jitter"] == pytest.approx([1, 4])


def test_classes_have_no_weights():
    # Class 1 has ten times the rows of class 0 and the mirrored features: weights would break the symmetry.
    h = torch.randn(20, 2, dtype=torch.float64) + 5
    scorer = ddu(torch.cat([h, *([-h] * 10)]), torch.cat([torch.zeros(20), torch.ones(200)]).long(), ridge=1.0)
    spread = torch.cov(h.T)
    assert scorer.summary()["jitter"][0] == pytest.approx(float(spread.trace() / 2))
    # Copies shrink the unbiased covariance of class 1 by (19 / 20) (200 / 199), as n - 1 says.
    shrunk = 19 / 20 * 200 / 199
    assert scorer.summary()["jitter"][1] == pytest.approx(float(spread.trace() / 2) * shrunk)
    x = torch.randn(9, 2, dtype=torch.float64)
    at_class_0, at_class_1 = density(scorer, x + h.mean(0)), density(scorer, -(x + h.mean(0)))
    quadratic = torch.einsum("ni,ij,nj->n", x, torch.linalg.inv(spread + torch.eye(2) * float(spread.trace()) / 2), x)
    predicted = -0.5 * quadratic * (1 / shrunk - 1) - math.log(shrunk)
    assert torch.allclose(at_class_1 - at_class_0, predicted, atol=1e-4)


def test_rotation_shift_and_scale():
    base = outputs()
    h, y, x = base.features, base.labels, outputs((5, 5, 5, 5), seed=1).features
    plain = density(ddu(h, y), x)
    rotation = torch.linalg.qr(torch.randn(6, 6, dtype=torch.float64)).Q
    assert torch.allclose(density(ddu(h @ rotation + 7, y), x @ rotation + 7), plain, rtol=1e-9)
    # A density of a h is the density of h less D log a: the relative ridge scales along.
    assert torch.allclose(density(ddu(100 * h, y), 100 * x), plain - 6 * math.log(100), rtol=1e-9)


def test_a_large_offset_costs_no_digits():
    base = outputs()
    x = outputs((5, 5, 5, 5), seed=1).features
    near, far = ddu(base.features, base.labels), ddu(base.features + 2.0**30, base.labels)
    assert torch.allclose(density(far, x + 2.0**30), density(near, x), rtol=1e-5)


def test_many_dimensions_stay_in_log_space():
    h, y = torch.randn(300, 400), torch.arange(300) % 2
    scores = density(ddu(h, y), 30 * torch.randn(10, 400))
    assert torch.isfinite(scores).all()
    assert scores.max() < -1000  # exp of it is 0 in float64


def test_large_densities_do_not_tie():
    """Near -1e6 single precision has steps of 1/16: rows apart by less would count as half a pair each."""
    scorer = ddu(torch.tensor([[-1.0], [1.0], [-1.0], [1.0]]), torch.tensor([0, 0, 1, 1]))  # variance 2
    rows = 2000 + 1e-5 * torch.arange(50, dtype=torch.float64)[:, None]
    scores = density(scorer, rows)
    assert scores[0] < -9.9e5
    assert len(scores.float().unique()) < 10
    assert metrics.auroc(scores[:25], scores[25:]) == 1


def test_fewer_rows_than_dimensions():
    h, y = torch.randn(30, 50, dtype=torch.float64), torch.arange(30) % 3
    scorer = ddu(h, y)
    facts = scorer.summary()
    for c in range(3):
        covariance = np.cov(h[y == c].numpy(), rowvar=False)
        added = 1e-4 * np.trace(covariance) / 50
        values = np.linalg.eigvalsh(covariance + added * np.eye(50))
        assert facts["jitter"][c] == pytest.approx(added)
        assert facts["eigenvalue_min"][c] == pytest.approx(values[0], rel=1e-6)
        assert facts["eigenvalue_max"][c] == pytest.approx(values[-1])
        assert facts["condition_number"][c] == pytest.approx(values[-1] / values[0], rel=1e-6)


def test_the_ladder_is_the_published_one():
    assert LADDER[:3] == (0.0, sys.float_info.min, 1e-308)
    assert LADDER[-1] == 0.1
    assert len(LADDER) == 310
    assert np.allclose(np.diff(np.log10(LADDER[2:])), 1, atol=1e-6)


def test_the_ladder_adds_nothing_to_covariances_of_full_rank():
    base = outputs()
    scorer = ddu(base.features, base.labels, jitter="ladder")
    assert scorer.summary()["jitter"] == [0.0] * 4
    assert torch.equal(density(scorer, base.features), density(ddu(base.features, base.labels, ridge=0), base.features))


def test_the_ladder_takes_the_first_value_that_serves_all_classes():
    # Class 0 has full rank, class 1 fewer rows than dimensions.
    h = torch.cat([torch.randn(200, 30, dtype=torch.float64), torch.randn(20, 30, dtype=torch.float64)])
    y = torch.cat([torch.zeros(200), torch.ones(20)]).long()
    scorer = ddu(h, y, jitter="ladder")
    chosen = scorer.summary()["jitter"]
    assert chosen[0] == chosen[1]
    assert 1e-30 < chosen[0] < 1e-12  # at the level of rounding
    covariance = torch.cov(h[y == 1].T)

    def passes(step):
        return int(torch.linalg.cholesky_ex(covariance + step * torch.eye(30, dtype=torch.float64)).info) == 0

    # torch.cov rounds differently in the last digit: allow one rung to either side.
    rung = LADDER.index(chosen[0])
    assert passes(LADDER[rung + 1])
    assert not passes(LADDER[rung - 2])
    assert scorer.summary()["condition_number"][1] > 1e10
    assert torch.isfinite(density(scorer, torch.randn(5, 30, dtype=torch.float64))).all()


def test_both_ends_of_a_near_singular_spectrum_are_exact():
    # A dead unit has the jitter alone for variance: in a decomposition of the factor it drowns in rounding.
    h = torch.randn(100, 5, dtype=torch.float64)
    h[:, 2] = 0
    facts = ddu(h, torch.arange(100) % 2, jitter="ladder").summary()
    assert facts["eigenvalue_min"] == pytest.approx(facts["jitter"], rel=1e-9, abs=0)
    largest = [float(torch.linalg.eigvalsh(torch.cov(h[c::2].T))[-1]) for c in (0, 1)]
    assert facts["eigenvalue_max"] == pytest.approx(largest)


@pytest.mark.parametrize("flushed", [False, True])
def test_a_condition_beyond_the_doubles_is_the_largest_of_them(flushed):
    # Found on the digits: variance 2e-308 beside one above 4 is a ratio of infinity, and 0 with denormals flushed.
    h = 100 * torch.randn(100, 3, dtype=torch.float64)
    h[:, 1] = 0
    torch.set_flush_denormal(flushed)
    try:
        facts = ddu(h, torch.arange(100) % 2, jitter="ladder").summary()
    finally:
        torch.set_flush_denormal(False)
    assert facts["eigenvalue_min"] == pytest.approx([sys.float_info.min] * 2, rel=1e-9, abs=0)
    assert facts["condition_number"] == [sys.float_info.max] * 2


def test_an_overflowing_ladder_is_refused_when_scored():
    # A dead unit has variance 0 exactly, so the smallest normal double passes, and rows where it lives overflow.
    h = torch.randn(100, 3, dtype=torch.float64)
    h[:, 1] = 0
    scorer = ddu(h, torch.arange(100) % 2, jitter="ladder")
    assert scorer.summary()["jitter"] == [sys.float_info.min] * 2
    assert torch.isfinite(density(scorer, h)).all()
    with pytest.raises(InputError, match=r"NaN or infinity for 4 of 4 rows[\s\S]*larger ridge"):
        density(scorer, torch.full((4, 3), 100.0))


def test_refusals():
    h, y = torch.randn(20, 3), torch.arange(20) % 2
    with pytest.raises(InputError, match=r"ridge=-1\.0, expected at least 0"):
        scorers.make("ddu", ridge=-1)
    with pytest.raises(InputError, match="ddu's jitter is 'steps', expected one of: relative, ladder"):
        scorers.make("ddu", jitter="steps")
    with pytest.raises(InputError, match="a ridge beside jitter='ladder'"):
        scorers.make("ddu", jitter="ladder", ridge=1e-3)
    with pytest.raises(InputError, match=r"overflow[\s\S]*Scale the layer down"):
        ddu(h.double() * 1e160, y)
    with pytest.raises(InputError, match=r"singular for every value of the ladder[\s\S]*relative"):
        ddu((h[:, :1] * torch.ones(3)).double() * 1e12, y, jitter="ladder")
    with pytest.raises(InputError, match="one row of class 1, expected at least two"):
        ddu(h[:11], torch.tensor([0] * 10 + [1]))
    with pytest.raises(InputError, match=r"equal features for all rows of class 1[\s\S]*collapsed"):
        ddu(torch.where((y == 1)[:, None], torch.tensor(0.1), h), y)
    flat = h.clone()
    flat[:, 2] = 0
    with pytest.raises(InputError, match=r"class 0 singular with ridge=0.0[\s\S]*Raise ridge"):
        ddu(flat, y, ridge=0)
