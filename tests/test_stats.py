"""Intervals and tests against scipy, against their formulas, and by how often they are right."""

import math
import sys

import numpy as np
import pytest
import scipy.stats
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from statsmodels.stats.multitest import multipletests

from ood_core import metrics, stats
from ood_core.checks import InputError
from ood_core.stats import correlations

numbers = st.floats(-100, 100).map(lambda v: round(v, 6))


def test_t_interval_by_hand():
    # Mean 2, sd 1, n = 3; t with 2 degrees of freedom at .975 is 4.302653.
    got = stats.t_interval([1.0, 2.0, 3.0])
    assert (got.mean, got.sd, got.n) == (2, 1, 3)
    assert (got.low, got.high) == pytest.approx((2 - 4.302653 / 3**0.5, 2 + 4.302653 / 3**0.5))


@given(st.lists(numbers, min_size=2, max_size=20, unique=True), st.sampled_from([0.5, 0.9, 0.95, 0.99]))
def test_t_interval_agrees_with_scipy(values, confidence):
    got = stats.t_interval(values, confidence)
    wanted = scipy.stats.ttest_1samp(values, 0).confidence_interval(confidence)
    scale = max(map(abs, values))
    assert (got.low, got.high) == pytest.approx((wanted.low, wanted.high), rel=1e-9, abs=1e-9 * scale)
    assert got.sd == pytest.approx(np.std(values, ddof=1), rel=1e-9)


def test_one_value_says_nothing_about_spread():
    got = stats.t_interval(torch.tensor([0.7]))
    assert (got.low, got.high, got.sd, got.n) == (-math.inf, math.inf, math.inf, 1)
    assert got.mean == pytest.approx(0.7)
    assert stats.paired([0.7], [0.2]).high == math.inf


@given(st.floats(-1e3, 1e3), st.integers(2, 9))
def test_equal_values_have_no_width_at_all(value, n):
    got = stats.t_interval([value] * n)
    assert (got.mean, got.low, got.high, got.sd) == (value, value, value, 0)


def test_the_interval_covers_as_often_as_it_says():
    rng = np.random.default_rng(0)
    hits = sum(stats.t_interval(v).low <= 0 <= stats.t_interval(v).high for v in rng.normal(size=(1500, 5)))
    assert hits / 1500 == pytest.approx(0.95, abs=0.02)


@given(st.lists(numbers, min_size=2, max_size=20, unique=True), numbers)
def test_p_of_a_mean_agrees_with_scipy(values, at):
    wanted = scipy.stats.ttest_1samp(values, at).pvalue
    assert stats.p_of_mean(stats.t_interval(values), at) == pytest.approx(wanted, rel=1e-6, abs=1e-12)


def test_p_of_a_mean_where_there_is_no_spread_or_none_is_known():
    assert stats.p_of_mean(stats.t_interval([0.7]), 0.1) == 1
    equal = stats.t_interval([0.5, 0.5, 0.5])
    assert (stats.p_of_mean(equal, 0.5), stats.p_of_mean(equal)) == (1, 0)
    assert stats.p_of_mean(stats.paired([1.0, 2.0], [1.0, 2.0])) == 1


def test_paired_is_the_interval_of_differences():
    a, b = np.array([0.9, 0.8, 0.95]), np.array([0.7, 0.75, 0.7])
    assert stats.paired(a, b) == stats.t_interval(a - b)
    wanted = scipy.stats.ttest_rel(a, b).confidence_interval(0.9)
    got = stats.paired(a, b, confidence=0.9)
    assert (got.low, got.high) == pytest.approx((wanted.low, wanted.high))
    assert stats.paired(b, a).mean == pytest.approx(-got.mean)


def by_formula(a, b):
    """Pitman's statistic from the variances and the covariance, not from sums and differences."""
    (va, vab), (_, vb) = np.cov(a, b)
    r = (va - vb) / math.sqrt((va + vb) ** 2 - 4 * vab**2)
    t = r * math.sqrt((len(a) - 2) / (1 - r * r))
    return 2 * scipy.stats.t.sf(abs(t), len(a) - 2), np.sign(r)


