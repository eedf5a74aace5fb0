"""Image sets by name: registered ones with an expected digest, and whatever lies under `$OOD_DATA`."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Any

import numpy as np

from .. import paths
from ..checks import ArtifactError, InputError, choice
from ..recipes.schema import Data
from . import imageset, schemes, sources
from .duplicates import compared
from .imageset import ROLES, ImageSet, fits, fitted
from .registry import entry, known, megabytes, names, parse, registry, splits, well_formed
from .samples import sheet
from .sources import advice, where

__all__ = [
    "ImageSet",
    "advice",
    "compared",
    "digest",
    "entry",
    "fetch",
    "fits",
    "fitted",
    "known",
    "load",
    "megabytes",
    "names",
    "parse",
    "present",
    "sheet",
    "splits",
    "train_part",
    "training",
    "where",
]

VALIDATION_SHARE = 10  # the last tenth of the canonical order: 45k/5k for CIFAR


def digest(name: str, split: str) -> str:
    """The digest a split is expected to have, without reading any image where the registry knows it.

    Of a registered split that we have not seen whole and that is not at hand, a stand-in: plans can be made with it,
    and no run is stored under it, since images are needed for one.
    """
    facts = known(name, split)
    if facts and "digest" not in facts and where(name, split) == "missing":
        return f"not known: {name}/{split}"
    return str(facts.get("digest") or load(name, split).digest)


@lru_cache(maxsize=16)
def load(name: str, split: str = "test", role: str = "id") -> ImageSet:
    """One split of one set, in canonical order, checked against what is registered.

    Looked for in this order: embedded in a library, or derived from another set; `$OOD_DATA/NAME-SPLIT.npz`; the folder
    of images `$OOD_DATA/NAME/SPLIT` (one sub-folder a class, or images alone); for NAME-32 the folder
    `$OOD_DATA/NAME/SPLIT`, reduced to 32x32; torchvision's layout in `$OOD_DATA`.

    Raises:
        InputError: an unknown name, split or role, or files that are not there: the message says how to get them.
        ArtifactError: the images or labels are not the registered ones, or a file is damaged.
    """
    choice("role", role, ROLES)
    well_formed(name, split)
    facts = registry().get(name, {})
    if facts and split not in facts["splits"] and where(name, split) == "missing":
        raise InputError(
            f"{name} has no split {split!r}, expected one of: {', '.join(facts['splits'])}.\nPick one of these."
        )
    if facts.get("source") == "derived":
        from .derived import MAKERS

        made_from = load(facts["derived"]["from"], facts["derived"]["split"])
        if made_from.split == "train":  # its validation part, which nothing is trained or tested on
            _, validation = train_part(made_from)
            assert validation is not None
            made_from = validation
        arrays: sources.Arrays = (MAKERS[facts["derived"]["how"]](made_from), None, [])
    else:
        arrays = sources.read(name, split)
    images, labels, classes = arrays
    made = imageset.make(
        images, labels, classes, name=name, split=split, role=role, licence=facts.get("licence", "not stated")
    )
    _compare(made, facts)
    return made


def _compare(made: ImageSet, facts: dict[str, Any]) -> None:
    """Refuse what a registered name does not stand for."""
    expected = facts.get("splits", {}).get(made.split)
    if expected is None:
        return
    got = {
        "digest": made.digest,
        "images": f"{len(made)} of {'x'.join(map(str, made.images.shape[1:]))}",
    }
    want = {
        "images": f"{expected['count']} of {'x'.join(map(str, facts['shape']))}",
        **({"digest": expected["digest"]} if "digest" in expected else {}),
    }
    wrong = [key for key in want if got[key] != want[key]]
    if wrong:
        raise ArtifactError(
            f"{made.name}/{made.split} has "
            + ", ".join(f"{key} {got[key][:16]}, expected {want[key][:16]}" for key in wrong)
            + ".\nImages or labels differ from the registered set: fetch it again, or give your copy another name."
        )


def fetch(name: str, split: str | None = None) -> list[ImageSet]:
    """Download a registered set, or one split of it, into `$OOD_DATA` with torchvision, and check it.

    Raises:
        InputError: the set cannot be downloaded, `$OOD_DATA` is not set, or the download failed; running it again goes
            on from what has arrived.
        ArtifactError: what came is not the registered set.
    """
    wanted = [split] if split else list(entry(name)["splits"])
    for one in wanted:
        sources.fetch(name, one)
    load.cache_clear()
    return [load(name, one) for one in wanted]


def present(places: Iterable[tuple[str, str]]) -> None:
    """Refuse before any work where sets are missing, all of them at once.

    Args:
        places: names and splits.
    Raises:
        InputError: names each set that is not there, and says how to get it.
    """
    missing = [place for place in dict.fromkeys(places) if where(*place) == "missing"]
    if missing:
        lines = [f"{name}/{split}: {advice(name, split)}" for name, split in missing]
        raise InputError(
            f"{len(missing)} image sets were not found, expected under $OOD_DATA ({paths.data() or 'not set'}):\n- "
            + "\n- ".join(lines)
        )


def training(asked: Data, seed: int) -> tuple[ImageSet, ImageSet | None]:
    """The images that a recipe trains on, with the labels of its scheme, and the validation part with true labels.

    Raises:
        InputError: a class that the set does not have, or one without images; a single class and nothing to tell apart.
    """
    whole = load(asked.id_set, "train")
    _learnable(whole, asked)
    part, validation = train_part(whole, asked.train_on)
    return schemes.labelled(schemes.chosen(part, asked), asked.labels, seed), validation


def _learnable(whole: ImageSet, asked: Data) -> None:
    """Refuse an ID set whose classes are not all there."""
    if whole.labels is None:
        raise InputError(
            f"{whole.name}/{whole.split} has no labels, expected one for each training image.\nUse a labelled set."
        )
    empty = sorted(set(range(len(whole.classes))) - set(np.unique(whole.labels).tolist()))
    if empty:
        raise InputError(
            f"{whole.name}/{whole.split} has no image of {', '.join(whole.classes[label] for label in empty)}, "
            f"expected some of each of its {len(whole.classes)} classes.\nLeave these names out of `classes`, "
            "or add their images."
        )
    if len(whole.classes) < 2 and asked.labels == "true" and asked.one_class is None:
        raise InputError(
            f"{whole.name}/{whole.split} has one class ({whole.classes[0]}), expected at least two to tell apart.\n"
            "Say `one_class: 0` or `labels: instance` under `data` in the recipe where that is meant."
        )


def train_part(whole: ImageSet, train_on: str = "split") -> tuple[ImageSet, ImageSet | None]:
    """The images to train on and the validation part: one constant split of the canonical order.

    `split`: the first nine tenths and the last tenth (45,000 and 5,000 of CIFAR); `all`: everything and None. The
    canonical order is by content hash, so the cut is as good as random, and it is the same for every seed.
    """
    if choice("train_on", train_on, ("split", "all")) == "all":
        return whole, None
    cut = len(whole) - len(whole) // VALIDATION_SHARE
    return whole.part(slice(None, cut), "train-part"), whole.part(slice(cut, None), "validation")
