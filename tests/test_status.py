"""The status page's lines."""

from ood_core import study


def test_a_line_says_what_is_behind_a_page(made, monkeypatch, tmp_path):
    monkeypatch.setattr("ood_core.recorded.folder", lambda scale: tmp_path / "results" / scale)
    assert study.status().empty
    results = study.run_or_load("made", seeds=2)
    (line,) = study.status().to_dict("records")
    assert (line["page"], line["scale"], line["runs"]) == ("made", "tiny", 4)
    assert line["training_seconds"] == sum(run.info["seconds"]["train"] for run in results.stored.values())
    assert line["commit"] == results.runs["commit"][0]
    assert line["first"] <= line["last"]