@pytest.mark.parametrize("seed", range(8))
def test_pitman_morgan_agrees_with_its_formula(seed):
    rng = np.random.default_rng(seed)
    a, b = rng.normal(size=(2, 9)) * [[1.0], [2.0]] + rng.normal(size=9)
    got = stats.pitman_morgan(a, b)
    p, wider = by_formula(a, b)
    assert got.p == pytest.approx(p)
    assert (got.wider, got.n) == (wider, 9)
    swapped = stats.pitman_morgan(b, a)
    assert swapped.p == pytest.approx(got.p)
    assert swapped.wider == -got.wider


def test_pitman_morgan_is_wrong_one_time_in_twenty_and_sees_a_threefold_spread():
    rng = np.random.default_rng(1)

    def rejected(ratio):
        found = []
        for _ in range(800):
            shared, own = rng.normal(size=12), rng.normal(size=(2, 12))
            # Groups correlate, which is what a test for unpaired groups would miss.
            result = stats.pitman_morgan(ratio * (shared + own[0]), shared + own[1])
            found.append((result.p < 0.05, result.wider))
        return found

    assert np.mean([hit for hit, _ in rejected(1.0)]) == pytest.approx(0.05, abs=0.025)
    wide = rejected(3.0)
    assert np.mean([hit for hit, _ in wide]) > 0.9
    assert all(wider == 1 for hit, wider in wide if hit)


def test_pitman_morgan_where_a_side_does_not_vary():
    a = np.array([0.91, 0.95, 0.93, 0.97])
    for other in (a, a + 0.1, 1 - a):
        assert (stats.pitman_morgan(a, other).p, stats.pitman_morgan(a, other).wider) == (1.0, 0)
    assert stats.pitman_morgan(np.ones(4), np.ones(4)).p == 1
    wide, narrow = np.array([1.0, -1.0, 0.5, -0.5, 0.0, 0.3]), np.array([0.1, 0.1, -0.1, -0.1, 0.05, 0.0])
    small = stats.pitman_morgan(0.99 + 1e-4 * wide, 0.99 + 1e-4 * narrow)  # small is not nothing
    assert (small.p, small.wider) == (pytest.approx(stats.pitman_morgan(wide, narrow).p), 1)
    flat = stats.pitman_morgan(a, np.full(4, 0.5))
    assert flat.wider == 1
    assert flat.p == pytest.approx(0, abs=1e-6)


def test_spearman():
    assert stats.spearman([1, 2, 3, 4], [10, 100, 1000, 10000]) == pytest.approx(1)
    assert stats.spearman([1, 2, 3, 4], [4, 3, 2, 1]) == pytest.approx(-1)
    # Ranks 1, 2.5, 2.5, 4 against 1, 3, 2, 4: covariance 4.5 over sqrt(4.5 * 5).
    assert stats.spearman([0.0, 7.0, 7.0, 9.0], [1.0, 3.0, 2.0, 4.0]) == pytest.approx(4.5 / math.sqrt(4.5 * 5))
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 50)).round(1)
    ranks = [scipy.stats.rankdata(v) for v in (a, b)]
    assert stats.spearman(torch.tensor(a), b) == pytest.approx(np.corrcoef(*ranks)[0, 1])
    with pytest.raises(InputError, match="b is constant"):
        stats.spearman([1.0, 2.0], [3.0, 3.0])


def test_resamples_of_a_rank_correlation_come_in_blocks(monkeypatch):
    a, b = np.random.default_rng(0).normal(size=(2, 20))
    whole, sizes, whole_block = stats.spearman_interval(a, b, resamples=150), [], correlations._rank_correlations
    monkeypatch.setattr(correlations, "_DRAWN", 200)
    monkeypatch.setattr(correlations, "_rank_correlations", lambda x, y: sizes.append(len(x)) or whole_block(x, y))
    assert stats.spearman_interval(a, b, resamples=150) == whole
    assert max(sizes) == 10


