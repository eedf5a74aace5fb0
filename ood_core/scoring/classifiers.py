"""A trained classifier: a stored run, weights of a torchvision architecture, or what a user's own function makes."""

from __future__ import annotations

import difflib
import os.path
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from .. import data
from .._torchvision import torchvision
from ..checks import InputError
from ..networks import Network
from ..recipes import Recipe
from ..store import Run, Store
from . import own
from .weights import SUFFIXES, fill

TORCHVISION = "torchvision:"


@dataclass(frozen=True)
class Classifier:
    """A network and what it takes.

    Attributes:
        network: preprocessed images (B, C, H, W) -> logits.
        prepare: uint8 (B, H, W, C) -> preprocessed images.
        channels: 1 or 3.
        size: (H, W) it was trained on, where that is known.
        classes: names of the ID classes in the order of the logits, where they are known.
        predicts: whether the logits stand for the ID classes; not so behind a projection, nor after learning labels
            other than the true ones.
        transform: RGB image of Pillow -> preprocessed (C, H, W), where the user's own does all that `prepare` would.
        layers: what outputs hold in `layers` without being asked.
    """

    network: nn.Module
    prepare: Callable[[Tensor], Tensor]
    channels: int
    size: tuple[int, int] | None = None
    classes: tuple[str, ...] = ()
    predicts: bool = True
    transform: Callable[[Any], Any] | None = None
    layers: tuple[str, ...] = ()


def load(
    model: str,
    classes: int,
    weights: Path | None = None,
    mean: Sequence[float] = (),
    std: Sequence[float] = (),
    *,
    kept: bool = False,
) -> Classifier:
    """A classifier by `torchvision:NAME` with weights, by `FILE.py:FUNCTION`, or by the key of a stored run.

    Of a key, a unique start will do. What the function has to return stands in `own.made`.

    Args:
        classes: how many the ID folder holds.
        weights: safetensors file of the architecture's state dict; torchvision only.
        mean, std: of the training images by channel, on the scale 0..1; for torchvision, and for a function that
            returns no transform.
        kept: whether these two come from a file of `save`, so that nobody can give others.
    Raises:
        InputError: an unknown name or key, a run that learned one class alone, an architecture without a linear layer,
            weights of another network, constants that are missing, out of range or not wanted, a user's file that
            fails or returns something else.
        ArtifactError: the weights' file or the run is damaged.
    """
    if own.named(model):
        return _own(model, weights, mean, std, kept)
    run = None if model.startswith(TORCHVISION) else _run(model)
    if kept:
        _as_kept(model, run is not None, bool(mean))
    if run is None:
        return _torchvision(model.removeprefix(TORCHVISION), classes, weights, mean, std)
    if weights is not None or mean or std:
        raise InputError(
            f"`weights`, `mean` or `std` came with the stored run {model!r}, expected none: a run holds its own.\n"
            f"Leave them out, or name an architecture such as {TORCHVISION}resnet18."
        )
    return _stored(run, classes)


def _run(key: str) -> Run:
    """The one run whose key begins so."""
    store = Store()
    found = [name for name in store.keys() if name.startswith(key or "-")]  # noqa: SIM118
    run: Run | None = store.get(found[0]) if len(found) == 1 else None
    if run is not None:
        return run
    if not found:
        _require_key(key)
    raise InputError(
        f"{key!r} is the start of {len(found)} runs in {store.folder}, expected one.\n"
        f"`python -m ood_core run PAGE` prints keys; or name an architecture such as {TORCHVISION}resnet18."
    )


def _require_key(text: str) -> None:
    """Refuse what names a file or an architecture, and can be meant as no key, with what to write instead."""
    takes = f"expected {TORCHVISION}NAME, FILE.py:FUNCTION or the key of a stored run"
    # of a text too long for a name, this is False where Path.is_file raises
    if text.lower().endswith(SUFFIXES) or os.path.isfile(text):  # noqa: PTH113
        raise InputError(
            f"`model` is {text!r}, the name of a file, {takes}.\n"
            f'Weights of torchvision\'s: `model="{TORCHVISION}NAME"` with `weights=FILE`, a safetensors file. Others: '
            '`model="FILE.py:FUNCTION"`, a function that loads them.'
        )
    known: list[str] = []
    with suppress(Exception):  # not installed, or broken: this says nothing of the text
        known = _architectures()
    if text in known:
        raise InputError(
            f'`model` is {text!r}, the bare name of an architecture, {takes}.\nWrite `model="{TORCHVISION}{text}"`.'
        )


