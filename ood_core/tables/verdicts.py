"""Verdicts as a reader meets them on a page: the box, and the table of claims."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence, Sized
from html import escape
from itertools import groupby
from typing import Any, Protocol

import pandas as pd

from .html import PLURALS, SYMBOLS, Html, badge, cell, csv_link, interval, row, small, table

LIVE = "tiny"
NOT_RUN, PARTLY = "not run", "partly run"


class Judged(Protocol):
    """What a verdict must offer: flat records of the claim and its parts, as `claims.Verdict.records` gives them."""

    def records(self) -> list[dict[str, Any]]: ...


class Entry(Protocol):
    """A reported number, as `claims.Reported`."""

    def model_dump(self) -> dict[str, Any]: ...


class Named(Protocol):
    """Which number stands on the front page, as `claims.schema.Number`."""

    @property
    def label(self) -> str: ...
    @property
    def claim(self) -> str: ...
    @property
    def part(self) -> str: ...


class Line(Protocol):
    """A line of the front page, as `claims.schema.Headline`."""

    @property
    def says(self) -> str: ...
    @property
    def numbers(self) -> Sequence[Named]: ...


class Card(Protocol):
    """A page's title, paper, claims and headline, as `claims.Page`."""

    @property
    def title(self) -> str: ...
    @property
    def paper(self) -> str: ...
    @property
    def claims(self) -> Sized: ...
    @property
    def headline(self) -> Sequence[Line]: ...


Scales = Mapping[str, Iterable[Judged] | None]


def verdict_box(verdicts: Scales) -> Html:
    """All claims of a page by scale, the largest that has run first: `tiny` is live, the others are recorded.

    Args:
        verdicts: scale -> verdicts in the claims' order, or None where nothing has run.
    Returns:
        one sentence a scale, then claims by those that have run; `frame` has a row per claim and scale.
    """
    scales = {scale: top_records(found) for scale, found in verdicts.items()}
    sentences = "".join(
        f"<li><strong>{escape(scale)}</strong> ({_manner(scale)}): {_sentence(tops)}</li>"
        for scale, tops in reversed(list(scales.items()))
    )
    ran = [scale for scale, tops in reversed(list(scales.items())) if tops]
    lines = []
    for place, top in enumerate(scales[ran[0]] if ran else []):
        cells = [cell(escape(top["claim"]), place, "th"), cell(escape(top["title"]))]
        for scale in ran:
            here = scales[scale][place]
            said = small(here["says"] if here["says"] != here["answer"] else "") + _after_holm(here) + _revised(here)
            shown = badge(here["verdict"], here["answer"]) + said
            cells.append(cell(shown, _rank(here["verdict"]), extra=f'data-scale="{escape(scale)}"'))
        lines.append(row(cells))
    grid = table(["id", "claim", *ran], lines, "Verdicts by claim and scale", "verdicts")
    frame = pd.DataFrame([top for tops in scales.values() for top in tops])
    return Html(f'<div class="verdict-box"><ul>{sentences}</ul>{grid}</div>', frame)


def claims_table(verdicts: Iterable[Judged], reported: Iterable[Entry] = (), name: str = "claims") -> Html:
    """One row per claim with its parts below it: reported | ours (mean, 95 % interval) | n | verdict.

    Args:
        verdicts: of one scale.
        reported: what the paper printed; a claim without an entry, or with an empty one, says "not reported".
        name: of the CSV file.
    Returns:
        a table that sorts by any column with parts staying below their claim; a CSV with full precision beside it.
    """
    entries = [entry.model_dump() for entry in reported]
    lines: list[str] = []
    records: list[dict[str, Any]] = []
    for place, verdict in enumerate(verdicts):
        top, *parts = verdict.records()
        records += [top, *parts]
        lines += _claim_rows(place, top, parts, [e for e in entries if e["claim"] == top["claim"]])
    headers = ["id", "claim", "reported", "ours", "verdict"]
    frame = pd.DataFrame(records)
    more = (
        '<p class="how">Ours: mean over seeds [95 % t interval, which can reach past 100 %]. '
        '<label class="more"><input type="checkbox"> also show the numbers that decide nothing</label></p>'
    )
    body = table(headers, lines, "Claims: reported, ours, interval, verdict", "claims")
    return Html(f'<div class="claims-table">{more}{body}{csv_link(frame, name)}</div>', frame)


