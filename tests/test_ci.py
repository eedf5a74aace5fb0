"""Continuous integration unpacks image sets that lie beside the repository, and goes on without where none do."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.building import ROOT

RESTORE = """
import os, sys
assert os.environ["PYTHONPATH"].endswith("decoder")
os.makedirs(sys.argv[1])
open(os.path.join(sys.argv[1], "made-test.npz"), "w").close()
"""
# Stand-ins that say how they were called; the interpreter runs restore.py and leaves pip alone.
MAKE = 'echo "make $* OOD_DATA=${OOD_DATA:-none} $(ls "${OOD_DATA:-/nowhere}" 2>/dev/null)"\n'
PYTHON = '[ "$1" = -m ] && { echo "$@"; exit 0; }\nexec python3 "$@"\n'


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    root = tmp_path / "place" / "clone"
    for path, text in ((".venv/bin/python", PYTHON), ("bin/make", MAKE), ("bin/chromium", "")):
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(f"#!/bin/bash\n{text}")
        (root / path).chmod(0o755)
    (root / ".ci").mkdir()
    (root / ".ci" / "run").write_bytes((ROOT / ".ci" / "run").read_bytes())
    return root


def ran(clone: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    given = {key: value for key, value in os.environ.items() if key != "OOD_DATA"}
    temporary = clone / "tmp"
    temporary.mkdir(exist_ok=True)
    given |= {"PATH": f"{clone / 'bin'}:{os.environ['PATH']}", "TMPDIR": str(temporary), **environment}
    command = ["bash", clone / ".ci" / "run"]
    done = subprocess.run(command, cwd="/", env=given, capture_output=True, text=True, check=False)
    assert not list(temporary.iterdir()), "something was left behind"
    return done


def packed(clone: Path, script: str = RESTORE) -> None:
    (clone.parent / "shared" / "data").mkdir(parents=True)
    (clone.parent / "shared" / "data" / "restore.py").write_text(script)


def test_a_clone_elsewhere_goes_on_without(clone: Path) -> None:
    done = ran(clone)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[1:] == ["make test OOD_DATA=none "]


def test_sets_beside_the_repository_are_unpacked_for_the_tests(clone: Path) -> None:
    packed(clone)
    done = ran(clone)
    assert done.returncode == 0, done.stderr
    environment, plugin, tests = done.stdout.splitlines()[1:]
    assert environment.startswith("make .venv/.test OOD_DATA=none")
    folder = Path(tests.split("OOD_DATA=")[1].split()[0])
    assert tests == f"make test OOD_DATA={folder} made-test.npz"
    assert f"--no-deps --target {folder.parent / 'decoder'} pillow-jxl-plugin" in plugin


def test_a_folder_that_was_named_is_kept(clone: Path, tmp_path: Path) -> None:
    packed(clone)
    done = ran(clone, OOD_DATA=str(tmp_path))
    assert done.stdout.splitlines()[1:][0].startswith(f"make test OOD_DATA={tmp_path}")


def test_sets_that_cannot_be_unpacked_are_a_failure(clone: Path) -> None:
    packed(clone, "raise SystemExit('the pack is damaged')")
    done = ran(clone)
    assert done.returncode != 0
    assert "the pack is damaged" in done.stderr
    assert "make test" not in done.stdout
