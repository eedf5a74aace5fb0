"""The rules of claims, on numbers whose right verdict is known."""

import itertools
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats as scipy_stats

from ood_core import stats
from ood_core.claims import rules

from ..made_up import around
from ..pages import ROOT

ZERO = np.zeros(5)


@pytest.mark.parametrize(
    ("mean", "half", "direction", "word", "answer"),
    [
        (0.05, 0.02, "greater", "holds", ""),
        (-0.05, 0.02, "greater", "does not hold", ""),
        (-0.05, 0.02, "less", "holds", ""),
        (0.05, 0.02, "less", "does not hold", ""),
        (0.01, 0.02, "greater", "inconclusive", ""),
        (0.0, 0.004, "greater", "does not hold", ""),  # inside the band of no relevant effect
        (0.003, 0.001, "greater", "does not hold", ""),  # above 0, and inside the band, which is asked first
        (0.004, 0.003, "greater", "holds", ""),  # reaches beyond the band and stays above 0
        (0.05, 0.02, "two_sided", "answered", "higher"),
        (-0.05, 0.02, "two_sided", "answered", "lower"),
        (0.01, 0.02, "two_sided", "answered", "no clear difference"),
        (0.003, 0.001, "two_sided", "answered", "no clear difference"),
    ],
)
def test_paired_follows_the_common_order(mean, half, direction, word, answer):
    found = rules.paired(around(mean, half) + 0.7, ZERO + 0.7, direction=direction)
    assert (found.word, found.answer) == (word, answer)
    assert [found.estimate, found.low, found.high] == pytest.approx([mean, mean - half, mean + half])


def test_the_interval_and_p_are_those_of_the_paired_t_test():
    rng = np.random.default_rng(1)
    a, b = rng.normal(0.9, 0.02, 7), rng.normal(0.88, 0.02, 7)
    found = rules.paired(a, b, direction="greater", band=0)
    expected = scipy_stats.ttest_rel(a, b)
    assert found.p == pytest.approx(expected.pvalue)
    assert (found.low, found.high) == pytest.approx(tuple(expected.confidence_interval(0.95)))


def test_margin_of_a_paired_claim_is_a_size_on_the_claimed_side():
    assert rules.paired(around(0.6, 0.05), ZERO, direction="greater", margin=0.5).word == "holds"
    assert rules.paired(around(0.4, 0.05), ZERO, direction="greater", margin=0.5).word == "does not hold"
    assert rules.paired(around(-0.6, 0.05), ZERO, direction="less", margin=0.5).word == "holds"
    assert rules.paired(around(-0.4, 0.05), ZERO, direction="less", margin=0.5).word == "does not hold"


@pytest.mark.parametrize(
    ("mean", "half", "word"),
    [(0.6, 0.05, "holds"), (0.4, 0.05, "does not hold"), (0.52, 0.05, "inconclusive"), (0.501, 0.0005, "holds")],
)
def test_one_sample_compares_with_its_margin(mean, half, word):
    assert rules.one_sample(around(mean, half), direction="greater", margin=0.5).word == word
    opposite = {"holds": "does not hold", "does not hold": "holds"}.get(word, word)
    assert rules.one_sample(around(mean, half), direction="less", margin=0.5).word == opposite


def test_one_sample_with_a_band_around_its_margin():
    found = rules.one_sample(around(0.501, 0.0005), direction="greater", margin=0.5, band=0.005)
    assert found.word == "does not hold"
    assert "no relevant effect" in found.note


@pytest.mark.parametrize(
    ("mean", "half", "direction", "word", "superior"),
    [
        (-0.002, 0.002, "greater", "holds", False),
        (0.02, 0.01, "greater", "holds", True),
        (0.0, 0.001, "greater", "holds", False),  # a band of no effect would be a success here, so there is none
        (-0.02, 0.01, "greater", "does not hold", False),
        (-0.004, 0.004, "greater", "inconclusive", False),
        (0.002, 0.002, "less", "holds", False),
        (0.02, 0.01, "less", "does not hold", False),
        (-0.02, 0.01, "less", "holds", True),
    ],
)
def test_non_inferior(mean, half, direction, word, superior):
    found = rules.non_inferior(around(mean, half), ZERO, direction=direction, margin=0.005)
    assert found.word == word
    assert ("superior" in found.note) == superior