def test_the_interval_of_a_rank_correlation_is_its_bootstrap():
    rng = np.random.default_rng(0)
    a, noise = rng.normal(size=(2, 12))
    b = a + noise
    found = stats.spearman_interval(a, b, 0.9, 500, seed=3)
    wanted = stats.bootstrap(stats.spearman, a, b, together=True, confidence=0.9, resamples=500, seed=3)
    assert found.mean == wanted.mean == pytest.approx(scipy.stats.spearmanr(a, b).statistic)
    assert (found.low, found.high, found.sd) == pytest.approx((wanted.low, wanted.high, wanted.sd))
    assert (found.n, found.lost) == (12, 0)
    turned = stats.spearman_interval(a, -b, 0.9, 500, seed=3)
    assert (turned.mean, turned.low, turned.high) == pytest.approx((-found.mean, -found.high, -found.low))
    assert turned.p == found.p


def test_resamples_without_a_rank_correlation_are_left_out_and_counted():
    found = stats.spearman_interval([1.0, 2.0, 3.0], [1.0, 2.0, 3.0], resamples=2000)
    assert found.lost == pytest.approx(2000 / 9, rel=0.2)  # three equal draws of three
    assert (found.mean, found.low, found.high) == (1, 1, 1)
    with pytest.raises(InputError, match="a is constant"):
        stats.spearman_interval([1.0, 1.0], [1.0, 2.0])
    with pytest.raises(InputError, match="resamples is 10"):
        stats.spearman_interval([1.0, 2.0], [1.0, 2.0], resamples=10)


def test_the_p_of_a_rank_correlation_counts_orders():
    def p(b, **given):
        return stats.spearman_interval(range(len(b)), b, **given).p

    # Of 120 orders of five, 1 rises throughout, 4 more have rho 0.9, and 3 more 0.8; each has its mirror image.
    assert p([0, 1, 2, 3, 4]) == pytest.approx(2 / 120)
    assert p([4, 3, 2, 1, 0]) == pytest.approx(2 / 120)
    assert p([0, 1, 2, 4, 3]) == pytest.approx(2 * 5 / 120)
    assert p([0, 2, 1, 4, 3]) == pytest.approx(2 * 8 / 120)
    assert p([1, 0, 1, 0, 1, 0, 1], resamples=100) == 1  # all orders of seven, however few resamples are asked for
    rng = np.random.default_rng(0)
    a = rng.normal(size=30)
    b = a + 2 * rng.normal(size=30)
    found = stats.spearman_interval(a, b)
    assert found.p == pytest.approx(scipy.stats.spearmanr(a, b).pvalue, abs=0.01)
    assert found.p == stats.spearman_interval(a, b).p != stats.spearman_interval(a, b, seed=1).p


def test_holm_by_hand():
    # Sorted .01 .02 .03 .5 times 4 3 2 1 gives .04 .06 .06 .5, running maximum.
    assert stats.holm([0.03, 0.01, 0.5, 0.02]) == pytest.approx([0.06, 0.04, 0.5, 0.06])
    assert stats.holm([0.4]) == [0.4]


@settings(max_examples=6)  # statsmodels collects garbage at every call, a tenth of a second
@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_agrees_with_statsmodels(p_values):
    assert stats.holm(p_values) == multipletests(p_values, method="holm")[1].tolist()


def test_holm_needs_no_package_beyond_the_library_s(monkeypatch):
    monkeypatch.setitem(sys.modules, "statsmodels.stats.multitest", None)
    assert stats.holm(torch.tensor([0.5, 0.01], dtype=torch.float64)) == [0.5, 0.02]


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_rejects_step_by_step(p_values):
    adjusted = stats.holm(p_values)
    for level in (0.01, 0.05, 0.3):
        rejected, order = set(), sorted(range(len(p_values)), key=p_values.__getitem__)
        for step, i in enumerate(order):
            if p_values[i] * (len(p_values) - step) > level:
                break
            rejected.add(i)
        assert {i for i, p in enumerate(adjusted) if p <= level} == rejected


def delong_by_definition(inside, outside):
    kernel = np.array([[(a > b) + 0.5 * (a == b) for b in outside] for a in inside])
    rows, columns = kernel.mean(axis=1), kernel.mean(axis=0)
    return kernel.mean(), math.sqrt(rows.var(ddof=1) / len(inside) + columns.var(ddof=1) / len(outside))