def claims_by_scale(verdicts: Scales, live: str, reported: Iterable[Entry] = (), name: str = "claims") -> Html:
    """The claims table of every scale that has run: the largest open, the others folded below it.

    Args:
        verdicts: scale -> verdicts, or None where nothing has run.
        live: the scale that the page was run at; the others are from recorded runs.
        reported: as for `claims_table`.
        name: of the CSV files; those of recorded scales end in the scale.
    """
    entries, texts = list(reported), []
    frames: list[pd.DataFrame] = []
    for scale, found in reversed(list(verdicts.items())):
        about = f"<strong>{escape(scale)}</strong> ({_manner(scale, live)}): {_sentence(top_records(found))}"
        if found is None:
            texts.append(f"<p>{about}</p>")
            continue
        made = claims_table(found, entries, name if scale == live else f"{name}-{scale}")
        folded = f'<details class="scale"><summary>{about}</summary>{made.html}</details>'
        texts.append(folded if frames else f"<p>{about}</p>{made.html}")
        frames.append(made.frame)
    return Html("".join(texts), pd.concat(frames, ignore_index=True) if frames else pd.DataFrame())


def _claim_rows(
    place: int, top: dict[str, Any], parts: list[dict[str, Any]], entries: list[dict[str, Any]]
) -> list[str]:
    """The claim's row and those of its parts; parts carry the claim's sort keys, so they stay with it."""
    key: list[Any] = [place, top["title"], "", "", _rank(top["verdict"])]
    alone = parts[0] if len(parts) == 1 else None
    stated = f"<strong>{escape(top['title'])}</strong> {escape(top['statement'])}"
    origin = "the paper's" if top["origin"] == "P" else "our question"
    stated += small(f"{origin}: {top['source']}") + small(top["note"]) + _revised(top)
    ours = _numbers(alone) + small(_remark(alone)) if alone else escape(_counted(parts)) + _seeds(top)
    values = [e for e in entries if e["value"] is not None and not e["part"]]
    printed = "".join(
        "".join(f"<div>{escape(_value(e['value']))} {escape(e['unit'])}</div>" for e in group) + small(where)
        for where, group in groupby(values, key=lambda entry: str(entry["where"]))
    )
    beside = {entry["part"]: entry for entry in entries if entry["part"]}
    key[2], key[3] = (values[0]["value"] if values else ""), (_sort_value(alone) if alone else "")
    first = [escape(top["claim"]), stated, printed or "not reported", ours, _verdict(partly(top, parts))]
    lines = [row([cell(first[0], key[0], "th"), *map(cell, first[1:], key[1:])], "claim")]
    if all(part["verdict"] == NOT_RUN for part in parts):  # its note says what it waits for
        return lines
    above = ""  # the remark of the last part that is always shown: said once where many parts ask the same
    for index, part in enumerate(parts if alone is None else []):
        numbers, word = _numbers(part), _verdict(part)
        below = _below(parts, index)
        if below:  # a heading: what its sets say
            numbers = escape(_tally_text(Counter(p["verdict"] for p in below), "set")) + _seeds(part)
            word = "" if part["verdict"] == "descriptive" else word
        counts, remark = part["counts"] and part["level"] == 1, _remark(part)
        about = f'<span class="part-name level-{part["level"]}">{escape(part["part"])}</span>'
        about += small("same test" if counts and remark == above != "" else remark)
        above = remark if counts else above
        paper = beside.get(part["part"])
        cells = [cell(escape(top["claim"]), key[0], "th"), *_asked(about, paper, key)]
        cells += [cell(numbers, key[3]), cell(word, key[4])]
        lines.append(row(cells, "part" if counts or part["shown"] or paper else "part listed"))
    return lines


def _asked(about: str, paper: dict[str, Any] | None, key: list[Any]) -> list[str]:
    """What a part asks and what the paper printed of it, or over both columns and an empty one, kept for sorting."""
    if paper is None:
        return [cell(about, key[1], extra='colspan="2"'), cell("", key[2], extra="hidden")]
    return [cell(about, key[1]), cell(escape(printed_value(paper)) + small(paper["where"]), key[2])]


def printed_value(entry: dict[str, Any]) -> str:
    """A reported difference or ratio as our own are printed, such as "+2.5 points" or "1.05 times"."""
    form = "+.1f" if entry["unit"] == "points" else ".3g"
    return f"{entry['value']:{form}} {entry['unit']}".replace("-", "−")


def _below(parts: list[dict[str, Any]], index: int) -> list[dict[str, Any]]:
    found = []
    for part in parts[index + 1 :]:
        if part["level"] <= parts[index]["level"]:
            break
        found.append(part)
    return found


def _numbers(part: dict[str, Any]) -> str:
    shown = interval(part["estimate"], part["low"], part["high"], part["unit"])
    return escape(shown) + _seeds(part) if shown else ""


