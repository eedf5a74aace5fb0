"""Training on a machine that has little: a checkout that is not installed, outside git, with few packages."""

import os
import subprocess
import sys

import pytest

from ood_core import paths

# scikit-learn and Pillow are here for the digits and photographs that this test trains and tests on.
WITHOUT = "matplotlib torchvision statsmodels papermill IPython ipykernel jupyter_book tensorboard playwright"
SITE = f"""
import importlib.abc, importlib.metadata, sys

class Absent(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {WITHOUT.split()!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Absent())
version = importlib.metadata.version

def found(name):
    if name == "ood-core":
        raise importlib.metadata.PackageNotFoundError(name)
    return version(name)

importlib.metadata.version = found
"""


@pytest.fixture
def bare(tmp_path):
    """Calls `python -m ood_core` there."""
    (tmp_path / "sitecustomize.py").write_text(SITE)
    checkout = tmp_path / "checkout"
    checkout.mkdir()
    for name in ("ood_core", "pyproject.toml"):
        (checkout / name).symlink_to(paths.repository() / name)

    def call(*arguments):
        env = os.environ | {
            "PYTHONPATH": f"{tmp_path}:{checkout}",
            "OOD_RUNS": str(tmp_path / "runs"),
            "OOD_COMMIT": "0123abc",
            "GIT_CEILING_DIRECTORIES": str(tmp_path),
        }
        command = [sys.executable, "-P", "-m", "ood_core", *arguments]
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
