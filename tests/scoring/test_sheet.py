"""The contact sheet: both ends of the scores, each image once, captions that can be read."""

import numpy as np
import pandas as pd
import pytest
from PIL import Image, ImageDraw, ImageFont

from ood_core import scoring
from tests.scoring.cases import KEY, call, pixels


def test_the_contact_sheet_holds_both_ends(net, folders, tmp_path):
    result = call(
        *(folders["test"], folders["photos"], "--id-folder", folders["train"], "--model", KEY),
        *("--out", tmp_path / "s.csv", "--sheet", tmp_path / "sheet.png"),
    )
    assert result.exit_code == 0, result.output
    assert "every fifth image of --id-folder" in result.stderr
    sheet = pixels(tmp_path / "sheet.png")
    frame = pd.read_csv(tmp_path / "s.csv").sort_values("score", ascending=False, kind="stable")
    left, step = scoring.sheet.GAP, scoring.sheet.THUMB + scoring.sheet.GAP
    tops = [y for y in range(sheet.shape[0]) if tuple(sheet[y, left + 40]) in ((31, 127, 201), (213, 94, 0))]
    starts = [y + 3 for y, before in zip(tops, [-9, *tops], strict=False) if y - before > 1][::2]
    for row, order in ((0, frame), (2, frame.iloc[::-1])):  # two rows of eight, from either end
        for place, file in enumerate(order["file"][:8]):
            found = sheet[starts[row] :, left + place * step :][: scoring.sheet.THUMB, : scoring.sheet.THUMB, 0]
            shown = Image.fromarray(found).resize((8, 8), Image.Resampling.NEAREST)
            assert np.array_equal(np.asarray(shown), pixels(file)), file


@pytest.mark.parametrize("count", [1, 2, 3, 16, 32, 40])
def test_a_sheet_of_few_images_shows_each_once(tmp_path, count):
    for place in range(count):
        Image.new("L", (50, 50), 2 * place).save(tmp_path / f"{place}.png")
    rows = [(str(tmp_path / f"{i}.png"), float(-i), "in" if i < 2 else "out", "a <b> & ünï") for i in range(count)]
    frame = pd.DataFrame(rows, columns=["file", "score", "decision", "predicted"])
    scoring.contact_sheet(frame, tmp_path / "sheet.png", "a title " * 40)
    grey = pixels(tmp_path / "sheet.png")
    areas = [int((grey == 2 * place).all(axis=2).sum()) for place in range(count)]
    middle = range(16, count - 16)
    assert [area >= 112**2 for area in areas] == [place not in middle for place in range(count)]
    assert max(areas) < 2 * 112**2
    assert not list(tmp_path.glob(".*"))


def test_names_that_cannot_be_drawn_are_escaped_on_the_sheet(net, folders, tmp_path, monkeypatch):
    drawn = []
    draw = ImageDraw.ImageDraw.text
    monkeypatch.setattr(ImageDraw.ImageDraw, "text", lambda *given: [drawn.append(given[2]), draw(*given)])
    odd = tmp_path / "a\nb"
    odd.mkdir()
    (folders["test"] / "0000.png").rename(odd / "\x07\u202eé\u4e2d.png")
    arguments = ("--id-folder", folders["train"], "--model", KEY, "--out", tmp_path / "s.csv")
    result = call(odd, *arguments, "--sheet", tmp_path / "sheet.png")
    assert result.exit_code == 0, result.output
    assert drawn[0].endswith("a\\nb")
    font = scoring.sheet._font(13)
    assert scoring.sheet._drawable("\x07\u202eé\u4e2d.png", font) == "\\x07\\u202eé\\u4e2d.png"
    assert all(text.isprintable() for text in drawn)


def test_without_a_wider_font_its_letters_are_escaped(monkeypatch):
    whole = ImageFont.truetype

    def narrow(font, *given, **named):
        if isinstance(font, str):
            raise OSError("cannot open resource")
        return whole(font, *given, **named)

    monkeypatch.setattr(ImageFont, "truetype", narrow)
    monkeypatch.setattr(scoring.sheet, "find_spec", lambda name: None)
    assert scoring.sheet._drawable("café ~\t", scoring.sheet._font(13)) == "caf\\xe9 ~\\t"


def test_scores_on_the_sheet_end_in_a_digit(tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr(ImageDraw.ImageDraw, "text", lambda *given: drawn.append(given[2]))
    Image.new("L", (9, 9)).save(tmp_path / "0.png")
    rows = [(str(tmp_path / "0.png"), score, "in", "") for score in (-9157.3, 0.5, 123456.0, 1.0)]
    scoring.contact_sheet(
        pd.DataFrame(rows, columns=["file", "score", "decision", "predicted"]), tmp_path / "sheet.png", "title"
    )
    assert {text.partition("  ")[0] for text in drawn if text.endswith("  in")} == {
        "-9157",
        "0.5000",
        "1.235e+05",
        "1.000",
    }
