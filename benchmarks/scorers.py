"""Scorers and metrics beside pytorch-ood, scikit-learn and faiss, and beside what the machine can do at best.

    python benchmarks/scorers.py                    # everything: about five minutes on two quiet cores
    python benchmarks/scorers.py --size 0.02 --out /tmp/try.json     # a trial of the script, worth nothing as numbers

Each contender has a process of its own with the same threads; a round runs one work in all of them, one after the
other, so that whatever disturbs the machine disturbs all alike. Rounds are kept, and the page made of the file
(`ood_core.reference.speed_table`) prints medians of ratios within a round. Needs the extra `peers`; a contender that
is not installed is left out and named.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks import works

THREADS = (2, 1)
OUT = Path(__file__).resolve().parent.parent / "book" / "reference" / "speed.json"


class Contender:
    """One process that runs its form of each work when told to."""

    def __init__(self, name: str, threads: int, size: float) -> None:
        environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "PYTHONWARNINGS": "ignore"}
        command = [sys.executable, __file__, "--serve", name, "--threads", str(threads), "--size", str(size)]
        self.process = subprocess.Popen(  # noqa: S603
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )
        self.works: list[str] = []

    def ask(self, order: Any) -> Any:
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
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()


def serve(name: str, threads: int, size: float) -> None:
    """Answer orders on standard input: prepare a work, run it, drop it."""
    out, sys.stdout = sys.stdout, sys.stderr  # what libraries print is no answer
    try:
        mine = works.contender(name, threads, size)
    except ImportError as error:
        print(f"{name} is left out: {error}", file=sys.stderr)
        mine = {}
    print(json.dumps(list(mine)), file=out, flush=True)
    run = None
    for line in sys.stdin:
        order, work = json.loads(line)
        answer: Any = None
        if order == "prepare":
            run = mine[work]()
            if works.WORKS[work].get("warm", True):
                run()  # what is loaded, planned or allocated once
        elif order == "run":
            assert run is not None
            works.give_back()
            before = works.memory("VmRSS")
            works.reset_peak()
            wall, cpu = time.perf_counter(), time.process_time()
            run()
            answer = [time.perf_counter() - wall, time.process_time() - cpu, works.memory("VmHWM") - before]
        else:
            run = None
            works.give_back()
        print(json.dumps(answer), file=out, flush=True)


def measure(threads: int, size: float, rounds: dict[str, int]) -> list[dict[str, Any]]:
    """All works with all contenders at so many threads."""
    contenders = {name: Contender(name, threads, size) for name in works.CONTENDERS}
    for contender in contenders.values():  # all of them are starting
        contender.works = contender.ask(None)
    rows = []
    for work, about in works.WORKS.items():
        count = rounds[work]
        taking = {name: c for name, c in contenders.items() if work in c.works} if count else {}
        for contender in taking.values():
            contender.ask(["prepare", work])
        seen: dict[str, list[list[float]]] = {name: [] for name in taking}
        for _ in range(count):
            for name, contender in taking.items():
                seen[name].append(contender.ask(["run", work]))
        for name, contender in taking.items():
            contender.ask(["drop", work])
            wall, cpu, peak = zip(*seen[name], strict=True)
            rows.append(
                {
                    "work": work,
                    "about": about["about"] + (f"; ceiling: {about['ceiling']}" if name == "ceiling" else ""),
                    "contender": name,
                    "threads": threads,
                    "wall": [round(x, 6) for x in wall],
                    "cpu": [round(x, 6) for x in cpu],
                    "peak_mb": round(max(peak), 1),
                }
            )
            print(
                f"{threads} thr  {work:22} {name:14} {statistics.median(wall):9.4f} s  {max(peak):7.0f} MB", flush=True
            )
    for contender in contenders.values():
        contender.end()
    return rows


def provenance(size: float, seconds: float) -> dict[str, Any]:
    """Where and when, and with which versions."""
    model = platform.processor()
    with contextlib.suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), model)
    versions = {"python": platform.python_version()}
    for name in ("ood-core", "torch", "numpy", "scikit-learn", "pytorch-ood", "faiss-cpu"):
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
        "size": size,
        "seconds": round(seconds),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=OUT, help=f"file to write (default: {OUT})")
    parser.add_argument("--size", type=float, default=1.0, help="share of the rows, to try the script")
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    parser.add_argument("--threads", type=int, default=0, help="only so many threads (default: 2, then 1)")
    given = parser.parse_args()
    if given.serve:
        serve(given.serve, given.threads, given.size)
        return
    began = time.perf_counter()
    start = provenance(given.size, 0)  # the load before the benchmark is its own
    rows = []
    for threads in (given.threads,) if given.threads else THREADS:
        rows += measure(
            threads, given.size, {work: about["rounds"][threads > 1] for work, about in works.WORKS.items()}
        )
    targets = {work: about["targets"] for work, about in works.WORKS.items()}
    result = {**start, "seconds": round(time.perf_counter() - began), "targets": targets, "rows": rows}
    given.out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(f"{given.out} written after {result['seconds']} s")


if __name__ == "__main__":
    main()
