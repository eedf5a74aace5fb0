"""SSD on paper, against scikit-learn, its laws, dead units."""

import numpy as np
import pytest
import torch
from sklearn.covariance import EmpiricalCovariance
from sklearn.preprocessing import StandardScaler

from ood_core import Outputs, scorers
from ood_core.checks import InputError

from .cases import outputs


def fit(features, **parameters):
    return scorers.make("ssd", **{"layer": "features", **parameters}).fit(Outputs(features=features))


def score(scorer, features):
    return scorer.score(Outputs(features=features))


def test_by_hand():
    # Mean (0, 2), sd (1, 2), uncorrelated: the identity among standardised rows. Ridge 1 doubles it.
    train = torch.tensor([[-1.0, 0.0], [-1.0, 4.0], [1.0, 0.0], [1.0, 4.0]])
    rows = torch.tensor([[0.0, 2.0], [2.0, 2.0], [3.0, -6.0]])
    assert score(fit(train, ridge=0), rows).tolist() == pytest.approx([0, -4, -25])
    assert score(fit(train, ridge=1), rows).tolist() == pytest.approx([0, -2, -12.5])
    assert fit(train, ridge=1).summary()["ridge_added"] == pytest.approx([1])


@pytest.mark.parametrize("layer", ["features", "unit"])
def test_agrees_with_scikit_learn(layer):
    train, test = outputs(), outputs((9, 9, 9, 9), seed=1)
    scaler = StandardScaler().fit(train.layer(layer).numpy())
    z = [scaler.transform(part.layer(layer).numpy()) for part in (train, test)]
    wanted = -EmpiricalCovariance().fit(z[0]).mahalanobis(z[1])
    got = scorers.make("ssd", layer=layer, ridge=0).fit(train).score(test)
    np.testing.assert_allclose(got, wanted, rtol=1e-7)


def test_two_clusters_take_the_nearer():
    y = torch.arange(200) % 2
    h = torch.randn(200, 4, dtype=torch.float64) + 50 * y[:, None]
    scorer = fit(h, clusters=2, ridge=0)
    x = torch.randn(30, 4, dtype=torch.float64) + 10
    each = []
    for c in range(2):
        peer = EmpiricalCovariance().fit(h[y == c].numpy())  # standardising changes nothing without a ridge
        each.append(peer.mahalanobis(x.numpy()))
    np.testing.assert_allclose(score(scorer, x), -np.min(each, axis=0), rtol=1e-7)


def test_shift_and_scale_by_coordinate():
    h, x = outputs().features, outputs((5, 5, 5, 5), seed=1).features
    plain = score(fit(h), x)
    stretch = torch.tensor([1e-4, 1.0, 30.0, 2.0, 0.1, 1e4], dtype=torch.float64)
    assert torch.allclose(score(fit(h * stretch - 9), x * stretch - 9), plain)
    unit = scorers.make("ssd").fit(Outputs(features=h))
    assert torch.allclose(score(unit, 100 * x), score(unit, x))


def test_a_dead_unit_is_centred_and_ridged():
    h = torch.randn(60, 3, dtype=torch.float64)
    h[:, 1] = 0.1
    scorer = fit(h)
    alive = fit(h[:, [0, 2]])
    # Trace / D is 2 / 3 with the dead unit and 1 without: nearly the same ridge on the others.
    assert torch.allclose(score(scorer, h), score(alive, h[:, [0, 2]]), rtol=1e-3)
    assert scorer.summary()["rank"] == [2]
    woken = h[:1] + torch.tensor([0, 0.1, 0])
    assert (score(scorer, h[:1]) - score(scorer, woken)).item() == pytest.approx(0.01 / (1e-4 * 2 / 3), rel=1e-6)


def test_refusals():
    for settings, reason in (
        ({"clusters": 0}, "clusters=0, expected at least 1"),
        ({"n_init": 0}, "n_init=0"),
        ({"seed": -1}, "seed=-1"),
        ({"ridge": -0.5}, r"ridge=-0\.5"),
    ):
        with pytest.raises(InputError, match=reason):
            scorers.make("ssd", **settings)
    with pytest.raises(InputError, match="no spread in cluster 0"):
        fit(torch.full((9, 3), 0.1))
