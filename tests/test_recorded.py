"""Recorded runs: what is written comes back, what was edited or grew old is said, and weights give the rows again."""

import itertools
import json
import shutil
from threading import Thread

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from ood_core import cli, measure, metrics, recipes, recorded, study
from ood_core.checks import ArtifactError, InputError
from ood_core.measure import COLUMNS
from ood_core.runs import measured
from ood_core.store import Store
from ood_core.verify import verify, verify_index, verify_recorded
from tests.made_page import changed
from tests.steps import MAY_FAIL, before_each_step, fail_at


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


def test_a_restored_run_is_measured_further_and_not_trained(written, made, tmp_path, monkeypatch):
    order = ["recipe", "seed", "epoch", "ood_set", "split", "layer", "scorer", "metric"]
    made(changed(scores=["msp", "energy", "feature_norm"]))
    whole = study.run_or_load("made", seeds=1).rows.sort_values(order, ignore_index=True)
    monkeypatch.setenv("OOD_RUNS", str(tmp_path / "elsewhere"))
    monkeypatch.setattr("ood_core.train.fit", lambda *_, **__: pytest.fail("it was trained"))
    request = study.Request.check(page="made", scale="tiny", seeds=1)
    found = study.run_or_load_all([request], restore=True)["made"]
    assert {"energy", "feature_norm"} <= set(found.rows["scorer"])
    pd.testing.assert_frame_equal(found.rows.sort_values(order, ignore_index=True), whole, check_dtype=False)
    run = next(iter(found.stored.values()))
    assert len(run.info["measured"]) == 2, "what was measured later says on what machine"
    assert [finding.problem for finding in verify([*found.stored.values()])] == ["", ""]
    before = recorded.get("tiny", run.key).info
    study.record("made", "tiny", 1)
    after = recorded.get("tiny", run.key)
    assert after.info.keys() == before.keys(), "where a run has been is not said of it"
    assert after.weights().keys() == run.weights().keys()
    assert [finding.problem for finding in verify_recorded("made", "tiny")] == ["", ""]


def test_rounded_scores_of_a_restored_run_agree(written, tmp_path):
    store = Store(tmp_path / "elsewhere")
    key = next(run.key for run in recorded.every("tiny") if run.info["seed"] == 0)
    run = recorded.restore("tiny", key, store)
    assert run.scores()
    assert recorded.restore("tiny", key, store) is None, "a run that is there is left alone"
    rows = run.rows()
    near = rows["value"].where(rows["metric"] != "auroc", rows["value"] + 5e-5)
    put = store.put(run.info, rows.assign(value=near), run.history(), run.scores(), run.weights(), {})
    assert [finding.problem for finding in verify([put])] == [""]
    own = {name: value for name, value in run.info.items() if name != recorded.RESTORED}
    put = store.put(own, rows.assign(value=near), run.history(), run.scores(), run.weights(), {})
    assert "auroc is" in verify([put])[0].problem


def test_a_restored_run_that_is_trained_again_has_rounded_scores_still(made, tmp_path, monkeypatch):
    monkeypatch.setattr("ood_core.recorded.folder", lambda scale: tmp_path / "results" / scale)
    made(changed(record=[]))
    study.run_or_load("made", seeds=1, only=["ce"])
    study.record("made", "tiny", 1)
    monkeypatch.setenv("OOD_RUNS", str(tmp_path / "elsewhere"))
    made(changed(record=[0.5], scores=["msp"]))  # an epoch of which nothing is kept
    request = study.Request.check(page="made", scale="tiny", seeds=1)
    (run,) = study.run_or_load_all([request], only=["ce"], restore=True)["made"].stored.values()
    assert set(run.rows()["epoch"]) == {0, 1, 2}
    assert {name.partition("|")[0] for name in run.scores()} >= {"feature_norm", "msp"}
    assert recorded.RESTORED in run.info


