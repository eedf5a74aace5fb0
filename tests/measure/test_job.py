"""Measurements of pages that share a run live side by side, over the book's own recipes."""

from collections import defaultdict
from dataclasses import replace
from types import SimpleNamespace

import pandas as pd
import pytest
import torch

from ood_core import data, networks, recipes, runs, scorers
from ood_core.measure import SLOT, Job, Seen, Sets, jobs
from ood_core.measure.job import Moment
from tests import spine


def everything(recipe):
    """Each measurement of a recipe."""
    return [job for epoch in recipe.recorded_epochs() for job in jobs(recipe, epoch)]


def shared(scale):
    """Runs that several recipes ask for, by key; with seed 0, as the seed changes nothing here."""
    found = defaultdict(list)
    for page in (name for name in recipes.pages() if scale in recipes.page(name).scales):
        for recipe in recipes.load(page, scale).values():
            found[runs.train_key(recipe, 0)].append(recipe)
    return {key: asking for key, asking in found.items() if len(asking) > 1}


@pytest.mark.parametrize("scale", recipes.SCALES)
def test_no_two_pages_give_a_run_rows_of_one_slot_under_different_keys(scale):
    for key, asking in shared(scale).items():
        keys = defaultdict(set)
        for job in {job for recipe in asking for job in everything(recipe)}:
            keys[job.slot].add(job.key(key))
        assert [slot for slot, found in keys.items() if len(found) > 1] == []


@pytest.mark.parametrize("scale", recipes.SCALES)
def test_pages_that_are_run_in_turn_find_nothing_missing(scale):
    assert shared(scale)
    for key, asking in shared(scale).items():
        epochs = sorted({epoch for recipe in asking for epoch in recipe.recorded_epochs()})
        run = SimpleNamespace(key=key, early_epochs=lambda epochs=epochs: epochs)
        rows = pd.DataFrame(columns=["key", *SLOT])
        for recipe in asking:
            rows = runs._merged(rows, rows_of(missing(run, rows, recipe), key))
        assert [missing(run, rows, recipe) for recipe in asking] == [[]] * len(asking)


def missing(run, rows, recipe):
    return [job for found in runs._missing(run, rows, recipe).values() for job in found]


def rows_of(done, key):
    """One row each of some measurements."""
    return pd.DataFrame([(job.key(key), *job.slot) for job in done], columns=["key", *SLOT])


def test_scores_depend_on_every_set_that_they_are_made_from(monkeypatch):
    monkeypatch.setattr(data, "digest", lambda name, split: f"{name}, {split}")
    others = {"far": ["noise"], "validation": ["shuffled/train"], "control": ["treated"]}
    made = spine.recipe(evaluate={**others, "scores": ["knn"]})
    asked = [job for job in jobs(made, made.epochs) if job.measure == "ood"]
    own = ("digits, train", "digits, test")
    assert {job.ood_set: job.reads for job in asked} == {
        "noise": (*own, "noise, test"),
        "shuffled/train": (*own, "shuffled, train"),
        "treated": (*own, "treated, test"),
    }
    assert {job.ood_set: [job.ood_group] for job in asked} == {name: [group] for group, (name,) in others.items()}


def test_every_measure_of_a_scorer_names_it_alike(monkeypatch):
    """With its version: the keys of stored rows depend on all of it."""
    monkeypatch.setattr(data, "digest", lambda name, split: f"{name}, {split}")
    monkeypatch.setattr(scorers, "version", lambda name, **_: 7)
    score = {"scorer": "ddu", "params": {"ridge": 0.01}}
    made = spine.recipe(evaluate={"far": ["noise"], "measures": ["cost", "covariances"], "scores": [score]})
    own = {"layer": "features", "scorer": "ddu", "params": '{"ridge":0.01}', "scorer_version": 7, "version": 1}
    train, test, ood = (
        f"{name}, {split}" for name, split in (("digits", "train"), ("digits", "test"), ("noise", "test"))
    )
    assert jobs(made, made.epochs) == [
        Job("cost", made.epochs, (train, test), **own),
        Job("covariances", made.epochs, (train,), **own),
        Job("ood", made.epochs, (train, test, ood), "noise", "far", **own),
    ]
    assert jobs(made, 2) == []


def test_how_many_images_are_read_is_part_of_what_is_read():
    def at(epoch, **evaluate):
        return Moment(spine.recipe(evaluate={"far": ["noise"], **evaluate}), epoch)

    plain, early, fitted = at(2), at(2, early_images=10), at(2, early_images=10, collapse_images=20)
    for one, other in ((plain, early), (early, fitted)):
        assert one.train != other.train
        assert one.test != other.test
        assert one.ood != other.ood
    assert at(4, early_images=10).ood == plain.ood  # after training all images are read
    assert early.sample == plain.sample != fitted.sample


def test_networks_that_share_what_was_passed_each_get_as_many_images_as_they_ask_for():
    passed = {}
    train, test = spine.images(40), spine.images(30, seed=1)
    for count in (10, 20):
        made = spine.recipe(evaluate={"early_images": count})
        net = networks.network(made, train, 0, torch.device("cpu")).eval()
        assert len(Seen(net, Sets(train, None, test, {}), made, 0, 2, passed).test) == count


def test_a_newer_row_takes_the_place_of_those_of_its_own_group_alone():
    near = Job("ood", 3, ("digest",), "noise", "near", scorer="msp", version=1)
    far, newer = replace(near, ood_group="far"), replace(near, version=2)
    found = runs._merged(rows_of([near, far], "run"), rows_of([newer], "run"))
    assert found["key"].tolist() == [far.key("run"), newer.key("run")]
