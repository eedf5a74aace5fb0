"""Verdicts of recorded runs, and what those that wait are waiting for."""

import pandas as pd
import pytest

from ood_core import study
from ood_core.study.judged import _missing
from tests.made_page import changed
from tests.made_up import claim, part


@pytest.mark.parametrize(
    ("names", "seeds", "text"),
    [
        (["ce", "l2"], 3, "ce, l2, 4 runs, about 44 minutes on two CPU cores, a run on each"),
        (["l2"], 3, "l2, 3 seeds, about 33 minutes on two CPU cores, a run on each"),
        (["ce"], 3, "ce, 1 seed, about 11 minutes on two CPU cores, a run on each"),
        (["all"], 14, "ce, l2, 26 runs, about 4.8 hours on two CPU cores, a run on each"),
        (["ce", "elsewhere"], 2, ""),
    ],
)
def test_missing_runs_in_words(made, names, seeds, text):
    page = changed()
    page["scales"]["tiny"]["minutes"] = 11
    made(page)
    rows = pd.DataFrame({"recipe": ["ce"] * 3, "seed": [0, 1, 1]})
    assert _missing("made", "tiny", rows)(names, seeds) == text


def test_recorded_verdicts_say_what_they_wait_for(made, monkeypatch, tmp_path):
    monkeypatch.setattr("ood_core.recorded.folder", lambda scale: tmp_path / "results" / scale)
    monkeypatch.setattr("ood_core.claims.load", lambda page: [claim(part(a={"recipe": "l2", "metric": "auroc"}))])
    study.run_or_load("made", seeds=1, only=["ce"])
    study.record("made", "tiny", 1, ["ce"])
    (found,) = study.verdicts("made")["tiny"]
    waits = "waits for l2, 5 seeds, about 0.1 minutes on two CPU cores, a run on each"
    assert (found.word, found.note) == ("not run", waits)


def test_a_page_run_live_decides_at_its_own_scale_alone(made, monkeypatch, tmp_path):
    monkeypatch.setattr("ood_core.recorded.folder", lambda scale: tmp_path / "results" / scale)
    a = {"recipe": "ce", "metric": "accuracy", "split": "test"}
    always = part(a=a, rule="always", direction=None, margin=None, at_most=1.0)
    monkeypatch.setattr("ood_core.claims.load", lambda page: [claim(always)])
    found = study.verdicts("made", study.run_or_load("made", seeds=1, only=["ce"]))
    assert {scale: judged and judged[0].word for scale, judged in found.items()} == {
        "tiny": "holds",
        "small": None,
        "paper": None,
    }
