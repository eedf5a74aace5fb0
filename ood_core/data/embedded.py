"""Image sets that need no download: scikit-learn's digits and sample photographs, and noise.

All but `noise-32` are 8x8 grey with the 17 levels that the digits have, so that neither size nor quantisation tells ID
from OOD.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..checks import InputError
from . import imageset

LEVELS = 17  # the digits' grey levels, 0..16
ID_DIGITS = 8  # digits 0-7 are ID, 8 and 9 near-OOD

Arrays = tuple[NDArray[Any], NDArray[Any] | None, list[str]]


def _to_uint8(levels: NDArray[Any]) -> NDArray[np.uint8]:
    """Levels 0..16 as bytes 0..255."""
    return np.rint(levels * (255 / (LEVELS - 1))).astype(np.uint8)


@cache
def _digits() -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    from sklearn.datasets import load_digits

    raw = load_digits()
    return _to_uint8(raw.images), raw.target.astype(np.int64)


def _id_digits(test: bool) -> Arrays:
    """Digits 0-7; within each class, every third image of the canonical order is the test part."""
    images, labels = _digits()
    keep = labels < ID_DIGITS
    names = [str(digit) for digit in range(ID_DIGITS)]
    whole = imageset.make(images[keep], labels[keep], names, name="digits")
    assert whole.labels is not None
    held_out = np.zeros(len(whole), dtype=bool)
    for digit in range(ID_DIGITS):
        held_out[np.flatnonzero(whole.labels == digit)[::3]] = True
    part = held_out if test else ~held_out
    return whole.images[part], whole.labels[part], names


def _other_digits() -> Arrays:
    images, labels = _digits()
    keep = labels >= ID_DIGITS
    return images[keep], labels[keep] - ID_DIGITS, [str(digit) for digit in range(ID_DIGITS, 10)]


def _photos() -> Arrays:
    """Non-overlapping 8x8 patches of the two photographs: grey, averaged over 4x4 blocks, cut to 17 levels.

    Raises:
        InputError: Pillow is not installed, by which scikit-learn reads them.
    """
    from sklearn.datasets import load_sample_images

    patches, labels = [], []
    try:
        raw = load_sample_images()
    except ImportError as error:
        raise InputError(
            "Pillow is not installed, expected for scikit-learn's photographs, the set photos.\n"
            'Install it with: pip install ".[vision]"'
        ) from error
    for label, photo in enumerate(raw.images):
        grey = photo.astype(np.float64) @ np.array([0.299, 0.587, 0.114])
        height, width = grey.shape[0] // 32, grey.shape[1] // 32
        blocks = grey[: height * 32, : width * 32].reshape(height * 8, 4, width * 8, 4).mean(axis=(1, 3))
        cut = blocks.reshape(height, 8, width, 8).transpose(0, 2, 1, 3).reshape(-1, 8, 8)
        patches.append(np.rint(cut / 255 * (LEVELS - 1)))
        labels.append(np.full(len(cut), label))
    return _to_uint8(np.concatenate(patches)), np.concatenate(labels), ["china", "flower"]


def _inverted() -> Arrays:
    """The ID test digits, dark on bright: the same shapes, other brightness."""
    images, labels, names = _id_digits(test=True)
    return 255 - images, labels, names


def _noise() -> Arrays:
    """500 images of independent uniform levels; the legacy generator, because its stream is frozen."""
    levels = np.random.RandomState(20230607).randint(0, LEVELS, size=(500, 8, 8))
    return _to_uint8(levels), None, []


def _noise_32() -> Arrays:
    """2,000 colour images of independent uniform bytes."""
    return np.random.RandomState(20230608).randint(0, 256, size=(2000, 32, 32, 3)).astype(np.uint8), None, []


MAKERS: dict[tuple[str, str], Callable[[], Arrays]] = {
    ("digits", "train"): lambda: _id_digits(test=False),
    ("digits", "test"): lambda: _id_digits(test=True),
    ("digits-89", "test"): _other_digits,
    ("photos", "test"): _photos,
    ("inverted", "test"): _inverted,
    ("noise", "test"): _noise,
    ("noise-32", "test"): _noise_32,
}
