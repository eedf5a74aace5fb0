"""Image sets made from others: pieces of the ID validation images, to choose a scorer on and never to test it."""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray

from .imageset import ImageSet

SIDE = 4  # pieces along each side, 16 in all


def shuffled(images: ImageSet) -> NDArray[np.uint8]:
    """Each image cut into 4x4 pieces that change places: the pixels and local strokes stay, the object goes.

    The order follows from the image's id alone (the pieces are sorted by a hash of id and place), so it is the same for
    every seed, machine and library version.

    Args:
        images: height and width are multiples of 4.
    Returns:
        uint8 (N, H, W, C).
    """
    n, height, width, channels = images.images.shape
    high, wide = height // SIDE, width // SIDE
    grid = images.images.reshape(n, SIDE, high, SIDE, wide, channels).transpose(0, 1, 3, 2, 4, 5)
    pieces = grid.reshape(n, SIDE * SIDE, high, wide, channels)
    moved = np.stack([piece[_order(str(key))] for piece, key in zip(pieces, images.ids, strict=True)])
    back = moved.reshape(n, SIDE, SIDE, high, wide, channels).transpose(0, 1, 3, 2, 4, 5)
    return np.ascontiguousarray(back.reshape(images.images.shape))


def _order(key: str) -> list[int]:
    places = range(SIDE * SIDE)
    return sorted(places, key=lambda place: hashlib.blake2b(f"{key}|{place}".encode(), digest_size=16).digest())


MAKERS = {"shuffled": shuffled}
