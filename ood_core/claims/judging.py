"""Judging claims: rules over selected rows, parts into claims, Holm's correction over the page."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from .. import stats
from ..checks import InputError, choice
from ..recipes import SCALES
from . import selection
from .outcomes import Result, Verdict, walk
from .rules import ANSWERED, DESCRIPTIVE, FAILS, HOLDS, MIXED, NO_DIFFERENCE, NOT_RUN, OPEN, RULES, takes
from .schema import Claim, Part

ALPHA = 0.05
Missing = Callable[[Sequence[str], int], str]


def judge(
    claims: Iterable[Claim], rows: pd.DataFrame, scale: str | None = None, missing: Missing | None = None
) -> list[Verdict]:
    """One verdict per claim, from tidy rows of one scale.

    Args:
        claims: as `load` returns them.
        rows: tidy rows with a `recipe` column; may be empty when nothing has run.
        scale: tiny, small or paper; the rows' own if left out.
        missing: for some recipes and a number of seeds, which runs are missing and how long they take, in words ("" for
            none): notes then say what a claim or part waits for.
    Returns:
        verdicts in the claims' order. Words: holds, does not hold, inconclusive, answered, descriptive, not run.
    Raises:
        InputError: missing columns, rows of several scales, or a selector that matches more than one number.
    """
    scale = _scale(rows, scale)
    table = None if rows.empty else selection.Table(rows)
    judged = [_claim(claim, table, scale, missing or _untold) for claim in claims]
    return _corrected(judged)


def _scale(rows: pd.DataFrame, scale: str | None) -> str:
    if rows.empty:
        return str(choice("scale", scale, SCALES))
    missing = [column for column in selection.NEEDED if column not in rows.columns]
    if missing:
        raise InputError(
            f"rows lack the columns {', '.join(missing)}, expected tidy rows with recipe.\nPass `results.rows`."
        )
    scales = sorted(rows["scale"].unique())
    if len(scales) > 1 or scale not in (None, scales[0]):
        raise InputError(
            f"rows are of scale {', '.join(scales)}, expected one{f', {scale}' if scale else ''}.\n"
            "Judge each scale on its own."
        )
    return str(choice("scale", scales[0], SCALES))


def _untold(_: Sequence[str], __: int) -> str:
    return ""


def _claim(claim: Claim, rows: selection.Table | None, scale: str, missing: Missing) -> Verdict:
    if reason := claim.not_run.get(scale, "" if claim.parts else "no parts are stated"):  # type: ignore[call-overload]
        return Verdict(claim, scale, NOT_RUN, note=reason, holm=(NOT_RUN, ""))
    if rows is None:
        return Verdict(claim, scale, NOT_RUN, note="no run of this page is recorded at this scale", holm=(NOT_RUN, ""))
    absent = claim.absent.get(scale, ())  # type: ignore[call-overload]
    parts = [_without(part, absent) for part in claim.parts] if absent else claim.parts
    verdict = _combined(claim, scale, tuple(_part(part, claim, rows, missing) for part in parts))
    if verdict.word != NOT_RUN:
        return verdict
    counted = [part for part in parts if part.counts] or parts
    names = selection.recipes_of(*(selector for part in counted for selector in (part.a, part.b)))
    return replace(verdict, note=_waits(names, claim, rows, missing) or verdict.note)


def _waits(names: Sequence[str], claim: Claim, rows: selection.Table, missing: Missing) -> str:
    """What has to run before a number of these recipes is there; "" if all have run, or nobody knows."""
    told = "" if all(map(rows.has, names)) else missing(names, claim.min_seeds)
    return f"waits for {told}" if told else ""


def _without(part: Part, absent: Collection[str]) -> Part:
    """A part whose lists of recipes lack those that a scale does not have."""
    narrow = {}
    for side in ("a", "b"):
        selector = getattr(part, side)
        if selector is not None and isinstance(selector["recipe"], list):
            names = [name for name in selector["recipe"] if name not in absent]
            narrow[side] = {**selector, "recipe": names}
    return part.model_copy(update=narrow)


def _part(part: Part, claim: Claim, rows: selection.Table, missing: Missing) -> Result:
    if part.each is None:
        return _leaf(part, part.name, claim, rows, missing)
    try:
        sets = selection.sets_of(rows, part.a)
    except selection.NotRecorded as reason:
        return _not_run(part, part.name, claim, rows, missing, reason)
    children = []
    for name in sets:
        narrow = {key: {**getattr(part, key), "ood_set": name} for key in ("a", "b") if getattr(part, key) is not None}
        one = part.model_copy(update={**narrow, "each": None, "at_least": None})
        children.append(_leaf(one, f"{part.name}: {name}", claim, rows, missing))
    return _gathered(Result(part, part.name, "", parts=tuple(children)))


def _not_run(
    part: Part, name: str, claim: Claim, rows: selection.Table, missing: Missing, reason: selection.NotRecorded
) -> Result:
    note = _waits(selection.recipes_of(part.a, part.b), claim, rows, missing) or str(reason)
    return Result(part, name, NOT_RUN, note=note, holm=(NOT_RUN, ""))


def _seeds(parts: Iterable[Result]) -> int:
    """The fewest seeds behind a part that was run: one that was not says so itself."""
    return min((r.n for r in parts if r.word != NOT_RUN), default=0)


def _gathered(result: Result) -> Result:
    """The word of a part that is repeated for each OOD set, from its own parts."""
    k = result.part.at_least
    how, k = ("listed", 0) if k is None else ("at_least", k)
    word, answer = combine([(r.word, r.answer) for r in result.parts], how, k)
    holm = combine([r.holm for r in result.parts], how, k)
    n = _seeds(result.parts)
    return replace(result, word=word, answer=answer, holm=holm, n=n)


def _leaf(part: Part, name: str, claim: Claim, rows: selection.Table, missing: Missing) -> Result:
    try:
        a = selection.pick(rows, part.a)
        b = None if part.b is None else selection.pick(rows, part.b)
        seeds, left, right, epochs, note = selection.pairs(a, b)
    except selection.NotRecorded as reason:
        return _not_run(part, name, claim, rows, missing, reason)
    arguments = {**part.arguments, **({"epochs": np.array(epochs)} if "epochs" in takes(part.rule) else {})}
    found = RULES[part.rule](*((left,) if right is None else (left, right)), **arguments)
    outcome, notes = (found.word, found.answer), [found.note, note]
    if part.rule != "always" and len(seeds) < claim.min_seeds:
        outcome = (DESCRIPTIVE, "")
        told = missing(selection.recipes_of(part.a, part.b), claim.min_seeds)
        waits = f", which waits for {told}" if told else ""
        notes.insert(0, f"{len(seeds)} of {claim.min_seeds} seeds: numbers without a verdict{waits}")
    differences = left if right is None or part.rule in ("spread", "correlation") else left - right
    values = {seed: float(v) for seed, v in zip(seeds, differences, strict=True)} if differences.ndim == 1 else {}
    return Result(
        part,
        name,
        *outcome,
        found.estimate,
        found.low,
        found.high,
        len(seeds),
        found.p,
        holm=outcome,
        note="; ".join(text for text in notes if text),
        values=values,
        sets=tuple(s for s in a.sets if s),
    )


def _combined(claim: Claim, scale: str, parts: tuple[Result, ...]) -> Verdict:
    counted = [result for result in parts if result.part.counts] or list(parts)
    word, answer = _by_groups(claim, [(r.part, (r.word, r.answer)) for r in counted])
    holm = _by_groups(claim, [(r.part, r.holm) for r in counted])
    if claim.needs_all and any(r.word == NOT_RUN for r in counted):
        (word, answer), holm = (NOT_RUN, ""), (NOT_RUN, "")
    n = _seeds(counted)
    reasons = [r.note for r in counted if r.word == word] if word in (NOT_RUN, DESCRIPTIVE) else []
    note = "numbers only" if claim.combine == "listed" and word == DESCRIPTIVE else next(iter(reasons), "")
    if word == OPEN and OPEN not in [r.word for r in counted]:
        note = "the parts that should agree do not: it depends on what differs between them"
    return Verdict(claim, scale, word, answer, note, n, holm, parts)


def _by_groups(claim: Claim, outcomes: Sequence[tuple[Part, tuple[str, str]]]) -> tuple[str, str]:
    """The word of a claim: each group of parts first, then groups and single parts together."""
    found: dict[str, list[tuple[str, str]]] = {}
    for part, outcome in outcomes:
        found.setdefault(part.group or f"part {part.name}", []).append(outcome)
    units = {name: combine(parts, claim.groups.get(name, "all")) for name, parts in found.items()}
    whole = combine(list(units.values()), claim.combine, claim.k or 0)
    return combine([whole, *(units[name] for name in claim.required)], "all") if claim.required else whole


def combine(outcomes: Sequence[tuple[str, str]], how: str, k: int = 0) -> tuple[str, str]:
    """The word, and for questions the answer, of several parts.

    `all`: one failure fails the whole; otherwise a part that is not run, descriptive or inconclusive makes the whole
    so, in that order. `at_least` k: holds with k that hold, fails when k can no longer be reached, else what is open.
    `agree`: the word or answer they share, else inconclusive; what is not run or descriptive makes the whole so.
    `listed`: descriptive.
    """
    words = [word for word, _ in outcomes]
    undecided = next((word for word in (NOT_RUN, DESCRIPTIVE, OPEN) if word in words), None)
    if how == "listed":
        return (NOT_RUN if words and set(words) == {NOT_RUN} else DESCRIPTIVE), ""
    if words and set(words) == {ANSWERED} and how != "agree":
        answers = [answer for _, answer in outcomes]
        return ANSWERED, answers[0] if len(set(answers)) == 1 else MIXED
    if how == "agree":
        return outcomes[0] if len(set(outcomes)) == 1 else (undecided or OPEN, "")
    if how == "at_least":
        held = words.count(HOLDS)
        if held >= k:
            return HOLDS, ""
        return (FAILS if len(words) - words.count(FAILS) < k else undecided or FAILS), ""
    return (FAILS if FAILS in words else undecided or HOLDS), ""


def _corrected(verdicts: list[Verdict]) -> list[Verdict]:
    """Holm's correction over the page's counted and decided tests; an adjusted p of .05 or more leaves it open.

    A test that several claims share counts once.
    """
    family = {
        _test(result): result.p
        for verdict in verdicts
        for _, result in walk(part for part in verdict.parts if part.part.counts)
        if result.p is not None and result.word in (HOLDS, FAILS, OPEN, ANSWERED)
    }
    adjusted = dict(zip(family, stats.holm(list(family.values())), strict=True)) if family else {}

    def correct(result: Result) -> Result:
        if result.parts:
            return _gathered(replace(result, parts=tuple(map(correct, result.parts))))
        p = adjusted.get(_test(result)) if result.part.counts else None
        if p is None or p < ALPHA:
            return replace(result, p_holm=p)
        weaker = (ANSWERED, NO_DIFFERENCE) if result.word == ANSWERED else (OPEN, "")
        return replace(result, p_holm=p, holm=weaker)

    again = [_combined(v.claim, v.scale, tuple(map(correct, v.parts))) if v.parts else v for v in verdicts]
    return [replace(after, note=before.note) for after, before in zip(again, verdicts, strict=True)]


def _test(result: Result) -> str:
    part = result.part
    return json.dumps([part.rule, part.a, part.b, part.arguments], sort_keys=True)
