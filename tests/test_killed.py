"""Killed again and again at random moments, a run loses no checkpoint, shows no half, and ends with the same bits."""

import json
import os
import subprocess
import sys

import pytest

from tests.made_page import changed

# One process imports everything, and each life of the run is a fork of it: starting takes longer than the run.
PROGRAM = """
import json, os, random, shutil, signal, sys, time
from pathlib import Path
from ood_core import recipes, study, train
from ood_core.store import Store

recipes.FOLDER, folder, kills = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
train.CHECKPOINT_SECONDS = 0.0
study.setup()
(planned,) = study.plan("made", "tiny", 1, Store(folder / "whole"))
key = planned.key


def live(store):
    child = os.fork()
    if child == 0:
        try:
            study.run_or_load("made", seeds=1, store=store)
        finally:
            os._exit(0 if store.get(key) else 1)
    return child


def files(store):
    run = store.get(key)
    run.check()
    return run.info["files"]


began = time.perf_counter()
_, status = os.waitpid(live(Store(folder / "whole")), 0)
took = time.perf_counter() - began
assert status == 0
draw = random.Random(0)
store, whole = Store(folder / "killed"), files(Store(folder / "whole"))
seen = {"killed": 0, "in training": 0, "after training": 0, "ends": 0, "equal": 0, "lost": 0, "half": 0}
reached = 0
while seen["killed"] < kills or store.get(key) is None:
    child = live(store)
    if seen["killed"] < kills:
        time.sleep(draw.uniform(0.02, 0.35) * took)
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        seen["killed"] += 1
    for run in store.runs():
        run.check()  # whole, or not there
    done = store.get(key)
    if done is None:
        state = store.checkpoints(key).load()
        seen["lost"] += (state.epoch if state else 0) < reached
        reached = state.epoch if state else 0
        seen["in training" if reached < planned.recipe.epochs - 1 else "after training"] += 1
    else:
        seen["ends"] += 1
        seen["equal"] += all(whole[name] == digest for name, digest in done.info["files"].items())
        seen["half"] += bool(list(store.folder.glob("*.partial/checkpoint*")))
        if seen["killed"] < kills:
            shutil.rmtree(done.folder)
            reached = 0
print(json.dumps(seen))
"""


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork processes")
def test_twenty_kills_in_a_row_lose_nothing(made, tmp_path):
    page = changed(record=[0.5])
    page["scales"]["tiny"]["schedule"]["epochs"] = 16
    page["recipes"] = {"l2": {"title": "t", "head": {"name": "l2"}}}
    made(page)
    command = [sys.executable, "-W", "error::UserWarning", "-c", PROGRAM, tmp_path / "recipes", tmp_path, "20"]
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)
    assert seen["killed"] == 20
    assert seen["in training"] >= 10
    assert seen["lost"] == 0, "a checkpoint that was there is gone"
    assert seen["equal"] == seen["ends"] >= 1, "other bits than without a kill"
    assert seen["half"] == 0, "what is left of training stays behind"
