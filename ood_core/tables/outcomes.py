"""Outcomes that a text explains, read from the verdicts, so that a later run changes them and not the text."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from typing import TYPE_CHECKING, Any

import pandas as pd

from ..checks import InputError
from .html import Html, badge, interval
from .verdicts import NOT_RUN, partly

if TYPE_CHECKING:
    from ..claims import Verdict
    from .verdicts import Scales


def outcomes(verdicts: Scales, asked: Iterable[str]) -> Html:
    """A line for each claim or part: what came of it at each scale.

    Args:
        verdicts: scale -> verdicts, or None where nothing has run.
        asked: ids of claims such as "I2", or one part of a claim by its name, such as "N6: AUROC of l1 norm".
    Returns:
        a list, with the numbers of parts and of claims that have a single one; `frame` has a row per line and scale.
    Raises:
        InputError: nothing asked, or a claim or part that the verdicts of no scale have.
    """
    names = list(asked)
    if not names:
        raise InputError('asked is empty, expected ids of claims such as "I2".\nName what the text explains.')
    judged = {scale: list(found) for scale, found in verdicts.items() if found is not None}
    lines, rows = [], []
    for name in names:
        found = {scale: _found(judged[scale], name) if scale in judged else None for scale in verdicts}
        known = [record for record in found.values() if record is not None]
        if judged and not known:
            raise InputError(
                f"asked for {name!r}, expected one of: {'; '.join(_near(judged, name))}.\n"
                "Name a claim by its id, or a part by id, colon and its name in the table of claims."
            )
        title = f" {known[0]['called']}" if known else ""
        told = "; ".join(f"{_told(record)} at {escape(scale)}" for scale, record in found.items())
        lines.append(f"<li><strong>{escape(name.partition(': ')[0])}</strong>{escape(title)}: {told}.</li>")
        rows += [{"asked": name, **(record or {"verdict": NOT_RUN}), "scale": scale} for scale, record in found.items()]
    return Html(f'<ul class="outcomes">{"".join(lines)}</ul>', pd.DataFrame(rows))


def _found(judged: Iterable[Verdict], name: str) -> dict[str, Any] | None:
    """The record of a claim or part, with what to call it and its numbers, or None."""
    claim, _, part = name.partition(": ")
    for top, *parts in (verdict.records() for verdict in judged):
        if top["claim"] == claim and not part:
            alone = parts[0] if len(parts) == 1 else None
            return {**partly(top, parts), "called": top["title"], "numbers": _numbers(alone) if alone else ""}
        for record in parts if top["claim"] == claim else []:
            if record["part"] == part:
                return {**record, "called": part, "numbers": _numbers(record)}
    return None


def _near(judged: dict[str, list[Verdict]], name: str) -> list[str]:
    """What can be asked for instead: the parts of the claim that is named, or the claims."""
    records = [verdict.records() for verdict in next(iter(judged.values()))]
    claim = name.partition(": ")[0]
    parts = [f"{claim}: {part['part']}" for top, *below in records for part in below if top["claim"] == claim]
    return parts or [top["claim"] for top, *_ in records]


def _numbers(record: dict[str, Any]) -> str:
    return interval(record["estimate"], record["low"], record["high"], record["unit"])


def _told(record: dict[str, Any] | None) -> str:
    """Such as "holds (+2.0 points [+1.4, +2.7]; 5 seeds)"."""
    if record is None:
        return badge(NOT_RUN)
    seeds = f"{record['n']} seed{'' if record['n'] == 1 else 's'}" if record["n"] else ""
    holm = "" if record["stands"] else f"after Holm: {'inconclusive' if record['holm'] == NOT_RUN else record['holm']}"
    says = record.get("says", "")
    told = "; ".join(filter(None, [says if says != record["answer"] else "", record["numbers"], seeds, holm]))
    if record.get("unit") == "percent" and record["verdict"] in ("answered", "descriptive"):
        return escape(told)  # a share, which is on no side of anything
    return badge(record["verdict"], record["answer"]) + (f" ({escape(told)})" if told else "")
