"""From a drawing to an inline SVG with the page's ink and font, its width, and ids of its own."""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Callable
from dataclasses import dataclass
from html import escape
from typing import Any
from xml.etree import ElementTree

import matplotlib as mpl
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure as Drawing

from ..checks import InputError

# Each has a contrast of 3 or more on white and on #14181e; the first three stay apart for colour-blind readers, and
# series differ by marker and dash as well.
COLOURS = ("#1f7fc9", "#d55e00", "#0b9a6d", "#7b8190", "#b565b8", "#8a7d1a", "#d0487e")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
DASHES = ("-", "--", ":", "-.", (0, (5, 1, 1, 1, 1, 1)), (0, (1, 3)), (0, (9, 2)))

INK = "#010203"  # stands for the page's text colour until the SVG is written
WIDTH = 5.6  # inches = 403 units of the SVG; 11 units of font are 9.3 px on a phone 390 px wide
FONT = 11.0
STYLE: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "ood_core",
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "text.parse_math": False,  # a name with a dollar sign is a name
    **dict.fromkeys(("font.size", "axes.titlesize", "axes.labelsize"), FONT),
    **dict.fromkeys(("xtick.labelsize", "ytick.labelsize", "legend.fontsize"), FONT),
    **dict.fromkeys(("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color"), INK),
    **dict.fromkeys(("figure.facecolor", "axes.facecolor", "savefig.facecolor"), "none"),
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.8,
    "axes.unicode_minus": True,
    "grid.color": INK,
    "grid.alpha": 0.18,
    "grid.linewidth": 0.6,
    "lines.linewidth": 1.8,
    "legend.frameon": False,
    "legend.handlelength": 2.4,
}
SVG, LINK = "http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"
ElementTree.register_namespace("", SVG)
ElementTree.register_namespace("xlink", LINK)


@dataclass(frozen=True)
class Figure:
    """A figure that shows itself in a notebook.

    Attributes:
        svg: the drawing, `<svg>...</svg>`, with the alternative text as its label.
        alt: what a reader who cannot see it is told.
        caption: shown below it.
    """

    svg: str
    alt: str
    caption: str

    def _repr_html_(self) -> str:
        return f'<figure class="ood-figure">{self.svg}<figcaption>{escape(self.caption)}</figcaption></figure>'


def figure(draw: Callable[[Drawing], None], height: float, alt: str, caption: str) -> Figure:
    """Draw on a blank canvas and return the finished figure.

    Args:
        draw: puts axes and data on the drawing it is given.
        height: in inches, beside a width of 5.6.
        alt: alternative text, one or two sentences that say what the figure shows.
        caption: shown below.
    Raises:
        InputError: alt or caption is empty.
    """
    for name, text in (("alt", alt), ("caption", caption)):
        if not text.strip():
            raise InputError(f"{name} is empty, expected a sentence.\nSay what the figure shows.")
    with mpl.rc_context(STYLE):
        drawing = Drawing(figsize=(WIDTH, height), layout="constrained")
        draw(drawing)
        written = io.StringIO()
        nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        canvas: Any = FigureCanvasSVG(drawing)
        canvas.print_svg(written, metadata=nothing)
    return Figure(_inline(written.getvalue(), alt, caption), alt, caption)


def _inline(document: str, alt: str, caption: str) -> str:
    """The `<svg>` element alone: page's ink and font, own ids, no size in points, no rule that reaches the page."""
    root = ElementTree.fromstring(document)  # noqa: S314 (written a moment ago by this process)
    for parent in list(root.iter()):
        for child in list(parent):
            # Matplotlib's <style> says `*`, which would restyle the whole page once the SVG is part of it.
            if child.tag in (f"{{{SVG}}}metadata", f"{{{SVG}}}style"):
                parent.remove(child)
    name = "f" + hashlib.sha256("\n".join((document, alt, caption)).encode()).hexdigest()[:10]
    _own_ids(root, name)
    width = root.get("viewBox", "").split()[2]
    for attribute in ("width", "height", "version"):
        root.attrib.pop(attribute, None)
    shape = f"width:100%;height:auto;max-width:{float(width) * 1.5:.0f}px"
    root.set("style", f"{shape};stroke-linejoin:round;stroke-linecap:butt")
    root.set("role", "img")
    root.set("aria-label", alt)
    text = ElementTree.tostring(root, encoding="unicode")
    text = text.replace(INK, "currentColor")
    text = re.sub(
        r"font: ([\d.]+px) [^;\"]*", r"font-size: \1; font-family: inherit", text
    )  # as some versions write it
    return re.sub(r"font-family: [^;\"]*", "font-family: inherit", text)


def _own_ids(root: ElementTree.Element, name: str) -> None:
    """Prefix every id that something refers to and drop the others, which Matplotlib repeats in every figure."""
    pointer = re.compile(r"url\(#([^)]+)\)")
    used = set()
    for element in root.iter():
        for key, value in element.attrib.items():
            used.update(pointer.findall(value))
            if key in ("href", f"{{{LINK}}}href") and value.startswith("#"):
                used.add(value[1:])
                element.set(key, f"#{name}-{value[1:]}")
            else:
                element.set(key, pointer.sub(rf"url(#{name}-\1)", value))
    for element in root.iter():
        own = element.attrib.pop("id", None)
        if own in used:
            element.set("id", f"{name}-{own}")
