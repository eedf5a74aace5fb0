"""Every recipe at every scale takes two steps, on images of its own shape and classes, batch cut to 8."""

import math

import numpy as np
import pytest

from ood_core import data, recipes, train
from ood_core.data import imageset, schemes

STEPS, BATCH = 2, 8


def distinct():
    """One recipe for each combination of what a step does: network, head, loss, precision, colours, labels."""
    found = {}
    for page in recipes.pages():
        for scale in recipes.page(page).scales:
            for name, recipe in recipes.load(page, scale).items():
                taken = (recipe.data.id_set, recipe.data.labels, recipe.data.colour, recipe.precision)
                key = str((taken, recipe.network, recipe.head.name, recipe.loss.name))
                found.setdefault(key, pytest.param(recipe, id=f"{page}-{scale}-{name}"))
    return list(found.values())


def made_up(recipe):
    """Random images as the recipe's ID set has them, with its label scheme."""
    entry = data.entry(recipe.data.id_set)
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (STEPS * BATCH, *entry["shape"]), dtype=np.uint8)
    classes = entry["classes"]
    whole = imageset.make(pixels, np.arange(len(pixels)) % len(classes), classes, name="made-up", split="train")
    return schemes.labelled(whole, recipe.data.labels, 0)


@pytest.mark.parametrize("recipe", distinct())
def test_two_steps(recipe):
    schedule = recipe.schedule.model_copy(update={"epochs": 1, "warmup_epochs": 0.0})
    optimiser = recipe.optimiser.model_copy(update={"batch": BATCH})
    short = recipe.model_copy(update={"schedule": schedule, "optimiser": optimiser})
    trained = train.fit(short, 0, made_up(recipe))
    assert math.isfinite(trained.history[0]["loss"])
    assert all(bool(value.isfinite().all()) for value in trained.network.state_dict().values())
