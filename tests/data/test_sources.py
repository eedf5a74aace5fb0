"""The same pixels from every source: one order, one digest, one train key; damaged and missing ones named."""

import numpy as np
import pytest
from PIL import Image

from ood_core import data
from ood_core.checks import ArtifactError, InputError
from ood_core.data import imageset, pictures
from tests.data import layouts
from tests.data.layouts import pixels, registered
from tests.spine import recipe

TEN = np.arange(20) % 10


@pytest.fixture(autouse=True)
def root(tmp_path, monkeypatch):
    """An empty $OOD_DATA."""
    monkeypatch.setenv("OOD_DATA", str(tmp_path / "data"))
    (tmp_path / "data").mkdir()
    data.load.cache_clear()
    yield tmp_path / "data"
    data.load.cache_clear()


def by_content(images, labels, classes):
    """What any copy must become, by the definition of the canonical order."""
    return imageset.make(images, labels, classes, name="expected")


def same(found, expected):
    assert np.array_equal(found.images, expected.images)
    assert np.array_equal(found.labels, expected.labels)
    assert (found.classes, found.digest) == (expected.classes, expected.digest)


def test_every_copy_of_cifar10_gives_one_order_one_digest_and_one_train_key(root, tmp_path, monkeypatch):
    images, labels = pixels(50, 32), np.arange(50) % 10
    classes = data.entry("cifar10")["classes"]
    registered(monkeypatch, "cifar10", train=50, test=10)
    layouts.cifar10(tmp_path / "torchvision", monkeypatch, images, labels)
    layouts.folder_of(tmp_path / "folder" / "cifar10" / "train", images, labels, classes)
    shuffled = np.random.default_rng(1).permutation(50)
    (tmp_path / "npz").mkdir()
    np.savez(tmp_path / "npz" / "cifar10-train.npz", images=images[shuffled], labels=labels[shuffled], classes=classes)
    asked = recipe(data={"id_set": "cifar10"})
    keys, places = set(), []
    for copy in ("torchvision", "folder", "npz"):
        monkeypatch.setenv("OOD_DATA", str(tmp_path / copy))
        data.load.cache_clear()
        same(data.load("cifar10", "train"), by_content(images, labels, classes))
        keys.add(asked.train_key(0, data.digest("cifar10", "train")))
        places.append(data.where("cifar10", "train").removeprefix(str(tmp_path)))
    assert len(keys) == 1
    assert places == [
        "/torchvision/cifar-10-batches-py/data_batch_1",
        "/folder/cifar10/train",
        "/npz/cifar10-train.npz",
    ]
    other = np.where(images == images.max(), 0, images)
    np.savez(tmp_path / "npz" / "cifar10-train.npz", images=other, labels=labels, classes=classes)
    data.load.cache_clear()
    assert asked.train_key(0, data.digest("cifar10", "train")) not in keys


def test_a_file_with_another_checksum_is_never_unpickled(root, monkeypatch):
    registered(monkeypatch, "cifar10", train=50)
    folder = layouts.cifar10(root, monkeypatch, pixels(50, 32), np.arange(50) % 10)
    whole = (folder / "data_batch_3").read_bytes()
    (folder / "data_batch_3").write_bytes(whole[:-2] + b"x" + whole[-1:])
    monkeypatch.setattr("torchvision.datasets.cifar.pickle.load", lambda *_, **__: pytest.fail("unpickled"))
    with pytest.raises(ArtifactError, match=r"CIFAR10 in .* is not whole .*corrupted"):
        data.load("cifar10", "train")


@pytest.mark.parametrize(
    ("name", "kind"), [("mnist", "MNIST"), ("fashion-mnist-original", "FashionMNIST"), ("kmnist", "KMNIST")]
)
def test_mnist_and_its_relatives(root, monkeypatch, name, kind):
    images = pixels(20, 28, 1)
    layouts.mnist(root, kind, images, TEN)
    registered(monkeypatch, name, train=20, test=20)
    for split in ("train", "test"):
        same(data.load(name, split), by_content(images, TEN, data.entry(name)["classes"]))


def test_the_first_test_digits_are_those_of_the_publisher(root, monkeypatch):
    images = pixels(3005, 28, 1)
    labels = np.arange(3005) % 10
    layouts.mnist(root, "MNIST", images, labels)
    registered(monkeypatch, "mnist", test3k=3000)
    same(data.load("mnist", "test3k"), by_content(images[:3000], labels[:3000], data.entry("mnist")["classes"]))


