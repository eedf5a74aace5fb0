"""What the benchmarks share: a process for each contender, and where and when something was measured."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import subprocess
import sys
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parent.parent / "book" / "reference"


class WorkError(RuntimeError):
    """A contender could not do a work: what it said, or that its process has ended."""


class Contender:
    """One process that runs its form of each work when told to.

    Args:
        command: a script with its arguments, which answers each line of JSON on its input with one on its output.
        threads: of OpenMP, set before anything is imported.
    """

    def __init__(self, command: Iterable[str | Path], threads: int) -> None:
        environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "PYTHONWARNINGS": "ignore"}
        self.process = subprocess.Popen(  # noqa: S603
            [sys.executable, *command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )
        self.works: list[str] = []

    def ask(self, order: Any) -> Any:
        """The answer to an order; with None, what the process says first.

        Raises:
            WorkError: the order raised there, and the process lives on; or it has ended.
        """
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        try:
            if order is not None:
                self.process.stdin.write(json.dumps(order) + "\n")
                self.process.stdin.flush()
            line = self.process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            raise WorkError(f"its process ended with code {self.process.wait()}")
        answer = json.loads(line)
        if "error" in answer:
            raise WorkError(answer["error"])
        return answer["answer"]

    def end(self) -> None:
        """Let it go, and wait until it has gone."""
        for pipe in (self.process.stdin, self.process.stdout):
            assert pipe is not None
            with contextlib.suppress(BrokenPipeError):  # it has ended with an order unread
                pipe.close()
        self.process.wait()


def serve(
    name: str,
    make: Callable[[], dict[str, Any]],
    prepare: Callable[[str, Any], Any],
    run: Callable[[Any], Any],
    drop: Callable[[], None] = lambda: None,
) -> None:
    """Be a contender: answer orders on standard input, to prepare a work, run it, or drop it.

    Args:
        make: the contender's works by name, each a call that gets ready and gives what is run.
        prepare: given a work's name and what is run; loads and plans what is loaded and planned once.
        run: one round; what it gives is the answer. What it raises is answered too, and the process goes on.
        drop: called once a work is gone.
    """
    out, sys.stdout = sys.stdout, sys.stderr  # what libraries print is no answer
    try:
        mine = make()
    except ImportError as error:
        print(f"{name} is left out: {error}", file=sys.stderr)
        mine = {}
    print(json.dumps({"answer": list(mine)}), file=out, flush=True)
    ready: Any = None
    for line in sys.stdin:
        order, work = json.loads(line)
        answer: Any = None
        try:
            if order == "prepare":
                ready = mine[work]()
                answer = prepare(work, ready)
            elif order == "run":
                answer = run(ready)
            else:
                ready = None
                drop()
        except Exception as error:  # one work less, and the others go on
            ready = None
            told = " ".join(str(error).split())[:200]
            print(json.dumps({"error": f"{type(error).__name__}: {told}"}), file=out, flush=True)
        else:
            print(json.dumps({"answer": answer}), file=out, flush=True)


class Measured:
    """One work of all contenders, in rounds, without those that fail at it.

    Args:
        contenders: by name; all of them have said which works they take part in.
        rounds: each runs the work once in all of them, one after the other.
    Attributes:
        prepared: by contender, the answer to being prepared.
        seen: by contender, the answers of its rounds.
        failed: by contender, what went wrong; it has no answers.
    """

    def __init__(self, work: str, contenders: dict[str, Contender], rounds: int) -> None:
        self.prepared: dict[str, Any] = {}
        self.seen: dict[str, list[Any]] = {}
        self.failed: dict[str, str] = {}
        taking = {name: c for name, c in contenders.items() if work in c.works} if rounds else {}
        for name, contender in taking.items():
            if (answer := self._ask(name, contender, ["prepare", work])) is not None:
                self.prepared[name], self.seen[name] = answer[0], []
        for _ in range(rounds):
            for name in [*self.seen]:
                if (answer := self._ask(name, taking[name], ["run", work])) is not None:
                    self.seen[name].append(answer[0])
        for name in [*self.seen]:
            with contextlib.suppress(WorkError):  # what it measured stands
                taking[name].ask(["drop", work])

    def _ask(self, name: str, contender: Contender, order: list[str]) -> tuple[Any] | None:
        """The answer, or None where the contender failed."""
        try:
            return (contender.ask(order),)
        except WorkError as error:
            self.failed[name] = str(error)
            self.seen.pop(name, None)
            print(f"{order[1]}: {name} failed to {order[0]}: {error}", file=sys.stderr, flush=True)
            return None


def started(contenders: dict[str, Contender]) -> None:
    """Wait until each has said which works it takes part in; one that could not start takes part in none."""
    for name, contender in contenders.items():  # all of them are starting
        try:
            contender.works = contender.ask(None)
        except WorkError as error:
            print(f"{name} is left out: {error}", file=sys.stderr, flush=True)


def default_out(work: str, start: dict[str, Any]) -> Path:
    """Where a measurement is written unless it is told."""
    from ood_core.reference import speed  # here, since contenders start from this module too

    return FOLDER / speed.file_name(work, start)


def write(path: Path, result: dict[str, Any]) -> None:
    """A file that is whole whenever it is there: beside first, then renamed."""
    beside = path.with_name(f".{path.name}.writing")
    beside.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    beside.replace(path)


def _git(*arguments: str) -> str:
    command = ["git", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=Path(__file__).parent)  # noqa: S603
    return done.stdout.strip()


def provenance(packages: Iterable[str]) -> dict[str, Any]:
    """Where and when, at which commit ("+" where files were changed after it) and with which versions."""
    model = platform.processor()
    with contextlib.suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), model)
    versions = {"python": platform.python_version()}
    for name in packages:
        with contextlib.suppress(metadata.PackageNotFoundError):
            versions[name] = metadata.version(name)
    commit = _git("rev-parse", "--short=12", "HEAD") or "unknown"
    # What another benchmark has written a minute ago is no change of what is measured.
    changed = _git("status", "--porcelain", "--", ":/", ":(top,exclude)book/reference/*.json")
    return {
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": commit + "+" * bool(changed),
        "processor": model,
        "cores": os.cpu_count(),
        "load": [round(x, 2) for x in os.getloadavg()],
        "versions": versions,
    }
