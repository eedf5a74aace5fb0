"""Canonical order and digest: what a run depends on is the pixels and labels, not the copy."""

import hashlib

import numpy as np
import pytest

from ood_core.checks import InputError
from ood_core.data import imageset


def some(n=7, seed=0):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (n, 4, 3, 1), dtype=np.uint8), rng.integers(0, 3, n)


def make(images, labels=None, classes=("a", "b", "c"), **kwargs):
    return imageset.make(images, labels, classes, name="made", **kwargs)


def test_digest_by_hand():
    images = np.array([[[[1]]], [[[2]]]], dtype=np.uint8)
    hashes = [hashlib.blake2b(b"(1, 1, 1)|uint8|" + bytes([v]), digest_size=16).digest() for v in (1, 2)]
    pairs = sorted(zip(hashes, (1, 0), strict=True))
    expected = hashlib.sha256(b"".join(h + y.to_bytes(8, "little") for h, y in pairs) + b'["a", "b", "c"]').hexdigest()
    made = make(images, [1, 0])
    assert made.digest == expected
    assert list(made.ids) == [h.hex() for h, _ in pairs]
    assert list(made.labels) == [y for _, y in pairs]


def test_order_and_digest_do_not_depend_on_the_copy():
    images, labels = some()
    shuffled = np.random.default_rng(1).permutation(len(images))
    first, second = make(images, labels), make(np.asfortranarray(images[shuffled]), labels[shuffled].astype(np.int32))
    assert first.digest == second.digest
    assert np.array_equal(first.images, second.images)
    assert np.array_equal(first.labels, second.labels)


@pytest.mark.parametrize(
    "change",
    [
        lambda x, y: (np.where(x == x.max(), 0, x).astype(np.uint8), y, "abc"),  # a pixel
        lambda x, y: (x, (y + 1) % 3, "abc"),  # labels
        lambda x, y: (x, None, ()),  # no labels
        lambda x, y: (x, y, "abd"),  # a class name
        lambda x, y: (x.reshape(7, 3, 4, 1), y, "abc"),  # the shape of the same bytes
        lambda x, y: (x[:-1], y[:-1], "abc"),  # an image less
    ],
)
def test_any_other_content_is_another_set(change):
    images, labels = some()
    changed, other, classes = change(images, labels)
    assert make(changed, other, classes).digest != make(images, labels).digest


def test_same_image_with_two_labels_has_a_fixed_order():
    images = np.zeros((3, 2, 2, 1), np.uint8)
    assert list(make(images, [2, 0, 1]).labels) == [0, 1, 2]


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (np.zeros((2, 4, 4, 1)), None, "expected uint8"),
        (np.zeros((2, 4, 4, 2), np.uint8), None, "C of 1 or 3"),
        (np.zeros((0, 4, 4, 1), np.uint8), None, "N >= 1"),
        (np.zeros((2, 4, 4, 1), np.uint8), [0, 3], "span 0..3"),
        (np.zeros((2, 4, 4, 1), np.uint8), [-1, 0], "span -1..0"),
        (np.zeros((2, 4, 4, 1), np.uint8), [0.0, 1.0], "expected integers"),
        (np.zeros((2, 4, 4, 1), np.uint8), [0], r"expected integers \(2,\)"),
    ],
)
def test_refusals(images, labels, message):
    with pytest.raises(InputError, match=message):
        make(images, labels)


def test_what_three_axes_were_taken_for_is_said():
    """One colour image without its first axis is as good as 4 grey ones: the labels alone tell."""
    with pytest.raises(InputError, match=r"expected integers \(4,\) for images \(4, 5, 3\), which are 4 grey ones"):
        make(np.zeros((4, 5, 3), np.uint8), [0])
    with pytest.raises(InputError, match=r"expected integers \(4,\) for images \(4, 5, 3, 1\)\.\nStore one"):
        make(np.zeros((4, 5, 3, 1), np.uint8), [0])


def test_labels_without_class_names_are_refused():
    with pytest.raises(InputError, match=r"span 0\.\.2 and there are no class names.*\nStore `classes`"):
        make(*some(), classes=())


def test_part_is_another_set_that_knows_its_whole():
    whole = make(*some())
    part = whole.part(slice(0, 3), "first")
    assert len(part) == 3
    assert part.split == "first"
    assert part.digest == hashlib.sha256(f"{whole.digest}|first".encode()).hexdigest()


def test_sets_compare_and_print_without_asking_their_pixels():
    first, second = make(*some()), make(*some())
    assert first != second
    assert first.digest == second.digest
    assert len({first, second}) == 2
    assert repr(first) == (
        "ImageSet(made/test, images=(7, 4, 3, 1) uint8, labels=(7,) int64, 3 classes, role='id', "
        f"digest={first.digest[:12]}...)"
    )
    assert "labels" not in repr(make(some()[0], classes=()))
