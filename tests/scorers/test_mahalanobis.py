"""Mahalanobis distances on paper, against scikit-learn, their laws, collapsed and large features."""

import numpy as np
import pytest
import torch
from sklearn.covariance import EmpiricalCovariance

from ood_core import Outputs, scorers
from ood_core.checks import InputError
from ood_core.scorers import covariance
from ood_core.scorers import rows as by_rows

from .cases import outputs

BOTH = pytest.mark.parametrize("name", ["mahalanobis", "relative_mahalanobis"])


def fit(name, features, labels, **parameters):
    return scorers.make(name, **parameters).fit(Outputs(features=features, labels=labels))


def score(scorer, features):
    return scorer.score(Outputs(features=features))


def test_by_hand():
    # Class means 0 and 10, deviations +-1 and +-3: within variance (1 + 1 + 9 + 9) / 4 = 5.
    h, y = torch.tensor([[-1.0], [1.0], [7.0], [13.0]]), torch.tensor([0, 0, 1, 1])
    rows = torch.tensor([[5.0], [2.0], [14.0]])
    plain = fit("mahalanobis", h, y, ridge=0)
    assert score(plain, rows).tolist() == pytest.approx([-25 / 5, -4 / 5, -16 / 5])
    assert plain.summary()["condition_number"] == 1
    # Ridge 1 doubles each variance. All rows: mean 5, variance 5 + 25 = 30.
    relative = fit("relative_mahalanobis", h, y, ridge=1)
    assert score(relative, rows).tolist() == pytest.approx([-2.5, -0.4 + 9 / 60, -1.6 + 81 / 60])
    assert relative.summary()["ridge_added"] == pytest.approx([5, 30])


def test_agrees_with_scikit_learn():
    train, test = outputs(), outputs((9, 9, 9, 9), seed=1)
    h, y, x = train.features.numpy(), train.labels.numpy(), test.features.numpy()
    means = [h[y == c].mean(axis=0) for c in range(4)]
    peer = EmpiricalCovariance(assume_centered=True).fit(h - np.stack(means)[y])
    wanted = -np.min([peer.mahalanobis(x - mean) for mean in means], axis=0)
    np.testing.assert_allclose(score(fit("mahalanobis", train.features, train.labels, ridge=0), test.features), wanted)
    background = EmpiricalCovariance().fit(h).mahalanobis(x)
    got = score(fit("relative_mahalanobis", train.features, train.labels, ridge=0), test.features)
    np.testing.assert_allclose(got, wanted + background, rtol=1e-8)


@BOTH
def test_shift_rotation_and_scale(name):
    h, y, x = outputs().features, outputs().labels, outputs((5, 5, 5, 5), seed=1).features
    plain = score(fit(name, h, y), x)
    rotation = torch.linalg.qr(torch.randn(6, 6, dtype=torch.float64)).Q
    assert torch.allclose(score(fit(name, h @ rotation + 7, y), x @ rotation + 7), plain, rtol=1e-9)
    assert torch.allclose(score(fit(name, 1e-5 * h, y), 1e-5 * x), plain, rtol=1e-9)
    assert torch.allclose(score(fit(name, h + 2.0**30, y), x + 2.0**30), plain, rtol=1e-5)
    # Without a ridge any invertible map leaves it alone; with one, only similarities do.
    skew = torch.randn(6, 6, dtype=torch.float64)
    assert torch.allclose(score(fit(name, h @ skew, y, ridge=0), x @ skew), score(fit(name, h, y, ridge=0), x))
    assert not torch.allclose(score(fit(name, h @ skew, y), x @ skew), plain)


def test_one_class_has_no_background():
    h = torch.randn(50, 4, dtype=torch.float64)
    x = 3 * torch.randn(9, 4, dtype=torch.float64)
    alone = fit("relative_mahalanobis", h, torch.zeros(50, dtype=torch.long))
    assert torch.allclose(score(alone, x), torch.zeros(9, dtype=torch.float64), atol=1e-9)


