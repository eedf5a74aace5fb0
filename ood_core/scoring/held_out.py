"""ID images that the scorer is not fitted on: the threshold is set on them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from ..checks import InputError

EVERY = 5  # without held-out images, every fifth ID image of each class calibrates and is not fitted on


def require_apart(held: list[Path], classes: Mapping[str, list[Path]]) -> None:
    """Refuse held-out images that are fitted on as well: the threshold would promise a rate that no new image has."""
    fitted = {path.resolve() for paths in classes.values() for path in paths}
    both = [path for path in held if path.resolve() in fitted]
    if both:
        raise InputError(
            f"`held_out` shares {len(both)} of its {len(held)} images with `id_folder`, such as {both[0]}, expected "
            "none.\nName ID images that the scorer is not fitted on, or leave `held_out` out: a fifth is kept then."
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
