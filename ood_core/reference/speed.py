"""The page on speed, made of the file that `benchmarks/scorers.py` writes."""

from __future__ import annotations

import json
from pathlib import Path
from statistics import median
from typing import Any

import pandas as pd

from .. import paths, tables

WHERE = Path("book/reference/speed.json")
COMMAND = "python benchmarks/scorers.py"
MEMORY = "memory"  # what a target of memory stands under, in the place of a contender


def speed(path: Path | None = None) -> dict[str, Any] | None:
    """The recorded measurement, or None where there is none."""
    found = path or paths.repository() / WHERE
    return json.loads(found.read_text(encoding="utf-8")) if found.is_file() else None


def speed_provenance(path: Path | None = None) -> tables.Html:
    """Where, when and with which versions it was measured."""
    found = speed(path)
    return not_measured(COMMAND, "Speed", "speed") if found is None else provenance(found, "speed")


def not_measured(command: str, label: str, name: str) -> tables.Html:
    """What stands where nothing is recorded."""
    return tables.facts_table(pd.DataFrame({"": ["not measured"], "how": [f"`{command}`"]}), label, name)


def provenance(found: dict[str, Any], name: str) -> tables.Html:
    """Where, when and with which versions a benchmark ran."""
    facts = {
        "measured": found["created"],
        "commit": found["commit"].replace("+", ", and changes after it"),
        **({"device": found["device"]} if "device" in found else {}),
        "processor": f"{found['processor']}, {found['cores']} cores",
        "load before": ", ".join(map(str, found["load"])) + " (1, 5, 15 minutes)",
        "took": f"{found['seconds']} s",
        **found["versions"],
    }
    frame = pd.DataFrame({"what": list(facts), "value": list(map(str, facts.values()))})
    return tables.facts_table(frame, "Where and when the speed was measured", f"{name}-provenance")


def ratios(found: dict[str, Any]) -> list[dict[str, Any]]:
    """One row a target: ours against a peer or a ceiling, the median over rounds of the ratio within a round.

    A target of memory is the largest peak above the inputs, in MB.
    """
    rows = {(row["work"], row["contender"], row["threads"]): row for row in found["rows"]}
    compared = []
    for (work, name, threads), row in rows.items():
        if name != "ours":
            continue
        for other, target in found["targets"][work].items():
            theirs = rows.get((work, other, threads))
            if theirs is None and other != MEMORY:
                continue
            faster = "faster" in target
            if theirs is None:
                of, shown = "peak in MB", row["peak_mb"]
            else:
                ratio = median(a / b for a, b in zip(row["wall"], theirs["wall"], strict=True))
                of, shown = ("theirs to ours", 1 / ratio) if faster else ("ours to theirs", ratio)
            met = shown >= target["faster"] if faster else shown <= target["at_most"]
            compared.append(
                {
                    "work": work,
                    "met": "yes" if met else "no",  # near the front: a phone shows the first columns
                    "against": other,
                    "threads": threads,
                    "ratio of": of,
                    "ratio": float(shown),
                    "target": f"at least {target['faster']} times faster" if faster else f"at most {target['at_most']}",
                }
            )
    return compared


def speed_targets(path: Path | None = None) -> tables.Html:
    """Each target beside what was measured."""
    found = speed(path)
    return speed_provenance(path) if found is None else targets(found, "ratios")


def targets(found: dict[str, Any], name: str) -> tables.Html:
    """Each target of a benchmark beside what was measured."""
    label = "Ratios of wall time within a round, medians, peaks of memory, and their targets"
    return tables.facts_table(pd.DataFrame(ratios(found)), label, name)


def speed_table(path: Path | None = None) -> tables.Html:
    """Every work of every contender: medians of wall and processor seconds, and peak memory above the inputs."""
    found = speed(path)
    if found is None:
        return speed_provenance(path)
    records = [
        {
            "work": f"{row['work']}: {row['about']}",
            "contender": row["contender"],
            "threads": row["threads"],
            "wall s": float(median(row["wall"])),
            "processor s": float(median(row["cpu"])),
            "rounds": len(row["wall"]),
            "peak MB above inputs": float(row["peak_mb"]),
        }
        for row in found["rows"]
    ]
    return tables.facts_table(
        pd.DataFrame(records), "Seconds and memory of each contender, medians over rounds", "speed"
    )
