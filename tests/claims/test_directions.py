"""Which way the claims of pages clusters and nan are judged: rows where each must hold, and where it must not."""

import json
from functools import cache
from pathlib import Path

import pandas as pd
import pytest

from ood_core import claims

from ..made_up import BLANK, around

ROOT = Path(__file__).resolve().parent.parent.parent
SETS = {"near": "near-1", "far": "far-1"}
HALF = 0.0004  # half the width of the made-up intervals: thresholds are told to a thousandth

# By metric and what tells its rows apart; the values are those of a paper that is right.
CLUSTERS = {
    ("gs_median", "supcon"): 0.9,
    ("gs_median", "ce"): 0.8,
    ("gs_median", "simclr"): 0.1,
    ("purity_weighted", "supcon", "one"): 0.95,
    ("purity_weighted", "supcon", "two"): 0.97,
    ("purity_weighted", "simclr", "one"): 0.5,
    ("purity_weighted", "simclr", "two"): 0.6,
    ("auroc", "simclr", "cifar100"): 0.8923,
    ("auroc", "simclr", "svhn/test10k"): 0.9822,
    ("auroc", "supcon", "cifar100"): 0.92,
    ("accuracy", "simclr", "linear_probe"): 0.94,
    ("accuracy", "supcon", "linear_probe"): 0.96,
    ("share_won_by_means",): 0.499,
    ("regret_or_rank",): 0.006,
    ("regret",): 0.006,
    ("share_won",): 0.4,
    ("kmeans_smaller_sign",): 0.201,
    ("threshold_smaller_sign",): 0.201,
    ("kmeans_one_sign_if_clear",): 0.899,
    ("threshold_one_sign_if_clear",): 0.899,
    ("kmeans_mean",): 0.0,
    ("threshold_mean",): 0.0,
    ("chosen_gap",): -0.009,
    ("passes_ratio",): 0.499,
}
NAN = {
    **{("auroc", name): 0.8 for name in ("msp", "energy", "max_logit", "kl_matching", "feature_norm")},
    **{("fpr_at_tpr", name): 0.5 for name in ("msp", "energy", "max_logit", "kl_matching", "feature_norm")},
    ("auroc", "nan"): 0.9,
    ("fpr_at_tpr", "nan"): 0.3,
    **{("auroc", name): 0.905 for name in ("knn", "ssd")},
    **{("fpr_at_tpr", name): 0.29 for name in ("knn", "ssd")},
    **{("auroc", name): 0.95 for name in ("knn_nan", "ssd_nan")},
    **{("fpr_at_tpr", name): 0.2 for name in ("knn_nan", "ssd_nan")},
}


def told_apart(page, at):
    """The key of a selector's numbers among those above."""
    if page == "nan":
        return at["metric"], at["scorer"]
    if at["recipe"] == "all":
        return (at["metric"],)
    training = at["recipe"].partition("-")[0]
    rest = at["ood_set"] if at["metric"] == "auroc" else at["protocol"]
    return (at["metric"], training) if at["metric"] == "gs_median" else (at["metric"], training, rest)


def rows(page, claim, truth):
    """What the selectors of the counted parts ask for; the value of each comes from `truth`."""
    found = []
    for selector in (s for part in claim.parts if part.counts for s in (part.a, part.b) if s is not None):
        groups = selector.get("ood_group", "")
        for group in groups if isinstance(groups, list) else [groups]:
            at = BLANK | {name: value for name, value in selector.items() if name != "epoch"}
            at |= {"scale": "paper", "ood_group": group, "ood_set": selector.get("ood_set", SETS.get(group, ""))}
            if isinstance(at["params"], dict):
                at["params"] = json.dumps(at["params"])
            values = around(truth[told_apart(page, at)], HALF)
            found += [{**at, "seed": seed, "value": value} for seed, value in enumerate(values)]
    return pd.DataFrame(found).drop_duplicates()


@cache
def loaded(page):
    return {claim.id: claim for claim in claims.load(page, ROOT)}


def word(page, name, truth):
    claim = loaded(page)[name]
    return claims.judge([claim], rows(page, claim, truth), scale="paper")[0].word


FAILS, OPEN = "does not hold", "inconclusive"


@pytest.mark.parametrize("name", ["D1", "D2", "D3", "D5", "D6", "D7"])
def test_claims_of_clusters_where_the_paper_is_right(name):
    assert word("clusters", name, CLUSTERS) == "holds"


