"""The front page's table: which claims of each paper hold, and the numbers of its main ones on request."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from html import escape
from typing import TYPE_CHECKING, Any

import pandas as pd

from .claim_table import printed_value
from .html import SYMBOLS, Html, badge, cell, interval, mark, row, small, table
from .verdicts import NOT_RUN, PARTLY, has_run, marked, partly, span, tally_text, telling, words_of

if TYPE_CHECKING:
    from ..claims import Page, Reported
    from .verdicts import Scales

NOT_AFTER_HOLM = "† not after Holm's correction over the page"
OWN = {"paper": "the papers' own scale"}
BESIDE = "° beside the claim: decides nothing, is not corrected, and may have been added after results had been seen"
REVISED = "‡ a rule or recipe changed after results had been seen: the page says what moved"


def scoreboard(
    pages: Mapping[str, Scales],
    cards: Mapping[str, Page] | None = None,
    links: Mapping[str, str] | None = None,
    reported: Mapping[str, Iterable[Reported]] | None = None,
    baselines: Mapping[str, float | None] | None = None,
) -> Html:
    """All papers, a row each: all claims by verdict and the numbers of its headline, at the largest scale that decides.

    Args:
        pages: page -> scale -> verdicts, or None where nothing has run.
        cards: page -> title, paper, claims and headline; the page's name stands in where there is none.
        links: page -> address of its page, for those that have one.
        reported: page -> what its paper printed; stands behind our numbers where a part measures the same.
        baselines: scale -> test accuracy of networks trained with cross-entropy alone.
    Returns:
        the table, and sentences on all claims and on the scales at which no paper has run; `frame` has a row per page
        and scale with the counts of verdicts.
    """
    lines, counts = [], []
    scales = list(dict.fromkeys(scale for found in pages.values() for scale in found))
    records = {page: _records({scale: found.get(scale) for scale in scales}) for page, found in pages.items()}
    judged = {
        page: {scale: [partly(top, parts) for top, *parts in here] for scale, here in found.items()}
        for page, found in records.items()
    }
    for page, found in judged.items():
        card = (cards or {}).get(page)
        title = escape(card.title if card else page)
        link = (links or {}).get(page)
        head = f'<a href="{escape(link)}">{title}</a>' if link else title
        words = {scale: Counter(top["verdict"] for top in here) for scale, here in found.items()}
        counts += [{"page": page, "scale": scale, **{word: words[scale][word] for word in SYMBOLS}} for scale in scales]
        answer = _answer(found, records[page], card, _beside((reported or {}).get(page, ())))
        about = head + small(card.paper if card else "")
        lines.append(row([cell(about, card.title if card else page, "th"), cell(answer)]))
    grid = table(["paper", "its claims"], lines, "Scoreboard of claims by paper and scale", "scoreboard")
    left = [scale for scale in scales if not any(has_run(found[scale]) for found in judged.values())]
    named = escape(" or ".join(OWN.get(scale, f"scale {scale}") for scale in left))
    never = f"<p><strong>Nothing has been run at {named} yet.</strong></p>" if left else ""
    whole = _whole(judged, scales, cards or {}, baselines or {})
    return Html(f'<div class="scoreboard-box">{whole}{never}{grid}</div>', pd.DataFrame(counts))


def _whole(
    judged: Mapping[str, Mapping[str, list[dict[str, Any]]]],
    scales: list[str],
    cards: Mapping[str, Page],
    baselines: Mapping[str, float | None],
) -> str:
    """All claims in one sentence, at the largest scale that decides some; "" where none has run."""
    scale = max((telling(found) for found in judged.values()), key=["", *scales].index, default="")
    tops = [top for found in judged.values() for top in found[scale]] if scale else []
    if not tops:
        return ""
    words = words_of(tops)
    words[NOT_RUN] += sum(len(card.claims) for page, card in cards.items() if not judged[page][scale])
    corrected = Counter(top["verdict"] if top["stands"] else top["holm"] for top in tops)
    holm = f"; {corrected['holds']} hold and {corrected['does not hold']} do not after Holm's correction over each page"
    told = tally_text(words, "claim") + (holm if any(not top["stands"] for top in tops) else "")
    return f"<p><strong>At {escape(scale)}:</strong> {escape(told)}.{_accuracy(scale, baselines)}</p>"


def _accuracy(scale: str, baselines: Mapping[str, float | None]) -> str:
    """How good the networks are that all claims are about."""
    found = baselines.get(scale)
    return "" if found is None else f" Cross-entropy alone gets {100 * found:.1f} % of the test images right."


def headline(
    verdicts: Scales, card: Page, reported: Iterable[Reported] = (), baselines: Mapping[str, float | None] | None = None
) -> Html:
    """The numbers of one paper's row on the front page, at the largest scale that decides.

    Args:
        verdicts: scale -> verdicts, or None where nothing has run.
        card: its claims and headline.
        reported: what its paper printed.
        baselines: as for `scoreboard`.
    """
    records = _records(verdicts)
    found = {scale: [partly(top, parts) for top, *parts in here] for scale, here in records.items()}
    scale = telling(found)
    if not scale:
        return Html(f"<p>Not run yet: {len(card.claims)} claims stated.</p>", pd.DataFrame())
    lines, notes = _headline(records[scale], card, _beside(reported))
    judged = tally_text(words_of(found[scale]), "claim")
    right = _accuracy(scale, baselines or {})
    told = f"<p><strong>At {escape(scale)}</strong>, {span(found[scale])}, {escape(judged)}.{right}</p>"
    return Html(f'<div class="first-answer">{told}{lines}{notes}</div>', pd.DataFrame())


def _records(found: Scales) -> dict[str, list[list[dict[str, Any]]]]:
    return {scale: [verdict.records() for verdict in judged or ()] for scale, judged in found.items()}


def _beside(reported: Iterable[Reported]) -> dict[tuple[str, str], Any]:
    printed = [entry.model_dump() for entry in reported]
    return {(entry["claim"], entry["part"]): entry for entry in printed if entry["part"]}


def _headline(
    here: list[list[dict[str, Any]]], card: Page | None, beside: dict[tuple[str, str], Any]
) -> tuple[str, str]:
    """The numbers of a card at one scale, a line each, and what their marks mean."""
    parts = {(part["claim"], part["part"]): part for _, *each in here for part in each}
    lines = []
    for line in card.headline if card else ():
        asked = [(number.label, (number.claim, number.part)) for number in line.numbers]
        waits = all(place not in parts or parts[place]["verdict"] == NOT_RUN for _, place in asked)
        numbers = "; ".join(_number(label, parts.get(place), beside.get(place)) for label, place in asked)
        numbers = NOT_RUN if waits else numbers
        lines.append(f"<li>{escape(line.says)}: {numbers}</li>")
    whole = f'<ul class="headline">{"".join(lines)}</ul>' if lines else ""
    return whole, _notes(whole)


def _notes(signs: str) -> str:
    return "".join(small(text) for text in (NOT_AFTER_HOLM, REVISED, BESIDE) if text[0] in signs)


def _answer(
    found: dict[str, list[dict[str, Any]]],
    records: dict[str, list[list[dict[str, Any]]]],
    card: Page | None,
    beside: dict[tuple[str, str], Any],
) -> str:
    """All claims and the headline, at the largest scale that decides some; failing that, the largest that has run."""
    scale = telling(found)
    if not scale:
        stated = len(card.claims) if card else 0
        return f"Not run yet: {stated} claims stated." if stated else "Not run yet."
    here = found[scale]
    lines, notes = _headline(records[scale], card, beside)
    numbers = f"<details><summary>the main numbers</summary>{lines}{notes}</details>" if lines else ""
    signs = _notes("".join(marked(top) for top in here))
    return f"At {escape(scale)}, {span(here)}:{_by_verdict(here)}{signs}{numbers}"


def _number(label: str, part: dict[str, Any] | None, paper: dict[str, Any] | None) -> str:
    """Such as "near ✓ +4.9 points [+3.8, +6.0] (paper +5.0 points)"; a share without a claim has no symbol."""
    if part is None:  # of a claim that this scale cannot run
        return escape(f"{label} {NOT_RUN}".strip())
    shown = interval(part["estimate"], part["low"], part["high"], part["unit"])
    plain = part["unit"] == "percent" and part["verdict"] in ("answered", "descriptive")
    symbol = "" if plain else f"{mark(part['verdict'], part['answer'])} "
    said = f"{symbol}{escape(shown)}{escape('' if plain else marked(part))}" if shown else NOT_RUN
    told = f' <span class="one-number">({escape(f"paper {printed_value(paper)}")})</span>' if paper else ""
    return f'<span class="one-number">{escape(f"{label} " if label else "")}{said}</span>{told}'


def _by_verdict(here: list[dict[str, Any]]) -> str:
    lines = []
    for word, answer in [*((word, "") for word in SYMBOLS), (NOT_RUN, PARTLY)]:
        found = [top for top in here if top["verdict"] == word and (top["answer"] == PARTLY) == (answer == PARTLY)]
        titles = [top["title"] + (f" ({top['says']})" if top["says"] else "") + marked(top) for top in found]
        if titles:
            lines.append(f"<li>{badge(word, answer)}: {escape('; '.join(titles))}</li>")
    return f"<ul>{''.join(lines)}</ul>"
