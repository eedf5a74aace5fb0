"""Sets made from others: ID validation images in pieces, and ID test images after a treatment."""

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


def made_of(pixels):
    return imageset.make(np.asarray(pixels, np.uint8), name="made")


def bicubic(x):
    """The kernel of Keys (1981) with a = -1/2."""
    x = np.abs(x)
    inner, outer = 1.5 * x**3 - 2.5 * x**2 + 1, -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2
    return np.where(x < 1, inner, np.where(x < 2, outer, 0))


def weights(size, wanted):
    """Rows of a resize from `size` to `wanted` pixels; a reduction widens the kernel by its factor."""
    scale = size / wanted
    centre = (np.arange(wanted)[:, None] + 0.5) * scale - 0.5
    found = bicubic((np.arange(size)[None] - centre) / max(scale, 1))
    return found / found.sum(axis=1, keepdims=True)


def steps(matrix, image):
    """Both directions, rounded and clipped to grey levels after each, as 8-bit images are."""
    across = np.clip(np.rint(np.einsum("ij,yjc->yic", matrix, image)), 0, 255)
    return np.clip(np.rint(np.einsum("ij,jxc->ixc", matrix, across)), 0, 255)


@pytest.mark.parametrize("channels", [1, 3])
def test_resized_is_twice_the_side_and_back(channels):
    pixels = np.random.default_rng(0).integers(0, 256, (2, 8, 8, channels))
    found = derived.resized(made_of(pixels))
    assert (found.shape, found.dtype) == (pixels.shape, np.uint8)
    for image, made in zip(made_of(pixels).images, found, strict=True):
        wanted = steps(weights(16, 8), steps(weights(8, 16), image.astype(float)))
        assert np.abs(wanted - made).max() <= 1, "Pillow computes in fixed point"
        assert np.abs(image.astype(float) - made).max() > 1


def test_jpeg_costs_fine_detail_and_colour_and_leaves_flat_images():
    rng = np.random.default_rng(1)
    flat = np.full((1, 32, 32, 3), 96)
    assert np.abs(derived.jpeg(made_of(flat)).astype(int) - 96).max() <= 1
    fine = made_of(rng.integers(0, 256, (1, 32, 32, 3)))
    lost = derived.jpeg(fine).astype(float) - derived.resized(fine)
    assert np.abs(lost).mean() > 5
    grey = lost @ [0.299, 0.587, 0.114]  # brightness keeps its detail, colour is halved: most of the loss is colour
    assert np.abs(grey).mean() < 0.5 * np.abs(lost).mean()


@pytest.mark.parametrize("channels", [1, 3])
def test_grey_keeps_brightness_alone(channels):
    pixels = np.random.default_rng(3).integers(0, 256, (2, 8, 8, channels))
    found = derived.grey(made_of(pixels))
    assert (found.shape, found.dtype) == (pixels.shape, np.uint8)
    wanted = pixels @ [0.299, 0.587, 0.114] if channels == 3 else pixels[..., 0]
    assert np.abs(found - wanted[..., None]).max() <= 1, "Pillow computes in fixed point"


@pytest.mark.parametrize("channels", [1, 3])
def test_framed_is_grey_in_the_middle_of_black(channels):
    pixels = np.random.default_rng(2).integers(40, 256, (2, 32, 32, channels))
    found = derived.framed(made_of(pixels))
    assert found.shape == pixels.shape
    assert (found == found[..., :1]).all()
    inside = found[:, 2:30, 2:30, 0].astype(float)
    assert found[..., 0].sum() == inside.sum()
    assert (inside > 0).all()
    grey = made_of(pixels).images @ [0.299, 0.587, 0.114] if channels == 3 else made_of(pixels).images[..., 0]
    assert np.allclose(inside.mean(axis=(1, 2)), grey.mean(axis=(1, 2)), atol=1)
