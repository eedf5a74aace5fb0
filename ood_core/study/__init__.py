"""From a page, a scale and a number of seeds to tidy rows: train what is missing, load what is there."""

from ..runs import Planned, merged, setup
from ..workers import Progress
from .beside import both
from .downloads import export
from .judged import verdicts
from .minutes import DEVICES, duration
from .overview import headline, scoreboard, status
from .records import Recorded, record, recorded_rows, recorded_runs
from .request import Request
from .results import Results
from .running import plan, run_or_load, run_or_load_all, to_train_again

__all__ = [
    "DEVICES",
    "Planned",
    "Progress",
    "Recorded",
    "Request",
    "Results",
    "both",
    "duration",
    "export",
    "headline",
    "merged",
    "plan",
    "record",
    "recorded_rows",
    "recorded_runs",
    "run_or_load",
    "run_or_load_all",
    "scoreboard",
    "setup",
    "status",
    "to_train_again",
    "verdicts",
]
