"""Rows that a page derives from several of its runs."""

from __future__ import annotations

import pandas as pd

from .. import rankings

_DERIVED = {"clusters": rankings.derived}  # by page


def together(page: str, frames: list[pd.DataFrame]) -> pd.DataFrame:
    """Rows of single runs, then those that the page derives from several."""
    rows = pd.concat(frames, ignore_index=True)
    if page not in _DERIVED:
        return rows
    return pd.concat([rows, _DERIVED[page](rows)], ignore_index=True)
