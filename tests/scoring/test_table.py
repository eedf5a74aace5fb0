"""Tables of scores: names of any kind survive."""

import csv
import json
import os
from pathlib import Path

import pytest
from PIL import ImageDraw

from tests.scoring.cases import KEY, call


def test_names_that_need_quoting_survive(net, folders, tmp_path):
    odd = tmp_path / 'a, "b"\nc'
    odd.mkdir()
    (folders["test"] / "0000.png").rename(odd / "é ;.png")
    assert call(odd, "--id-folder", folders["train"], "--model", KEY, "--out", tmp_path / "s.csv").exit_code == 0
    with (tmp_path / "s.csv").open(newline="", encoding="utf-8") as file:
        assert [row["file"] for row in csv.DictReader(file)] == [str(odd / "é ;.png")]


def test_names_that_are_not_utf8_survive(net, folders, tmp_path, monkeypatch):
    drawn = []
    draw = ImageDraw.ImageDraw.text
    monkeypatch.setattr(ImageDraw.ImageDraw, "text", lambda *given: [drawn.append(given[2]), draw(*given)])
    odd = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9"))
    try:
        odd.mkdir()
    except OSError:
        pytest.skip("this file system takes no such names")
    (folders["test"] / "0000.png").rename(odd / os.fsdecode(b"\xff.png"))
    arguments = (odd, "--id-folder", folders["train"], "--model", KEY, "--out", tmp_path / "s.csv")
    result = call(*arguments, "--sheet", tmp_path / "sheet.png")
    assert result.exit_code == 0, result.output
    assert "caf\N{REPLACEMENT CHARACTER}" in result.stdout
    assert "caf\N{REPLACEMENT CHARACTER}/\N{REPLACEMENT CHARACTER}.png" in drawn
    assert "".join(drawn).encode()
    with (tmp_path / "s.csv").open(newline="", encoding="utf-8", errors="surrogateescape") as file:
        assert [row["file"] for row in csv.DictReader(file)] == [str(odd / os.fsdecode(b"\xff.png"))]
    assert json.loads(call(*arguments, "--json").stdout)["folders"][0]["folder"] == str(odd)
