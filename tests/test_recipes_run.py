"""Every recipe at every scale takes two steps, on images of its own shape and classes, batch and width cut."""

import math

import numpy as np
import pytest

from ood_core import data, recipes, train
from ood_core.data import imageset, schemes
from ood_core.recipes.schema import TRAINING

STEPS, BATCH, NARROW = 2, 8, 16
# They change the cost of a step and nothing it does, or are cut short by the test itself.
SIZES = {
    "data": {"per_class"},
    "network": {"width", "features"},
    "optimiser": {"batch"},
    "schedule": {"epochs", "warmup_epochs"},
}


def distinct():
    """Each network once as wide as it is, and a narrow one for whatever else training reads, sizes apart."""
    found, networks, known = [], set(), set()
    for page in recipes.pages():
        for scale in recipes.page(page).scales:
            for name, recipe in recipes.load(page, scale).items():
                network, read = str(recipe.network), str(recipe.model_dump(include=TRAINING, exclude=SIZES))
                if network not in networks:
                    found.append(pytest.param(recipe, id=f"{page}-{scale}-{name}"))
                elif read not in known:
                    narrow = recipe.network.model_copy(update={"width": min(NARROW, recipe.network.width)})
                    found.append(
                        pytest.param(recipe.model_copy(update={"network": narrow}), id=f"{page}-{scale}-{name}")
                    )
                networks.add(network)
                known.add(read)
    return found


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