@pytest.mark.parametrize(
    ("mean", "half", "word"),
    [
        (0.0, 0.01, "holds"),
        (0.005, 0.01, "holds"),
        (0.03, 0.005, "does not hold"),
        (-0.03, 0.005, "does not hold"),
        (0.015, 0.01, "inconclusive"),
        (0.0, 0.05, "inconclusive"),
    ],
)
def test_equivalent(mean, half, word):
    found = rules.equivalent(around(mean, half), ZERO, margin=0.02)
    assert found.word == word
    assert (found.p < 0.05) == (word != "inconclusive")
    assert 0.05 < rules.equivalent(around(0, 0.0105), ZERO, margin=0.01).p < 0.07  # the 95 % interval, not the 90 %


@pytest.mark.parametrize(
    ("mean", "word"), [(0.7, "holds"), (0.4, "inconclusive"), (0.1, "does not hold"), (0.5, "inconclusive")]
)
def test_threshold_leaves_a_gap_between_holding_and_failing(mean, word):
    values = around(mean, 0.05)
    assert rules.threshold(values, direction="greater", hold_at=0.5, fail_at=0.2).word == word
    assert rules.threshold(-values, direction="less", hold_at=-0.5, fail_at=-0.2).word == word


@pytest.mark.parametrize(
    ("value", "word"), [(0.6, "holds"), (0.5, "inconclusive"), (0.3, "inconclusive"), (0.1, "does not hold")]
)
def test_a_number_that_is_one_for_all_seeds_has_no_interval(value, word):
    """A share counted on means over seeds: its t interval would be of no width, and its p below any level."""
    found = rules.threshold(np.full(3, value), direction="greater", hold_at=0.5, fail_at=0.2)
    assert (found.word, found.estimate) == (word, value)
    assert (found.low, found.high, found.p) == (None, None, None)
    assert found.note == "one number for all seeds, without an interval"
    nearly = rules.threshold(np.array([value, value, value + 1e-6]), direction="greater", hold_at=0.5, fail_at=0.2)
    assert None not in (nearly.low, nearly.high, nearly.p)


def test_spread_is_the_pitman_morgan_test():
    rng = np.random.default_rng(3)
    a, b = rng.normal(0, 1, 12), rng.normal(0, 4, 12)
    found = rules.spread(a, b, direction="less")
    assert found.word == "holds"
    assert found.estimate == pytest.approx(a.std(ddof=1) / b.std(ddof=1))
    assert found.p == pytest.approx(scipy_stats.pearsonr(a + b, a - b).pvalue)
    assert rules.spread(b, a, direction="less").word == "does not hold"
    assert rules.spread(a, a[::-1].copy(), direction="less").word == "inconclusive"
    assert rules.spread(a, a + 1, direction="less").word == "inconclusive"
    assert rules.spread(a[:2], b[:2], direction="less").word == "inconclusive"
    assert rules.spread(a, np.ones(12), direction="less").word == "inconclusive"


@settings(max_examples=50)
@given(st.integers(0, 10_000), st.floats(0.2, 5))
def test_spreads_interval_and_p_agree(seed, scale):
    rng = np.random.default_rng(seed)
    a, b = rng.normal(0, 1, 8), rng.normal(0, scale, 8)
    found = rules.spread(a, b, direction="two_sided")
    assert (found.low > 1 or found.high < 1) == (found.p < 0.05)
    assert found.low <= found.estimate <= found.high


