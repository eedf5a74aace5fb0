"""Image sets on disk: `NAME-SPLIT.npz` files, and the layouts that torchvision downloads."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._torchvision import torchvision
from ..checks import ArtifactError, InputError
from ..files import beside
from . import pictures
from .download import resumable

Arrays = tuple[NDArray[Any], NDArray[Any] | None, list[str]]


def read_npz(path: Path) -> Arrays:
    """`images` uint8 (N, H, W, C), optional `labels` (N,) and `classes`; nothing in it is unpickled."""
    try:
        with path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
            if "images" not in file:
                raise InputError(
                    f"{path} holds {', '.join(file.files) or 'nothing'}, expected `images`, `labels`, `classes`.\n"
                    "Write it with numpy.savez(path, images=..., labels=..., classes=...)."
                )
            labels = file.get("labels")
            classes = [str(name) for name in file.get("classes", ())]
            return file["images"], labels, classes
    except (OSError, ValueError, EOFError, KeyError) as error:
        if isinstance(error, InputError):
            raise
        raise ArtifactError(f"{path} cannot be read ({error}), expected an .npz file.\nRestore the file.") from error
    except Exception as error:  # zipfile.BadZipFile and zlib.error derive from Exception alone
        raise ArtifactError(f"{path} is damaged ({error}), expected a whole .npz file.\nRestore the file.") from error


def write_npz(path: Path, images: NDArray[Any], labels: NDArray[Any] | None, classes: list[str]) -> None:
    """What `read_npz` reads, whole or not at all."""
    given = {} if labels is None else {"labels": labels}
    with beside(path) as fresh, fresh.open("wb") as file:
        np.savez(file, images=images, classes=np.array(classes), **given)  # type: ignore[arg-type]


def read_torchvision(root: Path, entry: dict[str, Any], split: dict[str, Any], download: int = 0) -> Arrays:
    """A data set class of torchvision at `root`, checked by its own checksums.

    Args:
        entry, split: of the registry. `ask` holds the class's arguments; `first` keeps the publisher's first images;
            `reduced` images go through `pictures.reduced`; `upright` ones lie on their side in the file; `first_label`
            is what the publisher calls the first class.
        download: megabytes to download if the files are not there; 0 forbids it.
    Raises:
        InputError: the download failed.
        ArtifactError: files are there and torchvision refuses them.
    """
    settings = entry["torchvision"]
    dataset = getattr(torchvision().datasets, settings["dataset"])
    try:
        with resumable() if download else nullcontext():
            raw = dataset(root=str(root), download=bool(download), **split["ask"])
    except (RuntimeError, OSError, ValueError, EOFError) as error:
        if download:
            raise InputError(
                f"{settings['dataset']} could not be downloaded to {root} ({error}), "
                f"expected about {download} MB over the network.\n"
                "Run the same command again where there is a network: it goes on from what has arrived. "
                "Or copy the files into $OOD_DATA."
            ) from error
        raise ArtifactError(
            f"{settings['dataset']} in {root} is not whole ({error}), expected {split['at']} as torchvision left it.\n"
            "Delete it and fetch the set again."
        ) from error
    classes = list(entry.get("classes") or raw.classes)
    if hasattr(raw, "data"):
        images = np.asarray(raw.data)
        labels = np.asarray(raw.labels if hasattr(raw, "labels") else raw.targets)
        if images.ndim == 4 and images.shape[1] in (1, 3):  # SVHN and STL-10 keep channels first
            images = images.transpose(0, 2, 3, 1)
        if settings.get("upright"):
            images = images.swapaxes(1, 2)
        images, labels = images[: split.get("first")], labels[: split.get("first")]
        if settings.get("reduced"):
            images = pictures.pixels(map(_picture, images), len(images), pictures.SIDE)
    else:
        labels = np.empty(len(raw), dtype=np.int64)
        images = pictures.pixels(_noting(raw, labels), len(raw), pictures.SIDE)
    return images, labels - settings.get("first_label", 0), classes


def _picture(pixels: NDArray[np.uint8]) -> Any:
    from PIL import Image

    return Image.fromarray(pixels)


def _noting(raw: Any, labels: NDArray[np.int64]) -> Iterator[Any]:
    """Images of a data set that reads files, their labels left in `labels`."""
    for place in range(len(raw)):
        image, labels[place] = raw[place]
        yield image
