"""Tables of a page: verdicts, claims, scoreboard, metrics, provenance. Each renders itself in a notebook."""

from .html import Html
from .reference import definition_table, entries, facts_table, picture, scorer_table, set_table
from .results import metrics_table, provenance_table
from .verdicts import claims_table, scoreboard, verdict_box

__all__ = [
    "Html",
    "claims_table",
    "definition_table",
    "entries",
    "facts_table",
    "metrics_table",
    "picture",
    "provenance_table",
    "scoreboard",
    "scorer_table",
    "set_table",
    "verdict_box",
]
