"""Tables of scores and decisions: a row an image, or a row a folder."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from ..scorers import Scorer
from .passes import Passes


def score_table(scorer: Scorer, passes: Passes, paths: list[Path], classes: Sequence[str]) -> pd.DataFrame:
    """A row an image: file, score, decision, and predicted class, which is empty where there are no logits."""
    assert scorer.calibration is not None
    scores, places = passes.scores(scorer, paths)
    return _frame(
        {
            "file": [str(path) for path in paths],
            "score": scores.tolist(),
            "decision": ["in" if accepted else "out" for accepted in (scores >= scorer.calibration.threshold).tolist()],
            "predicted": [classes[place] for place in places] or [""] * len(paths),
        }
    )


def folder_table(folders: Iterable[Path], parts: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """A row a folder: images, share accepted, lowest, median and highest score, from the table of its images."""
    found = [part["score"] for part in parts]
    return _frame(
        {
            "folder": [str(folder) for folder in folders],
            "images": [len(part) for part in parts],
            "accepted": [float((part["decision"] == "in").mean()) for part in parts],
            "lowest": [part.min() for part in found],
            "median": [part.median() for part in found],
            "highest": [part.max() for part in found],
        }
    )


def _frame(columns: dict[str, list[Any]]) -> pd.DataFrame:
    """A frame whose text stays as it is: names on a disk need not be UTF-8, which pandas' own type for text refuses."""
    return pd.DataFrame(
        {name: pd.Series(rows, dtype=object if isinstance(rows[0], str) else None) for name, rows in columns.items()}
    )
