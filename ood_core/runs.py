"""One run: planned, trained or measured as far as it is missing, and stored with its provenance."""

from __future__ import annotations

import ctypes
import os
import platform
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import lru_cache
from importlib import metadata
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from . import bfloat16, data, parallel, paths, recipes, train
from .checks import InputError
from .measure import COLUMNS, SLOT, Job, Passed, Seen, Sets, jobs, ood_sets, rows
from .networks import network
from .recipes import Recipe
from .store import Run, Store

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of malloc.h

KEYED = [*COLUMNS, "key", "identity"]


def setup(threads: int = 1) -> None:
    """Set-up of a notebook or command: one thread, denormal numbers flushed to zero, freed memory kept.

    One thread because results are bit-equal for a given thread count only, and because two threads on a shared machine
    are slower as soon as one core is taken away. On a GPU convolutions are tried out, and the fastest kind is taken.
    """
    torch.set_num_threads(threads)
    torch.backends.cudnn.benchmark = True
    torch.set_flush_denormal(True)
    _keep_freed_memory()


def _keep_freed_memory() -> None:
    """Ask glibc not to hand large freed blocks back: each step would fetch them again, page by page.

    Measured on ResNet-8 of width 32, 32x32 pixels: 5 % less time in training at batches of 128, 40 % less in extraction
    at batches of 256. Nothing happens where the allocator is another one.
    """
    with suppress(OSError, AttributeError):
        libc = ctypes.CDLL("libc.so.6")
        libc.mallopt(M_MMAP_THRESHOLD, 2**30)
        libc.mallopt(M_TRIM_THRESHOLD, 2**31 - 1)


STATES = ("stored", "to measure", "to train")


@dataclass(frozen=True)
class Planned:
    """One run that a request needs, and whether the store has it: `stored`, `to measure` or `to train`.

    Attributes:
        recipes: who asks for it; they train alike, each measures what its page shows.
    """

    recipes: tuple[Recipe, ...]
    seed: int
    key: str
    state: str

    @property
    def recipe(self) -> Recipe:
        """The first of them, for what they have in common."""
        return self.recipes[0]


def merged(planned: Iterable[Planned]) -> list[Planned]:
    """Each run once, with everyone who asks for it."""
    found: dict[str, Planned] = {}
    for item in planned:
        known = found.setdefault(item.key, item)
        if known is not item:
            state = max(known.state, item.state, key=STATES.index)
            found[item.key] = replace(known, recipes=known.recipes + item.recipes, state=state)
    return list(found.values())


def train_key(recipe: Recipe, seed: int) -> str:
    """The key under which a run is stored and recorded; reads no image of a registered set."""
    return recipe.train_key(seed, data.digest(recipe.data.id_set, "train"))


def look_up(recipe: Recipe, seed: int, store: Store) -> Planned:
    """What a recipe and a seed need; reads no image of a registered set."""
    key = train_key(recipe, seed)
    run = store.get(key)
    return Planned((recipe,), seed, key, _state(run, None if run is None else run.rows(), recipe))


def _missing(run: Run, rows: pd.DataFrame, recipe: Recipe) -> dict[int, list[Job]]:
    """Measurements that are not stored or are of an older version, by epoch, where the weights of the epoch are."""
    have = set(rows["key"])
    known = {*run.early_epochs(), recipe.epochs}
    asked = {epoch: jobs(recipe, epoch) for epoch in recipe.recorded_epochs() if epoch in known}
    missing = {epoch: [job for job in found if job.key(run.key) not in have] for epoch, found in asked.items()}
    return {epoch: found for epoch, found in missing.items() if found}


def _state(run: Run | None, rows: pd.DataFrame | None, recipe: Recipe) -> str:
    """`to train` where there is no run, or where the recipe lists an epoch of which neither weights nor rows are kept.

    Where the weights of earlier epochs were too large to keep, a scorer or image set that arrives after training is
    measured on the trained network alone. `to measure` also where `run.json` lacks the digest of a set, as those of an
    older version may; if nothing else is missing, that alone is added.
    """
    if run is None or rows is None:
        return "to train"
    if not set(recipe.recorded_epochs()) <= {*rows["epoch"], *run.early_epochs()}:
        return "to train"
    told = {name for name, _ in ood_sets(recipe)} <= set(run.info["digests"])
    return "stored" if told and not _missing(run, rows, recipe) else "to measure"