def test_a_run_without_weights_cannot_be_restored(written, tmp_path, monkeypatch):
    monkeypatch.setattr(recorded, "WEIGHT_BYTES", 1)
    study.record("made", "tiny", 1)
    assert all(recorded.restore("tiny", run.key, Store(tmp_path / "no")) is None for run in recorded.every("tiny"))
    assert recorded.restore("tiny", "0" * 20, Store(tmp_path / "no")) is None


def test_an_edited_file_is_named(written):
    run = next(recorded.every("tiny"))
    path = run.folder / "rows.csv"
    path.write_text(path.read_text().replace("auroc", "aurac", 1))
    with pytest.raises(ArtifactError, match=r"rows.csv has SHA-256 .* it was truncated or edited"):
        run.rows()
    problems = [f.problem for f in verify_recorded("made", "tiny")]
    assert sum("edited" in problem for problem in problems) == 1
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


def lie(run, scorer):
    """Change one recorded AUROC, and the checksum of the rows with it."""
    rows = run.rows()
    at = rows.index[(rows["metric"] == "auroc") & (rows["epoch"] == 2) & (rows["scorer"] == scorer)][0]
    rows.loc[at, "value"] -= 0.01
    content = rows.drop(columns=list(recorded.SAID_ONCE)).to_csv(index=False).encode()
    (run.folder / "rows.csv").write_bytes(content)
    info = json.loads((run.folder / "run.json").read_text())
    info["files"]["rows.csv"] = recorded.hashlib.sha256(content).hexdigest()
    (run.folder / "run.json").write_text(json.dumps(info))


def test_a_wrong_number_is_found_by_measuring_again(written):
    lie(next(recorded.every("tiny")), "msp")  # not followed through training, so its scores are not recorded
    assert verify_recorded("made", "tiny")[0].problem == ""
    assert sum("auroc is" in f.problem for f in verify_recorded("made", "tiny", again=True)) == 1


def test_a_wrong_number_is_found_from_recorded_scores(written):
    assert [f.numbers for f in verify_recorded("made", "tiny")] == [2 * 8] * 2  # one scorer, two OOD sets
    lie(next(recorded.every("tiny")), "feature_norm")
    problems = [f.problem for f in verify_recorded("made", "tiny")]
    assert sum("feature_norm on " in problem and "auroc is" in problem for problem in problems) == 1


def test_rows_of_a_set_without_a_digest_are_a_problem(written):
    run = next(recorded.every("tiny"))
    info = {**run.info, "digests": {"train": "a", "test": "b", "noise": "c"}}
    (run.folder / "run.json").write_text(json.dumps(info))
    problems = {f.run: f.problem for f in verify_recorded("made", "tiny")}
    said = "run.json has no digest of digits-89, and there are rows of it: run and record again"
    assert problems.pop(run.key) == said
    assert set(problems.values()) == {""}


def test_the_index_lists_every_run(written):
    listed, (one, other) = recorded.index("tiny"), recorded.every("tiny")
    assert sorted(listed) == [one.key, other.key]
    assert {line["recipe"]: line["seed"] for line in listed.values()} == {"ce": "0", "l2": "0"}
    assert verify_index("tiny") == []
    assert verify_index("paper") == []
    lie(one, "msp")
    other.folder.rename(other.folder.with_name("a-copy"))
    digest = recorded.hashlib.sha256((one.folder / "run.json").read_bytes()).hexdigest()
    assert {f.run: f.problem.partition(":")[0] for f in verify_index("tiny")} == {
        one.key: f"run.json has SHA-256 {digest[:16]}..., index.csv lists {listed[one.key]['sha256'][:16]}...",
        other.key: "index.csv lists it, and it is not there",
        "a-copy": "index.csv does not list it",
    }
    gone = next(f for f in verify_index("tiny") if f.run == other.key)
    assert (gone.recipe, gone.seed) == (other.info["recipe"]["id"], 0)
    # recording one run again must not vouch for the others
    study.record("made", "tiny", 1, [one.info["recipe"]["id"]])
    assert [f.run for f in verify_index("tiny")] == sorted([other.key, "a-copy"])
    shutil.rmtree(one.folder.with_name("a-copy"))
    study.record("made", "tiny", 1)
    assert verify_index("tiny") == []


