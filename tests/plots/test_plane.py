"""The picture of a plane: points below a hundred a set, a number at each class mean, refusals by name."""

import re
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest

from ood_core import plots, study, verify
from ood_core.checks import InputError
from ood_core.plots.plane import CLASSES

from ..made_page import changed
from .test_plots import NS, contrast

ROWS = pd.DataFrame(
    {"set": ["", "", "", "photos", "noise"], "x": [0.0, 1, 2, 3, 4], "y": [0.0, 1, 0, 1, 0], "label": [0, 1, 1, -1, -1]}
)
TEXTS = {"alt": "What it shows.", "caption": "Seed 0.", "sets": {"photos": "photographs", "noise": "noise"}}


def numbers(svg):
    return [t.text for t in ElementTree.fromstring(svg).iter(f"{NS}text") if (t.text or "").isdigit()]


def test_every_point_is_drawn_once_and_named():
    one, two, three = (plots.plane(dict.fromkeys(names, ROWS), **TEXTS) for names in ("a", "ab", "abc"))
    legend, classes = 3, 2
    for panels, shown in enumerate((one, two, three), 1):
        for svg in (shown.svg, shown.narrow):
            assert svg.count("<use ") - legend == panels * (len(ROWS) + classes)
            assert numbers(svg) == ["0", "1"] * panels, "each class has its number"
    assert "photographs" in one.svg
    assert "currentColor" in one.svg
    assert (
        ElementTree.fromstring(one.svg).get("aria-label").startswith("What it shows. In this plane 100 % (a) of the ID")
    )


def test_of_many_images_a_hundred_a_set_are_drawn_and_the_caption_says_so():
    angles = np.linspace(0, 6, 250)
    many = {"set": "", "x": np.cos(angles), "y": np.sin(angles), "label": np.arange(250) % 10}
    rows = pd.concat([pd.DataFrame(many), ROWS[ROWS["set"] != ""]])
    shown = plots.plane({"a": rows}, **TEXTS)
    assert shown.svg.count("<use ") - 3 == 100 + 2 + 10
    assert shown.caption.endswith("Of 250 images a set, 100 are drawn.")


def test_numbers_of_classes_whose_means_coincide_do_not_hide_each_other():
    ring = pd.DataFrame([("", np.cos(t), np.sin(t), k) for k in range(8) for t in np.linspace(0, 2 * np.pi, 21)[:-1]])
    ring.columns = ["set", "x", "y", "label"]
    shown = plots.plane({"a": pd.concat([ring, ROWS[ROWS["set"] != ""]])}, **TEXTS)
    for svg in (shown.svg, shown.narrow):
        texts = [t for t in ElementTree.fromstring(svg).iter(f"{NS}text") if (t.text or "").isdigit()]
        places = [re.search(r"translate\(([-\d.]+)[ ,]([-\d.]+)\)", t.get("transform", "")) for t in texts]
        at = np.array(
            [p.groups() if p else (t.get("x"), t.get("y")) for p, t in zip(places, texts, strict=True)], float
        )
        apart = np.hypot(*(at[:, None] - at[None]).transpose(2, 0, 1)) + 1e9 * np.eye(len(at))
        assert apart.min() > 11, "a disc is 11.5 units wide"


@pytest.mark.parametrize("paper", ["#ffffff", "#14181e", "#121212"])
def test_ten_classes_stand_out_and_differ(paper):
    assert len(set(CLASSES)) == 10
    assert all(contrast(colour, paper) >= 3 for colour in CLASSES)


def test_sets_that_are_not_named_are_not_drawn():
    few = plots.plane({"a": ROWS}, **{**TEXTS, "sets": {"photos": "photographs"}})
    assert few.svg.count("<use ") == len(ROWS) - 1 + 2 + 2


@pytest.mark.parametrize(
    ("panels", "message"),
    [
        ({}, "there are 0 panels"),
        (dict.fromkeys("abcde", ROWS), "there are 5 panels, expected one to four"),
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
