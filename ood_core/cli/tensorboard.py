"""Runs as TensorBoard shows them: an optional copy of what the store has."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from pathlib import Path

from ..checks import InputError
from ..store import Run


def check() -> None:
    """Refuse before anything is trained.

    Raises:
        InputError: TensorBoard is not installed.
    """
    try:
        import tensorboard  # noqa: F401
    except ImportError as error:
        raise InputError(
            f"--tensorboard needs a package that is not here ({error}), expected TensorBoard.\n"
            'Run: pip install ".[tensorboard]", or leave the option out.'
        ) from error


def write(runs: Iterable[tuple[str, int, Run]], folder: Path) -> None:
    """Loss, accuracy and rate by epoch, and every recorded metric; one folder a run, written anew each time."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # TensorBoard's own, on what it imports
        from torch.utils.tensorboard import SummaryWriter
    for recipe, seed, run in runs:
        place = folder / f"{recipe}-{seed}-{run.key[:8]}"
        for old in place.glob("events.*"):
            old.unlink()
        with SummaryWriter(str(place)) as writer:
            for row in run.history().to_dict("records"):
                for name in ("loss", "accuracy", "lr"):
                    if row[name] == row[name]:  # a loss without classes has no accuracy
                        writer.add_scalar(f"training/{name}", row[name], int(row["epoch"]))
            for row in run.rows().to_dict("records"):
                parts = (row[name] for name in ("metric", "split", "ood_set", "layer", "scorer", "params", "class"))
                tag = "/".join(str(part) for part in parts if part != "")
                writer.add_scalar(tag, row["value"], int(row["epoch"]))
