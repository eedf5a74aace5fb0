"""Exact duplicates: images of one set that another one has as well."""

from __future__ import annotations

from typing import Any

import numpy as np

from . import imageset
from .imageset import ImageSet, fitted

SHOWN = 5  # pairs that a row names


def shared(images: ImageSet, among: ImageSet) -> list[tuple[int, int]]:
    """Pairs of indices, one for each image that is also in the other set.

    Images are equal where all pixels are, seen as a network for the other set sees them (see `fitted`); crops and
    recompressed copies are not found.

    Raises:
        InputError: the images are larger than the other set's, or have colours where it has none.
    """
    first = {key: place for place, key in reversed(list(enumerate(among.ids.tolist())))}
    keys = imageset.ids(fitted(images, among.images.shape[1:]).images)
    return [(place, first[key]) for place, key in enumerate(keys.tolist()) if key in first]


def compared(images: ImageSet, among: ImageSet) -> dict[str, Any]:
    """One row: digests, counts, and which images are shared, by class in either set."""
    pairs = shared(images, among)
    return {
        "set": images.name,
        "split": images.split,
        "digest": images.digest,
        "images": len(images),
        "different": len(np.unique(images.ids)),
        "among": f"{among.name}/{among.split}",
        "among_digest": among.digest,
        "shared": len(pairs),
        "pairs": ", ".join(f"{_named(images, here)} = {_named(among, there)}" for here, there in pairs[:SHOWN]),
    }


def _named(images: ImageSet, place: int) -> str:
    return f"#{place}" if images.labels is None else images.classes[images.labels[place]]
