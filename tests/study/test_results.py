"""Rows are what the parts of a run say, one a number."""

import numpy as np
import pytest
import torch

from ood_core import metrics, recipes, study
from ood_core.study.request import Request
from tests import test_rankings


def test_rows_are_what_the_parts_say(made):
    """One AUROC, one accuracy and one norm computed again from the stored network and its scores."""
    from ood_core import data, extract
    from ood_core.networks import network

    results = study.run_or_load("made", seeds=1)
    rows, run = results.rows, results.stored["l2", 0]
    recipe = recipes.load("made", "tiny")["l2"]
    train, _ = data.train_part(data.load("digits", "train"))
    net = network(recipe, train, 0, torch.device("cpu"))
    net.load_state_dict(run.weights())
    test, noise = extract(net, data.load("digits", "test")), extract(net, data.load("noise", "test"))
    mine = rows[(rows["recipe"] == "l2") & (rows["epoch"] == 2)]

    def value(**where):
        found = mine
        for column, wanted in where.items():
            found = found[found[column] == wanted]
        assert len(found) == 1
        return found["value"].item()

    norms = [out.features.double().norm(dim=1) for out in (test, noise)]
    assert value(metric="auroc", scorer="feature_norm", ood_set="noise") == pytest.approx(
        metrics.auroc(*norms), abs=1e-9
    )
    assert value(metric="accuracy", split="test") == pytest.approx(float(test.correct.double().mean()))
    assert value(metric="norm_mean", split="test", ood_set="noise") == pytest.approx(float(norms[1].mean()), rel=1e-6)
    scores = results.scores("l2", 0)
    np.testing.assert_allclose(scores["feature_norm", "features", "", ""], norms[0], rtol=1e-6)
    assert value(metric="loss_gradient_cosine") < 1e-6
    assert set(rows[rows["scorer"] == "msp"]["epoch"]) == {2}
    assert set(rows[rows["scorer"] == "feature_norm"]["epoch"]) == {0, 1, 2}
    assert set(rows["ood_group"]) == {"", "near", "far"}
    assert not rows.isna().any().any()


def test_one_row_a_number(made):
    rows = study.run_or_load("made", seeds=1).rows
    assert not rows.duplicated([c for c in rows.columns if c not in ("value", "n")]).any()


def test_ranks_are_those_of_whole_networks():
    """Of the second network a training is missing: its blocks would leave the combinations of that training out."""
    rows = test_rankings.made(lambda *_: 0.8)
    results = study.Results(Request.model_construct(page="made"), {}, {}, frozenset())
    results.__dict__["rows"] = rows[rows["recipe"] != "supcon-second"]
    assert len(results.blocks) == 3
    assert len(results.ranks.table) == results.blocks.shape[1] == 3 * len(test_rankings.PARAMS)