def test_correlation_within_runs_and_over_seeds():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(6, 10))
    falling = -(x**3) + rng.normal(size=(6, 10)) * 0.05
    within = rules.correlation(x, falling, direction="less", over="epochs")
    expected = [scipy_stats.spearmanr(a, b).statistic for a, b in zip(x, falling, strict=True)]
    assert within.word == "holds"
    assert within.estimate == pytest.approx(np.mean(expected))
    flat = np.vstack([falling[:-1], np.ones((1, 10))])
    assert rules.correlation(x, flat, direction="less", over="epochs").word == "inconclusive"
    a = rng.normal(size=15)
    over = rules.correlation(a, a + rng.normal(size=15) * 0.1, direction="greater", over="seeds")
    assert over.word == "holds"
    assert 0 < over.low < over.estimate <= over.high <= 1
    assert over == rules.correlation(a, a + 0, direction="greater", over="seeds") or over.p < 0.05
    noise = rules.correlation(a, rng.normal(size=15), direction="two_sided", over="seeds")
    assert noise.answer == "no clear difference"
    assert rules.correlation(a, np.ones(15), direction="less", over="seeds").estimate is None


def test_correlations_over_five_unrelated_seeds_are_found_no_more_often_than_in_one_of_twenty():
    """All orders of five, each as likely: the bootstrap alone would find 16 of 120."""
    found = [
        rules.correlation(np.arange(5.0), np.array(order, float), direction="two_sided", over="seeds")
        for order in itertools.permutations(range(5))
    ]
    assert [one.answer for one in found].count("higher") == [one.answer for one in found].count("lower") == 1
    assert sum(one.low > 0 or one.high < 0 for one in found) > 6
    nearly = rules.correlation(np.arange(5.0), np.array([0, 1, 2, 4, 3.0]), direction="greater", over="seeds")
    assert (nearly.word, nearly.p) == ("inconclusive", pytest.approx(1 / 12))


def test_always_looks_at_every_value_and_needs_no_interval():
    assert rules.always(np.array([1e-9, 2e-8]), at_most=1e-3).word == "holds"
    found = rules.always(np.array([1e-9, 2e-3]), at_most=1e-3)
    assert (found.word, found.estimate, found.p) == ("does not hold", 2e-3, None)
    found = rules.always(np.array([1e-9, 2e-3]), at_most=1e-3, otherwise="inconclusive")
    assert (found.word, found.estimate, found.p) == ("inconclusive", 2e-3, None)


def test_zero_width_on_the_margin_is_inconclusive_and_beside_it_is_not():
    assert rules.paired(ZERO, ZERO, direction="greater", band=0).word == "inconclusive"
    assert rules.paired(ZERO, ZERO, direction="greater").word == "does not hold"  # the band is asked first
    assert rules.one_sample(ZERO + 0.5, direction="greater", margin=0.5).word == "inconclusive"
    # .945 - .95 is -.005000000000000004: on the margin but for rounding
    assert rules.non_inferior(ZERO + 0.945, ZERO + 0.95, direction="greater", margin=0.005).word == "inconclusive"
    assert rules.non_inferior(ZERO + 0.95, ZERO + 0.945, direction="less", margin=0.005).word == "inconclusive"
    assert rules.one_sample(ZERO + 0.6, direction="greater", margin=0.5).word == "holds"
    assert rules.one_sample(ZERO + 0.6, direction="greater", margin=0.5).p == 0


def test_one_seed_has_no_interval():
    found = rules.paired(np.array([0.9]), np.array([0.8]), direction="greater")
    assert (found.word, found.low, found.p) == ("inconclusive", None, None)
    assert found.estimate == pytest.approx(0.1)


@settings(max_examples=50)
@given(
    st.lists(st.floats(-0.03, 0.03), min_size=2, max_size=9),
    st.sampled_from(["paired", "non_inferior", "equivalent", "one_sample"]),
)
def test_a_word_is_decided_exactly_when_its_p_is_below_five_per_cent(values, name):
    a = np.array(values)
    if np.ptp(a) < 1e-6:
        return
    zero = np.zeros(len(a))
    found = {
        "paired": lambda: rules.paired(a, zero, direction="greater"),
        "non_inferior": lambda: rules.non_inferior(a, zero, direction="less", margin=0.005),
        "equivalent": lambda: rules.equivalent(a, zero, margin=0.01),
        "one_sample": lambda: rules.one_sample(a, direction="greater", margin=0.002),
    }[name]()
    if abs(found.p - 0.05) > 1e-6:
        assert (found.p < 0.05) == (found.word != "inconclusive")


