"""What captions say of the numbers: who differs from whom and where, and nothing where nothing is known."""

import pandas as pd
import pytest

from ood_core.plots import words

GROUPS = {"ce": "without L2", "l2": "with L2", "long": "with L2, long"}


def at(*values):
    return pd.Series(values, index=range(len(values)), dtype=float)


CE = at(50, 51, 52)
PLACES = {
    "digits-89": {"ce": CE, "l2": CE + at(9, 10, 11), "long": CE + at(9, 10, 11)},
    "noise": {"ce": CE, "l2": CE - at(9, 10, 11), "long": CE - at(9, 10, 11)},
    "photos": {"ce": CE, "l2": CE + at(-1, 0, 1), "long": CE + at(9, 10, 11)},
}


def test_each_group_against_the_first():
    assert words.against_first(PLACES, GROUPS, "sets") == (
        "Against without L2, paired by seed, at 95 % and uncorrected: with L2 is higher on digits-89, lower on noise; "
        '"with L2, long" is higher on digits-89 and photos, lower on noise. Elsewhere no difference is clear.'
    )


def test_groups_of_which_the_same_is_said_are_named_together():
    up = {place: {"ce": CE, "l2": CE + 5, "long": CE + 6} for place in ("a", "b", "c")}
    assert words.against_first(up, GROUPS, "panels").endswith('with L2 and "with L2, long" are higher in all panels.')
    level = {"a": {"ce": CE, "l2": CE + at(-1, 0, 1)}}
    assert words.against_first(level, GROUPS, "sets").endswith("uncorrected: with L2 is not clearly different from it.")


@pytest.mark.parametrize("places", [{}, {"a": {"ce": CE}}, {"a": {"l2": CE}}, {"a": {"ce": at(1), "l2": at(2)}}])
def test_without_two_seeds_of_two_groups_nothing_is_said(places):
    assert words.against_first(places, GROUPS, "sets") == ""


def test_differences_are_those_of_equal_seeds():
    shifted = pd.Series([60.0, 70.0, 10.0], index=[1, 2, 7])
    assert words.against_first({"a": {"ce": CE, "l2": shifted}}, GROUPS, "sets").endswith(
        "with L2 is not clearly different from it."
    )


def test_what_rises_and_falls():
    found = {"train": {"S": (CE, CE + 5), "O": (CE, CE - 5), "R": (CE, CE + at(-1, 0, 1))}}
    assert words.ends(found, "AUROC") == (
        "From the first epoch to the last, paired by seed and at 95 %: "
        "train, AUROC rises for S, falls for O, shows no clear change for R."
    )
    assert words.ends({"train": {"S": (at(1), at(2))}}, "AUROC") == ""


def test_ranges_of_means():
    means = {"noise-01": {"ce": 36.71, "l2": 98.0}, "photos": {"ce": 60.0}}
    told = "Means: without L2 36.7 (noise-01) to 60.0 (photos); with L2 98.0 (noise-01)."
    assert words.ranges(means, GROUPS) == told
    assert words.ranges({}, GROUPS) == ""


@pytest.mark.parametrize(
    ("sides", "text"),
    [
        ([], ""),
        ([0, 0], "Dashed line: chance."),
        ([0, 1], "Dashed line: chance; AUROCs drawn without it lie far above it."),
        ([1, 1], "All AUROCs lie far above chance, which is 50."),
        ([-1], "All AUROCs lie far below chance, which is 50."),
        ([-1, 1], "All AUROCs lie far from chance, which is 50."),
    ],
)
def test_the_line_of_chance(sides, text):
    assert words.chance(sides) == text


@pytest.mark.parametrize(("value", "text"), [(0.01234, "0.0123"), (48800.0, "4.88e4"), (-0.5, "−0.5"), (1e10, "1e10")])
def test_digits(value, text):
    assert words.digits(value) == text
