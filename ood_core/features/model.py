"""A model for the time of one pass: its layers in sight, in eval mode without gradients, and afterwards as it was."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..checks import InputError, said


def uncompiled(model: Any) -> tuple[nn.Module, str]:
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


def place(model: nn.Module) -> torch.device:
    """Where the model takes images: the device of its first parameter or buffer that is not meta, else the CPU."""
    return next((tensor.device for tensor in _tensors(model) if not tensor.is_meta), torch.device("cpu"))


def spread(model: nn.Module) -> str:
    """The devices of a model that lies on several or on meta, and so cannot be moved there and back, else ""."""
    devices = list(dict.fromkeys(str(tensor.device) for tensor in _tensors(model)))
    return " and ".join(devices) if len(devices) > 1 or "meta" in devices else ""


def movable(model: nn.Module, device: torch.device | str) -> torch.device:
    """The device, for a model that lies on one and can be moved there and back.

    Raises:
        InputError: the device is not there, or the model's tensors lie on several or on meta.
    """
    target = _usable(device)
    if over := spread(model):
        raise InputError(
            f"device is {str(device)!r}, and the tensors of {type(model).__name__} lie on {over}, "
            "expected all on one device that holds them.\nLeave device out to run the model where it lies; or load it "
            "whole and bring it to one device yourself."
        )
    return target


def _tensors(model: nn.Module) -> Iterator[Tensor]:
    yield from model.parameters()
    yield from model.buffers()


def _usable(device: torch.device | str) -> torch.device:
    """The device, tried out: without it, torch fails in its own words once the model is to move."""
    try:
        target = torch.empty(0, device=device).device
    except (AssertionError, RuntimeError) as error:
        raise InputError(
            f"device is {str(device)!r}, which torch cannot use ({str(error).splitlines()[0]}), expected one that is "
            "there.\nPass 'cpu', or leave it out to run where the model is."
        ) from error
    if target.type == "meta":  # the model would come back without its weights
        raise InputError(
            "device is 'meta', which holds no numbers, expected one that computes.\n"
            "Pass 'cpu', or leave it out to run where the model is."
        )
    return target


@contextmanager
def evaluated(model: nn.Module, device: torch.device) -> Iterator[None]:
    """Within, the model is in eval mode and runs without gradients, on the device if it lies on another one.

    Afterwards it is as it was. A model over several devices is at home where it takes images, so it is not moved.
    """
    start, modes = place(model), {module: module.training for module in model.modules()}
    try:
        with torch.no_grad(), _eagerly(model):
            if device != start:
                model.to(device)
            _to_eval(model)
            yield
    finally:
        if device != start:
            model.to(start)
        for module, mode in modes.items():
            module.training = mode


def _to_eval(model: nn.Module) -> None:
    try:
        model.eval()
    except NotImplementedError as error:  # of torch.export's modules
        raise InputError(
            f"model is or holds a module made by torch.export, which refuses eval() ({said(error)}) and whose layers "
            "run unseen, expected a module that Python runs.\nPass the module that was exported."
        ) from error


def _eagerly(model: nn.Module) -> Any:
    """Compiled parts run as they were before: once compiled, they pass hooks by."""
    dynamo = sys.modules.get("torch._dynamo.eval_frame")
    compiled = dynamo is not None and any(
        isinstance(part, dynamo.OptimizedModule) or getattr(part, "_compiled_call_impl", None)
        for part in model.modules()
    )
    return torch.compiler.set_stance("force_eager") if compiled else nullcontext()


FAILURES = (RuntimeError, IndexError, TypeError, ValueError, AssertionError)  # of what a model does not take


def first_output(model: nn.Module, batch: Tensor, kind: type) -> Any:
    """What the model makes of its first batch, where images in another form than it takes show.

    Args:
        kind: type of the caller's images, of which this is the first batch.
    Raises:
        InputError: it failed; the message has its error and what it was sent.
    """
    try:
        return model(batch)
    except (InputError, torch.OutOfMemoryError):
        raise
    except FAILURES as error:
        made_for = "of the form that it takes"
        advice = "Preprocess images as those it was trained on; give one image a batch axis: image[None]."
        name, first = next(((n, p) for n, p in model.named_parameters() if p.is_floating_point()), ("", None))
        if first is not None:
            made_for = f"images that fit its parameters (the first, {name}, is {_form(first)})"
            if first.dtype != batch.dtype:
                advice = f"Pass {_converted(kind, first.dtype)}, or a model in {batch.dtype}."
        if meta := next((n for n, p in model.named_parameters() if p.is_meta), None):
            advice = f"{meta} is on meta, without numbers: load the weights, unless they load as it runs.\n{advice}"
        raise InputError(
            f"{type(model).__name__} failed on its first batch, {_form(batch)} ({said(error)}), "
            f"expected {made_for}.\n{advice}"
        ) from error


def _converted(kind: type, dtype: torch.dtype) -> str:
    """How to give images of another dtype, as code where they are one array or tensor."""
    array = issubclass(kind, np.ndarray)
    if not array and not issubclass(kind, Tensor):
        return f"batches of {dtype}"
    if array and dtype != torch.bfloat16:  # which numpy lacks
        return f'images.astype("{str(dtype).removeprefix("torch.")}")'
    return f"{'torch.from_numpy(images)' if array else 'images'}.to({dtype})"


def _form(x: Tensor) -> str:
    return f"{x.dtype} {tuple(x.shape)} on {x.device}"
