"""Neural collapse: the simplex where all is 0, explicit matrices, laws, batches, degenerate features."""

import math

import numpy as np
import pytest
import torch

from ood_core import collapse
from ood_core.checks import InputError
from ood_core.outputs import Head
from tests.oracle import collapse as oracle

CLASSES, DIM = 5, 8


def rotation(dim, seed=0):
    return torch.linalg.qr(torch.randn(dim, dim, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))).Q


def simplex(classes=CLASSES, dim=DIM):
    """Vertices (C, D): equal lengths, pairwise cosines -1/(C - 1)."""
    corners = torch.eye(classes, dtype=torch.float64) - 1 / classes
    return torch.cat([corners, torch.zeros(classes, dim - classes, dtype=torch.float64)], dim=1) @ rotation(dim)


def spread(n=200, classes=CLASSES, dim=DIM, seed=0):
    """Unbalanced classes, none round, with a last layer that errs now and then."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    labels = torch.cat(
        [torch.arange(classes), torch.randint(classes, (n - classes,), generator=generator) ** 2 % classes]
    )
    labels = torch.cat([labels, torch.arange(classes)])
    features = 2 * normal(classes, dim)[labels] + normal(len(labels), dim) @ normal(dim, dim) / dim**0.5 + 3
    weight = torch.stack([features[labels == c].mean(0) for c in range(classes)]) - 3 + normal(classes, dim)
    return features, labels, weight, normal(classes)


def agree(got, wanted, rtol=1e-8):
    assert set(got) == set(wanted)
    for name, value in wanted.items():
        assert isinstance(got[name], float)
        assert got[name] == pytest.approx(value, rel=rtol, abs=1e-12), name


def test_a_collapsed_simplex_scores_zero_throughout():
    means = simplex()
    labels = torch.arange(CLASSES).repeat(6)
    result = collapse.measure(3 * means[labels] + 2, labels, weight=0.7 * means)
    assert list(result) == [
        "nc1",
        "nc2_norm_means",
        "nc2_angle_means",
        "nc2_norm_weights",
        "nc2_angle_weights",
        "nc3",
        "nc4",
    ]
    assert all(abs(value) < 1e-12 for value in result.values())


def test_by_hand():
    # Two classes on a line: means -1 and 2, deviations -+1 and -+2, weights 1 and -3.
    features = torch.tensor([[-2.0], [0.0], [0.0], [4.0]])
    result = collapse.measure(features, torch.tensor([0, 0, 1, 1]), torch.tensor([[1.0], [-3.0]]))
    # S_W = (1 + 1 + 4 + 4) / 4, m = -+1.5, S_B = 1.5^2.
    assert result["nc1"] == pytest.approx(2.5 / 2.25 / 2)
    assert result["nc2_norm_means"] == pytest.approx(0)
    assert result["nc2_angle_means"] == pytest.approx(0)  # opposite, as 2 vectors of a simplex are
    assert result["nc2_norm_weights"] == pytest.approx(math.sqrt(2) / 2)  # sd of 1 and 3 with C - 1, over their mean
    # w / ||W|| = (1, -3) / sqrt(10), m / ||M|| = (-1, 1) / sqrt(2).
    assert result["nc3"] == pytest.approx((0.1**0.5 + 0.5**0.5) ** 2 + (0.9**0.5 + 0.5**0.5) ** 2)
    # The last layer says 1, 0 (tie), 0 (tie), 0; the nearest means are 0, 0, 0, 1.
    assert result["nc4"] == 0.5


@pytest.mark.parametrize("seed", range(4))
def test_agrees_with_explicit_matrices(seed):
    features, labels, weight, bias = spread(seed=seed)
    result = collapse.measure(features, labels, weight, bias)
    assert 0.05 < result["nc4"] < 0.95
    agree(result, oracle.measure(features.numpy(), labels.numpy(), weight.numpy(), bias.numpy()))
    agree(collapse.measure(features, labels), oracle.measure(features.numpy(), labels.numpy()))
    without_bias = collapse.measure(features.numpy(), labels.tolist(), weight.numpy())
    agree(without_bias, oracle.measure(features.numpy(), labels.numpy(), weight.numpy()))


def test_the_other_convention_of_nc1_is_named():
    features, labels, weight, _ = spread()
    plain = collapse.measure(features, labels, weight)
    both = collapse.measure(features, labels, weight, times_c=True)
    assert both.pop("nc1_times_c") == pytest.approx(CLASSES * plain["nc1"])
    agree(both, plain)
    # The authors' notebook: covariance within over all samples, between over classes, no factor.
    means = np.stack([features[labels == c].mean(0).numpy() for c in range(CLASSES)])
    within = np.mean([np.outer(f - means[y], f - means[y]) for f, y in zip(features.numpy(), labels, strict=True)], 0)
    trace = np.trace(within @ np.linalg.pinv(np.cov(means.T, bias=True), rcond=1e-10))
    stream = collapse.Stream(CLASSES, DIM)
    stream.update(features, labels)
    assert stream.result(times_c=True)["nc1_times_c"] == pytest.approx(trace)
    assert "nc1_times_c" not in stream.result()


def test_fewer_dimensions_than_classes():
    features, labels, weight, bias = spread(classes=7, dim=3)
    result = collapse.measure(features, labels, weight, bias)
    agree(result, oracle.measure(features.numpy(), labels.numpy(), weight.numpy(), bias.numpy()))
    assert result["nc2_angle_means"] > 0.1


def test_class_means_of_lower_rank_use_the_pseudo_inverse():
    features, labels, _, _ = spread()
    means = torch.stack([features[labels == c].mean(0) for c in range(CLASSES)])
    on_a_plane = torch.randn(CLASSES, 2, dtype=torch.float64) @ torch.randn(2, DIM, dtype=torch.float64)
    features = features - means[labels] + on_a_plane[labels]
    agree(collapse.measure(features, labels), oracle.measure(features.numpy(), labels.numpy()), rtol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("off", "kept"), [(1e-4, {32, 64}), (1e-6, {64}), (1e-8, {64}), (1e-12, set())])
def test_rounding_of_class_means_is_not_inverted(dtype, off, kept):
    # Three means and a fourth that leaves their plane by `off`: its direction counts where the type can hold it.
    generator = torch.Generator().manual_seed(3)
    means = torch.randn(4, DIM, dtype=torch.float64, generator=generator)
    out = torch.linalg.svd(means[1:3] - means[0]).Vh[-1]  # a unit vector at right angles to that plane
    means[3] = means[0] + means[1] - means[2] + off * out
    labels = torch.arange(4).repeat(50)
    features = (means[labels] + torch.randn(200, DIM, dtype=torch.float64, generator=generator)).to(dtype)
    features -= (torch.stack([features[labels == c].mean(0) for c in range(4)]) - means)[labels].to(dtype)
    result = collapse.measure(features, labels)
    stream = collapse.Stream(4, DIM)
    for f, y in zip(features.split(64), labels.split(64), strict=True):
        stream.update(f, y)
    assert (result["nc1"] > 1e4) == (torch.finfo(dtype).bits in kept)
    # A singular value that is `off` of the largest is known to 1e-16 / off, and nc1 to twice that.
    rtol = 1e-8 if result["nc1"] < 1e4 else max(1e-8, 1e-14 / off)
    agree(result, oracle.measure(features.numpy(), labels.numpy()), rtol)
    agree(stream.result(), result, max(rtol, 1e-7))


def test_rotation_shift_and_scale_change_neither_nc1_nor_nc2():
    features, labels, _, _ = spread()
    plain = collapse.measure(features, labels)
    for scale in (1e-4, 1e4):
        agree(collapse.measure(scale * (features @ rotation(DIM, 1)) + 10 * scale, labels), plain)


def test_nc1_grows_with_the_square_of_the_spread_within():
    features, labels, _, _ = spread()
    means = torch.stack([features[labels == c].mean(0) for c in range(CLASSES)])
    wide = collapse.measure(means[labels] + 3 * (features - means[labels]), labels)
    plain = collapse.measure(features, labels)
    assert wide["nc1"] == pytest.approx(9 * plain["nc1"])
    assert wide["nc2_angle_means"] == pytest.approx(plain["nc2_angle_means"])


def test_opposite_weights_give_nc3_four_and_orthogonal_ones_two():
    means, labels = simplex(), torch.arange(CLASSES).repeat(2)
    assert collapse.measure(means[labels], labels, -means)["nc3"] == pytest.approx(4)
    orthogonal = means @ torch.linalg.svd(means).Vh.T.flip(1) @ torch.linalg.svd(means).Vh
    wanted = 2 - 2 * float((orthogonal * means).sum() / means.norm() ** 2)
    assert collapse.measure(means[labels], labels, orthogonal)["nc3"] == pytest.approx(wanted)


def test_unequal_and_crowded_means_show_in_nc2():
    labels = torch.arange(CLASSES).repeat(2)
    stretched = simplex()
    stretched[0] *= 2
    assert collapse.measure(stretched[labels], labels)["nc2_norm_means"] > 0.1
    # The mean over ordered pairs: on a line with two classes at each end, cosines are 1 and -1.
    line = torch.tensor([[1.0], [1.0], [-1.0], [-1.0]])
    four = torch.arange(4).repeat(2)
    off = (4 * (1 + 1 / 3) + 8 * (1 - 1 / 3)) / 12
    assert collapse.measure(line[four], four)["nc2_angle_means"] == pytest.approx(off)


def test_the_global_mean_weighs_classes_and_not_samples():
    means = simplex()
    labels = torch.tensor([0] * 50 + [1] * 10 + [2, 3, 4])
    assert collapse.measure(means[labels], labels)["nc2_norm_means"] == pytest.approx(0, abs=1e-12)


def test_nc4_uses_the_bias_and_uncentred_means():
    labels = torch.arange(CLASSES).repeat(3)
    features, weight = simplex()[labels] + 5, simplex()
    back = -weight @ torch.full((DIM,), 5.0, dtype=torch.float64)
    assert collapse.measure(features, labels, weight, back)["nc4"] == 0
    assert collapse.measure(features, labels, weight)["nc4"] > 0
    always_first = torch.tensor([1e6, 0, 0, 0, 0])
    assert collapse.measure(features, labels, weight, always_first)["nc4"] == pytest.approx(4 / 5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_lower_precision_in_float64_sums(dtype):
    features, labels, weight, bias = (v.to(dtype) if v.is_floating_point() else v for v in spread())
    wanted = oracle.measure(
        *(v.double().numpy() if v.is_floating_point() else v.numpy() for v in (features, labels, weight, bias))
    )
    agree(collapse.measure(features, labels, weight, bias), wanted, rtol=1e-6)
    full = spread()
    if dtype == torch.float32:
        agree(collapse.measure(features, labels, weight, bias), collapse.measure(*full), rtol=1e-3)


def test_blocks_change_nothing(monkeypatch):
    features, labels, weight, bias = spread()
    plain = collapse.measure(features, labels, weight, bias)
    monkeypatch.setattr(collapse, "_BLOCK", 3 * DIM)
    agree(collapse.measure(features, labels, weight, bias), plain)
    agree(collapse.norm_statistics(features, labels), oracle.norm_statistics(features.numpy(), labels.numpy()))


@pytest.mark.parametrize("batch", [1, 7, 64, 1000])
@pytest.mark.parametrize("offset", [0.0, 1e6])
def test_a_stream_equals_one_measurement(batch, offset):
    features, labels, weight, bias = spread()
    order = torch.argsort(labels)  # whole batches of one class
    features, labels = features[order] + offset, labels[order]
    stream = collapse.Stream(CLASSES, DIM, weight, bias)
    for f, y in zip(features.split(batch), labels.split(batch), strict=True):
        stream.update(f, y)
    wanted = collapse.measure(features, labels, weight, bias)
    rtol = 1e-9 if offset == 0 else 1e-6
    agree(stream.result(), {key: value for key, value in wanted.items() if key != "nc4"}, rtol)
    for f in features.flip(0).split(batch):
        stream.second_pass(f)
    agree(stream.result(), wanted, rtol)


def test_the_last_layer_can_be_a_module():
    features, labels, weight, bias = spread()
    last = torch.nn.Linear(DIM, CLASSES)
    with torch.no_grad():
        last.weight.copy_(weight)
        last.bias.copy_(bias)
    wanted = collapse.measure(features, labels, last.weight.detach(), last.bias.detach())
    assert collapse.measure(features, labels, last) == wanted
    bare = torch.nn.Linear(DIM, CLASSES, bias=False)
    assert collapse.measure(features, labels, bare) == collapse.measure(features, labels, bare.weight.detach())
    with pytest.raises(InputError, match=f"weight has {CLASSES} columns, expected {DIM} as the features"):
        collapse.measure(features, labels, weight.T)


def test_the_last_layer_can_be_the_head_of_outputs():
    features, labels, weight, bias = spread()
    wanted = collapse.measure(features, labels, weight, bias)
    assert collapse.measure(features, labels, Head("linear", weight, bias)) == wanted
    for kind, advice in {"unit": r"outputs.layer\('unit'\).*head.weight and head.bias", "distance": "decided"}.items():
        with pytest.raises(InputError, match=rf"weight is a head of kind '{kind}', expected a linear one.\n.*{advice}"):
            collapse.measure(features, labels, Head(kind, weight))


def test_a_stream_without_a_last_layer():
    features, labels, _, _ = spread()
    stream = collapse.Stream(CLASSES, DIM)
    stream.update(features.numpy(), labels.numpy())
    agree(stream.result(), collapse.measure(features, labels), 1e-9)


def test_a_stream_refuses_what_would_count_wrongly():
    features, labels, weight, _ = spread()
    stream = collapse.Stream(CLASSES, DIM, weight)
    with pytest.raises(InputError, match="no sample of class 0, 1, 2, 3, 4 was seen"):
        stream.result()
    stream.update(features[labels != 2], labels[labels != 2])
    for use in (stream.result, lambda: stream.second_pass(features)):
        with pytest.raises(InputError, match="no sample of class 2 was seen, expected all 5"):
            use()
    with pytest.raises(InputError, match="8 as dim says"):
        stream.update(features[:, :3], labels)
    with pytest.raises(InputError, match=r"labels spans .*, expected 0\.\.4"):
        stream.update(features, labels + 1)
    stream.update(features[labels == 2], labels[labels == 2])
    stream.second_pass(features[:10])
    with pytest.raises(InputError, match=f"saw 10 rows, expected the {len(features)} of update"):
        stream.result()
    with pytest.raises(InputError, match="update came after second_pass"):
        stream.update(features, labels)
    with pytest.raises(InputError, match="second_pass needs the last layer"):
        collapse.Stream(CLASSES, DIM).second_pass(features)
    with pytest.raises(InputError, match="num_classes is 1, expected"):
        collapse.Stream(1, DIM)


def test_no_spread_within_classes_is_legal():
    labels = torch.arange(CLASSES).repeat(4)
    assert collapse.measure(torch.randn(CLASSES, DIM)[labels], labels)["nc1"] == pytest.approx(0, abs=1e-20)


def test_dead_units_and_single_samples_are_legal():
    features, labels, weight, bias = spread()
    features[:, 2:4] = 0
    agree(
        collapse.measure(features, labels, weight, bias),
        oracle.measure(features.numpy(), labels.numpy(), weight.numpy(), bias.numpy()),
    )
    assert collapse.measure(features[:5], torch.arange(5))["nc1"] == 0


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (
            lambda f, y, w, b: (torch.full_like(f, 0.1), y, w, b),
            "class 0, 1, 2, 3, 4, expected vectors with a direction",
        ),
        (lambda f, y, w, b: (torch.zeros_like(f), y, w, b), "class 0, 1, 2, 3, 4, expected"),
        (lambda f, y, w, b: (f, torch.zeros_like(y), None, None), "labels hold 1 class, expected at least 2"),
        (lambda f, y, w, b: (f[y != 1], y[y != 1], w, b), "no sample of class 1"),
        (lambda f, y, w, b: (f, y, w.index_fill(0, torch.tensor([3]), 0), b), "zero row of weight for class 3"),
        (lambda f, y, w, b: (f, y, w[:4], b), "weight has 4 rows and bias 5, expected 5"),
        (lambda f, y, w, b: (f, y, w[:, :4], b), "weight has 4 columns, expected 8"),
        (lambda f, y, w, b: (f, y, w, b[:3]), "weight has 5 rows and bias 3"),
        (lambda f, y, w, b: (f, y, None, b), "bias came without weight"),
        (lambda f, y, w, b: (f * np.nan, y, w, b), "NaN"),
        (lambda f, y, w, b: (f, y[:-1], w, b), r"labels has shape \(\d+,\), expected"),
    ],
)
def test_refusals(change, reason):
    with pytest.raises(InputError, match=reason):
        collapse.measure(*change(*spread()))


def test_a_class_missing_at_the_end_needs_the_number_of_classes():
    features, labels, _, _ = spread()
    with pytest.raises(InputError, match="no sample of class 5, expected all 6"):
        collapse.measure(features, labels, num_classes=6)


def test_a_class_mean_in_the_middle_has_no_angle():
    features = torch.tensor([[-1.0, 0.0], [0.0, 0.0], [1.0, 0.0]]) + 1e3
    with pytest.raises(InputError, match=r"coincides with that of class 1"):
        collapse.measure(features, torch.arange(3))


def test_norm_statistics_by_hand():
    # Lengths 1, 3 | 5, 5 of two classes: mean 3.5; sd_c / mean_c 1/2 and 0; between 4 * 1.5^2 of 11.
    features = torch.tensor([[1.0, 0.0], [0.0, 3.0], [3.0, 4.0], [-5.0, 0.0]])
    result = collapse.norm_statistics(features, torch.tensor([0, 0, 1, 1]))
    agree(result, {"norm_mean": 3.5, "norm_cv_within": 0.25, "norm_between_share": 9 / 11})


@pytest.mark.parametrize("scale", [1e-4, 1.0, 1e4])
def test_norm_statistics_agree_with_their_definition(scale):
    features, labels, _, _ = spread()
    features = scale * features
    agree(collapse.norm_statistics(features, labels), oracle.norm_statistics(features.numpy(), labels.numpy()))
    half = features.float()
    agree(collapse.norm_statistics(half, labels), oracle.norm_statistics(half.double().numpy(), labels.numpy()), 1e-6)


def test_norm_statistics_refuse_lengths_that_do_not_vary():
    features, labels, _, _ = spread()
    for unit in (features, features.float()):
        with pytest.raises(InputError, match=r"all features have the length 1, expected lengths that vary"):
            collapse.norm_statistics(torch.nn.functional.normalize(unit, dim=1), labels)
    with pytest.raises(InputError, match="all features have the length 0"):
        collapse.norm_statistics(torch.zeros_like(features), labels)
    with pytest.raises(InputError, match="all features of class 2 are zero"):
        collapse.norm_statistics(torch.where((labels == 2)[:, None], 0.0, features), labels)
    with pytest.raises(InputError, match="no sample of class 1"):
        collapse.norm_statistics(features[labels != 1], labels[labels != 1])


def test_many_classes_make_blocks_smaller(monkeypatch):
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(600, 4, generator=generator, dtype=torch.float64), torch.arange(600) % 200
    weight = torch.randn(200, 4, generator=generator, dtype=torch.float64)
    whole = collapse.measure(x, y, weight)
    seen = []
    nearest = collapse._nearest
    monkeypatch.setattr(collapse, "_nearest", lambda rows, means: seen.append(rows.shape) or nearest(rows, means))
    monkeypatch.setattr(collapse, "_BLOCK", 2000)
    assert collapse.measure(x, y, weight) == pytest.approx(whole, rel=1e-12)
    assert {shape[0] for shape in seen} == {10}, "2000 numbers are a number each for 200 classes of 10 rows"
    stream = collapse.Stream(200, 4, weight)
    stream.update(x, y)
    stream.second_pass(x)
    assert stream.result() == pytest.approx(whole, rel=1e-9)
    assert {shape[0] for shape in seen} == {10}


@pytest.mark.parametrize(("classes", "dim"), [("3", 4), (3.0, 4), (1, 4), (3, 4.0), (3, 0), (True, 4)])
def test_a_stream_wants_whole_numbers(classes, dim):
    with pytest.raises(InputError, match="expected a whole number of at least"):
        collapse.Stream(classes, dim)
