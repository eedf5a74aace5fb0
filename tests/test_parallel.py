"""Several processes: what they train together equals what one trains, and one of them writes."""

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import torch
from torch import distributed, multiprocessing

from ood_core import parallel, study, train
from ood_core.checks import InputError
from ood_core.store import Store
from tests.made_page import changed
from tests.spine import images, recipe

MLP = {"network": {"name": "mlp5", "width": 12}, "optimiser": {"batch": 16, "lr": 0.02}, "schedule": {"epochs": 2}}
CASES = {
    "cross-entropy": MLP,
    "supcon": {**MLP, "head": {"name": "projection"}, "loss": {"name": "supcon"}},
    "nt_xent": {**MLP, "head": {"name": "projection"}, "loss": {"name": "nt_xent"}},
    "composite": {**MLP, "head": {"name": "dismax"}, "loss": {"composite": 1.0, "scale": 2.0}},
    "collapse": {**MLP, "loss": {"name": "collapse"}},
    "batch norm": {"optimiser": {"batch": 16, "lr": 0.02}, "schedule": {"epochs": 2}},
}


def trained(case):
    found = train.fit(recipe(**CASES[case]), 0, images())
    return found.network.state_dict(), found.history


def _one_of_two(rank, folder):
    """Every case, one after the other; the first process writes what came out, the other one compares."""
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT="0")
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    try:
        for case in CASES:
            weights, history = trained(case)
            for name, value in weights.items():
                other = value.clone()
                distributed.broadcast(other, 0)
                assert torch.equal(value, other), (case, name)
            if rank == 0:
                torch.save({"weights": weights, "history": history}, Path(folder) / f"{case}.pt")
        assert parallel.any_of(rank == 1)
        assert not parallel.any_of(False)
        assert parallel.alike("epoch", 3) == 3
        with pytest.raises(InputError, match="the epoch is 5 in one process and 6 in another"):
            parallel.alike("the epoch", 5 + rank)
        with pytest.raises(InputError, match="batch is 17 in 2 processes, expected a multiple of 2"):
            train.fit(recipe(optimiser={"batch": 17}), 0, images())
        with pytest.raises(InputError, match="batch is 18 in 2 processes, expected a multiple of 4"):
            train.fit(recipe(**CASES["composite"] | {"optimiser": {"batch": 18}}), 0, images())
        if rank == 0:
            parallel.tell("a key")
        else:
            assert parallel.hear() == "a key"
    finally:
        distributed.destroy_process_group()


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    folder = tmp_path_factory.mktemp("two")
    multiprocessing.spawn(_one_of_two, (str(folder),), nprocs=2)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_two_processes_train_as_one(two, case):
    """Losses, learning rates, accuracies and weights after six steps, every loss and synchronised batch norm."""
    found = torch.load(two / f"{case}.pt", weights_only=True)
    weights, history = trained(case)
    for ours, expected in zip(found["history"], history, strict=True):
        assert ours == pytest.approx(expected, rel=1e-5, nan_ok=True)
    assert weights.keys() == found["weights"].keys()
    for name, value in weights.items():
        torch.testing.assert_close(found["weights"][name], value, rtol=1e-4, atol=1e-6, msg=name)


def test_one_process_needs_nothing():
    x = torch.arange(6.0)
    assert (parallel.size(), parallel.rank()) == (1, 0)
    assert parallel.share(x) is x
    assert parallel.everyone(x) is x
    assert parallel.gathered(x) is x
    assert parallel.any_of(True)
    with parallel.processes(torch.device("cpu")) as device:
        assert device.type == "cpu"
        assert not distributed.is_initialized()


PROGRAM = """
import sys
from pathlib import Path
from ood_core import recipes
recipes.FOLDER = Path(sys.argv[1])  # before the command reads which pages there are
from ood_core.cli import main
main(sys.argv[2:])
"""


def together(tmp_path, runs, *arguments):
    program = tmp_path / "program.py"
    program.write_text(textwrap.dedent(PROGRAM))
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    command += [program, tmp_path / "recipes", "run", "made", "--seeds", "1", "--device", "cpu", *arguments]
    env = {**os.environ, "OOD_RUNS": str(runs), "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, env=env, capture_output=True, text=True, check=False, timeout=300)


@pytest.mark.slow
def test_torchrun_trains_each_run_once_and_speaks_once(made, tmp_path):
    page = changed(record=[0.5])
    page["scales"]["tiny"]["optimiser"] = {"batch": 64, "lr": 0.01}
    made(page)
    done = together(tmp_path, tmp_path / "two", "--json")
    assert done.returncode == 0, done.stderr
    assert len(json.loads(done.stdout)) == 2
    assert done.stderr.count("2 runs, 0 stored, 2 to do") == 1
    again = together(tmp_path, tmp_path / "two", "--json")
    assert all(row["loaded"] for row in json.loads(again.stdout))
    study.run_or_load("made", seeds=1, store=Store(tmp_path / "one"))
    two, one = ({run.key: run for run in Store(tmp_path / name).runs()} for name in ("two", "one"))
    assert two.keys() == one.keys()
    for key, run in two.items():
        assert run.info["hardware"]["processes"] == 2
        assert "processes" not in one[key].info["hardware"]
        assert run.early_epochs() == one[key].early_epochs()
        for name, value in one[key].weights().items():
            # forty steps of a narrow network amplify rounding; six steps are compared closely above
            torch.testing.assert_close(run.weights()[name], value, rtol=0.01, atol=2e-3, msg=name)
    assert not list((tmp_path / "two").glob("*.partial"))


@pytest.mark.slow
def test_torchrun_and_jobs_exclude_each_other(made, tmp_path):
    done = together(tmp_path, tmp_path / "runs", "--jobs", "2")
    assert done.returncode != 0
    assert "torchrun one run in several processes" in done.stderr
