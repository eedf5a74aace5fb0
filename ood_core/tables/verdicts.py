"""Verdicts as a reader meets them on a page: the box above it, and the words that all tables of verdicts share."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from html import escape
from typing import TYPE_CHECKING, Any

import pandas as pd

from .html import PLURALS, SYMBOLS, Html, badge, cell, row, small, table

if TYPE_CHECKING:  # tables take what claims give, and need none of their code
    from ..claims import Verdict

    Scales = Mapping[str, Iterable[Verdict] | None]

LIVE = "tiny"
NOT_RUN, PARTLY = "not run", "partly run"


def verdict_box(verdicts: Scales) -> Html:
    """All claims of a page by scale, the largest that has run first: `tiny` is live, the others are recorded.

    Args:
        verdicts: scale -> verdicts in the claims' order, or None where nothing has run.
    Returns:
        one sentence a scale, then claims by those that have run; `frame` has a row per claim and scale.
    """
    scales = {scale: top_records(found) for scale, found in reversed(list(verdicts.items()))}
    sentences = "".join(
        f"<li><strong>{escape(scale)}</strong> ({manner(scale)}): {sentence(tops)}</li>"
        for scale, tops in scales.items()
    )
    ran = with_verdicts(scales)
    lines = []
    for place, top in enumerate(scales[ran[0]] if ran else []):
        cells = [cell(escape(top["claim"]), place, "th"), cell(escape(top["title"]))]
        for scale in ran:
            here = scales[scale][place]
            said = small(here["says"] if here["says"] != here["answer"] else "") + after_holm(here) + revised(here)
            shown = badge(here["verdict"], here["answer"]) + said
            cells.append(cell(shown, rank(here["verdict"]), extra=f'data-scale="{escape(scale)}"'))
        lines.append(row(cells))
    grid = table(["id", "claim", *ran], lines, "Verdicts by claim and scale", "verdicts")
    frame = pd.DataFrame([top for scale in verdicts for top in scales[scale]])
    return Html(f'<div class="verdict-box"><ul>{sentences}</ul>{grid}</div>', frame)


def after_holm(record: dict[str, Any]) -> str:
    """What the correction makes of a verdict, "" where it changes nothing; parts that have not run leave it open."""
    if record["stands"]:
        return ""
    return small(f"† after Holm: {'inconclusive' if record['holm'] == NOT_RUN else record['holm']}")


def revised(record: dict[str, Any]) -> str:
    """What moved after results had been seen, "" where nothing did."""
    return small(f"‡ {record['revised']}" if record["revised"] else "")


def explained(record: dict[str, Any]) -> str:
    """Our explanation of a verdict, behind a line that opens it; "" where there is none."""
    text = record["explained"]
    return (
        f'<details class="quiet"><summary>Why, as far as we can tell</summary>{escape(text)}</details>' if text else ""
    )


def marked(record: dict[str, Any]) -> str:
    """What a name or number carries where there is no room for words.

    † gone after Holm, ‡ revised after results, ° stands beside the claim and decides nothing.
    """
    signs = ("†" * (not record["stands"]), "‡" * bool(record.get("revised")), "°" * (record.get("counts") is False))
    return "".join(f"\u00a0{sign}" for sign in signs if sign)


def tally_text(words: Counter[str], noun: str) -> str:
    """Such as "3 parts: 2 hold, 1 inconclusive"; "" for none."""
    total = sum(words.values())
    texts = [_counted_word(words[word], word) for word in (*SYMBOLS, PARTLY) if words[word]]
    return f"{total} {noun}{'' if total == 1 else 's'}: {', '.join(texts)}" if total else ""


def _counted_word(count: int, word: str) -> str:
    return f"{count} {word if count == 1 else PLURALS.get(word, word)}"


def words_of(tops: Iterable[dict[str, Any]]) -> Counter[str]:
    """How many claims have each verdict; one that waits for some of its parts alone is not counted as not run."""
    return Counter(PARTLY if top["answer"] == PARTLY else top["verdict"] for top in tops)


def sentence(tops: list[dict[str, Any]]) -> str:
    """Counts in words, with the number of seeds."""
    words = words_of(tops)
    if not tops or set(words) == {NOT_RUN}:
        reasons = {top["note"] for top in tops}
        return escape(f"not run: {reasons.pop()}." if len(reasons) == 1 else "not run.")
    lost = sum(not top["stands"] for top in tops)
    less = f"; {lost} of these no longer after Holm's correction" if lost else ""
    return escape(f"{tally_text(words, 'claim')}{less}; {span(tops)}.")


def span(tops: list[dict[str, Any]]) -> str:
    """Seeds behind the verdicts, not of claims that wait: "5 seeds", "3 to 5 seeds", "1 seed", or "no seeds"."""
    seeds = sorted({top["n"] for top in tops if top["n"] and top["verdict"] != NOT_RUN})
    if seeds == [1]:
        return "1 seed"
    return f"{seeds[0] if len(seeds) == 1 else f'{seeds[0]} to {seeds[-1]}' if seeds else 'no'} seeds"


def top_records(found: Iterable[Verdict] | None) -> list[dict[str, Any]]:
    """The record of each claim, without those of its parts; see `partly`."""
    records = [] if found is None else [verdict.records() for verdict in found]
    return [partly(top, parts) for top, *parts in records]


def partly(top: dict[str, Any], parts: list[dict[str, Any]]) -> dict[str, Any]:
    """The claim's record; it says if it waits for some of its parts alone, and how many hold where it fails."""
    counted = [part for part in parts if part["counts"] and part["level"] == 1]
    ran = [part for part in counted if part["verdict"] != NOT_RUN]
    held = sum(part["verdict"] == "holds" for part in ran)
    if top["verdict"] == "does not hold" and held:
        left = f", {len(counted) - len(ran)} not run" if len(ran) < len(counted) else ""
        return {**top, "says": f"{held} of {len(ran)} parts hold{left}"}
    if top["verdict"] == NOT_RUN and any(part["verdict"] != NOT_RUN for part in counted):
        return {**top, "answer": PARTLY}
    return top


def with_verdicts(scales: Mapping[str, list[dict[str, Any]]]) -> list[str]:
    """Scales at which some claim got further than waiting for its runs; where there is none, those that have claims."""
    further = [scale for scale, tops in scales.items() if any(t["answer"] or t["verdict"] != NOT_RUN for t in tops)]
    return further or [scale for scale, tops in scales.items() if tops]


def has_run(tops: list[dict[str, Any]]) -> bool:
    """Whether some claim of a scale has numbers."""
    return any(top["verdict"] != NOT_RUN for top in tops)


def telling(scales: Mapping[str, list[dict[str, Any]]]) -> str:
    """Of scales from small to large, the largest that decides some claim; failing that, that has run; "" for none."""
    ran = [scale for scale, tops in scales.items() if has_run(tops)]
    decided = [s for s in ran if any(top["verdict"] not in (NOT_RUN, "descriptive") for top in scales[s])]
    return [*ran, *decided][-1] if ran else ""


def manner(scale: str, live: str = LIVE) -> str:
    """Whether a scale's runs were made for the page, or are recorded."""
    return "live" if scale == live else "recorded"


def rank(word: str) -> int:
    """Where a verdict stands when a table is sorted by it."""
    return list(SYMBOLS).index(word)
