"""From a drawing to inline SVGs, for a desk and for a phone, with the page's ink and font and ids of their own."""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from itertools import pairwise
from typing import Any
from xml.etree import ElementTree

import matplotlib as mpl
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure as Drawing

from ..checks import InputError
from .words import sentences

# Each has a contrast of 3 or more on white and on #14181e; the first three stay apart for colour-blind readers, and
# series differ by marker and dash as well.
COLOURS = ("#1f7fc9", "#d55e00", "#0b9a6d", "#7b8190", "#b565b8", "#8a7d1a", "#d0487e")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
DASHES = ("-", "--", ":", "-.", (0, (5, 1, 1, 1, 1, 1)), (0, (1, 3)), (0, (9, 2)))

INK = "#010203"  # stands for the page's text colour until the SVG is written
PAPER = "#fdfcfb"  # and this for the page's background
WIDTH, NARROW = 5.6, 4.3  # inches = 403 and 310 units of the SVG
FONT = 11.0  # 12 px on a phone 390 px wide, where figures have the narrow form
ROOM = 2.0  # units that a label may reach out of its panel
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
    "figure.labelsize": FONT,
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
        narrow: the same for a phone, hidden until the page's style shows it in place of the first.
        alt: what a reader who cannot see it is told.
        caption: shown below it.
    """

    svg: str
    narrow: str
    alt: str
    caption: str

    def _repr_html_(self) -> str:
        drawings = self.svg + self.narrow
        return f'<figure class="ood-figure">{drawings}<figcaption>{escape(self.caption)}</figcaption></figure>'


def figure(
    draw: Callable[[Drawing, bool], None],
    heights: tuple[float, float],
    alt: str | Sequence[str],
    caption: str | Sequence[str],
) -> Figure:
    """Draw on blank canvases, once for a desk and once for a phone, and return the finished figure.

    Args:
        draw: puts axes and data on the drawing it is given; the second argument says that it is for a phone, where
            panels stand below each other.
        heights: in inches, beside a width of 5.6 for the desk and of 4.3 for the phone.
        alt: alternative text, one or two sentences that say what the figure shows, and more that its numbers say.
        caption: shown below, in the same form.
    Raises:
        InputError: alt or caption is empty, or the first of several.
    """
    told = []
    for name, given in (("alt", alt), ("caption", caption)):
        first, *more = (given,) if isinstance(given, str) else given
        if not first.strip():
            raise InputError(f"{name} is empty, expected a sentence.\nSay what the figure shows.")
        told.append(sentences(first, *more) if any(more) else first)
    forms = []
    for narrow, height in enumerate(heights):
        with mpl.rc_context(STYLE):
            drawing = Drawing(figsize=(NARROW if narrow else WIDTH, height), layout="constrained")
            draw(drawing, bool(narrow))
            canvas: Any = FigureCanvasSVG(drawing)
            _make_room(drawing)
            written = io.StringIO()
            canvas.print_svg(written, metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
        forms.append(_inline(written.getvalue(), told[0], told[1], "narrow" if narrow else "wide"))
    return Figure(forms[0], forms[1], told[0], told[1])


def _make_room(drawing: Drawing) -> None:
    """Widen linear x axes until no number reaches out of its panel, and drop every other number where they touch."""
    for _ in range(3):
        drawing.draw_without_rendering()
        moved = False
        for axes in drawing.axes:
            if axes.get_xscale() != "linear":
                continue
            (low, high), box = axes.get_xlim(), axes.get_window_extent()
            axes.set_xticks([tick for tick in axes.get_xticks() if low <= tick <= high])
            shown = [text.get_window_extent() for text in axes.get_xticklabels() if text.get_text()]
            if len(shown) < 2:
                continue
            if min(after.x0 - before.x1 for before, after in pairwise(shown)) < 2 * ROOM and len(shown) > 2:
                axes.set_xticks(axes.get_xticks()[::2])
                moved = True
                continue
            out = [max(0.0, box.x0 - shown[0].x0 - ROOM), max(0.0, shown[-1].x1 - box.x1 - ROOM)]
            unit = (high - low) / (box.width - sum(out))
            if any(out):
                axes.set_xlim(low - out[0] * unit, high + out[1] * unit)
                moved = True
        if not moved:
            break


def _inline(document: str, alt: str, caption: str, form: str) -> str:
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
    hidden = "display:none;" if form == "narrow" else ""  # without the page's style the wide form stands alone
    root.set("style", f"{hidden}{shape};stroke-linejoin:round;stroke-linecap:butt")
    root.set("class", form)
    root.set("role", "img")
    root.set("aria-label", alt)
    text = ElementTree.tostring(root, encoding="unicode")
    text = text.replace(INK, "currentColor").replace(PAPER, "var(--pst-color-background, Canvas)")
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