@pytest.fixture
def twice(written, tmp_path):
    """One recorded run as it was stored and as it was stored since, with another commit."""
    run = Store().get(next(recorded.every("tiny")).key)
    parts = run.rows(), run.history(), run.scores(), run.weights(), run.early_weights()
    since = Store(tmp_path / "since").put({**run.info, "commit": "since"}, *parts)
    yield run, since
    recorded.put(run)
    assert verify_index("tiny") == []
    left = sorted(path.name for path in recorded.folder("tiny").iterdir())
    assert left == sorted([*recorded.index("tiny"), "index.csv"])


def test_death_at_any_step_leaves_the_old_record_or_the_new_one(twice):
    run, since = twice
    commits = []
    for step in itertools.count():
        recorded.put(run)
        try:
            with before_each_step(fail_at(step, SystemExit("killed"))):
                recorded.put(since)
            break
        except SystemExit:
            found = recorded.get("tiny", run.key)
            found.check()
            commits.append(found.info["commit"])
            assert [each.key for each in recorded.every("tiny")] == list(recorded.index("tiny"))
    assert step > 10
    assert set(commits) == {run.info["commit"], "since"}


def test_an_error_at_any_step_is_said_and_leaves_a_record(twice):
    run, since = twice
    refused = []
    for step in itertools.count():
        recorded.put(run)
        try:
            with before_each_step(fail_at(step, OSError(28, "No space left")), MAY_FAIL) as taken:
                recorded.put(since)
        except InputError as error:
            refused.append(str(error))
            found = recorded.get("tiny", run.key)
            found.check()
            problems = [finding.problem.partition(":")[2] for finding in verify_index("tiny")]
            # the last step is the index, when the run has its new record
            told = [" check it out again, or record it again"] if found.info["commit"] == "since" else []
            assert problems == told
        else:
            if step not in taken:
                break
    assert all("(No space left), expected a " in text for text in refused)
    assert sum("could not be recorded" in text for text in refused) > 6  # the others are of the lock


def test_a_record_is_found_at_every_moment_of_its_replacement(twice):
    run, since = twice
    held, commits = recorded.get("tiny", run.key), []

    def look(_):
        found = recorded.get("tiny", run.key)
        found.check()
        held.rows()
        assert len(list(recorded.every("tiny"))) == 2
        commits.append(found.info["commit"])

    with before_each_step(look):
        recorded.put(since)
    assert list(dict.fromkeys(commits)) == [run.info["commit"], "since"]


def test_two_that_record_at_once_both_stand_in_the_index(twice):
    run, _ = twice
    other = next(each for each in Store().runs() if each.key != run.key)
    (recorded.folder("tiny") / "index.csv").unlink()
    second = Thread(target=recorded.put, args=[other])

    def begin(step):
        if step == 0:
            second.start()
            second.join(0.5)  # time to end if nothing holds it back

    with before_each_step(begin):
        recorded.put(run)
    second.join()
    assert set(recorded.index("tiny")) == {run.key, other.key}


def test_a_run_measured_further_while_it_is_recorded_is_recorded_as_one(written, monkeypatch):
    run = Store().get(next(recorded.every("tiny")).key)
    history = type(run).history

    def slow(self):
        if self.info["commit"] != "since":
            more = pd.concat([run.rows(), run.rows().tail(1).assign(key="later")])
            monkeypatch.setattr(type(run), "history", history)
            changed = {**run.info, "commit": "since"}
            Store().put(changed, more, run.history(), run.scores(), run.weights(), run.early_weights())
        return history(self)

    monkeypatch.setattr(type(run), "history", slow)
    found = recorded.put(run)
    assert (found.info["commit"], found.rows()["key"].iloc[-1]) == ("since", "later")


def test_a_missing_run_fails_the_command(written, monkeypatch):
    monkeypatch.setattr(recipes, "pages", lambda: ["made"])
    arguments = ["verify", "--recorded", "--scale", "tiny"]
    assert CliRunner().invoke(cli.main, arguments).exit_code == 0
    shutil.rmtree(next(recorded.every("tiny")).folder)
    result = CliRunner().invoke(cli.main, arguments)
    assert result.exit_code == 1
    assert "index.csv lists it, and it is not there" in result.stdout


