"""What judging gives: a result for each part, a verdict for each claim, and both as flat records."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from .rules import MIXED
from .schema import Claim, Part


@dataclass(frozen=True)
class Result:
    """The verdict on one part: the word, and the numbers it rests on.

    `estimate`, `low`, `high` are in the part's own units (fractions, differences of fractions, ratios); None where
    there is no such number. `p` is two-sided, `p_holm` is adjusted over the counted parts of the page, `holm` the word
    and answer that survive the adjustment. `values` holds the per-seed numbers (differences for two groups), `sets` the
    OOD sets a number is the mean of. A part repeated for each OOD set carries one result a set in `parts`.
    """

    part: Part
    name: str
    word: str
    answer: str = ""
    estimate: float | None = None
    low: float | None = None
    high: float | None = None
    n: int = 0
    p: float | None = None
    p_holm: float | None = None
    holm: tuple[str, str] = ("", "")
    note: str = ""
    values: dict[int, float] = field(default_factory=dict)
    sets: tuple[str, ...] = ()
    parts: tuple[Result, ...] = ()

    @property
    def stands(self) -> bool:
        """Whether word and answer survive Holm's correction."""
        return self.holm == (self.word, self.answer)


@dataclass(frozen=True)
class Verdict:
    """The verdict on one claim at one scale; `n` is the smallest number of seeds among the parts that count."""

    claim: Claim
    scale: str
    word: str
    answer: str = ""
    note: str = ""
    n: int = 0
    holm: tuple[str, str] = ("", "")
    parts: tuple[Result, ...] = ()

    @property
    def stands(self) -> bool:
        """Whether word and answer survive Holm's correction over the page."""
        return self.holm == (self.word, self.answer)

    def records(self) -> list[dict[str, Any]]:
        """One flat record for the claim and one for each part in reading order, with raw numbers.

        Keys of both: scale, claim, level (0 the claim, 1 its parts, 2 the parts of a part), part, verdict, answer,
        holm, stands, n, note. A claim's own: title, statement, origin, source, revised, says (the answer in words), why
        (what the note says of the verdict), explained (our explanation, if it is of this verdict). A part's own: asks,
        counts, shown, unit, estimate, low, high, p, p_holm, sets, by_seed.
        """
        claim = self.claim
        named = {"title": claim.title, "statement": claim.statement, "origin": claim.origin, "source": claim.source}
        named["revised"] = claim.revised.get(self.scale, "")  # type: ignore[call-overload]
        named["says"] = self._says()
        named["why"] = self.note
        known = claim.explained.get(self.scale)  # type: ignore[call-overload]
        named["explained"] = known.text if known is not None and known.of == self.word else ""
        note = "; ".join(text for text in (self.note, claim.note) if text)
        found = [
            {"scale": self.scale, "claim": claim.id, "level": 0, "part": "", **named, **_decided(self), "note": note}
        ]
        for level, result in walk(self.parts):
            part = result.part
            numbers = {key: getattr(result, key) for key in ("estimate", "low", "high", "p", "p_holm")}
            measured = {"asks": part.asks, "counts": part.counts, "shown": part.shown, "unit": part.unit, **numbers}
            measured["sets"] = ", ".join(result.sets)
            measured["by_seed"] = " ".join(f"{seed}:{value!r}" for seed, value in result.values.items())
            note = "; ".join(text for text in (result.note, part.note) if text)
            top = {"scale": self.scale, "claim": claim.id, "level": level, "part": result.name}
            found.append({**top, **measured, **_decided(result), "note": note})
        return found

    def _says(self) -> str:
        """The answer in the claim's words; where parts answer differently, how many give each."""
        words: dict[str, str] = dict(self.claim.answers)  # type: ignore[arg-type]
        if self.answer != MIXED:
            return words.get(self.answer, self.answer)
        given = Counter(result.answer for result in self.parts if result.part.counts)
        told = (f"{words.get(answer, answer)} in {count} of {given.total()}" for answer, count in given.items())
        return ", ".join(told)


def _decided(outcome: Result | Verdict) -> dict[str, Any]:
    holm = f"{outcome.holm[0]}: {outcome.holm[1]}" if outcome.holm[1] else outcome.holm[0]
    decided = {"verdict": outcome.word, "answer": outcome.answer, "holm": holm}
    return {**decided, "stands": outcome.stands, "n": outcome.n}


def walk(results: Iterable[Result], level: int = 1) -> Iterator[tuple[int, Result]]:
    """Level and result in reading order, each followed by its own parts one level down."""
    for result in results:
        yield level, result
        yield from walk(result.parts, level + 1)


def frame(verdicts: Iterable[Verdict]) -> pd.DataFrame:
    """The records of all verdicts as one table; a field that does not apply is missing there."""
    return pd.DataFrame([record for verdict in verdicts for record in verdict.records()])
