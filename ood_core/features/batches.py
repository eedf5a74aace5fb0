"""Images in any form as batches (x, y) in their order, and what is known of them before the first."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sized
from math import ceil, prod
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import BatchSampler, DataLoader, Dataset, IterableDataset, SequentialSampler

from .. import checks
from ..checks import InputError
from ..data import ImageSet


def checked_images(images: Any) -> Any:
    """Images as they are, arrays as tensors; refuses what gives no batches, and (x, y), which would be read as two."""
    batches = isinstance(images, ImageSet | Iterable) or hasattr(images, "__getitem__")
    if not batches or isinstance(images, np.generic):  # numpy's numbers have an item and no iterator
        raise InputError(
            f"images are a {type(images).__name__}, expected a tensor, an ImageSet, a DataLoader or other batches.\n"
            "Pass preprocessed images, for example a tensor (N, 3, 32, 32)."
        )
    if isinstance(images, Dataset) and not isinstance(images, IterableDataset):
        raise InputError(
            f"images are a {type(images).__name__}, a dataset of single images, expected batches.\n"
            "Pass DataLoader(dataset, batch_size=256)."
        )
    pair = isinstance(images, tuple | list) and len(images) == 2 and isinstance(images[0], Tensor | np.ndarray)
    if pair and (isinstance(images, tuple) or getattr(images[1], "ndim", 0) == 1):  # as next(iter(loader)) gives them
        raise InputError(
            f"images are a {type(images).__name__} of two, expected a tensor, an ImageSet, a DataLoader or other "
            "batches.\nPass labels apart, extract(model, x, labels=y), or a list of batches, [(x, y)]."
        )
    images = checks.tensor("images", images) if isinstance(images, np.ndarray) else images
    if isinstance(images, Tensor):
        _floating(images)
    return images


def _floating(images: Tensor) -> None:
    if not images.is_floating_point():
        raise InputError(
            f"images have dtype {images.dtype}, expected preprocessed floating-point images.\n"
            "Apply the preprocessing that the model was trained with."
        )
    if images.ndim < 2:
        raise InputError(
            f"images have shape {tuple(images.shape)}, expected (N, ...), one row an image.\n"
            "Give one image a batch axis: image[None]."
        )


def checked_size(batch_size: Any) -> int:
    """The images a step that a caller asked for, as an int."""
    return checks.whole("batch_size", batch_size, 1, "Leave it out for a size that fits the device.")


def default_size(images: Any, device: torch.device) -> int:
    """Images a step where nobody asked for a number: on a CPU, so many that their activations stay in its cache."""
    shape = images.images.shape[1:3] if isinstance(images, ImageSet) else getattr(images, "shape", ())[2:]
    pixels = prod(shape) if len(shape) == 2 else 32 * 32
    return 512 if device.type != "cpu" else max(64, 64 * 32 * 32 // max(1, pixels))


def row_count(images: Any) -> int | None:
    """How many rows will come; None where that is not known."""
    if isinstance(images, Tensor | ImageSet):
        return len(images)
    if isinstance(images, DataLoader) and images.batch_size is not None and isinstance(images.sampler, Sized):
        count = len(images.sampler)
        return count - count % images.batch_size if images.drop_last else count
    return None


def step_count(images: Any, rows: int | None, batch_size: int) -> int | None:
    """How many batches these rows come in; None where that is not known."""
    size = images.batch_size if isinstance(images, DataLoader) else batch_size
    return None if rows is None or size is None else ceil(rows / size)


def matching_labels(labels: Any, images: Any, rows: int | None) -> Tensor:
    """Labels given beside the images, checked before the pass, which can take hours."""
    if isinstance(images, DataLoader) and not _in_order(images):
        raise InputError(
            "labels came beside a DataLoader that shuffles or has a sampler of its own, expected an order that both "
            "share.\nPass shuffle=False, or let the loader give (x, y)."
        )
    y = checks.tensor("labels", labels)
    return checks.labels("labels", y, len(y) if rows is None and y.ndim else rows or 0)


def _in_order(loader: DataLoader[Any]) -> bool:
    """Whether rows come as the data set has them; a subclass of torch's samplers may reorder, so none is trusted."""
    batches, sampler = loader.batch_sampler, loader.sampler
    if batches is not None:
        if type(batches) is not BatchSampler:
            return False
        sampler = batches.sampler
    return type(sampler) is SequentialSampler and loader.in_order


def in_batches(
    model: nn.Module, images: Any, batch_size: int, labels: Tensor | None
) -> Iterator[tuple[Tensor, Tensor | None]]:
    """Each batch with its own labels, or None where there are none; an `ImageSet` is prepared by the model.

    Args:
        labels: those that were given beside the images; a batch's own must be the same.
    """
    start = 0
    for x, own in _batches(model, images, batch_size):
        beside = None if labels is None else labels[start : start + len(x)]
        if own is not None and beside is not None and not torch.equal(own, beside.to(own.device)):
            raise InputError(
                f"labels came beside images that have others of their own, in the batch from row {start} on, expected "
                "the same.\nLeave labels out; or give images alone: (x for x, y in loader)."
            )
        start += len(x)
        yield x, own


def _batches(model: nn.Module, images: Any, batch_size: int) -> Iterator[tuple[Tensor, Tensor | None]]:
    if isinstance(images, ImageSet):
        prepare = getattr(model, "prepare", None)
        if prepare is None:
            raise InputError(
                f"{type(model).__name__} has no `prepare`, expected a network of this package for an ImageSet.\n"
                "Preprocess the images yourself and pass the tensor."
            )
        for at in range(0, len(images), batch_size):
            y = None if images.labels is None else torch.from_numpy(images.labels[at : at + batch_size])
            yield prepare(torch.from_numpy(images.images[at : at + batch_size])), y
    elif isinstance(images, Tensor):
        for part in images.split(batch_size):
            yield part, None
    else:
        for item in images:
            yield _pair(item)


def _pair(item: Any) -> tuple[Tensor, Tensor | None]:
    """A batch that a caller's iterable gives, checked: x, and y or None."""
    parts = tuple(item) if isinstance(item, list | tuple) else (item,)
    if len(parts) not in (1, 2):
        raise InputError(
            f"a batch holds {len(parts)} items, expected a tensor x or a pair (x, y).\n"
            "Pick two, for example ((x, y) for x, index, y in loader)."
        )
    x, y = parts if len(parts) == 2 else (*parts, None)
    x = checks.tensor("a batch", x) if isinstance(x, np.ndarray) else x
    if not isinstance(x, Tensor):
        raise InputError(
            f"a batch is a {type(x).__name__}, expected a tensor x or a pair (x, y).\n"
            "Map it first, for example ((b['pixel_values'], b['labels']) for b in loader)."
        )
    _floating(x)
    return x, None if y is None else checks.labels("the second item of a batch, its labels,", y, len(x))
