"""ID images that the scorer is not fitted on: the threshold is set on them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

from ..checks import InputError

CHANCE = 0.01  # of held-out images that may be copies: they move the promised rate by no more
EVERY = 5  # without held-out images, every fifth ID image of each class calibrates and is not fitted on


def require_apart(held: list[Path], classes: Mapping[str, list[Path]]) -> None:
    """Refuse held-out images that are fitted on as well: the threshold would promise a rate that no new image has."""
    fitted = {path.resolve() for paths in classes.values() for path in paths}
    both = [path for path in held if path.resolve() in fitted]
    if both:
        raise _shared(f"{len(both)} of its {len(held)} images with `id_folder`, such as {both[0]}", "none")


def require_no_copies(held: list[Path], classes: Mapping[str, list[Path]]) -> None:
    """Refuse held-out files of the same bytes as fitted ones, but for the few that data sets happen to hold."""
    sizes = {path: path.stat().st_size for path in held}
    wanted = set(sizes.values())
    alike = {path: size for paths in classes.values() for path in paths if (size := path.stat().st_size) in wanted}
    fitted, met = {_digest(path): path for path in alike}, set(alike.values())
    both = [(path, fitted[key]) for path in held if sizes[path] in met and (key := _digest(path)) in fitted]
    if len(both) > CHANCE * len(held):
        copies = f"{len(both)} of its {len(held)} images with `id_folder` by content, such as {both[0][0]}, a copy of"
        raise _shared(f"{copies} {both[0][1]}", f"up to {100 * CHANCE:g} %")


def _digest(path: Path) -> bytes:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()


def _shared(what: str, expected: str) -> InputError:
    return InputError(
        f"`held_out` shares {what}, expected {expected}.\n"
        "Name ID images that the scorer is not fitted on, or leave `held_out` out: a fifth is kept then."
    )


def split(classes: Mapping[str, list[Path]]) -> tuple[list[tuple[Path, int]], list[Path]]:
    """Images to fit on, each with its class index, and every fifth of each class, at least one, to calibrate on."""
    fitting: list[tuple[Path, int]] = []
    held: list[Path] = []
    for label, (name, paths) in enumerate(classes.items()):
        if len(paths) < 2:
            raise InputError(
                f"class {name} holds one image, expected at least two: one to fit and one for the threshold.\n"
                "Add ID images, or pass `held_out` with images for the threshold."
            )
        kept = set(paths[EVERY - 1 :: EVERY] or paths[-1:])
        held += sorted(kept)
        fitting += [(path, label) for path in paths if path not in kept]
    return fitting, held
