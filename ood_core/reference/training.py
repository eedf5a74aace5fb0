"""The part of the page on speed that is about training, made of the files that `benchmarks/training.py` writes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

import pandas as pd

from .. import tables
from . import speed

FILES = {"cpu": "training-cpu-*.json", "cuda": "training-cuda-*.json"}
COMMAND = "python benchmarks/training.py"
NOTHING = tables.Html("", pd.DataFrame())
MEASURED = ("ours", "bare")  # contenders whose work is counted as the ceilings need it


def trainings(device: str = "cpu", folder: Path | None = None) -> dict[str, speed.Found]:
    """The recorded measurements on CPUs or on GPUs, by their names."""
    return speed.speeds(folder, FILES[device])


def training_targets(device: str = "cpu", folder: Path | None = None) -> tables.Html:
    """Each target beside what was measured; where nothing was, how to, which the page's other tables leave to this."""
    found = trainings(device, folder)
    if not found:
        command = COMMAND + (" --device cuda" if device == "cuda" else "")
        return speed.not_measured(command, f"Training on {device}", f"training-{device}")
    return speed.targets(found, f"training-ratios-{device}")


def training_provenance(device: str = "cpu", folder: Path | None = None) -> tables.Html:
    """Where, when and with which versions it was measured."""
    found = trainings(device, folder)
    return speed.provenance(found, f"training-{device}") if found else NOTHING


def training_table(device: str = "cpu", folder: Path | None = None) -> tables.Html:
    """Images a second of each contender, and the shares of the machine's ceilings that ours comes to, medians.

    A work's floating point operations against the matrix product in its precision, or in float32 where that is faster,
    and its bytes against a copy.
    """
    found = trainings(device, folder)
    if not found:
        return NOTHING
    records = [
        record for each in found for record in _rates(found[each], {"processor": each} if len(found) > 1 else {})
    ]
    return tables.facts_table(
        pd.DataFrame(records), "Images a second of each contender, medians over rounds", f"training-{device}"
    )


def _rates(found: speed.Found, named: dict[str, str]) -> Iterator[dict[str, Any]]:
    for row in found["rows"]:
        cost = found["costs"][row["work"]]
        speed_ = cost["images"] / median(row["wall"])
        counted = row["contender"] in MEASURED
        # bfloat16 goes by float32 kernels where these are quicker
        fastest = max(median(found["ceilings"][f"matmul {kind}"]) for kind in ("float32", cost["precision"]))
        product = speed_ * cost["flop"] / fastest
        copy = speed_ * cost["bytes"] / median(found["ceilings"]["copy"])
        yield {
            "work": row["work"],
            "contender": row["contender"],
            **named,
            "threads": row["threads"],
            "images a second": speed_,
            "processor s": float(median(row["cpu"])),
            "compile s": f"{row['compile']:.1f}" if row.get("compile") else "",
            "share of the product": f"{product:.0%}" if counted and cost["flop"] else "",
            "share of the copy": f"{copy:.0%}" if counted else "",
            "rounds": len(row["wall"]),
        }


def training_ceilings(device: str = "cpu", folder: Path | None = None) -> tables.Html:
    """What the machine did at best in the same run: products in operations, a copy in bytes read and written."""
    found = trainings(device, folder)
    if not found:
        return NOTHING
    frame = pd.DataFrame(
        {
            "ceiling": work,
            **({"processor": each} if len(found) > 1 else {}),
            "G a second": median(rates) / 1e9,
            "of": "bytes" if work == "copy" else "floating point operations",
        }
        for each, measured in found.items()
        for work, rates in measured["ceilings"].items()
    )
    return tables.facts_table(frame, "Ceilings of the machine, medians over rounds", f"ceilings-{device}")