def _sort_value(part: dict[str, Any]) -> Any:
    return "" if part["estimate"] is None else part["estimate"]


def _remark(part: dict[str, Any]) -> str:
    """What a part asks, what it averages over, and what there is to say about it."""
    several = part["sets"].count(",") > 0
    texts = [part["asks"], f"mean of {part['sets']}" if several else "", part["note"]]
    return "; ".join(text for text in texts if text)


def _verdict(record: dict[str, Any]) -> str:
    """The badge, and below it whether the verdict survives Holm's correction over the page."""
    p = record.get("p_holm")
    shown = badge(record["verdict"], record["answer"]) + _after_holm(record)
    if not record["stands"]:
        return shown
    return shown + (small(f"Holm\u00a0p\u00a0{'< 0.001' if p < 0.001 else f'= {p:.3f}'}") if p is not None else "")


def _after_holm(record: dict[str, Any]) -> str:
    """What the correction makes of a verdict, "" where it changes nothing; parts that have not run leave it open."""
    if record["stands"]:
        return ""
    return small(f"† after Holm: {'open' if record['holm'] == NOT_RUN else record['holm']}")


def _revised(record: dict[str, Any]) -> str:
    """What moved after results had been seen, "" where nothing did."""
    return small(f"‡ {record['revised']}" if record["revised"] else "")


def marked(record: dict[str, Any]) -> str:
    """What a name or number carries where there is no room for words: † gone after Holm, ‡ revised after results."""
    return ("" if record["stands"] else "\u00a0†") + ("\u00a0‡" if record.get("revised") else "")


def _counted(parts: list[dict[str, Any]]) -> str:
    return _tally_text(Counter(p["verdict"] for p in parts if p["level"] == 1 and p["counts"]), "part")


def _tally_text(words: Counter[str], noun: str) -> str:
    """Such as "3 parts: 2 hold, 1 inconclusive"; "" for none."""
    total = sum(words.values())
    texts = [_counted_word(words[word], word) for word in SYMBOLS if words[word]]
    return f"{total} {noun}{'' if total == 1 else 's'}: {', '.join(texts)}" if total else ""


def _counted_word(count: int, word: str) -> str:
    return f"{count} {word if count == 1 else PLURALS.get(word, word)}"


def _sentence(tops: list[dict[str, Any]]) -> str:
    """Counts in words, with the number of seeds."""
    words = Counter(top["verdict"] for top in tops)
    if not tops or set(words) == {NOT_RUN}:
        reasons = {top["note"] for top in tops}
        return escape(f"not run: {reasons.pop()}." if len(reasons) == 1 else "not run.")
    return escape(f"{_tally_text(words, 'claim')}; {span(tops)}.")


def span(tops: list[dict[str, Any]]) -> str:
    """Seeds behind the verdicts, not of claims that wait: "5 seeds", "3 to 5 seeds", "1 seed", or "no seeds"."""
    seeds = sorted({top["n"] for top in tops if top["n"] and top["verdict"] != NOT_RUN})
    if seeds == [1]:
        return "1 seed"
    return f"{seeds[0] if len(seeds) == 1 else f'{seeds[0]} to {seeds[-1]}' if seeds else 'no'} seeds"


def top_records(found: Iterable[Judged] | None) -> list[dict[str, Any]]:
    """The record of each claim, without those of its parts; see `partly`."""
    records = [] if found is None else [verdict.records() for verdict in found]
    return [partly(top, parts) for top, *parts in records]


def partly(top: dict[str, Any], parts: list[dict[str, Any]]) -> dict[str, Any]:
    """The claim's record; it says if it waits for some of its parts alone, and what its parts say if they differ."""
    counted = [part for part in parts if part["counts"] and part["level"] == 1]
    held = sum(part["verdict"] == "holds" for part in counted)
    if top["verdict"] == "does not hold" and held:
        return {**top, "says": f"{held} of {len(counted)} parts hold"}
    if top["verdict"] == NOT_RUN and any(part["verdict"] != NOT_RUN for part in counted):
        return {**top, "answer": PARTLY}
    if top["answer"] == "mixed":
        answers = Counter(part["answer"] for part in counted)
        return {**top, "says": ", ".join(f"{count} of {len(counted)} {answer}" for answer, count in answers.items())}
    return top


def _manner(scale: str, live: str = LIVE) -> str:
    return "live" if scale == live else "recorded"


def _rank(word: str) -> int:
    return list(SYMBOLS).index(word)


def _seeds(record: dict[str, Any]) -> str:
    return small(f"n = {record['n']} seed{'' if record['n'] == 1 else 's'}") if record["n"] else ""


def _value(value: float) -> str:
    return f"{value:g}"
