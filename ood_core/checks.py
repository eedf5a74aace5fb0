"""Shared validation: every refusal says what was got, what was expected and what to do."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from itertools import islice
from numbers import Integral
from typing import Any

import numpy as np
import torch
from torch import Tensor

_BLOCK = 2**20  # numbers that `finite` looks at together
_NAMED = 5  # missing classes that a message names


class InputError(ValueError):
    """An argument that would give a wrong number or none. The base of every refusal in `ood_core`."""


class NotFittedError(InputError):
    """`score` was called before `fit`, or `predict` before `calibrate`."""


class ArtifactError(InputError):
    """A stored file is damaged, edited, truncated or newer than this version can read."""


def choice(name: str, value: Any, allowed: Iterable[Any]) -> Any:
    """Return `value` if it is one of `allowed`; otherwise list what is."""
    options = list(allowed)
    if value not in options:
        near = nearest(value, options)
        meant = f"; did you mean {near!r}?" if near else "."
        raise InputError(
            f"{name} is {value!r}, expected one of: {', '.join(map(str, options))}.\nPick one of these names{meant}"
        )
    return value


def nearest(value: Any, options: Iterable[Any]) -> str:
    """The name that a misspelt one is most like, or ""."""
    text = value.lower() if isinstance(value, str) else ""
    return next(iter(get_close_matches(text, [option for option in options if isinstance(option, str)], n=1)), "")


def device(name: str) -> torch.device:
    """The device of `auto`, `cpu` or `cuda`: a GPU for `auto` where there is one.

    Raises:
        InputError: another name, or `cuda` where torch sees no GPU.
    """
    found = torch.cuda.is_available()
    if choice("device", name, ("auto", "cpu", "cuda")) == "cuda" and not found:
        raise InputError("device is 'cuda', but torch sees no GPU here.\nUse device auto or cpu.")
    return torch.device("cuda" if found and name != "cpu" else "cpu")


def share(name: str, value: Any, below: bool = False) -> float:
    """A fraction above 0 and up to 1, or `below` 1, as a float."""
    try:
        fits = bool(value > 0) and bool(value < 1 if below else value <= 1)
    except (TypeError, ValueError, RuntimeError):  # text, None, several numbers
        fits = False
    if not fits:
        raise InputError(
            f"{name} is {value!r}, expected a fraction above 0 and {'below' if below else 'up to'} 1.\n"
            "For 95 % pass 0.95."
        )
    return float(value)


def whole(name: str, value: Any, least: int, advice: str) -> int:
    """A whole number of at least `least`; `advice` says what to pass instead."""
    if isinstance(value, bool) or not isinstance(value, Integral) or value < least:
        raise InputError(f"{name} is {value!r}, expected a whole number of at least {least}.\n{advice}")
    return int(value)


def said(error: BaseException) -> str:
    """Kind and first line of an error that others raised, as a refusal quotes it."""
    text = str(error).strip().partition("\n")[0]
    return f"{type(error).__name__}: {text}"


def outline(value: Any) -> str:
    """Shape and type of a tensor or an array, as (N, D) float32: what a short repr says of it."""
    return f"{tuple(value.shape)} {str(value.dtype).removeprefix('torch.')}"


def tensor(name: str, value: Any) -> Tensor:
    """Bring numpy arrays, sequences and tensors to one form, on the device they are on."""
    if isinstance(value, Tensor):
        return value.detach()
    try:
        return torch.as_tensor(_native(value))
    except (TypeError, ValueError, RuntimeError, OverflowError) as error:
        raise InputError(
            f"{name} is a {type(value).__name__} that is not numeric ({error}), expected a tensor or an array.\n"
            "Convert it to a numeric array first."
        ) from error


def _native(value: Any) -> np.ndarray[Any, Any]:
    """An array of a kind that torch takes, copied only where it must be."""
    array = np.asarray(value)
    if array.dtype == object:
        array = np.asarray(array.tolist())  # numbers in it get their own type; other things keep theirs
    # torch has no numbers of more than 64 bits and none in another machine's byte order.
    kind = {"g": np.dtype(np.float64), "G": np.dtype(np.complex128)}.get(
        array.dtype.char, array.dtype.newbyteorder("=")
    )
    # A file that is mapped into memory may be larger than that: torch's warning not to write to it stands.
    locked = not array.flags.writeable and not isinstance(value, np.memmap)
    return array.astype(kind, copy=locked or any(step < 0 for step in array.strides))


def finite(name: str, value: Tensor) -> Tensor:
    """Refuse NaN and infinity: ranked scores would place them silently at one end."""
    # In blocks: isfinite makes temporaries as large as what it reads, and features may lie on disk.
    rows = max(1, _BLOCK * len(value) // value.numel()) if value.ndim and value.numel() else 1
    parts = value.split(rows) if value.ndim else (value,)
    # A sum is finite only if all its terms are, and ten times as fast as a look at each; large terms may overflow it.
    if value.is_floating_point() and not all(bool(part.sum().isfinite() or part.isfinite().all()) for part in parts):
        bad = sum(int((~torch.isfinite(part)).sum()) for part in parts)
        raise InputError(
            f"{name} holds {bad} NaN or infinite of {value.numel()} values, expected finite numbers.\n"
            "Look at the model or the preprocessing that made them; dropping them would change the result."
        )
    return value


def matrix(name: str, value: Any, columns: int | None = None, unit: str = "D", like: str = "in fit") -> Tensor:
    """A finite floating-point (N, D) tensor with N >= 1; `columns` fixes D to that of `like`."""
    x = tensor(name, value)
    code = name if name.isidentifier() else "x"  # "layer 'conv1'" is no code to copy
    array = isinstance(value, np.ndarray)
    if x.ndim != 2:
        hint = (
            f"Pool the spatial axes first, for example {code}.mean({'axis' if array else 'dim'}=(2, 3))."
            if x.ndim == 4
            else f"Reshape {name} so that each row is one sample."
        )
        raise InputError(f"{name} has shape {tuple(x.shape)}, expected (N, {unit}).\n{hint}")
    if x.shape[0] == 0 or x.shape[1] == 0:
        raise InputError(
            f"{name} has shape {tuple(x.shape)}, expected at least one row and column.\nPass some samples."
        )
    if not x.is_floating_point():
        to_float = f'{code}.astype("float32")' if array else f"{code}.float()"
        raise InputError(
            f"{name} has dtype {x.dtype}, expected a floating-point type.\nConvert it, for example {to_float}."
        )
    if columns is not None and x.shape[1] != columns:
        raise InputError(
            f"{name} has {x.shape[1]} columns, expected {columns} as {like}.\n"
            + (f"Transpose it: {code}.T." if x.shape[0] == columns else "Use one model and one layer for all of them.")
        )
    return finite(name, x)


def vector(name: str, value: Any) -> Tensor:
    """A finite 1-D tensor with at least one entry."""
    x = tensor(name, value)
    if x.ndim != 1 or x.numel() == 0:
        raise InputError(f"{name} has shape {tuple(x.shape)}, expected (N,) with N >= 1.\nPass one number per sample.")
    if x.is_complex():
        raise InputError(f"{name} has dtype {x.dtype}, expected real numbers.\nPass one real number per sample.")
    return finite(name, x)


def labels(name: str, value: Any, rows: int, classes: int | None = None, every_class: bool = False) -> Tensor:
    """Integer class labels (N,) in 0..C-1, int64; with `every_class`, each class must occur."""
    y = tensor(name, value)
    if y.ndim != 1 or y.shape[0] != rows or rows == 0:
        raise InputError(
            f"{name} has shape {tuple(y.shape)}, expected ({rows or 'N'},), N >= 1.\nPass one label per row."
        )
    if y.is_floating_point() or y.is_complex() or y.dtype == torch.bool:
        raise InputError(f"{name} has dtype {y.dtype}, expected integers.\nPass class indices 0..C-1.")
    y = y.long()
    low, high = int(y.min()), int(y.max())
    if low < 0 or (classes is not None and high >= classes):
        top = "C-1" if classes is None else str(classes - 1)
        raise InputError(f"{name} spans {low}..{high}, expected 0..{top}.\nRe-index the classes from 0.")
    if every_class:
        count = classes if classes is not None else high + 1
        present = set(torch.unique(y).tolist())
        if len(present) < count:
            missing = ", ".join(map(str, islice((c for c in range(count) if c not in present), _NAMED)))
            more = count - len(present) - _NAMED
            raise InputError(
                f"{name} has no sample of class {missing}{f' and {more} more' if more > 0 else ''}, expected all "
                f"{count} classes.\nFit on data that holds every class, or re-index the classes from 0 without gaps."
            )
    return y