def run(
    planned: Planned,
    store: Store,
    device: torch.device,
    on_epoch: Callable[[int, float], None] | None = None,
    stop: Callable[[], bool] = lambda: False,
    compiled: bool = False,
) -> Run:
    """The stored run with every row its recipes ask for, trained or measured as far as it is missing.

    Holds the run's lock: another process that asks for the same run waits, and then finds it.

    Args:
        on_epoch, stop, compiled: as in `train.fit`.
    """
    seed, key = planned.seed, planned.key
    with store.lock(key):
        stored = store.get(key)
        before = None if stored is None else stored.rows()
        state = max((_state(stored, before, recipe) for recipe in planned.recipes), key=STATES.index)
        if stored is not None and state == "stored":
            return stored
        recipe = _recording(planned.recipes)
        sets = [Sets.load(one, seed) for one in planned.recipes]
        digests = _digests(stored, sets)
        if stored is not None and before is not None and state == "to measure":
            weights, early, history = stored.weights(), stored.early_weights(), stored.history()
            todo = _todo(planned.recipes, lambda one: _missing(stored, before, one))
            late = sorted({*before["ood_set"]} & digests.keys() - stored.info["digests"].keys())
            info = {**stored.info, "digests": digests}
        else:
            kept, late = store.checkpoints(key), []
            info = _provenance(planned, digests, device)  # before the hours: what fails here costs nothing
            parallel.tell(key)
            trained = train.fit(
                recipe,
                seed,
                sets[0].train,
                device=device,
                checkpoints=kept,
                record=lambda net, epoch: kept.record(epoch, net.state_dict()),
                compiled=compiled,
                on_epoch=on_epoch,
                stop=stop,
            )
            weights, history = trained.network.state_dict(), pd.DataFrame(trained.history)
            early = {epoch: kept.recorded(epoch) for epoch in recipe.kept_epochs() if epoch < recipe.epochs}
            todo = _todo(planned.recipes, lambda one: {epoch: jobs(one, epoch) for epoch in one.recorded_epochs()})
            info |= _spent(trained, info["hardware"])
        started = time.perf_counter()
        net = network(recipe, sets[0].train, seed, device).eval()
        found: list[dict[str, Any]] = []
        scores = stored.scores() if stored is not None else {}
        with _whole_floats():
            for epoch, asked in todo.items():
                net.load_state_dict(weights if epoch == recipe.epochs else early[epoch])
                passed: Passed = {}
                for place, missing in asked:
                    seen = Seen(net, sets[place], planned.recipes[place], seed, epoch, passed)
                    found += rows(seen, missing, key)
                    scores |= seen.scores
            frame = pd.DataFrame(found, columns=KEYED)
            info["measured"] = [*info.get("measured", ()), _measuring(frame, started, device, late)]
        return store.put(info, frame if before is None else _merged(before, frame), history, scores, weights, early)


@contextmanager
def _whole_floats() -> Iterator[None]:
    """Within, a GPU's convolutions of float32 are that: by default they round their inputs to ten bits (TF32)."""
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32 = before


def _recording(asking: Sequence[Recipe]) -> Recipe:
    """The first recipe, with every epoch that one of them records."""
    first = asking[0]
    record = tuple(sorted({fraction for recipe in asking for fraction in recipe.evaluate.record}))
    return first.model_copy(update={"evaluate": first.evaluate.model_copy(update={"record": record})})


def _todo(
    asking: Sequence[Recipe], jobs_of: Callable[[Recipe], dict[int, list[Job]]]
) -> dict[int, list[tuple[int, list[Job]]]]:
    """By epoch, the jobs of each recipe, by its place, without those that an earlier one has."""
    found: dict[int, list[tuple[int, list[Job]]]] = {}
    known: set[Job] = set()
    for place, recipe in enumerate(asking):
        for epoch, asked in jobs_of(recipe).items():
            new = [job for job in asked if job not in known]
            known.update(new)
            if new:
                found.setdefault(epoch, []).append((place, new))
    return dict(sorted(found.items()))


def train_along(
    planned: Sequence[Planned], store: Store, device: torch.device, stop: Callable[[], bool], compiled: bool
) -> None:
    """What the other processes of `torchrun` do: train with the first one, which alone writes, until it is done.

    Args:
        planned: every run that the first one may train; it says which.
        stop, compiled: as in `train.fit`.
    """
    known = {item.key: item for item in planned}
    while key := parallel.hear():
        recipe, seed = known[key].recipe, known[key].seed
        images, _ = data.training(recipe.data, seed)
        train.fit(recipe, seed, images, device=device, checkpoints=store.checkpoints(key), compiled=compiled, stop=stop)


