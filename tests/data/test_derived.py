"""Sets for choosing a scorer: ID validation images in pieces, the same for every seed and machine."""

import hashlib

import numpy as np
import pytest

from ood_core import data
from ood_core.checks import InputError
from ood_core.data import derived, imageset


def numbered(side=8, channels=1):
    """Two images in which every piece has one value, the number of its place."""
    piece = side // 4
    places = np.arange(16, dtype=np.uint8).reshape(4, 4).repeat(piece, axis=0).repeat(piece, axis=1)
    images = np.stack([places, places + 100])[..., None].repeat(channels, axis=3)
    return imageset.make(images, name="numbered")


@pytest.mark.parametrize(("side", "channels"), [(8, 1), (32, 3)])
def test_pieces_move_whole_and_by_the_hash_of_the_image(side, channels):
    whole = numbered(side, channels)
    made = derived.shuffled(whole)
    piece = side // 4
    for image, key, first in zip(made, whole.ids, whole.images[:, 0, 0, 0], strict=True):
        hashes = [hashlib.blake2b(f"{key}|{k}".encode(), digest_size=16).hexdigest() for k in range(16)]
        wanted = np.argsort(hashes) + int(first)
        assert (image[::piece, ::piece, 0].ravel() == wanted).all()
        assert (image == image[::piece, ::piece].repeat(piece, axis=0).repeat(piece, axis=1)).all()
    assert (derived.shuffled(whole) == made).all()


def test_validation_digits_in_pieces_are_registered_and_share_no_image_with_any_set():
    made = data.load("digits-shuffled", "validation", "validation")
    assert made.digest == data.entry("digits-shuffled")["splits"]["validation"]["digest"]
    assert data.where("digits-shuffled", "validation") == "embedded"
    assert (made.labels, made.classes, made.role) == (None, (), "validation")
    validation = data.train_part(data.load("digits", "train"))[1]
    pixels = [np.sort(images.reshape(95, -1), axis=1) for images in (made.images, validation.images)]
    assert sorted(map(bytes, pixels[0])) == sorted(map(bytes, pixels[1]))
    for name, split in (("digits", "train"), ("digits", "test"), ("digits-89", "test")):
        assert not set(made.ids) & set(data.load(name, split).ids)


def test_a_derived_set_needs_its_source(tmp_path, monkeypatch):
    data.load.cache_clear()
    monkeypatch.setenv("OOD_DATA", str(tmp_path))
    assert data.where("cifar10-shuffled", "validation") == "missing"
    with pytest.raises(InputError, match=r"cifar10/train was not found"):
        data.load("cifar10-shuffled", "validation")
    with pytest.raises(InputError, match="has no split 'test', expected one of: validation"):
        data.load("cifar10-shuffled", "test")
    data.load.cache_clear()
