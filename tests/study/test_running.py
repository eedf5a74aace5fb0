"""From request to rows: nothing trained twice, and nothing stale shown."""

import dataclasses
import time

import pandas as pd
import pytest
import torch
import yaml

from ood_core import data, measure, recipes, scorers, study, train
from ood_core.checks import ArtifactError, InputError
from ood_core.measure import COLUMNS
from ood_core.store import Store
from ood_core.verify import verify, verify_recorded
from tests.made_page import PAGE, changed
from tests.study.cases import Told, states


def test_runs_once_then_loads(made):
    assert states() == ["to train"] * 4
    first = study.run_or_load("made", seeds=2)
    assert states() == ["stored"] * 4
    assert len(first.fresh) == 4
    again = study.run_or_load("made", seeds=2)
    assert again.fresh == frozenset()
    pd.testing.assert_frame_equal(first.rows, again.rows)
    assert again.runs["loaded"].all()
    assert list(first.rows.columns) == ["recipe", *COLUMNS]


def test_planning_reads_no_registered_image(made, monkeypatch):
    monkeypatch.setattr("ood_core.data.load", lambda *_: pytest.fail("an image set was read"))
    assert states() == ["to train"] * 4


def test_a_new_scorer_or_ood_set_is_measured_without_training(made, monkeypatch):
    study.run_or_load("made", seeds=1)
    made(changed(far=["noise", "photos"], scores=[{"scorer": "feature_norm"}, "msp", "energy"]))
    assert states(1) == ["to measure"] * 2
    monkeypatch.setattr("ood_core.train.fit", lambda *_, **__: pytest.fail("trained again"))
    rows = study.run_or_load("made", seeds=1).rows
    assert {"photos", "noise"} <= set(rows["ood_set"])
    assert "energy" in set(rows["scorer"])
    assert states(1) == ["stored"] * 2
    made(PAGE)  # what the first page asked for is still there
    assert states(1) == ["stored"] * 2


def test_a_changed_scorer_makes_its_rows_stale(made, monkeypatch):
    study.run_or_load("made", seeds=1)
    monkeypatch.setattr(type(scorers.make("msp")), "version", 99)
    assert states(1) == ["to measure"] * 2
    results = study.run_or_load("made", seeds=1)
    stored = results.stored["ce", 0].rows()
    assert (stored[(stored["scorer"] == "msp") & (stored["metric"] == "auroc")]["ood_set"].value_counts() == 1).all()


def test_a_changed_measure_is_taken_again_on_the_trained_network(made, monkeypatch):
    first = study.run_or_load("made", seeds=1)
    newer = dataclasses.replace(measure.MEASURES["collapse"], version=99)
    monkeypatch.setitem(measure.MEASURES, "collapse", newer)
    assert states(1) == ["to measure"] * 2
    monkeypatch.setattr("ood_core.train.fit", lambda *_, **__: pytest.fail("trained again"))
    again = study.run_or_load("made", seeds=1).rows
    assert set(again[again["metric"] == "nc1"]["epoch"]) == {0, 1, 2}
    pd.testing.assert_series_equal(
        again["value"].sort_values(ignore_index=True), first.rows["value"].sort_values(ignore_index=True)
    )


def longer(record):
    page = changed(record=record)
    page["scales"]["tiny"]["schedule"]["epochs"] = 12
    return page


def test_an_epoch_that_every_run_keeps_is_measured_when_it_is_asked_for(made):
    made(longer([]))
    study.run_or_load("made", seeds=1)
    made(longer([0.5]))
    assert states(1) == ["to measure"] * 2
    assert set(study.run_or_load("made", seeds=1).rows["epoch"]) == {0, 6, 12}


def test_another_epoch_to_record_trains_again_to_the_same_bits(made):
    made(longer([]))
    first = study.run_or_load("made", seeds=1)
    made(longer([0.25]))
    assert states(1) == ["to train"] * 2
    again = study.run_or_load("made", seeds=1)
    for name, tensor in first.stored["ce", 0].weights().items():
        assert torch.equal(tensor, again.stored["ce", 0].weights()[name])
    both = again.rows[again.rows["epoch"] != 3].reset_index(drop=True)
    order = ["recipe", "epoch", "ood_set", "split", "layer", "scorer", "metric"]
    pd.testing.assert_frame_equal(
        both.sort_values(order, ignore_index=True), first.rows.sort_values(order, ignore_index=True)
    )


def test_all_missing_image_sets_are_named_before_anything_trains(made, monkeypatch):
    monkeypatch.delenv("OOD_DATA", raising=False)
    made(changed(near=["digits-89", "svhn"], far=["noise", "elsewhere/val"]))
    with pytest.raises(InputError) as caught:
        study.run_or_load("made", seeds=1)
    said = str(caught.value)
    assert said.startswith("2 image sets were not found, expected under $OOD_DATA (not set):")
    assert "svhn/test: Set OOD_DATA" in said
    assert "elsewhere/val: It is not registered" in said
    assert list(Store().runs()) == []


