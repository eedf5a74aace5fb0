"""What a run's record says of how it came about: recipe, versions, hardware, seconds, commit."""

from __future__ import annotations

import os
import platform
import subprocess
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import lru_cache
from importlib import metadata
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from . import parallel, paths, precision, recipes
from .checks import InputError
from .recipes import Recipe
from .train import Trained


def training(key: str, recipe: Recipe, seed: int, digests: dict[str, str], device: torch.device) -> dict[str, Any]:
    """What `run.json` says beside the checksums of its files and what training took."""
    return {
        "key": key,
        "recipe": recipe.model_dump(mode="json"),
        "training": recipe.training(),
        "seed": seed,
        "digests": digests,
        "versions": {name: _version(name) for name in ("torch", "numpy", "scikit-learn")}
        | {"ood-core": _version("ood-core"), "python": platform.python_version()},
        "train_version": recipes.TRAIN_VERSION,
        "hardware": _hardware(device) | _products(recipe, device),
        "commit": _commit(),
    }


def spent(trained: Trained, hardware: dict[str, Any]) -> dict[str, Any]:
    """When training ended and what it took; and that it was compiled, where some of it was."""
    seconds = {"train": trained.seconds, "train_cpu": trained.cpu_seconds}
    if trained.compile_seconds is not None:
        seconds, hardware = seconds | {"compile": trained.compile_seconds}, hardware | {"compiled": True}
    return {"created": _now(), "seconds": seconds, "hardware": hardware}


def measuring(frame: pd.DataFrame, started: float, device: torch.device, late: Sequence[str]) -> dict[str, Any]:
    """What `run.json` says of one pass of measuring; a run that several pages share has several.

    Args:
        late: sets of which there were rows before this pass, and no digest.
    """
    return {
        **({"digests": list(late)} if late else {}),
        "at": _now(),
        "commit": _commit(),
        "hardware": _hardware(device),
        "numbers": len(frame),
        "seconds": time.perf_counter() - started,
        "torch": _version("torch"),
    }


def _hardware(device: torch.device) -> dict[str, Any]:
    on_gpu = device.type == "cuda"
    name = torch.cuda.get_device_name(device) if on_gpu else _processor()
    several: dict[str, Any] = {"processes": parallel.size()} if parallel.size() > 1 else {}
    if on_gpu:
        several["tf32"] = torch.backends.cudnn.allow_tf32  # in convolutions of float32
    return {
        "device": device.type,
        "name": name,
        "threads": torch.get_num_threads(),
        "system": platform.system(),
        **several,
    }


def _products(recipe: Recipe, device: torch.device) -> dict[str, Any]:
    """How a processor multiplied bfloat16 in training, where it did."""
    if recipe.precision != "bfloat16" or device.type != "cpu":
        return {}
    return {"bfloat16": "native" if precision.fast_bfloat16() else "float32 kernels"}


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


@lru_cache
def _commit() -> str:
    """The checkout's commit, with `+` where it has uncommitted changes; outside git `$OOD_COMMIT`, or "unknown".

    Taken once, when this process first asks: what it has imported is of then.
    """
    try:
        command = ["git", "describe", "--always", "--abbrev=12", "--dirty=+", "--exclude=*"]
        done = subprocess.run(command, cwd=paths.repository(), capture_output=True, text=True, check=True)  # noqa: S603
        return done.stdout.strip()
    except (OSError, subprocess.CalledProcessError, InputError):
        return os.environ.get("OOD_COMMIT", "unknown")
