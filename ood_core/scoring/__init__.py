"""Folders of images in, a table of scores and decisions out: what `python -m ood_core score` does."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from .. import scorers
from ..checks import InputError
from ..data.pictures import images_in
from . import classifiers, kept
from .accuracy import Accuracy, accuracy
from .fitting import calibrate, fitted
from .folders import classes_in, mode, once, to_score
from .held_out import require_apart, require_no_copies, split
from .kept import Setting
from .passes import image_shape, passes_for
from .readable import Checking
from .reads import require_readable
from .sheet import contact_sheet
from .table import folder_table, score_table

__all__ = ["Accuracy", "Scored", "contact_sheet", "score_folders"]


@dataclass(frozen=True)
class Scored:
    """What was found.

    Attributes:
        frame: file, score (larger = more in-distribution), decision ("in" or "out"), predicted class (empty where the
            network's logits stand for no ID class); a row an image.
        folders: a row a folder: images, share accepted, lowest, median and highest score.
        calibration: the threshold and the rate it promises.
        scorer: fitted and calibrated, ready for `save`.
        held_out: whether the threshold comes from images that were given for it.
        left_out: how many files in the folders are no images by their names, by suffix.
        unreadable: image files that were left out: unreadable, or of more than 8 bits a channel, each with the reason.
        turned: how many of all image files, ID images included, have a tag that asks to show them turned or mirrored.
        accuracy: how well the network classifies the held-out images, or where none of these lies in a class folder,
            the ID images; None where its logits stand for no class, and with `load`.
    """

    frame: pd.DataFrame
    folders: pd.DataFrame
    calibration: scorers.Calibration
    scorer: scorers.Scorer
    held_out: bool
    left_out: Mapping[str, int] = field(default_factory=dict)
    unreadable: Mapping[Path, str] = field(default_factory=dict)
    turned: int = 0
    accuracy: Accuracy | None = None


def score_folders(
    folders: Sequence[Path],
    *,
    model: str,
    id_folder: Path | None = None,
    scorer: str | None = None,
    parameters: dict[str, Any] | None = None,
    held_out: Path | None = None,
    weights: Path | None = None,
    id_tpr: float | None = None,
    size: int | None = None,
    mean: Sequence[float] = (),
    std: Sequence[float] = (),
    save: Path | None = None,
    load: Path | None = None,
    batch_size: int = 64,
    workers: int = 0,
    device: torch.device | str = "cpu",
    progress: bool = False,
    skip_unreadable: bool = False,
) -> Scored:
    """Fit a scorer on ID training images, set its threshold, and score every image of some folders.

    Args:
        folders: images to score: folders, to any depth, or single files. An image that lies in several counts in the
            first; what holds no other is left out.
        model: `torchvision:NAME` (with `weights`, `mean`, `std`), `FILE.py:FUNCTION`, or the key of a stored run. Of a
            Python file the code is run.
        id_folder: ID training images, one sub-folder a class.
        scorer, parameters: by the registry's names; `msp` by default.
        held_out: ID images that the network was not trained on, for the threshold. Without it, every fifth image of
            each ID class is kept from the fit for that; if the network was trained on them, the threshold accepts
            fewer new ID images than it says.
        id_tpr: share of ID to accept, a fraction; 0.95 by default.
        size: resize the shorter side of every image, ID included, and cut out the centre; else all must have one size.
        save: file for the fitted and calibrated scorer, written before anything is scored.
        load: such a file, in place of all that says how to fit: no ID image is read again.
        batch_size: images a step.
        workers: processes that read images; with 0 this one does.
        device: where the network runs.
        progress: show bars.
        skip_unreadable: leave out image files that cannot be read, or have more than 8 bits a channel, of `folders`,
            `id_folder` and `held_out` alike; they are in `unreadable` and not in the table. All files are read once
            more for it, by `workers` threads.
    Raises:
        InputError: an unknown scorer, model or class; a scorer that reads logits, for a network whose logits stand for
            no class; an empty folder, or one without a readable image; images beside the class folders; held-out images
            that are ID images too, or copies of them; an image that cannot be read
            (unless it is left out) or has another size; weights of another network than expected, or than in the file
            to load; another transform than that file was saved with, or one that makes something else each time.
    """
    others: Counter[str] = Counter()
    right = None
    files = once({folder: to_score(folder, others) for folder in folders})
    checking = Checking(skip_unreadable, workers, progress)
    checking.refuse(path for paths in files.values() for path in paths)
    how = {"batch_size": batch_size, "workers": workers, "device": device, "progress": progress}
    if load is not None:
        beside = {"id_folder": id_folder, "scorer": scorer, "parameters": parameters, "held_out": held_out}
        _require_alone({**beside, "id_tpr": id_tpr, "size": size, "mean": mean, "std": std, "save": save})
        name, setting = kept.read(load)
        classifier = classifiers.load(model, len(setting.classes), weights, setting.mean, setting.std, kept=True)
        classifier.network.to(device)
        ready = kept.scorer(load, name, setting, classifier.network, classifier.transform)
        passes = passes_for(classifier, setting, name, ready.layer, how)
        files = {folder: checking.sound(folder, paths, mode(classifier.channels)) for folder, paths in files.items()}
    else:
        if id_folder is None:
            raise InputError("neither `id_folder` nor `load` is given, expected one.\nName the ID training images.")
        name, settings = scorer or "msp", parameters or {}
        scorers.make(name, **settings)  # names and values are checked before any image is read
        held = images_in(held_out, others) if held_out is not None else None
        classes = classes_in(id_folder)
        classifier = classifiers.load(model, len(classes), weights, mean, std)
        classifier.network.to(device)  # once: `extract` leaves it where it was, and ODIN works where it is
        classes = classes_in(id_folder, classifier.classes, others)
        require_apart(held or [], classes)
        require_readable(name, settings, classifier, model)
        checking.refuse([*(held or []), *(path for paths in classes.values() for path in paths)])
        taken = mode(classifier.channels)
        files = {folder: checking.sound(folder, paths, taken) for folder, paths in files.items()}
        classes = {label: checking.sound(id_folder / label, paths, taken) for label, paths in classes.items()}
        if held is not None and held_out is not None:
            held = checking.sound(held_out, held, taken)
            require_no_copies(held, classes)
        fitting = [(path, label) for label, paths in enumerate(classes.values()) for path in paths]
        if held is None:
            fitting, held = split(classes)
        setting = Setting(
            network=kept.digest(classifier.network) if save else "",
            classes=tuple(classes),
            shape=image_shape(classifier, size, fitting[0][0]),
            size=size,
            mean=tuple(mean),
            std=tuple(std),
            held_out=held_out is not None,
            transform=kept.made_of(classifier.transform),  # without `save` too: this refuses random steps
        )
        passes = passes_for(classifier, setting, name, settings.get("layer"), how)
        ready, seen = fitted(name, settings, passes, fitting)
        new = calibrate(ready, passes, held, 0.95 if id_tpr is None else id_tpr)
        right = accuracy(new, held_out or id_folder, classes) or accuracy(seen, id_folder, classes)
        if save is not None:
            kept.write(save, ready, setting)
    assert ready.calibration is not None
    parts = [score_table(ready, passes, paths, setting.classes) for paths in files.values()]
    return Scored(
        frame=pd.concat(parts, ignore_index=True),
        folders=folder_table(files, parts),
        calibration=ready.calibration,
        scorer=ready,
        held_out=setting.held_out,
        left_out=dict(others),
        unreadable=checking.unreadable,
        turned=checking.turned,
        accuracy=right,
    )


def _require_alone(beside: Mapping[str, Any]) -> None:
    """Refuse parameters that say how to fit beside `load`."""
    given = [f"`{name}`" for name, value in beside.items() if value]
    if given:
        raise InputError(
            f"`load` came with {', '.join(given)}, expected none: the file says how it was fitted.\n"
            "Leave them out, or fit anew without `load`."
        )
