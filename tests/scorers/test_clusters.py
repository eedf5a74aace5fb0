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


def test_unit_rows_rank_alike_by_distance_and_by_cosine_where_class_means_are_equally_long():
    """||x - m||^2 = 1 + ||m||^2 - 2 x.m: what differs on raw features is their length."""
    rows = torch.nn.functional.normalize(torch.randn(50, 2, dtype=torch.float64), dim=1)
    train = Outputs(features=torch.tensor([[0.6, 0.0], [0.0, 0.6]], dtype=torch.float64), labels=torch.tensor([0, 1]))
    both = [score(rows, train, distance=name).argsort().tolist() for name in ("euclidean", "cosine")]
    assert both[0] == both[1]
    lengths = torch.linspace(0.1, 9, 50, dtype=torch.float64)[:, None]
    both = [score(lengths * rows, train, distance=name).argsort().tolist() for name in ("euclidean", "cosine")]
    assert both[0] != both[1]


def test_a_zero_vector_is_at_cosine_distance_one():
    assert score(torch.zeros(1, 2), distance="cosine").item() == -1
    centred = Outputs(features=torch.tensor([[1.0, 0.0], [-1.0, 0.0]]), labels=torch.tensor([0, 0]))
    assert score(torch.tensor([[0.0, 0.0], [2.0, 0.0]]), centred, distance="cosine").tolist() == [-1, -1]


def test_equal_rows_are_their_own_mean():
    # 0.1 is no binary fraction: a plain sum divided by n moves off it.
    train = Outputs(features=torch.full((7, 3), 0.1, dtype=torch.float64), labels=torch.zeros(7, dtype=torch.long))
    assert score(train.features, train).tolist() == [0.0] * 7


def test_refuses_an_unknown_distance():
    with pytest.raises(
        InputError, match="cluster's distance is 'manhattan', expected one of: euclidean, cosine, mahalanobis"
    ):
        scorers.make("cluster", distance="manhattan")


def wide(n=300, seed=0):
    generator = torch.Generator().manual_seed(seed)
    y = torch.arange(n) % 3
    spread = torch.tensor([0.1, 1.0, 3.0], dtype=torch.float64)[y, None]
    places = 30 * torch.eye(3, 5, dtype=torch.float64)[y]
    return Outputs(features=places + spread * torch.randn(n, 5, generator=generator, dtype=torch.float64), labels=y)


def test_mahalanobis_by_hand():
    # Class 0: mean 0, variance 1; class 1: mean 10, variance 4, with divisor n. Ridge 1 doubles each.
    train = Outputs(features=torch.tensor([[-1.0], [1.0], [8.0], [12.0]]), labels=torch.tensor([0, 0, 1, 1]))
    rows = torch.tensor([[3.0], [4.0]])
    assert score(rows, train, distance="mahalanobis", ridge=0).tolist() == pytest.approx([-9, -9])
    assert score(rows, train, distance="mahalanobis", ridge=1).tolist() == pytest.approx([-4.5, -4.5])
    facts = scorers.make("cluster", distance="mahalanobis", ridge=1).fit(train).summary()
    assert facts["ridge_added"] == pytest.approx([1, 4])
    assert facts["cluster_rows"] == [2, 2]


def test_thresholds_per_cluster_by_hand():
    # Distances to the own mean: 1 1 3 3 in class 0 (mean 2, sd 1), 10 10 20 20 in class 1 (mean 15, sd 5).
    features = torch.tensor([[-1.0], [1.0], [-3.0], [3.0], [90.0], [110.0], [80.0], [120.0]])
    train = Outputs(features=features, labels=torch.tensor([0] * 4 + [1] * 4))
    rows = torch.tensor([[0.0], [2.0], [-8.0], [100.0], [140.0]])
    got = score(rows, train, threshold="cluster")
    assert got.tolist() == pytest.approx([2, 0, -6, 3, -5])
    # A threshold of -1 on the score is 3 on distances in class 0 and 20 in class 1.
    assert (got >= -1).tolist() == [True, True, False, True, False]


