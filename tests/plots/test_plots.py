"""Figures: the numbers land where they should, and the SVG fits any page, light or dark, beside any other."""

import re
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from scipy import stats as scipy_stats

from ood_core import plots
from ood_core.checks import InputError
from ood_core.plots.svg import COLOURS, DASHES, FONT, INK, MARKERS

NS = "{http://www.w3.org/2000/svg}"
SCORES = {
    title: {"": np.linspace(8, 12, 50), "photos": np.linspace(2, 9, 40), "noise": np.linspace(11, 14, 30)}
    for title in ("without L2", "with L2")
}
TEXTS = {"alt": "What it shows.", "caption": "Seed 0."}


def seeds(values=(0.8, 0.84, 0.9), recipe="l2", ood_set="photos", epoch=3):
    place = {"recipe": recipe, "ood_set": ood_set, "epoch": epoch}
    return pd.DataFrame([{**place, "seed": s, "value": v} for s, v in enumerate(values)])


BY_SEED = pd.concat([seeds(), seeds((0.4, 0.42, 0.44), "ce"), seeds((0.6, 0.6, 0.6), "l2", "noise")], ignore_index=True)
CURVES = pd.concat([seeds(np.array([1, 2, 3.0]) * (e + 1), recipe=r, epoch=e) for r in ("ce", "l2") for e in (0, 2, 4)])


def histograms(**other):
    return plots.score_histograms(SCORES, **{**TEXTS, **other})


def dots(**other):
    return plots.auroc_by_seed(BY_SEED, **{**TEXTS, **other})


def curves(**other):
    panels = {"norm": CURVES, "NC1": CURVES, "AUROC": CURVES.assign(value=CURVES["value"] / 20)}
    return plots.through_training(panels, **{"log": ["NC1"], "percent": ["AUROC"], **TEXTS, **other})


def groups(**other):
    return plots.by_seed({"AUROC": BY_SEED, "again": BY_SEED}, **{**TEXTS, **other})


def dot_a_row(**other):
    axes = {"x": "seed", "y": "value", "xlabel": "seed", "ylabel": "AUROC"}
    return plots.scatter({"a": BY_SEED}, **{"series": "recipe", **axes, **TEXTS, **other})


ALL = pytest.mark.parametrize("make", [histograms, dots, curves, groups])


@ALL
def test_the_svg_belongs_to_the_page_it_is_in(make):
    figure = make()
    for svg in (figure.svg, figure.narrow):
        root = ElementTree.fromstring(svg)
        assert root.tag == f"{NS}svg"
        assert not {"width", "height"} & set(root.attrib)
        assert root.get("viewBox")
        assert "width:100%" in root.get("style")
        assert "<style" not in svg
        assert "<metadata" not in svg
        assert "<?xml" not in svg
        assert "DOCTYPE" not in svg
        assert "http" not in re.sub(r'xmlns(:xlink)?="[^"]*"', "", svg)


@ALL
def test_ink_is_the_pages_and_data_keep_their_colours(make):
    svg = make().svg
    assert INK not in svg
    assert "currentColor" in svg
    assert "DejaVu" not in svg
    used = set(re.findall(r": (#[0-9a-fA-F]{6})", svg))
    assert used <= set(COLOURS)
    assert {COLOURS[0], COLOURS[1]} <= used
    for text in ElementTree.fromstring(svg).iter(f"{NS}text"):
        assert "fill: currentColor" in text.get("style")
        assert "font-family: inherit" in text.get("style")


@ALL
def test_text_can_be_read_on_a_phone(make):
    root = ElementTree.fromstring(make().narrow)
    scale = 342 / float(root.get("viewBox").split()[2])  # a column of a page 390 px wide
    sizes = [float(re.search(r"font-size: ([\d.]+)px", t.get("style"))[1]) for t in root.iter(f"{NS}text")]
    assert min(sizes) * scale >= 12
    assert min(sizes) == FONT


