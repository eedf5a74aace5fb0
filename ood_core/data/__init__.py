"""Image sets by name: registered ones with an expected digest, and any `NAME-SPLIT.npz` under `$OOD_DATA`."""

from __future__ import annotations

import re
from dataclasses import replace
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from .. import paths
from ..checks import ArtifactError, InputError, choice
from ..recipes.schema import Data
from . import imageset, schemes
from .imageset import ROLES, ImageSet

__all__ = [
    "ImageSet",
    "digest",
    "entry",
    "fetch",
    "fitted",
    "load",
    "names",
    "parse",
    "train_part",
    "training",
    "where",
]

VALIDATION_SHARE = 10  # the last tenth of the canonical order: 45k/5k for CIFAR


@cache
def _registry() -> dict[str, dict[str, Any]]:
    return dict(yaml.safe_load((Path(__file__).parent / "registry.yml").read_text(encoding="utf-8")))


def names() -> list[str]:
    """Registered names."""
    return list(_registry())


def entry(name: str) -> dict[str, Any]:
    """The registry's entry: title, source, licence, about, classes, shape, splits."""
    return _registry()[choice("image set", name, _registry())]


def digest(name: str, split: str) -> str:
    """The digest a split is expected to have, without reading any image where the registry knows it."""
    known = _registry().get(name, {}).get("splits", {}).get(split, {}).get("digest")
    return str(known) if known else load(name, split).digest


def where(name: str, split: str) -> str:
    """Where `load` would read from: `embedded`, a path, or `missing`."""
    if entry(name)["source"] == "embedded":
        return "embedded"
    if entry(name)["source"] == "derived":
        return where(entry(name)["derived"]["from"], "train")
    folder = paths.data()
    if folder is None:
        return "missing"
    npz = folder / f"{name}-{split}.npz"
    if npz.is_file():
        return str(npz)
    try:
        _from_torchvision(name, split)
    except (FileNotFoundError, InputError):
        return "missing"
    return str(folder)


def _from_torchvision(name: str, split: str, download: bool = False) -> Any:
    from .files import read_torchvision

    folder = paths.data()
    assert folder is not None
    return read_torchvision(folder, entry(name), split, download)


@lru_cache(maxsize=16)
def load(name: str, split: str = "test", role: str = "id") -> ImageSet:
    """One split of one set, in canonical order, checked against its expected digest.

    Looked for in this order: embedded in a library; `$OOD_DATA/NAME-SPLIT.npz`; torchvision's layout in `$OOD_DATA`.

    Raises:
        InputError: an unknown name, split or role, or files that are not there: the message says how to get them.
        ArtifactError: the images or labels are not the registered ones.
    """
    choice("role", role, ROLES)
    if not re.fullmatch(r"[a-z0-9][a-z0-9-]*", name) or not re.fullmatch(r"[a-z0-9]+", split):
        raise InputError(
            f"image set {name!r}, split {split!r}: expected names of small letters, digits and hyphens.\n"
            f"Pick a registered one ({', '.join(names())}) or the NAME-SPLIT of a file under $OOD_DATA."
        )
    folder = paths.data()
    npz = folder / f"{name}-{split}.npz" if folder else None
    if name not in _registry() and not (npz and npz.is_file()):
        raise InputError(
            f"image set {name!r} is not registered, expected one of: {', '.join(names())}.\n"
            f"Or put {name}-{split}.npz under $OOD_DATA ({folder or 'not set'})."
        )
    known = _registry().get(name, {})
    if known and split not in known["splits"] and not (npz and npz.is_file()):
        raise InputError(
            f"{name} has no split {split!r}, expected one of: {', '.join(known['splits'])}.\nPick one of these."
        )
    if known.get("source") == "embedded":
        from .embedded import MAKERS

        arrays = MAKERS[name, split]()
    elif known.get("source") == "derived":
        from .derived import MAKERS as MAKERS_OF

        whole = load(known["derived"]["from"], "train")
        part = train_part(whole)[1]
        assert part is not None
        arrays = MAKERS_OF[known["derived"]["how"]](part), None, []
    elif npz and npz.is_file():
        from .files import read_npz

        arrays = read_npz(npz)
    else:
        try:
            if folder is None:
                raise FileNotFoundError("OOD_DATA is not set")
            arrays = _from_torchvision(name, split)
        except FileNotFoundError as error:
            raise InputError(
                f"{name}/{split} was not found ({error}), expected under $OOD_DATA ({folder or 'not set'}).\n"
                f"Set OOD_DATA to a folder and run: python -m ood_core data fetch {name}"
                f"  (about {known['torchvision']['megabytes']} MB), or put {name}-{split}.npz there."
            ) from error
    images, labels, classes = arrays
    made = imageset.make(
        images, labels, classes, name=name, split=split, role=role, licence=known.get("licence", "not stated")
    )
    expected = known.get("splits", {}).get(split, {}).get("digest")
    if expected and made.digest != expected:
        raise ArtifactError(
            f"{name}/{split} has digest {made.digest[:16]}..., expected {expected[:16]}....\n"
            "Images or labels differ from the registered set: fetch it again, or give your copy another name."
        )
    return made


