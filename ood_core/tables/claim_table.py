"""The table of claims: each with its parts below it, what the paper printed beside ours, and the verdict."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from html import escape
from itertools import groupby
from typing import TYPE_CHECKING, Any

import pandas as pd

from .html import Html, badge, cell, csv_link, interval, p_value, row, small, stacked, table
from .verdicts import (
    NOT_RUN,
    after_holm,
    explained,
    manner,
    partly,
    rank,
    revised,
    sentence,
    tally_text,
    telling,
    top_records,
    with_verdicts,
)

if TYPE_CHECKING:
    from ..claims import Reported, Verdict
    from .verdicts import Scales

Record = dict[str, Any]


def claims_table(verdicts: Iterable[Verdict], reported: Iterable[Reported] = (), name: str = "claims") -> Html:
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
    records: list[Record] = []
    for place, verdict in enumerate(verdicts):
        top, *parts = verdict.records()
        records += [top, *parts]
        lines += _claim_rows(place, top, parts, [e for e in entries if e["claim"] == top["claim"]])
    headers = ["id", "claim", "reported", "ours", "verdict"]
    frame = pd.DataFrame(records)
    body = table(headers, lines, "Claims: reported, ours, interval, verdict", "claims")
    every = _all_sets(record.get("sets", "") for record in records)
    if every:  # said once, above: rows can be sorted, so none can refer to another
        body = body.replace(escape(every), f"all {every.count(',') + 1} sets")
    more = (
        '<p class="how">Ours: mean over seeds [95 % t interval, which can reach past 100 %]. '
        f"{escape(f'All sets: {every}. ' if every else '')}"
        '<label class="more each"><input type="checkbox"> show the numbers of every part</label> '
        '<label class="more rest"><input type="checkbox"> also show the numbers that decide nothing</label></p>'
    )
    return Html(f'<div class="claims-table">{more}{body}{csv_link(frame, name)}</div>', frame)


def _all_sets(lists: Iterable[str]) -> str:
    """The names of all sets, where there are more than two and several means are over all of them, else ""."""
    used = Counter(text for text in lists if text)
    longest = max(used, key=lambda text: text.count(","), default="")
    names = longest.split(", ")
    every = {name for text in used for name in text.split(", ")}
    return longest if len(names) > 2 and used[longest] > 1 and every == set(names) else ""


def claims_by_scale(verdicts: Scales, live: str, reported: Iterable[Reported] = (), name: str = "claims") -> Html:
    """The claims table of every scale that has run: the largest with a verdict open, the others folded.

    Args:
        verdicts: scale -> verdicts, or None where nothing has run.
        live: the scale that the page was run at; the others are from recorded runs.
        reported: as for `claims_table`.
        name: of the CSV files; those of recorded scales end in the scale.
    """
    entries, texts = list(reported), []
    frames: list[pd.DataFrame] = []
    tops = {scale: top_records(found) for scale, found in reversed(list(verdicts.items()))}
    opened = telling({scale: tops[scale] for scale in verdicts}) or [*with_verdicts(tops), ""][0]
    for scale, found in reversed(list(verdicts.items())):
        about = f"<strong>{escape(scale)}</strong> ({manner(scale, live)}): {sentence(tops[scale])}"
        if found is None:
            texts.append(f"<p>{about}</p>")
            continue
        made = claims_table(found, entries, name if scale == live else f"{name}-{scale}")
        folded = f'<details class="scale"><summary>{about}</summary>{made.html}</details>'
        texts.append(f"<p>{about}</p>{made.html}" if scale == opened else folded)
        frames.append(made.frame)
    return Html("".join(texts), pd.concat(frames, ignore_index=True) if frames else pd.DataFrame())


@dataclass
class _Above:
    """What rows above have said, so that those below need not."""

    n: int  # seeds of the claim
    sets: str  # that every part's means are over, "" where parts differ
    places: set[str]  # where printed numbers stand
    lists: set[str] = field(default_factory=set)  # of sets that parts' means are over
    remark: str = ""  # of the last part that is always shown


def _claim_rows(place: int, top: Record, parts: list[Record], entries: list[Record]) -> list[str]:
    """The claim's row and those of its parts; parts carry the claim's sort keys, so they stay with it."""
    alone = parts[0] if len(parts) == 1 else None
    values = [entry for entry in entries if entry["value"] is not None and not entry["part"]]
    beside = {entry["part"]: entry for entry in entries if entry["part"]}
    several = Counter(part["sets"] for part in parts if "," in part["sets"])
    above = _Above(
        n=top["n"],
        sets=next(iter(several)) if len(several) == 1 and several.total() > 1 else "",
        places={entry["where"] for entry in values},
    )
    key: list[Any] = [place, top["title"], values[0]["value"] if values else "", "", rank(top["verdict"])]
    key[3] = "" if alone is None or alone["estimate"] is None else alone["estimate"]
    stated = f"<strong>{escape(top['title'])}</strong> {escape(top['statement'])}"
    origin = "the paper's" if top["origin"] == "P" else "our question"
    decides = [part for part in parts if part["counts"]] or parts
    waits = all(part["verdict"] == NOT_RUN for part in decides)
    stated += small(f"{origin}: {top['source']}") + small(top["why"] if waits and top["why"] else top["note"])
    stated += small(f"Means are over {above.sets}." if above.sets else "") + revised(top) + explained(top)
    ours = _numbers(alone) + small(_remark(alone)) if alone else escape(_counted(parts)) + _seeds(top["n"])
    claim, verdict = escape(top["claim"]), _verdict(partly(top, parts))
    if alone and len(values) < 2:
        asked = _beside(stated, _printed(values[0], set()) if values else "not reported", key)
    else:
        asked = _whole(stated + _listed(values, "" if beside else "Not reported."), key)
    lines = [_row(claim, key, asked, ours, verdict, "claim")]
    if waits:  # its note says what for
        return lines
    if alone is None:
        shown = _merged(parts, beside.keys())
        ran = [index for index, part in enumerate(shown) if part["verdict"] != NOT_RUN]
        lines += [_part_row(claim, key, shown, index, beside.get(shown[index]["part"]), above) for index in ran]
        waiting = [part for part in parts if part["verdict"] == NOT_RUN and part["level"] == 1]
        lines += _waiting(claim, key, [part for part in waiting if part["counts"] or part["shown"]])
    return lines


def _merged(parts: list[Record], printed: Collection[str]) -> list[Record]:
    """Parts, those in a row as one that ask the same and came out the same as far as it is shown, with all names."""

    def shown(index: int) -> tuple[Any, ...]:
        part = parts[index]
        apart = part["part"] in printed or part["level"] > 1 or bool(_below(parts, index)) or part["verdict"] == NOT_RUN
        said = (part["counts"], part["shown"], _numbers(part), _verdict(part), _remark(part))
        return (index,) if apart else said

    found = []
    for _, together in groupby(range(len(parts)), key=shown):
        first, *others = together
        names = [parts[index]["part"] for index in (first, *others)]
        found.append({**parts[first], "part": "; ".join(names)} if others else parts[first])
    return found


def _part_row(
    claim: str, key: list[Any], parts: list[Record], index: int, printed: Record | None, above: _Above
) -> str:
    """The row of one part, without what `above` has said, to which it adds."""
    part = parts[index]
    counts, remark = part["counts"] and part["level"] == 1, _remark(part, above.sets)
    numbers, word, below = _numbers(part, above.n), _verdict(part), _below(parts, index)
    if below:  # a heading: what its sets say
        numbers = escape(tally_text(Counter(p["verdict"] for p in below), "set")) + _seeds(part["n"], above.n)
        word = "" if part["verdict"] == "descriptive" else word
    about = f'<span class="part-name level-{part["level"]}">{escape(part["part"])}</span>'
    if counts and remark == above.remark != "":
        about += small("same test")
    elif part["sets"] in above.lists:
        about += small(remark.replace(part["sets"], f"these {part['sets'].count(',') + 1} sets"))
    else:
        about += small(remark)
    asked = _beside(about, _printed(printed, above.places), key) if printed else _whole(about, key)
    if counts or part["shown"]:  # those that are hidden at first may not be all that says it
        above.remark = remark if counts else above.remark
        above.lists |= {part["sets"]} if "," in part["sets"] else set()
    above.places |= {printed["where"]} if printed else set()
    return _row(claim, key, asked, numbers, word, "part" if counts or part["shown"] or printed else "part listed")


def _waiting(claim: str, key: list[Any], parts: list[Record]) -> list[str]:
    """One row for all parts that have not run, with what they wait for; none where there are none."""
    if not parts:
        return []
    about = f'<span class="part-name level-1">{escape("; ".join(part["part"] for part in parts))}</span>'
    about += small("; ".join(dict.fromkeys(part["note"] for part in parts if part["note"])))
    return [_row(claim, key, _whole(about, key), "", badge(NOT_RUN), "part")]


def _row(claim: str, key: list[Any], asked: list[str], ours: str, verdict: str, css: str) -> str:
    return row([cell(claim, key[0], "th"), *asked, cell(ours, key[3]), cell(verdict, key[4])], css)


def _beside(about: str, printed: str, key: list[Any]) -> list[str]:
    """Two cells: what is asked, and what the paper printed of it."""
    return [cell(about, key[1]), cell(printed, key[2])]


def _whole(about: str, key: list[Any]) -> list[str]:
    """What is asked over both columns, and a hidden cell that keeps them sortable."""
    return [cell(about, key[1], extra='colspan="2"'), cell("", key[2], extra="hidden")]


def _printed(entry: Record, said: set[str]) -> str:
    """A printed number and where it stands, unless that is said."""
    return escape(printed_value(entry)) + small("" if entry["where"] in said else entry["where"])


def _listed(entries: list[Record], missing: str) -> str:
    """Printed numbers in lines below a claim, one for each place, or that there are none.

    Such as "Printed: 95 % AUROC (NAN), 90.7 (MSP); 30.1 % FPR95 (NAN)": what is measured stands with the first of each.
    """
    lines = [f'<span class="printed">{missing}</span>'] if missing and not entries else []
    for where, there in groupby(entries, key=lambda entry: str(entry["where"])):
        texts = []
        for kind, group in groupby(there, key=lambda entry: entry["unit"].partition(" (")[0]):
            first, *others = group
            bare = [_number(entry["value"]) + entry["unit"].removeprefix(kind) for entry in others]
            texts.append(", ".join([printed_value(first), *bare]))
        lines.append(f'<span class="printed">Printed: {escape("; ".join(texts))}</span>' + small(where))
    return "".join(lines)


def printed_value(entry: Record) -> str:
    """A reported number as our own are printed, such as "+2.5 points", "1.05 times" or "95 % AUROC (NAN)"."""
    form = {"points": "+.1f", "times": ".3g"}.get(entry["unit"], "g")
    return f"{_number(entry['value'], form)} {entry['unit']}"


def _below(parts: list[Record], index: int) -> list[Record]:
    found = []
    for part in parts[index + 1 :]:
        if part["level"] <= parts[index]["level"]:
            break
        found.append(part)
    return found


def _numbers(part: Record, said: int = 0) -> str:
    shown = interval(part["estimate"], part["low"], part["high"], part["unit"])
    return stacked(shown) + _seeds(part["n"], said) if shown else ""


def _remark(part: Record, said: str = "") -> str:
    """What a part asks, what it averages over unless that is said, and what there is to say about it."""
    several = "," in part["sets"] and part["sets"] != said
    texts = [part["asks"], f"mean of {part['sets']}" if several else "", part["note"]]
    return "; ".join(text for text in texts if text)


def _verdict(record: Record) -> str:
    """The badge, and below it whether the verdict survives Holm's correction over the page."""
    p = record.get("p_holm")
    shown = badge(record["verdict"], record["answer"]) + after_holm(record)
    shown += small("decides nothing" if record.get("shown") else "")
    if not record["stands"]:
        return shown
    return shown + (small(f"Holm\u00a0p\u00a0{p_value(p)}") if p is not None else "")


def _counted(parts: list[Record]) -> str:
    return tally_text(Counter(p["verdict"] for p in parts if p["level"] == 1 and p["counts"]), "part")


def _seeds(n: int, said: int = 0) -> str:
    """How many seeds, "" where there are none or as many as the claim has said."""
    return small(f"n = {n} seed{'' if n == 1 else 's'}") if n and n != said else ""


def _number(value: float, form: str = "g") -> str:
    return f"{value:{form}}".replace("-", "−")
