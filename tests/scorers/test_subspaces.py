"""ViM, residual and NECO on paper, their laws, and dimensions that leave nothing or too much."""

import dataclasses
import math

import pytest
import torch

from ood_core import Outputs, scorers
from ood_core.checks import InputError
from ood_core.outputs import Head
from ood_core.scorers.subspaces import published_dim

from .cases import outputs

# Spread 4 along x, 1 along y, 0.25 along z around (1, 0, 0), where W h + b = 0: W = (1, 0, 0), (-1, 0, 0).
OFF = [[4.0, 0, 0], [-4.0, 0, 0], [0, 1, 0], [0, -1, 0], [0, 0, 0.25], [0, 0, -0.25]]
TRAIN = torch.tensor(OFF, dtype=torch.float64) + torch.tensor([1.0, 0, 0])
HEAD = (torch.tensor([[1.0, 0, 0], [-1.0, 0, 0]], dtype=torch.float64), torch.tensor([-1.0, 1.0], dtype=torch.float64))
BY_HAND = Outputs(features=TRAIN, logits=TRAIN @ HEAD[0].T + HEAD[1], head=HEAD)


def rotation(dim=6):
    return torch.linalg.qr(torch.randn(dim, dim, dtype=torch.float64)).Q


def rotated(out, turn):
    """The network whose last layer has taken up a rotation of its features."""
    head = Head("linear", out.head.weight @ turn, out.head.bias)
    return dataclasses.replace(out, features=out.features @ turn, head=head)


def test_vim_by_hand():
    scorer = scorers.make("vim", dim=1).fit(BY_HAND)
    # Largest logits 4, 4, 0, 0, 0, 0; outside the x axis 0, 0, 1, 1, 1/4, 1/4.
    assert scorer.summary()["alpha"] == pytest.approx(8 / 2.5)
    rows = torch.tensor([[1.0, 0, 0], [3.0, 3.0, 4.0]], dtype=torch.float64)
    wanted = [math.log(2), math.log(math.exp(2) + math.exp(-2)) - 3.2 * 5]
    assert scorer.score(Outputs(features=rows)).tolist() == pytest.approx(wanted)
    facts = scorer.summary()
    assert (facts["dim"], facts["rank"]) == (1, 3)
    assert facts["explained"] == pytest.approx(32 / (32 + 2 + 0.125))


def test_residual_by_hand():
    rows = torch.tensor([[9.0, 3.0, 4.0], [1.0, 7.0, -2.0]], dtype=torch.float64)
    for settings, wanted in (({"dim": 1}, [-5, -(53**0.5)]), ({"dim": 2}, [-4, -2]), ({}, [-5, -(53**0.5)])):
        for origin in ("head", "mean"):
            scorer = scorers.make("residual", origin=origin, **settings).fit(BY_HAND)
            assert scorer.score(Outputs(features=rows)).tolist() == pytest.approx(wanted)


def test_residual_takes_the_origin_that_it_is_told():
    moved = TRAIN + torch.tensor([0.0, 0.0, 6.0], dtype=torch.float64)
    out = Outputs(features=moved, logits=moved @ HEAD[0].T + HEAD[1], head=HEAD)
    rows = Outputs(features=torch.tensor([[1.0, 0, 6.0], [1.0, 0, 0]], dtype=torch.float64))
    # From the head, z is the largest direction and both rows lie on it; from the mean, it is the smallest.
    assert scorers.make("residual", dim=1).fit(out).score(rows).tolist() == pytest.approx([0, 0], abs=1e-12)
    assert scorers.make("residual", dim=1, origin="mean").fit(out).score(rows).tolist() == pytest.approx([0, -6])


