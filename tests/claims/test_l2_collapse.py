"""The claims of page l2-collapse on made-up rows of a known truth: which verdict follows, and from which number."""

from functools import cache

import numpy as np
import pandas as pd
import pytest

from ood_core import claims, recipes

from ..made_up import auroc

EPOCHS = (0, 6, 12)
SETTINGS = ("", '{"ridge":1e-06}', '{"ridge":0.01}', '{"jitter":"ladder"}')
SETS = (("near", "digits-89"), ("far", "photos"), ("far", "noise"))
NC = {"nc1": 0.1, "nc2_norm_means": 0.08, "nc2_angle_means": 0.15, "nc3": 0.2, "nc4": 0.01}


@cache
def _noise(seeds):
    """Two patterns over seeds that are not correlated, the first ten times as wide."""
    rng = np.random.default_rng(0)
    wide = rng.permutation(np.linspace(-1, 1, seeds))
    narrow = rng.permutation(np.linspace(-1, 1, seeds))
    return 0.004 * wide, 0.0004 * narrow


def made(gain=0.04, long=-0.01, accuracy=0.0, faster=0.5, unit=0.0, softmax=0.0, seeds=5, **change):
    """Rows where L2 adds `gain` to AUROC, `faster` multiplies collapse and seeds of lower NC1 detect better.

    `change` maps a recipe, or a setting of the density, to what is added to its AUROC.
    """
    rows = []
    for recipe in recipes.load("l2-collapse", "tiny"):
        l2, more = recipe.startswith("l2"), change.get(recipe, 0.0) + (long if recipe == "ce-long" else 0.0)
        noise = _noise(seeds)[1 if l2 else 0]
        for step, epoch in enumerate(EPOCHS):
            plain = {"epoch": epoch, "ood_set": "", "ood_group": "", "scorer": ""}
            level = 0.85 + more + noise + (gain if l2 else 0.0) + 0.03 * (step - 2)
            halved = (faster if l2 else 1) * 2.0 ** (2 - step)
            for layer in ("features", "unit"):
                for metric, end in NC.items():
                    values = end * halved * np.exp(-noise)
                    rows += auroc(recipe, values, **{**plain, "metric": metric, "split": "train", "layer": layer})
            for group, name in SETS:
                at = {"epoch": epoch, "ood_set": name, "ood_group": group}
                rows += auroc(recipe, level, **at, scorer="ddu")
                for layer, extra in (("features", 0.0), ("unit", unit), ("logits", softmax if l2 else 0.0)):
                    for params in SETTINGS if epoch == EPOCHS[-1] and layer != "logits" else ("",):
                        if epoch == EPOCHS[-1] and (layer, params) != ("features", ""):
                            added = extra + (change.get(params, 0.0) if l2 else 0.0)
                            rows += auroc(recipe, level + added, **at, scorer="ddu", layer=layer, params=params)
                for scorer in ("entropy", "msp", "energy") if epoch == EPOCHS[-1] else ():
                    rows += auroc(recipe, 0.8 + noise + (softmax if l2 else 0.0), **at, scorer=scorer, layer="logits")
        for split in ("train", "test"):
            values = 0.96 + (accuracy if l2 else 0.0) + noise / 4
            rows += auroc(recipe, values, **{**plain, "metric": "accuracy", "split": split, "layer": ""})
    return pd.DataFrame(rows)


def verdicts(rows, *ids):
    """Verdicts by id, of the claims named or of all."""
    asked = [claim for claim in claims.load("l2-collapse") if not ids or claim.id in ids]
    return {verdict.claim.id: verdict for verdict in claims.judge(asked, rows, "tiny")}


def words(rows, *ids):
    return {name: verdict.word for name, verdict in verdicts(rows, *ids).items()}


RIGHT = {
    **dict.fromkeys(("A1", "A2", "A4", "A5", "A6", "A7", "A8", "A11"), "holds"),
    "A3": "descriptive",
    **dict.fromkeys(("A9", "A10", "A12"), "answered"),
}


def test_where_the_paper_is_right():
    assert words(made()) == RIGHT


@pytest.mark.parametrize(
    ("truth", "changed"),
    [
        (
            {"gain": -0.04},
            {"A1": "does not hold", "A2": "does not hold", "A5": "does not hold", "A11": "does not hold"},
        ),
        ({SETTINGS[3]: -0.2}, {"A1": "inconclusive", "A2": "inconclusive", "A5": "inconclusive"}),
        ({"ce-long": 0.2}, {"A5": "does not hold"}),
        ({"accuracy": -0.02}, {"A6": "does not hold"}),
        ({"faster": 1.5}, {"A7": "does not hold"}),
        ({"l2-sn": -0.2}, {"A11": "does not hold"}),
    ],
    ids=str,
)
def test_where_it_is_not(truth, changed):
    assert words(made(**truth), *changed) == changed


def test_collapse_needs_nc1_and_two_of_the_others():
    rows = made()
    for metric, expected in (("nc3", "holds"), ("nc1", "does not hold")):
        worse = rows.copy()
        worse.loc[(worse["metric"] == metric) & (worse["recipe"] == "l2"), "value"] *= 4
        assert words(worse, "A7") == {"A7": expected}, metric


def test_minima_and_first_epochs_are_numbers_without_a_test():
    rows = made(faster=0.4)
    found = verdicts(rows, "A3", "A7")
    names = {part.name: part for part in found["A3"].parts}
    last = rows.query(
        "scorer == 'ddu' and layer == 'features' and params == '' and epoch == 12 and ood_group == 'near'"
    )
    least = last.groupby("recipe")["value"].min()
    part = names["near: smallest with L2 minus smallest without, long schedule"]
    assert part.estimate == pytest.approx(least["l2"] - least["ce-long"])
    assert part.p is None
    reached = next(part for part in found["A7"].parts if part.part.rule == "reaches")
    assert reached.estimate == 6  # lower from the start, and halved by the middle


def test_two_sided_questions_have_their_answer():
    found = verdicts(made(unit=-0.1, softmax=0.1), "A9", "A10", "A12")
    assert {name: verdict.answer for name, verdict in found.items()} == {
        "A9": "higher",
        "A10": "mixed",
        "A12": "higher",
    }
    found = verdicts(made(), "A12")
    assert found["A12"].answer == "no clear difference"


def test_interaction_is_a_difference_of_gains():
    found = verdicts(made(**{"l2-ddu": 0.03}), "A11")["A11"].parts
    (part,) = [p for p in found if p.name.startswith("near: gain with all on")]
    assert part.estimate == pytest.approx(0.03)
    assert not part.part.counts


def test_a_missing_recipe_leaves_its_claims_not_run_and_fewer_seeds_describe():
    rows = made(seeds=3)
    assert words(rows[rows["recipe"] != "nc"], "A1", "A10") == {"A1": "descriptive", "A10": "not run"}


def test_every_reported_value_has_a_source_and_nothing_else_is_printed():
    entries = claims.reported("l2-collapse")
    assert {entry.claim for entry in entries} == set(RIGHT)
    assert [(entry.claim, entry.value) for entry in entries if entry.status == "verified"] == [("A5", 350)]
