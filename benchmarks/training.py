"""Training beside a plain DataLoader loop, beside its own bare steps, and beside what the machine can do at best.

    python benchmarks/training.py                        # minutes on one quiet core
    python benchmarks/training.py --device cuda          # all cores for the DataLoader, whole epochs
    python benchmarks/training.py --nets digits --rounds 1 --out /tmp/try.json       # a trial of the script

Each contender has a process of its own with the same threads: one on a CPU, where that is steady on a shared machine,
all on a GPU. A round runs one work in all of them, one after the other, so that whatever disturbs the machine disturbs
all alike. Rounds are kept, and the page on speed prints medians of ratios within a round. The plain loop needs
torchvision; where that is not installed it is left out and named. The file is written after each work; a contender
that fails at one is named there with its error, and the others go on.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks import loops
from benchmarks.processes import FOLDER, Contender, Measured, default_out, provenance, serve, started, write

PACKAGES = ("ood-core", "torch", "torchvision", "numpy", "pillow")


def prepare(_work: str, run: Any) -> float:
    """One run before the rounds; the seconds of compiling in it."""
    loops.COMPILING.clear()
    run()  # what is loaded, planned or allocated once
    return sum(loops.COMPILING)


def measure(given: argparse.Namespace, threads: int, result: dict[str, Any], out: Path) -> None:
    """All works of all contenders, and the ceilings: rounds of seconds; the file is written after each work."""
    common = ["--device", given.device, "--size", str(given.size), "--workers", str(given.workers), "--nets"]
    contenders = {
        name: Contender([__file__, "--serve", name, *common, *given.nets], threads)
        for name in loops.CONTENDERS
        if name != "ours, compiled" or given.compile
    }
    began = time.perf_counter()
    started(contenders)
    for work in [*loops.CEILINGS, *(f"{net}: {work}" for net in given.nets for work in loops.TARGETS)]:
        measured = Measured(work, contenders, given.rounds)
        for name, rounds in measured.seen.items():
            wall, cpu = zip(*rounds, strict=True)
            print(f"{work:20} {name:14} {statistics.median(wall):9.4f} s", flush=True)
            if name == "ceiling":
                result["ceilings"][work] = loops.rates(given.device, work, list(wall))
                continue
            result["rows"].append(
                {
                    "work": work,
                    "contender": name,
                    "threads": threads,
                    "wall": [round(x, 6) for x in wall],
                    "cpu": [round(x, 6) for x in cpu],
                    "compile": round(measured.prepared[name], 3),
                }
            )
        result["failed"] += [{"work": work, "contender": n, "error": error} for n, error in measured.failed.items()]
        result["speed"] = loops.reached(given.device, result)
        result["seconds"] = round(time.perf_counter() - began)
        write(out, result)
    for contender in contenders.values():
        contender.end()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help=f"file to write (default: training-cpu-PROCESSOR.json in {FOLDER})")
    parser.add_argument("--nets", nargs="+", choices=list(loops.NETS), default=list(loops.NETS), help="default: all")
    parser.add_argument("--rounds", type=int, default=5, help="default: 5")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="default: cpu")
    parser.add_argument("--compile", action="store_true", help="with a compiled contender (always on a GPU)")
    parser.add_argument("--size", type=float, default=1.0, help="share of the images, to try the script")
    parser.add_argument("--workers", type=int, help="of the plain loop's DataLoader (default: 0; on a GPU up to 8)")
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    given = parser.parse_args()
    cores = os.cpu_count() or 1
    threads = cores if given.device == "cuda" else 1
    given.compile = given.compile or given.device == "cuda"
    if given.workers is None:
        given.workers = min(8, cores) if given.device == "cuda" else 0
    if given.serve:
        asked = (given.nets, given.device, threads, given.size, given.workers)
        serve(given.serve, lambda: loops.contender(given.serve, *asked), prepare, lambda run: run())
        return
    start = provenance(PACKAGES)  # the load before the benchmark is its own
    if given.device == "cuda":
        import torch

        start["device"] = torch.cuda.get_device_name()
    found = {net: loops.costs(net, given.device, given.size) for net in given.nets}
    result = {
        **start,
        "size": given.size,
        "rounds": given.rounds,
        "workers": given.workers,
        "seconds": 0,
        "contenders": loops.ABOUT,
        "ceilings": {},
        "costs": {f"{net}: {work}": cost for net, works in found.items() for work, cost in works.items()},
        "targets": {f"{net}: {work}": t for net in given.nets for work, t in loops.TARGETS.items()},
        "speed": [],
        "failed": [],
        "rows": [],
    }
    out = given.out or default_out(f"training-{given.device}", start)
    measure(given, threads, result, out)
    for reached in result["speed"]:
        print(
            f"{reached['epochs']} epochs of {reached['images']:,} images in {reached['work']}: {reached['seconds']} s, "
            f"expected at most {reached['within']}, aim {reached['aim']}"
        )
    print(f"{out} written after {result['seconds']} s")
    if result["failed"]:
        raise SystemExit(f"{len(result['failed'])} works failed; the file names them under `failed`")


if __name__ == "__main__":
    main()
