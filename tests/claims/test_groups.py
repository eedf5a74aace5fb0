"""Forms of numbers and groups of parts, on rows of a known truth."""

import math

import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError

from ood_core import claims

from ..made_up import around, auroc, claim, one, part

A, B = ({"recipe": name, "metric": "auroc"} for name in ("l2", "ce"))


def compared(a, b, form, **columns):
    """Mean difference of one form, l2 minus ce."""
    rows = auroc("l2", a, **columns) + auroc("ce", b, **columns)
    pair = part(rule="paired", margin=None, a={**A, "form": form}, b={**B, "form": form}, unit="number")
    return one(pair, rows)


def test_log_and_logit_by_hand():
    assert compared([0.5] * 5, [0.25] * 5, "log").estimate == pytest.approx(math.log(2))
    assert compared([0.9] * 5, [0.5] * 5, "logit").estimate == pytest.approx(math.log(9))
    assert compared([2.0] * 5, [1.0] * 5, "log").estimate == pytest.approx(math.log(2))  # not a share: above 1 is legal


def test_exact_shares_count_as_half_an_image():
    assert compared([0.0] * 5, [0.01] * 5, "log").estimate == pytest.approx(math.log(0.005 / 0.01))  # n is 100
    assert compared([1.0] * 5, [0.5] * 5, "logit").estimate == pytest.approx(math.log(0.995 / 0.005))
    assert compared([0.0] * 5, [0.5] * 5, "logit").estimate == pytest.approx(math.log(0.005 / 0.995))


def test_the_form_is_taken_of_the_mean_over_sets():
    rows = auroc("l2", [0.8] * 5, ood_set="x", ood_group="far") + auroc("l2", [0.4] * 5, ood_set="y", ood_group="far")
    found = one(part(a={**A, "form": "log"}, margin=0.0, unit="number"), rows)
    assert found.estimate == pytest.approx(math.log(0.6))


def test_the_area_is_that_of_straight_lines_over_unequal_steps():
    """log x is 0, 2, 4 at epochs 0, 4, 12: (0 + 2) / 2 * 4 + (2 + 4) / 2 * 8 = 28, over 12."""
    rows = [r for e, v in ((0, 0), (4, 2), (12, 4)) for r in auroc("l2", [math.exp(v)] * 5, epoch=e)]
    rows += [r for e in (0, 4, 12) for r in auroc("ce", [1.0] * 5, epoch=e)]
    pair = part(rule="paired", margin=None, a={**A, "form": "log_area"}, b={**B, "form": "log_area"}, unit="number")
    assert one(pair, rows).estimate == pytest.approx(28 / 12)
    short = one(pair, [r for r in rows if r["epoch"] == 12])
    assert (short.word, "two epochs" in short.note) == ("not run", True)


@pytest.mark.parametrize("selector", [{**A, "form": "root"}, {**A, "form": "log_area", "epoch": "last"}])
def test_an_unknown_form_is_refused(selector):
    with pytest.raises(ValidationError, match="form is"):
        claim(part(a=selector))


def test_a_difference_of_differences_is_paired_by_seed():
    noise = [0.0, 0.1, 0.2, 0.3, 0.4]
    rows = []
    for recipe, base in (("l2-on", 0.5), ("ce-on", 0.3), ("l2", 0.45), ("ce", 0.4)):
        rows += auroc(recipe, [base + e for e in noise])
    inside = {"a": {**A, "recipe": "l2-on", "minus": "ce-on"}, "b": {**A, "minus": "ce"}}
    found = one(part(rule="paired", margin=None, unit="points", **inside), rows)
    assert (found.estimate, found.low, found.n) == (pytest.approx(0.15), pytest.approx(0.15), 5)
    short = [row for row in rows if not (row["recipe"] == "ce" and row["seed"] == 3)]
    found = one(part(rule="paired", margin=None, unit="points", **inside), short)
    assert found.n == 4
    assert "left out, a number is missing: 3" in found.note
    with pytest.raises(ValidationError, match="minus is"):
        claim(part(a={**A, "minus": "ce", "epoch": "all"}))


def test_lowest_and_reaches_stand_in_a_claim():
    rows = auroc("l2", [0.9, 0.8, 0.85]) + auroc("ce", [0.7, 0.95, 0.9])
    found = one(part(rule="lowest", direction=None, margin=None, b=B, unit="points"), rows, combine="listed")
    assert found.word == "descriptive"
    assert found.estimate == pytest.approx(0.1)
    falling = [r for e, a, b in ((0, 9, 9), (4, 5, 8), (12, 1, 6)) for r in
               auroc("l2", [a] * 5, epoch=e) + auroc("ce", [b] * 5, epoch=e)]  # fmt: skip
    at = {"rule": "reaches", "direction": None, "margin": None, "over": "epochs", "unit": "number"}
    found = one(part(**at, a={**A, "epoch": "all"}, b={**B, "epoch": "all"}), falling, combine="listed")
    assert (found.word, found.estimate) == ("descriptive", 4)