def test_a_centre_without_a_spread_of_its_own_takes_that_of_all_rows():
    # Distances to the nearest mean: 1 1 3 3 of class 0, and 4 4 of class 1, which have no spread.
    features = torch.tensor([[-1.0], [1.0], [-3.0], [3.0], [96.0], [104.0]])
    train = Outputs(features=features, labels=torch.tensor([0] * 4 + [1] * 2))
    distances = [1.0, 1.0, 3.0, 3.0, 4.0, 4.0]
    mean = sum(distances) / 6
    sd = (sum((d - mean) ** 2 for d in distances) / 6) ** 0.5
    got = score(torch.tensor([[2.0], [100.0], [110.0]]), train, threshold="cluster")
    assert got.tolist() == pytest.approx([0, mean / sd, -(10 - mean) / sd])
    # The mean of class 2 lies between two others and is the nearest to no row: it is a centre all the same.
    features = torch.tensor([[-10.0], [-9.0], [10.0], [9.0], [-10.5], [10.5]])
    between = Outputs(features=features, labels=torch.tensor([0, 0, 1, 1, 2, 2]))
    assert torch.isfinite(score(torch.tensor([[0.1], [9.0]]), between, threshold="cluster")).all()
    even = Outputs(features=torch.tensor([[0.0], [1.0], [10.0], [11.0]]), labels=torch.tensor([0, 0, 1, 1]))
    with pytest.raises(InputError, match=r"no spread of the distances[\s\S]*threshold='global'"):
        score(torch.tensor([[0.0]]), even, threshold="cluster")


def test_kmeans_finds_separate_clusters_without_labels():
    train = wide()
    bare = Outputs(features=train.features)
    got = score(train.features, bare, centres="kmeans", clusters=3)
    assert torch.allclose(got, score(train.features, train))
    one = score(train.features, bare, centres="kmeans", clusters=1)
    assert torch.allclose(one, -(train.features - train.features.mean(0)).norm(dim=1))
    assert torch.allclose(score(train.features, train, centres="kmeans"), got)
    with pytest.raises(InputError, match="neither labels nor a number of clusters"):
        score(train.features, bare, centres="kmeans")


def test_kmeans_is_scikit_learns():
    from sklearn.cluster import KMeans

    train = wide(seed=4)
    peer = KMeans(6, n_init=50, random_state=0, tol=0).fit(train.features.numpy())
    got = scorers.make("cluster", centres="kmeans", clusters=6, n_init=50).fit(Outputs(features=train.features))
    cost = (got.score(train) ** 2).sum().item()
    assert cost == pytest.approx(peer.inertia_, rel=1e-3)
    assert sum(got.summary()["cluster_rows"]) == 300
    # At a fixed point each centre is the mean of the rows nearest to it.
    centres = got._state["centres"]
    nearest = torch.cdist(train.features, centres).argmin(dim=1)
    assert torch.allclose(torch.stack([train.features[nearest == k].mean(0) for k in range(6)]), centres)


def test_the_seed_means_the_same_in_any_order():
    h = torch.randn(400, 3, dtype=torch.float64)  # no clusters: many local optima
    plain = score(h, Outputs(features=h), centres="kmeans", clusters=12, n_init=1)
    shuffled = Outputs(features=h[torch.randperm(400)])
    assert torch.allclose(score(h, shuffled, centres="kmeans", clusters=12, n_init=1), plain)
    other = score(h, Outputs(features=h), centres="kmeans", clusters=12, n_init=1, seed=1)
    assert not torch.allclose(other, plain)


def test_pca_is_fitted_on_train_alone_and_keeps_distances_in_its_plane():
    train = wide()
    every = score(train.features, train)
    assert torch.allclose(score(train.features, train, pca=5), every)
    scorer = scorers.make("cluster", pca=2).fit(train)
    centred = train.features - train.features.mean(0)
    axes = torch.linalg.svd(centred).Vh[:2].T
    assert scorer.summary()["pca_share_of_variance"] == pytest.approx(
        float((centred @ axes).square().sum() / centred.square().sum())
    )
    # Steps across the plane cost nothing, and other rows to score change nothing.
    across = torch.linalg.svd(centred).Vh[4]
    rows = Outputs(features=train.features[:20] + 1000 * across)
    assert torch.allclose(scorer.score(rows), scorer.score(train[:20]), atol=1e-9)
    assert (scorer.score(train[:20]) >= every[:20] - 1e-12).all()


@pytest.mark.parametrize("distance", ["euclidean", "cosine", "mahalanobis"])
def test_laws(distance):
    train, x = wide(), 10 * torch.randn(40, 5, dtype=torch.float64)
    rotation = torch.linalg.qr(torch.randn(5, 5, dtype=torch.float64)).Q

    def moved(change):
        return score(change(x), Outputs(features=change(train.features), labels=train.labels), distance=distance)

    plain = moved(lambda h: h)
    assert torch.allclose(moved(lambda h: h @ rotation), plain)
    assert torch.allclose(moved(lambda h: 3 * h), 3 * plain if distance == "euclidean" else plain)
    assert torch.allclose(moved(lambda h: h + 5), plain) == (distance != "cosine")


