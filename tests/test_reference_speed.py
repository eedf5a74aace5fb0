"""The page on speed prints the recorded file, number for number; the benchmark runs."""

import json
import subprocess
import sys

import pytest

from ood_core import reference
from ood_core.reference import speed
from tests.building import ROOT
from tests.made_up import MEASURED

FOUND = {
    **MEASURED,
    "targets": {
        "sums": {
            "ceiling": {"at_most": 1.5},
            "peer": {"faster": 2},
            "absent": {"at_most": 1},
            "memory": {"at_most": 4},
        }
    },
    "rows": [
        {"work": "sums", "about": "a", "contender": name, "threads": 2, "wall": wall, "cpu": wall, "peak_mb": 5.0}
        for name, wall in (("ours", [1.0, 4.0, 1.0]), ("ceiling", [0.5, 4.0, 1.0]), ("peer", [3.0, 3.0, 1.0]))
    ],
}


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "speed.json"
    path.write_text(json.dumps(FOUND))
    return path


def test_ratios_are_medians_within_rounds(file):
    # Ours to the ceiling: 2, 1, 1. The peer to ours: 3, 0.75, 1; ours to it 1/3, 4/3, 1.
    frame = reference.speed_targets(file).frame.set_index("against")
    assert list(frame.index) == ["ceiling", "peer", "memory"]
    assert frame["ratio"].tolist() == [1.0, 1.0, 5.0]
    assert frame["ratio of"].tolist() == ["ours to theirs", "theirs to ours", "peak in MB"]
    assert frame["met"].tolist() == ["yes", "no", "no"]
    assert "at least 2 times faster" in reference.speed_targets(file).html


def test_the_table_is_the_file(file):
    made = reference.speed_table(file)
    assert made.frame["wall s"].tolist() == [1.0, 1.0, 3.0]
    assert made.frame["rounds"].tolist() == [3] * 3
    assert set(made.frame["peak MB above inputs"]) == {5.0}
    facts = reference.speed_provenance(file).frame.set_index("what")["value"]
    assert facts["torch"] == "9.9"
    assert facts["commit"] == "abc"


def test_nothing_measured_is_said(tmp_path):
    for make in (reference.speed_targets, reference.speed_table, reference.speed_provenance):
        assert "not measured" in make(tmp_path / "absent.json").html


def test_the_recorded_file_is_a_whole_measurement():
    found = speed.speed()
    if found is None:
        pytest.skip("speed.json is not recorded yet")
    assert found["size"] == 1.0, "a trial with fewer rows says nothing"
    assert {"ours", "ceiling", "pytorch-ood", "scikit-learn", "faiss", "torch"} == {
        r["contender"] for r in found["rows"]
    }
    assert not found["commit"].endswith("+"), "measured on a checkout that nobody has"
    assert all(len(row["wall"]) == len(row["cpu"]) >= 1 for row in found["rows"])
    assert len(speed.ratios(found)) >= len(found["targets"])


@pytest.mark.slow
def test_the_benchmark_runs(tmp_path):
    out = tmp_path / "speed.json"
    command = [sys.executable, ROOT / "benchmarks" / "scorers.py", "--size", "0.001", "--threads", "1", "--out", out]
    subprocess.run(command, check=True, capture_output=True, text=True)
    found = json.loads(out.read_text())
    ours = {row["work"] for row in found["rows"] if row["contender"] == "ours"}
    assert ours == {row["work"] for row in found["rows"] if row["contender"] == "ceiling"}
    assert ours <= set(found["targets"])
    assert reference.speed_table(out).frame["wall s"].gt(0).all()