def test_letters_stand_upright_and_begin_at_a(root, monkeypatch):
    images, labels = pixels(26, 28, 1), np.arange(26)
    lying = images.swapaxes(1, 2)
    layouts.mnist(root, "EMNIST", lying, labels + 1, ("emnist-letters-train", "emnist-letters-test"))
    registered(monkeypatch, "emnist-letters", train=26, test=26)
    for split in ("train", "test"):
        found = data.load("emnist-letters", split)
        same(found, by_content(images, labels, [chr(ord("a") + label) for label in labels]))


def test_svhn_and_its_first_test_digits(root, monkeypatch):
    images = pixels(10_003, 32)
    labels = np.arange(10_003) % 10
    layouts.svhn(root, monkeypatch, images, labels)
    registered(monkeypatch, "svhn", test=10_003, test10k=10_000)
    classes = data.entry("svhn")["classes"]
    same(data.load("svhn", "test"), by_content(images, labels, classes))
    same(data.load("svhn", "test10k"), by_content(images[:10_000], labels[:10_000], classes))
    assert data.where("svhn", "train") == "missing"


def reduced(image):
    """The rule, written differently: Pillow's own box instead of a crop."""
    high, wide = image.shape[:2]
    short = min(high, wide)
    left, top = (wide - short) // 2, (high - short) // 2
    picture = Image.fromarray(image[top : top + short, left : left + short])
    return np.asarray(picture.resize((32, 32), Image.Resampling.BICUBIC, reducing_gap=None))


def test_stl10_is_reduced(root, monkeypatch):
    images = pixels(20, 96)
    layouts.stl10(root, monkeypatch, images, TEN)
    registered(monkeypatch, "stl10-32", train=20, test=20)
    small = np.stack([reduced(image) for image in images])
    for split in ("train", "test"):
        same(data.load("stl10-32", split), by_content(small, TEN, data.entry("stl10-32")["classes"]))


def test_dtd_and_places_are_read_from_pictures_and_reduced(root, monkeypatch):
    images = [RNG_IMAGE(60 + n, 97 - n) for n in range(12)]
    labels, classes = np.arange(12) % 3, ["banded", "dotted", "woven"]
    small = np.stack([reduced(image) for image in images])
    layouts.dtd(root, images, labels, classes)
    layouts.places365(root, monkeypatch, images, labels, classes)
    registered(monkeypatch, "dtd-32", test=12)
    registered(monkeypatch, "places365-32", val=12)
    same(data.load("dtd-32", "test"), by_content(small, labels, classes))
    same(data.load("places365-32", "val"), by_content(small, labels, classes))


def RNG_IMAGE(high, wide):
    return layouts.RNG.integers(0, 256, (high, wide, 3), dtype=np.uint8)


def test_reducing_takes_the_centre_and_leaves_32_pixels_alone():
    image = np.zeros((40, 100, 3), np.uint8)
    image[:, 30:70] = 200  # the centre square, and nothing else, is bright
    assert (np.asarray(pictures.reduced(Image.fromarray(image))) == 200).all()
    exact = RNG_IMAGE(32, 40)
    assert np.array_equal(np.asarray(pictures.reduced(Image.fromarray(exact))), exact[:, 4:36])
    with pytest.raises(InputError, match="an image of 31x40 pixels cannot be reduced to 32x32"):
        pictures.reduced(Image.fromarray(RNG_IMAGE(40, 31)))


@pytest.mark.parametrize("channels", [1, 3])
def test_a_folder_with_and_without_classes(root, channels):
    images, labels = pixels(20, 12, channels), TEN % 3
    layouts.folder_of(root / "mine" / "train", images, labels, ["b", "c", "a"])
    order = np.array([1, 2, 0])  # sub-folders are sorted by name
    same(data.load("mine", "train"), by_content(images, order[labels], ["a", "b", "c"]))
    layouts.folder_of(root / "mine" / "test", images)
    found = data.load("mine", "test", "far")
    assert (found.labels, found.classes, found.role) == (None, (), "far")
    assert found.digest == imageset.make(images, name="flat").digest
    assert data.where("mine", "test") == str(root / "mine" / "test")


def test_hidden_folders_are_no_part_of_a_set(root):
    images = pixels(4, 12)
    folder = root / "mine" / "test"
    layouts.folder_of(folder, images)
    layouts.folder_of(folder / ".ipynb_checkpoints", pixels(1, 9))
    same_images = imageset.make(images, name="flat").digest
    assert data.load("mine", "test").digest == same_images


