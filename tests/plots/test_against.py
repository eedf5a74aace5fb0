"""A score against another number: which numbers meet, how classes and OOD sets are joined, what is refused."""

import re
import sys
from xml.etree import ElementTree

import pandas as pd
import pytest

from ood_core import plots
from ood_core.checks import InputError

TEXTS = {"alt": "What it shows.", "caption": "Five seeds.", "xlabel": "NC1"}
BLANK = {"class": "", "ood_set": "", "params": ""}


def frame(*rows):
    return pd.DataFrame([{**BLANK, **row} for row in rows])


X = frame(*({"run": f"r{i}", "value": v} for i, v in enumerate((1.0, 10.0, 100.0))))
Y = frame(
    *({"run": f"r{i}", "value": v, "ood_set": name, "recipe": recipe}
      for i, (recipe, values) in enumerate((("ce", (0.5, 0.7)), ("ce", (0.8, 0.8)), ("l2", (0.9, 0.7))))
      for name, v in zip(("a", "b"), values, strict=True))
)  # fmt: skip


@pytest.fixture
def given(monkeypatch):
    """What reaches the drawing."""
    kept = {}

    def scatter(panels, **settings):
        kept.update(panels=panels, **settings)

    monkeypatch.setattr(sys.modules["ood_core.plots.against"], "scatter", scatter)  # the function has its name
    return kept


def test_sets_are_averaged_and_runs_meet(given):
    plots.against(X, {"far": Y}, series="recipe", **TEXTS)
    made = given["panels"]["far"].set_index("run")
    assert made["y"].to_dict() == pytest.approx({"r0": 60, "r1": 80, "r2": 80})
    assert made["x"].to_dict() == {"r0": 1, "r1": 10, "r2": 100}
    assert list(made["group"]) == ["ce", "ce", "l2"]
    assert (given["log"], given["ylabel"]) == (("x",), "AUROC (%)")


def test_classes_have_their_median_and_settings_meet_their_own(given):
    x = frame(
        *({"run": "r0", "params": p, "class": c, "value": v} for p, vs in (("", (1, 2, 9)), ("k", (5, 6, 7)))
          for c, v in zip("abc", vs, strict=True))
    )  # fmt: skip
    y = frame({"run": "r0", "params": "k", "value": 0.7}, {"run": "r0", "params": "", "value": 0.6})
    plots.against(x, {"near": y}, series="params", names={"": "weak", "k": "strong"}, **TEXTS)
    made = given["panels"]["near"].set_index("group")
    assert made["x"].to_dict() == {"k": 6, "": 2}
    assert made["y"].to_dict() == pytest.approx({"k": 70, "": 60})


def test_the_pooled_rank_correlation_is_of_what_is_drawn(given):
    plots.against(X, {"far": Y}, series="recipe", pooled=True, **TEXTS)
    assert given["caption"] == "Five seeds. Rank correlation over all dots: far +0.87."
    plots.against(X, {"far": Y}, series="recipe", names={"ce": "CE"}, pooled=True, **TEXTS)
    assert given["caption"].endswith("far +1.00.")


def test_it_draws():
    figure = plots.against(X, {"near": Y, "far": Y}, series="recipe", names={"ce": "CE", "l2": "L2"}, **TEXTS)
    texts = [t.text for t in ElementTree.fromstring(figure.svg).iter("{http://www.w3.org/2000/svg}text")]
    assert {"near", "far", "NC1", "AUROC (%)", "CE", "L2"} <= set(texts)
    assert re.search(r"<use ", figure.svg)


def test_refusals():
    with pytest.raises(InputError, match="two or more numbers for run r0 and class ''"):
        plots.against(pd.concat([X, X]), {"far": Y}, series="recipe", **TEXTS)
    with pytest.raises(InputError, match="two or more numbers for run r0 and ood_set 'a'"):
        plots.against(X, {"far": pd.concat([Y, Y])}, series="recipe", **TEXTS)
    with pytest.raises(InputError, match="missing or not finite"):
        plots.against(X.iloc[:2], {"far": Y}, series="recipe", **TEXTS)


def test_the_legend_names_what_is_drawn_alone():
    names = {"ce": "CE", "ce-long": "not recorded", "l2": "L2"}
    figure = plots.against(X, {"far": Y}, series="recipe", names=names, **TEXTS)
    for svg in (figure.svg, figure.narrow):
        texts = [t.text for t in ElementTree.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")]
        assert "not recorded" not in texts
        assert [text for text in texts if text in names.values()] == ["CE", "L2"]
