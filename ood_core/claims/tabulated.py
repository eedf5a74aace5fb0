"""Tables that a paper printed, as its reported file holds them: one flow list a row, sources above, nothing rounded."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

import pandas as pd
from pydantic import Field, model_validator

from .schema import Strict, Text

Row = Annotated[tuple[Any, ...], Field(strict=False)]
_SPREAD = re.compile(r"(-?\d+(?:\.\d+)?)±(\d+(?:\.\d+)?)")


class Printed(Strict):
    """One printed table, or rows of one: names of `keys` and `columns`, and `rows` that give both in that order.

    A cell is a number, `mean±deviation`, or null where the table has none. `status` is `verified` (digits read),
    `read off a plot`, or `second-hand` (read in somebody else's text; for context only). `where` names table and
    document, `read` says how it was read, `unit` is that of every number.

    Under `context` stand the rows of other systems, and those that the authors quote from elsewhere.
    """

    table: Text
    status: Literal["verified", "read off a plot", "second-hand"]
    where: Text
    read: Text
    unit: Text
    keys: tuple[Text, ...] = Field(min_length=1, strict=False)
    columns: tuple[Text, ...] = Field(min_length=1, strict=False)
    rows: tuple[Row, ...] = Field(min_length=1, strict=False)

    @model_validator(mode="after")
    def _whole(self) -> Printed:
        width, seen = len(self.keys) + len(self.columns), set()
        for row in self.rows:
            if len(row) != width:
                raise ValueError(f"row {list(row)} has {len(row)} entries, expected {width}: keys, then columns")
            key, cells = row[: len(self.keys)], row[len(self.keys) :]
            if not all(isinstance(part, str) and part for part in key):
                raise ValueError(f"row {list(row)} begins with {list(key)}, expected names for {', '.join(self.keys)}")
            if key in seen:
                raise ValueError(f"row {list(key)} stands twice, expected one of each")
            seen.add(key)
            for cell in cells:
                _numbers(cell)
        return self

    @property
    def frame(self) -> pd.DataFrame:
        """One number a row: the keys, `column`, `value`, `sd` (NaN where none is printed); empty cells left out."""
        records = []
        for row in self.rows:
            key = dict(zip(self.keys, row, strict=False))
            for column, cell in zip(self.columns, row[len(self.keys) :], strict=True):
                if cell is not None:
                    value, sd = _numbers(cell)
                    records.append({**key, "column": column, "value": value, "sd": sd})
        return pd.DataFrame(records)


def _numbers(cell: Any) -> tuple[float, float]:
    if isinstance(cell, int | float) and not isinstance(cell, bool):
        return float(cell), float("nan")
    if cell is None:
        return float("nan"), float("nan")
    found = _SPREAD.fullmatch(cell) if isinstance(cell, str) else None
    if found is None:
        raise ValueError(f"cell {cell!r} is no number, expected one such as 95.2, 95.2±0.1, or null")
    return float(found[1]), float(found[2])
