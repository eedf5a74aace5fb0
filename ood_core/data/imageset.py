"""A set of images with an order and a digest that do not depend on the copy it was read from."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..checks import InputError, outline

ROLES = ("id", "near", "far", "validation", "control")


@dataclass(frozen=True, eq=False)  # by fields, == would ask arrays for one truth value; `digest` tells equal sets
class ImageSet:
    """Images in canonical order: ascending (BLAKE2b-128 of shape, dtype and bytes; label).

    Attributes:
        images: uint8 (N, H, W, C).
        labels: int64 (N,), or None.
        ids: (N,) the images' BLAKE2b-128 digests as hex strings; equal images have equal ids.
        classes: class names in label order; empty without labels.
        name, split: as registered, for instance `digits`, `train`.
        role: `id`, `near`, `far`, `validation` or `control`, seen from the ID set of the recipe at hand.
        licence: terms in a few words.
        digest: SHA-256 over the ordered pairs and the class names.
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.int64] | None
    ids: NDArray[np.str_]
    classes: tuple[str, ...]
    name: str
    split: str
    role: str
    licence: str
    digest: str

    def __repr__(self) -> str:
        """Name, shapes and types, role and the digest's beginning."""
        labels = "" if self.labels is None else f", labels={outline(self.labels)}, {len(self.classes)} classes"
        about = f"images={outline(self.images)}{labels}, role={self.role!r}, digest={self.digest[:12]}..."
        return f"ImageSet({self.name}/{self.split}, {about})"

    def __len__(self) -> int:
        return len(self.images)

    def part(self, index: Any, split: str) -> ImageSet:
        """The images at `index`, in their order; the digest says it is a part of the whole."""
        return replace(
            self,
            images=self.images[index],
            labels=None if self.labels is None else self.labels[index],
            ids=self.ids[index],
            split=split,
            digest=hashlib.sha256(f"{self.digest}|{split}".encode()).hexdigest(),
        )


def make(
    images: Any,
    labels: Any = None,
    classes: tuple[str, ...] | list[str] = (),
    *,
    name: str,
    split: str = "test",
    role: str = "id",
    licence: str = "not stated",
) -> ImageSet:
    """Check raw arrays and put them in canonical order.

    Args:
        images: uint8 (N, H, W, C) with C of 1 or 3, or (N, H, W) for grey.
        labels: integers (N,) in 0..len(classes)-1, or None.
    Raises:
        InputError: another type, rank or channel count, no images, labels that do not fit.
    """
    x = np.asarray(images)
    grey = f", which are {len(x)} grey ones" if x.ndim == 3 else ""
    if x.ndim == 3:
        x = x[..., None]
    if x.dtype != np.uint8 or x.ndim != 4 or x.shape[-1] not in (1, 3) or 0 in x.shape:
        raise InputError(
            f"images of {name}/{split} are {x.dtype} {x.shape}, expected uint8 (N, H, W, C) with C of 1 or 3, N >= 1.\n"
            "Store pixels as 0..255, channels last."
        )
    y: NDArray[np.int64] | None = None
    if labels is not None:
        raw = np.asarray(labels)
        if raw.shape != (len(x),) or not np.issubdtype(raw.dtype, np.integer):
            raise InputError(
                f"labels of {name}/{split} are {raw.dtype} {raw.shape}, expected integers ({len(x)},) for images "
                f"{np.shape(images)}{grey}.\nStore one class index per image, and colour images as (N, H, W, C)."
            )
        y = raw.astype(np.int64)
        if not len(classes):
            raise InputError(
                f"labels of {name}/{split} span {y.min()}..{y.max()} and there are no class names, expected one "
                "for each label.\nStore `classes`: the names, in the order of the labels."
            )
        if y.min() < 0 or y.max() >= len(classes):
            raise InputError(
                f"labels of {name}/{split} span {y.min()}..{y.max()}, expected 0..{len(classes) - 1} for "
                f"{len(classes)} classes.\nName every class, and index from 0."
            )
    x = np.ascontiguousarray(x)
    hashes = _hashes(x)
    pairs = [(h, -1 if y is None else int(y[i])) for i, h in enumerate(hashes)]
    order = sorted(range(len(x)), key=pairs.__getitem__)
    digest = hashlib.sha256()
    for i in order:
        digest.update(pairs[i][0] + pairs[i][1].to_bytes(8, "little", signed=True))
    digest.update(json.dumps(list(classes)).encode())
    return ImageSet(
        images=x[order],
        labels=None if y is None else y[order],
        ids=np.array([hashes[i].hex() for i in order]),
        classes=tuple(map(str, classes)),
        name=name,
        split=split,
        role=role,
        licence=licence,
        digest=digest.hexdigest(),
    )


def fits(images: ImageSet, shape: tuple[int, ...]) -> bool:
    """Whether a network for images of `shape` (H, W, C) can take the set, see `fitted`."""
    height, width, channels = images.images.shape[1:]
    return height <= shape[0] and width <= shape[1] and channels in (1, shape[2])


def fitted(images: ImageSet, shape: tuple[int, ...]) -> ImageSet:
    """A set as a network for images of `shape` (H, W, C) takes it: one rule for every scorer.

    Grey images are repeated in every channel; smaller ones are put in the middle of black, not stretched.

    Raises:
        InputError: the images are larger than the network's, or have colours that it does not see.
    """
    height, width, channels = images.images.shape[1:]
    if not fits(images, shape):
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


def ids(images: NDArray[np.uint8]) -> NDArray[np.str_]:
    """BLAKE2b-128 of shape, dtype and bytes of each image of (N, H, W, C), as hex strings."""
    return np.array([found.hex() for found in _hashes(np.ascontiguousarray(images))])


def _hashes(x: NDArray[np.uint8]) -> list[bytes]:
    prefix = f"{x.shape[1:]}|{x.dtype}|".encode()
    return [hashlib.blake2b(prefix + image.tobytes(), digest_size=16).digest() for image in x]
