"""Small pieces of HTML, all text escaped: cells, numbers, a table that scrolls in its own box, a CSV beside it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Any
from urllib.parse import quote

import pandas as pd

from ..checks import InputError

SYMBOLS = {"holds": "✓", "does not hold": "✗", "inconclusive": "?", "answered": "→", "descriptive": "n", "not run": "–"}
PLURALS = {"holds": "hold", "does not hold": "do not hold"}
NARROW = 3  # columns that a phone has room for side by side
FIRST = 10  # rows of a long table that are always shown; book.css counts them too
PLACED = ("objective", "scorer")  # columns that book.css places on phones
ANSWERS = {"higher": "↑", "lower": "↓", "no clear difference": "≈", "mixed": "⇅", "partly run": "◐"}


@dataclass(frozen=True)
class Html:
    """A piece of a page: `html` for notebooks and sites, `frame` with the numbers at full precision."""

    html: str
    frame: pd.DataFrame = field(repr=False)

    def _repr_html_(self) -> str:
        return self.html


def cell(content: str, key: Any = None, tag: str = "td", css: str = "", extra: str = "") -> str:
    """A cell around HTML that is already escaped; `key` is what sorting compares, `extra` are further attributes."""
    texts = [tag, 'scope="row"' if tag == "th" else "", f'class="{css}"' if css else "", extra]
    texts += [] if key is None else [f'data-sort="{escape(str(key))}"']
    return f"<{' '.join(text for text in texts if text)}>{content}</{tag}>"


def row(cells: Iterable[str], css: str = "") -> str:
    """A table row."""
    return f"<tr{f' class={chr(34)}{css}{chr(34)}' if css else ''}>{''.join(cells)}</tr>"


def card(cells: Iterable[str], headers: Sequence[str]) -> str:
    """A row of a table of the class `cards`: on a phone, where it stands alone, each cell says its column."""
    named = (f'{text[:3]} data-column="{escape(head)}"{text[3:]}' for text, head in zip(cells, headers, strict=True))
    return row(named)


def detector(objective: str, scorer: str, about: str, key: str, seeds: str = "") -> list[str]:
    """The two cells that name a detector: its objective, then its scorer with layer and parameters below.

    A phone has room for one of them: there the second says the objective as well. `seeds`, such as "5 seeds", goes
    below the objective, where rows differ in it: a column of its own would not fit beside costs.
    """
    below = small(about).replace("=", "=<wbr>").replace("class=<wbr>", "class=")  # long settings may break there
    also = f'<span class="quiet too">{escape(", ".join(text for text in (objective, seeds) if text))}</span>'
    named = cell(escape(scorer) + below + also, key, css="scorer")
    return [cell(escape(objective) + small(seeds), objective, tag="th", css="objective"), named]


def mean_sd(mean: float, sd: float, factor: float, digits: int) -> str:
    """A cell with a mean and its standard deviation, times a factor; empty for NaN, for one seed the mean alone."""
    if math.isnan(mean):
        return cell("", "")
    shown = f"{factor * mean:.{digits}f}" + ("" if math.isnan(sd) else f" ± {factor * sd:.{digits}f}")
    return cell(stacked(shown), f"{factor * mean:.6f}", css="number")


def stacked(shown: str) -> str:
    """Escaped mean with what follows, such as "90.1 ± 0.3" or "+5.0 points [+4.1, +5.9]", spread on a second line."""
    mean, sign, spread = next((parts for sign in (" ±", " [") if (parts := shown.partition(sign))[1]), (shown, "", ""))
    return f"{escape(mean)} {small((sign + spread).strip())}".strip()


def small(text: str) -> str:
    """Escaped text on a line of its own, quieter; "" for no text."""
    return f'<span class="quiet">{escape(text)}</span>' if text else ""


def table(headers: Sequence[str], rows: Iterable[str], label: str, css: str = "") -> str:
    """A sortable table in a box that scrolls sideways and can be reached by keyboard.

    Raises:
        InputError: no label; a scrolling region needs a name for screen readers.
    """
    if not label.strip():
        raise InputError("label is empty, expected what the table shows.\nName it in a few words.")
    heads = "".join(
        f'<th scope="col"{f" class={chr(34)}{text}{chr(34)}" if text in PLACED else ""}>'
        f"{escape(text).replace('/', '/<wbr>')}</th>"  # names of sets may break there
        for text in headers
    )
    return (
        f'<div class="table-scroll" tabindex="0" role="region" aria-label="{escape(label)}">'
        f'<table class="ood-table sortable n-last {css}"><thead><tr>{heads}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )


def folded(grid: str, count: int, alike: Iterable[str] = ()) -> str:
    """A table that shows its first rows, says how many there are, and shows them all on request.

    Args:
        grid: as `table` gives it.
        count: of its rows; a table that is hardly longer than its first rows is left whole.
        alike: what is the same in every row, said above instead of in a column.
    """
    said = "; ".join(text for text in alike if text)
    above = f'<p class="how">{escape(said)}.</p>' if said else ""
    if 2 * count <= 3 * FIRST:
        return above + grid
    first = f'<span class="few">Of {count} rows the first are shown. </span>'
    more = f'<label class="more"><input type="checkbox"> show all {count} rows</label>'
    return f'<div class="folded">{above}{grid}<p class="how">{first}{more}</p></div>'


def counted(seeds: Iterable[int]) -> str:
    """Such as "5 seeds", "3–5 seeds" where they differ, or "seeds" where there are no rows."""
    found = sorted(set(seeds))
    least_and_most = "–".join(map(str, dict.fromkeys([*found[:1], *found[-1:]])))
    return f"{least_and_most} seed{'' if found == [1] else 's'}".strip()


def csv_link(frame: pd.DataFrame, name: str) -> str:
    """A link that holds the whole table, so that it works offline and from a saved page."""
    data = quote(frame.to_csv(index=False))
    return (
        f'<p class="csv-link"><a download="{escape(name)}.csv" href="data:text/csv;charset=utf-8,{data}">'
        "Download this table (CSV)</a></p>"
    )


def mark(word: str, text: str = "") -> str:
    """A verdict as a symbol before its number; its word is read out, and shown on pointing."""
    return (
        f'<span class="verdict verdict-{word.replace(" ", "-")}" title="{escape(text or word)}">'
        f'<span aria-hidden="true">{ANSWERS.get(text, SYMBOLS[word])}</span>'
        f'<span class="read-out">{escape(text or word)}</span></span>'
    )


def badge(word: str, text: str = "") -> str:
    """A verdict as a symbol and a word, so that no reader depends on colour; `text` stands in for the word."""
    symbol = ANSWERS.get(text, SYMBOLS[word])
    css = word.replace(" ", "-")
    return f'<span class="verdict verdict-{css}"><span aria-hidden="true">{symbol}</span> {escape(text or word)}</span>'


def p_value(p: float) -> str:
    """Such as "= 0.012", or "< 0.001"."""
    return "< 0.001" if p < 0.001 else f"= {p:.3f}"


def interval(estimate: float | None, low: float | None, high: float | None, unit: str) -> str:
    """Mean [low, high] in the unit: per cent, signed percentage points, plain numbers, or the ratio behind a logarithm.

    Digits follow the half width down to its first significant one, and further where a limit would round to zero.
    Missing numbers give "".
    """
    if unit == "log_ratio":
        estimate, low, high = (x if x is None else math.exp(x) for x in (estimate, low, high))
    factor = 1 if unit in ("number", "log_ratio") else 100
    value, *limits = (None if x is None or math.isnan(x) else factor * float(x) for x in (estimate, low, high))
    if value is None:
        return ""
    sign = "+" if unit == "points" else ""
    known = [x for x in limits if x is not None]
    half = (known[1] - known[0]) / 2 if len(known) == 2 else 0.0
    if half > 0:
        smallest = min([half, *(abs(x) for x in known if abs(x) > 1e-12 and abs(x) < half)])
        digits = f".{min(max(-math.floor(math.log10(smallest)), 1), 4)}f"
    else:
        digits = ".3g" if factor == 1 else ".1f"

    def shown(x: float) -> str:
        text = f"{x:{sign}{digits}}"
        zero = half > 0 and float(text) == 0
        return (text.lstrip("+-") if zero else text).replace("-", "−")

    suffix = {"percent": " %", "points": " points", "log_ratio": " times"}.get(unit, "")
    bounds = f" [{shown(known[0])}, {shown(known[1])}]" if len(known) == 2 else ""
    return f"{shown(value)}{suffix}{bounds}"