def test_leaky_scores_are_the_true_class_distances():
    train, test = wide(), wide(60, seed=1)
    test = Outputs(features=test.features + 15 * torch.randn(60, 5, dtype=torch.float64), labels=test.labels)
    leaky = scorers.make("cluster_leaky").fit(train)
    plain = scorers.make("cluster").fit(train).score(test)
    assert torch.equal(leaky.score(Outputs(features=test.features)), plain)
    got = leaky.score(test)
    assert (got <= plain).all()
    means = torch.stack([train.features[train.labels == c].mean(0) for c in range(3)])
    right = torch.cdist(test.features, means).argmin(1) == test.labels
    assert 0 < right.sum() < 60
    assert torch.equal(got == plain, right)
    assert torch.allclose(got, -(test.features - means[test.labels]).norm(dim=1))
    assert leaky.calibrate(test).predict(test).sum() >= 57
    with pytest.raises(InputError, match=r"the label 7, expected labels of the 3 classes[\s\S]*without labels"):
        leaky.score(Outputs(features=test.features, labels=test.labels + 5))


def test_no_row_has_a_true_cluster_of_kmeans():
    with pytest.raises(InputError, match="cluster_leaky got centres, expected only"):
        scorers.make("cluster_leaky", centres="kmeans")


def test_refuses_parameters_without_effect_and_out_of_range():
    for settings, reason in (
        ({"clusters": 4}, "clusters, expected only with centres=kmeans"),
        ({"n_init": 4, "seed": 1}, "n_init, seed, expected only with centres=kmeans"),
        ({"ridge": 0.1}, "ridge, expected only with distance=mahalanobis"),
        ({"clusters": -1, "centres": "kmeans"}, "clusters=-1, expected at least 0"),
        ({"n_init": 0, "centres": "kmeans"}, "n_init=0, expected at least 1"),
        ({"pca": -1}, "pca=-1, expected at least 0"),
        ({"centres": "medoids"}, "expected one of: class_means, kmeans"),
        ({"threshold": "row"}, "expected one of: global, cluster"),
    ):
        with pytest.raises(InputError, match=reason):
            scorers.make("cluster", **settings)
    few = Outputs(features=torch.ones(9, 2))
    with pytest.raises(InputError, match=r"finds no 3 clusters in 9 rows[\s\S]*Lower clusters"):
        score(few.features, few, centres="kmeans", clusters=3)
    with pytest.raises(InputError, match=r"finds no 30 clusters in 9 rows"):
        score(few.features, few, centres="kmeans", clusters=30)
    with pytest.raises(InputError, match=r"pca=2, expected at most 1"):
        score(TWO.features[:3], Outputs(features=TWO.features[:3], labels=TWO.labels[:3]), pca=2)
    with pytest.raises(InputError, match="no spread in cluster 1"):
        score(few.features, Outputs(features=TWO.features[:4], labels=TWO.labels[:4]), distance="mahalanobis")


@pytest.mark.parametrize(("distance", "layer"), [("euclidean", "features"), ("cosine", "unit")])
def test_a_cluster_of_two_rows_has_no_spread_of_its_own(distance, layer):
    """Both lie equally far from their mean, and rounding made a deviation of that, by which new rows were divided."""
    generator = torch.Generator().manual_seed(6)  # rounding leaves something of it

    def around(middle, count):
        drawn = torch.randn(count, 6, generator=generator, dtype=torch.float64)
        return (4 * torch.eye(6, dtype=torch.float64)[middle] + 0.3 * drawn).clamp(min=0)

    sizes = (50, 50, 2)
    labels = torch.repeat_interleave(torch.arange(3), torch.tensor(sizes))
    train = Outputs(torch.cat([around(k, n) for k, n in enumerate(sizes)]), labels=labels)
    scorer = scorers.make("cluster", distance=distance, layer=layer, threshold="cluster").fit(train)
    assert scorer._state["near_sd"].min() > 0.1 * scorer._state["near_sd"].max()
    new, far = Outputs(around(2, 40)), Outputs(around(5, 40))
    assert scorer.score(new).median() > scorer.score(far).median()
