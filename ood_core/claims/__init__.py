"""Claims of a paper, judged by rules that were fixed before the results were seen.

A claims file (`book/claims/<page>.yml`) states what is tested; `load` reads it, `judge` turns tidy rows into verdicts.
"""

from .entries import Reported
from .files import load, page, pages, printed, reported
from .judging import judge
from .outcomes import Result, Verdict, frame, walk
from .rules import WORDS
from .schema import Claim, Page, Part
from .tabulated import Printed

__all__ = [
    "WORDS",
    "Claim",
    "Page",
    "Part",
    "Printed",
    "Reported",
    "Result",
    "Verdict",
    "frame",
    "judge",
    "load",
    "page",
    "pages",
    "printed",
    "reported",
    "walk",
]
