"""Paths of two numbers through training: what is drawn where, and what is refused."""

from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure as Drawing

from ood_core import plots
from ood_core.checks import InputError
from ood_core.plots import states

TEXTS = {"xlabel": "x", "ylabel": "y", "alt": "What it shows.", "caption": "Seed 0."}


def rows(start, step, recipe, ood_set="", epochs=(0, 2, 4), noise=(-0.1, 0.1)):
    place = {"recipe": recipe, "ood_set": ood_set}
    numbers = [(e, s, start + step * e + n) for e in epochs for s, n in enumerate(noise)]
    return pd.DataFrame([{**place, "epoch": e, "seed": s, "value": v} for e, s, v in numbers])


X = pd.concat([rows(0.2, 0.05, "S"), rows(0.3, 0.0, "O")], ignore_index=True)
Y = pd.concat([rows(0.5, 0.1, "S", "a"), rows(0.3, 0.1, "S", "b"), rows(0.5, 0.0, "O", "a"), rows(0.5, 0.0, "O", "b")])


@pytest.fixture
def drawn(monkeypatch):
    """The axes of the last figure, as drawn."""
    kept = Drawing()

    def keep(draw, heights, alt, caption):
        draw(kept, False)
        return made(draw, heights, alt, caption)

    made = states.figure
    monkeypatch.setattr(states, "figure", keep)
    return kept


def lines(axes):
    return [
        tuple(np.round(np.asarray(data, dtype=float), 6).tolist() for data in line.get_data()) for line in axes.lines
    ]


def test_paths_go_through_the_means_over_seeds_and_sets(drawn):
    plots.paths(X, {"train": Y}, names={"S": "true", "O": "constant"}, **TEXTS)
    shown = lines(drawn.axes[0])
    assert shown[0] == ([0.2, 0.3, 0.4], [40.0, 60.0, 80.0])
    assert shown[1] == ([0.4], [80.0])  # where it ends
    assert shown[2] == ([0.3] * 3, [50.0] * 3)


def test_the_caption_says_what_rises_and_what_does_not():
    caption = plots.paths(X, {"train": Y}, names={"S": "true", "O": "constant"}, **TEXTS).caption
    assert caption == (
        "Seed 0. From the first epoch to the last, paired by seed and at 95 %: train, y rises for true, shows no "
        "clear change for constant. Dashed line: chance."
    )


def test_a_path_is_drawn_where_both_numbers_are_known(drawn):
    plots.paths(X, {"train": Y[Y["epoch"] > 0]}, names={"S": "true"}, **TEXTS)
    assert lines(drawn.axes[0])[0] == ([0.3, 0.4], [60.0, 80.0])


def test_the_svg_is_labelled_and_takes_the_pages_ink():
    figure = plots.paths(X, {"train": Y, "test": Y}, **TEXTS)
    root = ElementTree.fromstring(figure.svg)
    assert root.get("aria-label").startswith("What it shows. y from the first epoch to the last. train: S ")
    assert "currentColor" in figure.svg


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: plots.paths(X, {}, **TEXTS), "panels are empty"),
        (lambda: plots.paths(pd.concat([X, X]), {"t": Y}, **TEXTS), "expected one"),
        (lambda: plots.paths(X, {"t": pd.concat([Y, Y])}, **TEXTS), "expected one"),
        (lambda: plots.paths(X, {"t": Y.assign(epoch=Y["epoch"] + 99)}, **TEXTS), "shares no recipe, seed and epoch"),
        (lambda: plots.paths(X, {"t": Y}, names={"Z": "z"}, **TEXTS), "expected some of: Z"),
    ],
)
def test_what_cannot_be_drawn_is_refused(make, message):
    with pytest.raises(InputError, match=message):
        make()
