"""What papers printed, table by table, each under its name with its source and the way it was read."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from typing import TYPE_CHECKING, Any

import pandas as pd

from .html import NARROW, Html, card, cell, csv_link, small, table

if TYPE_CHECKING:
    from ..claims import Printed


def printed(found: Iterable[Printed], name: str = "printed") -> Html:
    """Printed tables to open one by one, numbers as the paper has them.

    Args:
        found: as `claims.printed` gives them.
        name: of the CSV file.
    Returns:
        the tables; `frame` has a row per number, with its keys and with table, status, where, read and unit.
    """
    texts, frames = [], []
    for one in found:
        headers, lines = [*one.keys, *one.columns], []
        for entry in one.rows:
            key, numbers = entry[: len(one.keys)], entry[len(one.keys) :]
            cells = [
                cell(escape(part), tag="td" if i else "th", css="number" if i else "") for i, part in enumerate(key)
            ]
            cells += [_number(value) for value in numbers]
            lines.append(card(cells, headers))
        how = "" if one.status == "verified" else f" ({one.status})"
        about = f"{one.where}. In {one.unit}. {one.read[:1].upper()}{one.read[1:]}{how}"
        grid = table(headers, lines, one.table, "compact cards" if len(headers) > NARROW else "compact")
        texts.append(f"<details><summary>{escape(one.table)}</summary>{small(about + '.')}{grid}</details>")
        source = {"table": one.table, "status": one.status, "where": one.where, "read": one.read, "unit": one.unit}
        frames.append(one.frame.assign(**source))
    whole = pd.concat(frames, ignore_index=True) if frames else pd.DataFrame()
    return Html(f'<div class="printed">{"".join(texts)}{csv_link(whole, name)}</div>', whole)


def _number(value: Any) -> str:
    if value is None:
        return cell("", "")
    text = str(value)
    return cell(escape(text.replace("±", " ± ")), text.partition("±")[0], css="number")