def test_neco_by_hand():
    # Spread by column: sd 4/sqrt(3), 1/sqrt(3), 1/4/sqrt(3) about the mean (1, 0, 0).
    rows = torch.tensor([[0.0, 3.0, 4.0], [5.0, 0, 0], [0, 0, 0]], dtype=torch.float64)
    plain = scorers.make("neco", dim=2, scaling="none").fit(BY_HAND)
    assert plain.score(Outputs(features=rows)).tolist() == pytest.approx([0.6, 1, 0])
    sized = scorers.make("neco", dim=2, scaling="none", times="max_logit").fit(BY_HAND)
    assert sized.score(Outputs(features=rows)).tolist() == pytest.approx([0.6 * 1, 4, 0])
    assert scorers.make("neco", scaling="none").fit(BY_HAND).summary()["dim"] == 1  # 32 of 34.125 is 94 %
    assert scorers.make("neco", scaling="none", share=0.95).fit(BY_HAND).summary()["dim"] == 2
    # Standardised, two columns that move together are one direction: (1, 1) / sqrt(2) of z.
    pair = torch.tensor([[1.0, 10.0, 0], [-1.0, -10.0, 0], [0, 0, 0.1], [0, 0, -0.1]], dtype=torch.float64)
    scorer = scorers.make("neco", dim=1).fit(Outputs(features=pair))
    sd = 0.5**0.5
    row = torch.tensor([[3 * sd, 10 * sd, 0]], dtype=torch.float64)  # z = (3, 1, 0)
    assert scorer.score(Outputs(features=row)).item() == pytest.approx(4 / 2**0.5 / 10**0.5)


def test_columns_without_spread_are_only_centred():
    train = torch.tensor([[1.0, 5.0, 1.0], [-1.0, 5.0, 2.0], [1.0, 5.0, -2.0], [-1.0, 5.0, -1.0]], dtype=torch.float64)
    scorer = scorers.make("neco", dim=2).fit(Outputs(features=train))
    at_five = Outputs(features=torch.tensor([[3.0, 5.0, -2.0]], dtype=torch.float64))
    assert scorer.score(at_five).item() == pytest.approx(1)
    assert scorer.summary()["rank"] == 2
    off = Outputs(features=torch.tensor([[0.0, 6.0, 0.0]], dtype=torch.float64))
    assert scorer.score(off).item() == pytest.approx(0, abs=1e-12)
    half = Outputs(features=torch.tensor([[1.0, 6.0, 0.0]], dtype=torch.float64))  # z = (1, 1, 0)
    assert scorer.score(half).item() == pytest.approx(0.5**0.5)


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("vim", {}),
        ("residual", {}),
        ("residual", {"origin": "mean"}),
        ("neco", {"scaling": "none"}),
        ("neco", {"scaling": "none", "times": "max_logit"}),
    ],
)
def test_a_rotation_that_the_last_layer_takes_up_changes_nothing(name, settings):
    train, test, turn = outputs(), outputs(seed=1), rotation()
    plain = scorers.make(name, **settings).fit(train).score(test)
    assert torch.allclose(scorers.make(name, **settings).fit(rotated(train, turn)).score(rotated(test, turn)), plain)


def test_scale_and_shift():
    train, test = outputs(), outputs(seed=1)
    residual = scorers.make("residual", origin="mean")
    plain = residual.fit(train).score(test)
    moved = [Outputs(features=1e3 * out.features + 1e5) for out in (train, test)]
    assert torch.allclose(residual.fit(moved[0]).score(moved[1]), 1e3 * plain, rtol=1e-7)
    # Standardised NECO knows no units of a column; plain NECO no common unit.
    units = torch.tensor([1.0, 1e3, 1e-3, 7.0, 1.0, 2.0], dtype=torch.float64)
    neco = scorers.make("neco")
    plain = neco.fit(train).score(test)
    moved = [Outputs(features=units * out.features + 3) for out in (train, test)]
    assert torch.allclose(neco.fit(moved[0]).score(moved[1]), plain, rtol=1e-9)
    neco = scorers.make("neco", scaling="none")
    plain = neco.fit(train).score(test)
    moved = [Outputs(features=100 * out.features) for out in (train, test)]
    assert torch.allclose(neco.fit(moved[0]).score(moved[1]), plain, rtol=1e-9)
    assert bool(((plain >= 0) & (plain <= 1)).all())


def test_virtual_logits_are_as_large_as_the_largest_on_average():
    train = outputs()
    scorer = scorers.make("vim").fit(train)
    virtual = train.logits.logsumexp(1) - scorer.score(train)
    assert virtual.mean() == pytest.approx(float(train.logits.amax(1).mean()))
    residual = scorers.make("residual").fit(train).score(train)
    assert torch.allclose(virtual, -scorer.summary()["alpha"] * residual)


def test_the_published_dimension():
    assert [published_dim(d) for d in (2048, 1501, 1500, 768, 767, 512, 7, 2)] == [1000, 1000, 512, 512, 383, 256, 3, 1]
    out = outputs()
    for name in ("vim", "residual"):
        assert scorers.make(name).fit(out).summary()["dim"] == 3


