"""Every page at once: what holds, and what has run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from .. import claims, comparison, paths, recipes, tables
from ..store import Store
from ..tables.verdicts import tally_text, top_records, words_of
from .judged import verdicts
from .records import recorded_rows, recorded_runs
from .request import Request
from .results import Results
from .running import plan, run_or_load

BASELINE = "ce"  # the recipe without any paper's change
RECORDED = ("small", "paper")
DAY = len("2026-12-31")  # of a moment in ISO 8601


def scoreboard() -> tables.Html:
    """All papers with their verdicts by scale: live at `tiny`, recorded at the others, "not run" where neither.

    A page without recipes has not been run at any scale.
    """
    found, papers = {}, claims.pages()
    for page in papers:
        live = None
        if page in recipes.pages() and "tiny" in recipes.page(page).scales:
            live = run_or_load(page, scale="tiny", seeds=recipes.page(page).seeds["tiny"])
        found[page] = verdicts(page, live)
    written = paths.repository() / "book" / "papers"
    links = {page: f"papers/{page}.html" for page in papers if (written / f"{page}.ipynb").is_file()}
    cards, reported = {page: claims.page(page) for page in papers}, {page: claims.reported(page) for page in papers}
    return tables.scoreboard(found, cards, links, reported, {scale: _baseline("compare", scale) for scale in RECORDED})


def headline(page: str, verdicts: Mapping[str, Sequence[claims.Verdict] | None]) -> tables.Html:
    """What the front page says of one paper, for the top of its own page."""
    baselines = {scale: _baseline(page, scale) for scale in RECORDED}
    return tables.headline(verdicts, claims.page(page), claims.reported(page), baselines)


def _baseline(page: str, scale: str) -> float | None:
    """Test accuracy of the page's cross-entropy networks in recorded runs, or None where there are none."""
    rows = recorded_rows(page, scale)
    found = None if rows is None else comparison.objectives(rows).set_index("recipe")["accuracy"].get(BASELINE)
    return None if pd.isna(found) else float(found)


def status() -> pd.DataFrame:
    """What has run: one row a page and scale, with runs, verdicts, seconds of training, versions, hardware, commits."""
    lines = []
    for page in recipes.pages():
        for scale in recipes.page(page).scales:
            if scale == "tiny":
                live = _stored(page, scale)
                infos, rows = [run.info for run in live.stored.values()], live.rows if live.stored else None
            else:
                infos, rows = [run.info for _, run in recorded_runs(page, scale)], recorded_rows(page, scale)
            if rows is not None:
                told = _told(infos)
                first = {"page": page, "scale": scale, "runs": told.pop("runs"), "result": _result(page, rows)}
                lines.append(first | told)
    return pd.DataFrame(lines)


def _stored(page: str, scale: recipes.Scale) -> Results:
    """What `run_or_load` would show without training or measuring anything."""
    request, found = Request.check(page=page, scale=scale, seeds=recipes.page(page).seeds[scale]), Store()
    whole = [item for item in plan(page, scale, request.seeds, found) if item.state == "stored"]
    runs = {(item.recipe.id, item.seed): found.get(item.key) for item in whole}
    stored = {which: run for which, run in runs.items() if run is not None}
    return Results(request, {item.recipe.id: item.recipe for item in whole}, stored, frozenset())


def _result(page: str, rows: pd.DataFrame) -> str:
    """Verdicts by number, such as "7 hold, 2 do not hold"; a page that states no claims has none."""
    if page not in claims.pages():
        return "no claims"
    tops = top_records(claims.judge(claims.load(page), rows))
    return tally_text(words_of(tops), "claim")


def _told(infos: list[dict[str, Any]]) -> dict[str, Any]:
    """One line about some runs."""

    def all_of(*path: str) -> str:
        values = [info[path[0]] if len(path) == 1 else info[path[0]][path[1]] for info in infos]
        return ", ".join(dict.fromkeys(str(value) for value in values))

    commits = all_of("commit")
    return {
        "runs": len(infos),
        "training_seconds": round(sum(info["seconds"]["train"] for info in infos)),
        "torch": all_of("versions", "torch"),
        "ood_core": all_of("versions", "ood-core"),
        "hardware": all_of("hardware", "name"),
        "commit": commits if commits.count(", ") < 2 else f"{commits.count(', ') + 1} commits",
        "first": min(info["created"] for info in infos)[:DAY],
        "last": max(info["created"] for info in infos)[:DAY],
    }