def test_a_store_that_cannot_be_made_is_refused_in_words(made, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("OOD_RUNS", str(tmp_path / "file" / "runs"))
    with pytest.raises(InputError, match=r"cannot hold runs .*\nSet OOD_RUNS to another folder"):
        study.run_or_load("made", seeds=1)


def test_a_run_that_was_deleted_meanwhile_is_said(made, monkeypatch):
    monkeypatch.setattr(study.running, "run_all", lambda *_: None)
    with pytest.raises(InputError, match=r"of ce, seed 0, is not in .*\nRun the same command again"):
        study.run_or_load("made", seeds=1)


@pytest.fixture
def other(made, tmp_path):
    """A second page with another set, score and epochs, whose one run is the first page's `ce`."""
    page = changed(near=[], far=["inverted"], scores=["max_logit", "msp"], record=[])
    page["recipes"] = {"base": {"title": "the same network under another name"}}
    (tmp_path / "recipes" / "other.yml").write_text(yaml.safe_dump(page))


def test_pages_asked_together_pass_images_once_and_get_the_same_rows(other, monkeypatch, tmp_path):
    alone = {page: study.run_or_load(page, seeds=1).rows for page in ("made", "other")}
    monkeypatch.setenv("OOD_RUNS", str(tmp_path / "together"))
    passed = []
    original = measure.job.extract

    def counting(net, images):
        passed.append((images.name, len(images)))
        return original(net, images)

    monkeypatch.setattr(measure.job, "extract", counting)
    told = Told()
    together = study.run_or_load_all([study.Request(page=page, seeds=1) for page in alone], progress=told)
    assert [name for name, what in told.seen if what == "done"] == ["ce", "l2"]
    order = ["recipe", "epoch", "ood_set", "split", "layer", "scorer", "metric"]
    for page, rows in alone.items():
        pd.testing.assert_frame_equal(
            rows.sort_values(order, ignore_index=True), together[page].rows.sort_values(order, ignore_index=True)
        )
        assert all(len(run.info["measured"]) == 1 for run in together[page].stored.values())
    (both,) = together["other"].stored.values()
    assert set(both.info["digests"]) == {"train", "test", "digits-89", "noise", "inverted"}
    # two networks at each epoch: training and test images, two OOD sets; the other page's set at the first and last
    epochs = together["made"].asked["ce"].recorded_epochs()
    assert len(passed) == 2 * len(epochs) * (2 + 2) + 2


def test_recipes_asked_of_several_pages_are_those_that_each_has(other):
    asked = [study.Request(page=page, seeds=1) for page in ("made", "other")]
    assert set(study.run_or_load_all(asked, only=["base"])) == {"other"}
    both = study.run_or_load_all(asked, only=["base", "l2"])
    assert {page: set(found.asked) for page, found in both.items()} == {"made": {"l2"}, "other": {"base"}}
    with pytest.raises(InputError, match="recipe is 'no', expected one of: ce, l2, base"):
        study.run_or_load_all(asked, only=["no"])


def test_two_pages_share_a_run(other):
    study.run_or_load("made", seeds=1)
    assert [p.state for p in study.plan("other", "tiny", 1)] == ["to measure"]
    shared = study.run_or_load("other", seeds=1)
    rows = shared.rows
    assert set(rows["ood_set"]) == {"", "inverted"}
    (run,) = shared.stored.values()
    passes = run.info["measured"]
    assert [set(one) for one in passes] == [{"at", "commit", "hardware", "numbers", "seconds", "torch"}] * 2
    assert sum(one["numbers"] for one in passes) == len(run.rows())
    assert run.info["digests"]["inverted"] == data.digest("inverted", "test")
    assert set(run.info["digests"]) == {"train", "test", "digits-89", "noise", "inverted"}
    assert set(rows["recipe"]) == {"base"}
    assert set(rows["epoch"]) == {0, 2}
    assert states(1) == ["stored"] * 2


def test_two_pages_that_call_a_set_near_and_far_both_keep_their_rows(made, tmp_path, monkeypatch):
    monkeypatch.setattr("ood_core.recorded.folder", lambda scale: tmp_path / "results" / scale)
    page = changed(near=["noise"], far=["digits-89"], record=[])
    page["recipes"] = {"base": {"title": "the same network under another name"}}
    first = study.run_or_load("made", seeds=1).rows
    study.record("made", "tiny", 1)
    (tmp_path / "recipes" / "other.yml").write_text(yaml.safe_dump(page))
    assert [finding.problem for finding in verify_recorded("other", "tiny")] == [""], "not measured yet, and not stale"
    second = study.run_or_load("other", seeds=1).rows
    groups = {(row.ood_set, row.ood_group) for row in second.itertuples()}
    assert groups == {("", ""), ("noise", "near"), ("digits-89", "far")}
    for name, rows in {"made": first, "other": second}.items():
        assert [planned.state for planned in study.plan(name, "tiny", 1)] == ["stored"] * rows["recipe"].nunique()
        again = study.run_or_load(name, seeds=1)
        assert again.fresh == frozenset()
        pd.testing.assert_frame_equal(again.rows, rows)
        study.record(name, "tiny", 1)
    problems = [finding.problem for name in ("made", "other") for finding in verify_recorded(name, "tiny")]
    assert problems == [""] * 3


def test_rows_that_outlive_another_training_keep_their_digests(made):
    made(longer([]))
    study.run_or_load("made", seeds=1)
    page = longer([0.25])
    page["scales"]["tiny"]["evaluate"]["far"] = ["inverted"]
    made(page)
    assert states(1) == ["to train"] * 2
    run = study.run_or_load("made", seeds=1).stored["ce", 0]
    assert set(run.rows()["ood_set"]) - {""} == set(run.info["digests"]) - {"train", "test"}
    assert {"noise", "inverted"} <= set(run.info["digests"])


def test_digests_that_an_older_version_left_out_are_added_and_nothing_else(made, monkeypatch):
    whole = study.run_or_load("made", seeds=1, only=["ce"]).stored["ce", 0]
    digests = {name: digest for name, digest in whole.info["digests"].items() if name != "noise"}
    parts = whole.rows(), whole.history(), whole.scores(), whole.weights(), whole.early_weights()
    before = Store().put({**whole.info, "digests": digests}, *parts)
    assert [finding.problem for finding in verify([before])] == [
        "run.json has no digest of noise, and there are rows of it: run again"
    ]
    assert states(1) == ["to measure", "to train"]
    monkeypatch.setattr(measure.job, "extract", lambda *_: pytest.fail("measured again"))
    run = study.run_or_load("made", seeds=1, only=["ce"]).stored["ce", 0]
    assert run.info["digests"] == whole.info["digests"]
    assert run.info["files"] == before.info["files"]
    first, second = run.info["measured"]
    assert "digests" not in first
    assert (second["numbers"], second["digests"]) == (0, ["noise"])
    assert verify([run])[0].problem == ""
    assert states(1) == ["stored", "to train"]


def test_damage_is_said_and_not_shown(made):
    results = study.run_or_load("made", seeds=1)
    path = results.stored["ce", 0].folder / "rows.parquet"
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(ArtifactError, match=r"rows\.parquet has SHA-256"):
        study.run_or_load("made", seeds=1)


def test_nan_stores_nothing(made):
    from ood_core.train import TrainingError

    page = changed()
    page["scales"]["tiny"]["optimiser"]["lr"] = 1e30
    made(page)
    with pytest.raises(TrainingError, match="expected a finite number"):
        study.run_or_load("made", seeds=1)
    assert list(Store().runs()) == []


def test_the_store_costs_little_beside_training(made):
    """The target is 50 ms a run on a quiet machine; ten times that here, because machines are shared."""
    results = study.run_or_load("made", seeds=1)
    run = results.stored["ce", 0]
    began = time.perf_counter()
    Store().put(run.info, run.rows(), run.history(), run.scores(), run.weights(), run.early_weights())
    assert time.perf_counter() - began < 0.5


@pytest.mark.slow
@pytest.mark.usefixtures("runs")
def test_training_of_a_cold_tiny_book_stays_under_300_seconds_on_two_cores():
    """Counts what every stored run of the book's own pages took.

    Processor seconds of one thread, so that a busy host does not fail the test; runs share two cores without loss. A
    processor on which a step takes longer than the 11 ms of the one the limit was set on gets as much more.
    """
    seconds = {}
    for page in recipes.pages():
        results = study.run_or_load(page, scale="tiny", seeds=recipes.page(page).seeds["tiny"])
        seconds |= {run.key: run.info["seconds"]["train_cpu"] for run in results.stored.values()}
    assert len(seconds) >= 30
    slower = max(1.0, seconds_a_step() / 0.011)
    assert sum(seconds.values()) < 2 * 300 * slower


def seconds_a_step():
    """Processor seconds of one training step of the base recipe, over two epochs."""
    recipe = recipes.load("l2-norm", "tiny")["ce"]
    short = recipe.model_copy(update={"schedule": recipe.schedule.model_copy(update={"epochs": 2})})
    images, _ = data.training(recipe.data, 0)
    trained = train.fit(short, 0, images)
    return trained.cpu_seconds / (2 * (len(images) // recipe.optimiser.batch))


def test_setting_up_flushes_denormal_numbers():
    def product():
        return float(torch.tensor([1e-39]) * torch.tensor([1.0]))

    before = product()
    study.setup()
    assert 0 < before < 1e-38
    assert product() == 0
