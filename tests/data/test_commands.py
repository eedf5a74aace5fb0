"""`python -m ood_core data ...` as typed: what it prints, what it writes, what it refuses."""

import json

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from ood_core import cli, data
from ood_core.data import samples
from tests.data import layouts


@pytest.fixture(autouse=True)
def root(tmp_path, monkeypatch):
    monkeypatch.setenv("OOD_DATA", str(tmp_path / "data"))
    (tmp_path / "data").mkdir()
    data.load.cache_clear()
    yield tmp_path / "data"
    data.load.cache_clear()


def call(*arguments):
    return CliRunner().invoke(cli.main, ["data", *map(str, arguments)], prog_name="python -m ood_core")


def table(*arguments):
    done = call(*arguments, "--json")
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def mine(root, images, labels=None, classes=(), name="mine-test"):
    given = {} if labels is None else {"labels": labels}
    np.savez(root / f"{name}.npz", images=images, classes=list(classes), **given)


def test_list_says_where_each_is_and_what_to_do_for_the_others(root):
    layouts.idx(root / "MNIST" / "raw" / "t10k-images-idx3-ubyte", np.zeros((1, 28, 28), np.uint8))
    rows = {(row["set"], row["split"]): row for row in table("list")}
    assert list(rows) == [(name, split) for name in data.names() for split in data.entry(name)["splits"]]
    places = {place: (row["from"], row["to do"]) for place, row in rows.items()}
    assert places["digits", "train"] == places["digits-shuffled", "validation"] == ("embedded", "")
    assert places["cifar10", "train"] == ("missing", "fetch, 170 MB by torchvision")
    assert places["svhn", "train"] == ("missing", "fetch, 183 MB by torchvision")
    assert places["tiny-imagenet-32", "val"] == ("missing", "bring tiny-imagenet-32-val.npz, 16 MB")
    assert places["mnist", "test3k"] == (str(root / "MNIST/raw/t10k-images-idx3-ubyte"), "")
    assert rows["cifar10", "test"]["digest known"] == "yes"
    assert rows["kmnist", "test"]["digest known"] == "no"
    assert places["cifar10-shuffled", "validation"] == ("missing", "made from cifar10")
    assert f"OOD_DATA: {root}\n" in call("list").stderr


def test_list_says_that_the_folder_is_not_there(root, monkeypatch):
    monkeypatch.setenv("OOD_DATA", str(root / "gone"))
    assert f"{root / 'gone'} (no such folder)" in call("list").stderr


def test_check_one_split_all_splits_and_whatever_is_at_hand():
    (row,) = table("check", "digits/test")
    assert (row["images"], row["digest"], row["registered"]) == (484, data.digest("digits", "test"), "the same")
    assert [row["split"] for row in table("check", "digits")] == ["train", "test"]
    done = call("check", "--json")
    at_hand = {(row["set"], row["split"]) for row in json.loads(done.stdout)}
    assert ("noise-32", "test") in at_hand
    assert "not at hand: cifar10/train, cifar10/test, " in done.stderr


def test_check_counts_and_names_what_both_sets_have(root):
    train = data.load("digits", "train")
    images = np.concatenate([train.images[:4], train.images[:1], layouts.pixels(5, 8, 1)])
    mine(root, images, np.arange(10) % 2, ["odd", "even"])
    (row,) = table("check", "mine/test", "--against", "digits/train", "--against", "digits/test")
    assert (row["images"], row["different"], row["registered"]) == (10, 9, "none")
    assert (row["in digits/train"], row["in digits/test"]) == (5, 0)
    named = [f"{name} = {train.classes[train.labels[0]]}" for name in ("odd", "even")]
    assert any(text in row["which"] for text in named)
    (own,) = table("check", "digits/train", "--against", "digits/train")
    assert (own["in digits/train"], own["which"]) == (959, "itself")
    every = {(row["set"], row["split"]): row for row in table("check", "--against", "digits/train")}
    assert every["noise", "test"]["in digits/train"] == 0
    assert every["noise-32", "test"]["in digits/train"] == "", "colour images cannot be compared with grey ones"


def test_show_prints_facts_and_writes_what_the_set_looks_like(root, tmp_path):
    images, labels = layouts.pixels(30, 32), np.arange(30) % 25
    mine(root, images, labels, [f"kind {label}" for label in range(25)])
    (facts,) = table("show", "mine/test")
    assert (facts["set"], facts["title"], facts["images"], facts["shape"]) == (
        "mine/test",
        "not registered",
        30,
        "32x32x3",
    )
    assert facts["classes"].startswith("kind 0 2, kind 1 2, kind 2 2, kind 3 2, kind 4 2, kind 5 1")
    assert facts["classes"].endswith("kind 19 1, and 5 more")
    assert facts["mean by channel"] == ", ".join(f"{x:.4f}" for x in images.mean(axis=(0, 1, 2)) / 255)
    done = call("show", "mine/test", "--sheet", tmp_path / "s.png")
    assert "kind 0 2" in done.stdout
    assert f"wrote {tmp_path / 's.png'}" in done.stderr
    with Image.open(tmp_path / "s.png") as file:
        shown = np.asarray(file)
    assert np.array_equal(shown[::3, ::3], samples.grid(data.load("mine", "test")))
    assert call("show", "photos", "--sheet", tmp_path / "s.webp").exit_code == 0
    with Image.open(tmp_path / "s.webp") as file:
        assert file.size == (8 * (12 * 9 - 1), 8 * (2 * 9 - 1))
    assert [facts["set"] for facts in table("show", "digits")] == ["digits/train", "digits/test"]
    (facts,) = table("show", "noise")
    assert facts["classes"] == "no labels"