@given(st.lists(st.integers(0, 9), min_size=2, max_size=20), st.lists(st.integers(0, 9), min_size=2, max_size=20))
def test_delong_agrees_with_all_pairs(inside, outside):
    got = stats.delong(inside, outside)
    area, sd = delong_by_definition(inside, outside)
    assert got.mean == pytest.approx(area)
    assert got.mean == pytest.approx(metrics.auroc(inside, outside))
    assert got.n == len(inside) + len(outside)
    assert 0 <= got.low < got.high <= 1
    if sd > 1e-9:
        low, high = area - 1.959964 * sd, area + 1.959964 * sd
        assert got.sd == pytest.approx(sd, abs=1e-9)
        assert (got.low, got.high) == pytest.approx((max(0, low), min(1, high)), abs=1e-6)
    else:
        assert area in (0, 0.5, 1), "all pairs alike"
        assert got.sd == math.inf


def test_delong_covers_the_true_area():
    rng = np.random.default_rng(0)
    true = scipy.stats.norm.cdf(1 / math.sqrt(2))
    hits = [stats.delong(rng.normal(1, 1, 60), rng.normal(0, 1, 40)) for _ in range(800)]
    assert np.mean([i.low <= true <= i.high for i in hits]) == pytest.approx(0.95, abs=0.025)


def delong_by_covariance(a, b):
    """DeLong's contrast of two areas by all pairs: the 2 x 2 matrices S10 and S01 of their structural components."""
    kernels = [np.sign(np.subtract.outer(*map(np.asarray, scores))) / 2 + 0.5 for scores in (a, b)]
    s10 = np.cov([kernel.mean(axis=1) for kernel in kernels])
    s01 = np.cov([kernel.mean(axis=0) for kernel in kernels])
    n, m = kernels[0].shape
    contrast = np.array([1.0, -1.0])
    variance = contrast @ (s10 / n + s01 / m) @ contrast
    return kernels[0].mean() - kernels[1].mean(), math.sqrt(max(0.0, variance))


@settings(max_examples=60)
@given(st.integers(2, 15), st.integers(2, 15), st.integers(0, 10**6))
def test_paired_delong_agrees_with_the_covariance_of_all_pairs(n, m, seed):
    rng = np.random.default_rng(seed)
    shared = rng.integers(0, 5, n + m)
    a, b = (np.split(shared + rng.integers(0, 4, n + m), [n]) for _ in range(2))  # many ties
    got = stats.delong_paired(*a, *b)
    difference, sd = delong_by_covariance(a, b)
    assert got.mean == pytest.approx(difference, abs=1e-12)
    assert got.mean == pytest.approx(metrics.auroc(*a) - metrics.auroc(*b), abs=1e-12)
    if sd > 1e-6:
        low, high = difference - 1.959964 * sd, difference + 1.959964 * sd
        assert got.sd == pytest.approx(sd, abs=1e-8)
        assert (got.low, got.high) == pytest.approx((max(-1, low), min(1, high)), abs=1e-6)
        assert got.p == pytest.approx(2 * scipy.stats.norm.sf(abs(difference) / sd), rel=1e-4)
    else:
        assert got.p > 0, "no spread is no certainty"
    turned = stats.delong_paired(*b, *a)
    assert (turned.mean, turned.sd, turned.p) == (-got.mean, got.sd, got.p)


def test_paired_delong_covers_and_rejects_as_often_as_it_says():
    rng = np.random.default_rng(0)

    def trial(gain):
        """Two scores that share most of what makes an image hard; b's classes are 1 apart, a's 1 + gain."""
        shared = rng.normal(size=100)
        a, b = (2 * shared + rng.normal(size=100) + shift * (np.arange(100) < 60) for shift in (1 + gain, 1))
        return stats.delong_paired(a[:60], a[60:], b[:60], b[60:])

    def true(gain):
        spread = math.sqrt(2 * (4 + 1))
        return scipy.stats.norm.cdf((1 + gain) / spread) - scipy.stats.norm.cdf(1 / spread)

    for gain in (0.0, 1.0):
        found = [trial(gain) for _ in range(600)]
        assert np.mean([i.low <= true(gain) <= i.high for i in found]) == pytest.approx(0.95, abs=0.03)
        if gain == 0:
            assert np.mean([i.p < 0.05 for i in found]) == pytest.approx(0.05, abs=0.03)
        else:
            assert np.mean([i.p < 0.05 for i in found]) > 0.8, "the shared part must cancel"


