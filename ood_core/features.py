"""One pass over images: any torch network in, `Outputs` out, and the network left as it was."""

from __future__ import annotations

from collections.abc import Iterator, Sequence, Sized
from contextlib import contextmanager
from math import ceil, prod
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, RandomSampler
from tqdm import tqdm

from . import checks
from .checks import InputError, choice
from .collect import Files, Key, Memory
from .data import ImageSet
from .outputs import Head, Outputs

POOLS = ("mean", "max", "flatten")


def extract(
    model: nn.Module,
    images: Any,
    labels: Any = None,
    *,
    layer: str | None = None,
    layers: Sequence[str] = (),
    pool: str = "mean",
    batch_size: int | None = None,
    device: torch.device | str | None = None,
    keep_inputs: bool = False,
    into: str | Path | None = None,
    progress: bool = False,
) -> Outputs:
    """Features, logits and head of a network, for every image in order, in one pass.

    The model runs in eval mode without gradients; its mode, hooks and device are as before when this returns. Beside
    the results, memory holds one batch; with `into`, the results stay on disk as well.

    Args:
        model: any module that maps a batch to logits (a tensor, a tuple that begins with it, or an object with
            `.logits`).
        images: a preprocessed float tensor (N, ...), a DataLoader or other iterable that gives x or (x, y), or an
            `ImageSet` for a network of this package, which prepares pixels itself.
        labels: (N,) class indices; those of the DataLoader or ImageSet if left out.
        layer: name of the module whose output is the feature; by default the input of the last linear layer to run.
        layers: further modules whose outputs to keep in `Outputs.layers`.
        pool: what becomes of an output with more than two axes: `mean` or `max` over space (axes 2 and on of
            (B, D, H, W)) or over tokens (axis 1 of (B, T, D)), or `flatten`.
        batch_size: images a step, where this function makes the batches; by default 512, and on a CPU as many as have
            the pixels of 64 images of 32x32, at least 64: its cache holds no more of the activations.
        device: where to run; by default where the model's parameters are.
        keep_inputs: keep the preprocessed images, for scorers that need gradients.
        into: a new folder for `features.npy`, `logits.npy`, `layers/NAME.npy` and `inputs.npy`; the outputs then map
            these files. The folder appears when the pass is complete. The numbers are the same as in memory.
        progress: show a bar.
    Returns:
        `Outputs` on the CPU in float32. `head` is the last linear layer if it turns the features into the logits,
        else None. A contrastive network of this package has neither head nor logits: what its head gives is
        `layers["projection"]`, and the features are what its head takes.
    Raises:
        InputError: no images, an unknown layer or pool, no linear layer to start from, logits of another shape,
            labels that do not fit the images or their order, a folder that is not empty, a full disk.
    Example:
        >>> import torch
        >>> from ood_core import extract
        >>> network = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 3))
        >>> outputs = extract(network, torch.randn(100, 4), labels=torch.arange(100) % 3, layers=["0"])
        >>> outputs.features.shape, outputs.logits.shape, outputs.head.kind
        (torch.Size([100, 8]), torch.Size([100, 3]), 'linear')
        >>> torch.equal(outputs.features, outputs.layer("0").relu())
        True
    """
    choice("pool", pool, POOLS)
    _known(model, (*layers, *([layer] if layer else [])))
    rows = _rows(images)
    if labels is not None:
        labels = _matching(labels, images, rows)
    start = next((p.device for p in model.parameters()), torch.device("cpu"))
    target = torch.device(device) if device is not None else start
    batch_size = batch_size or _batch_size(images, target)
    wanted = [("features",), *(("layers", name) for name in layers)]
    seen_labels: list[Tensor] = []
    head_module: nn.Module | None = None
    last: Key = ("logits",)
    with Memory(rows) if into is None else Files(into) as kept:
        with _as_it_was(model, start):
            model.to(target).eval()
            with _watch(model, layer, layers) as caught:
                steps = tqdm(
                    _batches(model, images, batch_size),
                    total=_steps(images, rows, batch_size),
                    disable=not progress,
                    unit="batch",
                )
                for batch, batch_labels in steps:
                    caught.clear()
                    inputs = batch.to(target, non_blocking=True)
                    given = _given(model(inputs))
                    if head_module is None:
                        head_module = caught.get(("head",))
                        last = ("layers", "projection") if _projects(head_module) else ("logits",)
                    for key in wanted:
                        kept.add(key, _pooled(model, key, caught, pool, len(given)))
                    kept.add(last, given)
                    if keep_inputs:
                        kept.add(("inputs",), inputs)
                    if batch_labels is not None:
                        seen_labels.append(batch_labels)
        whole = kept.finish()
    if not whole:
        raise InputError("images hold no batch, expected at least one image.\nPass some images.")
    if labels is None and seen_labels:
        labels = torch.cat(seen_labels)
    features, logits = whole["features",], whole.get(("logits",))
    return Outputs(
        features=features,
        logits=logits,
        labels=labels,
        head=None if logits is None else _head(head_module, features, logits),
        inputs=whole.get(("inputs",)),
        layers={key[1]: rows for key, rows in whole.items() if key[0] == "layers"},
    )


def _known(model: nn.Module, names: Sequence[str]) -> None:
    named = dict(model.named_modules())
    for name in names:
        if name not in named:
            close = [n for n in named if n and "." not in n]
            raise InputError(
                f"layer {name!r} is not a module of {type(model).__name__}, expected one of: {', '.join(close)}, ...\n"
                "List all names with [name for name, _ in model.named_modules()]."
            )


def _rows(images: Any) -> int | None:
    """How many rows will come, where that is known."""
    if isinstance(images, Tensor | ImageSet):
        return len(images)
    if isinstance(images, DataLoader) and images.batch_size is not None and isinstance(images.sampler, Sized):
        count = len(images.sampler)
        return count - count % images.batch_size if images.drop_last else count
    return None


