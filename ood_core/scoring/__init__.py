"""Folders of images in, a table of scores and decisions out: what `python -m ood_core score` does."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from .. import scorers
from ..checks import InputError
from ..data.pictures import images_in
from ..features import extract
from ..outputs import Outputs
from . import classifiers
from .folders import Files, classes_in, read
from .sheet import contact_sheet

__all__ = ["Scored", "contact_sheet", "score_folders"]

HELD_OUT = 5  # without held-out images, every fifth ID image of each class calibrates and is not fitted on
LAYERS = ("features", "unit", "logits", "raw_logits", "inputs")  # what outputs hold in any case


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
    """

    frame: pd.DataFrame
    folders: pd.DataFrame
    calibration: scorers.Calibration
    scorer: scorers.Scorer
    held_out: bool


def score_folders(
    folders: Sequence[Path],
    *,
    id_folder: Path,
    model: str,
    scorer: str = "msp",
    parameters: dict[str, Any] | None = None,
    held_out: Path | None = None,
    weights: Path | None = None,
    id_tpr: float = 0.95,
    size: int | None = None,
    mean: Sequence[float] = (),
    std: Sequence[float] = (),
    device: torch.device | str = "cpu",
    progress: bool = False,
) -> Scored:
    """Fit a scorer on ID training images, set its threshold, and score every image of some folders.

    Args:
        folders: images to score, at any depth.
        id_folder: ID training images, one sub-folder a class.
        model: `torchvision:NAME` (with `weights`, `mean`, `std`), or the key of a stored run.
        scorer, parameters: by the registry's names.
        held_out: ID images that the network was not trained on, for the threshold. Without it, every fifth image of
            each ID class is kept from the fit for that; if the network was trained on them, the threshold accepts
            fewer new ID images than it says.
        id_tpr: share of ID to accept, a fraction.
        size: resize the shorter side of every image, ID included, and cut out the centre; else all must have one size.
        device: where the network runs.
        progress: show bars.
    Raises:
        InputError: an unknown scorer, model or class; a scorer that reads logits, for a network whose logits stand for
            no class; an empty folder; held-out images that are ID images too; an image that cannot be read or has
            another size; weights of another network.
    """
    settings = parameters or {}
    scorers.make(scorer, **settings)  # names and values are checked before any image is read
    to_score = {folder: images_in(folder) for folder in folders}
    held = images_in(held_out) if held_out is not None else None
    classes = classes_in(id_folder)
    classifier = classifiers.load(model, len(classes), weights, mean, std)
    classes = classes_in(id_folder, classifier.classes)
    _apart(held or [], classes)
    fitting = [(path, label) for label, paths in enumerate(classes.values()) for path in paths]
    if held is None:
        fitting, held = _split(classes)
    shape = _shape(classifier, size, fitting[0][0])
    about = scorers.describe(scorer)
    needs = about["needs"]
    reads = {settings.get("layer", about["layer"]), *needs} & {"logits", "raw_logits", "head", "model"}
    if "origin" in settings:  # of residual, which needs the head for one of them alone and says so itself
        reads.discard("head")
    if reads and not classifier.predicts:
        raise InputError(
            f"{scorer} works through {' and '.join(sorted(reads))}, expected a scorer of features: run {model} has no "
            "logits that stand for classes, by its head or its labels.\nPass for example --scorer knn or --scorer ddu."
        )
    if "inputs" in needs:  # a scorer that asks the network for gradients
        settings = {**settings, "model": classifier.network}

    def outputs(paths: Iterable[Path], labels: Iterable[int] | None = None) -> Outputs:
        listed = list(paths)
        files = Files(listed, list(labels or [0] * len(listed)), classifier.channels, size, shape)

        def collate(items: list[tuple[Tensor, int]]) -> tuple[Tensor, Tensor | None]:
            images = classifier.prepare(torch.stack([image for image, _ in items]))
            return images, None if labels is None else torch.tensor([label for _, label in items])

        found = extract(
            classifier.network,
            DataLoader(files, batch_size=64, collate_fn=collate),
            layers=[name for name in (settings.get("layer"),) if name and name not in LAYERS],
            device=device,
            keep_inputs="inputs" in needs,
            progress=progress,
        )
        return found if classifier.predicts else replace(found, logits=None, head=None, correct=None)

    fitted = scorers.make(scorer, **settings).fit(outputs(*zip(*fitting, strict=True)))
    fitted.calibrate(outputs(held), id_tpr=id_tpr)
    assert fitted.calibration is not None
    parts = [_scored(fitted, outputs(paths), paths, list(classes)) for paths in to_score.values()]
    scores = [part["score"] for part in parts]
    table = _table(
        {
            "folder": [str(folder) for folder in to_score],
            "images": [len(part) for part in parts],
            "accepted": [float((part["decision"] == "in").mean()) for part in parts],
            "lowest": [part.min() for part in scores],
            "median": [part.median() for part in scores],
            "highest": [part.max() for part in scores],
        }
    )
    return Scored(pd.concat(parts, ignore_index=True), table, fitted.calibration, fitted, held_out is not None)


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


def _shape(classifier: classifiers.Classifier, size: int | None, first: Path) -> tuple[int, int]:
    """(H, W) that every image must have."""
    trained = classifier.size
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


def _scored(scorer: scorers.Scorer, outputs: Outputs, paths: list[Path], classes: list[str]) -> pd.DataFrame:
    assert scorer.calibration is not None
    scores = scorer.score(outputs).double().cpu()
    predicted = [""] * len(paths)
    if outputs.logits is not None:
        predicted = [classes[place] for place in outputs.logits.argmax(dim=1).tolist()]
    return _table(
        {
            "file": [str(path) for path in paths],
            "score": scores.tolist(),
            "decision": ["in" if accepted else "out" for accepted in (scores >= scorer.calibration.threshold).tolist()],
            "predicted": predicted,
        }
    )


def _table(columns: dict[str, list[Any]]) -> pd.DataFrame:
    """A frame whose text stays as it is: names on a disk need not be UTF-8, which pandas' own type for text refuses."""
    return pd.DataFrame(
        {name: pd.Series(rows, dtype=object if isinstance(rows[0], str) else None) for name, rows in columns.items()}
    )