@pytest.mark.parametrize(
    "spoil", [lambda t: t.replace("sha256", "md5"), lambda t: t + t.splitlines()[1] + "\n", str.strip]
)
def test_a_damaged_index_is_a_finding(written, spoil):
    path = recorded.folder("tiny") / "index.csv"
    whole = path.read_text()
    path.write_text(spoil(whole))
    found = verify_index("tiny")
    if spoil is str.strip:  # an editor that takes the last line end away changes nothing
        assert found == []
        return
    assert [(f.run, "is damaged, expected the columns key, recipe" in f.problem) for f in found] == [
        ("index.csv", True)
    ]
    with pytest.raises(ArtifactError, match=r"index.csv is damaged"):
        study.record("made", "tiny", 1)


def test_scores_of_the_first_seed_come_back(made, tmp_path, monkeypatch):
    monkeypatch.setattr("ood_core.recorded.folder", lambda scale: tmp_path / "results" / scale)
    made(changed(measures=["accuracy", "embedding", "hidden_bound"]))
    with pytest.raises(InputError, match="no scores of ce/0 are recorded at tiny"):
        study.Recorded("made", "tiny").scores("ce")
    results = study.run_or_load("made", seeds=2)
    study.record("made", "tiny", 2)
    found, whole = study.Recorded("made", "tiny").scores("ce"), results.scores("ce", 0)
    left = {name for name in whole if name[0] in ("embedding", "hidden_gap", "hidden_bound")}
    assert {name[0] for name in left} == {"embedding", "hidden_gap", "hidden_bound"}
    sets = ("", "digits-89", "noise")
    assert set(found) == left | {("correct", "logits", "", "")} | {("feature_norm", "features", "", s) for s in sets}
    for name, values in found.items():
        assert values.dtype == np.float64
        np.testing.assert_allclose(values, whole[name], rtol=1e-7, atol=1e-30)
    with pytest.raises(InputError, match="expected a recorded run of seed 0"):
        study.Recorded("made", "tiny").scores("ce", seed=1)
    with pytest.raises(InputError, match="recipe"):
        study.Recorded("made", "tiny").scores("no-such")


def test_scores_on_sets_that_another_page_asked_for_are_not_this_pages(made, tmp_path, monkeypatch):
    monkeypatch.setattr("ood_core.recorded.folder", lambda scale: tmp_path / "results" / scale)
    made(changed(control=["inverted"]))
    wide = study.run_or_load("made", seeds=1)
    study.record("made", "tiny", 1)
    assert {name[3] for name in wide.scores("ce")} == {"", "digits-89", "noise", "inverted"}
    made(changed())
    for narrow in (study.run_or_load("made", seeds=1), study.Recorded("made", "tiny")):
        assert {name[3] for name in narrow.scores("ce")} == {"", "digits-89", "noise"}


def test_scores_of_a_run_come_with_the_aurocs_that_were_measured_of_them(made, tmp_path, monkeypatch):
    monkeypatch.setattr("ood_core.recorded.folder", lambda scale: tmp_path / "results" / scale)
    made(changed(measures=["accuracy", "embedding"]))
    results = study.run_or_load("made", seeds=2)
    study.record("made", "tiny", 2)
    kept = study.Recorded("made", "tiny")
    pd.testing.assert_frame_equal(kept.plane("ce"), results.plane("ce"))
    columns = {"without": ("ce", "feature_norm", "features", ""), "with": ("l2", "feature_norm", "features", "")}
    for seed, sign, shown in [(0, 1, kept), (0, 1, results), (1, 1, results), (1, -1, results)]:
        found = shown.by_set(columns, seed=seed, sign=sign)
        sets = {"", "digits-89", "noise"}
        assert {title: set(panel) for title, panel in found["scores"].items()} == {"without": sets, "with": sets}
        for (title, name), value in found["aurocs"].items():
            inside, outside = sign * found["scores"][title][""], sign * found["scores"][title][name]
            assert value == pytest.approx(metrics.auroc(inside, outside), abs=1e-6)
        assert len(found["aurocs"]) == 4
    with pytest.raises(InputError, match=r"ce has no scores of msp/logits/, expected one of: .*feature_norm/features/"):
        kept.by_set({"a": ("ce", "msp", "logits", "")})
    with pytest.raises(InputError, match="nothing of made at paper is recorded"):
        study.Recorded("made", "paper").rows  # noqa: B018


