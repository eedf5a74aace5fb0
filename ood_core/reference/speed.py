"""The page on speed, made of the files that `benchmarks/scorers.py` writes, one for each processor."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from statistics import median
from typing import Any

import pandas as pd

from .. import paths, tables

FOLDER = Path("book/reference")
FILES = "speed*.json"
COMMAND = "python benchmarks/scorers.py"
MEMORY = "memory"  # what a target of memory stands under, in the place of a contender

Found = dict[str, Any]  # a recorded measurement


def speeds(folder: Path | None = None, files: str = FILES) -> dict[str, Found]:
    """The recorded measurements by processor, in the order of their files."""
    where = folder or paths.repository() / FOLDER
    found = (json.loads(path.read_text(encoding="utf-8")) for path in sorted(where.glob(files)))
    return {processor(each): each for each in found}


def processor(found: Found) -> str:
    """The GPU, or the processor without what all have in their names: `Intel(R) Xeon(R) Processor` is an Intel Xeon."""
    name = found["device"] if "device" in found else found["processor"]
    return " ".join(re.sub(r"\((R|TM)\)|\b(Processor|CPU)\b", " ", name).split())


def file_name(work: str, found: Found) -> str:
    """`WORK-PROCESSOR.json`: one file for each processor, which the page shows side by side."""
    return f"{work}-{'-'.join(re.findall('[a-z0-9]+', processor(found).lower()))}.json"


def speed_provenance(folder: Path | None = None) -> tables.Html:
    """Where, when and with which versions it was measured."""
    found = speeds(folder)
    return provenance(found, "speed") if found else not_measured(COMMAND, "Speed", "speed")


def not_measured(command: str, label: str, name: str) -> tables.Html:
    """What stands where nothing is recorded."""
    return tables.facts_table(pd.DataFrame({"": ["not measured"], "how": [f"`{command}`"]}), label, name)


def provenance(found: Mapping[str, Found], name: str) -> tables.Html:
    """Where, when and with which versions a benchmark ran, a column for each processor."""
    frame = pd.DataFrame({each: _facts(measured) for each, measured in found.items()})
    columns = list(frame) if len(found) > 1 else ["value"]
    frame = frame.set_axis(columns, axis=1).rename_axis("what").reset_index()
    return tables.facts_table(frame, "Where and when the speed was measured", f"{name}-provenance")


def _facts(found: Found) -> dict[str, str]:
    return {
        "measured": found["created"],
        "commit": found["commit"].replace("+", ", and changes after it"),
        **({"device": found["device"]} if "device" in found else {}),
        "processor": f"{found['processor']}, {found['cores']} cores",
        "load before": ", ".join(map(str, found["load"])) + " (1, 5, 15 minutes)",
        "took": f"{found['seconds']} s",
        **found["versions"],
    }


def ratios(found: Found) -> list[dict[str, Any]]:
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


def speed_targets(folder: Path | None = None) -> tables.Html:
    """Each target beside what was measured, on each processor."""
    found = speeds(folder)
    return targets(found, "ratios") if found else speed_provenance(folder)


def targets(found: Mapping[str, Found], name: str) -> tables.Html:
    """Each target of a benchmark beside what was measured, missed ones first; a ratio for each processor."""
    label = "Ratios of wall time within a round, medians, peaks of memory, and their targets"
    frames = {each: pd.DataFrame(ratios(measured)) for each, measured in found.items()}
    frame, *others = frames.values()
    if others:
        keys = [column for column in frame if column not in ("met", "ratio")]
        rows = [each.set_index(keys) for each in frames.values()]
        met = pd.concat([each["met"] for each in rows], axis=1, keys=frames).apply(_met, axis=1)
        ratio = pd.concat([each["ratio"] for each in rows], axis=1, keys=frames)
        frame = ratio.assign(met=met).reset_index()[
            ["work", "met", "against", "threads", "ratio of", *frames, "target"]
        ]
    frame = frame.sort_values("met", key=lambda met: met.map({"no": 0, "yes": 2}).fillna(1), kind="stable")
    return tables.facts_table(frame, label, name)


def _met(by_processor: pd.Series[str]) -> str:
    """yes, no, or the processors on which it is, where they differ or one was not measured."""
    on = [str(name) for name, met in by_processor.items() if met == "yes"]
    return {len(by_processor): "yes", 0: "no"}.get(len(on), f"on {' and '.join(on)}")


def speed_table(folder: Path | None = None) -> tables.Html:
    """Every work of every contender: medians of wall and processor seconds, and peak memory above the inputs."""
    found = speeds(folder)
    if not found:
        return speed_provenance(folder)
    records = [
        {
            "work": f"{row['work']}: {row['about']}",
            "contender": row["contender"],
            **({"processor": each} if len(found) > 1 else {}),
            "threads": row["threads"],
            "wall s": float(median(row["wall"])),
            "processor s": float(median(row["cpu"])),
            "rounds": len(row["wall"]),
            "peak MB above inputs": float(row["peak_mb"]),
        }
        for each, measured in found.items()
        for row in measured["rows"]
    ]
    return tables.facts_table(
        pd.DataFrame(records), "Seconds and memory of each contender, medians over rounds", "speed"
    )
