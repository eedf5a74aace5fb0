"""Distances over the negative-aware norm: on paper, as quotients of the single scorers, and without active units."""

import pytest
import torch

from ood_core import Outputs, scorers
from ood_core.checks import InputError


def rectified(n=120, seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    return Outputs(features=(torch.randn(n, 12, generator=generator, dtype=torch.float64) + 0.3).clamp(min=0).to(dtype))


def score(name, train, rows, **parameters):
    return scorers.make(name, **parameters).fit(train).score(rows)


def test_by_hand():
    train = Outputs(features=torch.tensor([[4.0, 0.0], [0.0, 2.0], [3.0, 4.0]]))
    rows = Outputs(features=torch.tensor([[6.0, 8.0], [5.0, 0.0]]))
    # NAN: (6 + 8) / 2 and 5 / 1. Directions: (0.6, 0.8), (1, 0); second nearest at distances sqrt(0.4), sqrt(0.8).
    assert score("knn_nan", train, rows, k=2).tolist() == pytest.approx([-(0.4**0.5) / 7, -(0.8**0.5) / 5], rel=1e-6)
    got = score("knn_nan", train, rows, k=2, squared=True)
    assert got.tolist() == pytest.approx([-0.4 / 7, -0.8 / 5], rel=1e-6)
    # On the features: distances 5, sqrt(72), sqrt(68) and 1, sqrt(29), sqrt(20).
    got = score("knn_nan", train, rows, k=2, on="features")
    assert got.tolist() == pytest.approx([-(68**0.5) / 7, -(20**0.5) / 5], rel=1e-6)
    # The largest activation in training is 4.
    assert score("react_nan", train, rows, quantile=1.0).tolist() == pytest.approx([4, 4])
    got = score("knn_nan", train, rows, k=2, clip=1.0)
    assert got.tolist() == pytest.approx([-(0.4**0.5) / 4, -(0.8**0.5) / 4], rel=1e-6)


@pytest.mark.parametrize("on", ["unit", "features"])
def test_is_the_quotient_of_the_single_scorers(on):
    train, rows = rectified(), rectified(40, seed=1)
    nan = score("nan", train, rows)
    distance = score("knn", train, rows, k=7, layer=on)
    assert torch.allclose(score("knn_nan", train, rows, k=7, on=on), distance / nan)
    squared = score("ssd", train, rows, layer=on)
    assert torch.allclose(score("ssd_nan", train, rows, on=on), squared / nan)
    assert torch.allclose(score("ssd_nan", train, rows, on=on, squared=False), -((-squared).sqrt()) / nan)
    clipped = score("react_nan", train, rows, quantile=0.8)
    assert torch.allclose(score("ssd_nan", train, rows, on=on, clip=0.8), squared / clipped)
    assert (clipped <= nan).all()
    assert not torch.allclose(clipped, nan)


def test_react_nan_is_react_in_front_of_nan():
    train, rows = rectified(), rectified(40, seed=1)
    behind = score("react", train, rows, quantile=0.8, then="nan")
    assert torch.allclose(score("react_nan", train, rows, quantile=0.8), behind)


def test_longer_activations_in_one_direction_are_more_in_distribution():
    train, rows = rectified(), rectified(40, seed=1)
    for name in ("knn_nan", "ssd_nan"):
        plain = score(name, train, rows)
        longer = score(name, train, Outputs(features=3 * rows.features))
        assert torch.allclose(longer, plain / 3)
        scaled = score(name, Outputs(features=1e-4 * train.features), Outputs(features=1e-4 * rows.features))
        assert torch.allclose(scaled, 1e4 * plain, rtol=1e-6)


def test_the_floor_of_the_norm_goes_with_the_mean_of_the_training_rows():
    train = Outputs(features=torch.tensor([[4.0, 0.0], [0.0, 2.0]]))  # NAN 4 and 2; both directions 1 from the origin
    scorer = scorers.make("knn_nan", k=1).fit(train)
    assert scorer.score(Outputs(features=torch.zeros(1, 2))).item() == pytest.approx(-1 / (1e-12 * 3))


@pytest.mark.parametrize("name", ["knn_nan", "ssd_nan"])
def test_rows_without_an_active_unit_score_least(name):
    train = rectified()
    dead = Outputs(features=torch.tensor([[0.0] * 12, [-1.0] * 12], dtype=torch.float64))
    scorer = scorers.make(name).fit(train)
    assert scorer.score(dead).max() < 1e6 * scorer.score(train).min()
    with_dead = Outputs(features=torch.cat([train.features, dead.features]))
    facts = scorers.make(name).fit(with_dead).summary()
    assert facts["inactive_rows"] == 2
    # As a unit of an ensemble, what the live rows give: one dead row would make all others nothing.
    assert facts["fit_scores"]["n"] == len(train)
    assert facts["fit_scores"]["sd"] == pytest.approx(scorer.fit_scores.sd, rel=0.2)
    with pytest.raises(InputError, match="no active unit in any training row"):
        scorers.make(name, **({"k": 1} if name == "knn_nan" else {})).fit(dead)


def test_refusals():
    for name, settings, reason in (
        ("knn_nan", {"k": 0}, "knn_nan got k=0"),
        ("knn_nan", {"squared": "maybe"}, "knn_nan got squared='maybe'"),
        ("knn_nan", {"which": "first"}, "knn_nan's which is 'first'"),
        ("knn_nan", {"on": "logits"}, "knn_nan's on is 'logits'"),
        ("knn_nan", {"clip": 1.1}, r"clip=1\.1, expected a fraction in \(0, 1\]"),
        ("ssd_nan", {"ridge": -1.0}, r"ridge=-1\.0"),
        ("ssd_nan", {"clusters": 0}, "clusters=0"),
        ("ssd_nan", {"squared": "2"}, "ssd_nan got squared='2'"),
        ("react_nan", {"quantile": 0.0}, r"quantile=0\.0, expected a fraction"),
        ("react_nan", {"quantile": 1.01}, r"quantile=1\.01"),
    ):
        with pytest.raises(InputError, match=reason):
            scorers.make(name, **settings)
    with pytest.raises(InputError, match="looks for 500 neighbours among 120"):
        scorers.make("knn_nan", k=500).fit(rectified())
    # Half the activations are 0, so their tenth is 0.
    with pytest.raises(InputError, match=r"would clip at 0\.0[\s\S]*Raise the quantile"):
        scorers.make("react_nan", quantile=0.1).fit(rectified())
