"""A disk that fills up in training: a clear error, the last checkpoint kept, and the same bits once there is room."""

import os
import subprocess
import sys

import pytest
import torch

from ood_core import study
from ood_core.store import Store
from tests.made_page import changed

# A limit on the size of files, set when an epoch is done: every later write fails as on a full disk.
PROGRAM = """
import resource, sys
from pathlib import Path
from ood_core import recipes, study, train
recipes.FOLDER, full_at = Path(sys.argv[1]), int(sys.argv[2])
train.CHECKPOINT_SECONDS = 0.0
class Told(study.Progress):
    def epoch(self, planned, epoch, loss):
        if epoch == full_at:
            resource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))
try:
    study.run_or_load("made", seeds=1, progress=Told())
except ValueError as error:
    print(type(error).__name__, error)
"""


@pytest.mark.slow
@pytest.mark.parametrize(("full_at", "kept"), [(3, 2), (6, 5)], ids=["a checkpoint", "the finished run"])
def test_nothing_is_lost(made, tmp_path, full_at, kept):
    page = changed(record=[])
    page["scales"]["tiny"]["schedule"]["epochs"] = 6
    page["recipes"] = {"ce": {"title": "t"}}
    made(page)
    command = [sys.executable, "-c", PROGRAM, tmp_path / "recipes", str(full_at)]
    env = {**os.environ, "OOD_RUNS": str(tmp_path / "full"), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("InputError"), done.stdout + done.stderr
    assert "could not be written" in done.stdout
    assert "Make room or set OOD_RUNS to another folder" in done.stdout
    full, whole = Store(tmp_path / "full"), Store(tmp_path / "whole")
    (planned,) = study.plan("made", "tiny", 1, full)
    assert planned.state == "to train"
    assert list(full.runs()) == []
    assert full.checkpoints(planned.key).load().epoch == kept
    assert not list(full.folder.rglob("*.writing"))
    after = study.run_or_load("made", seeds=1, store=full).stored["ce", 0]
    expected = study.run_or_load("made", seeds=1, store=whole).stored["ce", 0].weights()
    assert all(torch.equal(value, expected[name]) for name, value in after.weights().items())
