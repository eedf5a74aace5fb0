"""What the benchmarks share: a process for each contender, and where and when something was measured."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import subprocess
import sys
from collections.abc import Iterable
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
