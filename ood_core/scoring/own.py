"""A user's own model, made by a function in a Python file of theirs. That file is run."""

from __future__ import annotations

import importlib.util
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from torch import nn

from .._torchvision import torchvision
from ..checks import InputError
from ..features.model import spread

MARK = ".py:"
EXPECTED = "expected a torch module, or a pair of one and a transform of Pillow's images"


def parts(model: str) -> tuple[Path, str]:
    """The file and the name of the function in it; "" where none is named."""
    place, name = (model, "") if model.endswith(MARK[:-1]) else model.rsplit(":", maxsplit=1)
    return Path(place).expanduser(), name


def named(model: str) -> bool:
    """Whether this names a Python file."""
    return MARK in model or model.endswith(MARK[:-1])


def made(model: str) -> tuple[nn.Module, Callable[[Any], Any] | None]:
    """The network, and the transform if there is one, that `PATH/FILE.py:FUNCTION` returns.

    The function is called without arguments. It returns a torch module, with its weights, that maps a batch of images
    to logits (B, C), classes in the order of the ID folder's sorted sub-folders; or a pair of that and a transform,
    which maps one RGB image of Pillow to a float tensor (C, H, W), as `torchvision.transforms` do. Where the name is
    that of a module itself, this is taken as it is. The file can import what lies beside it.

    Raises:
        InputError: no such file or function, none named, either fails, or it returns something else or a module that
            lies on several devices or on meta.
    """
    path, name = parts(model)
    if not name:
        raise InputError(
            f"`model` is {model}, expected a function of that file as well: it makes the model.\n"
            f"Name a function: {path}:FUNCTION"
        )
    if not path.is_file():
        raise InputError(
            f"{path} is not a file, expected a Python file for `model` as FILE.py:FUNCTION.\nCheck the path."
        )
    spec = importlib.util.spec_from_file_location(f"_own_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    with suppress(Exception):  # not installed, or broken: the file may do without, and says so itself if not
        torchvision()  # imported through its door, it also opens where the file's own import would fail
    module = importlib.util.module_from_spec(spec)
    sys.modules[module.__name__] = module  # dataclasses look there for the types of their fields
    sys.path.insert(0, str(path.parent.absolute()))
    try:
        spec.loader.exec_module(module)
        function = getattr(module, name, None)
        found = function() if callable(function) and not isinstance(function, nn.Module) else function
    except Exception as error:
        lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == spec.origin]
        raise InputError(
            f"{path} failed{f' in line {lines[-1]}' if lines else ''} ({type(error).__name__}: {error}), {EXPECTED}.\n"
            f"Try it: it must run by itself, and {name}() without arguments."
        ) from error
    finally:
        sys.path.remove(str(path.parent.absolute()))
    if not callable(function):
        raise InputError(f"{path} has no function {name!r}, expected one that returns the model.\nCheck its name.")
    network, transform = found if isinstance(found, tuple) and len(found) == 2 else (found, None)
    if not isinstance(network, nn.Module) or not (transform is None or callable(transform)):
        given = ", ".join(type(part).__name__ for part in (found if isinstance(found, tuple) else (found,)))
        raise InputError(f"{name} of {path} returned {given}, {EXPECTED}.\nReturn model, or model, transform.")
    if over := spread(network):
        raise InputError(
            f"{name} of {path} returned a module that lies on {over}, expected one device that holds it.\n"
            "Load it whole on one; one over several runs in Python, by extract(model, images)."
        )
    return network, transform