def test_scores_that_another_page_follows_are_recorded(made, tmp_path, monkeypatch):
    monkeypatch.setattr("ood_core.recorded.folder", lambda scale: tmp_path / "results" / scale)
    page = changed(scores=["feature_norm", "msp"])
    made(page)
    page["scales"]["tiny"]["evaluate"]["scores"] = [{"scorer": "msp", "through_training": True}]
    (recipes.FOLDER / "other.yml").write_text(json.dumps(page))
    study.run_or_load("made", seeds=1, only=["ce"])
    study.record("made", "tiny", 1, ["ce"])
    assert {name[0] for name in study.Recorded("made", "tiny").scores("ce")} == {"correct", "msp"}


def packed(values, correct=None):
    """Scores of one scorer as they are recorded, and the metrics of both."""
    names = ("s|features||", "s|features||far")
    correct = np.arange(len(values[0])) % 5 > 0 if correct is None else correct
    scores = dict(zip(names, values, strict=True)) | {measure.CORRECT: correct}
    with np.load(recorded.io.BytesIO(recorded._packed(scores, [("s", "features", "")]))) as file:
        kept = {name: file[name] for name in file.files}
    before, after = (metrics.evaluate(*(s[n] for n in names), correct=s[measure.CORRECT] > 0) for s in (scores, kept))
    return kept[names[0]].dtype, max(abs(before[name] - after[name]) for name in before)


def test_rounded_scores_give_the_metrics_again_and_others_are_not_rounded():
    rng = np.random.default_rng(0)
    many = rng.normal(1, 1, 10_000), rng.normal(0, 1, 10_000)
    kind, moved = packed(many)
    assert kind == np.float32
    assert moved < recorded.ROUNDING / 10
    coarse = [np.round(values, 2) for values in many]  # would not do
    assert abs(metrics.fpr_at_tpr(*many) - metrics.fpr_at_tpr(*coarse)) > recorded.ROUNDING
    close = [1 - 1e-8 * np.exp(values) for values in many]  # most are one number in float32
    assert packed(close) == (np.float64, 0)


def test_scores_that_round_to_ties_of_rows_classified_right_and_wrong_are_not_rounded():
    """Right rows a little above one of 40 OOD rows, wrong ones below it: wins and losses become ties."""
    right = np.arange(40_000) % 2 == 0
    inside, outside = np.where(right, 1 + 1e-9, 1 - 1e-9), np.append(np.zeros(39), 1.0)
    before, after = (metrics.evaluate(x, outside, correct=right) for x in (inside, np.ones(40_000)))
    assert {name for name in before if abs(before[name] - after[name]) > recorded.ROUNDING} == {"oscr"}
    assert packed((inside, outside), right) == (np.float64, 0)


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


def test_weights_that_give_nothing_again_are_a_finding(made, tmp_path, monkeypatch):
    """Scores that were recorded give as many numbers and stand in for none of the weights."""
    monkeypatch.setattr("ood_core.recorded.folder", lambda scale: tmp_path / "results" / scale)
    made(changed(measures=[], scores=[{"scorer": "feature_norm", "through_training": True}]))
    study.run_or_load("made", seeds=1)
    study.record("made", "tiny", 1)
    monkeypatch.setattr("ood_core.verify.measured", lambda *given: measured(*given).iloc[:0])
    found = verify_recorded("made", "tiny", again=True)
    assert all("numbers were not measured again" in f.problem for f in found)
