"""What a page shows, as files."""

from __future__ import annotations

import json
from pathlib import Path

from .. import claims, recipes
from .records import recorded_rows, recorded_runs
from .running import run_or_load


def export(page: str, scale: str, seeds: int, folder: Path) -> None:
    """Write what a page shows to `folder`: rows.csv, provenance.json, and claims.csv where the page has claims.

    Recorded runs of other scales stand in rows-SCALE.csv and provenance-SCALE.json.
    """
    results = run_or_load(page, scale=scale, seeds=seeds)
    folder.mkdir(parents=True, exist_ok=True)
    results.rows.to_csv(folder / "rows.csv", index=False)
    if page in claims.pages():
        claims.frame(claims.judge(claims.load(page), results.rows)).to_csv(folder / "claims.csv", index=False)
    info = {f"{recipe}/{seed}": run.info for (recipe, seed), run in results.stored.items()}
    (folder / "provenance.json").write_text(json.dumps(info, indent=1), encoding="utf-8")
    for other in recipes.page(page).scales:
        rows = recorded_rows(page, other) if other != scale else None
        if rows is not None:
            rows.to_csv(folder / f"rows-{other}.csv", index=False)
            info = {f"{recipe.id}/{run.info['seed']}": run.info for recipe, run in recorded_runs(page, other)}
            (folder / f"provenance-{other}.json").write_text(json.dumps(info, indent=1), encoding="utf-8")
