"""Softmax scores on paper, where float64 saturates, and what leaves them as they are."""

import math
from dataclasses import replace

import pytest
import torch

from ood_core import Outputs, scorers
from ood_core.checks import InputError

LOG3 = math.log(3)


def score(name, logits, train=None, labels=None, **parameters):
    logits = torch.as_tensor(logits, dtype=torch.float64)
    train = logits if train is None else torch.as_tensor(train, dtype=torch.float64)
    labels = None if labels is None else torch.tensor(labels)
    fitted = scorers.make(name, **parameters).fit(Outputs(torch.ones(len(train), 1), train, labels))
    return fitted.score(Outputs(torch.ones(len(logits), 1), logits)).tolist()


def test_by_hand():
    logits = [[0.0, LOG3], [2.0, 2.0]]  # probabilities 1/4 and 3/4; 1/2 and 1/2
    entropy = 0.25 * math.log(4) + 0.75 * math.log(4 / 3)
    assert score("entropy", logits) == pytest.approx([-entropy, -math.log(2)])
    hot = [[0.0, 2 * LOG3]]
    assert score("entropy", hot, temperature=2.0) == pytest.approx([-entropy])
    assert score("mmles", logits) == pytest.approx([1.5 * LOG3 - entropy, 4 - math.log(2)])
    assert score("gen", logits, gamma=0.5) == pytest.approx([-2 * math.sqrt(3 / 16), -1])
    assert score("gen", logits, gamma=1, M=1) == pytest.approx([-3 / 16, -1 / 4])


def test_a_probability_of_zero_adds_nothing():
    """0 log 0 = 0: a NaN would stand at one end of every ranking."""
    assert score("entropy", [[1e4, 0.0], [1e4, 1e4], [-1e300, 1e300]]) == pytest.approx([0, -math.log(2), 0])


def test_a_temperature_moves_the_order_of_entropies():
    """So one that is fitted to calibrate must not go into the score: two equal classes against one of three ahead."""
    logits = [[0.0, 0.0, -9.0], [1.0, 0.0, 0.0]]
    plain, sharp = score("entropy", logits), score("entropy", logits, temperature=0.1)
    assert plain[0] > plain[1]
    assert sharp[0] < sharp[1]


def test_gen_takes_the_largest_probabilities():
    # Terms p (1 - p): 0.09, 0.21, 0.16; 0.0384, 0.0564, 0.09; 0.0384, 0.0196, 0.0196.
    rows = [[math.log(p) for p in row] for row in ([0.1, 0.7, 0.2], [0.04, 0.06, 0.9], [0.96, 0.02, 0.02])]
    assert score("gen", rows, gamma=1, M=2) == pytest.approx([-0.37, -0.1464, -0.0384 - 0.0196])
    assert score("gen", rows, gamma=1, M=50) == score("gen", rows, gamma=1)


def test_kl_matching_by_hand():
    even, third = [0.0, 0.0], [0.0, LOG3]
    # Rows of class 0 by label: (1/2, 1/2) and (1/4, 3/4); their mean is (3/8, 5/8). Class 1: (3/4, 1/4).
    train, labels = [even, third, [LOG3, 0.0]], [0, 0, 1]
    first = 0.5 * math.log(4 / 3) + 0.5 * math.log(4 / 5)
    assert score("kl_matching", [even, [LOG3, 0.0]], train, labels, classes="true") == pytest.approx([-first, 0])
    fitted = scorers.make("kl_matching", classes="true")
    fitted.fit(Outputs(torch.ones(3, 1), torch.tensor(train, dtype=torch.float64), torch.tensor(labels)))
    assert fitted.summary()["rows_per_class"] == [2, 1]
    # By prediction, a tie goes to the first class: (1/2, 1/2) and (3/4, 1/4) have the mean (5/8, 3/8).
    first, second = 0.5 * math.log(4 / 5) + 0.5 * math.log(4 / 3), 0.25 * math.log(1) + 0.75 * math.log(1)
    assert score("kl_matching", [even, third], train) == pytest.approx([-first, -second])


