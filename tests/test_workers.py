"""Runs in processes of their own: the same bits, the same errors, the same way out."""

import multiprocessing
import os
import signal
import time
from multiprocessing.context import SpawnProcess

import pytest
import torch

from ood_core import study, workers
from ood_core.store import Store
from ood_core.train import InterruptedTraining, TrainingError
from tests.made_page import PAGE, changed
from tests.study.cases import Told

pytestmark = pytest.mark.slow


def page(epochs=3, **optimiser):
    made = changed(record=[])
    made["scales"]["tiny"]["schedule"]["epochs"] = epochs
    made["scales"]["tiny"]["optimiser"].update(optimiser)
    return made


def test_two_processes_give_the_bits_of_one(made, tmp_path):
    made(PAGE)
    one = study.run_or_load("made", seeds=2, store=Store(tmp_path / "one"))
    told = Told()
    two = study.run_or_load("made", seeds=2, jobs=2, store=Store(tmp_path / "two"), progress=told)
    for name, run in one.stored.items():
        for tensor, value in run.weights().items():
            assert torch.equal(value, two.stored[name].weights()[tensor]), (name, tensor)
    assert one.rows.equals(two.rows)
    assert sorted(told.seen, key=str) == sorted(
        [(recipe, what) for recipe in ("ce", "l2") for _ in range(2) for what in (1, 2, "done")], key=str
    )
    assert multiprocessing.active_children() == []


def test_nan_in_a_process_is_said_in_the_same_words(made):
    made(page(lr=1e30))
    with pytest.raises(TrainingError, match="expected a finite number"):
        study.run_or_load("made", seeds=1, jobs=2)
    assert list(Store().runs()) == []
    assert multiprocessing.active_children() == []


def test_stopping_leaves_a_checkpoint_of_each_run_in_work(made):
    made(page(epochs=400))
    told = Told()
    with pytest.raises(InterruptedTraining, match=r"stopped after epoch \d+ of 400"):
        study.run_or_load("made", seeds=1, jobs=2, progress=told, stop=lambda: len({r for r, _ in told.seen}) == 2)
    assert len(list(Store().folder.glob("*.partial/checkpoint.safetensors"))) == 2
    assert list(Store().runs()) == []
    assert multiprocessing.active_children() == []


def test_a_killed_process_is_named_and_the_rest_goes_on_later(made, monkeypatch):
    """The pool's own thread watches the processes it knew when it last had a result: a slow start hides the last."""
    made(page(epochs=2000))
    start = SpawnProcess.start

    def slowly(process):
        time.sleep(0.3)
        start(process)

    monkeypatch.setattr(SpawnProcess, "start", slowly)
    killed = []

    class Killer(Told):
        def epoch(self, planned, epoch, loss):
            super().epoch(planned, epoch, loss)
            if not killed and len({recipe for recipe, _ in self.seen}) == 2:  # both are at work
                last = max(multiprocessing.active_children(), key=lambda child: child.pid)
                os.kill(last.pid, signal.SIGKILL)
                killed.append(time.perf_counter())

    with pytest.raises(TrainingError, match="ended unexpectedly"):
        study.run_or_load("made", seeds=1, jobs=2, progress=Killer())
    assert time.perf_counter() - killed[0] < 20, "the other trained on, which takes minutes"
    assert multiprocessing.active_children() == []
    assert list(Store().runs()) == []
    made(page(epochs=1))
    assert len(study.run_or_load("made", seeds=1).stored) == 2


def test_a_second_ctrl_c_does_not_wait(made):
    made(page(epochs=2000))

    class Impatient(Told):
        def epoch(self, planned, epoch, loss):
            raise KeyboardInterrupt

    began = time.perf_counter()
    with pytest.raises(KeyboardInterrupt):
        study.run_or_load("made", seeds=1, jobs=2, progress=Impatient())
    assert time.perf_counter() - began < 60
    assert multiprocessing.active_children() == []


def test_one_run_needs_no_process(made, monkeypatch):
    monkeypatch.setattr(workers, "ProcessPoolExecutor", lambda *_: pytest.fail("a process was started"))
    made({**page(), "recipes": {"ce": {"title": "t"}}})
    assert len(study.run_or_load("made", seeds=1, jobs=8).stored) == 1
