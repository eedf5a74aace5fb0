"""Image sets on disk: `NAME-SPLIT.npz` files, and the layouts that torchvision downloads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._torchvision import torchvision
from ..checks import ArtifactError, InputError

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


def read_torchvision(root: Path, entry: dict[str, Any], split: str, download: bool = False) -> Arrays:
    """A data set class of torchvision at `root`, checked by its own checksums.

    Raises:
        InputError: the files are not there (or not whole) and no download was asked for, or the download failed.
    """
    settings = entry["torchvision"]
    dataset = getattr(torchvision().datasets, settings["dataset"])
    argument = {"train": split == "train"} if settings["split_argument"] == "train" else {"split": split}
    try:
        raw = dataset(root=str(root), download=download, **argument)
    except (RuntimeError, OSError) as error:
        if download:
            raise InputError(
                f"{settings['dataset']} could not be downloaded to {root} ({error}), "
                f"expected about {settings['megabytes']} MB over the network.\n"
                "Try again where there is a network, or copy the files into $OOD_DATA."
            ) from error
        raise FileNotFoundError(str(error)) from error
    images = np.asarray(raw.data)
    if images.ndim == 4 and images.shape[1] in (1, 3):  # SVHN keeps channels first
        images = images.transpose(0, 2, 3, 1)
    labels = np.asarray(raw.labels if hasattr(raw, "labels") else raw.targets)
    return images, labels, list(getattr(raw, "classes", entry.get("classes", [])))
