"""Separation, purity, silhouette, mutual information, entropy of activation and the hidden classifier."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn.metrics.pairwise import cosine_distances

from ood_core import geometry
from ood_core.checks import InputError
from ood_core.geometry import hidden, partitions, separation
from tests.oracle import geometry as oracle

METRICS = pytest.mark.parametrize("metric", ["euclidean", "cosine"])
LINE = torch.tensor([[0.0], [1.0], [5.0], [7.0], [40.0]])
ON_LINE = torch.tensor([0, 0, 1, 1, 2])


def classes(n=60, dim=5, count=4, seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    labels = torch.cat([torch.arange(count), torch.randint(count, (n - count,), generator=generator) ** 2 % count])
    centres = 2 * torch.randn(count, dim, generator=generator, dtype=torch.float64)
    features = centres[labels] + torch.randn(n, dim, generator=generator, dtype=torch.float64) + 1
    return features.to(dtype), labels


def rotation(dim=5):
    return torch.linalg.qr(torch.randn(dim, dim, dtype=torch.float64)).Q


def test_global_separation_by_hand():
    # Mean distances: own 1/2, 1, 0 with the zeros to themselves; 0 to 1: (5 + 7 + 4 + 6) / 4, 1 to 2: 34.
    wanted = [(5.5 - 0.5) / 5.5, (5.5 - 1) / 5.5, 1]
    assert geometry.global_separation(LINE, ON_LINE, metric="euclidean").tolist() == pytest.approx(wanted)
    # Half of four distances: own 0; from class 0 to 1 the smallest two, 4 and 5.
    half = geometry.global_separation(LINE, ON_LINE, 0.5, "euclidean")
    assert half.tolist() == [1, 1, 1]
    three = geometry.global_separation(LINE, ON_LINE, 0.75, "euclidean")
    assert three.tolist() == pytest.approx([(5 - 1 / 3) / 5, (5 - 2 / 3) / 5, 1])
    # Class 0 spreads more than it is apart: own (6 + 12 + 6) 2 / 9, and (6 + 0 + 6) / 3 from class 1 in its middle.
    wide = torch.tensor([[0.0], [6.0], [12.0], [6.0]])
    assert geometry.global_separation(wide, torch.tensor([0, 0, 0, 1]), metric="euclidean")[0] == pytest.approx(-1 / 4)
    corners = torch.tensor([[1.0, 0], [3.0, 0], [0, 2.0], [1.0, 1.0]])
    cosine = geometry.global_separation(corners, torch.tensor([0, 0, 1, 1]))
    across, within = (1 + (1 - 2**-0.5)) / 2, (1 - 2**-0.5) / 2
    assert cosine.tolist() == pytest.approx([1, (across - within) / across])


def test_a_share_of_the_distances_is_not_lost_to_rounding():
    # 0.29 of 100 distances are 29, and 28.999999999999996 in floating point. The smallest 29 are 10 of 0, 18 of 1 and
    # one of 2 within a class; to the other class k of 90 + k up to 7 of 97, and one of 98.
    line = torch.cat([torch.arange(10.0), torch.arange(100.0, 110.0)])[:, None]
    own, other = 18 + 2, sum(k * (90 + k) for k in range(1, 8)) + 98
    got = geometry.global_separation(line, torch.arange(20) // 10, 0.29, "euclidean")
    assert got.tolist() == pytest.approx([(other - own) / other] * 2)


@METRICS
@pytest.mark.parametrize("share", [1.0, 0.6, 0.2, 1e-6])
@pytest.mark.parametrize("scale", [1e-4, 1.0, 1e4])
def test_global_separation_agrees_with_its_definition(metric, share, scale):
    features, labels = classes()
    features = scale * features
    features[3] = 0
    got = geometry.global_separation(features, labels, share, metric)
    assert got.dtype == torch.float64
    wanted = oracle.global_separation(features.numpy(), labels.numpy(), share, metric)
    assert got.tolist() == pytest.approx(wanted, rel=1e-9, abs=1e-9)


@METRICS
@pytest.mark.parametrize("share", [1.0, 0.7, 0.01])
def test_blocks_change_nothing(metric, share, monkeypatch):
    features, labels = classes(120)
    features[5] = features[9]
    plain = geometry.global_separation(features, labels, share, metric)
    purity = geometry.local_purity(features, labels, 7, metric)
    for size in (1, 40, 300):
        monkeypatch.setattr(separation, "_BLOCK", size)
        monkeypatch.setattr(partitions, "_BLOCK", size)
        assert torch.allclose(geometry.global_separation(features, labels, share, metric), plain, rtol=1e-9)
        assert geometry.local_purity(features, labels, 7, metric) == pytest.approx(purity)


@METRICS
def test_global_separation_of_tight_far_and_random_classes(metric):
    generator = torch.Generator().manual_seed(1)
    labels = torch.arange(10).repeat_interleave(100)
    blobs = torch.eye(10, dtype=torch.float64)[labels] + 1e-7 * torch.randn(1000, 10, generator=generator).double()
    assert (geometry.global_separation(blobs, labels, metric=metric) > 0.9999).all()
    one = torch.randn(1000, 10, generator=generator, dtype=torch.float64)
    assert geometry.global_separation(one, labels, metric=metric).abs().max() < 0.05
    wide = torch.randn(200, 3, generator=generator).double() * torch.tensor([100.0] * 100 + [1.0] * 100)[:, None]
    inside = geometry.global_separation(wide, torch.arange(2).repeat_interleave(100), metric="euclidean")
    assert inside[0] < -0.2 < 0.9 < inside[1]


def test_near_classes_far_away_keep_their_distances():
    features, labels = classes()
    plain = geometry.global_separation(features, labels, metric="euclidean")
    moved = geometry.global_separation(2.0**-10 * features + 2.0**20, labels, metric="euclidean")
    assert torch.allclose(moved, plain, rtol=1e-5)
    for measure in (geometry.silhouette, geometry.local_purity):
        far = measure(2.0**-10 * features + 2.0**20, labels)
        assert far == pytest.approx(measure(features, labels), rel=1e-5)
    # Directions that differ by 1e-7: one minus a cosine would be 5e-15 and lose nearly all of its digits.
    angle = 1e-7 * torch.tensor([0.0, 1.0, 4.0, 6.0], dtype=torch.float64)
    rays = torch.stack([angle.cos(), angle.sin()], dim=1) * torch.tensor([[1.0], [2.0], [3.0], [4.0]])
    # In units of 5e-15, squared differences of the angles: own 0, 0, 1, 1 and 0, 0, 4, 4; across 16, 36, 9, 25.
    got = geometry.global_separation(rays, torch.tensor([0, 0, 1, 1]))
    assert got.tolist() == pytest.approx([(21.5 - 0.5) / 21.5, (21.5 - 2) / 21.5], rel=1e-6)


@METRICS
def test_laws(metric):
    features, labels = classes()
    order = torch.randperm(len(labels))
    for measure in (geometry.global_separation, geometry.local_purity, geometry.silhouette):
        plain = torch.as_tensor(measure(features, labels, metric=metric))
        for scale in (1e-4, 1e4):
            turned = measure(scale * features @ rotation(), labels, metric=metric)
            assert torch.allclose(torch.as_tensor(turned), plain, rtol=1e-7)
        assert torch.allclose(torch.as_tensor(measure(features[order], labels[order], metric=metric)), plain)
        if metric == "euclidean":
            assert torch.allclose(torch.as_tensor(measure(features + 1e5, labels, metric=metric)), plain, rtol=1e-5)
        else:
            lengths = torch.rand(len(labels), 1, dtype=torch.float64) + 0.5
            assert torch.allclose(torch.as_tensor(measure(lengths * features, labels, metric=metric)), plain)
    renamed = (labels + 1) % 4
    assert torch.allclose(
        geometry.global_separation(features, renamed, metric=metric),
        geometry.global_separation(features, labels, metric=metric).roll(1),
    )


def test_purity_by_hand():
    labels, clusters = torch.tensor([0, 0, 1, 1, 1, 2]), torch.tensor([0, 0, 0, 3, 3, 3])
    purity = geometry.cluster_purity(labels, clusters)
    assert purity == pytest.approx({"mean": (2 / 3 + 2 / 3) / 2, "weighted": 4 / 6})
    assert geometry.cluster_purity([0, 1, 1, 1], [0, 0, 1, 1]) == pytest.approx({"mean": 0.75, "weighted": 0.75})
    assert geometry.cluster_purity([0, 1, 1], [0, 0, 5]) == pytest.approx({"mean": 0.75, "weighted": 2 / 3})
    assert geometry.cluster_purity(labels, torch.arange(6)) == {"mean": 1, "weighted": 1}
    # Neighbours on the line: of 0, 1; of 1, 0; of 5, 7; of 7, 5; of 40, 7.
    assert geometry.local_purity(LINE, ON_LINE, 1) == pytest.approx((1 + 1 + 1 + 1 + 0.5) / 5)
    assert geometry.local_purity(LINE, ON_LINE, 0) == 1
    assert geometry.local_purity(LINE, ON_LINE, 4) == pytest.approx(2 / 5)


def test_silhouette_by_hand():
    # 0: a = 1, b = 6; 1: a = 1, b = 5; 5: a = 2, b = 4.5; 7: a = 2, b = 6.5; 40: alone.
    assert geometry.silhouette(LINE, ON_LINE) == pytest.approx((5 / 6 + 4 / 5 + 2.5 / 4.5 + 4.5 / 6.5 + 0) / 5)


@METRICS
@pytest.mark.parametrize("seed", range(3))
def test_purity_silhouette_and_information_agree_with_their_definitions(metric, seed):
    features, labels = classes(seed=seed)
    rows, names = features.numpy(), labels.numpy()
    for n in (1, 3, 10, 59):
        got = geometry.local_purity(features, labels, n, metric)
        assert got == pytest.approx(oracle.local_purity(rows, names, n, metric))
    got = geometry.silhouette(features, labels, metric)
    assert got == pytest.approx(oracle.silhouette(rows, names, metric), rel=1e-9)
    clusters = torch.randint(6, (60,), generator=torch.Generator().manual_seed(seed))
    assert geometry.cluster_purity(labels, clusters) == pytest.approx(oracle.cluster_purity(names, clusters.tolist()))
    assert geometry.nmi(labels, clusters) == pytest.approx(oracle.nmi(labels.tolist(), clusters.tolist()))


def test_information_by_hand():
    assert geometry.nmi([0, 0, 1, 1], [1, 1, 0, 0]) == pytest.approx(1)
    assert geometry.nmi([0, 0, 1, 1], [0, 1, 0, 1]) == pytest.approx(0, abs=1e-12)
    # I = H(y) = log 2; H(k) = 3/2 log 2.
    assert geometry.nmi([0, 0, 1, 1], [0, 0, 1, 2]) == pytest.approx(1 / 1.25)
    assert geometry.nmi([0, 0], [4, 4]) == 1


def test_entropy_by_hand():
    features = torch.tensor([[1.0, 1.0, 0.0, -1.0], [2.0, 0.0, 0.0, 1e-30], [3.0, 0.0, 0.0, 0.0], [1.0, 5.0, 0.0, 0.0]])
    one = -(0.25 * math.log(0.25) + 0.75 * math.log(0.75))
    assert geometry.activation_entropy(features) == pytest.approx((0 + math.log(2) + 0 + one) / 4)
    assert geometry.activation_entropy(-features.abs()) == 0


def test_hidden_classifier_by_hand():
    a = torch.tensor([[3.0, 0.0, 1.0], [0.0, 0.0, 0.0], [2.0, -4.0, 1.0]])
    weight = torch.tensor([[0.7, 0.0, 2.0], [-1.0, 5.0, 0.1]])  # signs (1, -1, 1), (-1, 1, 1)
    assert geometry.hidden_confidence(a, weight).tolist() == [[4, -2], [0, 0], [7, -5]]
    gap, bound, violation = geometry.holder_bound(a, weight)
    assert gap.tolist() == [[0, 6], [0, 0], [0, 12]]
    # sign(a) = (1, -1, 1), (-1, -1, -1), (1, -1, 1): apart by 0 and 4; 4 and 4; 0 and 4.
    assert bound.tolist() == [[0, 12], [0, 0], [0, 16]]
    assert violation <= 0


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("each", [False, True], ids=["shared", "one each"])
def test_hidden_classifier_agrees_with_its_definition(dtype, each, monkeypatch):
    features, _ = classes(dtype=dtype)
    features[:20] = features[:20].relu()
    coefficients = torch.randn(*((60,) if each else ()), 3, 5).round(decimals=0)
    logits, gaps, bounds = oracle.hidden(features.double().numpy(), coefficients.numpy())
    for block in (hidden._BLOCK, 1, 200):
        monkeypatch.setattr(hidden, "_BLOCK", block)
        got = geometry.holder_bound(features, coefficients)
        np.testing.assert_allclose(geometry.hidden_confidence(features, coefficients).numpy(), logits, atol=1e-9)
        np.testing.assert_allclose(got.gap.numpy(), gaps, atol=1e-12)
        np.testing.assert_allclose(got.bound.numpy(), bounds, rtol=1e-12)
        assert got.violation <= 1e-14
        assert geometry.activation_entropy(features) == pytest.approx(
            oracle.activation_entropy(features.double().numpy())
        )


@given(
    hnp.arrays(np.float64, (4, 6), elements=st.floats(-1e6, 1e6)),
    hnp.arrays(np.float64, (3, 6), elements=st.sampled_from([-1.0, 1.0])),
)
def test_the_bound_holds_for_every_vector_and_every_matrix_of_signs(features, signs):
    got = geometry.holder_bound(features, signs)
    assert got.violation <= 1e-9
    assert geometry.holder_bound(1e-3 * features, 7 * signs).violation <= 1e-9


def test_a_violation_would_show():
    # The bound of another matrix is no bound: the measure has to be able to fail.
    features, _ = classes()
    gap = geometry.holder_bound(features, -torch.ones(1, 5)).gap
    bound = geometry.holder_bound(features, torch.where(features > 0, 1.0, -1.0)[:1]).bound
    assert bool((gap > bound).any())


def test_the_worst_violation_is_told_wherever_it_lies(monkeypatch):
    right = hidden._products
    monkeypatch.setattr(hidden, "_BLOCK", 1)  # a row at a time
    monkeypatch.setattr(hidden, "_products", lambda rows, signs: (3 if rows[0, 0] == 5 else 1) * right(rows, signs))
    # Tripled, the logit of the first row is 15 and exceeds its norm, 5, twofold.
    got = geometry.holder_bound(torch.tensor([[5.0, 0.0], [2.0, 0.0]]), torch.tensor([[1.0, 1.0]]))
    assert got.violation == 2


def test_the_sign_of_the_features_and_a_network_of_two_layers():
    # Without biases, logits = C(x) a with C(x) = W D(x) V and D the units on: theorem 3 with one matrix a sample.
    v, w = torch.randn(8, 5, dtype=torch.float64), torch.randn(3, 8, dtype=torch.float64)
    a = torch.rand(50, 5, dtype=torch.float64)
    on = (a @ v.T > 0).double()
    coefficients = torch.einsum("kh,nh,hd->nkd", w, on, v)
    assert torch.allclose(torch.einsum("nkd,nd->nk", coefficients, a), (a @ v.T).relu() @ w.T)
    got = geometry.holder_bound(a, coefficients)
    assert got.violation <= 1e-14
    # After a rectifier, the gap is twice the activation on units of negative sign.
    assert torch.allclose(got.gap, 2 * torch.einsum("nkd,nd->nk", (coefficients <= 0).double(), a))
    own = geometry.holder_bound(a, torch.ones(1, 5))
    assert own.gap.abs().max() < 1e-12
    assert own.bound.abs().max() == 0


@pytest.mark.parametrize(
    ("use", "reason"),
    [
        (lambda x, y: geometry.global_separation(x, y, 0.0), "share is 0.0, expected a fraction above 0"),
        (lambda x, y: geometry.global_separation(x, y, 1.5), "share is 1.5"),
        (lambda x, y: geometry.global_separation(x, y, metric="manhattan"), "metric is 'manhattan', expected one of"),
        (lambda x, y: geometry.silhouette(x, y, metric="manhattan"), "metric is 'manhattan', expected one of"),
        (lambda x, y: geometry.local_purity(x, y, metric="manhattan"), "metric is 'manhattan', expected one of"),
        (lambda x, y: geometry.global_separation(x, 0 * y), "labels hold 1 class"),
        (lambda x, y: geometry.silhouette(x, y * 2), "no sample of class 1"),
        (lambda x, y: geometry.silhouette(x[:4], torch.arange(4)), "4 classes for 4 samples"),
        (lambda x, y: geometry.local_purity(x, y, 60), "neighbours is 60, expected 0 to 59"),
        (lambda x, y: geometry.local_purity(x, y, -1), "neighbours is -1"),
        (lambda x, y: geometry.local_purity(x, y, 2.5), r"neighbours is 2\.5"),
        (lambda x, y: geometry.global_separation(x * np.nan, y), "NaN"),
        (lambda x, y: geometry.global_separation(x[:0], y[:0]), "at least one row"),
        (lambda x, y: geometry.global_separation(x, y[:-1]), r"labels has shape \(59,\)"),
        (lambda x, y: geometry.cluster_purity(y, y[:-1]), r"clusters has shape \(59,\)"),
        (lambda x, y: geometry.cluster_purity(y, y - 1), "clusters spans -1"),
        (lambda x, y: geometry.nmi(y.double(), y), "labels has dtype"),
        (lambda x, y: geometry.nmi(3, y), r"labels has shape \(\)"),
        (lambda x, y: geometry.activation_entropy(x[0]), r"expected \(N, D\)"),
        (
            lambda x, y: geometry.holder_bound(x, torch.ones(3, 4)),
            r"coefficients have shape \(3, 4\), expected \(K, 5\)",
        ),
        (lambda x, y: geometry.hidden_confidence(x, torch.ones(59, 3, 5)), r"or \(60, K, 5\)"),
        (lambda x, y: geometry.hidden_confidence(x, torch.ones(0, 5)), r"coefficients have shape \(0, 5\)"),
        (lambda x, y: geometry.holder_bound(x, torch.full((3, 5), torch.nan)), "coefficients holds 15 NaN"),
    ],
)
def test_refusals(use, reason):
    with pytest.raises(InputError, match=reason):
        use(*classes())


def test_equal_features_are_neither_near_nor_far():
    labels = torch.tensor([0, 0, 1, 1])
    for value in (0.0, 0.1):
        same = torch.full((4, 3), value)
        assert geometry.global_separation(same, labels, metric="euclidean").tolist() == [0, 0]
        assert geometry.silhouette(same, labels) == 0
    # A zero vector is at cosine distance 1 from all but itself.
    assert geometry.global_separation(torch.zeros(4, 3), labels).tolist() == pytest.approx([0.5, 0.5])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_lower_precision_in_float64_sums(dtype):
    features, labels = classes(dtype=dtype)
    rows, names = features.double().numpy(), labels.numpy()
    got = geometry.global_separation(features, labels, 0.5)
    assert got.tolist() == pytest.approx(oracle.global_separation(rows, names, 0.5), rel=1e-9)
    assert geometry.silhouette(features, labels) == pytest.approx(oracle.silhouette(rows, names), rel=1e-9)
    assert geometry.local_purity(features.numpy() if dtype != torch.bfloat16 else features, names, 5) == pytest.approx(
        oracle.local_purity(rows, names, 5)
    )


def test_mean_cosine_distance_agrees_with_scikit_learn():
    features, labels = classes()
    table = cosine_distances(features)
    means = np.array([[table[labels == a][:, labels == b].mean() for b in range(4)] for a in range(4)])
    own, other = means.diagonal(), (means + 9 * np.eye(4)).min(axis=1)
    wanted = (other - own) / np.maximum(other, own)
    assert geometry.global_separation(features, labels).tolist() == pytest.approx(wanted.tolist())
