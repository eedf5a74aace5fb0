"""Small copies of published sets, written as their publishers and torchvision lay them out."""

from __future__ import annotations

import hashlib
import pickle
import tarfile

import numpy as np
from PIL import Image

from ood_core import data
from ood_core._torchvision import torchvision

RNG = np.random.default_rng(14)


def md5(path):
    return hashlib.md5(path.read_bytes()).hexdigest()


def pixels(count, side, channels=3):
    return RNG.integers(0, 256, (count, side, side, channels), dtype=np.uint8)


def registered(monkeypatch, name, **counts):
    """The registry expects these counts, and no digest, for the time of a test."""
    for split, count in counts.items():
        facts = data.entry(name)["splits"][split]
        monkeypatch.setitem(facts, "count", count)
        if "digest" in facts:
            monkeypatch.delitem(facts, "digest")


def cifar10(root, monkeypatch, images, labels):
    """CIFAR-10's five training batches and a test batch, with torchvision's checksums set to these files'."""
    cifar = torchvision().datasets.CIFAR10
    folder = root / "cifar-10-batches-py"
    folder.mkdir(parents=True)
    parts = np.array_split(np.arange(len(images)), 5)
    names = [f"data_batch_{number}" for number in range(1, 6)]
    for name, part in zip([*names, "test_batch"], [*parts, parts[0]], strict=True):
        flat = images[part].transpose(0, 3, 1, 2).reshape(len(part), -1)
        (folder / name).write_bytes(pickle.dumps({"data": flat, "labels": labels[part].tolist()}))
    (folder / "batches.meta").write_bytes(pickle.dumps({"label_names": data.entry("cifar10")["classes"]}))
    monkeypatch.setattr(cifar, "train_list", [[name, md5(folder / name)] for name in names])
    monkeypatch.setattr(cifar, "test_list", [["test_batch", md5(folder / "test_batch")]])
    monkeypatch.setattr(cifar, "meta", {**cifar.meta, "md5": md5(folder / "batches.meta")})
    return folder


def packed(folder, target):
    """A .tar.gz of a folder."""
    with tarfile.open(target, "w:gz") as file:
        file.add(folder, folder.name)
    return target


def idx(path, values):
    """The format of MNIST and its relatives: magic number, sizes, bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    sizes = np.array([0x0800 + values.ndim, *values.shape], dtype=">i4").tobytes()
    path.write_bytes(sizes + values.astype(np.uint8).tobytes())


def mnist(root, kind, images, labels, prefix=("train", "t10k")):
    """Training and test part hold the same images."""
    for part in prefix:
        idx(root / kind / "raw" / f"{part}-images-idx3-ubyte", images[..., 0])
        idx(root / kind / "raw" / f"{part}-labels-idx1-ubyte", labels)


def svhn(root, monkeypatch, images, labels):
    """Channels before images, digit 0 called 10."""
    from scipy.io import savemat

    path = root / "test_32x32.mat"
    savemat(path, {"X": images.transpose(1, 2, 3, 0), "y": np.where(labels == 0, 10, labels)[:, None].astype(np.uint8)})
    kind = torchvision().datasets.SVHN
    monkeypatch.setattr(kind, "split_list", {**kind.split_list, "test": ["", path.name, md5(path)]})


def stl10(root, monkeypatch, images, labels):
    """Columns before rows, labels from 1."""
    folder = root / "stl10_binary"
    folder.mkdir()
    for part in ("train", "test"):
        (folder / f"{part}_X.bin").write_bytes(images.transpose(0, 3, 2, 1).tobytes())
        (folder / f"{part}_y.bin").write_bytes((labels + 1).astype(np.uint8).tobytes())
    (folder / "unlabeled_X.bin").write_bytes(b"")
    kind = torchvision().datasets.STL10
    for lists in ("train_list", "test_list"):
        monkeypatch.setattr(kind, lists, [[name, md5(folder / name)] for name, _ in getattr(kind, lists)])


def dtd(root, images, labels, classes):
    """JPEG would lose pixels, so these are PNG."""
    (root / "dtd" / "dtd" / "labels").mkdir(parents=True)
    lines = []
    for number, (image, label) in enumerate(zip(images, labels, strict=True)):
        path = root / "dtd" / "dtd" / "images" / classes[label] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(path)
        lines.append(f"{classes[label]}/{number}.png\n")
    (root / "dtd" / "dtd" / "labels" / "test1.txt").write_text("".join(lines))


def places365(root, monkeypatch, images, labels, classes):
    """The lists of classes and files, and a folder of pictures."""
    (root / "val_256").mkdir()
    lines = []
    for number, (image, label) in enumerate(zip(images, labels, strict=True)):
        Image.fromarray(image).save(root / "val_256" / f"{number}.png")
        lines.append(f"{number}.png {label}\n")
    (root / "places365_val.txt").write_text("".join(lines))
    (root / "categories_places365.txt").write_text("".join(f"{name} {i}\n" for i, name in enumerate(classes)))
    kind = torchvision().datasets.Places365
    categories = ("categories_places365.txt", md5(root / "categories_places365.txt"))
    monkeypatch.setattr(kind, "_CATEGORIES_META", categories)
    listed = {**kind._FILE_LIST_META, "val": ("places365_val.txt", md5(root / "places365_val.txt"))}
    monkeypatch.setattr(kind, "_FILE_LIST_META", listed)


def folder_of(root, images, labels=None, classes=()):
    """One sub-folder a class, or all images together; names in no order of the images."""
    for number, image in enumerate(images):
        path = root / ("" if labels is None else classes[labels[number]]) / f"{(number * 7919) % 10007:05d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image.squeeze()).save(path)
    return root