def test_many_classes_are_searched_as_few_are():
    # Above a dozen classes the nearest is found by products: the same numbers as one class at a time.
    y = torch.arange(400) % 80
    h = torch.randn(80, 12, dtype=torch.float64)[y] + 0.1 * torch.randn(400, 12, dtype=torch.float64)
    scorer = fit("mahalanobis", h, y)
    x = torch.randn(30, 12, dtype=torch.float64)
    means = torch.stack([h[y == c].mean(0) for c in range(80)])
    within = (h - means[y]).T @ (h - means[y]) / 400
    inverse = torch.linalg.inv(within + 1e-4 * within.trace() / 12 * torch.eye(12))
    each = x[:, None] - means
    wanted = -torch.einsum("ncd,de,nce->nc", each, inverse, each).amin(dim=1)
    assert torch.allclose(score(scorer, x), wanted, rtol=1e-9)


def test_fewer_rows_than_dimensions_and_collapsed_classes():
    y = torch.arange(30) % 3
    h = torch.randn(30, 50, dtype=torch.float64)
    facts = fit("mahalanobis", h, y).summary()
    centred = h - torch.stack([h[y == c].mean(0) for c in range(3)])[y]
    values = np.linalg.eigvalsh((centred.T @ centred / 30).numpy())
    added = 1e-4 * values.sum() / 50
    assert facts["rank"] == 27
    assert facts["ridge_added"] == pytest.approx(added)
    assert facts["condition_number"] == pytest.approx((values[-1] + added) / added, rel=1e-6)
    collapsed = torch.eye(3, 50, dtype=torch.float64)[y] + 1e-6 * h
    scorer = fit("mahalanobis", collapsed, y)
    # The scale of the spread within classes is the unit, so a row between two classes is far.
    assert score(scorer, collapsed).min() > -100
    assert score(scorer, collapsed[:1].lerp(collapsed[1:2], 0.5)).item() < -1e9


@BOTH
def test_refusals(name):
    h, y = torch.randn(20, 3), torch.arange(20) % 2
    with pytest.raises(InputError, match=rf"{name} got ridge=-1\.0, expected at least 0"):
        scorers.make(name, ridge=-1)
    with pytest.raises(InputError, match="no spread in the rows within classes"):
        fit(name, torch.eye(2, 3)[y], y)
    flat = h.clone()
    flat[:, 2] = 0
    with pytest.raises(InputError, match=r"the rows within classes singular with ridge=0.0[\s\S]*Raise ridge"):
        fit(name, flat, y, ridge=0)
    with pytest.raises(InputError, match=r"overflows[\s\S]*Scale the layer down"):
        fit(name, h.double() * 1e160, y)


