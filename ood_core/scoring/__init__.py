"""Folders of images in, a table of scores and decisions out: what `python -m ood_core score` does."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import pandas as pd
import torch
from torch import Tensor

from .. import scorers
from ..checks import InputError
from ..data.pictures import images_in
from ..outputs import RESERVED, Outputs
from . import classifiers, kept
from .folders import classes_in, read, to_score, transformed
from .kept import Setting
from .passes import Passes
from .sheet import contact_sheet

__all__ = ["Scored", "contact_sheet", "score_folders"]

HELD_OUT = 5  # without held-out images, every fifth ID image of each class calibrates and is not fitted on
LAYERS = (*RESERVED, "inputs")  # what outputs hold in any case


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
    """

    frame: pd.DataFrame
    folders: pd.DataFrame
    calibration: scorers.Calibration
    scorer: scorers.Scorer
    held_out: bool
    left_out: Mapping[str, int] = field(default_factory=dict)


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
) -> Scored:
    """Fit a scorer on ID training images, set its threshold, and score every image of some folders.

    Args:
        folders: images to score: folders, to any depth, or single files.
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
    Raises:
        InputError: an unknown scorer, model or class; a scorer that reads logits, for a network whose logits stand for
            no class; an empty folder; images beside the class folders; held-out images that are ID images too, or that
            the scorer was fitted on under other names; an image that cannot be read or has another size; weights of
            another network than expected, or than in the file to load; another transform than that file was saved
            with, or one to save with that makes something else each time.
    """
    others: Counter[str] = Counter()
    files = {folder: to_score(folder, others) for folder in folders}
    how = {"batch_size": batch_size, "workers": workers, "device": device, "progress": progress}
    if load is not None:
        told: dict[str, Any] = {
            "--id-folder": id_folder,
            "--scorer": scorer,
            "--param": parameters,
            "--held-out": held_out,
        }
        told |= {"--id-tpr": id_tpr, "--size": size, "--mean": mean, "--std": std, "--save": save}
        both = [option for option, value in told.items() if value]
        if both:
            raise InputError(
                f"--load came with {', '.join(both)}, expected none: the file says how it was fitted.\n"
                "Leave them out, or fit anew without --load."
            )
        name, setting = kept.read(load)
        classifier = classifiers.load(model, len(setting.classes), weights, setting.mean, setting.std, kept=True)
        classifier.network.to(device)
        fitted = kept.scorer(load, name, setting, classifier.network, classifier.transform)
        passes = _passes(classifier, setting, name, fitted.layer, how)
    else:
        if id_folder is None:
            raise InputError("neither --id-folder nor --load is given, expected one.\nName the ID training images.")
        name, settings = scorer or "msp", parameters or {}
        scorers.make(name, **settings)  # names and values are checked before any image is read
        held = images_in(held_out, others) if held_out is not None else None
        classes = classes_in(id_folder)
        classifier = classifiers.load(model, len(classes), weights, mean, std)
        classifier.network.to(device)  # once: `extract` leaves it where it was, and ODIN works where it is
        classes = classes_in(id_folder, classifier.classes, others)
        _apart(held or [], classes)
        fitting = [(path, label) for label, paths in enumerate(classes.values()) for path in paths]
        if held is None:
            fitting, held = _split(classes)
        _readable(name, settings, classifier, model)
        setting = Setting(
            network=kept.digest(classifier.network) if save else "",
            classes=tuple(classes),
            shape=_shape(classifier, size, fitting[0][0]),
            size=size,
            mean=tuple(mean),
            std=tuple(std),
            held_out=held_out is not None,
            transform=kept.made_of(classifier.transform) if save else None,
        )
        passes = _passes(classifier, setting, name, settings.get("layer"), how)
        fitted = _fitted(name, settings, passes, fitting)
        _calibrate(fitted, passes, held, 0.95 if id_tpr is None else id_tpr)
        if save is not None:
            kept.write(save, fitted, setting)
    assert fitted.calibration is not None
    parts = [_scored(fitted, passes, paths, setting.classes) for paths in files.values()]
    found = [part["score"] for part in parts]
    table = _table(
        {
            "folder": [str(folder) for folder in files],
            "images": [len(part) for part in parts],
            "accepted": [float((part["decision"] == "in").mean()) for part in parts],
            "lowest": [part.min() for part in found],
            "median": [part.median() for part in found],
            "highest": [part.max() for part in found],
        }
    )
    return Scored(
        pd.concat(parts, ignore_index=True), table, fitted.calibration, fitted, setting.held_out, dict(others)
    )


def _readable(name: str, settings: dict[str, Any], classifier: classifiers.Classifier, model: str) -> None:
    """Refuse a scorer that reads logits, for a network whose logits stand for no class."""
    reads = _reads(name, settings) & {"logits", "raw_logits", "head", "model"}
    if reads and not classifier.predicts:
        raise InputError(
            f"{name} works through {' and '.join(sorted(reads))}, expected a scorer of features: run {model} has no "
            "logits that stand for classes, by its head or its labels.\nPass for example --scorer knn or --scorer ddu."
        )


def _reads(name: str, settings: Mapping[str, Any]) -> set[str]:
    chosen = {**scorers.describe(name)["parameters"], **settings}
    if "then" in chosen:  # a shape of the features: it needs the head where the scorer behind it reads logits
        return {chosen["layer"], *_own_reads(chosen["then"], chosen["then_params"])}
    return _own_reads(name, settings)


def _own_reads(name: str, settings: Mapping[str, Any]) -> set[str]:
    about = scorers.describe(name)
    # residual needs the head for one origin alone and says so itself
    return {settings.get("layer", about["layer"]), *about["needs"]} - ({"head"} if "origin" in settings else set())