@ALL
def test_one_form_is_shown_wherever_the_figure_stands(make):
    """Without the book's style, as in a notebook, the wide one; the style shows the narrow one on phones alone."""
    figure = make()
    wide, narrow = (ElementTree.fromstring(svg) for svg in (figure.svg, figure.narrow))
    assert "display:none" not in wide.get("style")
    assert "display:none" in narrow.get("style")
    assert [wide.get("class"), narrow.get("class")] == ["wide", "narrow"]
    assert not set(ids(figure.svg)) & set(ids(figure.narrow))
    css = (Path(__file__).resolve().parent.parent.parent / "book" / "_static" / "book.css").read_text(encoding="utf-8")
    phone = css.split("@media (max-width: 600px) {")[1]
    assert ".ood-figure > svg.wide { display: none; }" in phone
    assert ".ood-figure > svg.narrow { display: inline !important; }" in phone


@ALL
def test_figures_say_what_they_show(make):
    figure = make(alt='A "quoted" <b>alt</b>', caption="<script>1</script>")
    assert ElementTree.fromstring(figure.svg).get("aria-label").startswith('A "quoted" <b>alt</b>. ')
    assert ElementTree.fromstring(figure.svg).get("role") == "img"
    html = figure._repr_html_()
    assert html.startswith('<figure class="ood-figure"><svg')
    assert "<script" not in html
    assert "<figcaption>&lt;script&gt;1&lt;/script&gt;" in html
    assert html.endswith("</figcaption></figure>")
    for name in ("alt", "caption"):
        with pytest.raises(InputError, match=f"{name} is empty"):
            make(**{name: " "})


def ids(svg):
    return [e.get("id") for e in ElementTree.fromstring(svg).iter() if e.get("id")]


@ALL
def test_the_same_figure_is_the_same_text_and_two_never_share_an_id(make):
    first, again, other = make().svg, make().svg, make(caption="Seed 1.").svg
    assert first == again
    assert ids(first)
    assert not set(ids(first)) & set(ids(other))
    assert len(set(ids(first))) == len(ids(first))
    pointed = set(re.findall(r'(?:href="#|url\(#)([^")]+)', first))
    assert pointed == set(ids(first))


def test_drawing_leaves_matplotlib_as_it_was():
    before = dict(mpl.rcParams)
    histograms()
    assert dict(mpl.rcParams) == before
    code = "import sys, ood_core.plots; sys.exit('matplotlib.pyplot' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def rgb(colour):
    """Linear light of a hex colour."""
    c = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    return np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)