def test_a_folder_of_larger_images_under_a_name_of_its_own(root):
    images = [RNG_IMAGE(40 + n, 50) for n in range(4)]
    folder = root / "birds" / "test"
    folder.mkdir(parents=True)
    for number, image in enumerate(images):
        Image.fromarray(image).save(folder / f"{number}.png")
    found = data.load("birds-32", "test")
    assert found.digest == imageset.make(np.stack([reduced(image) for image in images]), name="small").digest
    with pytest.raises(InputError, match=r"4 sizes \(50x40, 50x41, 50x42, \.\.\.\), expected one.\nAsk for .* -32"):
        data.load("birds", "test")


def test_grey_and_colour_together_become_colour(root):
    folder = root / "mine" / "test"
    folder.mkdir(parents=True)
    grey, colour = pixels(1, 8, 1)[0], pixels(1, 8)[0]
    Image.fromarray(grey[..., 0]).save(folder / "a.png")
    Image.fromarray(colour).save(folder / "b.png")
    found = data.load("mine", "test")
    assert found.digest == imageset.make(np.stack([grey.repeat(3, axis=2), colour]), name="both").digest


def damaged(folder):
    (folder / "1.png").write_bytes(b"no picture")


def wide(folder):
    Image.fromarray(np.zeros((8, 8), np.uint16)).save(folder / "1.png")


def mixed(folder):
    (folder / "cats").mkdir()


def empty_class(folder):
    (folder / "0.png").unlink()
    layouts.folder_of(folder, pixels(2, 8), [0, 1], ["a", "b"])
    for path in (folder / "b").iterdir():
        path.unlink()


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (damaged, r"mine/test: .*1\.png cannot be read"),
        (wide, r"1\.png has pixels of type I;16, expected 8 bits"),
        (mixed, r"holds images \(0\.png\) beside sub-folders \(cats\)"),
        (empty_class, r"b holds no image"),
        (lambda folder: (folder / "0.png").unlink(), "test holds no image"),
    ],
)
def test_a_folder_that_cannot_be_meant(root, harm, message):
    folder = root / "mine" / "test"
    folder.mkdir(parents=True)
    Image.fromarray(pixels(1, 8)[0]).save(folder / "0.png")
    harm(folder)
    with pytest.raises(InputError, match=message):
        data.load("mine", "test")


def test_a_registered_count_and_shape_hold_where_no_digest_is_known(root):
    layouts.mnist(root, "KMNIST", pixels(20, 28, 1), TEN)
    with pytest.raises(ArtifactError, match="kmnist/test has images 20 of 28x28x1, expected 10000 of 28x28"):
        data.load("kmnist", "test")


MISSING = [
    ("cifar10", "train", r"data fetch cifar10/train  \(about 170 MB\), or put cifar10-train\.npz there"),
    ("svhn", "train", r"data fetch svhn/train  \(about 183 MB\)"),
    ("svhn", "test10k", r"data fetch svhn/test10k  \(about 65 MB\)"),
    ("tiny-imagenet-32", "val", r"cannot be fetched: .* Put tiny-imagenet-32-val\.npz \(16 MB\) there"),
    ("mine", "test", r"not registered, so bring it: NAME-SPLIT\.npz .* or a folder NAME/SPLIT of images"),
]


@pytest.mark.parametrize(("name", "split", "message"), MISSING)
def test_what_is_missing_says_how_to_get_it(root, monkeypatch, name, split, message):
    assert data.where(name, split) == "missing"
    with pytest.raises(InputError, match=rf"not found, expected under \$OOD_DATA \({root}\)"):
        data.load(name, split)
    with pytest.raises(InputError, match=message):
        data.load(name, split)
    monkeypatch.delenv("OOD_DATA")
    with pytest.raises(InputError, match=r"expected under \$OOD_DATA \(not set\)"):
        data.load(name, split)


@pytest.mark.parametrize("name", [n for n in data.names() if data.entry(n)["source"] == "torchvision"])
def test_every_published_set_asks_torchvision_for_what_it_knows(root, name):
    """Class, arguments and sizes exist; nothing is there, so torchvision says so before it reads anything."""
    from ood_core.data.files import read_torchvision

    entry = data.entry(name)
    for split, facts in entry["splits"].items():
        assert data.where(name, split) == "missing"
        assert data.megabytes(name, split) > 0
        with pytest.raises(ArtifactError, match=r"not found|does not exist|corrupted"):
            read_torchvision(root, entry, facts)
