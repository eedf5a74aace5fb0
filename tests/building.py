"""Fixtures of the book: the real one, built once a session from a copy of the checkout with the checkout's runs."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import filelock
import pytest
import yaml

Completed = subprocess.CompletedProcess[str]
Build = Callable[..., Completed]
ROOT = Path(__file__).resolve().parents[1]
TOC = yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8"))
PAGES = [TOC["root"], *(chapter["file"] for part in TOC["parts"] for chapter in part["chapters"])]
PAPERS = [page for page in PAGES if page.startswith("papers/")]
COMPARE, STATUS = "compare/compare", "compare/status"
REFERENCE = [page for page in PAGES if page.startswith("reference/")]


def build_book(root: Path, **environment: str) -> Completed:
    """What `make book` does last, in the checkout at `root`."""
    command = [Path(sys.executable).with_name("jupyter-book"), "build", "book/", "-W", "--keep-going"]
    given = {**os.environ, "NO_COLOR": "1", **environment}
    return subprocess.run(command, cwd=root, env=given, capture_output=True, text=True, check=False)


def executed(build: Completed) -> set[str]:
    """Pages that a build ran."""
    return set(re.findall(r"book/(\S+?)\.\w+: Executing notebook", build.stdout))


@pytest.fixture(scope="session")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of everything that the book is made from, for tests that change it."""
    copy = tmp_path_factory.mktemp("checkout")
    made = shutil.ignore_patterns("_build", "__pycache__", ".ipynb_checkpoints")
    for name in ("_ext", "book", "ood_core"):
        shutil.copytree(ROOT / name, copy / name, symlinks=True, ignore=made)
    for name in ("_config.yml", "_toc.yml"):
        shutil.copy(ROOT / name, copy / name)
    return copy


@pytest.fixture(scope="session")
def runs() -> Path:
    """The checkout's run store with every tiny run in it: trained here, so that each run records the commit.

    Test processes take turns, so that the second one finds what the first has trained.
    """
    from ood_core import paths

    paths.runs().mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "ood_core", "run", "--all", "--scale", "tiny"]
    with filelock.FileLock(paths.runs() / "tests.lock"):
        subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    return paths.runs()


@pytest.fixture(scope="session")
def site(checkout: Path, runs: Path) -> Path:
    """The folder of the built site."""
    build = build_book(checkout, OOD_RUNS=str(runs))
    assert build.returncode == 0, build.stdout[-3000:] + build.stderr[-3000:]
    return checkout / "book" / "_build" / "html"
