"""Detectors compared on rows whose ranking, differences and paradox are known."""

import numpy as np
import pandas as pd
import pytest

from ood_core import comparison, tables
from ood_core.checks import InputError
from tests.made_up import BLANK, around, auroc

OWN = {"msp": "logits", "knn": "unit"}


def cost(recipe, scorer, seconds):
    top = BLANK | {"recipe": recipe, "scorer": scorer, "layer": OWN.get(scorer, "features"), "split": "train"}
    return [{**top, "metric": "fit_seconds", "seed": seed, "value": seconds} for seed in range(5)]


def detector(recipe, scorer, near, far, half=0.01, **columns):
    columns = {"layer": OWN.get(scorer, "features"), **columns}
    return [
        *auroc(recipe, around(near, half), scorer=scorer, ood_set="a", ood_group="near", **columns),
        *auroc(recipe, around(far + 0.02, half), scorer=scorer, ood_set="b", ood_group="far", **columns),
        *auroc(recipe, around(far - 0.02, half), scorer=scorer, ood_set="c", ood_group="far", **columns),
    ]


@pytest.fixture
def rows():
    found = [
        *detector("ce", "msp", 0.8, 0.9),
        *detector("ce", "knn", 0.86, 0.94),
        *detector("l2", "msp", 0.8, 0.9, params='{"p":1}'),
        *detector("l2", "norm", 0.6, 0.5),
        *cost("ce", "knn", 0.5),
        *auroc("ce", around(0.1, 0.01), scorer="msp", layer="logits", ood_set="a", epoch=2),  # not the last epoch
        *auroc("ce", around(0.1, 0.01), scorer="msp", layer="logits", ood_set="v", ood_group="validation"),
    ]
    return pd.DataFrame(found)


def test_near_and_far_weigh_the_same_however_many_sets(rows):
    table = comparison.summary(rows)
    assert table["scorer"].tolist() == ["knn", "msp", "msp", "norm"]
    first = table.iloc[0]
    assert (first["near"], first["far"], first["both"]) == pytest.approx((0.86, 0.94, 0.9))
    assert (first["low"], first["high"]) == pytest.approx((0.89, 0.91))
    assert first["n"] == 5
    assert first["fit_seconds"] == 0.5
    assert np.isnan(table.iloc[1]["fit_seconds"])


def test_against_a_baseline_is_paired_and_corrected(rows):
    table = comparison.against(rows, "ce", "msp").set_index(["recipe", "scorer"])
    assert len(table) == 3
    assert table.loc[("ce", "knn"), "difference"] == pytest.approx(0.05)
    assert table.loc[("ce", "knn"), "outcome"] == "wins"
    assert table.loc[("l2", "msp"), "outcome"] == "open"
    assert table.loc[("l2", "norm"), "outcome"] == "loses"
    assert (table["p_holm"] >= table["p"]).all()
    with pytest.raises(InputError, match="ce/gen is there 0 times"):
        comparison.against(rows, "ce", "gen")


def test_seeds_that_only_one_of_them_has_do_not_count(rows):
    few = rows[~((rows["scorer"] == "knn") & (rows["seed"] > 2))]
    assert comparison.against(few, "ce", "msp").set_index("scorer").loc["knn", "n"] == 3


def collapse(recipe, values):
    top = BLANK | {"recipe": recipe, "metric": "nc1", "split": "train"}
    return [{**top, "seed": seed, "value": value} for seed, value in enumerate(values)]


def test_a_paradox_of_simpson_shows():
    """Within each objective more collapse goes with worse detection; the objectives turn it round."""
    rise = np.array([0.0, 0.01, 0.02, 0.03])
    found = []
    for recipe, base, level in (("one", 1.0, 0.9), ("other", 2.0, 0.7)):
        found += collapse(recipe, base + rise)
        for group in ("near", "far"):
            found += auroc(recipe, level + rise, scorer="msp", ood_set=group, ood_group=group)
    table = comparison.with_collapse(pd.DataFrame(found)).iloc[0]
    assert table["within"] == pytest.approx(1)
    assert table["pooled"] < 0
    assert (table["objectives"], table["networks"]) == (2, 8)
    shown = tables.with_collapse(comparison.with_collapse(pd.DataFrame(found)))
    assert "<td>yes</td>" in shown.html


