"""Tables of a page: verdicts, claims, scoreboard, metrics, provenance. Each renders itself in a notebook."""

from .html import Html
from .reference import definition_table, entries, facts_table, picture, scorer_table, set_table
from .results import metrics_table, provenance_table
from .verdicts import claims_table, recorded_claims, scoreboard, verdict_box

__all__ = [
    "Html",
    "claims_table",
    "definition_table",
    "entries",
    "facts_table",
    "metrics_table",
    "picture",
    "provenance_table",
    "recorded_claims",
    "scoreboard",
    "scorer_table",
    "set_table",
    "verdict_box",
]
