"""Fixtures of the book: the real one, built once a session from a copy of the checkout with the checkout's runs."""

from __future__ import annotations

import json
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
TEXT = "reference/verdicts"  # no cell to execute
REFERENCE = [page for page in PAGES if page.startswith("reference/") and page != TEXT]


def build_book(root: Path, **environment: str) -> Completed:
    """What `make book` does last, in the checkout at `root`."""
    command = [Path(sys.executable).with_name("jupyter-book"), "build", "book/", "-W", "--keep-going"]
    given = {**os.environ, "NO_COLOR": "1", **environment}
    return subprocess.run(command, cwd=root, env=given, capture_output=True, text=True, check=False)


def executed(build: Completed) -> set[str]:
    """Pages that a build ran."""
    return set(re.findall(r"book/(\S+?)\.\w+: Executing notebook", build.stdout))


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that all test processes of this session see; the first one to ask for something makes it there."""
    own = tmp_path_factory.getbasetemp()
    return own.parent if "PYTEST_XDIST_WORKER" in os.environ else own


@pytest.fixture(scope="session")
def runs(shared: Path) -> Path:
    """The checkout's run store with every tiny run in it: trained here, so that each run records the commit."""
    from ood_core import paths

    with filelock.FileLock(shared / "runs.lock"):
        if not (shared / "runs.done").exists():
            command = [sys.executable, "-m", "ood_core", "run", "--all", "--scale", "tiny"]
            subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
            (shared / "runs.done").touch()
    return paths.runs()


@pytest.fixture(scope="session")
def builds(shared: Path, runs: Path) -> dict[str, Completed]:
    """Three builds of a copy of everything that the book is made from.

    `first`, `again` with nothing changed, and `changed` with a remark in the claims of the first paper.
    """
    told = shared / "builds.json"
    with filelock.FileLock(shared / "builds.lock"):
        if not told.exists():
            copy = _copied(shared / "checkout")
            done = {"first": build_book(copy, OOD_RUNS=str(runs))}
            if done["first"].returncode == 0:
                done["again"] = build_book(copy, OOD_RUNS=str(runs))
                with (copy / "book" / "claims" / f"{Path(PAPERS[0]).name}.yml").open("a", encoding="utf-8") as claims:
                    claims.write("\n# a remark\n")
                done["changed"] = build_book(copy, OOD_RUNS=str(runs))
            told.write_text(json.dumps({name: [b.returncode, b.stdout, b.stderr] for name, b in done.items()}))
    return {name: Completed([], *said) for name, said in json.loads(told.read_text()).items()}


def _copied(place: Path) -> Path:
    made = shutil.ignore_patterns("_build", "__pycache__", ".ipynb_checkpoints")
    for name in ("_ext", "book", "ood_core"):
        shutil.copytree(ROOT / name, place / name, symlinks=True, ignore=made)
    for name in ("_config.yml", "_toc.yml"):
        shutil.copy(ROOT / name, place / name)
    return place


@pytest.fixture(scope="session")
def site(shared: Path, builds: dict[str, Completed]) -> Path:
    """The folder of the built site."""
    first = builds["first"]
    assert first.returncode == 0, first.stdout[-3000:] + first.stderr[-3000:]
    return shared / "checkout" / "book" / "_build" / "html"
