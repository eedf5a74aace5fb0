"""The page on speed prints the recorded file, number for number; the benchmark runs."""

import json
import subprocess
import sys

import pytest

from benchmarks import processes
from benchmarks import scorers as benchmark
from ood_core import reference
from ood_core.reference import speed, training

from ..building import ROOT
from ..made_up import MEASURED

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
def folder(tmp_path):
    (tmp_path / "speed-one.json").write_text(json.dumps(FOUND))
    return tmp_path


@pytest.fixture
def both(folder):
    """Measured on a second processor, half as fast beside its ceiling, without the peer."""
    rows = [
        row | {"wall": [2 * x for x in row["wall"]]} if row["contender"] == "ours" else row for row in FOUND["rows"]
    ]
    second = FOUND | {"processor": "Other(TM) CPU", "rows": [row for row in rows if row["contender"] != "peer"]}
    (folder / "speed-two.json").write_text(json.dumps(second))
    return folder


def test_ratios_are_medians_within_rounds(folder):
    # Ours to the ceiling: 2, 1, 1. The peer to ours: 3, 0.75, 1; ours to it 1/3, 4/3, 1.
    frame = reference.speed_targets(folder).frame.set_index("against")
    assert list(frame.index) == ["peer", "memory", "ceiling"], "what is missed comes first"
    assert frame["ratio"].tolist() == [1.0, 5.0, 1.0]
    assert frame["ratio of"].tolist() == ["theirs to ours", "peak in MB", "ours to theirs"]
    assert frame["met"].tolist() == ["no", "no", "yes"]
    assert "at least 2 times faster" in reference.speed_targets(folder).html


def test_the_table_is_the_file(folder):
    made = reference.speed_table(folder)
    assert made.frame["wall s"].tolist() == [1.0, 1.0, 3.0]
    assert made.frame["rounds"].tolist() == [3] * 3
    assert set(made.frame["peak MB above inputs"]) == {5.0}
    facts = reference.speed_provenance(folder).frame.set_index("what")["value"]
    assert facts["torch"] == "9.9"
    assert facts["commit"] == "abc"


def test_processors_stand_side_by_side(both):
    one = speed.processor(FOUND)
    frame = reference.speed_targets(both).frame.set_index("against")
    assert frame[one].to_dict() == {"ceiling": 1.0, "peer": 1.0, "memory": 5.0}
    assert frame["Other"].drop("peer").to_dict() == {"ceiling": 2.0, "memory": 5.0}
    assert frame["Other"].isna().to_dict() == {"peer": True, "memory": False, "ceiling": False}
    assert list(frame["met"].items()) == [("peer", "no"), ("memory", "no"), ("ceiling", f"on {one}")]
    table = reference.speed_table(both).frame
    assert table.groupby("processor")["wall s"].apply(list).to_dict() == {one: [1.0, 1.0, 3.0], "Other": [2.0, 1.0]}
    assert (
        reference.speed_provenance(both).frame.set_index("what").loc["processor", "Other"].startswith("Other(TM) CPU")
    )


def test_a_target_met_on_all_processors_is_met(both):
    generous = {"ceiling": {"at_most": 9}, "peer": {"faster": 0.5}}
    for path in both.iterdir():
        path.write_text(json.dumps(json.loads(path.read_text()) | {"targets": {"sums": generous}}))
    met = reference.speed_targets(both).frame.set_index("against")["met"].to_dict()
    assert met == {"ceiling": "yes", "peer": f"on {speed.processor(FOUND)}"}, "the second was not measured beside it"


@pytest.mark.parametrize(
    ("name", "short"),
    [
        ("Intel(R) Xeon(R) Processor", "Intel Xeon"),
        ("AMD EPYC", "AMD EPYC"),
        ("Intel(R) Core(TM) i7-8700 CPU @ 3.20GHz", "Intel Core i7-8700 @ 3.20GHz"),
    ],
)
def test_a_processor_has_a_short_name(name, short):
    assert speed.processor({"processor": name}) == short


def test_each_processor_has_a_file_of_its_own():
    found = {"processor": "Intel(R) Core(TM) i7-8700 CPU @ 3.20GHz"}
    assert processes.default_out("speed", found) == processes.FOLDER / "speed-intel-core-i7-8700-3-20ghz.json"
    assert speed.file_name("training-cuda", found | {"device": "NVIDIA H1"}) == "training-cuda-nvidia-h1.json"
    for work, recorded in (("speed", speed.speeds()), ("training-cpu", training.trainings())):
        for found in recorded.values():
            assert processes.default_out(work, found).is_file(), "a page shows it, and the next measurement replaces it"


