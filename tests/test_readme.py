"""What README and the book tell people to type works: Python for real, commands for real or as far as is cheap."""

from __future__ import annotations

import itertools
import json
import re
import runpy
import shlex
import subprocess
import sys
from pathlib import Path

import click
import papermill
import pytest
import torch
from click.testing import CliRunner

from ood_core.cli import main
from ood_core.recipes import SCALES
from tests.building import PAPERS, ROOT

GUIDES = ("README.md", "book/how-to-run.md")
PAGES = (*GUIDES, *(f"book/{page}.ipynb" for page in PAPERS))
# parsed and not run: tests/scoring scores, tests/test_recorded.py records
TOO_DEAR = (
    "seeds 10",
    "-p seeds 5",
    "data fetch",
    "run --all",
    "score ",
    "--scale small --recipe",
    "record ",
    "--recorded",
)


def blocks(page: str, language: str) -> list[str]:
    """Code blocks of one language, in order and without their indentation."""
    text = (ROOT / page).read_text(encoding="utf-8")
    if page.endswith(".ipynb"):
        text = "\n\n".join("".join(cell["source"]) for cell in json.loads(text)["cells"])
    found = re.findall(rf"^( *)```{language}\n(.*?)^ *```$", text, re.M | re.S)
    return [re.sub(f"^{indent}", "", code, flags=re.M) for indent, code in found]


def commands(page: str) -> list[str]:
    """Shell commands without their comments."""
    lines = "\n".join(blocks(page, "bash")).replace("\\\n", " ").splitlines()
    return [command for line in lines if (command := line.partition("  #")[0].strip()) and not command.startswith("#")]


COMMANDS = {command: page for page in reversed(PAGES) for command in commands(page)}


def run(*command: str | Path) -> str:
    """Run at the repository root; returns what was printed."""
    done = subprocess.run([*map(str, command)], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("page", GUIDES)
def test_python_runs_as_written(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    layers = torch.nn.Sequential(torch.nn.Linear(8, 16), torch.nn.ReLU(), torch.nn.Linear(16, 4))
    names = ("images", "new_images", "test_images", "held_out_images")
    given = {"model": layers, "labels": torch.arange(200) % 4, **{name: torch.randn(200, 8) for name in names}}
    code = blocks(page, "python")
    assert code
    exec("\n".join(code), given)
    assert given["scores"].shape == (200,)
    if page == "README.md":
        assert given["accepted"].dtype == torch.bool
        assert (tmp_path / "ddu.safetensors").is_file()


@pytest.mark.parametrize(("command", "page"), COMMANDS.items(), ids=list(COMMANDS))
def test_commands_exist_and_run(command: str, page: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    words = [word for word in shlex.split(command) if not re.match(r"[A-Z_]+=", word)]
    settings = dict(word.split("=", 1) for word in shlex.split(command) if re.match(r"[A-Z_]+=", word))
    match words:
        case ["make", *rest]:
            assert run("make", "-n", *rest, *(f"{name}={value}" for name, value in settings.items()))
        case ["python", "-m", "ood_core", *rest] if any(dear in command for dear in TOO_DEAR):
            parse(main, rest)
        case ["python", "-m", "ood_core", "verify", _, *_]:  # a page: `verify` alone is run, and checks all of them
            parse(main, words[3:])
        case ["torchrun", "--nproc_per_node", _, "-m", "ood_core", *rest]:
            parse(main, rest)
        case ["python", "-m", "ood_core", *rest]:
            request.getfixturevalue("runs")
            done = CliRunner().invoke(main, rest)
            assert done.exit_code == 0, done.output
            assert done.stdout
        case ["python", "scripts/paper_scale.py", *rest]:  # tests/test_paper_scale.py runs a line
            assert runpy.run_path(str(ROOT / "scripts" / "paper_scale.py"))["arguments"](rest).scale in SCALES
        case ["papermill", "--help-notebook", notebook]:
            assert set(papermill.inspect_notebook(str(ROOT / notebook))) == {"scale", "seeds", "device"}
        case ["papermill", notebook, _, *rest] if any(dear in command for dear in TOO_DEAR):
            given = {name for flag, name in itertools.pairwise(rest) if flag == "-p"}
            assert given <= set(papermill.inspect_notebook(str(ROOT / notebook)))
        case ["papermill", notebook, _, *rest]:
            request.getfixturevalue("runs")
            run(sys.executable, "-m", "papermill", notebook, tmp_path / "out.ipynb", *rest, "--no-progress-bar")
        case ["jupyter-book", "build", "book/"]:
            assert (request.getfixturevalue("site") / "index.html").is_file()
        case ["source", script]:
            assert script == ".venv/bin/activate", "where the Makefile puts it"
        case ["python3", "-m", "venv", folder]:
            assert folder == ".venv"
        case [".venv/bin/pip", "install", *rest]:
            pins = (ROOT / "requirements.lock").read_text(encoding="utf-8").splitlines()
            assert {word for word in rest if "==" in word} == {pin for pin in pins if pin.startswith("torch")}
        case _:
            pytest.fail(f"{page} shows a command that no test knows: {command}")


def parse(command: click.Command, words: list[str]) -> None:
    """Let click check names, options and values, and run nothing."""
    context = command.make_context(command.name, list(words), resilient_parsing=False)
    if isinstance(command, click.Group):
        _, inner, rest = command.resolve_command(context, [*context._protected_args, *context.args])
        assert inner is not None
        parse(inner, rest)


def test_the_first_screen_shows_both_commands() -> None:
    first_screen = "\n".join((ROOT / "README.md").read_text(encoding="utf-8").splitlines()[:25])
    assert re.search(r"^make book\b", first_screen, re.M)
    assert re.search(r"^make test\b", first_screen, re.M)


def test_continuous_integration_runs_the_same_tests() -> None:
    script = ROOT / ".ci" / "run"
    assert script.stat().st_mode & 0o111
    lines = script.read_text(encoding="utf-8").splitlines()
    assert "make test" in lines
    assert "export CI=true" in lines, "without it, a missing browser would only be a skip"


@pytest.mark.parametrize("target", ["book", "test"])
def test_an_old_python_is_refused_in_words(target: str, tmp_path: Path) -> None:
    for name in ("Makefile", "requirements.lock", "pyproject.toml"):
        (tmp_path / name).write_bytes((ROOT / name).read_bytes())
    old = tmp_path / "python-old"
    old.write_text('#!/bin/sh\n[ "$1" = --version ] && echo Python 3.9.2\nexit 1\n')
    old.chmod(0o755)
    for python, word in ((old, "Python 3.9.2, and Python 3.11 or newer is needed"), ("no-such", "was not found")):
        command = ["make", "-C", str(tmp_path), target, f"PYTHON={python}"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode != 0
        assert word in done.stdout + done.stderr
        assert not (tmp_path / ".venv").exists()
