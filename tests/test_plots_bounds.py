"""Bounds image by image: what is drawn where, and what is refused."""

from xml.etree import ElementTree

import numpy as np
import pytest
from matplotlib.figure import Figure as Drawing

from ood_core import plots
from ood_core.checks import InputError
from ood_core.plots import bounds

TEXTS = {"xlabel": "x", "ylabel": "y", "alt": "What it shows.", "caption": "Seed 0."}


@pytest.fixture
def drawn(monkeypatch):
    """The axes of the last figure, as drawn."""
    kept = Drawing()

    def keep(draw, heights, alt, caption):
        draw(kept, False)
        return made(draw, heights, alt, caption)

    made = bounds.figure
    monkeypatch.setattr(bounds, "figure", keep)
    return kept


def lines(axes):
    return [
        tuple(np.round(np.asarray(data, dtype=float), 6).tolist() for data in line.get_data()) for line in axes.lines
    ]


def test_dots_lie_at_their_bound_and_number_under_the_line_of_equality(drawn):
    pair = ([0.1, 0.2, 0.3], [0.5, 0.9, 2.0])
    found = plots.bounded({"last layer": {"network": pair, "random": ([0.4], [1.0])}}, **TEXTS)
    (axes,) = drawn.axes
    shown = lines(axes)
    assert shown[0] == ([0.0, 0.4], [0.0, 0.4])
    assert (pair[1], pair[0]) in shown
    assert ([1.0], [0.4]) in shown
    assert found.caption == "Seed 0."


def test_of_many_images_every_so_many_are_drawn_and_the_caption_says_so(drawn):
    many = np.linspace(0, 1, 700)
    found = plots.bounded({"l": {"n": (many, many + 1)}}, **TEXTS)
    assert len(lines(drawn.axes[0])[1][0]) == 234
    assert found.caption.endswith("Of 700 images, one in 3 is drawn.")


def test_the_svg_is_labelled():
    figure = plots.bounded({"a": {"n": ([0.1], [0.2])}, "b": {"m": ([0.1], [0.3])}}, **TEXTS)
    assert ElementTree.fromstring(figure.svg).get("aria-label") == "What it shows."


@pytest.mark.parametrize(
    ("panels", "message"),
    [
        ({}, "panels are empty"),
        ({"a": {"n": ([1, 2], [1])}}, "expected as many of each"),
        ({"a": {"n": ([], [])}}, "one or more"),
        ({"a": {"n": ([np.nan], [1])}}, "all finite"),
    ],
)
def test_what_cannot_be_drawn_is_refused(panels, message):
    with pytest.raises(InputError, match=message):
        plots.bounded(panels, **TEXTS)
