"""One pass over images: any torch network in, `Outputs` out, and the network left as it was."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from tqdm import tqdm

from ..checks import InputError, choice
from ..outputs import Outputs
from .batches import checked_images, checked_size, default_size, in_batches, matching_labels, row_count, step_count
from .head import as_head, explaining
from .hooks import POOLS, watch
from .layers import each_once, layer_modules
from .model import evaluated, movable, place, uncompiled
from .reader import Reader
from .storage import Files, Memory

__all__ = ["extract"]


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

    The model runs in eval mode without gradients; its mode, hooks and devices are as before when this returns. Up to
    four of the first images run twice, to see that a row depends on its image alone. Beside the results, memory holds
    one batch; with `into`, the results stay on disk as well.

    Args:
        model: any module that maps a batch to logits (a tensor, a tuple that begins with it, or an object with
            `.logits`). Compiled by torch.compile, it runs as it was before; what torch.jit made is refused.
        images: a preprocessed float tensor or array (N, ...), a DataLoader or other iterable that gives x or (x, y)
            with class indices y, or an `ImageSet` for a network of this package, which prepares pixels itself.
        labels: (N,) class indices; those of the DataLoader or ImageSet if left out, and no others where it has some.
            Beside a DataLoader, only where it gives the images in their order.
        layer: name of the module whose output is the feature; by default the input of the last linear layer to run
            whose output is the logits; where none gives them as they are, of the last whose output they are but for a
            factor or a softmax, or else of the last with as many columns (of one of two heads that are summed). With
            a layer named, the model need not have logits: an encoder's outputs hold none.
        layers: further modules whose outputs to keep in `Outputs.layers`, each once. Modules named as what outputs
            hold in any case (`features`, `unit`, `logits`, `raw_logits`) are refused here; as `layer` they are taken.
        pool: what becomes of an output with more than two axes: `mean` or `max` over space (axes 2 and on of
            (B, D, H, W)), over positions (axis 2 of (B, D, L), where the last part of the module that tells is a
            convolution, batch norm or pooling in 1-D) or over tokens (axis 1 of (B, T, D)), or `flatten`. Layers with
            channels last, (B, H, W, D) as in a Swin transformer, are pooled over the wrong axes: pass `flatten`, or
            use a hook of your own.
        batch_size: images a step, at least 1, where this function makes the batches; by default 512, and on a CPU as
            many as have the pixels of 64 images of 32x32, at least 64: its cache holds no more of the activations.
        device: where to run, for a model that lies on one device; by default the model runs where it is, over several
            devices or with weights that are loaded as it runs, and images go to the device of its first parameter or
            buffer that is not meta.
        keep_inputs: keep the preprocessed images, for scorers that need gradients.
        into: a new folder for `features.npy`, `logits.npy`, `layers/NAME.npy` and `inputs.npy`; the outputs then map
            these files. The folder appears when the pass is complete. The numbers are the same as in memory. In NAME,
            what no file may be called by is quoted as in a URL: `a%2Fb.npy` is layer `a/b`. Labels and head are not
            among them. To come back later: Outputs(np.load("kept/features.npy", mmap_mode="c"), logits=np.load(
            "kept/logits.npy"), labels=y, head=model.fc).
        progress: show a bar.
    Returns:
        `Outputs` on the CPU in float32. `head` is that linear layer if it turns the features into the logits, up to
        the rounding of the type in which the model computed, else None, as where its weights are there only while it
        runs. A contrastive network of this package has neither head nor logits: what its head gives is
        `layers["projection"]`, and the features are what its head takes.
    Raises:
        InputError: a model that is no module or whose layers run unseen (torch.jit), no images, images that are no
            floating-point tensors or differ in size where they are kept, batches other than x or (x, y), a first batch
            that the model cannot take (what it raises later comes as it is), an unknown layer or pool, a model that is
            random or gives an image other rows in another batch, no linear layer with as many columns as the logits,
            logits of another shape or after the features, labels that do not fit the images or their order, a batch
            size below 1, a device that is not there, one for a model that lies on several or on meta, a model whose
            weights are not loaded, a folder that is not empty, a full disk.
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
    model, prefix = uncompiled(model)
    kind = type(images)
    images = checked_images(images)
    layers = each_once(layers)
    modules = layer_modules(model, layer, layers, prefix)
    rows = row_count(images)
    if labels is not None:
        labels = matching_labels(labels, images, rows)
    target = movable(model, device) if device is not None else place(model)
    batch_size = default_size(images, target) if batch_size is None else checked_size(batch_size)
    seen_labels: list[Tensor] = []
    with Memory(rows) if into is None else Files(into) as kept:
        with evaluated(model, target), watch(model, layer, layers, modules, pool) as caught:
            steps = tqdm(
                in_batches(model, images, batch_size, labels),
                total=step_count(images, rows, batch_size),
                disable=not progress,
                unit="batch",
            )
            reader = Reader(model, layer, layers, caught, kind)
            for batch, batch_labels in steps:
                inputs = batch.to(target, non_blocking=True)
                if keep_inputs:  # before the model runs: its first operation may work in place
                    kept.add(("inputs",), inputs)
                for key, part in reader.read(inputs).items():
                    kept.add(key, part)
                if batch_labels is not None:
                    seen_labels.append(batch_labels)
            head = as_head(reader.head)
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
        head=None if logits is None else explaining(head, features, logits, reader.eps),
        inputs=whole.get(("inputs",)),
        layers={key[1]: rows for key, rows in whole.items() if key[0] == "layers"},
    )
