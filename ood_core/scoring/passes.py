"""Image files through a classifier, as `Outputs`."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, default_collate
from tqdm import tqdm

from .. import scorers
from ..checks import InputError, said
from ..features import extract
from ..outputs import RESERVED, Outputs
from .classifiers import Classifier
from .folders import Files, read, transformed
from .kept import Setting

LAYERS = (*RESERVED, "inputs")  # what outputs hold in any case
Batch = tuple[Tensor, Tensor] | tuple[Tensor]


@dataclass(frozen=True)
class Passes:
    """How files become outputs.

    Attributes:
        classifier: the network and what it takes.
        size, shape: as in `Files`.
        classes: how many columns its logits must have, where they stand for classes.
        layers: further layers to keep.
        keeps_images: for scorers that read the images: these are then scored a batch at a time, never kept together.
        batch_size, workers: of the loader; workers read and resize, the network runs here.
        device: as in `extract`.
        progress: show a bar of batches.
    """

    classifier: Classifier
    size: int | None
    shape: tuple[int, ...]
    classes: int
    layers: Sequence[str] = ()
    keeps_images: bool = False
    batch_size: int = 64
    workers: int = 0
    device: torch.device | str = "cpu"
    progress: bool = False

    def whole(self, paths: Sequence[Path], labels: Sequence[int] | None = None) -> Outputs:
        """All of them together."""
        return self._outputs(self._batches(paths, labels), paths)

    def parts(self, paths: Sequence[Path]) -> Iterator[Outputs]:
        """The same in order, together unless the images would be kept."""
        if not self.keeps_images:
            yield self.whole(paths)
            return
        for at, batch in enumerate(self._batches(paths, None)):
            yield self._outputs(iter([batch]), paths[at * self.batch_size :])

    def scores(self, scorer: scorers.Scorer, paths: Sequence[Path]) -> tuple[Tensor, list[int]]:
        """Scores in float64 on the CPU, and the predicted class of each image, if there are logits."""
        scores, predicted = [], []
        for part in self.parts(paths):
            scores.append(scorer.score(part).double().cpu())
            predicted += classes_of(part)
        return torch.cat(scores), predicted

    def _batches(self, paths: Sequence[Path], labels: Sequence[int] | None) -> Iterator[Batch]:
        taken = self.classifier
        files = _Told(Files(paths, labels or [0] * len(paths), taken.channels, self.size, self.shape, taken.transform))
        # Forked where that can be done: a user's transform need not be one that can be pickled.
        fork = self.workers > 0 and "fork" in multiprocessing.get_all_start_methods()
        loader = DataLoader(
            files,
            batch_size=self.batch_size,
            num_workers=self.workers,
            collate_fn=_collated,
            multiprocessing_context="fork" if fork else None,
        )
        for batch in tqdm(loader, disable=not self.progress, unit="batch"):
            if isinstance(batch, InputError):
                raise batch
            prepared = taken.prepare(batch[0])
            yield (prepared,) if labels is None else (prepared, batch[1])

    def _outputs(self, batches: Iterator[Batch], paths: Sequence[Path]) -> Outputs:
        """What the network makes of batches of these files; what it raises names those that it had then."""
        network, had = self.classifier.network, _Had(batches, paths, self.batch_size)
        try:
            found = extract(network, had, layers=self.layers, device=self.device, keep_inputs=self.keeps_images)
        except InputError:
            raise
        except Exception as error:  # whatever a user's model raises
            if not had.now:
                raise
            raise InputError(
                f"{type(network).__name__} failed on the batch of {len(had.now)} from {had.now[0]} to {had.now[-1]} "
                f"({said(error)}), expected logits of every image.\n"
                "Try it on these alone; where memory ran out, pass a smaller `batch_size`."
            ) from error
        if not self.classifier.predicts:
            return replace(found, logits=None, head=None, correct=None)
        if found.logits is None or found.logits.shape[1] != self.classes:
            columns = "none" if found.logits is None else found.logits.shape[1]
            raise InputError(
                f"the network gives {columns} logits an image, expected {self.classes}, one for each class of the ID "
                "images.\nMake one sub-folder for each class the network was trained on."
            )
        return found


def classes_of(outputs: Outputs) -> list[int]:
    """The predicted class of each image, if there are logits."""
    return [] if outputs.logits is None else outputs.logits.argmax(dim=1).tolist()


def passes_for(
    classifier: Classifier, setting: Setting, name: str, layer: str | None, how: Mapping[str, Any]
) -> Passes:
    """Passes that keep what a scorer on this layer reads; `how` holds `batch_size`, `workers`, `device`, `progress`."""
    return Passes(
        classifier,
        setting.size,
        setting.shape,
        len(setting.classes),
        layers=[layer] if layer and layer not in (*LAYERS, *classifier.layers) else [],
        keeps_images="inputs" in scorers.describe(name)["needs"],
        **how,
    )


def image_shape(classifier: Classifier, size: int | None, first: Path) -> tuple[int, ...]:
    """(H, W) that every image must have, or (C, H, W) of what a transform makes."""
    trained = classifier.size
    if classifier.transform is not None:
        if size is not None:
            raise InputError(
                f"`size` is {size}, expected none: the model's own transform prepares the images.\nLeave it out."
            )
        return tuple(transformed(first, classifier.transform).shape)
    if size is not None:
        if trained is not None and trained != (size, size):
            raise InputError(
                f"`size` is {size}, expected {trained[0]}: this network was trained on {trained[1]}x{trained[0]} "
                f"images.\nPass `size={trained[0]}`."
            )
        return size, size
    if trained is not None:
        return trained
    height, width = read(first, classifier.channels).shape[:2]
    return height, width


@dataclass
class _Had:
    """Batches in the order of their files, and the files of the one that the network has."""

    batches: Iterator[Batch]
    paths: Sequence[Path]
    size: int
    now: Sequence[Path] = ()

    def __iter__(self) -> Iterator[Batch]:
        for at, batch in enumerate(self.batches):
            self.now = self.paths[at * self.size : (at + 1) * self.size]
            yield batch
            self.now = ()  # what fails while the next is read is no failure of the network


@dataclass
class _Told(Dataset[Any]):
    """Files whose refusals come as values: raised in a worker, one would hold that process's traceback as its text."""

    files: Files

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> tuple[Tensor, int] | InputError:
        try:
            return self.files[index]
        except InputError as error:
            return error


def _collated(items: list[Any]) -> Any:
    refused = next((item for item in items if isinstance(item, InputError)), None)
    return default_collate(items) if refused is None else refused
