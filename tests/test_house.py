"""Rules of the house that a machine can check: tools, imports, notebooks, versions, docstrings."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.version import Version

from tests.building import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
MODULES = sorted((ROOT / "ood_core").rglob("*.py"))
NOTEBOOKS = sorted(path for part in ("papers", "compare") for path in (ROOT / "book" / part).glob("*.ipynb"))
LOCK = {
    Requirement(line).name.lower().replace("_", "-"): line
    for line in (ROOT / "requirements.lock").read_text(encoding="utf-8").splitlines()
    if line and not line.startswith("#")
}


def tool(name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a tool of this environment at the repository root."""
    command = [str(Path(sys.executable).with_name(name)), *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("command", ["ruff check", "ruff format --check", "mypy", "lint-imports"])
def test_tools_have_nothing_to_say(command: str) -> None:
    done = tool(*command.split())
    assert done.returncode == 0, done.stdout + done.stderr


def test_notebooks_are_committed_without_outputs() -> None:
    assert NOTEBOOKS
    done = tool("nbstripout", "--verify", "--keep-id", *map(str, NOTEBOOKS))
    assert done.returncode == 0, f"run nbstripout --keep-id on these:\n{done.stdout}{done.stderr}"


def test_nothing_is_unpickled() -> None:
    forbidden = {"pickle", "cPickle", "dill", "joblib", "cloudpickle", "shelve", "marshal"}
    for path in MODULES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not forbidden & {name.partition(".")[0] for name in names}, path
            if isinstance(node, ast.Call) and ast.unparse(node.func) in ("torch.load", "np.load", "pd.read_pickle"):
                safe = {"torch.load": "weights_only=True", "np.load": "allow_pickle=False"}
                assert safe.get(ast.unparse(node.func), "never") in ast.unparse(node), f"{path}:{node.lineno}"


def test_no_module_opens_a_connection_or_imports_torchvision_when_imported() -> None:
    """A wheel of torchvision may not fit the torch beside it; `_torchvision` is the door to it."""
    names = [".".join(path.relative_to(ROOT).with_suffix("").parts) for path in MODULES]
    program = (
        "import socket, sys\n"
        "def refuse(*_): raise AssertionError('a connection at import')\n"
        "socket.socket.connect = refuse\n"
        f"for name in {names!r}: __import__(name.removesuffix('.__init__'))\n"
        "assert 'torchvision' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_public_names_have_docstrings() -> None:
    undocumented = []
    for path in MODULES:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        named = [node for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef)]
        public = [node for node in named if not node.name.startswith("_")]
        undocumented += [f"{path.stem}.{node.name}" for node in public if not ast.get_docstring(node)]
        undocumented += [] if ast.get_docstring(tree) else [path.stem]
    assert undocumented == []


def test_versions_agree() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    newest = re.search(r"^## \[([^\]]+)\]", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert newest
    assert PROJECT["version"] == citation["version"] == newest[1] == metadata.version("ood-core")
    assert PROJECT["license"] == citation["license"]


def test_the_lock_pins_everything_once_and_for_any_build() -> None:
    for name, line in LOCK.items():
        assert re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.]+", line), line  # no local version, no address
        assert not name.startswith(("nvidia", "cuda", "triton")), line
    assert LOCK["torch"] == "torch==2.13.0"
    assert LOCK["torchvision"] == "torchvision==0.28.0"
    wanted = [
        *PROJECT["dependencies"],
        *(need for extra in PROJECT["optional-dependencies"].values() for need in extra),
    ]
    for need in map(Requirement, wanted):
        if need.name != PROJECT["name"]:
            pinned = LOCK[need.name.lower().replace("_", "-")].partition("==")[2]
            assert need.specifier.contains(pinned), f"the lock has {pinned}, pyproject asks for {need}"


def test_conda_s_environment_agrees_with_the_pins() -> None:
    """Agreement only: conda itself is not at hand where these tests run."""
    environment = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))
    assert environment["name"] == PROJECT["name"]
    plain = [need for need in environment["dependencies"] if isinstance(need, str)]
    (by_pip,) = [need["pip"] for need in environment["dependencies"] if isinstance(need, dict)]
    (python,) = [need.partition("=")[2] for need in plain if need.startswith("python=")]
    assert Requirement(f"python{PROJECT['requires-python']}").specifier.contains(Version(python))
    assert "pip" in plain
    assert by_pip[0] == "-c requirements.lock"
    extras = re.fullmatch(r"-e \.\[([a-z,]+)\]", by_pip[1])
    assert extras
    assert set(extras[1].split(",")) <= set(PROJECT["optional-dependencies"])


def test_plain_commands_find_the_book_s_settings() -> None:
    for name in ("_config.yml", "_toc.yml"):
        link = ROOT / "book" / name
        assert link.is_symlink()
        assert link.resolve() == ROOT / name
