"""The status page's lines."""

from ood_core import study
from tests.made_page import changed
from tests.made_up import claim, part


def test_a_line_says_what_is_behind_a_page(made, monkeypatch, tmp_path):
    monkeypatch.setattr("ood_core.recorded.folder", lambda scale: tmp_path / "results" / scale)
    assert study.status().empty
    results = study.run_or_load("made", seeds=2)
    (line,) = study.status().to_dict("records")
    assert (line["page"], line["scale"], line["runs"]) == ("made", "tiny", 4)
    assert line["training_seconds"] == round(sum(run.info["seconds"]["train"] for run in results.stored.values()))
    assert line["commit"] == results.runs["commit"][0]
    days = results.runs["created"].str[:10]
    assert (line["first"], line["last"]) == (days.min(), days.max())
    assert line["result"] == "no claims"


def test_a_line_counts_verdicts(made, monkeypatch, tmp_path):
    monkeypatch.setattr("ood_core.recorded.folder", lambda scale: tmp_path / "results" / scale)
    monkeypatch.setattr("ood_core.claims.pages", lambda: ["made"])
    a = {"recipe": "l2", "metric": "loss_gradient_cosine"}
    always = part(a=a, rule="always", direction=None, margin=None, at_most=1.0)
    other = part(a={"recipe": "other", "metric": "auroc"})
    stated = [claim(always), claim(other, id="T2"), claim(other, id="T3")]
    monkeypatch.setattr("ood_core.claims.load", lambda page: stated)
    study.run_or_load("made", seeds=1)
    (line,) = study.status().to_dict("records")
    assert list(line)[:4] == ["page", "scale", "runs", "result"]
    assert (line["runs"], line["result"]) == (2, "3 claims: 1 holds, 2 not run")


def test_a_run_that_lacks_a_measurement_is_not_there_yet(made, monkeypatch, tmp_path):
    monkeypatch.setattr("ood_core.recorded.folder", lambda scale: tmp_path / "results" / scale)
    study.run_or_load("made", seeds=1)
    assert study.status()["runs"].tolist() == [2]
    made(changed(scores=["msp", "energy"]))
    assert study.status().empty
