"""Trained weights in a safetensors file, put into a network that has exactly these tensors."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import safetensors
import safetensors.torch
from torch import Tensor, nn

from ..checks import ArtifactError, InputError

SUFFIXES = (".bin", ".pt", ".pth", ".safetensors", ".st")  # that files of weights usually have
WRAPPERS = ("module.", "_orig_mod.")  # what DataParallel and torch.compile put before every name


def fill(network: nn.Module, path: Path, what: str) -> None:
    """Put a file's tensors into a network that has exactly these.

    Args:
        what: the network in words, for a refusal.
    Raises:
        InputError: no such file, or tensors of other names or shapes.
        ArtifactError: it is no safetensors file, or a damaged one.
    """
    if not path.is_file():
        raise InputError(f"there is no file {path}, expected a safetensors file as `weights`.\nCheck the path.")
    try:
        tensors = safetensors.torch.load_file(path)
    except (OSError, safetensors.SafetensorError) as error:
        raise ArtifactError(
            f"{path} cannot be read ({error}), expected a safetensors file.\n"
            "Write it again; from a file of torch.save: "
            f"safetensors.torch.save_file(torch.load({str(path)!r}, weights_only=True), 'weights.safetensors')"
        ) from error
    own = network.state_dict()
    tensors = _unwrapped(tensors, own)
    wrong = [f"{key} is missing" for key in own if key not in tensors]
    wrong += [f"{key} is not in the network" for key in tensors if key not in own]
    wrong += [
        f"{key} has shape {tuple(tensors[key].shape)} instead of {tuple(value.shape)}"
        for key, value in own.items()
        if key in tensors and tensors[key].shape != value.shape
    ]
    if wrong:
        more = f"; and {len(wrong) - 3} more" if len(wrong) > 3 else ""
        raise InputError(
            f"{path} holds other tensors than {what}: {'; '.join(wrong[:3])}{more}.\n"
            "Name the architecture and the classes that these weights were trained with."
        )
    network.load_state_dict(tensors)


def _unwrapped(tensors: dict[str, Tensor], own: Collection[str]) -> dict[str, Tensor]:
    """The tensors by the network's own names, where a wrapper stood before every one of them."""
    for wrapper in WRAPPERS * 2:  # either may be around the other
        if all(key.startswith(wrapper) for key in tensors) and not any(key.startswith(wrapper) for key in own):
            tensors = {key.removeprefix(wrapper): value for key, value in tensors.items()}
    return tensors
