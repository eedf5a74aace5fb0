"""One run: planned, trained or measured as far as it is missing, and stored with its provenance."""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from . import data, parallel, provenance, train
from .measure import COLUMNS, SLOT, Job, Passed, Seen, Sets, jobs, ood_sets, rows
from .networks import network
from .recipes import Recipe
from .recorded import RESTORED
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
            # before the hours: what fails here costs nothing
            info = provenance.training(key, planned.recipe, seed, digests, device)
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
            info |= provenance.spent(trained, info["hardware"])
            if stored is not None and RESTORED in stored.info:
                info[RESTORED] = True  # scores that are not made again stay
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
            info["measured"] = [*info.get("measured", ()), provenance.measuring(frame, started, device, late)]
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


def _merged(old: pd.DataFrame, new: pd.DataFrame) -> pd.DataFrame:
    """Old rows without those that new ones replace, then the new ones."""
    if new.empty:  # its columns have no types, which those of both would then take
        return old
    replaced = pd.MultiIndex.from_frame(old[SLOT]).isin(pd.MultiIndex.from_frame(new[SLOT]))
    return pd.concat([old[~replaced], new], ignore_index=True)
