"""Where an image set comes from: a library, another set, an `.npz` file, a folder of images, or torchvision."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from .. import paths
from ..checks import InputError, choice
from . import files, pictures
from .registry import entry, known, megabytes, names, registry

Arrays = tuple[NDArray[Any], NDArray[Any] | None, list[str]]


REDUCED = f"-{pictures.SIDE}"  # ending of a set whose images are reduced on reading


def where(name: str, split: str) -> str:
    """Where `load` would read from: `embedded`, a path, or `missing`; no image is read and no checksum is taken."""
    kind, path = _found(name, split)
    return kind if path is None else str(path)


def _found(name: str, split: str) -> tuple[str, Path | None]:
    """The first of: a library or another set, an `.npz`, a folder of images, one of larger images, torchvision's."""
    facts = known(name, split)
    source = registry().get(name, {}).get("source")
    if source == "embedded":
        return ("embedded" if facts else "missing"), None
    if source == "derived":
        made_from = entry(name)["derived"]
        return _found(made_from["from"], made_from["split"]) if facts else ("missing", None)
    folder = paths.data()
    if folder is None:
        return "missing", None
    places = {
        "npz": folder / f"{name}-{split}.npz",
        "folder": folder / name / split,
        "larger": folder / name.removesuffix(REDUCED) / split,
        **({"torchvision": folder / facts["at"]} if "at" in facts else {}),
    }
    for kind, path in places.items():
        if path.is_dir() if kind in ("folder", "larger") else path.exists():
            return kind, path
    return "missing", None


def read(name: str, split: str) -> Arrays:
    """Images, labels and class names, from where `where` says, in whatever order they lie there.

    Raises:
        InputError: they are nowhere: the message says how to get them, and how large they are.
        ArtifactError: a file is damaged.
    """
    kind, path = _found(name, split)
    folder = paths.data()
    if kind == "embedded":
        from .embedded import MAKERS

        return MAKERS[name, split]()
    if path is None or folder is None:
        raise InputError(
            f"{name}/{split} was not found, expected under $OOD_DATA ({folder or 'not set'}).\n{advice(name, split)}"
        )
    if kind == "npz":
        return files.read_npz(path)
    if kind == "torchvision":
        return files.read_torchvision(folder, entry(name), known(name, split))
    return pictures.read_folder(path, pictures.SIDE if kind == "larger" else None)


def advice(name: str, split: str) -> str:
    """How to get a set that is missing, and how large it is."""
    own = "NAME-SPLIT.npz (`images` uint8 (N, H, W, C), `labels`, `classes`) or a folder NAME/SPLIT of images"
    if name not in names():
        return f"It is not registered, so bring it: {own}. Registered are: {', '.join(names())}."
    if entry(name)["source"] == "torchvision":
        size = megabytes(name, split)
        return (
            f"Set OOD_DATA to a folder and run: python -m ood_core data fetch {name}/{split}  (about {size} MB), "
            f"or put {name}-{split}.npz there."
        )
    return (
        f"It cannot be fetched: nobody distributes it in this form. Put {name}-{split}.npz "
        f"({megabytes(name, split)} MB) there; its digest is checked. What it is: {entry(name)['about']}"
    )


def fetch(name: str, split: str) -> None:
    """Download what a split needs into `$OOD_DATA` with torchvision; sets that are reduced are kept so, as `.npz`.

    What an earlier, broken download left is gone on with; a folder made for one that brought nothing is removed again.

    Raises:
        InputError: nothing to download, `$OOD_DATA` is not set, or the download failed.
    """
    facts = entry(name)
    choice(f"split of {name}", split, facts["splits"])
    if facts["source"] == "embedded":
        raise InputError(f"{name} is embedded in a library, expected a set to download.\nNothing to do: load it.")
    if facts["source"] == "derived":
        origin, part = facts["derived"]["from"], facts["derived"]["split"]
        if where(origin, part) == "embedded":
            raise InputError(f"{name} is made from {origin}, expected a set to download.\nNothing to do: load it.")
        return fetch(origin, part)
    folder = paths.data()
    if folder is None:
        raise InputError("OOD_DATA is not set, expected a folder for image sets.\nRun: export OOD_DATA=~/ood-data")
    if Path(where(name, split)).suffix == ".npz":
        return None
    if facts["source"] == "npz":
        raise InputError(f"{name}/{split} has no publisher to fetch it from, expected one.\n{advice(name, split)}")
    try:
        with _made(folder):
            size = megabytes(name, split)
            images, labels, classes = files.read_torchvision(folder, facts, known(name, split), download=size)
            if facts["torchvision"].get("reduced"):
                files.write_npz(folder / f"{name}-{split}.npz", images, labels, classes)
    except OSError as error:
        raise InputError(
            f"{folder} cannot be written ({error}), expected a folder with room for {name}/{split}.\n"
            "Make room, or point OOD_DATA to another folder; what has arrived is kept."
        ) from error
    return None


@contextmanager
def _made(folder: Path) -> Iterator[None]:
    """Within, a folder is there; where it was not and nothing arrives before something fails, it goes again."""
    new = [place for place in (folder, *folder.parents) if not place.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    try:
        yield
    except BaseException:
        if new:
            for place in (*sorted(folder.rglob("*"), reverse=True), *new):
                with suppress(OSError):  # it holds something, or is no folder
                    place.rmdir()
        raise