def fetch(name: str) -> list[ImageSet]:
    """Download a registered set into `$OOD_DATA` with torchvision, and check it.

    Raises:
        InputError: the set is embedded, `$OOD_DATA` is not set, or the download failed.
    """
    if entry(name)["source"] == "embedded":
        raise InputError(f"{name} is embedded in a library, expected a set to download.\nNothing to do: load it.")
    if paths.data() is None:
        raise InputError("OOD_DATA is not set, expected a folder for image sets.\nRun: export OOD_DATA=~/ood-data")
    for split in entry(name)["splits"]:
        _from_torchvision(name, split, download=True)
    load.cache_clear()
    return [load(name, split) for split in entry(name)["splits"]]


def parse(text: str) -> tuple[str, str]:
    """`name` or `name/split` as recipes write it -> name and split; the split is `test` if left out."""
    name, _, split = text.partition("/")
    return name, split or "test"


def fitted(images: ImageSet, shape: tuple[int, ...]) -> ImageSet:
    """A set as a network for images of `shape` (H, W, C) takes it: one rule for every scorer.

    Grey images are repeated in every channel; smaller ones are put in the middle of black, not stretched.

    Raises:
        InputError: the images are larger than the network's, or have colours that it does not see.
    """
    height, width, channels = images.images.shape[1:]
    if height > shape[0] or width > shape[1] or channels not in (1, shape[2]):
        raise InputError(
            f"{images.name}/{images.split} has images of {height}x{width}x{channels}, "
            f"expected at most {shape[0]}x{shape[1]} and 1 or {shape[2]} channels.\n"
            "Resize them in a set of their own, and say so in its name."
        )
    if (height, width, channels) == shape:
        return images
    top, left = (shape[0] - height) // 2, (shape[1] - width) // 2
    rows, columns = (top, shape[0] - height - top), (left, shape[1] - width - left)
    pixels = np.pad(images.images, ((0, 0), rows, columns, (0, 0)))
    return replace(images, images=np.repeat(pixels, shape[2] // channels, axis=3))


def training(asked: Data, seed: int) -> tuple[ImageSet, ImageSet | None]:
    """The images that a recipe trains on, with the labels of its scheme, and the validation part with true labels.

    Raises:
        InputError: a class that the set does not have.
    """
    part, validation = train_part(load(asked.id_set, "train"), asked.train_on)
    return schemes.labelled(schemes.chosen(part, asked), asked.labels, seed), validation


def train_part(whole: ImageSet, train_on: str = "split") -> tuple[ImageSet, ImageSet | None]:
    """The images to train on and the validation part: one constant split of the canonical order.

    `split`: the first nine tenths and the last tenth (45,000 and 5,000 of CIFAR); `all`: everything and None. The
    canonical order is by content hash, so the cut is as good as random, and it is the same for every seed.
    """
    if choice("train_on", train_on, ("split", "all")) == "all":
        return whole, None
    cut = len(whole) - len(whole) // VALIDATION_SHARE
    return whole.part(slice(None, cut), "train-part"), whole.part(slice(cut, None), "validation")
