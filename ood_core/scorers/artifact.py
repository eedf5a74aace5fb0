"""A fitted scorer as one file: safetensors with a JSON header and a checksum over both. Nothing is unpickled."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from ..checks import ArtifactError, InputError

FORMAT = 1  # raised when an older reader would misread a newer file
# What the header of every scorer holds, and what some hold as well, `then` and each of `members` being such a header.
_HELD: dict[str, Any] = {"name": str, "version": int, "parameters": dict, "columns": int, "calibration": dict | None}
_MAY_HOLD: dict[str, Any] = {"marks": list, "fit_scores": dict | None, "members": list, "then": dict}


def write(path: Path, header: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
    """Write beside `path` and rename, so that an interrupted save leaves the old file or none.

    Raises:
        InputError: `path` names no file in a folder that is there, or the disk is full or not writable.
    """
    if not path.name or path.is_dir():
        within = path / "scorer.safetensors"
        raise InputError(f"{path} is a folder, expected a file to save to.\nName one in it, for example {within}.")
    if not path.parent.is_dir():
        raise InputError(f"{path} lies in {path.parent}, which is no folder, expected one.\nMake that folder first.")
    stored = {key: value.detach().cpu().contiguous() for key, value in tensors.items()}
    text = json.dumps({"format": FORMAT, **header}, sort_keys=True, allow_nan=False)
    beside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        save_file(stored, beside, metadata={"scorer": text, "sha256": checksum(text, stored)})
        beside.replace(path)
    except (OSError, SafetensorError) as error:
        size = sum(value.nbytes for value in stored.values()) / 1e6
        raise InputError(
            f"{path} cannot be written ({error}), expected a writable disk with {size:.1f} MB free.\n"
            "Make room or name a file in another folder."
        ) from error
    finally:
        with suppress(OSError):
            beside.unlink()


def read(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Header and tensors of a file that `write` made.

    Raises:
        ArtifactError: no such file, not a scorer's, truncated, edited, of a newer format, or without a field.
    """
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            # Cloned: the file may be replaced or cut while the scorer lives.
            tensors = {key: file.get_tensor(key).clone() for key in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise ArtifactError(
            f"{path} cannot be read ({error}), expected a scorer's safetensors file.\nFit and save it again."
        ) from error
    if "scorer" not in metadata:
        raise ArtifactError(f"{path} holds tensors but no scorer, expected a file of save.\nPass a scorer's file.")
    text = metadata["scorer"]
    try:
        header: dict[str, Any] = json.loads(text)
        found = int(header["format"])
    except (ValueError, TypeError, KeyError) as error:
        raise damaged(path, error) from error
    if found > FORMAT:
        raise ArtifactError(
            f"{path} has format {found}, expected at most {FORMAT}: a newer version wrote it.\nUpdate ood_core."
        )
    if metadata.get("sha256") != checksum(text, tensors):
        raise ArtifactError(
            f"{path} does not match its checksum: it was damaged or edited after save.\nFit and save it again."
        )
    _require_fields(path, header)
    return header, tensors


def _require_fields(path: Path, header: Any) -> None:
    held = header if isinstance(header, dict) else {}
    kinds = {**_HELD, **{key: kind for key, kind in _MAY_HOLD.items() if key in held}}
    # One that is missing is of no kind, not even None.
    wrong = [key for key, kind in kinds.items() if not isinstance(held.get(key, ...), kind)]
    if wrong:
        raise damaged(path, f"{', '.join(wrong)} missing or of another type")
    for part in (*held.get("members", ()), *([held["then"]] if "then" in held else ())):
        _require_fields(path, part)


def damaged(path: str | Path, what: object) -> ArtifactError:
    """The refusal of a header that `write` did not write."""
    return ArtifactError(f"{path} has a damaged header ({what}), expected that of save.\nFit and save it again.")


def checksum(text: str, tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 over a text, and over names, types, shapes and values of tensors on the CPU."""
    digest = hashlib.sha256(text.encode())
    for key in sorted(tensors):
        value = tensors[key]
        digest.update(f"{key}|{value.dtype}|{tuple(value.shape)}|".encode())
        digest.update(value.reshape(-1).view(torch.uint8).numpy().tobytes())  # numpy has no bfloat16
    return digest.hexdigest()