def on_a_plane(rank=2):
    """Features of a given rank around the point where all logits are 0, behind a head that sees that plane."""
    basis = torch.linalg.qr(torch.randn(6, rank, dtype=torch.float64)).Q.T
    features = torch.randn(50, rank, dtype=torch.float64) @ basis
    weight = torch.randn(4, rank, dtype=torch.float64) @ basis
    return Outputs(features=features, logits=features @ weight.T, head=(weight,))


def test_dimensions_that_leave_nothing_or_the_arbitrary_are_refused():
    flat = on_a_plane()
    assert scorers.make("residual", dim=2).fit(flat).score(flat).abs().max() < 1e-12
    with pytest.raises(InputError, match=r"vim finds training features of rank 2, expected more than dim, which is 2"):
        scorers.make("vim", dim=2).fit(flat)
    for name in ("vim", "residual", "neco"):
        least = "more than" if name == "vim" else "at least"
        with pytest.raises(InputError, match=rf"{name} finds training features of rank 2, expected {least} dim.* 3"):
            scorers.make(name, dim=3).fit(flat)
        for dim in (6, 7):
            with pytest.raises(InputError, match=rf"{name} got dim={dim} of 6 columns, expected 1 to 5"):
                scorers.make(name, dim=dim).fit(flat)
        with pytest.raises(InputError, match=rf"{name} got dim=-1, expected at least 1, or 0"):
            scorers.make(name, dim=-1)
    with pytest.raises(InputError, match=r"got dim=0 of 1 columns, expected at least 2 columns.*\n.*too narrow"):
        scorers.make("residual", origin="mean").fit(Outputs(features=torch.randn(9, 1)))
    same = Outputs(features=torch.full((9, 3), 0.1))
    for name, settings in (("residual", {"origin": "mean"}), ("neco", {})):
        with pytest.raises(InputError, match=rf"{name} got features without spread"):
            scorers.make(name, **settings).fit(same)


def test_fewer_rows_than_columns():
    few, test = outputs((2, 1, 1, 1)), outputs(seed=1)
    scorer = scorers.make("residual", origin="mean", dim=4).fit(few)
    assert scorer.summary()["rank"] == 4
    assert scorer.score(few).abs().max() < 1e-9
    assert scorer.score(test).max() < -1e-3


def test_other_refusals():
    with pytest.raises(InputError, match=r"residual's origin is 'zero', expected one of: head, mean"):
        scorers.make("residual", origin="zero")
    with pytest.raises(InputError, match=r"neco's scaling is 'minmax', expected one of: standard, none"):
        scorers.make("neco", scaling="minmax")
    with pytest.raises(InputError, match=r"neco's times is 'energy', expected one of: none, max_logit"):
        scorers.make("neco", times="energy")
    for share in (0.0, 1.0, -0.5):
        with pytest.raises(InputError, match=rf"neco got share={share}, expected a fraction between 0 and 1"):
            scorers.make("neco", share=share)
    with pytest.raises(InputError, match=r"neco got a share beside dim"):
        scorers.make("neco", share=0.5, dim=2)
    lowered = dataclasses.replace(BY_HAND, logits=BY_HAND.logits - 99, head=(HEAD[0], HEAD[1] - 99))
    with pytest.raises(InputError, match=r"vim got largest logits of mean -\d+.*expected a mean above 0"):
        scorers.make("vim", dim=1).fit(lowered)
    with pytest.raises(InputError, match=r"neco got largest logits of mean -\d+.*expected a mean above 0"):
        scorers.make("neco", dim=1, times="max_logit").fit(lowered)


def test_vim_advises_a_dim_that_it_takes():
    few = outputs((3, 2, 2, 2))
    wide = Outputs(torch.randn(9, 64, dtype=torch.float64), labels=few.labels, head=(torch.eye(4, 64),))
    advised = "rank 9, expected more than dim, which is {}.*\nPass dim=8 or less"
    for settings, dim in (({}, 32), ({"dim": 9}, 9)):
        with pytest.raises(InputError, match=advised.format(dim)):
            scorers.make("vim", **settings).fit(wide)
    with pytest.raises(InputError, match=r"rank 1, expected more than dim, which is 1.*\nFit on more rows"):
        scorers.make("vim", dim=1).fit(on_a_plane(1))
