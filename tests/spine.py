"""Small recipes and image sets that the tests of training, storing and measuring share."""

from __future__ import annotations

from typing import Any

import numpy as np

from ood_core.data import ImageSet, imageset
from ood_core.recipes import Recipe


def recipe(**changes: Any) -> Recipe:
    settings: dict[str, Any] = {
        "id": "made",
        "title": "Made for a test",
        "scale": "tiny",
        "source": "ours",
        "minutes": 0.01,
        "data": {"id_set": "digits", "crop_padding": 1, "flip": True},
        "network": {"name": "resnet8", "width": 2},
        "head": {"name": "l2"},
        "optimiser": {"batch": 16},
        "schedule": {"epochs": 4, "warmup_epochs": 1},
    }
    return Recipe.model_validate({**settings, **changes})


def images(count: int = 50, classes: int = 3, seed: int = 0) -> ImageSet:
    """Bright bars at a row that depends on the class, under noise: learnable in a few steps."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % classes
    pixels = rng.integers(0, 100, (count, 8, 8, 1), dtype=np.uint8)
    for i, label in enumerate(labels):
        pixels[i, 2 * label + 1] = 250
    return imageset.make(pixels, labels, [f"bar {c}" for c in range(classes)], name="bars", split="train")