def test_nothing_measured_is_said(tmp_path):
    for make in (reference.speed_targets, reference.speed_table, reference.speed_provenance):
        assert "not measured" in make(tmp_path / "absent").html


@pytest.mark.parametrize("found", speed.speeds().values(), ids=speed.speeds())
def test_the_recorded_file_is_a_whole_measurement(found):
    assert found["size"] == 1.0, "a trial with fewer rows says nothing"
    assert found.get("failed", []) == []
    assert {"ours", "ceiling", "pytorch-ood", "scikit-learn", "faiss", "torch"} == {
        r["contender"] for r in found["rows"]
    }
    assert not found["commit"].endswith("+"), "measured on a checkout that nobody has"
    assert all(len(row["wall"]) == len(row["cpu"]) >= 1 for row in found["rows"])
    assert len(speed.ratios(found)) >= len(found["targets"])


SERVED = """
import os, sys
sys.path.insert(0, sys.argv[1])
from benchmarks.processes import serve
kind = sys.argv[2]
if kind == "absent":
    os._exit(3)

def broken():
    raise RuntimeError("out of\\nmemory")

both = {"raises": broken, "dies": lambda: os._exit(4)}.get(kind, 1)
works = {"both": lambda: both, "next": lambda: int}
serve(kind, lambda: works, lambda work, run: work, lambda run: run() if callable(run) else [2.0, run])
"""


def test_a_contender_that_fails_is_named_and_the_others_go_on(tmp_path, capsys):
    script = tmp_path / "served.py"
    script.write_text(SERVED)
    contenders = {k: processes.Contender([script, ROOT, k], 1) for k in ("absent", "raises", "dies", "whole")}
    processes.started(contenders)
    both, after = (processes.Measured(work, contenders, 2) for work in ("both", "next"))
    assert both.seen == {"whole": [[2.0, 1]] * 2}
    assert both.failed == {"raises": "RuntimeError: out of memory", "dies": "its process ended with code 4"}
    assert after.seen == {"raises": [0, 0], "whole": [0, 0]}
    assert after.prepared == {"raises": "next", "whole": "next"}
    assert after.failed == {"dies": "its process ended with code 4"}
    told = capsys.readouterr().err
    assert "absent is left out: its process ended with code 3" in told
    assert "both: raises failed to run: RuntimeError: out of memory" in told
    assert processes.Measured("both", contenders, 0).seen == {}
    for contender in contenders.values():
        contender.end()


def test_results_are_written_work_by_work(tmp_path, monkeypatch):
    """What is measured when a run is broken off is there, and is a whole file."""
    out = tmp_path / "speed.json"

    class Measured:
        prepared, failed = {}, {"faiss": "MemoryError: no"}

        def __init__(self, work, _contenders, _rounds):
            if work == "msp":
                raise KeyboardInterrupt
            self.seen = {"ours": [[2.0, 1.0, 5.0], [3.0, 1.0, 4.0]]}

    monkeypatch.setattr(benchmark, "Contender", lambda *_: None)
    monkeypatch.setattr(benchmark, "started", lambda _: None)
    monkeypatch.setattr(benchmark, "Measured", Measured)
    monkeypatch.setattr(sys, "argv", ["scorers.py", "--out", str(out), "--threads", "1"])
    with pytest.raises(KeyboardInterrupt):
        benchmark.main()
    found = json.loads(out.read_text())
    assert [row["work"] for row in found["rows"]] == ["feature norm", "max logit"]
    assert found["rows"][0]["wall"] == [2.0, 3.0]
    assert found["failed"][0] == {
        "work": "feature norm",
        "contender": "faiss",
        "threads": 1,
        "error": "MemoryError: no",
    }
    assert [path.name for path in tmp_path.iterdir()] == ["speed.json"]


@pytest.mark.slow
def test_the_benchmark_runs(tmp_path):
    out = tmp_path / "speed.json"
    command = [sys.executable, ROOT / "benchmarks" / "scorers.py", "--size", "0.001", "--threads", "1", "--out", out]
    subprocess.run(command, check=True, capture_output=True, text=True)
    found = json.loads(out.read_text())
    ours = {row["work"] for row in found["rows"] if row["contender"] == "ours"}
    assert ours == {row["work"] for row in found["rows"] if row["contender"] == "ceiling"}
    assert ours <= set(found["targets"])
    assert reference.speed_table(tmp_path).frame["wall s"].gt(0).all()
