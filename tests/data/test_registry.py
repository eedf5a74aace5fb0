"""Sets by name: registered digests, the split, real copies in two layouts, refusals."""

import sys

import numpy as np
import pytest

from ood_core import data
from ood_core.checks import ArtifactError, InputError
from ood_core.data import embedded, imageset

EMBEDDED = [
    (name, split)
    for name in data.names()
    for split in data.entry(name)["splits"]
    if data.entry(name)["source"] == "embedded"
]


@pytest.fixture(autouse=True)
def _fresh_cache():
    data.load.cache_clear()
    yield
    data.load.cache_clear()


@pytest.mark.parametrize(("name", "split"), EMBEDDED)
def test_embedded_sets_are_the_registered_ones(name, split):
    found, entry = data.load(name, split), data.entry(name)
    assert found.digest == entry["splits"][split]["digest"] == data.digest(name, split)
    assert len(found) == entry["splits"][split]["count"]
    assert list(found.images.shape[1:]) == entry["shape"]
    assert list(found.classes) == entry["classes"]
    if name == "noise-32":
        assert len(np.unique(found.images)) == 256
        return
    pixels = 255 - found.images if name == "inverted" else found.images
    assert set(np.unique(pixels)) <= {round(v * 255 / 16) for v in range(17)}


def test_id_train_test_and_ood_share_no_image():
    seen = {}
    for name, split in EMBEDDED:
        for key in set(data.load(name, split).ids):
            assert key not in seen, (name, split, seen[key])
            seen[key] = (name, split)


def test_inverted_is_the_negative_of_the_test_digits():
    test, inverted = data.load("digits", "test"), data.load("inverted", "test")
    again = imageset.make(255 - inverted.images, inverted.labels, inverted.classes, name="again")
    assert again.digest == test.digest


def test_a_photo_patch_by_hand():
    from sklearn.datasets import load_sample_image

    corner = load_sample_image("china.jpg")[:4, :4].astype(float) @ [0.299, 0.587, 0.114]
    level = round(corner.mean() / 255 * 16)
    images, labels, _ = embedded.MAKERS["photos", "test"]()
    assert images[0, 0, 0] == round(level * 255 / 16)
    assert np.bincount(labels).tolist() == [260, 260]


def test_photos_without_pillow_say_what_to_install(monkeypatch):
    for name in ("PIL", "PIL.Image"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(InputError, match=r"^Pillow is not installed, expected [\s\S]*pip install \"\.\[vision\]\""):
        data.load.__wrapped__("photos", "test")


def test_split_is_constant_and_disjoint():
    whole = data.load("digits", "train")
    train, validation = data.train_part(whole)
    assert (len(train), len(validation)) == (864, 95)
    assert not set(train.ids) & set(validation.ids)
    assert np.array_equal(np.concatenate([train.images, validation.images]), whole.images)
    assert data.train_part(whole, "all") == (whole, None)
    with pytest.raises(InputError, match="train_on is 'most'"):
        data.train_part(whole, "most")


def test_forty_five_and_five_thousand():
    images = np.arange(50_000, dtype=np.uint32).view(np.uint8).reshape(-1, 2, 2, 1)
    train, validation = data.train_part(imageset.make(images, name="made"))
    assert (len(train), len(validation)) == (45_000, 5_000)


def test_npz_under_ood_data(tmp_path, monkeypatch):
    monkeypatch.setenv("OOD_DATA", str(tmp_path))
    images = np.random.default_rng(0).integers(0, 256, (5, 4, 4, 3), dtype=np.uint8)
    np.savez(tmp_path / "mine-test.npz", images=images, labels=[0, 1, 0, 1, 1], classes=["x", "y"])
    found = data.load("mine", "test", role="far")
    assert (len(found), found.role, found.classes) == (5, "far", ("x", "y"))


@pytest.mark.parametrize("damage", [lambda b: b[: len(b) // 2], lambda b: b"not a zip", lambda _: b""])
def test_damaged_npz_is_named(tmp_path, monkeypatch, damage):
    monkeypatch.setenv("OOD_DATA", str(tmp_path))
    path = tmp_path / "mine-test.npz"
    np.savez(path, images=np.zeros((3, 4, 4, 1), np.uint8))
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ArtifactError, match=r"mine-test\.npz"):
        data.load("mine", "test")


def test_npz_with_objects_is_not_unpickled(tmp_path, monkeypatch):
    monkeypatch.setenv("OOD_DATA", str(tmp_path))
    np.savez(tmp_path / "mine-test.npz", images=np.array([{"a": 1}], dtype=object))
    with pytest.raises(ArtifactError, match="cannot be read"):
        data.load("mine", "test")


def test_registered_set_with_other_pixels_is_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("OOD_DATA", str(tmp_path))
    np.savez(tmp_path / "cifar10-test.npz", images=np.zeros((3, 32, 32, 3), np.uint8))
    with pytest.raises(
        ArtifactError, match=r"has images 3 of 32x32x3, expected 10000 of 32x32x3, digest .* expected b468b3363b8cdd62"
    ):
        data.load("cifar10", "test")


@pytest.mark.parametrize(
    ("name", "split", "message"),
    [
        ("digit", "train", "digit/train was not found, .*\nIt is not registered, so bring it: NAME-SPLIT.npz"),
        ("../digits", "train", "expected names of small letters"),
        ("digits", "../train", "expected names of small letters"),
        ("digits", "val", "has no split 'val'"),
    ],
)
def test_refused_names(name, split, message):
    with pytest.raises(InputError, match=message):
        data.load(name, split)


def test_a_set_that_nobody_has_seen_whole_can_be_planned_with_and_not_run(tmp_path, monkeypatch):
    data.load.cache_clear()
    monkeypatch.setenv("OOD_DATA", str(tmp_path))
    assert data.digest("cifar100", "train") == "not known: cifar100/train"
    assert data.digest("svhn", "train") != data.digest("cifar100", "train")
    with pytest.raises(InputError, match="was not found"):
        data.digest("mine", "train")
    images = np.zeros((100, 32, 32, 3), np.uint8)
    np.savez(tmp_path / "cifar100-train.npz", images=images, labels=np.arange(100), classes=np.array(["x"] * 100))
    with pytest.raises(ArtifactError, match="has images 100 of 32x32x3, expected 50000"):
        data.digest("cifar100", "train")
    data.load.cache_clear()
