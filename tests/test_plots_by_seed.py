"""Groups below each other: dots, means and intervals at their values, one axis a panel, and what is refused."""

from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
from scipy import stats as scipy_stats

from ood_core import plots
from ood_core.checks import InputError
from ood_core.plots.svg import COLOURS

from .test_plots import NS, TEXTS, on_axis, paths, seeds, ticks

ACCURACY = pd.concat([seeds((0.8, 0.84, 0.9), "l2", ""), seeds((0.7, 0.72, 0.74), "ce", "")])
MILLISECONDS = pd.concat([seeds((3, 4, 5.0), "l2", ""), seeds((9.0,), "ce", "")])


def drawn(**other):
    given = {"names": {"ce": "softmax", "l2": "with $L2$"}, "percent": ["accuracy"], **TEXTS, **other}
    return plots.by_seed({"accuracy": ACCURACY, "ms": MILLISECONDS}, **given)


def test_values_of_each_panel_lie_on_its_own_axis():
    root = ElementTree.fromstring(drawn().svg)
    by_place = sorted((x, value) for value, x, _ in ticks(root))
    middle = max(range(1, len(by_place)), key=lambda i: by_place[i - 1][1] - by_place[i][1])  # where numbers fall back
    left, right = ({value: x for x, value in half} for half in (by_place[:middle], by_place[middle:]))
    bars = [p for p in paths(root, stroke=COLOURS[1], stroke_width=2) if len(p) == 2]
    assert len(bars) == 2
    for bar, scale, values in ((bars[0], left, (80, 84, 90)), (bars[1], right, (3, 4, 5))):
        expected = scipy_stats.t.interval(0.95, 2, np.mean(values), scipy_stats.sem(values))
        assert np.allclose(on_axis(bar[:, 0], scale), expected, rtol=0.01)
    marks = [u for u in root.iter(f"{NS}use") if COLOURS[1] in (u.get("style") or "")]
    places = np.array([float(u.get("x")) for u in marks])
    for scale, values in ((left, (80, 84, 90, 84.667)), (right, (3, 4, 5))):
        for value in values:
            assert np.abs(on_axis(places, scale) - value).min() < 0.01 * value


def test_one_seed_has_a_mean_and_no_interval():
    root = ElementTree.fromstring(drawn().svg)
    bars = [p for p in paths(root, stroke=COLOURS[0], stroke_width=2) if len(p) == 2]
    assert len(bars) == 1, "of accuracy; there is one seed in the other panel"
    drawn(names={"ce": "softmax"}, percent=[])


def test_names_order_and_titles():
    texts = [t.text for t in ElementTree.fromstring(drawn().svg).iter(f"{NS}text")]
    assert [t for t in texts if t in ("softmax", "with $L2$")] == ["softmax", "with $L2$"]
    assert "accuracy (%)" in texts
    assert "ms" in texts
    alone = drawn(names={"l2": "alone"}).svg
    assert COLOURS[1] not in alone


def test_several_ood_sets_are_averaged_per_seed():
    two = pd.concat([seeds((0.2, 0.4), "l2", "a"), seeds((0.4, 0.8), "l2", "b")])
    mean = plots.by_seed({"m": seeds((0.3, 0.6), "l2", "")}, **TEXTS).svg
    assert plots.by_seed({"m": two}, **TEXTS).svg == mean


def test_labels_of_four_panels_do_not_touch():
    close = seeds((0.455, 0.4582, 0.4585, 0.4595, 0.4608), "ce", "")
    found = plots.by_seed({str(k): close for k in range(4)}, percent=list("0123"), **TEXTS)
    texts = [t for t in ElementTree.fromstring(found.svg).iter(f"{NS}text") if (t.text or "").startswith("4")]
    wide = 7 * max(len(t.text) for t in texts)  # about seven units a digit
    places = sorted(x for _, x, _ in ticks(ElementTree.fromstring(found.svg)))
    assert len(places) >= 8
    assert min(np.diff(places)) > wide


@pytest.mark.parametrize(
    ("panels", "other", "message"),
    [
        ({}, {}, "panels are empty"),
        ({"a": ACCURACY}, {"percent": ["b"]}, "percent names b"),
        ({"a": ACCURACY}, {"names": {"x": "y"}}, "expected some of: x"),
        ({"a": pd.concat([ACCURACY, ACCURACY])}, {}, "expected one"),
        ({"a": ACCURACY}, {"alt": " "}, "alt is empty"),
    ],
)
def test_what_cannot_be_drawn_is_refused(panels, other, message):
    with pytest.raises(InputError, match=message):
        plots.by_seed(panels, **{**TEXTS, **other})
