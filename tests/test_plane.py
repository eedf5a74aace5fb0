"""The picture of a plane: every point drawn, classes by number, refusals by name."""

import pandas as pd
import pytest

from ood_core import plots, study, verify
from ood_core.checks import InputError
from tests.made_page import changed

ROWS = pd.DataFrame(
    {"set": ["", "", "", "photos", "noise"], "x": [0.0, 1, 2, 3, 4], "y": [0.0, 1, 0, 1, 0], "label": [0, 1, 1, -1, -1]}
)
TEXTS = {"alt": "What it shows.", "caption": "Seed 0.", "sets": {"photos": "photographs", "noise": "noise"}}


def test_every_point_is_drawn_once_and_named():
    one, two, three = (plots.plane(dict.fromkeys(names, ROWS), **TEXTS) for names in ("a", "ab", "abc"))
    legend = 3
    for panels, shown in enumerate((one, two, three), 1):
        assert shown.svg.count("<use ") - legend == panels * len(ROWS)
    assert "photographs" in one.svg
    assert "currentColor" in one.svg
    assert 'aria-label="What it shows."' in one.svg


def test_sets_that_are_not_named_are_not_drawn():
    few = plots.plane({"a": ROWS}, **{**TEXTS, "sets": {"photos": "photographs"}})
    assert few.svg.count("<use ") == len(ROWS) - 1 + 2


@pytest.mark.parametrize(
    ("panels", "message"),
    [
        ({}, "there are 0 panels"),
        (dict.fromkeys("abcd", ROWS), "there are 4 panels, expected one to three"),
        ({"a": ROWS[ROWS["set"] != ""]}, "lacks the sets"),
        ({"a": ROWS[ROWS["set"] != "noise"]}, "lacks the sets"),
        ({"a": ROWS.assign(x=float("nan"))}, "not finite"),
    ],
)
def test_refusals(panels, message):
    with pytest.raises(InputError, match=message):
        plots.plane(panels, **TEXTS)


def test_a_page_reads_the_plane_of_its_runs_and_verify_takes_it_for_no_score(made):
    """A contrastive network end to end: trained, measured without logits, stored, checked, drawn."""
    page = changed(measures=["embedding", "collapse", "probe"], scores=["ssd"])
    page["recipes"] = {
        "supcon": {"title": "t", "head": {"name": "projection"}, "loss": {"name": "supcon"}},
    }
    made(page)
    results = study.run_or_load("made", seeds=1)
    found = results.plane("supcon")
    assert found["set"].value_counts().to_dict() == {"": 300, "digits-89": 300, "noise": 300}
    assert set(found.loc[found["set"] == "", "label"]) == set(range(8))
    assert set(found.loc[found["set"] != "", "label"]) == {-1}
    plots.plane({"SupCon": found}, **{**TEXTS, "sets": {"noise": "noise"}})
    (checked,) = verify.verify(results.stored.values())
    assert checked.problem == ""
    assert checked.numbers > 0
    assert study.run_or_load("made", seeds=1).fresh == frozenset()
