"""Tables of a page: verdicts, claims, scoreboard, metrics, provenance. Each renders itself in a notebook."""

from .claim_table import claims_by_scale, claims_table
from .combinations import chosen_table, rank_table, winners_table
from .detectors import anchor, duels, guide, ranking, with_collapse
from .html import Html
from .objectives import objectives
from .outcomes import outcomes
from .printed import printed
from .reference import definition_table, entries, facts_table, network_table, picture, scorer_table, set_table
from .results import metrics_table, provenance_table
from .scoreboard import headline, scoreboard
from .verdicts import verdict_box

__all__ = [
    "Html",
    "anchor",
    "chosen_table",
    "claims_by_scale",
    "claims_table",
    "definition_table",
    "duels",
    "entries",
    "facts_table",
    "guide",
    "headline",
    "metrics_table",
    "network_table",
    "objectives",
    "outcomes",
    "picture",
    "printed",
    "provenance_table",
    "rank_table",
    "ranking",
    "scoreboard",
    "scorer_table",
    "set_table",
    "verdict_box",
    "winners_table",
    "with_collapse",
]
