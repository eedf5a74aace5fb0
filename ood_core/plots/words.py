"""What a figure shows, in words made from its numbers, so that a later run changes them and no text."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import pandas as pd

from .rows import Names, spread

Places = Mapping[str, Mapping[str, pd.Series]]  # place, such as an OOD set -> group -> numbers by seed


def against_first(places: Places, groups: Names, noun: str) -> str:
    """Where each group lies above or below the first one, by the 95 % t interval of differences between equal seeds.

    Args:
        places: place -> group -> numbers indexed by seed; a group may be missing.
        groups: group -> how to call it; the first is what the others are compared with.
        noun: what places are, such as "sets".
    Returns:
        one or two sentences, "" where there is nothing to compare: one group, or fewer than two seeds in common.
    """
    first, *others = groups
    told: dict[str, list[str]] = {}  # what is said -> of whom
    clear, level = False, False
    for other in others:
        ways: dict[str, list[str]] = {"higher": [], "lower": [], "level": []}
        for place, found in places.items():
            way = _way(found[other] - found[first]) if first in found and other in found else ""
            if way:
                ways[way].append(place)
        total = sum(map(len, ways.values()))
        said = [f"{way} {_on(ways[way], total, noun)}" for way in ("higher", "lower") if ways[way]]
        if total:
            told.setdefault(", ".join(said) or "not clearly different from it", []).append(groups[other])
        clear, level = clear or bool(said), level or bool(said and ways["level"])
    if not told:
        return ""
    parts = [f"{listed(who)} {'is' if len(who) == 1 else 'are'} {what}" for what, who in told.items()]
    rest = " Elsewhere no difference is clear." if clear and level else ""
    return f"Against {listed([groups[first]])}, paired by seed, at 95 % and uncorrected: {'; '.join(parts)}.{rest}"


def ends(places: Mapping[str, Mapping[str, tuple[pd.Series, pd.Series]]], what: str) -> str:
    """Whose numbers rise and whose fall from the first to the last epoch, by the interval of `against_first`.

    Args:
        places: place -> name -> numbers by seed at the first epoch, and at the last.
        what: what the numbers are.
    """
    calls = {"higher": "rises for", "lower": "falls for", "level": "shows no clear change for"}
    told = []
    for place, found in places.items():
        ways: dict[str, list[str]] = {"higher": [], "lower": [], "level": []}
        for name, (start, end) in found.items():
            if way := _way(end - start):
                ways[way].append(name)
        said = [f"{calls[way]} {listed(names)}" for way, names in ways.items() if names]
        told += [f"{place}, {what} {', '.join(said)}"] if said else []
    return f"From the first epoch to the last, paired by seed and at 95 %: {'; '.join(told)}." if told else ""


def ranges(places: Mapping[str, Mapping[str, float]], groups: Names) -> str:
    """The lowest and the highest mean of each group, with where they are."""
    texts = []
    for group, label in groups.items():
        found = {place: values[group] for place, values in places.items() if group in values}
        if found:
            low, high = min(found, key=found.__getitem__), max(found, key=found.__getitem__)
            span = f"{found[low]:.1f} ({low})" + (f" to {found[high]:.1f} ({high})" if low != high else "")
            texts.append(f"{label} {span}")
    return f"Means: {'; '.join(texts)}." if texts else ""


def numbers(places: Mapping[str, Mapping[str, str]]) -> str:
    """Place by place, what each group has there."""
    return " ".join(
        f"{' '.join(place.split())}: {', '.join(f'{name} {text}' for name, text in found.items())}."
        for place, found in places.items()
        if found
    )


def short(values: pd.Series[float], percent: bool) -> str:
    """A mean to one decimal in per cent, or to three digits."""
    return f"{values.mean():.1f}".replace("-", "−") if percent else digits(float(values.mean()))


def digits(value: float) -> str:
    """A number to three digits: 0.0123, 45.6, 4.88e4."""
    return f"{value:.3g}".replace("e+0", "e").replace("e+", "e").replace("-", "−")


def listed(names: Sequence[str]) -> str:
    """Such as "a", "a and b", "a, b and c"; names with commas of their own stand between quotation marks."""
    whole = [f'"{name}"' if "," in name else name for name in (" ".join(name.split()) for name in names)]
    return f"{', '.join(whole[:-1])} and {whole[-1]}" if len(whole) > 1 else "".join(whole)


def sentences(*texts: str) -> str:
    """Texts one after the other, each closed by a full stop."""
    found = (text.strip() for text in texts)
    return " ".join(text if text.endswith((".", "?", "!")) else f"{text}." for text in found if text)


def chance(sides: Iterable[int]) -> str:
    """About the line of chance: 0 for a panel that has it, 1 for one far above it, -1 for one far below."""
    found = set(sides)
    if not found:
        return ""
    away = {frozenset({1}): "far above", frozenset({-1}): "far below"}.get(frozenset(found - {0}), "far from")
    if 0 not in found:
        return f"All AUROCs lie {away} chance, which is 50."
    return "Dashed line: chance" + (f"; AUROCs drawn without it lie {away} it." if found != {0} else ".")


def _on(names: list[str], total: int, noun: str) -> str:
    preposition = "in" if noun == "panels" else "on"
    if len(names) == total and total > 1:
        return f"{preposition} {'both' if total == 2 else 'all'} {noun}"
    return f"{preposition} {listed(names)}"


def _way(differences: pd.Series[float]) -> str:
    """`higher`, `lower` or `level`, "" for fewer than two seeds."""
    values = differences.dropna().to_numpy(dtype=float)
    if len(values) < 2:
        return ""
    low, high = spread(values)
    return "higher" if low > 0 else "lower" if high < 0 else "level"