def _stored(run: Run, classes: int) -> Classifier:
    recipe, tensors = Recipe.model_validate(run.info["recipe"]), run.weights()
    if recipe.data.one_class is not None:
        raise InputError(
            f"run {run.key} learned class {recipe.data.one_class} of {recipe.data.id_set} alone, expected a run of all "
            "classes.\nName another run, or score this one in Python: extract(network, images) and ood_core.scorers."
        )
    channels, true = len(tensors["mean"]), recipe.data.labels == "true"
    # A projection has no row for each class: whatever is given, its shape is the same.
    outputs = next((len(tensors[name]) for name in ("head.weight", "head.prototypes") if name in tensors), classes)
    known = data.entry(recipe.data.id_set) if recipe.data.id_set in data.names() else {}
    names = tuple(map(str, known.get("classes", ())))
    if true and not names and classes != outputs:
        raise InputError(
            f"`id_folder` holds {classes} classes, expected the {outputs} of run {run.key}.\n"
            "Make one sub-folder for each class the network was trained on."
        )
    size = tuple(known["shape"][:2]) if known else None
    network = Network(recipe, (*(size or (32, 32)), channels), outputs)
    network.load_state_dict(tensors)
    predicts = true and recipe.head.name != "projection"
    layers = ("projection",) if recipe.head.name == "projection" else ()
    return Classifier(network.eval(), network.prepare, channels, size, names, predicts, layers=layers)


def _as_kept(model: str, prepares: bool, constants: bool) -> None:
    """Refuse a model that prepares images itself where the file holds constants, or does not where it holds none.

    What two transforms make of an image is compared later, by `kept.scorer`.
    """
    if prepares and constants:
        raise InputError(
            f"{model} prepares images itself, expected none that does: the scorer was saved with `mean` and `std`.\n"
            "Name the model as it was then, or fit again without `load`."
        )
    if not prepares and not constants:
        raise InputError(
            f"{model} brings no transform, expected one: the scorer was saved with a model that prepares images itself."
            "\nName the model as it was then, or fit again without `load` and with `mean` and `std`."
        )


def _own(model: str, weights: Path | None, mean: Sequence[float], std: Sequence[float], kept: bool) -> Classifier:
    if weights is not None:
        raise InputError(f"`weights` came with {model}, expected none.\nLet the function load them.")
    network, transform = own.made(model)
    _require_linear(network, model, "End it in a torch.nn.Linear")
    if kept:
        _as_kept(model, transform is not None, bool(mean))
    if transform is None:
        return Classifier(network.eval(), _standardise(mean, std), 3)
    if mean or std:
        raise InputError(
            f"`mean` or `std` came with {model}, expected none: its transform prepares the images.\nLeave them out."
        )
    return Classifier(network.eval(), lambda images: images, 3, transform=transform)


def _architectures() -> list[str]:
    """Names of torchvision's classifiers."""
    models = torchvision().models
    return list(models.list_models(module=models))


def _torchvision(
    name: str, classes: int, weights: Path | None, mean: Sequence[float], std: Sequence[float]
) -> Classifier:
    known = _architectures()
    if name not in known:
        close = ", ".join(difflib.get_close_matches(name, known, n=5, cutoff=0.4)) or "resnet18"
        raise InputError(f"torchvision has no classifier {name!r}, expected one such as: {close}.\nCheck `model`.")
    if weights is None:
        raise InputError(
            f"{TORCHVISION}{name} came without `weights`, expected a safetensors file: nothing is downloaded.\n"
            "Write one with safetensors.torch.save_file(model.state_dict(), 'weights.safetensors')."
        )
    prepare = _standardise(mean, std)
    network = torchvision().models.get_model(name, weights=None, num_classes=classes)
    _require_linear(network, f"{TORCHVISION}{name}", f"Use another architecture, such as {TORCHVISION}resnet18")
    fill(network, weights, f"{name} with {classes} classes, as `id_folder` holds")
    return Classifier(network.eval(), prepare, 3)


def _require_linear(network: nn.Module, model: str, advice: str) -> None:
    """Refuse a network without a layer that `extract` would start from, in words of what can be done here."""
    seen = (nn.Linear, torch.jit.ScriptModule)  # layers of the latter run unseen, which `extract` says
    if not any(isinstance(module, seen) or hasattr(module, "formula") for module in network.modules()):
        raise InputError(
            f"{model} has no linear layer, expected one before its logits: scorers take what feeds it.\n"
            f"{advice}, or use extract(model, images, layer=...) in Python."
        )


def _standardise(mean: Sequence[float], std: Sequence[float]) -> Callable[[Tensor], Tensor]:
    """uint8 (B, H, W, 3) -> (B, 3, H, W) by the constants of training."""
    for name, values in (("mean", mean), ("std", std)):
        in_range = all(0 <= value <= 1 and (value > 0 or name == "mean") for value in values)  # not so for NaN
        if len(values) != 3 or not in_range:
            raise InputError(
                f"`{name}` is {','.join(map(str, values)) or 'not given'}, expected three numbers on the scale 0..1, "
                f"those of training{'' if name == 'mean' else ', all above 0'}.\n"
                "torchvision's own weights: `mean=(0.485, 0.456, 0.406)` and `std=(0.229, 0.224, 0.225)`"
            )
    shift, scale = (torch.tensor(values, dtype=torch.float32)[:, None, None] for values in (mean, std))
    return lambda images: (images.permute(0, 3, 1, 2).float() / 255 - shift) / scale