def test_d4_waits_for_cifar_100():
    claim = loaded("clusters")["D4"]
    assert sorted(claim.not_run) == ["small", "tiny"]
    assert claims.judge([claim], pd.DataFrame(), scale="small")[0].word == "not run"


@pytest.mark.parametrize(
    ("least", "majority", "expected"),
    [(0.01, 0.02, "holds"), (-0.01, 0.02, OPEN), (-0.02, -0.01, FAILS), (0.0, 0.02, OPEN), (-0.01, 0.0, OPEN)],
)
def test_d4_goes_by_every_network_and_fails_by_most(least, majority, expected):
    assert word("clusters", "D4", {("cosine_least",): least, ("cosine_majority",): majority}) == expected


@pytest.mark.parametrize(
    ("name", "key", "value", "expected"),
    [
        ("D1", ("gs_median", "supcon"), 0.499, OPEN),
        ("D1", ("gs_median", "supcon"), 0.501, "holds"),
        ("D1", ("gs_median", "simclr"), 0.91, FAILS),
        ("D2", ("purity_weighted", "simclr", "one"), 0.935, FAILS),  # within the band of two points
        ("D2", ("gs_median", "simclr"), 0.201, OPEN),
        ("D2", ("gs_median", "simclr"), 0.501, FAILS),
        ("D2", ("purity_weighted", "simclr", "one"), 0.96, FAILS),
        ("D2", ("purity_weighted", "simclr", "two"), 0.96, FAILS),  # within the band of two points
        ("D2", ("purity_weighted", "simclr", "two"), 0.949, "holds"),
        ("D3", ("auroc", "simclr", "cifar100"), 0.8903, OPEN),
        ("D3", ("auroc", "simclr", "cifar100"), 0.5, OPEN),
        ("D3", ("auroc", "simclr", "svhn/test10k"), 0.9802, OPEN),
        ("D3", ("auroc", "supcon", "cifar100"), 0.918, OPEN),
        ("D3", ("auroc", "supcon", "cifar100"), 0.5, OPEN),
        ("D5", ("share_won_by_means",), 0.501, OPEN),
        ("D5", ("share_won_by_means",), 0.801, FAILS),
        ("D5", ("regret_or_rank",), 0.004, OPEN),
        ("D5", ("regret_or_rank",), 0.001, FAILS),
        ("D6", ("kmeans_smaller_sign",), 0.199, OPEN),
        ("D6", ("threshold_smaller_sign",), 0.199, OPEN),
        ("D6", ("kmeans_one_sign_if_clear",), 0.901, FAILS),
        ("D6", ("threshold_one_sign_if_clear",), 0.901, FAILS),
        ("D7", ("chosen_gap",), -0.011, OPEN),
        ("D7", ("chosen_gap",), -0.029, OPEN),
        ("D7", ("chosen_gap",), -0.031, FAILS),
        ("D7", ("passes_ratio",), 0.502, OPEN),
    ],
)
def test_claims_of_clusters_where_it_is_not(name, key, value, expected):
    assert key in CLUSTERS
    assert word("clusters", name, CLUSTERS | {key: value}) == expected


@pytest.mark.parametrize("name", ["N6", "N7", "N8", "N9"])
def test_claims_of_the_norm_where_the_paper_is_right(name):
    assert word("nan", name, NAN) == "holds"


@pytest.mark.parametrize(
    ("name", "key", "value"),
    [
        ("N6", ("auroc", "feature_norm"), 0.91),
        ("N6", ("fpr_at_tpr", "feature_norm"), 0.29),
        *(("N7", ("auroc", scorer), 0.91) for scorer in ("msp", "energy", "max_logit", "kl_matching")),
        *(("N7", ("fpr_at_tpr", scorer), 0.29) for scorer in ("msp", "energy", "max_logit", "kl_matching")),
        ("N7", ("auroc", "knn"), 0.921),
        ("N7", ("auroc", "ssd"), 0.879),
        ("N8", ("auroc", "knn"), 0.96),
        ("N8", ("fpr_at_tpr", "knn"), 0.19),
        ("N8", ("auroc", "knn_nan"), 0.89),
        ("N8", ("fpr_at_tpr", "knn_nan"), 0.31),
        ("N9", ("auroc", "ssd"), 0.96),
        ("N9", ("fpr_at_tpr", "ssd"), 0.19),
        ("N9", ("auroc", "ssd_nan"), 0.89),
        ("N9", ("fpr_at_tpr", "ssd_nan"), 0.31),
    ],
)
def test_claims_of_the_norm_where_it_is_not(name, key, value):
    assert key in NAN
    assert word("nan", name, NAN | {key: value}) == FAILS
