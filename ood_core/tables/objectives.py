"""Training objectives side by side: accuracy, time, collapse."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape

import pandas as pd

from .html import Html, card, cell, counted, csv_link, mean_sd, small, table

SHARES = ("accuracy", "linear_probe")
COLUMNS = {
    "accuracy": "test accuracy (%)",
    "linear_probe": "of a linear probe (%)",
    "nc1": "NC1",
    "nc2_norm_means": "NC2, lengths",
    "nc2_angle_means": "NC2, angles",
    "nc3": "NC3",
    "nc4": "NC4",
}


def objectives(found: pd.DataFrame, names: Mapping[str, str] | None = None, name: str = "objectives") -> Html:
    """One row an objective: what its networks decide, how far they collapse, and what one of them takes to train.

    Args:
        found: as `comparison.objectives` gives it.
        names: recipe -> how to call it.
        name: of the CSV file.
    """
    alike, lines = len(set(found["n"])) == 1, []
    headers = ["objective", *COLUMNS.values(), "training (min)"]
    machines = set(found["machine"]) - {""}
    for record in found.to_dict("records"):
        called = (names or {}).get(record["recipe"], record["recipe"])
        seeds = "" if alike else counted([record["n"]])
        cells = [cell(escape(called) + small(seeds), called, tag="th")]
        cells += [
            mean_sd(record[column], record[f"{column}_sd"], *((100, 1) if column in SHARES else (1, 3)))
            for column in COLUMNS
        ]
        seconds, machine = record["train_seconds"], small(record["machine"] if len(machines) > 1 else "")
        cells.append(cell("", "") if pd.isna(seconds) else cell(f"{seconds / 60:.3g}{machine}", seconds, css="number"))
        lines.append(card(cells, headers))
    grid = table(headers, lines, "Training objectives: accuracy, collapse and time", "compact cards objectives")
    above = f'<p class="how">Mean ± standard deviation over {counted(found["n"])}.</p>'
    return Html(f"<div>{above}{grid}{csv_link(found, name)}</div>", found)
