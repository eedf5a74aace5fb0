"""Recorded runs: what is written comes back, what was edited or grew old is said, and weights give the rows again."""

import json

import pandas as pd
import pytest

from ood_core import measure, recipes, recorded, study
from ood_core.checks import ArtifactError
from ood_core.measure import COLUMNS
from ood_core.store import Store
from ood_core.verify import verify_recorded
from tests.made_page import changed


@pytest.fixture
def written(made, tmp_path, monkeypatch):
    """Both recipes of the made page with one seed, stored and recorded."""
    monkeypatch.setattr("ood_core.recorded.folder", lambda scale: tmp_path / "results" / scale)
    results = study.run_or_load("made", seeds=1)
    assert study.recorded_rows("made", "tiny") is None
    study.record("made", "tiny", 1)
    return results


def test_rows_come_back_to_the_bit(written):
    again = study.recorded_rows("made", "tiny")
    assert list(again.columns) == ["recipe", *COLUMNS]
    order = ["recipe", "epoch", "ood_set", "split", "layer", "scorer", "metric"]
    pd.testing.assert_frame_equal(
        again.sort_values(order, ignore_index=True),
        written.rows.sort_values(order, ignore_index=True),
        check_dtype=False,
    )
    run = next(recorded.every("tiny"))
    stored = Store().get(run.key)
    pd.testing.assert_frame_equal(run.history(), stored.history())
    assert run.weights().keys() == stored.weights().keys()
    assert run.info["commit"] == stored.info["commit"]


def test_only_whole_runs_are_recorded(made, tmp_path, monkeypatch):
    monkeypatch.setattr("ood_core.recorded.folder", lambda scale: tmp_path / "results" / scale)
    study.run_or_load("made", seeds=1, only=["l2"])
    assert [run.info["recipe"]["id"] for run in study.record("made", "tiny", 3)] == ["l2"]
    assert set(study.recorded_rows("made", "tiny")["recipe"]) == {"l2"}


def test_an_edited_file_is_named(written):
    run = next(recorded.every("tiny"))
    path = run.folder / "rows.csv"
    path.write_text(path.read_text().replace("auroc", "aurac", 1))
    with pytest.raises(ArtifactError, match=r"rows.csv has SHA-256 .* it was edited"):
        run.rows()
    problems = [f.problem for f in verify_recorded("made", "tiny")]
    assert sum("was edited" in problem for problem in problems) == 1
    (run.folder / "run.json").write_text(json.dumps({"key": "other", "files": {}}))
    with pytest.raises(ArtifactError, match="is not the record of run"):
        study.recorded_rows("made", "tiny")


def test_a_measure_that_changed_since_is_said_and_not_shown(written, monkeypatch):
    assert [f.problem for f in verify_recorded("made", "tiny")] == ["", ""]
    newer = {**measure.MEASURES, "norms": measure.MEASURES["collapse"]}
    newer["accuracy"] = measure.Measure("accuracy", 99, newer["accuracy"].plan, newer["accuracy"].rows)
    monkeypatch.setattr(measure, "MEASURES", newer)
    assert "measurements are older than the code" in verify_recorded("made", "tiny")[0].problem
    assert "accuracy" not in set(study.recorded_rows("made", "tiny")["metric"])


def test_a_scorer_asked_for_later_is_not_there_and_no_mistake(written, made):
    made(changed(scores=["msp", "energy"]))
    assert [f.problem for f in verify_recorded("made", "tiny")] == ["", ""]
    assert set(study.recorded_rows("made", "tiny")["scorer"]) == {"", "msp"}


def test_recorded_weights_give_the_numbers_again(written):
    findings = verify_recorded("made", "tiny", again=True)
    assert [f.problem for f in findings] == ["", ""]
    assert all(f.numbers > 40 for f in findings)


def test_times_and_what_was_never_measured_are_not_measured_again(made, tmp_path, monkeypatch):
    monkeypatch.setattr("ood_core.recorded.folder", lambda scale: tmp_path / "results" / scale)
    made(changed(measures=["accuracy", "cost"]))
    study.run_or_load("made", seeds=1)
    study.record("made", "tiny", 1)
    made(changed(measures=["accuracy", "cost", "collapse"]))
    last = recorded.split(next(recorded.every("tiny")), recipes.load("made", "tiny")["ce"])[0].query("epoch == 2")
    times = last["metric"].isin(["fit_seconds", "score_microseconds"])
    assert times.any()
    found = verify_recorded("made", "tiny", again=True)
    assert {f.problem for f in found} == {""}
    assert {f.numbers for f in found} == {(~times).sum()}


def test_a_wrong_number_is_found_by_measuring_again(written):
    run = next(recorded.every("tiny"))
    rows = run.rows()
    at = rows.index[(rows["metric"] == "auroc") & (rows["epoch"] == 2)][0]
    rows.loc[at, "value"] -= 0.01
    content = rows.drop(columns=list(recorded.SAID_ONCE)).to_csv(index=False).encode()
    (run.folder / "rows.csv").write_bytes(content)
    info = json.loads((run.folder / "run.json").read_text())
    info["files"]["rows.csv"] = recorded.hashlib.sha256(content).hexdigest()
    (run.folder / "run.json").write_text(json.dumps(info))
    assert verify_recorded("made", "tiny")[0].problem == ""
    assert sum("auroc is" in f.problem for f in verify_recorded("made", "tiny", again=True)) == 1


def test_no_weights_recorded(made, tmp_path, monkeypatch):
    monkeypatch.setattr("ood_core.recorded.folder", lambda scale: tmp_path / "results" / scale)
    monkeypatch.setattr("ood_core.recorded.WEIGHT_BYTES", 10)
    study.run_or_load("made", seeds=1)
    assert {run.weights() is None for run in study.record("made", "tiny", 1)} == {True}
    assert "no weights are recorded" in verify_recorded("made", "tiny", again=True)[0].problem


def test_a_page_without_that_scale_has_nothing_recorded(made):
    assert study.recorded_rows("made", "paper") is None
    assert study.recorded_rows("no-such-page", "small") is None
    assert verify_recorded("made", "paper") == []
