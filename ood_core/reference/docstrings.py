"""Docstrings of this package taken apart: one sentence, formula, notes, arguments, returns, raises, source."""

from __future__ import annotations

import inspect
import re
from dataclasses import dataclass, field
from textwrap import dedent
from typing import Any

SECTION = re.compile(r"^(Args|Attributes|Returns|Raises|Source|Kinds|Example):\s*(.*)$")
ENTRY = re.compile(r"^ {4}([\w*, ]+): (.*)$")


@dataclass(frozen=True)
class Doc:
    """The parts of one docstring.

    Attributes:
        summary: its first paragraph, in one line.
        formula: the paragraph after it where that is no sentence, lines kept; "" if there is none.
        notes: further paragraphs.
        arguments: name -> text, of Args and Attributes.
        returns, raises, source: the text of these sections, "" if there is none.
        example: its lines as they are, "" if there is none.
    """

    summary: str
    formula: str = ""
    notes: tuple[str, ...] = ()
    arguments: dict[str, str] = field(default_factory=dict)
    returns: str = ""
    raises: str = ""
    source: str = ""
    example: str = ""


def parse(thing: Any) -> Doc:
    """The docstring of a function, class or module."""
    body: list[str] = []
    sections: dict[str, list[str]] = {}
    into = body
    for line in (inspect.getdoc(thing) or "").splitlines():
        found = SECTION.match(line)
        if found:
            into = sections.setdefault(found[1], [])
            into += [found[2]] if found[2] else []
        elif line.strip() and not line.startswith(" ") and into is not body:
            into = body  # prose again after a section
            body += ["", line]
        else:
            into.append(line)
    paragraphs = [part.strip("\n") for part in re.split(r"\n\s*\n", "\n".join(body)) if part.strip()]
    summary, rest = (" ".join(paragraphs[0].split()), paragraphs[1:]) if paragraphs else ("", [])
    formula = rest.pop(0) if rest and not rest[0].rstrip().endswith((".", ":")) else ""
    return Doc(
        summary,
        dedent(formula),
        tuple(rest),
        {**_entries(sections.get("Args", [])), **_entries(sections.get("Attributes", []))},
        returns=_joined(sections, "Returns"),
        raises=_joined(sections, "Raises"),
        source=_joined(sections, "Source"),
        example=dedent("\n".join(sections.get("Example", []))).strip("\n"),
    )


def _joined(sections: dict[str, list[str]], name: str) -> str:
    return " ".join(" ".join(sections.get(name, [])).split())


def _entries(lines: list[str]) -> dict[str, str]:
    """`name: text` with continued lines; several on one line, as in `low, high: limits`, stay together."""
    found: dict[str, str] = {}
    name = ""
    for line in lines:
        entry = ENTRY.match(line)
        if entry:
            name = entry[1]
            found[name] = entry[2]
        elif name:
            found[name] += " " + line.strip()
    return {key: text.strip() for key, text in found.items()}


def signature(thing: Any, name: str) -> str:
    """How to call it: names and defaults, without types, which the arguments' texts give with their shapes."""
    try:
        parameters = list(inspect.signature(thing).parameters.values())
    except ValueError:  # an error class
        return name
    shown, named = [], False
    for parameter in parameters:
        if parameter.name in ("self", "cls"):
            continue
        if parameter.kind is parameter.KEYWORD_ONLY and not named:
            named = True
            shown.append("*")
        star = "*" * (parameter.kind is parameter.VAR_POSITIONAL) + "**" * (parameter.kind is parameter.VAR_KEYWORD)
        named = named or star == "*"
        default = "" if parameter.default is parameter.empty else f"={parameter.default!r}"
        shown.append(f"{star}{parameter.name}{'={}' if 'factory' in default else default}")
    return f"{name}({', '.join(shown)})"
