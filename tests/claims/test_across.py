"""One number a seed from several recipes: means, slopes and ranges of a known truth, and what is refused."""

import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError

from ood_core import claims
from ood_core.checks import InputError

from ..made_up import around, auroc, claim, one, part

NAMES = ["narrow", "middle", "wide"]


def several(how, names=NAMES, **columns):
    return {"recipe": list(names), "across": how, "metric": "auroc", **columns}


def rows(values=(0.5, 0.7, 0.6), seeds=5, **columns):
    """Every recipe with the same noise, so that differences between recipes are exact."""
    noise = around(0.0, 0.01, seeds)
    return [r for name, value in zip(NAMES, values, strict=True) for r in auroc(name, value + noise, **columns)]


def test_the_mean_of_recipes_is_compared_with_the_mean_of_others():
    found = rows((0.5, 0.7, 0.9)) + auroc("other", around(0.6, 0.01)) + auroc("another", around(0.4, 0.01))
    pair = part(rule="paired", margin=None, a=several("mean"), b=several("mean", ["other", "another"]), unit="points")
    assert one(pair, found).estimate == pytest.approx(0.7 - 0.5)
    assert one(part(a=several("mean"), band=0.0), found).estimate == pytest.approx(0.7)


def test_slope_follows_the_listed_order_and_not_the_alphabet():
    found = one(part(a=several("slope"), margin=0.0), rows((0.5, 0.7, 0.6)))
    assert found.estimate == pytest.approx(np.polyfit([0, 1, 2], [0.5, 0.7, 0.6], 1)[0])
    turned = one(part(a=several("slope", NAMES[::-1]), margin=0.0), rows((0.5, 0.7, 0.6)))
    assert turned.estimate == pytest.approx(-found.estimate)


def test_range_is_the_largest_minus_the_smallest_of_each_seed():
    made = rows((0.5, 0.7, 0.6))
    made += [dict(r, scorer="nan", value=0.5 + (r["value"] - 0.5) / 4) for r in made]
    pair = part(
        rule="paired",
        margin=None,
        a=several("range", scorer="feature_norm"),
        b=several("range", scorer="nan"),
        unit="points",
    )
    found = one(pair, made)
    assert found.estimate == pytest.approx(0.2 - 0.05)
    assert found.word == "holds"


def test_recipes_that_a_scale_does_not_have_are_left_out_there_and_waited_for_elsewhere():
    found = pd.DataFrame(rows((0.5, 0.7, 0.9))[:10])
    parts = {"a": several("mean"), "b": several("mean", NAMES[::-1])}
    pair = part(rule="equivalent", direction=None, band=None, margin=0.01, unit="points", **parts)
    assert claims.judge([claim(pair)], found)[0].word == "not run"
    verdict = claims.judge([claim(pair, absent={"tiny": ["wide"]})], found)[0]
    assert (verdict.word, verdict.parts[0].n) == ("holds", 5)
    alone = claim(part(a=several("mean"), band=0.0), absent={"tiny": ["wide"]})
    assert claims.judge([alone], found)[0].parts[0].estimate == pytest.approx(0.6)
    assert claims.judge([alone], found.assign(scale="small"))[0].word == "not run"


def test_a_seed_that_one_recipe_lacks_is_left_out_and_said():
    found = one(
        part(a=several("mean"), band=0.0), [r for r in rows(seeds=6) if (r["recipe"], r["seed"]) != ("wide", 2)]
    )
    assert found.n == 5
    assert "left out, a number is missing: 2" in found.note
    nothing = one(part(a=several("mean")), [r for r in rows() if r["recipe"] != "wide"])
    assert (nothing.word, "no run of recipe wide" in nothing.note) == ("not run", True)
    ranked = one(part(a={"recipe": "all", "metric": "rank"}), rows())
    assert ranked.word == "not run"
    assert ranked.note.startswith("not all runs that are ranked together are recorded")


def test_each_set_is_judged_on_its_own():
    made = rows(ood_set="x") + rows((0.2, 0.2, 0.2), ood_set="y")
    repeated = part(name="sets", a=several("mean"), band=0.0, each="ood_set", counts=False)
    (verdict,) = claims.judge([claim(part(a=several("mean", ood_set="x")), repeated)], pd.DataFrame(made))
    assert [r.name for r in verdict.parts[1].parts] == ["sets: x", "sets: y"]
    assert verdict.parts[1].parts[1].estimate == pytest.approx(0.2)


def test_a_set_can_be_left_out_of_a_mean():
    made = auroc("l2", [0.9] * 5, ood_set="x") + auroc("l2", [0.5] * 5, ood_set="noise")
    whole, less = (
        one(part(a={"recipe": "l2", "metric": "auroc", **how}), made) for how in ({}, {"without": ["noise"]})
    )
    assert (whole.estimate, whole.sets) == (pytest.approx(0.7), ("noise", "x"))
    assert (less.estimate, less.sets) == (pytest.approx(0.9), ("x",))
    for names in (["nise"], ["noise", "x"]):  # a slip of the pen is not a mean over all sets
        found = one(part(a={"recipe": "l2", "metric": "auroc", "without": names}), made)
        assert (found.word, "nothing is left out by" in found.note) == ("not run", True)


def test_recipes_scored_on_other_sets_are_refused():
    made = rows() + auroc("wide", [0.5] * 5, ood_set="near-2")
    with pytest.raises(InputError, match="scored on different OOD sets"):
        one(part(a=several("mean")), made)


@pytest.mark.parametrize(
    ("selector", "message"),
    [
        ({"recipe": NAMES}, "expected `across` beside it"),
        (several("mean", ["wide"]), "two and more that differ"),
        (several("mean", ["wide", "wide"]), "two and more that differ"),
        (several("median"), "across is 'median', expected one of mean, slope, range"),
        (several("mean", epoch="all"), "one epoch"),
        ({"recipe": "wide", "across": "mean"}, "with a list of recipes"),
        ({"recipe": "wide", "without": "noise"}, "without is 'noise', expected a list"),
        ({"recipe": "wide", "without": []}, "expected a list of OOD sets"),
    ],
)
def test_a_wrong_list_is_refused(selector, message):
    with pytest.raises(ValidationError, match=message):
        claim(part(a={"metric": "auroc", **selector}))


@pytest.mark.parametrize("other", [[], auroc("l2", [0.1] * 5, metric="accuracy", epoch=0)])
def test_before_training_is_not_taken_from_the_last_epoch(other):
    """A run that kept no earlier weights is measured later at its last epoch alone: no change, and no zero."""
    growth = part(
        rule="paired",
        margin=None,
        a={"recipe": "l2", "metric": "auroc", "epoch": "last"},
        b={"recipe": "l2", "metric": "auroc", "epoch": "first"},
        unit="points",
    )
    found = one(growth, auroc("l2", [0.9] * 5) + other)
    assert (found.word, "nothing is recorded at the first epoch" in found.note) == ("not run", True)
    found = one(growth, auroc("l2", [0.9] * 5) + auroc("l2", [0.6] * 5, epoch=0))
    assert found.estimate == pytest.approx(0.3)