def test_constant_numbers_have_no_correlation():
    found = collapse("one", [1.0, 1.0, 1.0])
    for group in ("near", "far"):
        found += auroc("one", [0.5, 0.6, 0.7], scorer="msp", ood_set=group, ood_group=group)
    table = comparison.with_collapse(pd.DataFrame(found)).iloc[0]
    assert np.isnan(table["within"])
    assert table["objectives"] == 0


def test_a_missing_group_is_said(rows):
    with pytest.raises(InputError, match="no near or no far set"):
        comparison.by_seed(rows[~((rows["ood_group"] == "far") & (rows["scorer"] == "knn"))])
    with pytest.raises(InputError, match="no near or no far set"):
        comparison.by_seed(rows[rows["ood_group"] == "near"])
    with pytest.raises(InputError, match="'oscr' has no rows"):
        comparison.by_seed(rows, "oscr")


def test_tables_say_what_the_frames_hold(rows):
    names = {"ce": "cross-entropy <b>", "l2": "L2"}
    summary, against = comparison.summary(rows), comparison.against(rows, "ce", "msp")
    assert tables.ranking(None).html == "<p>Not run yet.</p>"
    shown = tables.ranking(summary, names).html
    assert "cross-entropy &lt;b&gt;" in shown
    assert "90.0 % [89.0, 91.0]" in shown
    assert "p=1" in tables.duels(against, "MSP", names).html
    text = tables.guide(summary, against, names).html
    assert "Best mean over near and far: cross-entropy &lt;b&gt; with <code>knn</code>, 90.0 % [89.0, 91.0]." in text
    assert "1 of 4 detectors have an interval that reaches as far" in text
    assert "Against the baseline, after Holm's correction: 1 better, 1 worse, 1 open" in text
    with pytest.raises(InputError, match="the summary is empty"):
        tables.guide(summary.iloc[:0], against)


def test_a_scorer_on_another_layer_says_so_and_stands_for_nothing_else(rows):
    more = pd.concat([rows, pd.DataFrame(detector("ce", "knn", 0.9, 0.98, layer="features"))])
    summary = comparison.summary(more)
    assert summary["other_layer"].tolist() == ["features", "", "", "", ""]
    text = tables.guide(summary, comparison.against(more, "ce", "knn")).html
    assert "Best mean over near and far: ce with <code>knn</code> (raw features), 94.0 %" in text
    assert "l2 with <code>msp</code> (p=1)" in text
    printed = pd.DataFrame([("knn", "near", 90.0), ("knn", "far", 93.0)], columns=["score", "column", "value"])
    (found,) = tables.anchor(printed, "d", summary, "ce").frame.to_dict("records")
    assert found["near_ours"] == pytest.approx(86.0), "the better layer was picked with its test result in sight"


def test_one_seed_gives_numbers_without_intervals(rows):
    one = rows[rows["seed"] == 0]
    summary = comparison.summary(one)
    assert "inf" not in tables.ranking(summary).html
    assert comparison.against(one, "ce", "msp").empty
    assert "inf" not in tables.guide(summary, comparison.against(one, "ce", "msp")).html


def test_an_anchor_stands_beside_ours(rows):
    printed = pd.DataFrame(
        [("msp", "near", 88.0), ("msp", "far", 91.0), ("vim", "near", 89.0), ("vim", "far", 93.0)],
        columns=["score", "column", "value"],
    )
    shown = tables.anchor(printed, "a <document>", comparison.summary(rows), "ce")
    first, second = shown.frame.to_dict("records")
    assert (first["near_printed"], first["near_ours"]) == pytest.approx((88.0, 80.0))
    assert (first["far_printed"], first["far_ours"]) == pytest.approx((91.0, 90.0))
    assert second["near_ours"] is None or np.isnan(second["near_ours"])
    assert "a &lt;document&gt;" in shown.html
    assert tables.anchor(printed, "d", None, "ce").html.count("not run") == 4
