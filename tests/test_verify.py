"""Verification finds what was changed after the fact, and nothing where nothing was."""

import hashlib
import json
import shutil

import numpy as np
import pytest
from click.testing import CliRunner

from ood_core import cli, study
from ood_core import store as stores
from ood_core.store import Store
from ood_core.verify import readable, verify


@pytest.fixture
def runs(made):
    study.run_or_load("made", seeds=1)
    return list(Store().runs())


def reseal(run, name, content):
    """Replace a file and make every checksum agree: only computing again can tell."""
    (run.folder / name).write_bytes(content)
    info = {**run.info, "files": {**run.info["files"], name: hashlib.sha256(content).hexdigest()}}
    info["seal"] = stores._seal(info)
    (run.folder / "run.json").write_text(json.dumps(info))
    return Store().get(run.key)


def test_untouched_runs_agree(runs):
    findings = verify(runs)
    assert [f.problem for f in findings] == ["", ""]
    assert [f.numbers for f in findings] == [2 * 2 * 8] * 2  # two scorers, two OOD sets, eight metrics
    assert sorted(f.recipe for f in findings) == ["ce", "l2"]


def test_a_rewritten_number_is_found_though_checksums_agree(runs):
    rows = runs[0].rows()
    at = rows.index[(rows["metric"] == "auroc") & (rows["scorer"] == "msp") & (rows["ood_set"] == "noise")][0]
    rows.loc[at, "value"] += 1e-6
    changed = reseal(runs[0], "rows.parquet", stores._parquet(rows))
    (finding,) = verify([changed])
    assert "msp on noise: auroc is" in finding.problem


def test_rewritten_scores_are_found(runs, tmp_path):
    scores = runs[0].scores()
    scores["msp|logits||noise"] = scores["msp|logits||noise"] + 0.5
    np.savez(tmp_path / "s.npz", allow_pickle=False, **scores)
    changed = reseal(runs[0], "scores.npz", (tmp_path / "s.npz").read_bytes())
    (finding,) = verify([changed])
    assert "msp on noise" in finding.problem


def test_a_damaged_file_is_a_finding_not_a_crash(runs):
    path = runs[0].folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    findings = verify(runs)
    assert "model.safetensors has SHA-256" in findings[0].problem
    assert findings[1].problem == ""


def test_a_rewritten_oscr_is_found(runs):
    rows = runs[0].rows()
    at = rows.index[(rows["metric"] == "oscr") & (rows["epoch"] == rows["epoch"].max())][0]
    rows.loc[at, "value"] += 1e-6
    (finding,) = verify([reseal(runs[0], "rows.parquet", stores._parquet(rows))])
    assert "oscr is" in finding.problem


def test_a_damaged_or_copied_record_is_a_finding_and_the_others_are_checked(runs, monkeypatch):
    page = next(p for p in cli.main.commands["verify"].params if p.name == "page")
    monkeypatch.setattr(page.type, "choices", (*page.type.choices, "made"))
    path = runs[0].folder / "run.json"
    path.write_bytes(path.read_bytes()[:100])
    shutil.copytree(runs[1].folder, runs[1].folder.with_name("copy"))
    whole, damaged = readable(Store())
    assert [run.key for run in whole] == [runs[1].key]
    problems = {finding.run: finding.problem for finding in damaged}
    assert sorted(problems) == sorted([runs[0].key, "copy"])
    assert "run.json is damaged" in problems[runs[0].key]
    assert "is not the record of run copy" in problems["copy"]
    result = CliRunner().invoke(cli.main, ["verify", "--json"])
    assert result.exit_code == 1
    told = {row["run"]: row for row in json.loads(result.stdout)}
    assert {key: row["problem"] == "none" for key, row in told.items()} == {
        runs[1].key: True,
        runs[0].key: False,
        "copy": False,
    }
    assert told["copy"]["seed"] == "unknown"
    assert "3 runs" in result.stderr
    assert "2 with problems" in result.stderr
    # The plan of a page names the damaged run, and the copy belongs to none.
    result = CliRunner().invoke(cli.main, ["verify", "made", "--json"])
    assert result.exit_code == 1, (result.exception, result.output)
    assert sorted(row["run"] for row in json.loads(result.stdout)) == sorted(run.key for run in runs)
