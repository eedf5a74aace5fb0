"""A contact sheet: the most and the least in-distribution images with their scores, as one picture."""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pandas as pd

from ..files import beside, refused

COLUMNS, ROWS = 8, 2  # of each half
THUMB, GAP, LINE = 112, 14, 17  # pixels
PAPER, INK, QUIET = "#ffffff", "#1b1f24", "#57606a"
NO_BYTES = "\N{REPLACEMENT CHARACTER}"
COLOURS = {"in": "#1f7fc9", "out": "#d55e00"}  # the decision's frame; the word stands below it as well


def contact_sheet(scores: pd.DataFrame, path: Path, title: str) -> None:
    """Write a PNG with up to 16 images from either end of the scores, most in-distribution first.

    Args:
        scores: columns file, score, decision, predicted; one row an image.
        path: of the PNG.
        title: what was scored, by which network and scorer.
    Raises:
        InputError: the disk is full or cannot be written to; an older sheet stays.
    """
    from PIL import Image, ImageDraw

    ranked = scores.sort_values("score", ascending=False, kind="stable")
    half = min(COLUMNS * ROWS, (len(ranked) + 1) // 2)
    parts = {
        "Most in-distribution, highest score first": ranked.head(half),
        "Least in-distribution, lowest score first": ranked.tail(min(half, len(ranked) - half)).iloc[::-1],
    }
    fonts = {size: _font(size) for size in (13, 15, 17)}
    step, tall = THUMB + GAP, THUMB + 3 * LINE + GAP
    width = COLUMNS * step + GAP
    height = GAP + 2 * LINE + sum(2 * LINE + tall * -(-len(part) // COLUMNS) for part in parts.values() if len(part))
    sheet = Image.new("RGB", (width, height), PAPER)
    draw = ImageDraw.Draw(sheet)
    draw.text((GAP, GAP), _fitted(draw, title, fonts[17], width - 2 * GAP), INK, fonts[17])
    top = GAP + 2 * LINE
    for heading, part in parts.items():
        if not len(part):
            continue
        draw.text((GAP, top), heading, INK, fonts[15])
        top += LINE + LINE // 2
        for place, row in enumerate(part.to_dict("records")):
            left, up = GAP + place % COLUMNS * step, top + place // COLUMNS * tall
            _thumb(sheet, Path(row["file"]), left, up)
            frame = (left - 3, up - 3, left + THUMB + 2, up + THUMB + 2)
            draw.rectangle(frame, outline=COLOURS[row["decision"]], width=3)
            file = Path(row["file"])
            captions = (
                f"{format(row['score'], '#.4g').rstrip('.')}  {row['decision']}",
                f"as {row['predicted']}" if row["predicted"] else "",
                f"{file.parent.name}/{file.name}",
            )
            for line, (text, ink) in enumerate(zip(captions, (INK, INK, QUIET), strict=True)):
                fitted = _fitted(draw, text, fonts[13], THUMB)
                draw.text((left, up + THUMB + 4 + line * (LINE - 1)), fitted, ink, fonts[13])
        top += tall * -(-len(part) // COLUMNS) + LINE // 2
    with refused(path), beside(path) as fresh:
        sheet.save(fresh, format="PNG")


def _thumb(sheet: Any, path: Path, left: int, top: int) -> None:
    """Paste an image, whole and in its own proportions, in the middle of its square."""
    from PIL import Image

    with Image.open(path) as file:
        image = file.convert("RGB")
    factor = THUMB / max(image.size)
    wide, high = (max(1, round(side * factor)) for side in image.size)
    small = max(image.size) < THUMB  # enlarged pixels stay pixels
    thumb = image.resize((wide, high), Image.Resampling.NEAREST if small else Image.Resampling.LANCZOS)
    sheet.paste(thumb, (left + (THUMB - wide) // 2, top + (THUMB - high) // 2))


def _fitted(draw: Any, text: str, font: Any, width: int) -> str:
    """The text as it can be drawn, or its start and end with an ellipsis between."""
    text = _drawable(text, font)
    if draw.textlength(text, font) <= width:
        return text
    kept = len(text)
    while kept > 2 and draw.textlength(f"{text[: kept // 2]}...{text[-(kept - kept // 2) :]}", font) > width:
        kept -= 1
    return f"{text[: kept // 2]}...{text[-(kept - kept // 2) :]}"


def _drawable(text: str, font: Any) -> str:
    """What no letter of the font stands for is written as Python would; bytes that no text has are marked."""
    text = text.encode(errors="surrogateescape").decode(errors="replace")
    known = _letters(font)
    return "".join(x if x == NO_BYTES or known(x) else x.encode("unicode_escape").decode() for x in text)


def _letters(font: Any) -> Any:
    """Whether a character is printable and drawn otherwise than one that no font has."""
    missing = bytes(font.getmask("\U0010ffff"))
    return cache(lambda x: x.isprintable() and (x.isascii() or bytes(font.getmask(x)) != missing))


def _font(size: int) -> Any:
    """DejaVu Sans, which has the letters of most scripts but the East Asian, where it is found; else Pillow's own."""
    from PIL import ImageFont

    # By its place and not by an import: matplotlib has much to do at its first.
    spec = find_spec("matplotlib")
    within = [Path(place) / "mpl-data/fonts/ttf" for place in spec.submodule_search_locations or ()] if spec else []
    for place in (*(str(folder / "DejaVuSans.ttf") for folder in within), "DejaVuSans.ttf"):  # the last the system's
        try:
            return ImageFont.truetype(place, size)
        except OSError:
            continue
    return ImageFont.load_default(size)
