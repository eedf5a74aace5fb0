"""Claims of page isomax on made-up rows: named as its recipes' measures name them, with a truth that is known."""

import math
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ood_core import claims, recipes
from ood_core.measure import jobs

from ..made_up import BLANK

ROOT = Path(__file__).resolve().parent.parent.parent
KEPT = '{"temperature":0.1}'


def accuracy(recipe):
    return {"dismax-composite": 0.96, "isomax-s1": 0.8}.get(recipe, 0.95)


def auroc(recipe, scorer, params):
    """As the papers have it: each loss with its own score, the scale removed."""
    if recipe.startswith("ce"):
        return {"entropy": 0.85}.get(scorer, 0.84)
    table = {
        "isomax": {"entropy": 0.9, "msp": 0.88, "min_distance": 0.6},
        "isomax-plus": {"entropy": 0.91, "min_distance": 0.94},
        "dismax": {"mmles": 0.96},
        "dismax-composite": {"mmles": 0.97},
    }
    found = table.get("isomax" if recipe.startswith("isomax-") and recipe != "isomax-plus" else recipe, {})
    return found.get(scorer, 0.86) - (0.05 if params == KEPT else 0)


def entropy(recipe, params, ood):
    high = 0.85 if recipe != "ce" and not params else 0.05
    return high + (0.1 if ood else 0)


def ece(recipe, params):
    return 0.02 if recipe == "dismax-composite" and params else 0.04


def latency(scorer):
    return {"entropy": 0.01, "odin": math.log(5)}[scorer]


TRUTH = {"accuracy": accuracy, "auroc": auroc, "entropy": entropy, "ece": ece, "latency": latency}


def numbers(job, recipe, truth):
    """(metric, value, columns) of a job, as its measure would write them."""
    if job.measure == "accuracy":
        return [("accuracy", truth["accuracy"](recipe), {"split": s, "layer": ""}) for s in ("train", "test")]
    if job.measure == "ood":
        value = truth["auroc"](recipe, job.scorer, job.params)
        rates = [("tnr_at_tpr", value - 0.1, {}), ("fpr_ood_positive", 1.1 - value, {})]
        return [("auroc", value, {}), *rates, ("aupr_out", value - 0.05, {})]
    if job.measure == "posterior":
        return [("posterior_entropy", truth["entropy"](recipe, job.params, job.ood_set), {})]
    if job.measure == "calibration":
        return [("ece", truth["ece"](recipe, job.params), {})]
    if job.measure == "latency":
        return [
            ("latency_log_ratio", truth["latency"](scorer), {"scorer": scorer, "protocol": f"batch {batch}"})
            for scorer in ("entropy", "odin")
            for batch in (1, 64)
        ]
    return []


@cache
def planned():
    """Recipe and job of everything that is measured at the last epoch."""
    found = recipes.load("isomax", "tiny").values()
    return [(recipe.id, job) for recipe in found for job in jobs(recipe, recipe.epochs)]


def made_up(seeds=5, **changed):
    truth, rng, rows = {**TRUTH, **changed}, np.random.default_rng(0), []
    for recipe, job in planned():
        place = {name: getattr(job, name) for name in ("ood_set", "ood_group", "layer", "scorer", "params")}
        for metric, value, columns in numbers(job, recipe, truth):
            for seed, noise in enumerate(rng.normal(0, 1e-4, seeds)):
                one = {**BLANK, **place, **columns, "recipe": recipe, "metric": metric, "seed": seed}
                rows.append({**one, "value": value + noise})
    return pd.DataFrame(rows)


def words(wanted, **changed):
    """The words of some claims; the others are not judged, which takes most of the time."""
    chosen = [claim for claim in claims.load("isomax", ROOT) if claim.id in wanted]
    return {verdict.claim.id: verdict.word for verdict in claims.judge(chosen, made_up(**changed))}


def test_where_the_papers_are_right():
    verdicts = claims.judge(claims.load("isomax", ROOT), made_up())
    assert {v.claim.id: v.word for v in verdicts} == {f"I{i}": "holds" for i in range(1, 11)}
    for verdict in verdicts:  # every selector of every part finds the rows that the recipes make
        for _, part in claims.walk(verdict.parts):
            there = not part.name.startswith("SVHN")  # which is no set at this scale
            assert (part.word != "not run") is there, (verdict.claim.id, part.name, part.note)


def with_(base, **where):
    """A truth in which one number differs: `value` where the first arguments are as given."""

    def truth(*arguments):
        return where["value"] if arguments[: len(where["at"])] == where["at"] else base(*arguments)

    return truth


@pytest.mark.parametrize(
    ("kind", "at", "value", "failed"),
    [
        ("accuracy", ("isomax",), 0.94, {"I1", "I10"}),
        ("accuracy", ("isomax-plus",), 0.94, {"I1"}),
        ("auroc", ("isomax", "entropy", ""), 0.845, {"I2", "I4", "I5", "I10"}),
        ("auroc", ("ce", "msp"), 0.92, {"I2"}),
        ("entropy", ("isomax", "", ""), 0.6, {"I3"}),
        ("entropy", ("ce",), 0.4, {"I3"}),
        ("auroc", ("isomax", "msp", KEPT), 0.89, {"I4"}),
        ("auroc", ("isomax", "min_distance"), 0.95, {"I6"}),
        ("auroc", ("isomax-plus", "entropy"), 0.95, {"I6"}),
        ("accuracy", ("dismax-composite",), 0.95, set()),  # no difference: open
        ("accuracy", ("dismax-composite",), 0.94, {"I7"}),
        ("auroc", ("dismax-composite", "mmles"), 0.93, {"I7"}),
        ("ece", ("dismax-composite", '{"fitted_by":"ece"}'), 0.05, {"I7"}),
        ("auroc", ("dismax-composite", "msp"), 0.98, {"I7"}),
        ("latency", ("entropy",), math.log(1.2), {"I8"}),
        ("latency", ("odin",), math.log(2), {"I8"}),
        ("accuracy", ("isomax-few",), 0.93, {"I9"}),
        ("auroc", ("isomax-half", "entropy"), 0.8, {"I9"}),
        ("accuracy", ("isomax-s30",), 0.93, {"I10"}),
        ("auroc", ("isomax-s3", "entropy"), 0.93, {"I10"}),
        ("auroc", ("isomax-normal", "entropy"), 0.93, {"I10"}),
    ],
)
def test_where_they_are_not(kind, at, value, failed):
    changed = {kind: with_(TRUTH[kind], at=at, value=value)}
    if failed:
        assert words(failed, **changed) == dict.fromkeys(failed, "does not hold")
    else:
        assert words({"I7"}, **changed) == {"I7": "inconclusive"}


def test_fewer_seeds_describe():
    assert words({"I1", "I8"}, seeds=4) == {"I1": "descriptive", "I8": "descriptive"}
