"""Which training images a recipe takes, and which labels it gives them.

Source of the label schemes: arXiv 2310.05316, section 4.1.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from ..checks import InputError
from ..recipes.schema import Data
from ..rng import generator
from .imageset import ImageSet


def chosen(images: ImageSet, asked: Data) -> ImageSet:
    """The first `per_class` images of each class, and those of `one_class` alone, in canonical order."""
    if asked.per_class is None and asked.one_class is None:
        return images
    if images.labels is None:
        raise InputError(
            f"{images.name}/{images.split} has no labels, expected them to pick classes.\nUse another set."
        )
    classes = range(len(images.classes)) if asked.one_class is None else [asked.one_class]
    if classes[-1] >= len(images.classes):
        raise InputError(
            f"data.one_class is {asked.one_class}, expected a class of {images.name}: 0 to {len(images.classes) - 1}.\n"
            f"The classes are: {', '.join(images.classes)}."
        )
    kept = [np.flatnonzero(images.labels == label)[: asked.per_class] for label in classes]
    part = images.part(np.sort(np.concatenate(kept)), f"{images.split}, {asked.per_class} of {list(classes)}")
    if asked.one_class is None:
        return part
    return replace(part, labels=np.zeros(len(part), np.int64), classes=(images.classes[asked.one_class],))


def labelled(images: ImageSet, scheme: str, seed: int) -> ImageSet:
    """The same images under a label scheme.

    Args:
        scheme: `true` keeps the labels; `instance` makes every image its own class; `binary` draws one of two classes
            for each image from the seed; `constant` gives all the first of the true classes, so that the head keeps
            its outputs (with a single one the loss would be zero and nothing would be learned).
    """
    if scheme == "true":
        return images
    count, classes = len(images), images.classes
    labels: NDArray[np.int64] = np.zeros(count, np.int64)
    if scheme == "instance":
        labels, classes = np.arange(count), tuple(map(str, images.ids))
    elif scheme == "binary":
        labels = torch.randint(0, 2, (count,), generator=generator(seed, "labels", scheme)).numpy()
        classes = ("one", "other")
    digest = hashlib.sha256(f"{images.digest}|{scheme}|{seed if scheme == 'binary' else ''}".encode()).hexdigest()
    return replace(images, labels=labels, classes=classes, digest=digest)


def tested(images: ImageSet, asked: Data) -> tuple[ImageSet, ImageSet | None]:
    """The ID test images of a recipe and, where it learned one class alone, those of all other classes.

    Without labels where the recipe learned others than the true ones: such a network has no test accuracy.
    """
    if asked.one_class is None:
        return (images if asked.labels == "true" else replace(images, labels=None)), None
    own = images.labels == asked.one_class
    parts = (images.part(own, f"{images.split}, class"), images.part(~own, f"{images.split}, other classes"))
    mine, rest = (replace(part, labels=None) for part in parts)
    return mine, rest
