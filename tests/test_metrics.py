"""Metrics against scikit-learn, against all pairs and all thresholds, and against their laws."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, roc_auc_score, roc_curve

from ood_core import metrics
from ood_core.checks import InputError
from tests.oracle import metrics as oracle

ALL = ("auroc", "aupr_in", "aupr_out", "fpr_at_tpr", "fpr_ood_positive", "tnr_at_tpr", "detection_accuracy")
few = st.lists(st.integers(0, 8), min_size=1, max_size=30)  # many ties
many = st.lists(st.floats(-1e6, 1e6, width=32), min_size=1, max_size=30)
shares = st.sampled_from([0.05, 0.07, 0.5, 0.9, 0.95, 1.0])


def judged_by_sklearn(inside, outside):
    truth = np.r_[np.ones(len(inside)), np.zeros(len(outside))]
    values = np.r_[inside, outside]
    return {
        "auroc": roc_auc_score(truth, values),
        "aupr_in": average_precision_score(truth, values),
        "aupr_out": average_precision_score(1 - truth, -values),
    }


def fpr_by_sklearn(inside, outside, tpr):
    truth = np.r_[np.ones(len(inside)), np.zeros(len(outside))]
    false_positive, true_positive, _ = roc_curve(truth, np.r_[inside, outside], drop_intermediate=False)
    return false_positive[np.flatnonzero(true_positive >= tpr)[0]]


def test_by_hand():
    inside, outside = [1.0, 2.0, 2.0, 4.0], [0.0, 2.0]
    # Pairs: against 0 all four win; against 2 one loses, two tie, one wins.
    assert metrics.auroc(inside, outside) == (4 + 0 + 0.5 + 0.5 + 1) / 8
    # Three quarters of ID need t = 2, which accepts the OOD 2; all of ID needs t = 1, which does too.
    assert metrics.fpr_at_tpr(inside, outside, 0.75) == 0.5
    assert metrics.fpr_at_tpr(inside, outside, 0.25) == 0.0
    assert metrics.tnr_at_tpr(inside, outside, 0.75) == 0.5
    # All of OOD is detected at t = 2, which rejects 1, 2 and 2; half of it at t = 0.
    assert metrics.fpr_ood_positive(inside, outside, 1.0) == 0.75
    assert metrics.fpr_ood_positive(inside, outside, 0.5) == 0.0
    # Descending: 4 (1/1), then 2, 2 | 2 (3/4), then 1 (4/5).
    assert metrics.aupr_in(inside, outside) == pytest.approx(0.25 * 1 + 0.5 * 3 / 4 + 0.25 * 4 / 5)
    # Ascending: 0 (1/1), 1 gains nothing, then 2 (2/5).
    assert metrics.aupr_out(inside, outside) == pytest.approx(0.5 * 1 + 0.5 * 2 / 5)
    # t = 1: (1 + 1/2) / 2.
    assert metrics.detection_accuracy(inside, outside) == 0.75
    # Right: 1, one 2, 4. Against 0 three win; against 2: a loss, a tie, a win.
    result = metrics.evaluate(inside, outside, correct=np.array([True, True, False, True]))
    assert result["oscr"] == pytest.approx((3 + 0.5 + 1) / 8)
    assert metrics.oscr(inside, outside, np.array([True, True, False, True])) == result["oscr"]
    with pytest.raises(InputError, match="correct is int64"):
        metrics.oscr(inside, outside, [1, 1, 0, 1])


@given(few | many, few | many)
def test_areas_agree_with_scikit_learn_and_with_all_pairs(inside, outside):
    result = metrics.evaluate(inside, outside)
    for name, wanted in judged_by_sklearn(inside, outside).items():
        assert result[name] == pytest.approx(wanted, abs=1e-12)
    assert result["auroc"] == pytest.approx(oracle.auroc(inside, outside), abs=1e-12)
    assert result["detection_accuracy"] == pytest.approx(oracle.detection_accuracy(inside, outside), abs=1e-12)


@given(few | many, few | many, shares)
def test_rates_agree_with_scikit_learn_and_with_all_thresholds(inside, outside, tpr):
    result = metrics.evaluate(inside, outside, tpr=tpr)
    assert result["fpr_at_tpr"] == oracle.fpr_at_tpr(inside, outside, tpr)
    assert result["fpr_at_tpr"] == pytest.approx(fpr_by_sklearn(inside, outside, tpr), abs=1e-12)
    assert result["fpr_ood_positive"] == oracle.fpr_ood_positive(inside, outside, tpr)
    assert result["tnr_at_tpr"] == 1 - result["fpr_at_tpr"]


@given(few | many, few | many, st.data())
def test_oscr_agrees_with_all_pairs(inside, outside, data):
    correct = data.draw(st.lists(st.booleans(), min_size=len(inside), max_size=len(inside)))
    result = metrics.evaluate(inside, outside, correct=np.array(correct))
    assert result["oscr"] == pytest.approx(oracle.oscr(inside, outside, correct), abs=1e-12)
    assert result["oscr"] <= np.mean(correct) + 1e-12


@given(few | many, few | many)
def test_each_function_gives_what_evaluate_gives(inside, outside):
    result = metrics.evaluate(inside, outside)
    assert tuple(result) == ALL
    for name in ALL:
        value = getattr(metrics, name)(inside, outside)
        assert value == result[name]
        assert isinstance(value, float)
        assert 0 <= value <= 1


@given(few, few)
def test_a_monotone_transform_changes_nothing(inside, outside):
    moved = [np.exp(np.array(side, dtype=float)) * 3 - 7 for side in (inside, outside)]
    assert metrics.evaluate(*moved) == metrics.evaluate(inside, outside)


@given(few | many, few | many)
def test_exchanging_the_sets_and_the_sign(inside, outside):
    result = metrics.evaluate(inside, outside)
    mirrored = metrics.evaluate([-b for b in outside], [-a for a in inside])
    for one, other in (("auroc", "auroc"), ("aupr_in", "aupr_out"), ("fpr_at_tpr", "fpr_ood_positive")):
        assert mirrored[one] == pytest.approx(result[other], abs=1e-12)
        assert mirrored[other] == pytest.approx(result[one], abs=1e-12)
    assert metrics.auroc(outside, inside) == pytest.approx(1 - result["auroc"], abs=1e-12)


@given(few | many, few | many, st.randoms(use_true_random=False))
def test_the_order_of_rows_changes_nothing(inside, outside, random):
    result = metrics.evaluate(inside, outside)
    random.shuffle(inside)
    random.shuffle(outside)
    assert metrics.evaluate(inside, outside) == result


@given(st.integers(1, 20), st.integers(1, 20))
def test_a_constant_score_knows_nothing(n, m):
    result = metrics.evaluate(np.full(n, 0.3), np.full(m, 0.3))
    assert result["auroc"] == result["detection_accuracy"] == 0.5
    assert result["fpr_at_tpr"] == result["fpr_ood_positive"] == 1
    assert result["aupr_in"] == pytest.approx(n / (n + m))
    assert result["aupr_out"] == pytest.approx(m / (n + m))


def test_perfect_and_inverted_scores():
    high, low = np.arange(10.0) + 100, np.arange(7.0)
    assert list(metrics.evaluate(high, low).values()) == [1, 1, 1, 0, 0, 1, 1]
    inverted = metrics.evaluate(low, high)
    assert (inverted["auroc"], inverted["fpr_at_tpr"], inverted["detection_accuracy"]) == (0, 1, 0.5)


def test_large_float32_scores_keep_their_order():
    # A sigmoid in float32 is 1 for all of these.
    inside, outside = torch.arange(100.0, 200.0), torch.arange(50.0, 100.0)
    assert metrics.auroc(inside, outside) == 1
    assert metrics.auroc(inside.numpy() * 1e30, outside.numpy() * 1e30) == 1


def test_differences_below_float32_count_in_float64():
    inside, outside = np.array([1 + 1e-12]), np.array([1.0])
    assert metrics.auroc(inside, outside) == 1
    assert metrics.auroc(inside.astype(np.float32), outside) == 0.5
    assert metrics.auroc(np.array([2**53 + 1]), np.array([2**53])) == 1  # integers stay integers


@pytest.mark.parametrize(
    "dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.int64, torch.bool]
)
def test_any_real_type_in_floats_out(dtype):
    inside, outside = torch.tensor([0, 1, 1, 1]).to(dtype), torch.tensor([1, 0, 0]).to(dtype)
    wanted = oracle.auroc([0, 1, 1, 1], [1, 0, 0])
    assert metrics.auroc(inside, outside) == pytest.approx(wanted)
    if dtype != torch.bfloat16:
        assert metrics.auroc(inside.numpy(), outside.tolist()) == pytest.approx(wanted)


def test_negative_zero_ties_with_zero():
    assert metrics.auroc([0.0], [-0.0]) == 0.5


def test_a_share_is_not_lost_to_rounding():
    # 0.07 * 100 and 0.29 * 100 are not whole in floating point.
    inside, outside = np.arange(100.0), np.arange(100.0) - 0.5
    for per_cent in range(1, 101):
        assert metrics.fpr_at_tpr(inside, outside, per_cent / 100) == pytest.approx((per_cent - 1) / 100, abs=1e-12)


def test_inputs_are_left_as_they_were():
    inside, outside = np.array([3.0, 1.0, 2.0]), np.array([2.5, 0.5])
    metrics.evaluate(inside, outside, correct=np.array([True, False, True]))
    assert inside.tolist() == [3, 1, 2]
    assert outside.tolist() == [2.5, 0.5]


def test_many_scores_agree_with_scikit_learn():
    rng = np.random.default_rng(0)
    inside, outside = rng.normal(1, 1, 20_000).astype(np.float32), rng.normal(0, 2, 30_000).astype(np.float32).round(2)
    result = metrics.evaluate(inside, outside)
    for name, wanted in judged_by_sklearn(inside, outside).items():
        assert result[name] == pytest.approx(wanted, rel=1e-12)
    assert result["fpr_at_tpr"] == pytest.approx(fpr_by_sklearn(inside, outside, 0.95), rel=1e-12)


@pytest.mark.parametrize("name", [*ALL, "evaluate"])
def test_refuses_scores_that_would_rank_wrongly(name):
    metric = getattr(metrics, name)
    good = np.array([1.0, 2.0])
    for bad in (np.nan, np.inf, -np.inf):
        with pytest.raises(InputError, match="ood_scores holds 1 NaN or infinite of 2"):
            metric(good, np.array([bad, 1.0]))
    with pytest.raises(InputError, match=r"id_scores has shape \(0,\)"):
        metric(np.array([]), good)
    with pytest.raises(InputError, match=r"id_scores has shape \(2, 1\)"):
        metric(good[:, None], good)
    with pytest.raises(InputError, match="complex64, expected real"):
        metric(good.astype(np.complex64), good)


@pytest.mark.parametrize("tpr", [0, -0.1, 1.5, 95, float("nan"), "0.95", None, [0.9]])
def test_refuses_rates_that_are_no_share(tpr):
    for metric in (metrics.fpr_at_tpr, metrics.tnr_at_tpr, metrics.fpr_ood_positive):
        with pytest.raises(InputError, match=r"tpr is .*, expected a fraction"):
            metric([1.0], [0.0], tpr)
    with pytest.raises(InputError, match="tpr is"):
        metrics.evaluate([1.0], [0.0], tpr=tpr)


def test_refuses_flags_that_do_not_belong():
    for bad in ([True, False], [1, 0, 1], [[True], [True], [True]]):
        with pytest.raises(InputError, match=r"expected bool with shape \(3,\)"):
            metrics.evaluate([1.0, 2.0, 3.0], [0.0], correct=np.array(bad))
    assert metrics.evaluate([1.0, 2.0], [0.0], correct=torch.tensor([False, False]))["oscr"] == 0.0


def test_accuracy():
    logits = torch.tensor([[2.0, 1.0], [0.0, 3.0], [1.0, 1.0]])
    assert metrics.accuracy(logits, [0, 0, 0]) == pytest.approx(2 / 3)  # the tie counts for the first class
    assert metrics.accuracy(logits.numpy(), torch.tensor([1, 1, 1])) == pytest.approx(1 / 3)
    with pytest.raises(InputError, match=r"labels spans 0\.\.2, expected 0\.\.1"):
        metrics.accuracy(logits, [0, 1, 2])
    with pytest.raises(InputError, match="NaN"):
        metrics.accuracy(logits * torch.nan, [0, 1, 1])


def test_ece_by_hand():
    probabilities = torch.tensor([[0.9, 0.1], [0.8, 0.2], [0.4, 0.6], [0.5, 0.5]], dtype=torch.float64)
    # Two bins: (0, .5] holds .5 (right), (.5, 1] holds .9 (right), .8 (wrong), .6 (right).
    assert metrics.ece(probabilities, [0, 1, 1, 0], bins=2) == pytest.approx((0.5 + abs(2 - 2.3)) / 4)
    # Eight bins: .9 and .8 in (.75, 1] and (.75, .875] apart; .6 in (.5, .625]; .5 in (.375, .5].
    assert metrics.ece(probabilities, [0, 1, 1, 0], bins=8) == pytest.approx((0.1 + 0.8 + 0.4 + 0.5) / 4)


@given(st.integers(1, 40), st.integers(1, 20), st.integers(2, 5), st.integers(0, 99))
def test_ece_agrees_with_its_definition(n, bins, classes, seed):
    rng = np.random.default_rng(seed)
    probabilities, labels = rng.dirichlet(np.full(classes, 0.5), n), rng.integers(classes, size=n)
    assert metrics.ece(probabilities, labels, bins) == pytest.approx(oracle.ece(probabilities, labels, bins), abs=1e-12)


def test_ece_of_a_calibrated_and_of_a_sure_and_wrong_network():
    assert metrics.ece(np.eye(2)[[0, 1, 1]], [0, 1, 1]) == 0
    assert metrics.ece(np.eye(2)[[0, 1, 1]], [1, 0, 0]) == 1
    half = torch.tensor([[0.7, 0.3]] * 10, dtype=torch.float16)
    assert metrics.ece(half, [0] * 7 + [1] * 3) == pytest.approx(0, abs=1e-3)


def test_ece_refuses_logits_and_no_bins():
    for bad in ([[3.0, -1.0]], [[0.2, 0.2]], [[1.5, -0.5]]):
        with pytest.raises(InputError, match=r"softmax\(dim=1\)"):
            metrics.ece(np.array(bad), [0])
    for bins in (0, -1, 10.5, 10.0, True, "15", None):
        with pytest.raises(InputError, match=f"bins is {bins!r}, expected a whole number of at least 1"):
            metrics.ece(np.array([[0.5, 0.5]]), [0], bins=bins)
    assert metrics.ece(np.array([[0.5, 0.5]]), [0], bins=np.int64(3)) == 0.5


def test_means_over_sets_and_the_pooled_set_are_two_things():
    rng = np.random.default_rng(0)
    inside = rng.normal(2, 1, 300)
    sets = {"small": rng.normal(1.5, 1, 40), "large": rng.normal(-1, 2, 700)}
    mean, pooled = metrics.mean_over_sets(inside, sets), metrics.pooled_sets(inside, sets)
    each = {name: metrics.evaluate(inside, scores) for name, scores in sets.items()}
    assert set(mean) == set(pooled) == set(each["small"])
    for name, value in mean.items():
        assert value == pytest.approx((each["small"][name] + each["large"][name]) / 2)
    assert pooled == metrics.evaluate(inside, np.concatenate([sets["large"], sets["small"]]))
    for name in ("auroc", "fpr_at_tpr"):  # every image counts alike, and ID rows alone set the threshold
        assert pooled[name] == pytest.approx((40 * each["small"][name] + 700 * each["large"][name]) / 740)
    assert abs(pooled["auroc"] - mean["auroc"]) > 0.05
    assert metrics.mean_over_sets(inside, {"one": sets["small"]}) == metrics.pooled_sets(inside, {"one": sets["small"]})
    at = metrics.fpr_at_tpr(inside, sets["small"], tpr=0.8)
    for use in (metrics.mean_over_sets, metrics.pooled_sets):
        assert use(torch.tensor(inside), {"a": torch.tensor(sets["small"])}, tpr=0.8)["fpr_at_tpr"] == at


@pytest.mark.parametrize("use", [metrics.mean_over_sets, metrics.pooled_sets])
def test_sets_have_names(use):
    for wrong, got in (({}, "empty"), ([1.0, 2.0], "list")):
        with pytest.raises(InputError, match=rf"ood_sets is {got}, expected scores by name"):
            use([1.0, 2.0], wrong)
    with pytest.raises(InputError, match="NaN"):
        use([1.0, 2.0], {"bad": [np.nan]})
    with pytest.raises(InputError, match=r"holds dictionaries \(near\), expected scores[^\n]*\nCall it for each group"):
        use([1.0, 2.0], {"near": {"a": [1.0]}, "b": [2.0]})


@pytest.mark.parametrize("tpr", [np.float32(0.5), torch.tensor(0.5), 1])
def test_takes_rates_of_any_real_kind(tpr):
    assert metrics.fpr_at_tpr([2.0, 1.0], [0.0], tpr) == 0.0
