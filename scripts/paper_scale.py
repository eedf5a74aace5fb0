"""The runs at scale `paper`, in the order in which they say most: stored, measured and recorded line by line.

    python scripts/paper_scale.py                            # the lines, and how many of their runs are stored
    python scripts/paper_scale.py base --minutes 9           # on a GPU; ends in time, the same command goes on
    python scripts/paper_scale.py base --pack base.tar.gz    # what a machine that goes back has to leave behind
    python scripts/paper_scale.py base --scale tiny --device cpu      # a rehearsal: the same recipes on digits

A line is a list of groups of recipes with a number of seeds; all pages that have a recipe measure its runs. Seed 0 of a
group comes first, then seed 1: what is cut short leaves whole pairs. Runs are recorded in book/results/SCALE.
"""

from __future__ import annotations

import argparse
import sys
import tarfile
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from ood_core import recipes, recorded, study
from ood_core.train import InterruptedTraining

LABELINGS = ("labels-true", "labels-instance", "labels-augmented", "labels-random", "labels-constant")
ONE_CLASS = tuple(f"one-class-{number}" for number in range(10))
CONTRAST = ("ce", "supcon", "simclr")
ISOMAX = ("ce", "isomax", "isomax-plus")
LINES: dict[str, tuple[tuple[tuple[str, ...], int], ...]] = {
    "base": ((("ce", "l2"), 5),),
    "ddu": ((("ce-ddu", "l2-ddu"), 5),),
    "isomax": (
        (("isomax", "isomax-plus", "dismax", "dismax-composite"), 5),
        (("isomax-s1", "isomax-s3", "isomax-s5", "isomax-s20", "isomax-s30", "isomax-normal"), 2),
    ),
    "long": ((("ce-long", "l2-long"), 3),),
    "contrastive": ((("supcon", "simclr"), 3),),
    "nan": (
        (LABELINGS, 3),
        (("mlp", "mlp-gelu", "ce-no-decay", "width-quarter", "width-half", "width-double"), 3),
        (ONE_CLASS, 1),
        (("ce-half", "isomax-half", "ce-few", "isomax-few"), 3),
    ),
    "ablation": (
        (("ce-mod", "l2-mod", "ce-sn", "l2-sn", "nc"), 3),
        (("ce-deep", "l2-deep"), 1),
        (("ce-vgg", "l2-vgg"), 3),
    ),
    "published": ((("ce-published", "isomax-published", "isomax-plus-published"), 1), (("dismax-published",), 1)),
    "second": ((("ce-second", "supcon-second", "simclr-second"), 1),),
    "resnet50": ((("ce-resnet50", "supcon-resnet50", "simclr-resnet50"), 3),),
    # needs the training images of CIFAR-100
    "cifar100": (
        (tuple(f"{name}-c100{network}" for network in ("", "-second") for name in CONTRAST), 3),
        (tuple(f"{name}-published-cifar100" for name in (*ISOMAX, "dismax")), 1),
    ),
    # the other cells of the published tables; needs the training images of CIFAR-100 and of SVHN
    "tables": (
        (tuple(f"{name}-densenet{on}" for on in ("", "-cifar100", "-svhn") for name in ISOMAX), 1),
        (tuple(f"{name}-resnet110{on}" for on in ("", "-cifar100", "-svhn") for name in ISOMAX), 1),
        (tuple(f"{name}-wide{on}" for on in ("", "-cifar100") for name in ("ce", "isomax-plus", "dismax")), 1),
        (("ce-published-svhn", "isomax-published-svhn", "dismax-densenet", "dismax-densenet-cifar100"), 1),
    ),
}


def asked(scale: str, names: tuple[str, ...]) -> dict[str, list[str]]:
    """Those of the recipes that each page has at a scale: a rehearsal lacks the published ones."""
    pages = [page for page in recipes.pages() if scale in recipes.page(page).scales]
    found = {page: [name for name in names if name in recipes.load(page, scale)] for page in pages}
    return {page: own for page, own in found.items() if own}


def run_line(line: str, scale: str, device: str, compiled: bool, stop: Callable[[], bool]) -> None:
    """Train, measure and record the runs of a line, seed by seed.

    Raises:
        InterruptedTraining: `stop` said so.
    """
    done: set[str] = set()  # a run that pages share is recorded once
    for names, seeds in LINES[line]:
        own = asked(scale, names)
        common = {"scale": scale, "device": device, "compiled": compiled}
        for count in range(1, seeds + 1) if own else ():
            began = time.perf_counter()
            wanted = [study.Request.check(page=page, seeds=count, **common) for page in own]
            study.run_or_load_all(wanted, only={name for found in own.values() for name in found}, stop=stop)
            for page, found in own.items():
                done |= {run.key for run in study.record(page, scale, count, found, known=done)}
            spent = time.perf_counter() - began
            print(f"{line}: {', '.join(names)}, seed {count - 1} of {seeds}, {spent:.0f} s", flush=True)


def outlook(line: str, scale: str) -> str:
    """How many runs a line has, how many of them are stored, and the minutes that the others are expected to take."""
    runs = {
        item.key: item
        for names, seeds in LINES[line]
        for page, own in asked(scale, names).items()
        for item in study.plan(page, scale, seeds, only=own)
    }
    left = [item for item in runs.values() if item.state != "stored"]
    minutes = sum(item.recipe.minutes for item in left)
    return f"{line:12} {len(runs):3} runs, {len(runs) - len(left):3} stored, about {minutes:.0f} minutes left"


def arguments(words: list[str] | None = None) -> argparse.Namespace:
    """What the command line says, by default this process's own."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("lines", nargs="*", metavar="LINE", help=", ".join(LINES))
    parser.add_argument("--scale", choices=recipes.SCALES, default="paper", help="default: paper")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto", help="default: auto")
    parser.add_argument("--compile", action="store_true", help="train through torch.compile")
    parser.add_argument("--minutes", type=float, help="end after the epoch in which these have passed")
    parser.add_argument("--pack", type=Path, help="put what is recorded at this scale into a .tar.gz")
    given = parser.parse_args(words)
    unknown = [line for line in given.lines if line not in LINES]
    if unknown:
        parser.error(f"there is no line {unknown[0]!r}, expected some of: {', '.join(LINES)}")
    return given


def main() -> int:
    given = arguments()
    study.setup()
    end = time.perf_counter() + 60 * given.minutes if given.minutes else float("inf")
    cut = False
    try:
        for line in given.lines:
            run_line(line, given.scale, given.device, given.compile, lambda: time.perf_counter() > end)
    except InterruptedTraining as told:
        print(f"{told}: run the same command again to go on")
        cut = True
    if given.pack:
        with tarfile.open(given.pack, "w:gz") as pack:
            pack.add(recorded.folder(given.scale), f"book/results/{given.scale}")
    if not given.lines and not given.pack:
        print("\n".join(outlook(line, given.scale) for line in LINES))
    return 3 if cut else 0


if __name__ == "__main__":
    sys.exit(main())
