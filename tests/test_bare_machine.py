"""Training on a machine that has little: a checkout that is not installed, outside git, with few packages."""

import os
import subprocess
import sys

import numpy as np
import pytest

from ood_core import paths

WITHOUT = "matplotlib torchvision statsmodels papermill IPython ipykernel jupyter_book tensorboard playwright"
FOR_DIGITS = "sklearn PIL tabulate"  # the digits, the photographs, and a command's tables
SITE = """
import importlib.machinery, importlib.metadata, os, sys

ABSENT = os.environ["WITHOUT"].split()

class Present(importlib.machinery.PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return None if name.partition(".")[0] in ABSENT else super().find_spec(name, path, target)

sys.meta_path = [Present if f is importlib.machinery.PathFinder else f for f in sys.meta_path]
version = importlib.metadata.version

def found(name):
    if name == "ood-core":
        raise importlib.metadata.PackageNotFoundError(name)
    return version(name)

importlib.metadata.version = found
"""


@pytest.fixture
def bare(tmp_path):
    """Calls `python -m ood_core`, or another program, there."""
    (tmp_path / "sitecustomize.py").write_text(SITE)
    checkout = tmp_path / "checkout"
    checkout.mkdir()
    for name in ("ood_core", "pyproject.toml"):
        (checkout / name).symlink_to(paths.repository() / name)

    def call(*arguments, program=("-m", "ood_core"), without=WITHOUT, **variables):
        env = os.environ | {
            "PYTHONPATH": f"{tmp_path}:{checkout}",
            "WITHOUT": without,
            "OOD_RUNS": str(tmp_path / "runs"),
            "OOD_COMMIT": "0123abc",
            "GIT_CEILING_DIRECTORIES": str(tmp_path),
            **variables,
        }
        command = [sys.executable, "-P", *program, *arguments]
        return subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, check=False)

    return call


def test_the_command_line_starts_and_plans(bare):
    assert bare("--version").stdout.endswith("ood_core, version not installed\n")
    planned = bare("plan", "l2-norm", "--seeds", "1", "--json")
    assert planned.returncode == 0, planned.stderr


def test_a_run_trains_measures_and_is_stored(bare, tmp_path):
    done = bare("run", "l2-norm", "--seeds", "1", "--recipe", "l2", "--jobs", "1", "--json")
    assert done.returncode == 0, done.stderr
    (info,) = (tmp_path / "runs").glob("*/run.json")
    assert '"ood-core": "not installed"' in info.read_text()


TRAINING = """
from ood_core import data, recipes, train

for page, name in (("isomax", "dismax-composite"), ("clusters", "supcon")):
    recipe = recipes.load(page, "small")[name]
    recipe = recipes.Recipe.model_validate(recipe.model_dump() | {
        "network": recipe.network.model_dump() | {"width": 2},
        "optimiser": recipe.optimiser.model_dump() | {"batch": 8},
        "schedule": {"epochs": 1},
    })
    print(train.fit(recipe, 0, data.load("mine", "train")).history[0]["loss"] > 0)
"""


def test_training_on_images_of_ones_own_takes_nothing_but_torch_and_files(bare, tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (16, 32, 32, 3), np.uint8)
    np.savez(tmp_path / "mine-train.npz", images=images, labels=np.arange(16) % 10, classes=[str(i) for i in range(10)])
    without = f"{WITHOUT} {FOR_DIGITS}"
    done = bare(program=("-c", TRAINING), without=without, OOD_DATA=str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["True", "True"]
    listed = bare(program=("-c", "import sklearn"), without=without)
    assert "No module named 'sklearn'" in listed.stderr, "what is to be absent is"
