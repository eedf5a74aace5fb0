"""Numbers over their bounds: every one is counted, what decides is drawn and said, and what is refused."""

from xml.etree import ElementTree

import numpy as np
import pytest

from ood_core import plots
from ood_core.checks import InputError
from ood_core.plots.svg import COLOURS

from .test_plots import NS, on_axis, paths, ticks

TEXTS = {"ratio": "gap / bound", "number": "gap / norm", "alt": "What it shows.", "caption": "Seed 0."}


def test_the_caption_says_whether_all_are_on_the_allowed_side():
    found = plots.bounded({"last": {"network": ([0.1, 0.2], [0.5, 0.4]), "random": ([0.0], [0.0])}}, **TEXTS)
    assert found.caption == "Seed 0. The largest gap / bound is 0.50; all 3 lie between 0 and 1."
    assert "last, gap / bound: network 0.35, random 0." in found.alt
    beyond = plots.bounded({"last": {"network": ([0.1, 0.6, -0.1], [0.5, 0.4, 1.0])}}, **TEXTS)
    assert beyond.caption == "Seed 0. The largest gap / bound is 1.50; 2 of 3 lie outside 0 to 1."


def test_all_images_are_drawn_left_of_the_line_at_one():
    """Both panels of a title have a histogram a group, and the line at 1 stands in the first alone."""
    numbers = np.linspace(0.1, 0.4, 700)
    figure = plots.bounded({"last": {"network": (numbers, 2 * numbers[::-1])}}, **TEXTS)
    assert "one in" not in figure.caption
    root = ElementTree.fromstring(figure.svg)
    middle = float(root.get("viewBox").split()[2]) / 2
    scale = {value: x for value, x, _ in ticks(root) if x < middle}
    lines = [p for p in paths(root, stroke="currentColor", stroke_dasharray="4,3") if len(p) == 2]
    lines = lines or [p for p in paths(root, stroke="currentColor", stroke_dasharray="") if len(p) == 2]
    (line,) = [p for p in lines if np.ptp(p[:, 0]) == 0]
    assert on_axis(line[0, 0], scale) == pytest.approx(1, abs=0.02)
    shapes = [p for p in paths(root, stroke=COLOURS[0]) if len(p) > 20]
    assert len(shapes) == 2
    left = min(shapes, key=lambda p: p[0, 0])
    high = on_axis(left[left[:, 1] < left[:, 1].max() - 0.5, 0].max(), scale)
    assert high == pytest.approx(2.0, abs=0.1), "0.4 over 0.2"


def test_the_figure_is_labelled_in_both_forms():
    figure = plots.bounded({"a": {"n": ([0.1], [0.2])}, "b": {"m": ([0.1], [0.3])}}, **TEXTS)
    for svg in (figure.svg, figure.narrow):
        texts = [t.text for t in ElementTree.fromstring(svg).iter(f"{NS}text")]
        assert texts.count("gap / bound; dashed: the largest allowed") == 2
        assert texts.count("gap / norm") == 2


@pytest.mark.parametrize(
    ("panels", "message"),
    [
        ({}, "panels are empty"),
        ({"a": {"n": ([1, 2], [1])}}, "expected as many of each"),
        ({"a": {"n": ([], [])}}, "one or more"),
        ({"a": {"n": ([np.nan], [1])}}, "all finite"),
        ({"a": {"n": ([0.1], [0.0])}}, "a bound of 'n' of 'a' is 0"),
    ],
)
def test_what_cannot_be_drawn_is_refused(panels, message):
    with pytest.raises(InputError, match=message):
        plots.bounded(panels, **TEXTS)
