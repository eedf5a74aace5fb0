"""Files and folders that are whole whenever they are there: written beside their place, flushed, and renamed into it.

    NAME.writing   what is being written, or what a death left of it: nobody reads it, the next writer deletes it
    NAME.old       a whole folder that NAME replaces; as long as there is no NAME, it stands for it

A file is replaced in one step. A folder takes two renames, and between them the old one lies at NAME.old alone: `read`
looks there as well, so that either the old or the new folder is found at every moment, and after a death at any.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import filelock

from .checks import InputError

WRITING, OLD = ".writing", ".old"
LOOKS = 3  # at both places of a folder: each further one takes another whole replacement meanwhile to find nothing


@contextmanager
def beside(path: Path) -> Iterator[Path]:
    """A path to write a file to: it takes the place of `path` when the block ends, and is deleted where that fails."""
    fresh = _with(path, WRITING)
    try:
        yield fresh
        with fresh.open("rb+") as file:
            os.fsync(file.fileno())
        fresh.replace(path)
    except BaseException:
        with suppress(OSError):
            fresh.unlink()
        raise
    _sync(path.parent)


@contextmanager
def refused(path: Path) -> Iterator[None]:
    """Within, what the system says against a file that is being written is a refusal that names the file.

    Raises:
        InputError: a full disk, or one that cannot be written to.
    """
    try:
        yield
    except OSError as error:
        raise InputError(
            f"{path} cannot be written ({error.strerror or error}), expected a writable disk with room for it.\n"
            "Make room or name a file in another folder."
        ) from error


def write(path: Path, content: bytes) -> None:
    """Put a file in its place; an older one stays until then, and where that fails."""
    with beside(path) as fresh:
        fresh.write_bytes(content)


def put(folder: Path, contents: Mapping[str, bytes]) -> None:
    """Put a folder of files in its place; an older one stays until then, and where that fails.

    One at a time: whoever calls holds a lock.

    Raises:
        OSError: the disk is full or not writable; nothing half-written stays.
    """
    fresh = _with(folder, WRITING)
    try:
        _settle(folder)
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(parents=True)
        for name, content in contents.items():
            _write(fresh / name, content)
        _sync(fresh)
        if folder.exists():
            folder.rename(_with(folder, OLD))
        fresh.rename(folder)
    except OSError:
        with suppress(OSError):  # where it cannot be moved back either, it is found where it is
            _settle(folder)
        shutil.rmtree(fresh, ignore_errors=True)
        raise
    _sync(folder.parent)
    with suppress(OSError):
        _settle(folder)


def read(folder: Path, name: str) -> bytes:
    """A file of a folder that another process may be replacing.

    Raises:
        OSError: it is not there, or cannot be read.
    """
    for place in _places(folder):
        with suppress(FileNotFoundError, NotADirectoryError):
            return (place / name).read_bytes()
    return (folder / name).read_bytes()


def has(folder: Path, name: str) -> bool:
    """Whether `read` finds a file."""
    return any((place / name).is_file() for place in _places(folder))


def folders(within: Path, name: str) -> list[Path]:
    """Folders that hold a file of that name, in order, those among them that are just being replaced."""
    with suppress(FileNotFoundError, NotADirectoryError):
        # By what lies beside a folder too: in the moment of replacement it is not there under its own name.
        names = {path.name.removesuffix(".lock").removesuffix(WRITING).removesuffix(OLD) for path in within.iterdir()}
        return [within / one for one in sorted(names - {""}) if has(within / one, name)]
    return []


@contextmanager
def locked(path: Path, advice: str) -> Iterator[None]:
    """Hold a lock on a file of that name; another process that asks for it waits.

    Args:
        advice: what to do where the file cannot be made.
    Raises:
        InputError: it cannot.
    """
    lock = filelock.FileLock(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except OSError as error:
        raise InputError(
            f"{path.parent} cannot hold runs ({error.strerror}), expected a folder that can be written to.\n{advice}"
        ) from error
    try:
        yield
    finally:
        lock.release()


def _with(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)


def _places(folder: Path) -> list[Path]:
    return LOOKS * [folder, _with(folder, OLD)]


def _settle(folder: Path) -> None:
    """Finish what a replacement has left at NAME.old: back to its place where that is empty, else deleted."""
    old, fresh = _with(folder, OLD), _with(folder, WRITING)
    if old.exists() and folder.exists():
        # Out of its name in one step: what lies at NAME.old is never half a folder.
        shutil.rmtree(fresh, ignore_errors=True)
        old.rename(fresh)
        shutil.rmtree(fresh, ignore_errors=True)
    elif old.exists():
        old.rename(folder)


def _write(path: Path, content: bytes) -> None:
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _sync(folder: Path) -> None:
    """Make a rename in `folder` durable, where the system allows it."""
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
