"""Tables of a page: verdicts, claims, scoreboard, metrics, provenance. Each renders itself in a notebook."""

from .html import Html
from .results import metrics_table, provenance_table
from .verdicts import claims_table, scoreboard, verdict_box

__all__ = ["Html", "claims_table", "metrics_table", "provenance_table", "scoreboard", "verdict_box"]
