"""Where things live: the repository, the run store, real image sets."""

from __future__ import annotations

import os
from pathlib import Path

from .checks import InputError


def repository() -> Path:
    """The checkout that holds `book/claims`: above the working folder, else the one this package was installed from.

    Raises:
        InputError: neither is a checkout; claims, reported numbers and pages live there and not in the wheel.
    """
    here = Path.cwd().resolve()
    for folder in (here, *here.parents, Path(__file__).resolve().parent.parent):
        if (folder / "book" / "claims").is_dir() and (folder / "_toc.yml").is_file():
            return folder
    raise InputError(
        f"no checkout was found above {here}, expected a folder with `book/claims` and `_toc.yml`.\n"
        "Run this from within a clone of the repository."
    )


def runs() -> Path:
    """The run store: `$OOD_RUNS`, or `runs/` at the repository root."""
    named = os.environ.get("OOD_RUNS")
    return Path(named).expanduser().resolve() if named else repository() / "runs"


def data() -> Path | None:
    """The folder of real image sets named by `$OOD_DATA`, or None."""
    named = os.environ.get("OOD_DATA")
    return Path(named).expanduser().resolve() if named else None
