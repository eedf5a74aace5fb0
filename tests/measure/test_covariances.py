"""Covariances of the Gaussians as rows: against eigenvalues from numpy, for every setting of the recipe."""

import numpy as np
import pytest
import torch

from ood_core import networks, recipes
from ood_core.measure import Seen, Sets, covariances, jobs, rows
from tests.spine import images, recipe

SCORES = [
    {"scorer": "ddu", "params": {"layer": "logits"}},
    {"scorer": "ddu", "params": {"ridge": 0.01}, "through_training": True},
    {"scorer": "ddu", "params": {"jitter": "ladder", "layer": "unit"}},
    "msp",
]


@pytest.fixture(scope="module")
def seen():
    made = recipe(head={"name": "linear"}, evaluate={"measures": ["covariances"], "scores": SCORES})
    train = images(60)
    net = networks.network(made, train, 0, torch.device("cpu")).eval()
    return Seen(net, Sets(train, None, images(30, seed=1), {}), made, 0, made.epochs)


def test_rows_against_numpy(seen):
    found = rows(seen, jobs(seen.recipe, seen.epoch), "key")
    assert {(row["scorer"], row["layer"], row["params"]) for row in found} == {
        ("ddu", "logits", ""),
        ("ddu", "features", '{"ridge":0.01}'),
        ("ddu", "unit", '{"jitter":"ladder"}'),
    }
    assert {row["split"] for row in found} == {"train"}
    for layer, ridge in (("logits", 1e-4), ("features", 0.01)):
        x, y = seen.train.layer(layer).double().numpy(), seen.train.labels.numpy()
        for place, name in enumerate(seen.sets.train.classes):
            covariance = np.cov(x[y == place], rowvar=False)
            added = ridge * np.trace(covariance) / len(covariance)
            values = np.linalg.eigvalsh(covariance + added * np.eye(len(covariance)))
            own = {row["metric"]: row["value"] for row in found if row["class"] == name and row["layer"] == layer}
            expected = {
                "jitter": added,
                "eigenvalue_min": values[0],
                "eigenvalue_max": values[-1],
                "condition_number": values[-1] / values[0],
            }
            assert own == pytest.approx(expected, rel=1e-6)


def test_the_ladder_serves_all_classes_with_one_value(seen):
    found = rows(seen, jobs(seen.recipe, seen.epoch), "key")
    steps = {row["value"] for row in found if row["metric"] == "jitter" and row["layer"] == "unit"}
    assert len(steps) == 1


def test_only_densities_of_the_last_epoch_are_described(seen):
    early = [job for job in jobs(seen.recipe, 0) if job.measure == "covariances"]
    assert early == []


def test_the_page_follows_every_setting_its_claims_name():
    for scale in recipes.page("l2-collapse").scales:
        for made in recipes.load("l2-collapse", scale).values():
            planned = [job for job in jobs(made, made.epochs) if job.measure == "covariances"]
            assert len({(job.layer, job.params) for job in planned}) == 12
            assert {job.scorer for job in planned} == {covariances.SCORER}


@pytest.mark.parametrize("scale", ["tiny", "small"])
@pytest.mark.parametrize("name", ["ce", "l2", "ce-long", "l2-long", "ce-deep", "l2-deep"])
def test_base_runs_are_those_of_the_page_on_the_norm(scale, name):
    mine, other = (recipes.load(page, scale)[name] for page in ("l2-collapse", "l2-norm"))
    assert mine.train_key(0, "digest") == other.train_key(0, "digest")
    assert mine.recorded_epochs() == other.recorded_epochs()