def test_an_own_set_without_a_split_says_which_there_are(root):
    mine(root, layouts.pixels(3, 8), name="mine-train")
    mine(root, layouts.pixels(3, 8), name="mine-more-val")  # of a set called mine-more
    layouts.folder_of(root / "mine" / "test", layouts.pixels(3, 8))
    for command in ("show", "check"):
        done = call(command, "mine")
        assert done.exit_code == 1
        assert "your own set needs one.\nName one: mine/test, mine/train." in done.output
    assert call("show", "mine/train").exit_code == 0


MISTAKES = [
    (["check", "digit"], "image set is 'digit', expected one of: digits"),
    (["check", "digits/val"], "digits has no split 'val', expected one of: train, test"),
    (["check", "../digits/train"], "expected names of small letters"),
    (["check", "mine/test"], r"It is not registered, so bring it: NAME-SPLIT.npz"),
    (["check", "cifar10"], "data fetch cifar10/train  (about 170 MB)"),
    (["check", "tiny-imagenet-32"], "Put tiny-imagenet-32-val.npz (16 MB) there"),
    (["check", "--against", "cifar10/train"], "data fetch cifar10/train  (about 170 MB)"),
    (["check", "--against", "nothing"], "nothing/test was not found"),
    (["check", "noise-32", "--against", "digits/train"], "expected at most 8x8 and 1 or 1 channels"),
    (["fetch", "digits"], "digits is embedded in a library"),
    (["fetch", "textures-32"], "textures-32/dtd10 has no publisher to fetch it from"),
    (["fetch", "cifar10/val"], "split of cifar10 is 'val', expected one of: train, test"),
    (["fetch", "imagenet"], "image set is 'imagenet', expected one of"),
    (["show", "cifar100/test"], "data fetch cifar100/test  (about 169 MB)"),
    (["show", "digits", "--sheet", "s.png"], "digits has 2 splits, expected one for a sheet.\nName one: digits/train"),
    (["show", "noise", "--sheet", "s.jpg"], "--sheet is s.jpg, expected a file .png or .webp"),
    (["show", "noise", "--sheet", "no/such/s.png"], "in a folder that is there"),
    (["record"], "cifar10/train was not found"),
]


@pytest.mark.parametrize(("arguments", "message"), MISTAKES, ids=lambda value: " ".join(value)[:60])
def test_mistakes_get_a_message_and_no_traceback(arguments, message, tmp_path, monkeypatch):
    monkeypatch.setattr("ood_core.reference.sets.folder", lambda: tmp_path / "sets")
    done = call(*arguments)
    assert done.exit_code == 1, done.output
    assert message in done.output
    assert "Traceback" not in done.output
    assert not (tmp_path / "sets").exists()


@pytest.mark.parametrize("arguments", [["fetch"], ["show"], ["show", "a", "b"], ["check", "--against"]])
def test_missing_arguments(arguments):
    assert call(*arguments).exit_code == 2


def flipped(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1  # of a pixel
    path.write_bytes(bytes(content))


BAD = {
    "corrupt": (lambda path: path.write_bytes(path.read_bytes()[:2000]), "mine-test.npz is damaged"),
    "one bit": (flipped, "mine-test.npz is damaged"),
    "not images": (lambda path: np.savez(path, pixels=np.zeros(3)), "holds pixels, expected `images`"),
    "floats": (lambda path: np.savez(path, images=np.zeros((3, 8, 8, 1))), "are float64 (3, 8, 8, 1), expected uint8"),
    "channels first": (
        lambda path: np.savez(path, images=np.zeros((3, 3, 8, 8), np.uint8)),
        "are uint8 (3, 3, 8, 8), expected uint8 (N, H, W, C) with C of 1 or 3",
    ),
    "labels out of range": (
        lambda path: np.savez(path, images=np.zeros((3, 8, 8, 1), np.uint8), labels=[0, 1, 2], classes=["a", "b"]),
        "span 0..2, expected 0..1 for 2 classes",
    ),
    "labels too short": (
        lambda path: np.savez(path, images=np.zeros((3, 8, 8, 1), np.uint8), labels=[0, 1], classes=["a", "b"]),
        "labels of mine/test are int64 (2,), expected integers (3,)",
    ),
    "empty": (lambda path: np.savez(path, images=np.zeros((0, 8, 8, 1), np.uint8)), "N >= 1"),
}


@pytest.mark.parametrize(("harm", "message"), BAD.values(), ids=BAD)
def test_a_bad_file_is_named(root, harm, message):
    mine(root, layouts.pixels(50, 8))
    harm(root / "mine-test.npz")
    done = call("check", "mine/test")
    assert done.exit_code == 1
    assert message in done.output.replace("\n", " ")
    assert "Traceback" not in done.output