def test_paired_delong_where_nothing_differs_or_little_is_known():
    a = [0.9, 0.5, 0.7], [0.1, 0.6]
    same = stats.delong_paired(*a, *(np.exp(part) for part in a))
    assert (same.mean, same.low, same.high, same.sd, same.p) == (0, 0, 0, 0, 1)
    # Each image is 1/2 better by a on average over the others, of pairs that are 1 better or not at all.
    even = stats.delong_paired([2.0, 4.0], [1.0, 3.0], [1.0, 3.0], [2.0, 4.0])
    assert (even.mean, even.low, even.high, even.sd, even.p) == (0.5, -1, 1, math.inf, 1)
    one = stats.delong_paired([1.0], [0.0, 2.0], [3.0], [0.0, 2.0])
    assert (one.mean, one.low, one.high, one.sd, one.p) == (-0.5, -1, 1, math.inf, 1)
    with pytest.raises(InputError, match="a has 3 ID and 2 OOD scores, b 3 and 1, expected the same images"):
        stats.delong_paired(*a, a[0], [0.1])


def test_delong_with_one_row_knows_nothing():
    got = stats.delong([1.0], [0.0, 2.0])
    assert (got.mean, got.low, got.high, got.sd) == (0.5, 0, 1, math.inf)


@pytest.mark.parametrize("n", [2, 10, 5000])
def test_where_all_pairs_are_alike_there_is_no_certainty(n):
    """As many independent pairs as there are rows on a side, all of them right: the exact limit of a binomial."""
    high, low, same = np.arange(n) + 9.0 * n, np.arange(n + 3.0), np.zeros(n)
    exact = scipy.stats.binomtest(n, n).proportion_ci(0.95).low
    won, lost = stats.delong(high, low), stats.delong(-high, -low)
    assert (won.mean, won.low, won.high, won.sd) == (1, pytest.approx(exact), 1, math.inf)
    assert (lost.mean, lost.low, lost.high) == (0, 0, pytest.approx(1 - exact))
    constant = stats.delong(same, np.zeros(n + 3))
    assert (constant.mean, constant.low, constant.high) == (0.5, pytest.approx(exact / 2), pytest.approx(1 - exact / 2))
    other = stats.delong_paired(high, low, -high, -low)
    assert (other.mean, other.high, other.sd) == (1, 1, math.inf)
    assert other.low == pytest.approx(2 * exact - 1)
    assert other.p == pytest.approx(2 * 0.5**n)
    half = stats.delong_paired(high, low, same, np.zeros(n + 3))
    assert (half.mean, half.low) == (0.5, pytest.approx(1.5 * exact - 1))
    assert half.p == pytest.approx(min(1, 2 * 1.5**-n))
    assert all((found.p < 0.05) == (found.low > 0) for found in (other, half))
    both = stats.delong_paired(high, low, 2 * high, low - 1)
    assert (both.mean, both.p, both.high) == (0, 1, pytest.approx(1 - exact))


def test_bootstrap_repeats_itself_and_agrees_with_theory():
    values = np.random.default_rng(0).normal(3, 2, 200)
    got = stats.bootstrap(np.mean, values, seed=4)
    assert got == stats.bootstrap(np.mean, values, seed=4)
    assert got != stats.bootstrap(np.mean, values, seed=5)
    theory = stats.t_interval(values)
    assert got.mean == pytest.approx(theory.mean)
    assert got.sd == pytest.approx(theory.sd / math.sqrt(200), rel=0.1)
    assert got.high - got.low == pytest.approx(theory.high - theory.low, rel=0.1)
    with pytest.raises(InputError, match=r"the statistic gives no number .*'dict'.*, expected one"):
        stats.bootstrap(metrics.evaluate, values, values - 1)
    narrow = stats.bootstrap(np.mean, values, confidence=0.5)
    assert narrow.high - narrow.low == pytest.approx(2 * 0.6745 * theory.sd / math.sqrt(200), rel=0.1)


