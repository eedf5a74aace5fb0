"""Scorers and metrics beside pytorch-ood, scikit-learn and faiss, and beside what the machine can do at best.

    python benchmarks/scorers.py                    # everything: about five minutes on two quiet cores
    python benchmarks/scorers.py --size 0.02 --out /tmp/try.json     # a trial of the script, worth nothing as numbers

Run it with nothing else on the machine, from a clean checkout: the file names the commit, and a test refuses one that
was written from changed files, on fewer rows or without a contender.

Each contender has a process of its own with the same threads; a round runs one work in all of them, one after the
other, so that whatever disturbs the machine disturbs all alike. Rounds are kept, and the page made of the files, one
for each processor (`ood_core.reference.speed_table`), prints medians of ratios within a round. Needs the extra `peers`;
a contender that is not installed is left out and named. The file is written after each work; a contender that fails at
one is named there with its error, and the others go on.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks import works
from benchmarks.processes import FOLDER, Contender, Measured, default_out, provenance, serve, started, write

THREADS = (2, 1)
PACKAGES = ("ood-core", "torch", "numpy", "scikit-learn", "pytorch-ood", "faiss-cpu")


def prepare(work: str, run: Any) -> None:
    """One run before the rounds, where a work is short enough."""
    if works.WORKS[work].get("warm", True):
        run()  # what is loaded, planned or allocated once


def timed(run: Any) -> list[float]:
    """Wall and processor seconds of one run, and MB of its peak above what was there before."""
    works.give_back()
    before = works.memory("VmRSS")
    works.reset_peak()
    wall, cpu = time.perf_counter(), time.process_time()
    run()
    return [time.perf_counter() - wall, time.process_time() - cpu, works.memory("VmHWM") - before]


def measure(threads: int, given: argparse.Namespace, result: dict[str, Any]) -> None:
    """All works with all contenders at so many threads; the file is written after each work."""
    began = time.perf_counter() - result["seconds"]
    contenders = {
        name: Contender([__file__, "--serve", name, "--threads", str(threads), "--size", str(given.size)], threads)
        for name in works.CONTENDERS
    }
    started(contenders)
    for work, about in works.WORKS.items():
        measured = Measured(work, contenders, about["rounds"][threads > 1])
        for name, answers in measured.seen.items():
            wall, cpu, peak = zip(*answers, strict=True)
            result["rows"].append(
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
        failed = [
            {"work": work, "contender": name, "threads": threads, "error": e} for name, e in measured.failed.items()
        ]
        result["failed"] += failed
        result["seconds"] = round(time.perf_counter() - began)
        write(given.out, result)
    for contender in contenders.values():
        contender.end()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help=f"file to write (default: speed-PROCESSOR.json in {FOLDER})")
    parser.add_argument("--size", type=float, default=1.0, help="share of the rows, 1 unless the script is tried")
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    parser.add_argument("--threads", type=int, default=0, help="at so many threads only (default: at 2, then at 1)")
    given = parser.parse_args()
    if given.serve:
        asked = (given.serve, given.threads, given.size)
        serve(given.serve, lambda: works.contender(*asked), prepare, timed, works.give_back)
        return
    targets = {work: about["targets"] for work, about in works.WORKS.items()}
    start = provenance(PACKAGES)  # the load before the benchmark is its own
    given.out = given.out or default_out("speed", start)
    result = {**start, "size": given.size, "seconds": 0, "targets": targets, "failed": [], "rows": []}
    for threads in (given.threads,) if given.threads else THREADS:
        measure(threads, given, result)
    print(f"{given.out} written after {result['seconds']} s")
    if result["failed"]:
        raise SystemExit(f"{len(result['failed'])} works failed; the file names them under `failed`")


if __name__ == "__main__":
    main()
