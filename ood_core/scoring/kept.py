"""A fitted and calibrated scorer in a file, with what new images need to be scored alike."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from .. import scorers
from ..checks import ArtifactError, InputError
from ..data.pictures import pillow
from ..scorers import artifact

SIDES = 320, 288  # of the image that transforms are compared on, beyond what most of them crop
VALUES = 96  # that are kept of it
TRIES = 8  # on that image: a transform that flips one of two is missed once in 128 times
SAME = 0.02  # of these values' deviation, a grey level or two: rounding differs by less, other transforms by more


@dataclass(frozen=True)
class Setting:
    """What a scorer was fitted with, beside its own parameters.

    Attributes:
        network: digest of the network's tensors.
        classes: names in the order of the logits.
        shape, size: as in `Files`.
        mean, std: as given to `classifiers.load`.
        held_out: whether the threshold comes from images that were given for it.
        transform: what the model's own transform makes of one image, as `made_of`; () where the model brought none,
            None where that is not known.
    """

    network: str
    classes: tuple[str, ...]
    shape: tuple[int, ...]
    size: int | None
    mean: tuple[float, ...]
    std: tuple[float, ...]
    held_out: bool
    transform: tuple[float, ...] | None = None  # files of before have no such field


def digest(network: nn.Module) -> str:
    """Checksum of a network's tensors."""
    values = network.state_dict().items()
    return artifact.checksum("", {name: x.detach().cpu().contiguous() for name, x in values if isinstance(x, Tensor)})


def made_of(transform: Callable[[Any], Any] | None) -> tuple[float, ...] | None:
    """Some values of what a transform makes of one image, always the same; None of one that does not take that image.

    Raises:
        InputError: it makes something else each time, as with random steps.
    """
    if transform is None:
        return ()
    image = pillow()
    high, wide = np.indices(SIDES)
    pixels = np.stack([high * wide // 7, 3 * high + wide * wide // 31, 5 * wide + (high // 16) * 40], axis=2) % 256
    try:
        made = [transform(image.fromarray(pixels.astype(np.uint8))).detach().cpu().double() for _ in range(TRIES)]
    except Exception:  # whatever a user's code raises: it may be made for images of one size
        return None
    if not all(_equal(again, made[0]) for again in made[1:]):
        raise InputError(
            "the model's own transform makes something else of the same image each time, expected the same: scores "
            "would differ from run to run.\nReturn the transform of evaluation, without random steps."
        )
    flat = made[0].flatten()
    some = flat[torch.linspace(0, len(flat) - 1, min(VALUES, len(flat))).long()]
    return tuple(some.tolist()) if len(some) and bool(some.isfinite().all()) else None


def _equal(a: Tensor, b: Tensor) -> bool:
    """Of one shape and value by value; NaN is NaN, which is refused later and is no random step."""
    return a.shape == b.shape and torch.allclose(a, b, rtol=0, atol=0, equal_nan=True)


def write(path: Path, scorer: scorers.Scorer, setting: Setting) -> None:
    """One file that `read` and `scorers.load` take, or after an interruption the one that was there before, or none.

    Raises:
        InputError: a folder that is missing or cannot be written to.
    """
    scorer._save(path, {"setting": asdict(setting)})


def read(path: Path) -> tuple[str, Setting]:
    """Name of the scorer in a file, and its setting.

    Raises:
        ArtifactError: a file that `write` did not write, damaged or edited.
    """
    header, _ = artifact.read(path)
    if "setting" not in header or header.get("calibration") is None:
        raise ArtifactError(
            f"{path} holds a scorer without classes and threshold, expected one written with `save`.\n"
            "Fit again with `save`, or use this one in Python: ood_core.scorers.load(path)."
        )
    if set(header["setting"]) - {field.name for field in fields(Setting)}:
        raise ArtifactError(
            f"{path} holds a setting of a newer version, expected one of this or before.\nUpdate ood_core."
        )
    lists: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in header["setting"].items()
    }
    return header["name"], Setting(**lists)


def scorer(
    path: Path, name: str, setting: Setting, network: nn.Module, transform: Callable[[Any], Any] | None = None
) -> scorers.Scorer:
    """The scorer of a file, for the network that it was fitted on and the transform that prepared its images.

    Raises:
        InputError: another network or transform.
    """
    if digest(network) != setting.network:
        raise InputError(
            f"{path} was fitted on a network of other weights, expected those of `model`.\n"
            "Name the network it was fitted on, or fit and `save` again."
        )
    _require_same(path, setting.transform, made_of(transform))
    given: dict[str, Any] = {"model": network} if "model" in scorers.describe(name)["needs"] else {}
    return scorers.load(path, **given)


def _require_same(path: Path, then: tuple[float, ...] | None, now: tuple[float, ...] | None) -> None:
    if then is None or then == now:  # nothing to compare with, or nothing that differs
        return
    if bool(then) != (now != ()):
        had, has = ("a transform", "none") if then else ("no transform", "one")
        raise InputError(
            f"{path} was saved with a model that brought {had}, expected the same: `model` brings {has}.\n"
            "Name the model as it was then, or fit and `save` again."
        )
    if now is None or len(now) != len(then) or not np.allclose(now, then, rtol=0, atol=SAME * np.std(then)):
        raise InputError(
            f"{path} was saved with another transform than `model` brings, expected the same: scores would change.\n"
            "Return the transform that it was fitted with, or fit and `save` again."
        )
