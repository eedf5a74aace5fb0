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
        """The answer to an order; with None, what the process says first."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        if order is not None:
            self.process.stdin.write(json.dumps(order) + "\n")
            self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"a contender ended with code {self.process.wait()} on {order}")
        return json.loads(line)

    def end(self) -> None:
        """Let it go, and wait until it has gone."""
        assert self.process.stdin is not None
        self.process.stdin.close()
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
        run: one round; what it gives is the answer.
        drop: called once a work is gone.
    """
    out, sys.stdout = sys.stdout, sys.stderr  # what libraries print is no answer
    try:
        mine = make()
    except ImportError as error:
        print(f"{name} is left out: {error}", file=sys.stderr)
        mine = {}
    print(json.dumps(list(mine)), file=out, flush=True)
    ready: Any = None
    for line in sys.stdin:
        order, work = json.loads(line)
        answer: Any = None
        if order == "prepare":
            ready = mine[work]()
            answer = prepare(work, ready)
        elif order == "run":
            answer = run(ready)
        else:
            ready = None
            drop()
        print(json.dumps(answer), file=out, flush=True)


def provenance(packages: Iterable[str]) -> dict[str, Any]:
    """Where and when, at which commit and with which versions."""
    model = platform.processor()
    with contextlib.suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), model)
    versions = {"python": platform.python_version()}
    for name in packages:
        with contextlib.suppress(metadata.PackageNotFoundError):
            versions[name] = metadata.version(name)
    git = ["git", "describe", "--always", "--abbrev=12", "--dirty=+", "--exclude=*"]
    done = subprocess.run(git, capture_output=True, text=True, check=False, cwd=Path(__file__).parent)  # noqa: S603
    return {
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": done.stdout.strip() or "unknown",
        "processor": model,
        "cores": os.cpu_count(),
        "load": [round(x, 2) for x in os.getloadavg()],
        "versions": versions,
    }
