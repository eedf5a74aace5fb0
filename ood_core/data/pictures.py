"""Image files and folders of them: found in a fixed order, read by Pillow, reduced by one rule."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from ..checks import InputError

if TYPE_CHECKING:
    from PIL.Image import Image

JPEG = (".jfif", ".jpe", ".jpeg", ".jpg")
SUFFIXES = (".bmp", ".gif", *JPEG, ".pbm", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")
WIDE = ("I", "F")  # Pillow's modes of more than 8 bits a channel begin so; conversion would clip them
GREY = ("1", "L")
SIDE = 32  # pixels of a reduced image
MANY = 2000  # images from which on reading shows its progress


class UnreadableError(InputError):
    """A file that cannot be read as an image: damaged, broken off, of another kind, or not to be opened."""


def images_in(folder: Path, others: Counter[str] | None = None) -> list[Path]:
    """All image files below a folder, sorted by path; hidden files and folders and other types are left out.

    Links to folders are followed, but for those to a folder that they lie in.

    Args:
        others: where the suffixes of files are counted that are left out for them; hidden ones are not.
    Raises:
        InputError: no such folder, no image in it, or a folder in it that cannot be read.
    """
    require_folder(folder, "one that holds images")
    found: list[Path] = []
    for place, folders, names in os.walk(folder, onerror=_unreadable, followlinks=True):
        folders[:] = [name for name in folders if not name.startswith(".") and not _returns(Path(place, name), folder)]
        shown = [name for name in names if not name.startswith(".")]
        found += [Path(place, name) for name in shown if name.lower().endswith(SUFFIXES)]
        if others is not None:
            others.update(Path(name).suffix.lower() for name in shown if not name.lower().endswith(SUFFIXES))
    if not found:
        raise InputError(f"{folder} holds no image, expected files such as .png or .jpg.\nCheck the path.")
    return sorted(found)


def require_folder(path: Path, expected: str) -> None:
    """Refuse what is no folder, in other words where nothing is there at all.

    Raises:
        InputError: no such folder.
    """
    if not path.exists():
        raise InputError(f"there is no file or folder {path}, expected {expected}.\nCheck the path.")
    if not path.is_dir():
        raise InputError(f"{path} is not a folder, expected {expected}.\nCheck the path.")


def _returns(link: Path, top: Path) -> bool:
    """Whether a link below `top` leads to a folder that it lies in, by any links before: the walk would never end."""
    if not link.is_symlink():
        return False
    target = link.resolve()
    return any(up.resolve().is_relative_to(target) for up in link.parents if up.is_relative_to(top))


def _unreadable(error: OSError) -> None:
    """Of `os.walk`, which leaves out in silence what it cannot read."""
    raise InputError(
        f"{error.filename} cannot be read ({error.strerror}), expected folders that can.\n"
        "Allow it, or take it out of the folder."
    ) from error


def pillow() -> Any:
    """Pillow's module for images.

    Raises:
        InputError: Pillow is not installed.
    """
    try:
        from PIL import Image
    except ModuleNotFoundError as error:
        raise InputError(
            "Pillow is not installed, expected for image files.\n"
            'Install it from the clone, with all that reads images: pip install ".[vision]"'
        ) from error
    return Image


def opened(path: Path, mode: str | None = None) -> Image:
    """One image file with 8 bits a channel, converted to `L` or `RGB`; by its own colours if `mode` is left out.

    Raises:
        UnreadableError: the file cannot be read as an image, with Pillow's error or the system's as its cause.
        InputError: it holds more than 8 bits a channel, or Pillow is not installed.
    """
    module = pillow()
    try:
        with module.open(path) as file:
            if wide := _wide(file):
                raise InputError(
                    f"{path} has pixels of type {wide}, expected 8 bits a channel: conversion would change them.\n"
                    "Convert it to 8 bits as the training images were."
                )
            converted: Image = file.convert(mode or ("L" if file.mode in GREY else "RGB"))
            return converted
    except (OSError, SyntaxError, ValueError, module.DecompressionBombError) as error:
        if isinstance(error, InputError):
            raise
        raise UnreadableError(
            f"{path} cannot be read ({error}), expected an image.\nRepair it or take it out of the folder."
        ) from error


def _wide(file: Any) -> str:
    """The type of pixels with more than 8 bits a channel, or "". Of colours, Pillow would keep the high byte.

    Then its mode says nothing: how a file that is opened and not yet read will be decoded does.
    """
    if file.mode.startswith(WIDE):
        return str(file.mode)
    for codec, _, _, how in file.tile:
        raw, *more = how if isinstance(how, tuple) else (how,)
        if re.search(r";16[BLN]", str(raw)):  # PNG and TIFF; 16 bits a pixel are BGR;16
            return str(raw)
        if codec.startswith("ppm") and max(more, default=0) > 255:
            return f"{raw} up to {more[0]}"
    return ""


def reduced(image: Image, side: int = SIDE) -> Image:
    """The one rule for larger images: the centre square of the shorter side, then bicubic over each pixel's support.

    Raises:
        InputError: the image is smaller than `side`; enlarged pixels would tell OOD from ID.
    """
    from PIL.Image import Resampling

    width, height = image.size
    short = min(width, height)
    if short < side:
        raise InputError(
            f"an image of {width}x{height} pixels cannot be reduced to {side}x{side}.\n"
            f"Use images of at least {side} pixels, or the set under its own name."
        )
    left, top = (width - short) // 2, (height - short) // 2
    square = image.crop((left, top, left + short, top + short))
    return square if short == side else square.resize((side, side), Resampling.BICUBIC)


def pixels(images: Iterable[Image], count: int, side: int | None = None) -> NDArray[np.uint8]:
    """Images as one array (N, H, W, C): grey where all of them are, else RGB; reduced to `side` if given.

    Args:
        images: read one after the other, so that large ones are never in memory together.
        count: how many there are, for the progress line.
    Raises:
        InputError: images of different sizes.
    """
    quiet = None if count >= MANY else True  # None: only where somebody looks
    shown = tqdm(images, "reading", total=count, disable=quiet, leave=False, unit=" images")
    made = [np.asarray(reduced(image, side) if side else image) for image in shown]
    sizes = sorted({array.shape[:2] for array in made})
    if len(sizes) > 1:
        found = ", ".join(f"{wide}x{high}" for high, wide in sizes[:3])
        raise InputError(
            f"the images have {len(sizes)} sizes ({found}{', ...' if len(sizes) > 3 else ''}), expected one.\n"
            f"Ask for the set with -{SIDE} behind its name to have its images reduced to {SIDE}x{SIDE}."
        )
    grey = all(array.ndim == 2 for array in made)
    return np.stack([array[..., None] if grey else _rgb(array) for array in made])


def _rgb(array: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return array if array.ndim == 3 else np.repeat(array[..., None], 3, axis=2)


def read_folder(folder: Path, side: int | None = None) -> tuple[NDArray[np.uint8], NDArray[np.int64] | None, list[str]]:
    """A folder of images: one sub-folder a class, sorted by name, or images alone, which then have no labels.

    Raises:
        InputError: images beside sub-folders, a class without images, an unreadable file, different sizes.
    """
    classes = sorted(entry.name for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    loose = [entry for entry in folder.iterdir() if entry.is_file() and entry.name.lower().endswith(SUFFIXES)]
    if classes and loose:
        raise InputError(
            f"{folder} holds images ({loose[0].name}) beside sub-folders ({classes[0]}), expected one or the other.\n"
            "Give every class a sub-folder, or have images alone."
        )
    found = [images_in(folder / name) for name in classes] or [images_in(folder)]
    counts = [len(part) for part in found]
    try:
        images = pixels((opened(path) for part in found for path in part), sum(counts), side)
    except InputError as error:
        raise InputError(f"{folder}: {error}") from error
    return images, np.repeat(np.arange(len(classes)), counts) if classes else None, classes