@pytest.mark.parametrize("columns", [by_rows.STRIP - 1, by_rows.STRIP, by_rows.STRIP + 1, 391])
def test_the_scatter_is_the_whole_product(columns):
    x = torch.randn(90, columns, dtype=torch.float64)
    for point in (x.mean(dim=0), x[0]):
        got = by_rows.scatter_of(iter(x.split(40)), point, "it")
        assert torch.equal(got, got.T)
        np.testing.assert_allclose(got, (x - point).T @ (x - point), rtol=1e-12, atol=1e-12)
    mean, got = by_rows.mean_and_scatter(iter(x.split(40)), "it")
    assert torch.equal(got, got.T)
    np.testing.assert_allclose(mean, x.mean(dim=0), rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(got, (x - x.mean(dim=0)).T @ (x - x.mean(dim=0)), rtol=1e-11, atol=1e-11)


def test_one_reading_keeps_its_digits_whatever_the_first_rows_are():
    """The first piece is no sample of the rows: sorted ones begin far from their mean; all may lie far from zero."""
    x = torch.randn(4000, 3, dtype=torch.float64).sort(dim=0).values + 2.0**20
    x[0] += 2.0**10
    exact = np.asarray(x.numpy(), dtype=np.longdouble)
    centred = exact - exact.mean(axis=0)
    mean, scatter = by_rows.mean_and_scatter(iter(x.split(1)), "it")  # one row in the first piece: the worst there is
    np.testing.assert_allclose(mean, exact.mean(axis=0).astype(float), rtol=1e-14)
    np.testing.assert_allclose(scatter, (centred.T @ centred).astype(float), rtol=4000 * 2e-14)
    mean, scatter = by_rows.mean_and_scatter(iter(x[5:6].repeat(20, 1).split(7)), "it")
    assert torch.equal(mean, x[5])
    assert not scatter.any()


@pytest.mark.parametrize("columns", [1, covariance.STRIP, covariance.STRIP + 1, 600])
def test_products_by_strips_are_the_whole_product(columns, monkeypatch):
    monkeypatch.setattr(covariance, "PIECE", 8 * columns * 7)  # seven rows at once, of twenty
    x, origins = torch.randn(20, columns, dtype=torch.float64), torch.randn(3, columns, dtype=torch.float64)
    whitens = torch.randn(3, columns, columns, dtype=torch.float64).tril()
    whole = torch.stack([(x - origin) @ whiten.T for origin, whiten in zip(origins, whitens, strict=True)])
    squares = covariance.whitened_squares(x, origins, whitens)
    np.testing.assert_allclose(squares, whole.square().sum(dim=2).T, rtol=1e-10)
    places = torch.randn(5, columns, dtype=torch.float64)
    nearest = covariance.nearest_squares(x, origins[1], whitens[1], places)
    each = (whole[1][:, None] - places).square().sum(dim=2)
    np.testing.assert_allclose(nearest, each.amin(dim=1), rtol=1e-9)


@pytest.mark.parametrize("away", [0.0, 1e-6, 1e-3, 1.0, 1e2, 1e4, 1e6])
def test_near_means_far_from_all_others_keep_their_digits(away):
    """Where products alone would lose the distance to cancellation, it comes from the differences."""
    places = 1e6 * torch.randn(4, 30, dtype=torch.float64)
    whiten, origin = torch.eye(30, dtype=torch.float64), torch.zeros(30, dtype=torch.float64)
    step = torch.nn.functional.normalize(torch.randn(4, 30, dtype=torch.float64), dim=1)
    x = places + away * step
    exact = np.square(x.numpy().astype(np.longdouble) - places.numpy()).sum(axis=1).astype(float)
    found = covariance.nearest_squares(x, origin, whiten, places)
    np.testing.assert_allclose(found, exact, rtol=1e-9, atol=0)
    far = torch.cat([x, places.mean(dim=0, keepdim=True)])  # a row that needs it among others does not change them
    assert torch.equal(covariance.nearest_squares(far, origin, whiten, places)[:4], found)


def test_the_rank_counts_directions_of_little_spread_and_none_of_rounding():
    """Noise begins eight digits below the ridge, not two: a few thousandths of it are a spread."""
    variances = torch.tensor([1.0, 1e-2, 1e-7, 0.0], dtype=torch.float64)  # with a ridge of 1e-4 of their mean
    rows = torch.linalg.qr(torch.randn(400, 4, dtype=torch.float64)).Q
    rows = torch.linalg.qr(rows - rows.mean(dim=0)).Q * (400 * variances).sqrt()
    summary = fit("mahalanobis", rows, torch.zeros(400, dtype=torch.int64)).summary()
    ridge = 1e-4 * float(variances.mean())
    assert summary["ridge_added"] == pytest.approx(ridge)
    assert summary["rank"] == 3
    assert summary["eigenvalue_max"] == pytest.approx(1 + ridge)
    assert summary["eigenvalue_min"] == pytest.approx(ridge)
    assert summary["condition_number"] == pytest.approx((1 + ridge) / ridge)
