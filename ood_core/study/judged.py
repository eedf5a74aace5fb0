"""Verdicts of a page at each scale, and what those that wait are waiting for."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pandas as pd

from .. import claims, recipes
from .minutes import DEVICES, duration
from .records import recorded_rows
from .results import Results


def verdicts(page: str, results: Results | None = None) -> dict[str, list[claims.Verdict] | None]:
    """Verdicts of a page by scale: `results` live at its own scale, recorded rows at the others, None if not run."""
    asked = claims.load(page)
    found: dict[str, list[claims.Verdict] | None] = {}
    for scale in recipes.SCALES:
        if results is not None and results.request.scale == scale:
            found[scale] = claims.judge(asked, results.rows)
            continue
        rows = recorded_rows(page, scale)
        found[scale] = None if rows is None else claims.judge(asked, rows, missing=_missing(page, scale, rows))
    return found


def _missing(page: str, scale: str, rows: pd.DataFrame) -> Callable[[Sequence[str], int], str]:
    """Says which runs of some recipes are not recorded and how long they take; `recipes.ALL` is every recipe."""
    minutes = {name: recipe.minutes for name, recipe in recipes.load(page, scale).items()}
    have = rows.groupby("recipe")["seed"].nunique().to_dict()

    def tell(names: Sequence[str], seeds: int) -> str:
        asked = minutes if recipes.ALL in names else [name for name in names if name in minutes]
        left = {name: seeds - have.get(name, 0) for name in asked if have.get(name, 0) < seeds}
        if not left:
            return ""
        named = ", ".join(left) if len(left) < 5 else f"{len(left)} recipes"
        runs, most = sum(left.values()), max(left.values())
        counted = f"{most} seed{'s' if most > 1 else ''}{' each' if len(left) > 1 else ''}"
        counted = counted if runs == most * len(left) else f"{runs} runs"
        total = sum(minutes[name] * count for name, count in left.items())
        return f"{named}, {counted}, about {duration(total)} on {DEVICES[scale]}"

    return tell