def _passes(
    classifier: classifiers.Classifier, setting: Setting, name: str, layer: str | None, how: dict[str, Any]
) -> Passes:
    return Passes(
        classifier,
        setting.size,
        setting.shape,
        len(setting.classes),
        layers=[layer] if layer and layer not in (*LAYERS, *classifier.layers) else [],
        keeps_images="inputs" in scorers.describe(name)["needs"],
        **how,
    )


def _fitted(name: str, settings: dict[str, Any], passes: Passes, fitting: list[tuple[Path, int]]) -> scorers.Scorer:
    passes.whole([fitting[0][0]])  # what does not fit together shows here, and not after all images
    if not passes.keeps_images:
        return scorers.make(name, **settings).fit(passes.whole(*map(list, zip(*fitting, strict=True))))
    # A scorer that asks the network for gradients learns nothing from the images but their shape. Some from each
    # class are enough, where all of them would fill the memory.
    made = scorers.make(name, **settings, model=passes.classifier.network)
    some = [fitting[i] for i in torch.linspace(0, len(fitting) - 1, min(made.sample, len(fitting))).long().tolist()]
    return made.fit(passes.whole(*map(list, zip(*some, strict=True))))


def _calibrate(scorer: scorers.Scorer, passes: Passes, held: list[Path], id_tpr: float) -> None:
    """Set the threshold on held-out images.

    Raises:
        InputError: the scorer was fitted on most of them, whatever their files are called.
    """
    if not passes.keeps_images:
        scorer.calibrate(passes.whole(held), id_tpr)
        return
    # Images for gradients never lie in memory together, so their scores are known before there is a threshold. A
    # scorer of gradients learns nothing from the fitted rows, so it would refuse none here.
    assert not scorer.learns
    scores, _ = _scores(scorer, passes.parts(held))
    scorer.calibration = _Known().fit(scores).calibrate(scores, id_tpr).calibration


class _Known(scorers.Scorer):
    """Scores that are known already, made a batch at a time, so that a threshold can be set on them."""

    name: ClassVar[str] = "known"
    sample: ClassVar[int] = 0

    def _score(self, x: Tensor) -> Tensor:
        return x[:, 0]


def _apart(held: list[Path], classes: dict[str, list[Path]]) -> None:
    """Refuse held-out images that are fitted on as well: the threshold would promise a rate that no new image has."""
    fitted = {path.resolve() for paths in classes.values() for path in paths}
    both = [path for path in held if path.resolve() in fitted]
    if both:
        raise InputError(
            f"--held-out shares {len(both)} of its {len(held)} images with --id-folder, such as {both[0]}, expected "
            "none.\nName ID images that the scorer is not fitted on, or leave --held-out out: a fifth is kept then."
        )


def _split(classes: dict[str, list[Path]]) -> tuple[list[tuple[Path, int]], list[Path]]:
    fitting: list[tuple[Path, int]] = []
    held: list[Path] = []
    for label, (name, paths) in enumerate(classes.items()):
        if len(paths) < 2:
            raise InputError(
                f"class {name} holds one image, expected at least two: one to fit and one for the threshold.\n"
                "Add ID images, or pass --held-out with images for the threshold."
            )
        kept = set(paths[HELD_OUT - 1 :: HELD_OUT] or paths[-1:])
        held += sorted(kept)
        fitting += [(path, label) for path in paths if path not in kept]
    return fitting, held


def _shape(classifier: classifiers.Classifier, size: int | None, first: Path) -> tuple[int, ...]:
    """(H, W) that every image must have, or (C, H, W) of what a transform makes."""
    trained = classifier.size
    if classifier.transform is not None:
        if size is not None:
            raise InputError(
                f"--size is {size}, expected none: the model's own transform prepares the images.\nLeave it out."
            )
        return tuple(transformed(first, classifier.transform).shape)
    if size is not None:
        if trained is not None and trained != (size, size):
            raise InputError(
                f"--size is {size}, expected {trained[0]}: this network was trained on {trained[1]}x{trained[0]} "
                f"images.\nPass --size {trained[0]}."
            )
        return size, size
    if trained is not None:
        return trained
    height, width = read(first, classifier.channels).shape[:2]
    return height, width


def _scores(scorer: scorers.Scorer, parts: Iterator[Outputs]) -> tuple[Outputs, list[int]]:
    """Scores as the only column of outputs, and the predicted class of each image, if there are logits."""
    scores, predicted = [], []
    for part in parts:
        scores.append(scorer.score(part).double().cpu())
        predicted += [] if part.logits is None else part.logits.argmax(dim=1).tolist()
    return Outputs(torch.cat(scores)[:, None]), predicted


def _scored(scorer: scorers.Scorer, passes: Passes, paths: list[Path], classes: Sequence[str]) -> pd.DataFrame:
    assert scorer.calibration is not None
    found, places = _scores(scorer, passes.parts(paths))
    scores = found.features[:, 0]
    return _table(
        {
            "file": [str(path) for path in paths],
            "score": scores.tolist(),
            "decision": ["in" if accepted else "out" for accepted in (scores >= scorer.calibration.threshold).tolist()],
            "predicted": [classes[place] for place in places] or [""] * len(paths),
        }
    )


def _table(columns: dict[str, list[Any]]) -> pd.DataFrame:
    """A frame whose text stays as it is: names on a disk need not be UTF-8, which pandas' own type for text refuses."""
    return pd.DataFrame(
        {name: pd.Series(rows, dtype=object if isinstance(rows[0], str) else None) for name, rows in columns.items()}
    )