def test_kl_matching_knows_classes_that_are_never_predicted():
    logits = torch.tensor([[3.0, 0.0, 0.0], [0.0, 0.0, 1.0]], dtype=torch.float64)
    outputs = Outputs(torch.ones(2, 1), logits, torch.tensor([1, 1]))
    fitted = scorers.make("kl_matching").fit(outputs)
    assert fitted.summary()["rows_per_class"] == [1, 0, 1]
    assert fitted.score(outputs).tolist() == pytest.approx([0, 0], abs=1e-15)
    with pytest.raises(InputError, match="no sample of class 0, 2"):
        scorers.make("kl_matching", classes="true").fit(outputs)
    with pytest.raises(InputError, match="kl_matching learns from labels"):
        scorers.make("kl_matching", classes="true").fit(replace(outputs, labels=None))


@pytest.mark.parametrize("lead", [20.0, 40.0, 100.0, 700.0])
def test_rows_far_beyond_the_rounding_of_one_keep_their_digits(lead):
    small = math.exp(-lead)  # p of the other class, to first order
    assert score("entropy", [[lead, 0.0]]) == pytest.approx([-small * (1 + lead)], rel=3e-9, abs=0)
    assert score("gen", [[lead, 0.0]]) == pytest.approx([-2 * math.exp(-lead / 10)], rel=3e-9, abs=0)
    assert score("kl_matching", [[lead, 0.0]], [[0.0, lead]]) == pytest.approx([-lead], rel=3e-7)
    # The template is one row with half the small probability: KL = a log(a / b) - a + b with a = 2 b.
    twin = score("kl_matching", [[lead, 0.0]], [[lead + math.log(2), 0.0]])
    assert twin == pytest.approx([-(small * math.log(2) - small / 2)], rel=1e-7, abs=0)


def test_a_probability_of_zero_is_no_nan():
    rows = [[2000.0, 0.0, -1e5], [-1e300, 1e300, 0.0]]
    assert score("entropy", rows) == [0, 0]
    assert score("gen", rows) == pytest.approx([-2 * math.exp(-200), 0], rel=1e-9, abs=0)
    # A template is one row: the other row has all its mass where that has e^-2000.
    far = score("kl_matching", [[0.0, 2000.0, 0.0]], rows[:1])
    assert far == pytest.approx([-2000])


def test_what_a_shift_and_a_permutation_of_classes_do():
    logits = torch.randn(50, 5, dtype=torch.float64)
    moved = logits.flip(1) + 3
    for name in ("entropy", "gen", "kl_matching"):
        assert score(name, moved) == pytest.approx(score(name, logits), rel=1e-9, abs=1e-14)
    assert score("mmles", moved) == pytest.approx([s + 6 for s in score("mmles", logits)])


def test_bounds():
    logits = 3 * torch.randn(50, 5, dtype=torch.float64)
    assert all(-math.log(5) < s < 0 for s in score("entropy", logits))
    assert score("entropy", torch.zeros(1, 5)) == pytest.approx([-math.log(5)])
    assert all(s <= 0 for s in score("kl_matching", logits))
    assert all(-5 * 0.25**0.1 < s < 0 for s in score("gen", logits))


def test_refusals():
    for name in ("entropy", "gen", "kl_matching", "mmles"):
        with pytest.raises(InputError, match=f"{name} got one logit a row, expected at least two"):
            score(name, [[1.0], [2.0]])
    with pytest.raises(InputError, match=r"entropy got temperature=-1\.0, expected one above 0"):
        scorers.make("entropy", temperature=-1)
    for gamma in (0, -0.5, 1.5):
        with pytest.raises(InputError, match=r"expected one in \(0, 1\]"):
            scorers.make("gen", gamma=gamma)
    with pytest.raises(InputError, match="M=0, expected at least 1"):
        scorers.make("gen", M=0)
    with pytest.raises(InputError, match="classes is 'label', expected one of: predicted, true"):
        scorers.make("kl_matching", classes="label")