def test_lowest_describes_the_worst_seed():
    a, b = np.array([0.9, 0.7, 0.8]), np.array([0.6, 0.95, 0.99])
    assert rules.lowest(a).estimate == 0.7
    found = rules.lowest(a, b)
    assert (found.word, found.estimate) == ("descriptive", pytest.approx(0.1))
    assert found.p is None


def test_reaches_finds_the_first_epoch_at_or_below_the_others_end():
    epochs = np.array([0, 2, 5, 12])
    b = np.array([[9, 5, 4, 3]] * 3, dtype=float)
    a = np.array([[9, 3, 4, 1], [9, 8, 2, 5], [9, 8, 7, 6]], dtype=float)  # at 2, at 5 (and above again later), never
    found = rules.reaches(a, b, over="epochs", epochs=epochs)
    assert (found.word, found.estimate) == ("descriptive", 3.5)
    assert "2 of 3 seeds, of 12 epochs" in found.note
    assert rules.reaches(a[2:], b[2:], over="epochs", epochs=epochs).estimate is None


def p_at(numbers, bound):
    return pytest.approx(stats.p_of_mean(stats.t_interval(numbers), bound))


@pytest.mark.parametrize(
    ("rule", "numbers", "how", "word", "bound"),
    [
        (
            rules.paired,
            around(-0.0095, 0.002),
            {"direction": "two_sided", "margin": 0.01, "band": 0},
            "answered",
            -0.01,
        ),
        (rules.paired, around(-0.02, 0.002), {"direction": "two_sided", "margin": 0.01}, "answered", -0.01),
        (rules.paired, around(0.0095, 0.002), {"direction": "two_sided", "margin": 0.01, "band": 0}, "answered", 0.01),
        (rules.equivalent, around(-0.03, 0.01), {"margin": 0.01}, "does not hold", -0.01),
        (rules.equivalent, around(0.03, 0.01), {"margin": 0.01}, "does not hold", 0.01),
        (
            rules.threshold,
            around(0.4, 0.05),
            {"direction": "greater", "hold_at": 0.6, "fail_at": 0.5},
            "does not hold",
            0.5,
        ),
        (rules.threshold, around(0.7, 0.05), {"direction": "greater", "hold_at": 0.6, "fail_at": 0.5}, "holds", 0.6),
    ],
)
def test_p_is_that_of_the_bound_behind_the_word(rule, numbers, how, word, bound):
    """It goes into Holm's correction: that of a farther bound would be far too small."""
    found = rule(numbers, *([] if rule is rules.threshold else [0 * numbers]), **how)
    assert (found.word, found.p) == (word, p_at(numbers, bound))


def test_no_violation_at_all_holds():
    assert rules.always(np.zeros(2), at_most=0.0).word == "holds"


def test_an_interval_without_width_on_the_edge_of_the_band_is_not_inside():
    found = rules.paired(np.full(5, 0.625), np.full(5, 0.5), direction="greater", band=0.125)
    assert (found.word, found.note) == ("holds", "")


def test_weak_rank_correlations_over_epochs_are_not_called_none():
    """They have no band of no relevant effect."""
    rng, epochs = np.random.default_rng(0), np.arange(200.0)
    shuffled = np.array([rng.permutation(epochs) for _ in range(8)])
    found = rules.correlation(np.tile(epochs, (8, 1)), shuffled, direction="greater", over="epochs")
    assert found.word == "inconclusive"


def test_every_rule_is_told_on_the_page_of_verdicts():
    told = (ROOT / "book" / "reference" / "verdicts.md").read_text()
    named = {
        found for row in re.findall(r"^\| (\*\*.*?) \|", told, re.M) for found in re.findall(r"\*\*(.+?)\*\*", row)
    }
    assert named == {name.replace("non_inferior", "non-inferior").replace("_", " ") for name in rules.RULES}
