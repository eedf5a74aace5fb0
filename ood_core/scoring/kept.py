"""A fitted and calibrated scorer in a file, with what new images need to be scored alike."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from .. import scorers
from ..checks import ArtifactError, InputError
from ..scorers import artifact


@dataclass(frozen=True)
class Setting:
    """What a scorer was fitted with, beside its own parameters.

    Attributes:
        network: digest of the network's tensors.
        classes: names in the order of the logits.
        shape, size: as in `Files`.
        mean, std: as given to `classifiers.load`.
        held_out: whether the threshold comes from images that were given for it.
    """

    network: str
    classes: tuple[str, ...]
    shape: tuple[int, ...]
    size: int | None
    mean: tuple[float, ...]
    std: tuple[float, ...]
    held_out: bool


def digest(network: nn.Module) -> str:
    """Checksum of a network's tensors."""
    values = network.state_dict().items()
    return artifact.checksum("", {name: x.detach().cpu().contiguous() for name, x in values if isinstance(x, Tensor)})


def write(path: Path, scorer: scorers.Scorer, setting: Setting) -> None:
    """One file that `read` and `scorers.load` take.

    Raises:
        InputError: a folder that is missing or cannot be written to.
    """
    scorer.save(path)
    header, tensors = artifact.read(path)
    artifact.write(path, {**header, "setting": asdict(setting)}, tensors)


def read(path: Path) -> tuple[str, Setting]:
    """Name of the scorer in a file, and its setting.

    Raises:
        ArtifactError: a file that `write` did not write, damaged or edited.
    """
    header, _ = artifact.read(path)
    if "setting" not in header or header.get("calibration") is None:
        raise ArtifactError(
            f"{path} holds a scorer without classes and threshold, expected a file of --save.\n"
            "Write one with --save, or use this one in Python: ood_core.scorers.load(path)."
        )
    lists: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in header["setting"].items()
    }
    return header["name"], Setting(**lists)


def scorer(path: Path, name: str, setting: Setting, network: nn.Module) -> scorers.Scorer:
    """The scorer of a file, for the network that it was fitted on.

    Raises:
        InputError: another network.
    """
    if digest(network) != setting.network:
        raise InputError(
            f"{path} was fitted on a network of other weights, expected those of --model.\n"
            "Name the network it was fitted on, or fit and --save again."
        )
    given: dict[str, Any] = {"model": network} if "model" in scorers.describe(name)["needs"] else {}
    return scorers.load(path, **given)
