"""Tables of the reference pages: scorers, definitions, image sets, entries of an API, samples of images."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from html import escape
from typing import Any

import pandas as pd

from .html import NARROW, Html, card, cell, csv_link, folded, row, small, table

ARXIV = re.compile(r"arXiv (\d{4}\.\d{4,5})")
DIGEST = 12  # characters of a digest; the CSV has it whole


def scorer_table(frame: pd.DataFrame) -> Html:
    """One row a scorer.

    Args:
        frame: scorer, about, definition, layer, needs, parameters, arguments (name -> text), notes, cost, source,
            example.
    """
    lines = []
    for record in frame.to_dict("records"):
        name = str(record["scorer"])
        head = f'<code id="scorer-{escape(name)}">{escape(name)}</code>{_quiet(record["about"])}'
        details = _arguments(record["arguments"]) + "".join(map(note, record["notes"]))
        body = (
            formula(record["definition"])
            + small(str(record["parameters"]))
            + f'<pre class="example">{escape(record["example"])}</pre>'
            + _quiet(record["source"])
            + f"<details><summary>Parameters and notes</summary>{details}</details>"
        )
        needs = f"fit needs {record['needs']}" if record["needs"] else ""
        reads = f"<code>{escape(record['layer'])}</code>{small(needs)}{_quiet(record['cost'])}"
        lines.append(
            row(
                [
                    cell(head, name, "th"),
                    cell(body, record["definition"]),
                    cell(reads, f"{record['layer']} {record['needs']}"),
                ]
            )
        )
    flat = frame.drop(columns=["arguments", "notes"])
    headers = ["scorer", "definition, example", "reads, costs"]
    grid = table(headers, lines, "Scorers of the registry", "reference scorers")
    return Html(f"<div>{grid}{csv_link(flat, 'scorers')}</div>", flat)


def definition_table(frame: pd.DataFrame) -> Html:
    """One row a metric: how to call it, what it is, its formula, what it returns, its source.

    Args:
        frame: name (a call such as `auroc(id_scores, ood_scores)`), about, definition, returns, source.
    """
    lines = []
    for record in frame.to_dict("records"):
        call, bracket, rest = str(record["name"]).partition("(")
        head = f'<code id="metrics-{escape(call)}">{escape(call)}</code>{small(bracket + rest)}'
        body = f"<p>{prose(record['about'])}</p>{formula(record['definition'])}"
        for word in ("returns", "source"):
            body += _quiet(f"{word.capitalize()}: {record[word]}") if record[word] else ""
        lines.append(row([cell(head, call, "th"), cell(body, record["about"])]))
    grid = table(["name", "definition"], lines, "Metrics", "reference")
    return Html(f"<div>{grid}{csv_link(frame, 'metrics')}</div>", frame)


def set_table(frame: pd.DataFrame) -> Html:
    """One row an image set, its splits below each other.

    Args:
        frame: a row a split: set, title, about, split, images, size, classes, licence, digest ("" where it is not
            known yet).
    """
    lines = []
    for name, splits in frame.groupby("set", sort=False):
        first = splits.iloc[0]
        counts = "".join(
            f"<div>{escape(split)} {count:,}</div>"
            for split, count in zip(splits["split"], splits["images"], strict=True)
        )
        digests = "".join(f"<div>{_digest(str(digest))}</div>" for digest in splits["digest"])
        classes = small(f"{first['classes']} classes" if first["classes"] else "")
        cells = [
            cell(f"<code>{escape(str(name))}</code>{small(first['title'])}", name, "th"),
            cell(counts, splits["images"].sum(), css="number"),
            cell(escape(first["size"]) + classes, first["size"], css="number"),
            cell(prose(first["about"]) + small(first["licence"]), first["about"]),
            cell(digests, first["digest"]),
        ]
        lines.append(row(cells))
    grid = table(
        ["set", "images", "size", "what it is, licence", "digest"], lines, "Registered image sets", "reference"
    )
    return Html(f"<div>{grid}{csv_link(frame, 'image-sets')}</div>", frame)


def network_table(frame: pd.DataFrame) -> Html:
    """One row a network, its source and options below its name; parameters and work in millions to three digits.

    Args:
        frame: network, width, features, parameters, multiply_adds, sides, options (names between backticks), source.
    """
    headers = ["network", "width", "features", "parameters", "multiply-adds", "sides (pixels)"]
    lines = []
    for record in frame.to_dict("records"):
        options = _quiet(f"options: {record['options']}") if record["options"] else ""
        cells = [cell(prose(record["network"]) + _quiet(record["source"]) + options, record["network"], "th")]
        cells += [cell(f"{record[name]:,}", record[name], css="number") for name in ("width", "features")]
        cells += [cell(_millions(record[name]), record[name], css="number") for name in ("parameters", "multiply_adds")]
        sides = record["sides"].replace(", ", "\n").splitlines()
        cells.append(cell(escape(sides[0]) + small(", ".join(sides[1:])), record["sides"]))
        lines.append(card(cells, headers))
    grid = table(headers, lines, "Networks of the registry", "compact cards networks")
    return Html(f"<div>{grid}{csv_link(frame, 'networks')}</div>", frame)


def facts_table(frame: pd.DataFrame, label: str, name: str) -> Html:
    """Any small table: numbers to four digits, everything at full precision in the CSV."""
    headers, lines = list(map(str, frame.columns)), []
    for record in frame.to_dict("records"):
        first, *rest = record.values()
        lines.append(card([cell(prose(str(first)), first, "th"), *map(_fact, rest)], headers))
    css = "facts cards" if len(headers) > NARROW else "facts"
    grid = folded(table(headers, lines, label, css), len(lines))
    return Html(f"<div>{grid}{csv_link(frame, name)}</div>", frame)


def entries(frame: pd.DataFrame) -> Html:
    """Names of a module one below the other.

    Args:
        frame: anchor, call, summary, formula, notes, arguments (name -> text), returns, raises, source, and
            example where there is one.
    """
    parts = []
    for record in frame.to_dict("records"):
        body = f"<p>{prose(record['summary'])}</p>{formula(record['formula'])}"
        body += "".join(map(note, record["notes"])) + _arguments(record["arguments"])
        for section in ("returns", "raises", "source"):
            if record[section]:
                body += f"<p><strong>{section.capitalize()}:</strong> {prose(record[section])}</p>"
        body += formula(record.get("example", ""))
        level = " method" if record["anchor"].count(".") > 1 else ""
        parts.append(
            f'<dt class="call{level}" id="api-{escape(record["anchor"])}"><code>{escape(record["call"])}</code></dt>'
            f'<dd class="body{level}">{body}</dd>'
        )
    return Html(f'<dl class="api">{"".join(parts)}</dl>', frame)


def picture(content: bytes, alt: str, caption: str, kind: str = "png") -> Html:
    """A small picture (`png` or `webp`) with its pixels shown as they are, inside the page itself."""
    address = f"data:image/{escape(kind)};base64,{base64.b64encode(content).decode()}"
    image = f'<img class="pixels dark-light" alt="{escape(alt)}" src="{address}">'
    html = f'<figure class="ood-figure">{image}<figcaption>{escape(caption)}</figcaption></figure>'
    return Html(html, pd.DataFrame())


def prose(text: str) -> str:
    """Escaped text; names between backticks as code, arXiv numbers as links."""
    shown = re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(" ".join(str(text).split())))
    return ARXIV.sub(r'<a href="https://arxiv.org/abs/\1">arXiv \1</a>', shown)


def formula(text: str) -> str:
    """A formula as it is written in the code, its lines kept."""
    return f'<pre class="formula">{escape(text)}</pre>' if text else ""


def note(text: str) -> str:
    """A paragraph of a docstring, or a list where its lines begin with hyphens."""
    items = re.split(r"^- ", text, flags=re.MULTILINE)
    if len(items) == 1 or items[0].strip():
        return f"<p>{prose(text)}</p>"
    return f"<ul>{''.join(f'<li>{prose(item)}</li>' for item in items[1:])}</ul>"


def _arguments(arguments: Mapping[str, str]) -> str:
    items = (f"<dt><code>{escape(name)}</code></dt><dd>{prose(text)}</dd>" for name, text in arguments.items())
    return f'<dl class="arguments">{"".join(items)}</dl>' if arguments else ""


def _quiet(text: str) -> str:
    return f'<span class="quiet">{prose(text)}</span>'


def _digest(text: str) -> str:
    return f'<code title="{escape(text)}">{escape(text[:DIGEST])}</code>' if text else "not seen yet"


def _millions(value: float) -> str:
    """Such as 14.7 M, 0.0774 M and 5,240 M."""
    return f"{float(f'{value / 1e6:.3g}'):,g} M"


def _fact(value: Any) -> str:
    if isinstance(value, float):
        rounded = float(f"{value:.4g}")
        shown = f"{rounded:,.0f}" if abs(rounded) >= 1000 else f"{rounded:g}"
        return cell("0" if abs(value) < 1e-9 else shown, value, css="number")
    return cell(prose(str(value)), value, css="number" if isinstance(value, int) else "")