def contrast(a, b):
    high, low = sorted((float(rgb(c) @ [0.2126, 0.7152, 0.0722]) for c in (a, b)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def dichromat(colour, kind):
    """CIELAB of a colour as protan or deutan viewers see it (Viénot, Brettel and Mollon 1999)."""
    to_lms = np.array([[17.8824, 43.5161, 4.11935], [3.45565, 27.1554, 3.86714], [0.0299566, 0.184309, 1.46709]])
    long, medium, short = to_lms @ rgb(colour)
    if kind == "protan":
        long = 2.02344 * medium - 2.52581 * short
    else:
        medium = 0.494207 * long + 1.24827 * short
    seen = np.clip(np.linalg.solve(to_lms, [long, medium, short]), 0, 1)
    to_xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    t = to_xyz @ seen / np.array([0.9505, 1.0, 1.089])
    f = np.where(t > 0.008856, np.cbrt(t), 7.787 * t + 16 / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


@pytest.mark.parametrize("paper", ["#ffffff", "#14181e", "#121212"])
@pytest.mark.parametrize("colour", COLOURS)
def test_colours_stand_out_in_light_and_dark(colour, paper):
    assert contrast(colour, paper) >= 3


@pytest.mark.parametrize("kind", ["protan", "deutan"])
def test_the_first_colours_differ_for_colour_blind_readers(kind):
    seen = [dichromat(colour, kind) for colour in COLOURS[:3]]
    for i in range(3):
        for j in range(i):
            assert np.linalg.norm(seen[i] - seen[j]) > 30
    assert len(set(MARKERS)) == len(set(map(str, DASHES))) == len(COLOURS)


def ticks(root):
    """(value, x, y) of every label that is a plain number."""
    found = []
    for text in root.iter(f"{NS}text"):
        label = (text.text or "").replace("−", "-")
        if re.fullmatch(r"-?[\d.]+", label):
            place = re.search(r"translate\(([-\d.]+)[ ,]([-\d.]+)\)", text.get("transform", ""))
            x, y = (text.get("x"), text.get("y")) if place is None else place.groups()
            found.append((float(label), float(x), float(y)))
    return found


def on_axis(positions, scale):
    """Data values of positions, by the straight line through the tick labels."""
    slope, start = np.polyfit(list(scale.values()), list(scale), 1)
    return np.asarray(positions) * slope + start


def paths(root, **style):
    """Points of the paths whose style holds every given entry."""
    for path in root.iter(f"{NS}path"):
        if all(f"{k.replace('_', '-')}: {v}" in (path.get("style") or "") for k, v in style.items()):
            yield np.array([[float(n) for n in p] for p in re.findall(r"[ML] ([-\d.]+) ([-\d.]+)", path.get("d"))])


def test_dots_and_intervals_lie_at_their_values():
    root = ElementTree.fromstring(dots().svg)
    scale = {value: x for value, x, _ in ticks(root)}
    intervals = [on_axis(p[:, 0], scale) for p in paths(root, stroke=COLOURS[0], stroke_width=2) if len(p) == 2]
    expected = scipy_stats.t.interval(0.95, 2, 84.66667, scipy_stats.sem([80, 84, 90]))
    assert any(np.allclose(drawn, expected, atol=0.1) for drawn in intervals)
    marks = [u for u in root.iter(f"{NS}use") if COLOURS[0] in (u.get("style") or "")]
    places = sorted(on_axis([float(u.get("x")) for u in marks], scale))
    for value in (80, 84, 90, 84.667, 60):
        assert np.abs(np.array(places) - value).min() < 0.1
    chance = [on_axis(p[:, 0], scale) for p in paths(root, stroke="currentColor", stroke_dasharray="")]
    assert any(np.allclose(line, 50, atol=0.1) for line in chance)


def test_names_choose_order_and_call():
    labels = [t.text for t in ElementTree.fromstring(dots(names={"l2": "with $L2$"}).svg).iter(f"{NS}text")]
    assert "with $L2$" in labels
    assert "ce" not in labels
    assert COLOURS[1] not in dots(names={"l2": "with L2"}).svg


def test_lines_are_means_over_seeds_and_bands_reach_from_smallest_to_largest():
    figure = plots.through_training({"norm": CURVES[CURVES["recipe"] == "l2"]}, **TEXTS)
    root = ElementTree.fromstring(figure.svg)
    bottom = max(y for _, _, y in ticks(root))  # where the epochs stand
    scale = {value: y for value, _, y in ticks(root) if y < bottom - 5}
    drawn = [on_axis(p[:, 1], scale) for p in paths(root, stroke=COLOURS[0], stroke_width="1.8") if len(p) == 3]
    (line,) = [values for values in drawn if np.ptp(values) > 1]  # the legend's is level
    # tick labels are set a fixed distance below their ticks, so compare differences
    assert np.diff(line) == pytest.approx([4, 4], abs=0.1)
    (placed,) = [u for u in root.iter(f"{NS}use") if f"fill: {COLOURS[0]}; fill-opacity: 0.2" in (u.get("style") or "")]
    (shape,) = [
        p for p in root.iter(f"{NS}path") if f"#{p.get('id')}" == placed.get("{http://www.w3.org/1999/xlink}href")
    ]
    heights = [float(y) + float(placed.get("y")) for y in re.findall(r"[ML] [-\d.]+ ([-\d.]+)", shape.get("d"))]
    band = on_axis(heights, scale)
    assert band.max() - line[-1] == pytest.approx(5, abs=0.1)  # 15 against the mean of 5, 10, 15
    assert line[0] - band.min() == pytest.approx(1, abs=0.1)


def test_zeros_count_in_the_mean_of_a_logarithmic_panel():
    def line(values):
        rows = pd.concat([seeds((1.0, 1.0, 1.0)), seeds(values, epoch=5), seeds((10.0, 10.0, 10.0), epoch=9)])
        root = ElementTree.fromstring(plots.through_training({"a": rows}, log=["a"], **TEXTS).svg)
        drawn = [p[:, 1] for p in paths(root, stroke=COLOURS[0], stroke_width="1.8") if len(p) == 3]
        (heights,) = [y for y in drawn if np.ptp(y) > 1]
        return (heights[0] - heights[1]) / (heights[0] - heights[2])  # 0 at 1, 1 at 10

    assert line((0.0, 3.0, 6.0)) == pytest.approx(np.log10(3), abs=0.02)


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [(0.03, 40.0, {0.1, 1, 10}), (0.12, 0.9, {0.2, 0.5}), (0.35, 0.45, {0.36, 0.4, 0.44}), (0.7, 1.4, {0.9, 1.2})],
)
def test_a_logarithmic_axis_has_numbers_whatever_it_spans(low, high, expected):
    rows = pd.concat([seeds((low,) * 3), seeds((high,) * 3, epoch=5)])
    root = ElementTree.fromstring(plots.through_training({"a": rows}, log=["a"], **TEXTS).svg)
    bottom = max(y for _, _, y in ticks(root))  # where the epochs stand
    assert {value for value, _, y in ticks(root) if y < bottom - 5} == expected


def test_several_ood_sets_are_averaged_per_seed():
    one = plots.through_training({"a": CURVES}, **TEXTS).svg
    twins = pd.concat([CURVES.assign(value=CURVES["value"] + d, ood_set=str(d)) for d in (-0.5, 0.5)])
    assert plots.through_training({"a": twins}, **TEXTS).svg == one


def test_what_a_logarithmic_axis_cannot_show_is_said():
    zeros = CURVES.assign(value=CURVES["value"].where(CURVES["epoch"] < 4, 0.0))
    figure = plots.through_training({"nc4": zeros}, log=["nc4"], **TEXTS)
    assert "6 values of 0 or less lie below" in figure.caption
    assert "below" not in curves().caption


def test_groups_that_are_not_drawn_change_nothing():
    """Their numbers are not counted as hidden, and need not be there once."""
    other = CURVES[CURVES["recipe"] == "l2"].assign(value=0.0)
    rows = pd.concat([CURVES[CURVES["recipe"] == "ce"], other, other])
    figure = plots.through_training({"NC1": rows}, names={"ce": "CE"}, log=["NC1"], **TEXTS)
    assert figure.caption == TEXTS["caption"]


def test_each_histogram_panel_holds_the_id_set_and_its_own_set():
    figure = histograms(xlabel="norm", aurocs={("with L2", "noise"): 7 / 150})
    texts = [t.text for t in ElementTree.fromstring(figure.svg).iter(f"{NS}text")]
    assert texts.count("norm") == 1, "one axis for all"
    assert texts.count("noise") == 1
    assert "noise, AUROC 4.7" in texts
    assert texts.count("photos") == 2
    assert {"without L2", "with L2", "ID test", "OOD set"} <= set(texts)
    root = ElementTree.fromstring(figure.svg)
    filled = [p for p in paths(root, fill=COLOURS[0]) if len(p) > 10]
    lines = [p for p in paths(root, stroke=COLOURS[1]) if len(p) > 10]
    assert (len(filled), len(lines)) == (4, 4)
    # ID scores span 8 to 12 and photos 2 to 9, on one axis
    rising = [np.ptp(p[p[:, 1] < p[:, 1].max() - 0.5, 0]) for p in (filled[0], lines[0])]
    assert rising[1] / rising[0] == pytest.approx(7 / 4, abs=0.25)


def test_an_auroc_is_printed_only_beside_the_scores_it_was_measured_on():
    other = {title: {name: x**2 - 20 * x for name, x in found.items()} for title, found in SCORES.items()}
    right = {("with L2", "noise"): 7 / 150, ("elsewhere", "noise"): 1.0}
    plots.score_histograms(SCORES, aurocs=right, **TEXTS)
    flipped = {title: {name: -x for name, x in found.items()} for title, found in SCORES.items()}
    plots.score_histograms(flipped, aurocs=right, unfamiliar="high", **TEXTS)
    for wrong, side in ((other, "low"), (flipped, "low"), (SCORES, "high")):
        with pytest.raises(InputError, match=r"'noise' in 'with L2' have an AUROC of .* expected the 0\.0467"):
            plots.score_histograms(wrong, aurocs=right, unfamiliar=side, **TEXTS)


def test_all_panels_of_histograms_have_one_axis():
    scores = {"short": {"": [1.0, 2.0], "x": [1.5]}, "long": {"": [10.0, 20.0], "x": [15.0]}}
    root = ElementTree.fromstring(plots.score_histograms(scores, **TEXTS).svg)
    labels = sorted((x, value) for value, x, _ in ticks(root))
    values = [value for _, value in labels]
    assert values[: len(values) // 2] == values[len(values) // 2 :], "the same numbers below both columns"


def test_a_column_can_have_an_axis_of_its_own_which_one_image_does_not_stretch():
    rng = np.random.default_rng(0)
    short, long = rng.normal(1, 0.1, 4000), rng.normal(100, 10, 4000)
    scores = {"short": {"": short, "x": np.append(short, 1e6)}, "long": {"": long, "x": long}}
    shown = plots.score_histograms(scores, alike=False, **TEXTS)
    marks = sorted((x, value) for value, x, _ in ticks(ElementTree.fromstring(shown.svg)))
    values = np.array([value for _, value in marks])
    assert values.min() > 0.5, "an axis of its own need not begin at 0"
    assert 1.1 < values[values < 50].max() < 2
    assert 110 < values.max() < 200
    assert "which spans 99.8 % of its numbers" in shown.caption
    assert "99.8" not in histograms().caption
    plots.score_histograms({"constant": {"": [1.0, 1.0], "x": [1.0]}}, alike=False, **TEXTS)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: plots.score_histograms({}, **TEXTS), "0 columns"),
        (lambda: plots.score_histograms({"a": {"": [1.0]}}, **TEXTS), "the same OOD sets"),
        (lambda: plots.score_histograms({"a": {"": [1.0], "x": [np.nan]}}, **TEXTS), "not finite"),
        (lambda: plots.score_histograms({**SCORES, "third": SCORES["with L2"]}, **TEXTS), "3 columns"),
        (lambda: plots.score_histograms({"a": {"": [1], "x": [1]}, "b": {"": [1], "y": [1]}}, **TEXTS), "'b' holds"),
        (lambda: plots.auroc_by_seed(pd.concat([BY_SEED, BY_SEED]), **TEXTS), "expected one"),
        (lambda: plots.auroc_by_seed(BY_SEED, series="colour", **TEXTS), "no column 'colour'"),
        (lambda: plots.auroc_by_seed(BY_SEED, names={"x": "y"}, **TEXTS), "expected some of: x"),
        (lambda: plots.through_training({}, **TEXTS), "panels are empty"),
        (lambda: curves(log=["nc1"]), "'nc1' names no panel"),
        (lambda: plots.through_training({"a": pd.concat([CURVES, CURVES])}, **TEXTS), "expected one"),
        (lambda: curves(series="colour"), "no column 'colour'"),
        (lambda: dot_a_row(series="colour"), "no column 'colour'"),
        (lambda: dot_a_row(names={"x": "y"}), "expected some of: x"),
    ],
)
def test_what_cannot_be_drawn_is_refused(call, message):
    with pytest.raises(InputError, match=message):
        call()
