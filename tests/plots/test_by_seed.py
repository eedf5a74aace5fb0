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
    at = {}
    for _, x, y in ticks(ElementTree.fromstring(found.svg)):
        at.setdefault(y, []).append(x)
    assert len(at) == 2, "two panels to a line"
    assert all(min(np.diff(sorted(line))) > wide for line in at.values())


@pytest.mark.parametrize("form", ["svg", "narrow"])
def test_no_number_reaches_out_of_its_panel(form):
    """The last label of one panel stood under the next one."""
    ends = [seeds(values, "ce", "") for values in ((0.8462, 0.8638), (0.7, 1.0), (0.899, 0.9301))]
    found = plots.by_seed(dict(zip("abc", ends, strict=True)), percent=list("abc"), **TEXTS)
    root = ElementTree.fromstring(getattr(found, form))
    feet = [p for p in paths(root, stroke_width="0.8", stroke="currentColor") if len(p) == 2 and np.ptp(p[:, 1]) == 0]
    feet = sorted({(round(p[:, 0].min()), round(p[:, 0].max()), round(p[0, 1])) for p in feet})
    assert len(feet) == 3
    for value, x, y in ticks(root):
        half = 7 * len(f"{value:g}") / 2
        left, right, _ = min(feet, key=lambda foot: (abs(y - foot[2]), max(foot[0] - x, x - foot[1])))
        assert left - 4 <= x - half, (value, x)
        assert x + half <= right + 4, (value, x)


def test_panels_that_are_to_be_compared_have_one_axis():
    near, far = seeds((0.6, 0.7), "l2", ""), seeds((0.9, 0.95), "l2", "")

    def numbers(**alike):
        root = ElementTree.fromstring(
            plots.by_seed({"near": near, "far": far}, percent=["near", "far"], **alike, **TEXTS).svg
        )
        middle = float(root.get("viewBox").split()[2]) / 2
        both = [{value for value, x, _ in ticks(root) if (x > middle) == right} for right in (False, True)]
        return both[0] == both[1]

    assert numbers(alike=True)
    assert numbers(alike=["near", "far"])
    assert not numbers()


def test_aurocs_have_the_line_of_chance_where_it_is_near():
    rows = {"a": seeds((0.55, 0.6), "l2", ""), "b": seeds((0.95, 0.96), "l2", "")}
    rows = {title: frame.assign(metric="auroc") for title, frame in rows.items()}
    both = plots.by_seed(rows, percent=["a", "b"], **TEXTS)
    assert both.caption == "Seed 0. Dashed line: chance; AUROCs drawn without it lie far above it."
    assert plots.by_seed({"a": rows["a"]}, percent=["a"], **TEXTS).caption == "Seed 0. Dashed line: chance."
    high = plots.by_seed({"b": rows["b"]}, percent=["b"], **TEXTS)
    assert high.caption == "Seed 0. All AUROCs lie far above chance, which is 50."
    assert "stroke-dasharray" not in high.svg
    accuracy = {"a": rows["a"].assign(metric="accuracy")}
    assert plots.by_seed(accuracy, percent=["a"], **TEXTS).caption == "Seed 0."


def test_the_caption_says_which_groups_differ_and_the_alternative_text_their_means():
    found = drawn(names={"ce": "softmax", "l2": "with L2"})
    assert found.caption == (
        "Seed 0. Against softmax, paired by seed, at 95 % and uncorrected: with L2 is higher in accuracy."
    ), "milliseconds have one seed in common"
    assert found.alt.endswith("Means. accuracy: softmax 72.0, with L2 84.7. ms: softmax 9, with L2 4.")


@pytest.mark.parametrize(
    ("panels", "other", "message"),
    [
        ({}, {}, "panels are empty"),
        ({"a": ACCURACY}, {"percent": ["b"]}, "percent names b"),
        ({"a": ACCURACY}, {"alike": ["b"]}, "alike b"),
        ({"a": ACCURACY}, {"names": {"x": "y"}}, "expected some of: x"),
        ({"a": pd.concat([ACCURACY, ACCURACY])}, {}, "expected one"),
        ({"a": ACCURACY}, {"alt": " "}, "alt is empty"),
    ],
)
def test_what_cannot_be_drawn_is_refused(panels, other, message):
    with pytest.raises(InputError, match=message):
        plots.by_seed(panels, **{**TEXTS, **other})


def test_titles_of_three_panels_keep_to_their_own():
    panels = {f"AUROC, {name}": ACCURACY for name in ("cross-entropy", "SupCon", "SimCLR")}
    figure = plots.by_seed(panels, percent=[*panels], **TEXTS)
    wide, narrow = (
        [t.text for t in ElementTree.fromstring(svg).iter(f"{NS}text")] for svg in (figure.svg, figure.narrow)
    )
    assert {"AUROC,", "cross-entropy (%)", "AUROC, SupCon (%)"} <= set(wide)
    assert "AUROC, cross-entropy (%)" in narrow, "a phone has room for it"
