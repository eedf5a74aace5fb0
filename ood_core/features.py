"""One pass over images: any torch network in, `Outputs` out, and the network left as it was."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence, Sized
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from math import ceil, prod
from numbers import Integral
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import BatchSampler, DataLoader, SequentialSampler
from tqdm import tqdm

from . import checks
from .checks import InputError, choice
from .collect import Files, Key, Memory
from .data import ImageSet
from .outputs import RESERVED, Head, Outputs

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
            `.logits`). Compiled by torch.compile, it runs as it was before; what torch.jit made is refused.
        images: a preprocessed float tensor or array (N, ...), a DataLoader or other iterable that gives x or (x, y)
            with class indices y, or an `ImageSet` for a network of this package, which prepares pixels itself.
        labels: (N,) class indices; those of the DataLoader or ImageSet if left out. Beside a DataLoader, only where
            it gives the images in their order.
        layer: name of the module whose output is the feature; by default the input of the last linear layer to run
            whose output is the logits, or of the last one to run where no linear layer gives them as they are.
        layers: further modules whose outputs to keep in `Outputs.layers`, each once. Modules named as what outputs
            hold in any case (`features`, `unit`, `logits`, `raw_logits`) are refused here; as `layer` they are taken.
        pool: what becomes of an output with more than two axes: `mean` or `max` over space (axes 2 and on of
            (B, D, H, W)) or over tokens (axis 1 of (B, T, D)), or `flatten`. Layers with channels last, (B, H, W, D)
            as in a Swin transformer, are pooled over the wrong axes: pass `flatten`, or use a hook of your own.
        batch_size: images a step, at least 1, where this function makes the batches; by default 512, and on a CPU as
            many as have the pixels of 64 images of 32x32, at least 64: its cache holds no more of the activations.
        device: where to run; by default where the model's parameters are.
        keep_inputs: keep the preprocessed images, for scorers that need gradients.
        into: a new folder for `features.npy`, `logits.npy`, `layers/NAME.npy` and `inputs.npy`; the outputs then map
            these files. The folder appears when the pass is complete. The numbers are the same as in memory. In NAME,
            what no file may be called by is quoted as in a URL: `a%2Fb.npy` is layer `a/b`.
        progress: show a bar.
    Returns:
        `Outputs` on the CPU in float32. `head` is that linear layer if it turns the features into the logits, up to
        the rounding of the type in which the model computed, else None. A contrastive network of this package has
        neither head nor logits: what its head gives is `layers["projection"]`, and the features are what its head
        takes.
    Raises:
        InputError: a model that is no module or whose layers run unseen (torch.jit), no images, images that are no
            floating-point tensors or differ in size where they are kept, batches other than x or (x, y), a first batch
            that the model cannot take (what it raises later comes as it is), an unknown layer or pool, no linear layer
            to start from, logits of another shape or after the features, labels that do not fit the images or their
            order, a batch size below 1, a device that is not there, a folder that is not empty, a full disk.
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
    model, prefix = _uncompiled(model)
    array = isinstance(images, np.ndarray)
    images = _batched(images)
    layers = _once(layers)
    modules = _modules(model, (*layers, *([] if layer is None else [layer])), prefix)
    _unreserved(layers)
    rows = _rows(images)
    if labels is not None:
        labels = _matching(labels, images, rows)
    start = next((p.device for p in model.parameters()), torch.device("cpu"))
    target = _device(device) if device is not None else start
    batch_size = _batch_size(images, target) if batch_size is None else _whole(batch_size)
    wanted = [("features",), *(("layers", name) for name in layers)]
    seen_labels: list[Tensor] = []
    head_module: nn.Module | None = None
    eps = 0.0
    last: Key = ("logits",)
    with Memory(rows) if into is None else Files(into) as kept:
        with _as_it_was(model, start):
            model.to(target).eval()
            with _watch(model, layer, layers, modules, pool) as caught, _eagerly(model):
                steps = tqdm(
                    _batches(model, images, batch_size),
                    total=_steps(images, rows, batch_size),
                    disable=not progress,
                    unit="batch",
                )
                for at, (batch, batch_labels) in enumerate(steps):
                    caught.clear(len(batch))
                    inputs = batch.to(target, non_blocking=True)
                    if keep_inputs:  # before the model runs: its first operation may work in place
                        kept.add(("inputs",), inputs)
                    output = model(inputs) if at else _tried(model, inputs, images, array)
                    given = _given(model, output, [] if at else caught.ran)
                    ran = _gives(caught.ran, head_module, given)
                    if ran is not None and ran.taken is not None:
                        caught.values["features",] = ran.taken
                    for key in wanted:
                        kept.add(key, _pooled(model, layer, key, caught.values, len(given)))
                    if head_module is None and ran is not None:
                        head_module = ran.module
                        last = ("layers", "projection") if _projects(head_module) else ("logits",)
                        eps = _eps(caught.values["features",].pooled, ran.output, given)
                    kept.add(last, given)
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
        head=None if logits is None else _head(head_module, features, logits, eps),
        inputs=whole.get(("inputs",)),
        layers={key[1]: rows for key, rows in whole.items() if key[0] == "layers"},
    )


def _uncompiled(model: Any) -> tuple[nn.Module, str]:
    """The module that torch.compile took, which hooks can watch, and what its own names are preceded by."""
    prefix, dynamo = "", sys.modules.get("torch._dynamo.eval_frame")  # not imported: nothing has been compiled
    while dynamo is not None and isinstance(model, dynamo.OptimizedModule):
        model, prefix = model._orig_mod, f"{prefix}_orig_mod."
    if not isinstance(model, nn.Module):
        got = f"the class {model.__name__}" if isinstance(model, type) else f"a {type(model).__name__}"
        raise InputError(
            f"model is {got}, expected a torch.nn.Module.\n"
            "Pass the network itself; put a function into the forward of a module."
        )
    if isinstance(model, torch.jit.ScriptModule):
        raise InputError(
            f"model is a {type(model).__name__} made by torch.jit, whose layers run unseen, expected a module that "
            "Python runs.\nPass the module that was traced or scripted."
        )
    return model, prefix


def _eagerly(model: nn.Module) -> Any:
    """Compiled parts run as they were before: once compiled, they pass hooks by."""
    dynamo = sys.modules.get("torch._dynamo.eval_frame")
    compiled = dynamo is not None and any(
        isinstance(part, dynamo.OptimizedModule) or getattr(part, "_compiled_call_impl", None)
        for part in model.modules()
    )
    return torch.compiler.set_stance("force_eager") if compiled else nullcontext()


def _batched(images: Any) -> Any:
    """Images as they are, arrays as tensors; refuses what gives no batches, and (x, y), which would be read as two."""
    batches = isinstance(images, ImageSet | Iterable) or hasattr(images, "__getitem__")
    if not batches or isinstance(images, np.generic):  # numpy's numbers have an item and no iterator
        raise InputError(
            f"images are a {type(images).__name__}, expected a tensor, an ImageSet, a DataLoader or other batches.\n"
            "Pass preprocessed images, for example a tensor (N, 3, 32, 32)."
        )
    if isinstance(images, tuple) and len(images) == 2 and isinstance(images[0], Tensor | np.ndarray):
        raise InputError(
            "images are a tuple of two, expected a tensor, an ImageSet, a DataLoader or other batches.\n"
            "Pass labels apart, extract(model, x, labels=y), or batches as a list."
        )
    images = checks.tensor("images", images) if isinstance(images, np.ndarray) else images
    if isinstance(images, Tensor):
        _floating(images)
    return images


def _whole(batch_size: Any) -> int:
    if isinstance(batch_size, bool) or not isinstance(batch_size, Integral) or batch_size < 1:
        raise InputError(
            f"batch_size is {batch_size!r}, expected a whole number of at least 1.\n"
            "Leave it out for a size that fits the device."
        )
    return int(batch_size)


def _device(device: torch.device | str) -> torch.device:
    """The device, tried out: without it, torch fails in its own words once the model is to move."""
    try:
        return torch.empty(0, device=device).device
    except (AssertionError, RuntimeError) as error:
        raise InputError(
            f"device is {str(device)!r}, which torch cannot use ({str(error).splitlines()[0]}), expected one that is "
            "there.\nPass 'cpu', or leave it out to run where the model is."
        ) from error


def _once(layers: Any) -> tuple[str, ...]:
    """The names, each once: a layer taken twice would have twice the rows."""
    if isinstance(layers, str) or not isinstance(layers, Iterable):
        advice = f"Pass layers=[{layers!r}]." if isinstance(layers, str) else "For no further layers leave it out."
        raise InputError(f"layers is {layers!r}, expected a list of names of modules.\n{advice}")
    given = list(layers)
    return tuple(name for at, name in enumerate(given) if name not in given[:at])


def _modules(model: nn.Module, names: Sequence[str], prefix: str) -> dict[str, nn.Module]:
    """The modules of these names, with or without the `prefix` of a compiled model."""
    named = dict(model.named_modules())
    found = {}
    for name in names:
        module = named.get(name.removeprefix(prefix)) if isinstance(name, str) and name else None
        if module is None:
            close = [n for n in named if n and "." not in n]
            raise InputError(
                f"layer {name!r} is not a module of {type(model).__name__}, expected one of: {', '.join(close)}, ...\n"
                "List all names with [name for name, _ in model.named_modules()]."
            )
        if isinstance(module, torch.jit._script.RecursiveScriptModule):  # takes no hooks, where a traced one does
            raise InputError(
                f"layer {name!r} is a {type(module).__name__} made by torch.jit, which cannot be watched, expected a "
                "module that Python runs.\nPut in the module that was scripted, or name another layer."
            )
        found[name] = module
    return found


def _unreserved(layers: Sequence[str]) -> None:
    """Refuse names under which outputs hold something else: a scorer would read that in place of the module."""
    for name in layers:
        if name in RESERVED:
            raise InputError(
                f"layers holds the module {name!r}, expected other names than {', '.join(RESERVED)}: a scorer on "
                f"layer {name!r} would not see that module.\nMake its output the features with extract(model, images, "
                f"layer={name!r}), or keep it by another name with extract(torch.nn.Sequential(model), images, "
                f'layers=["0.{name}"]).'
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
            yield x, None if y is None else checks.labels("the second item of a batch, its labels,", y, len(x))


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


def _tried(model: nn.Module, batch: Tensor, images: Any, array: bool) -> Any:
    """The first pass, where images in another form than the model takes show: its error beside what it was sent."""
    try:
        return model(batch)
    except (InputError, torch.OutOfMemoryError):
        raise
    except (RuntimeError, IndexError, TypeError, ValueError, AssertionError) as error:
        made_for = "of the form that it takes"
        advice = "Preprocess images as those it was trained on; give one image a batch axis: image[None]."
        name, first = next(((n, p) for n, p in model.named_parameters() if p.is_floating_point()), ("", None))
        if first is not None:
            made_for = f"images that fit its parameters (the first, {name}, is {_form(first)})"
            if first.dtype != batch.dtype:
                advice = f"Pass {_converted(images, array, first.dtype)}, or a model in {batch.dtype}."
        said = str(error).strip().partition("\n")[0]
        raise InputError(
            f"{type(model).__name__} failed on its first batch, {_form(batch)} ({type(error).__name__}: {said}), "
            f"expected {made_for}.\n{advice}"
        ) from error


def _converted(images: Any, array: bool, dtype: torch.dtype) -> str:
    """How to give these images in another type, as code where they are one thing."""
    if not isinstance(images, Tensor):
        return f"batches of {dtype}"
    if array and dtype != torch.bfloat16:  # which numpy lacks
        return f'images.astype("{str(dtype).removeprefix("torch.")}")'
    return f"{'torch.from_numpy(images)' if array else 'images'}.to({dtype})"


def _form(x: Tensor) -> str:
    return f"{x.dtype} {tuple(x.shape)} on {x.device}"


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


class _Value(NamedTuple):
    """What a layer took or gave, pooled to (B, D); None where that has no such axes. `shape` is the unpooled one."""

    pooled: Tensor | None
    shape: tuple[int, ...] | str


class _Ran(NamedTuple):
    """A linear layer that ran: what it took where that may be the feature, what it gave where that may be logits.

    `source` is what it took, neither pooled nor copied.
    """

    module: nn.Module
    taken: _Value | None
    output: Tensor | None
    source: object = None


@dataclass
class _Caught:
    """What the hooks keep of one batch."""

    rows: int = 0
    values: dict[Key, _Value] = field(default_factory=dict)
    ran: list[_Ran] = field(default_factory=list)

    def clear(self, rows: int) -> None:
        """Forget the last batch; the next one has so many rows."""
        self.rows = rows
        self.values.clear()
        self.ran.clear()


@contextmanager
def _watch(
    model: nn.Module, layer: str | None, layers: Sequence[str], modules: Mapping[str, nn.Module], pool: str
) -> Iterator[_Caught]:
    """Catch the linear layers that may give the logits, with their inputs, and the named layers' outputs.

    A module with a `formula` stands for the linear layers inside it.
    """
    caught = _Caught()

    def linear_ran(module: nn.Module, inputs: tuple[Any, ...], named: dict[str, Any], output: Any) -> None:
        source = next(iter((*inputs, *named.values())))
        taken = _value(source, pool) if layer is None else None
        logits = output if isinstance(output, Tensor) and output.ndim == 2 and len(output) == caught.rows else None
        if caught.ran and caught.ran[-1].output is None:  # neither the last to run nor the one that gives the logits
            caught.ran.pop()
        caught.ran.append(_Ran(module, taken, logits, None if logits is None else source))

    heads = [module for module in model.modules() if hasattr(module, "formula")]
    inside = {part for head in heads for part in head.modules()}
    linear = [module for module in model.modules() if isinstance(module, nn.Linear) and module not in inside]
    handles = [module.register_forward_hook(linear_ran, with_kwargs=True) for module in (*linear, *heads)]
    for name, module in modules.items():

        def layer_ran(_: nn.Module, __: Any, output: Any, name: str = name) -> None:
            value = _value(output, pool)
            if name == layer:
                caught.values["features",] = value
            if name in layers:
                caught.values["layers", name] = value

        handles.append(module.register_forward_hook(layer_ran))
    try:
        yield caught
    finally:
        for handle in handles:
            handle.remove()


def _value(value: Any, pool: str) -> _Value:
    """Pooled or copied at once: the operation after the layer may write into the same memory."""
    if isinstance(value, list | tuple) and value:
        value = value[0]
    if not isinstance(value, Tensor):
        return _Value(None, type(value).__name__)
    shape = tuple(value.shape)
    if value.ndim < 2:
        return _Value(None, shape)
    if value.ndim == 2 or pool == "flatten":
        return _Value(value.clone(memory_format=torch.contiguous_format).flatten(1), shape)
    axes = 1 if value.ndim == 3 else tuple(range(2, value.ndim))
    return _Value(value.mean(dim=axes) if pool == "mean" else value.amax(dim=axes), shape)


def _gives(ran: list[_Ran], head: nn.Module | None, given: Tensor) -> _Ran | None:
    """The last linear layer to run whose output is the logits, or the last to run.

    The layer that the first batch settled on goes before others: features of all batches must be of one layer.
    """
    runs = [one for one in ran if head is None or one.module is head] or ran
    for one in reversed(runs):
        if _equal(one.output, given):
            return one
    return runs[-1] if runs else None


def _equal(x: object, y: object) -> bool:
    """Whether two results of a model are the same numbers, in whichever type."""
    if not (isinstance(x, Tensor) and isinstance(y, Tensor)) or x.shape != y.shape:
        return False
    return x is y or torch.equal(x.to(y), y)


def _logits_first(model: nn.Module, parts: Sequence[Any], ran: list[_Ran]) -> None:
    """Refuse a tuple such as (features, logits), whose first element would be taken for the logits.

    Its first element is then what the last linear layer takes, or no linear layer's output where another element is
    the last one's.
    """
    first, last = parts[0], ran[-1]
    at = next((i for i, other in enumerate(parts) if i and _equal(last.output, other)), None)
    taken = _equal(last.source, first)
    if not taken and (at is None or any(_equal(one.output, first) for one in ran)):
        return
    is_not = "what its last linear layer takes" if taken else "given by no linear layer"
    is_there = "" if at is None else f", while element {at} is what the last one gives"
    raise InputError(
        f"{type(model).__name__} returned a tuple whose element 0 is {is_not}{is_there}, expected logits (B, C) first."
        "\nReturn the logits first, or wrap the model in a module that returns them alone."
    )


def _projects(head: nn.Module | None) -> bool:
    """Whether the network ends in a head of this package that gives no logits."""
    formula = getattr(head, "formula", None)
    return formula is not None and formula() is None


def _given(model: nn.Module, output: Any, ran: list[_Ran]) -> Tensor:
    """The logits (B, C) in what the model returned; in a tuple, not features, by the linear layers that `ran`."""
    parts = output if isinstance(output, list | tuple) and not hasattr(output, "logits") else ()
    if hasattr(output, "logits"):
        output = output.logits
    elif isinstance(output, list | tuple):
        output = output[0]
    if not isinstance(output, Tensor) or output.ndim != 2:
        shape = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
        raise InputError(f"the model returned {shape}, expected logits (B, C).\nWrap it in a module that returns them.")
    if parts and ran:
        _logits_first(model, parts, ran)
    return output


def _pooled(model: nn.Module, layer: str | None, key: Key, values: dict[Key, _Value], rows: int) -> Tensor:
    """One layer's output (B, D), pooled; with no `layer` named, features are what the last linear layer took."""
    name = layer if key == ("features",) else key[-1]
    value = values.get(key)
    if value is None:
        advice = f"Name {'the' if name is None else 'another'} layer to use: extract(model, images, layer=...)."
        if any(isinstance(part, torch.jit.ScriptModule) for part in model.modules()):
            advice = "What torch.jit made runs its layers unseen: put in the modules that were traced or scripted."
        raise InputError(
            f"{type(model).__name__} ran no {'linear layer' if name is None else f'layer {name!r}'}, "
            f"expected one before its logits.\n{advice}"
        )
    if value.pooled is None or len(value.pooled) != rows:
        raise InputError(f"{key[-1]} gave {value.shape}, expected a tensor ({rows}, D, ...).\nName another layer.")
    return value.pooled


def _eps(*computed: Tensor | None) -> float:
    """The coarsest rounding among these results of the model."""
    return max((torch.finfo(x.dtype).eps for x in computed if x is not None and x.is_floating_point()), default=0.0)


def _head(module: nn.Module | None, features: Tensor, logits: Tensor, eps: float) -> Head | None:
    """The linear layer as a formula, if it explains the logits of the first rows up to the model's rounding `eps`."""
    if module is None:
        return None
    formula = getattr(module, "formula", None)
    if formula is not None:
        head: Head = formula()
    else:
        assert isinstance(module, nn.Linear)
        bias = None if module.bias is None else module.bias.detach().float().cpu().clone()
        head = Head("linear", module.weight.detach().float().cpu().clone(), bias)
    if features.shape[1] != head.weight.shape[1] or logits.shape[1] != head.classes:
        return None
    share = 1e-3 + 2 * eps
    expected = logits[:64].double()  # a caller's autocast leaves float64 alone
    found = head.logits(features[:64].double())
    explained = torch.allclose(found, expected, rtol=share, atol=share * float(expected.abs().max()))
    return head if explained else None
