"""Batches of rows gathered into whole float32 arrays, in memory or as `.npy` files: the same numbers either way."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Self
from urllib.parse import quote

import numpy as np
import torch
from torch import Tensor

from ..checks import InputError

Key = tuple[str, ...]  # path of an array without its suffix: ("features",) or ("layers", "layer4")


class Memory:
    """Arrays in memory, each allocated once where the number of rows is known.

    Args:
        rows: how many rows will come; None where nobody knows, and then arrays grow by doubling.
    """

    def __init__(self, rows: int | None) -> None:
        self._rows = rows
        self._arrays: dict[Key, Tensor] = {}
        self._filled: dict[Key, int] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing to undo."""

    def add(self, key: Key, batch: Tensor) -> None:
        """Append rows (B, ...) of any float type, from any device."""
        start = self._filled.get(key, 0)
        end = start + len(batch)
        array = self._arrays.get(key)
        if array is not None:
            _same_shape(key, batch.shape[1:], array.shape[1:])
        if array is None or end > len(array):
            wanted = max(end, self._rows or 0, 0 if array is None else 2 * len(array))
            grown = torch.empty((wanted, *batch.shape[1:]), dtype=torch.float32)
            if array is not None:
                grown[:start] = array[:start]
            array = self._arrays[key] = grown
        array[start:end].copy_(batch)  # one copy, whatever the batch's type and device
        self._filled[key] = end

    def finish(self) -> dict[Key, Tensor]:
        """The whole arrays, each (N, ...)."""
        return {key: array[: self._filled[key]] for key, array in self._arrays.items()}


class Files:
    """Arrays as `FOLDER/<key>.npy`, written batch by batch: memory holds one batch.

    A name that no file may have is quoted as in a URL: a module may be called `a/b`, and its file is `a%2Fb.npy`.
    The folder appears whole when `finish` is reached; before that, and after a failure, there is none.

    Args:
        folder: a new or empty one.
    Raises:
        InputError: something is there already, or the disk is full or not writable.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder).expanduser().absolute()
        if self.folder.exists() and not (self.folder.is_dir() and not any(self.folder.iterdir())):
            raise InputError(
                f"{self.folder} is there already, expected a new or empty folder.\n"
                "Name another one, or delete this one: what it holds may belong to outputs in use."
            )
        self._beside = self.folder.with_name(f".{self.folder.name}.{os.getpid()}.writing")
        self._files: dict[Key, BinaryIO] = {}
        self._shapes: dict[Key, tuple[int, ...]] = {}  # rows so far and the shape of one

    def __enter__(self) -> Self:
        with _disk(self.folder):
            shutil.rmtree(self._beside, ignore_errors=True)
            self._beside.mkdir(parents=True)
        return self

    def __exit__(self, *_: object) -> None:
        """Close every file, and leave nothing half-written."""
        for file in self._files.values():
            file.close()
        shutil.rmtree(self._beside, ignore_errors=True)

    def add(self, key: Key, batch: Tensor) -> None:
        """Append rows (B, ...) of any float type, from any device."""
        with _disk(self.folder):
            if key not in self._files:
                path = _place(self._beside, key)
                path.parent.mkdir(exist_ok=True)
                self._files[key], self._shapes[key] = path.open("w+b"), (0, *batch.shape[1:])
                _header(self._files[key], self._shapes[key])
            rows, *shape = self._shapes[key]
            _same_shape(key, batch.shape[1:], tuple(shape))
            self._files[key].write(batch.to("cpu", torch.float32).contiguous().numpy().data)
            self._shapes[key] = (rows + len(batch), *shape)

    def finish(self) -> dict[Key, Tensor]:
        """The whole arrays, each (N, ...), mapped from the finished folder.

        They are private maps: writing to a tensor never reaches its file.
        """
        with _disk(self.folder):
            for key, file in self._files.items():
                _header(file, self._shapes[key])
                file.flush()
                os.fsync(file.fileno())
                file.close()
            self._beside.replace(self.folder)
            return {key: _mapped(_place(self.folder, key)) for key in self._files}


def _place(folder: Path, key: Key) -> Path:
    return folder.joinpath(*key[:-1], f"{quote(key[-1], safe='')}.npy")


def _header(file: BinaryIO, shape: tuple[int, ...]) -> None:
    """Write the `.npy` header; numpy leaves room in it for the first axis to grow, so it can be written again."""
    file.seek(0)
    facts = {"descr": np.dtype(np.float32).str, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, facts)


def _mapped(path: Path) -> Tensor:
    return torch.from_numpy(np.load(path, mmap_mode="c", allow_pickle=False))


def _same_shape(key: Key, got: tuple[int, ...], before: tuple[int, ...]) -> None:
    if tuple(got) != tuple(before):
        raise InputError(
            f"{key[-1]} has rows of shape {tuple(got)} after rows of shape {tuple(before)}, expected one shape.\n"
            "Bring all images to one size, or pool the layer."
        )


@contextmanager
def _disk(folder: Path) -> Iterator[None]:
    """Turns a full or read-only disk into an `InputError`."""
    try:
        yield
    except OSError as error:
        raise InputError(
            f"{folder} could not be written ({error.strerror}), expected a writable disk with room.\n"
            "Make room or name another folder; nothing half-written was left."
        ) from error
