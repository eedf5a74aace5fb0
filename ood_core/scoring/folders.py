"""Folders of images: found in a fixed order, read by Pillow, refused by name when one cannot be meant."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from ..checks import InputError, said
from ..data.pictures import SUFFIXES, UnreadableError, images_in, opened, require_folder

if TYPE_CHECKING:
    from PIL.Image import Image


def classes_in(folder: Path, wanted: Sequence[str] = (), others: Counter[str] | None = None) -> dict[str, list[Path]]:
    """Images by class: one sub-folder a class, in the order of `wanted`, or sorted by name.

    Args:
        wanted: the classes of the network, where they are known.
        others: as in `images_in`.
    Raises:
        InputError: fewer than two sub-folders, images beside them, an empty one, or other names than `wanted`.
    """
    require_folder(folder, "one sub-folder of images a class in `id_folder`")
    names = sorted(entry.name for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    if len(names) < 2:
        raise InputError(
            f"{folder} holds {len(names)} sub-folders, expected one for each class, at least two.\n"
            "Sort the ID training images into a folder for each class."
        )
    beside = sorted(entry.name for entry in folder.iterdir() if entry.is_file() and not entry.name.startswith("."))
    loose = [name for name in beside if name.lower().endswith(SUFFIXES)]
    if loose:
        raise InputError(
            f"{folder} holds {len(loose)} images ({loose[0]}) beside its sub-folders, expected each in that of its "
            "class.\nMove them into one, or elsewhere."
        )
    if others is not None:
        others.update(Path(name).suffix.lower() for name in beside)
    if wanted and set(names) != set(wanted):
        raise InputError(
            f"{folder} has the classes {', '.join(names)}, expected those of the network: {', '.join(wanted)}.\n"
            "Name the sub-folders as the network's classes."
        )
    return {name: images_in(folder / name, others) for name in wanted or names}


def to_score(path: Path, others: Counter[str] | None = None) -> list[Path]:
    """One image file, or all below a folder.

    Args:
        others: as in `images_in`.
    Raises:
        InputError: nothing there, or no image in it.
    """
    return [path] if path.is_file() else images_in(path, others)


def once(files: Mapping[Path, list[Path]]) -> dict[Path, list[Path]]:
    """Images by the folder or file they were found by, each in the first alone; of none left, no entry."""
    seen: set[str] = set()
    kept = {}
    for folder, paths in files.items():
        places = {path: os.path.realpath(path) for path in paths}
        if own := [path for path, place in places.items() if place not in seen]:
            kept[folder] = own
        seen.update(places.values())
    return kept


def mode(channels: int = 3) -> str:
    """Pillow's mode of the images that a network of so many channels takes; a user's own transform takes RGB."""
    return "L" if channels == 1 else "RGB"


def read(path: Path, channels: int, size: int | None = None) -> NDArray[np.uint8]:
    """One image as uint8 (H, W, C); with `size`, its shorter side is resized to it and the centre cut out.

    Grey or RGB as the network takes it. The same pixels as torchvision's loader, `Resize(size)` and
    `CenterCrop(size)`: bilinear over the whole support of a pixel, and no rotation that only metadata asks for.

    Raises:
        InputError: the file cannot be read as an image, or holds more than 8 bits a channel.
    """
    from PIL.Image import Resampling

    image = _opened(path, mode(channels))
    if size is not None and image.size != (size, size):
        short = min(image.size)
        wide, high = (size if side == short else size * side // short for side in image.size)
        left, top = round((wide - size) / 2), round((high - size) / 2)
        resized = image.resize((wide, high), Resampling.BILINEAR)
        image = resized.crop((left, top, left + size, top + size))
    pixels = np.asarray(image)
    return pixels[..., None] if pixels.ndim == 2 else pixels


def transformed(path: Path, transform: Callable[[Any], Any]) -> Tensor:
    """One image as a user's own transform gives it, float (C, H, W), from an RGB image of Pillow.

    Raises:
        InputError: the file cannot be read as an image, or the transform fails on it or gives something else.
    """
    image = _opened(path, mode())
    try:
        made = transform(image)
    except Exception as error:  # whatever a user's code raises
        raise InputError(
            f"the transform failed on {path} ({said(error)}), expected a float tensor (C, H, W).\n"
            "Let it take every RGB image of Pillow, or move this file away."
        ) from error
    if not isinstance(made, Tensor) or made.ndim != 3 or not made.is_floating_point():
        found = f"{made.dtype} {tuple(made.shape)}" if isinstance(made, Tensor) else f"a {type(made).__name__}"
        raise InputError(
            f"the transform made {found} of {path}, expected a float tensor (C, H, W).\n"
            "End it in ToTensor and Normalize, as those of torchvision do."
        )
    return made


def _opened(path: Path, as_mode: str) -> Image:
    try:
        return opened(path, as_mode)
    except UnreadableError as error:
        raise InputError(
            f"{path} cannot be read ({error.__cause__}), expected an image.\n"
            "Repair it, take it out of the folder, or leave it out with `skip_unreadable=True`."
        ) from error


@dataclass
class Files(Dataset[tuple[Tensor, int]]):
    """Image files as uint8 (H, W, C), or as a transform makes them, with their labels, all of one shape.

    Attributes:
        paths, labels: the files and their class indices.
        channels: 1 or 3.
        size: to resize to, or None.
        shape: (H, W) that every image must have; (C, H, W) of what the transform makes.
        transform: of a user's own, or None.
    """

    paths: Sequence[Path]
    labels: Sequence[int]
    channels: int
    size: int | None
    shape: tuple[int, ...]
    transform: Callable[[Any], Any] | None = None

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        if self.transform is not None:
            made = transformed(self.paths[index], self.transform)
            if made.shape != self.shape:
                raise InputError(
                    f"the transform made {tuple(made.shape)} of {self.paths[index]}, expected {self.shape} as of the "
                    "others.\nLet it resize and crop every image to one size."
                )
            return made, self.labels[index]
        pixels = read(self.paths[index], self.channels, self.size)
        if pixels.shape[:2] != self.shape:
            (high, wide), (rows, columns) = pixels.shape[:2], self.shape[:2]
            raise InputError(
                f"{self.paths[index]} is {wide}x{high} pixels, expected {columns}x{rows} as the others.\n"
                f"Pass `size={min(self.shape)}` to resize every image, the ID images included."
            )
        return torch.from_numpy(pixels.copy()), self.labels[index]
