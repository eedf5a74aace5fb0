"""Histograms of the papers' pages: the scores that are drawn are those whose AUROC is printed beside them."""

import json
import re

import numpy as np
import pytest

from ood_core import metrics, plots, study

from ..building import ROOT


@pytest.fixture
def drawn(monkeypatch, runs):
    """Runs a page up to its histograms; gives their scores, the other arguments, the figure and the page's names."""
    monkeypatch.setenv("OOD_RUNS", str(runs))
    found = {}
    draw = plots.score_histograms

    def keep(scores, **given):
        found.update(scores=scores, given=given, figure=draw(scores, **given))
        return found["figure"]

    monkeypatch.setattr(plots, "score_histograms", keep)

    def run(page):
        notebook = json.loads((ROOT / "book" / "papers" / f"{page}.ipynb").read_text(encoding="utf-8"))
        code = ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code"]
        names = {}
        for source in code:
            exec(source, names)  # of this repository
            if found:
                return found | {"names": names}
        raise AssertionError(f"{page} draws no histograms")

    return run


@pytest.mark.slow
@pytest.mark.parametrize(("page", "sign"), [("l2-norm", 1), ("isomax", -1)])
def test_the_auroc_of_the_drawn_scores_is_the_printed_one(drawn, page, sign):
    found = drawn(page)
    texts = found["figure"].svg
    for (title, name), recorded in found["given"]["aurocs"].items():
        scores = {of: sign * np.asarray(values) for of, values in found["scores"][title].items()}
        value = metrics.auroc(scores[""], scores[name])
        assert value == pytest.approx(recorded, abs=1e-4)
        assert re.search(rf"{re.escape(name)}, AUROC {100 * value:.1f}<", texts), (title, name)
    assert len(found["given"]["aurocs"]) == sum(len(sets) - 1 for sets in found["scores"].values())


@pytest.mark.slow
def test_the_drawn_lengths_are_euclidean(drawn):
    found = drawn("l2-norm")
    results = study.run_or_load("l2-norm", scale="tiny", seeds=5)
    for recipe, title in (("ce", "without L2"), ("l2", "with L2")):
        stored = results.scores(recipe)
        for name, values in found["scores"][title].items():
            assert np.array_equal(values, stored["feature_norm", "features", "", name])
    assert "Euclidean" in found["given"]["xlabel"]