def measured(recipe: Recipe, seed: int, key: str, weights: Mapping[str, Tensor], todo: list[Job]) -> pd.DataFrame:
    """Some of what a recipe measures at its last epoch, on given weights, as tidy rows."""
    sets = Sets.load(recipe, seed)
    net = network(recipe, sets.train, seed, torch.device("cpu")).eval()
    net.load_state_dict(weights)
    seen = Seen(net, sets, recipe, seed, recipe.epochs)
    return pd.DataFrame(rows(seen, todo, key), columns=KEYED)[[*COLUMNS]]


def _digests(stored: Run | None, sets: Iterable[Sets]) -> dict[str, str]:
    """Digests of all images that the rows of a run are of: those it has already, and those of every recipe that asks.

    A set that was measured before is here with the digest it has today. That is the one it had then: the keys of rows
    depend on it, and under another one they would be measured again.
    """
    known = {} if stored is None else stored.info["digests"]
    return known | {name: digest for one in sets for name, digest in one.digests.items()}


def _provenance(planned: Planned, digests: dict[str, str], device: torch.device) -> dict[str, Any]:
    """What `run.json` says beside the checksums of its files and what training took."""
    return {
        "key": planned.key,
        "recipe": planned.recipe.model_dump(mode="json"),
        "training": planned.recipe.training(),
        "seed": planned.seed,
        "digests": digests,
        "versions": {name: _version(name) for name in ("torch", "numpy", "scikit-learn")}
        | {"ood-core": own_version(), "python": platform.python_version()},
        "train_version": recipes.TRAIN_VERSION,
        "hardware": _hardware(device) | _products(planned.recipe, device),
        "commit": _commit(),
    }


def _products(recipe: Recipe, device: torch.device) -> dict[str, Any]:
    """How a processor multiplied bfloat16 in training, where it did."""
    if recipe.precision != "bfloat16" or device.type != "cpu":
        return {}
    return {"bfloat16": "native" if bfloat16.native() else "float32 kernels"}


def own_version() -> str:
    """The version of this package; `not installed` where it runs from a checkout alone."""
    return _version("ood-core")


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"


def _spent(trained: train.Trained, hardware: dict[str, Any]) -> dict[str, Any]:
    """When training ended and what it took; and that it was compiled, where some of it was."""
    seconds = {"train": trained.seconds, "train_cpu": trained.cpu_seconds}
    if trained.compile_seconds is not None:
        seconds, hardware = seconds | {"compile": trained.compile_seconds}, hardware | {"compiled": True}
    return {"created": _now(), "seconds": seconds, "hardware": hardware}


def _measuring(frame: pd.DataFrame, started: float, device: torch.device, late: Sequence[str]) -> dict[str, Any]:
    """What `run.json` says of one pass of measuring; a run that several pages share has several.

    Args:
        late: sets of which there were rows before this pass, and no digest.
    """
    return {
        **({"digests": list(late)} if late else {}),
        "at": _now(),
        "commit": _commit(),
        "hardware": _hardware(device),
        "numbers": len(frame),
        "seconds": time.perf_counter() - started,
        "torch": _version("torch"),
    }


def _merged(old: pd.DataFrame, new: pd.DataFrame) -> pd.DataFrame:
    """Old rows without those that new ones replace, then the new ones."""
    if new.empty:  # its columns have no types, which those of both would then take
        return old
    replaced = pd.MultiIndex.from_frame(old[SLOT]).isin(pd.MultiIndex.from_frame(new[SLOT]))
    return pd.concat([old[~replaced], new], ignore_index=True)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _hardware(device: torch.device) -> dict[str, Any]:
    on_gpu = device.type == "cuda"
    name = torch.cuda.get_device_name(device) if on_gpu else _processor()
    several: dict[str, Any] = {"processes": parallel.size()} if parallel.size() > 1 else {}
    if on_gpu:
        several["tf32"] = torch.backends.cudnn.allow_tf32  # in convolutions of float32
    return {
        "device": device.type,
        "name": name,
        "threads": torch.get_num_threads(),
        "system": platform.system(),
        **several,
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


@lru_cache
def _commit() -> str:
    """The checkout's commit, with `+` where it has uncommitted changes; outside git `$OOD_COMMIT`, or "unknown".

    Taken once, when this process first asks: what it has imported is of then.
    """
    try:
        command = ["git", "describe", "--always", "--abbrev=12", "--dirty=+", "--exclude=*"]
        done = subprocess.run(command, cwd=paths.repository(), capture_output=True, text=True, check=True)  # noqa: S603
        return done.stdout.strip()
    except (OSError, subprocess.CalledProcessError, InputError):
        return os.environ.get("OOD_COMMIT", "unknown")