def _batch_size(images: Any, device: torch.device) -> int:
    shape = images.images.shape[1:3] if isinstance(images, ImageSet) else getattr(images, "shape", ())[2:]
    pixels = prod(shape) if len(shape) == 2 else 32 * 32
    return 512 if device.type != "cpu" else max(64, 64 * 32 * 32 // max(1, pixels))


def _steps(images: Any, rows: int | None, batch_size: int) -> int | None:
    if isinstance(images, Tensor | ImageSet):
        return ceil(len(images) / batch_size)
    return ceil(rows / images.batch_size) if rows is not None else None


def _matching(labels: Any, images: Any, rows: int | None) -> Tensor:
    """Labels checked before the pass, which can take hours."""
    if isinstance(images, DataLoader) and isinstance(images.sampler, RandomSampler):
        raise InputError(
            "labels came beside a DataLoader that shuffles, expected an order that both share.\n"
            "Pass shuffle=False, or let the loader give (x, y)."
        )
    y = checks.tensor("labels", labels)
    return checks.labels("labels", y, len(y) if rows is None and y.ndim else rows or 0)


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
        if not images.is_floating_point():
            raise InputError(
                f"images have dtype {images.dtype}, expected preprocessed floating-point images.\n"
                "Apply the preprocessing that the model was trained with."
            )
        for part in images.split(batch_size):
            yield part, None
    else:
        for item in images:
            x, y, *_ = (*item, None) if isinstance(item, list | tuple) else (item, None)
            if not isinstance(x, Tensor):
                raise InputError(
                    f"a batch is a {type(x).__name__}, expected a tensor x or a pair (x, y).\n"
                    "Map it first, for example ((b['pixel_values'], b['labels']) for b in loader)."
                )
            yield x, None if y is None else torch.as_tensor(y)


@contextmanager
def _as_it_was(model: nn.Module, device: torch.device) -> Iterator[None]:
    modes = {module: module.training for module in model.modules()}
    try:
        with torch.no_grad():
            yield
    finally:
        model.to(device)
        for module, mode in modes.items():
            module.training = mode


@contextmanager
def _watch(model: nn.Module, layer: str | None, layers: Sequence[str]) -> Iterator[dict[Key, Any]]:
    """Catch the input of the last linear layer to run (and that layer), or the named layers' outputs.

    A module with a `formula` stands for the linear layers inside it.
    """
    caught: dict[Key, Any] = {}

    def linear_ran(module: nn.Module, inputs: tuple[Any, ...]) -> None:
        caught["head",] = module
        if layer is None:
            caught["features",] = inputs[0]

    heads = [module for module in model.modules() if hasattr(module, "formula")]
    inside = {part for head in heads for part in head.modules()}
    linear = [module for module in model.modules() if isinstance(module, nn.Linear) and module not in inside]
    handles = [module.register_forward_pre_hook(linear_ran) for module in (*linear, *heads)]
    for name in {*layers, *([layer] if layer else [])}:

        def layer_ran(_: nn.Module, __: Any, output: Any, name: str = name) -> None:
            if name == layer:
                caught["features",] = output
            if name in layers:
                caught["layers", name] = output

        handles.append(model.get_submodule(name).register_forward_hook(layer_ran))
    try:
        yield caught
    finally:
        for handle in handles:
            handle.remove()


def _projects(head: nn.Module | None) -> bool:
    """Whether the network ends in a head of this package that gives no logits."""
    formula = getattr(head, "formula", None)
    return formula is not None and formula() is None


def _given(output: Any) -> Tensor:
    if hasattr(output, "logits"):
        output = output.logits
    elif isinstance(output, list | tuple):
        output = output[0]
    if not isinstance(output, Tensor) or output.ndim != 2:
        shape = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
        raise InputError(f"the model returned {shape}, expected logits (B, C).\nWrap it in a module that returns them.")
    return output


def _pooled(model: nn.Module, key: Key, caught: dict[Key, Any], pool: str, rows: int) -> Tensor:
    """One layer's output (B, D), pooled."""
    value = caught.get(key)
    if value is None:
        raise InputError(
            f"{type(model).__name__} ran no {'linear layer' if key == ('features',) else f'layer {key[-1]!r}'}, "
            "expected one before its logits.\nName the layer to use: extract(model, images, layer=...)."
        )
    if isinstance(value, list | tuple):
        value = value[0]
    if not isinstance(value, Tensor) or value.ndim < 2 or len(value) != rows:
        shape = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
        raise InputError(f"{key[-1]} gave {shape}, expected a tensor ({rows}, D, ...).\nName another layer.")
    if value.ndim == 2:
        return value
    if pool == "flatten":
        return value.flatten(1)
    axes = 1 if value.ndim == 3 else tuple(range(2, value.ndim))
    return value.mean(dim=axes) if pool == "mean" else value.amax(dim=axes)


def _head(module: nn.Module | None, features: Tensor, logits: Tensor) -> Head | None:
    """The last linear layer as a formula, if it explains the logits of the first rows."""
    if module is None:
        return None
    formula = getattr(module, "formula", None)
    if formula is not None:
        head: Head = formula()
    else:
        assert isinstance(module, nn.Linear)
        bias = None if module.bias is None else module.bias.detach().float().cpu().clone()
        head = Head("linear", module.weight.detach().float().cpu().clone(), bias)
    some = slice(None, 64)
    if features.shape[1] != head.weight.shape[1] or logits.shape[1] != head.classes:
        return None
    explained = torch.allclose(
        head.logits(features[some]), logits[some], rtol=1e-3, atol=1e-3 * float(logits[some].abs().max())
    )
    return head if explained else None
