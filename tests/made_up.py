"""Claims and tidy rows of a known truth, for tests."""

import math

import numpy as np
import pandas as pd
from scipy import stats as scipy_stats

from ood_core import claims


def around(mean, half, n=5):
    """n numbers whose 95 % t interval is exactly mean +- half."""
    base = np.linspace(-1, 1, n)
    reach = scipy_stats.t.ppf(0.975, n - 1) * base.std(ddof=1) / math.sqrt(n)
    return mean + base * half / reach


BLANK = {"id_set": "digits", "ood_set": "", "ood_group": "", "split": "test", "layer": "features", "scorer": ""}
BLANK |= {"params": "", "protocol": "", "class": "", "run": "r", "scale": "tiny", "n": 100, "epoch": 12}


def auroc(recipe, values, **columns):
    """One row per seed."""
    top = BLANK | {"recipe": recipe, "metric": "auroc", "scorer": "feature_norm", "ood_set": "near-1"}
    top |= {"ood_group": "near", **columns}
    return [{**top, "seed": seed, "value": float(value)} for seed, value in enumerate(values)]


def claim(*parts, **fields):
    base = {"id": "T1", "title": "t", "statement": "s", "origin": "P", "source": "here", "combine": "all"}
    return claims.Claim.model_validate({**base, "parts": list(parts), **fields})


def part(**fields):
    a = {"recipe": "l2", "metric": "auroc"}
    base = {"name": "p", "rule": "one_sample", "a": a, "direction": "greater", "margin": 0.5, "unit": "percent"}
    return {key: value for key, value in {**base, **fields}.items() if value is not None}


def one(part_, rows, **fields):
    """The single part's result."""
    return claims.judge([claim(part_, **fields)], pd.DataFrame(rows))[0].parts[0]


PAIR = {"rule": "paired", "margin": None, "b": {"recipe": "ce", "metric": "auroc"}, "unit": "points"}


def l2_norm_rows(l2_near=0.95, ce_near=0.89, l2_far=0.9, ce_far=0.8, accuracy=0.97, cv=0.2, seeds=5):
    """Rows as a study writes them for every recipe of page l2-norm, with a given truth and small seed noise."""
    rows, rng = [], np.random.default_rng(0)
    noise = rng.normal(0, 0.002, seeds)
    for recipe in ("ce", "l2", "ce-long", "l2-long", "ce-deep", "l2-deep"):
        last, l2 = (70 if "long" in recipe else 12), recipe.startswith("l2")
        scorers = [("feature_norm", "features", ""), ("msp", "logits", ""), ("msp", "raw_logits", "")]
        scorers += [("cluster", "unit", '{"distance":"cosine"}'), ("ddu", "features", ""), ("ddu", "unit", "")]
        for scorer, layer, params in scorers:
            for group, name, base in (
                ("near", "digits-89", l2_near if l2 else ce_near),
                ("far", "photos", l2_far if l2 else ce_far),
                ("far", "noise", l2_far if l2 else ce_far),
            ):
                for epoch in (last // 2, last):
                    shift = {"cluster": -0.03, "msp": 0.02}.get(scorer, 0) - (0.05 if epoch < last else 0)
                    place = {"ood_set": name, "ood_group": group, "scorer": scorer, "layer": layer, "params": params}
                    rows += auroc(recipe, base + shift + noise, epoch=epoch, **place)
        plain = {"ood_set": "", "ood_group": "", "scorer": "", "epoch": last}
        train = {**plain, "split": "train"}
        shift = 0.0 if l2 else 0.002
        rows += auroc(recipe, accuracy + shift + noise / 4, metric="accuracy", layer="", **plain)
        rows += auroc(recipe, accuracy + noise / 4, metric="accuracy", layer="", **train)
        rows += auroc(recipe, (cv if l2 else 0.1) + noise, metric="norm_cv_within", **train)
        rows += auroc(recipe, 0.3 + noise, metric="norm_between_share", **train)
        rows += auroc(recipe, abs(noise) * 1e-9, metric="loss_gradient_cosine", **train)
        rows += auroc(recipe, 0.4 + noise, metric="spearman_norm_cosine", **plain)
        for layer in ("features", "unit"):
            rows += auroc(recipe, 0.05 + noise, metric="nc2_norm_means", **{**train, "layer": layer})
    return pd.DataFrame(rows)


# what every benchmark's file says of where and when
MEASURED = {
    "created": "2026-01-01T00:00:00+00:00",
    "commit": "abc",
    "processor": "p",
    "cores": 2,
    "load": [0.0, 0.1, 0.2],
    "versions": {"torch": "9.9"},
    "size": 1.0,
    "seconds": 7,
}
