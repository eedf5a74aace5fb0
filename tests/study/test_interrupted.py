"""Nothing is lost to a kill: training goes on to the same bits, and no half run is stored."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from filelock import FileLock

from ood_core import study
from ood_core.store import Store
from tests.made_page import changed
from tests.study.cases import Told

RUN = """
import sys, time, yaml
from pathlib import Path
from ood_core import recipes, study, train
recipes.FOLDER = Path(sys.argv[1])
train.CHECKPOINT_SECONDS = 0.0
study.setup()
class Told(study.Progress):
    def epoch(self, planned, epoch, loss):
        print("epoch", epoch, flush=True)
results = study.run_or_load("made", seeds=1, progress=Told(), jobs=int(sys.argv[2]))
print("trained", len(results.fresh), flush=True)
"""


def start(tmp_path, runs, jobs=1):
    env = {**os.environ, "OOD_RUNS": str(runs), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", RUN, str(tmp_path / "recipes"), str(jobs)]
    return subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finish(process):
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    return out


def one_long_recipe():
    page = changed(record=[0.1, 0.5])
    page["scales"]["tiny"]["schedule"]["epochs"] = 30
    page["recipes"] = {"ce": {"title": "t"}}
    return page


@pytest.mark.slow
def test_kill_in_training_then_the_same_bits(made, tmp_path):
    made(one_long_recipe())
    whole = finish(start(tmp_path, tmp_path / "whole"))
    assert "trained 1" in whole
    process = start(tmp_path, tmp_path / "killed")
    for line in process.stdout:
        if line.strip() == "epoch 12":
            process.send_signal(signal.SIGKILL)
            break
    process.wait(timeout=60)
    process.stdout.close()
    process.stderr.close()
    store = Store(tmp_path / "killed")
    assert list(store.runs()) == []  # no half run
    resumed = finish(start(tmp_path, tmp_path / "killed"))
    first_epoch = int(next(line for line in resumed.splitlines() if line.startswith("epoch")).split()[1])
    assert 12 <= first_epoch <= 14, "it began anew"
    (one,), (other,) = (list(Store(tmp_path / name).runs()) for name in ("whole", "killed"))
    for name in ("model.safetensors", "rows.parquet", "history.parquet", "scores.npz"):
        assert one.info["files"][name] == other.info["files"][name], name
    assert not list(Path(tmp_path / "killed").glob("*.partial"))


@pytest.mark.slow
def test_two_processes_share_one_training(made, tmp_path):
    made(one_long_recipe())
    both = [start(tmp_path, tmp_path / "shared") for _ in range(2)]
    outs = [finish(process) for process in both]
    trained = [sum(line.startswith("epoch") for line in out.splitlines()) for out in outs]
    assert sorted(trained) == [0, 30]
    assert len(list(Store(tmp_path / "shared").runs())) == 1


@pytest.mark.slow
def test_processes_do_not_outlive_a_killed_parent(made, tmp_path):
    page = one_long_recipe()
    page["scales"]["tiny"]["schedule"]["epochs"] = 2000
    page["recipes"]["l2"] = {"title": "t", "head": {"name": "l2"}}
    made(page)
    process = start(tmp_path, tmp_path / "runs", jobs=2)
    for line in process.stdout:
        if line.startswith("epoch"):
            process.kill()
            break
    process.wait(timeout=60)
    process.stdout.close()
    process.stderr.close()
    keys = [planned.key for planned in study.plan("made", "tiny", 1)]
    for key in keys:
        with FileLock(tmp_path / "runs" / f"{key}.lock", timeout=20):
            pass


def test_ctrl_c_leaves_a_checkpoint_and_no_half_run(made, tmp_path):
    from ood_core.train import InterruptedTraining

    made(one_long_recipe())
    asked = iter([False, False, True])
    with pytest.raises(InterruptedTraining, match="after epoch 3 of 30"):
        study.run_or_load("made", seeds=1, stop=lambda: next(asked))
    assert list(Store().runs()) == []
    told = Told()
    study.run_or_load("made", seeds=1, progress=told)
    assert told.seen == [("ce", epoch) for epoch in range(4, 31)] + [("ce", "done")]