WORDS = {"holds": 0.05, "does not hold": -0.05, "inconclusive": 0.0}


def judged(words, **fields):
    """A claim of one part a word; a name such as `x:holds` puts the part in group x."""
    parts, rows = [], []
    for i, name in enumerate(words):
        group, _, word = name.rpartition(":")
        parts.append(
            part(name=f"p{i}", group=group or None, a={**A, "ood_set": f"s{i}"}, margin=0.5, band=0.0, unit="percent")
        )
        rows += auroc("l2", around(0.5 + WORDS[word], 0.02), ood_set=f"s{i}")
    groups = {name.rpartition(":")[0]: how for name, how in fields.pop("how", {}).items()}
    (verdict,) = claims.judge([claim(*parts, groups=groups, **fields)], pd.DataFrame(rows))
    assert [r.word for r in verdict.parts] == [w.rpartition(":")[2] for w in words]
    return verdict


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["holds", "holds"], "holds"),
        (["does not hold", "does not hold"], "does not hold"),
        (["holds", "does not hold"], "inconclusive"),
        (["holds", "inconclusive"], "inconclusive"),
    ],
)
def test_parts_that_must_agree(words, expected):
    found = judged(words, combine="agree")
    assert found.word == expected
    assert ("should agree" in found.note) == (words == ["holds", "does not hold"])


@pytest.mark.parametrize(
    ("one_", "two", "three", "expected"),
    [
        ("holds", "holds", "holds", "holds"),
        ("holds", "holds", "does not hold", "holds"),
        ("holds", "does not hold", "does not hold", "does not hold"),
        ("does not hold", "holds", "holds", "does not hold"),  # the required group
        ("inconclusive", "holds", "holds", "inconclusive"),
        ("holds", "inconclusive", "does not hold", "inconclusive"),
    ],
)
def test_a_required_group_and_two_of_three(one_, two, three, expected):
    """`a` has two parts, the second of which always holds: one failure fails the group, not the count."""
    words = [f"a:{one_}", "a:holds", f"b:{two}", f"c:{three}"]
    found = judged(words, how={"a:": "all", "b:": "all", "c:": "all"}, combine="at_least", k=2, required=["a"])
    assert found.word == expected


def test_a_group_that_must_agree_counts_as_one():
    words = ["x:holds", "x:does not hold", "y:holds", "y:holds"]
    assert judged(words, how={"x:": "agree", "y:": "agree"}).word == "inconclusive"
    assert judged(words[2:], how={"y:": "agree"}).word == "holds"


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"groups": {"x": "all"}}, "expected exactly those"),
        ({"groups": {"x": "all", "y": "all"}, "required": ["z"]}, "expected names of groups"),
        ({"groups": {"x": "all", "y": "all"}, "combine": "at_least", "k": 3}, "expected 1 to 2"),
    ],
)
def test_groups_that_do_not_fit_are_refused(fields, message):
    parts = [part(name=name, group=name[0]) for name in ("x1", "x2", "y1")]
    with pytest.raises(ValidationError, match=message):
        claim(*parts, **fields)


def test_answers_that_must_agree():
    found = []
    for second in (0.05, -0.05):
        rows = auroc("l2", around(0.55, 0.02), ood_set="a") + auroc("l2", around(0.5 + second, 0.02), ood_set="b")
        two = [part(name=n, a={**A, "ood_set": n}, direction="two_sided", margin=0.5, band=0.0) for n in ("a", "b")]
        (verdict,) = claims.judge([claim(*two, combine="agree")], pd.DataFrame(rows))
        found.append((verdict.word, verdict.answer))
    assert found == [("answered", "higher"), ("inconclusive", "")]
    assert np.isfinite(verdict.parts[0].p)


def test_a_claim_that_needs_all_its_parts_waits_for_the_last():
    rows = auroc("l2", around(0.4, 0.01))
    fails, waits = part(), part(name="q", a={"recipe": "other", "metric": "auroc"})
    words = [
        claims.judge([claim(fails, waits, needs_all=needed)], pd.DataFrame(rows))[0].word for needed in (False, True)
    ]
    assert words == ["does not hold", "not run"]
    assert claims.judge([claim(fails, needs_all=True)], pd.DataFrame(rows))[0].word == "does not hold"
    beside = {**waits, "counts": False}
    assert claims.judge([claim(fails, beside, needs_all=True)], pd.DataFrame(rows))[0].word == "does not hold"