def test_bootstrap_of_two_samples_agrees_with_delong():
    rng = np.random.default_rng(0)
    inside, outside = rng.normal(1, 1, 150), rng.normal(0, 1, 250)
    got, wanted = stats.bootstrap(metrics.auroc, inside, outside, resamples=800), stats.delong(inside, outside)
    assert got.sd == pytest.approx(wanted.sd, rel=0.15)
    assert got.n == 400


def test_bootstrap_draws_rows_that_belong_together():
    a = np.random.default_rng(0).normal(size=(30, 2))

    def difference(x, y):
        return float((x - y).mean())

    together = stats.bootstrap(difference, a, a - 1, together=True)
    assert (together.low, together.high, together.n) == (pytest.approx(1), pytest.approx(1), 30)
    assert stats.bootstrap(difference, a, a - 1).sd > 0.1


@pytest.mark.parametrize(
    ("use", "reason"),
    [
        (lambda: stats.t_interval([]), r"values has shape \(0,\)"),
        (lambda: stats.t_interval([1.0, np.nan]), "NaN"),
        (lambda: stats.t_interval([1.0, 2.0], confidence=95), "confidence is 95"),
        (lambda: stats.t_interval([1.0, 2.0], confidence="x"), "confidence is 'x', expected a fraction"),
        (lambda: stats.paired([1.0, 2.0], [1.0, 2.0], None), "confidence is None, expected a fraction"),
        (lambda: stats.bootstrap(np.mean, [1.0, 2.0], seed=-1), "seed is -1, expected a whole number of at least 0"),
        (lambda: stats.bootstrap(np.mean, [1.0, 2.0], seed=None), "seed is None, expected a whole number"),
        (
            lambda: stats.bootstrap(np.mean, [1.0, 2.0], resamples=200.0),
            r"resamples is 200\.0, expected a whole number",
        ),
        (lambda: stats.bootstrap(np.mean, [1.0, 2.0], resamples=True), "resamples is True, expected a whole number"),
        (lambda: stats.spearman_interval([1.0, 2.0], [1.0, 2.0], seed=1.5), r"seed is 1\.5, expected a whole number"),
        (lambda: stats.delong([1.0, 2.0], [1.0, 2.0], confidence=1.0), r"confidence is 1\.0"),
        (lambda: stats.paired([1.0, 2.0], [1.0]), "a has 2 values and b 1, expected pairs"),
        (lambda: stats.pitman_morgan([1.0, 2.0], [2.0, 1.0]), "hold 2 pairs, expected at least 3"),
        (lambda: stats.spearman([1.0], [2.0]), "hold 1 pairs, expected at least 2"),
        (lambda: stats.holm([0.1, 1.2]), r"span 0\.1\.\.1\.2, expected 0\.\.1"),
        (lambda: stats.holm([np.nan]), "NaN"),
        (lambda: stats.bootstrap(np.mean), "got no sample"),
        (lambda: stats.bootstrap(np.mean, 3.0), r"sample 0 has shape \(\)"),
        (lambda: stats.bootstrap(np.mean, [1.0, np.inf]), "sample 0 holds 1 NaN"),
        (lambda: stats.bootstrap(np.mean, [1.0], resamples=10), "resamples is 10"),
        (lambda: stats.bootstrap(np.mean, [1.0], confidence=0), "confidence is 0"),
        (lambda: stats.bootstrap(lambda a, b: 0.0, [1.0], [1.0, 2.0], together=True), r"samples have \[1, 2\] rows"),
        (
            lambda: stats.bootstrap(lambda x: 0 / x.std() if x.std() else np.nan, [1.0, 2.0, 3.0]),
            "statistic is not finite",
        ),
    ],
)
def test_refusals(use, reason):
    with pytest.raises(InputError, match=reason):
        use()
