"""From a page, a scale and a number of seeds to tidy rows: train what is missing, load what is there."""

from __future__ import annotations

import json
import platform
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from . import claims, data, paths, recipes, tables, train
from .checks import InputError
from .measure import COLUMNS, Job, Measurement, Sets, jobs, parse_score_name
from .networks import network
from .recipes import Recipe
from .store import Run, Store

PAPERS = ("l2-norm", "l2-collapse", "nan", "clusters", "isomax")
KEYED = [*COLUMNS, "key", "identity"]


class Request(BaseModel):
    """What a page or a command asks for, checked before anything runs."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    page: str
    scale: recipes.Scale = "tiny"
    seeds: int = Field(5, ge=1, le=1000)
    device: Literal["auto", "cpu", "cuda"] = "auto"

    @classmethod
    def check(cls, **values: Any) -> Request:
        """Raises `InputError` with what was got and what is allowed."""
        try:
            request = cls(**values)
        except ValidationError as error:
            lines = [f"{e['loc'][0]} is {e['input']!r}: {e['msg'][0].lower()}{e['msg'][1:]}" for e in error.errors()]
            raise InputError("\n".join(lines) + "\nExpected for example: scale tiny, seeds 5, device auto.") from None
        recipes.load(request.page, request.scale)
        if request.device == "cuda" and not torch.cuda.is_available():
            raise InputError("device is 'cuda', but torch sees no GPU here.\nUse device auto or cpu.")
        return request

    @property
    def torch_device(self) -> torch.device:
        if self.device == "auto":
            return torch.device("cuda" if torch.cuda.is_available() else "cpu")
        return torch.device(self.device)


@dataclass(frozen=True)
class Planned:
    """One run that a request needs, and whether the store has it: `stored`, `to measure` or `to train`."""

    recipe: Recipe
    seed: int
    key: str
    state: str


@dataclass(frozen=True)
class Results:
    """What a page shows.

    Attributes:
        request: page, scale, seeds, device.
        rows: tidy rows of this page's recipes, `recipe` first.
        stored: the runs behind them, by (recipe, seed).
        fresh: those of them that were trained or measured by this call.
    """

    request: Request
    rows: pd.DataFrame
    stored: dict[tuple[str, int], Run]
    fresh: frozenset[tuple[str, int]]

    def scores(self, recipe: str, seed: int = 0) -> dict[tuple[str, str, str, str], NDArray[np.float64]]:
        """Scores of one run by (scorer, layer, params, set); the set is "" for ID test images."""
        if (recipe, seed) not in self.stored:
            have = ", ".join(f"{r}/{s}" for r, s in self.stored)
            raise InputError(f"there is no run {recipe}/{seed}, expected one of: {have}.\nPick one of these.")
        return {parse_score_name(name): values for name, values in self.stored[recipe, seed].scores().items()}

    @property
    def final(self) -> pd.DataFrame:
        """The rows of each recipe's last epoch."""
        return self.rows[self.rows["epoch"] == self.rows.groupby("recipe")["epoch"].transform("max")]

    @property
    def history(self) -> pd.DataFrame:
        """recipe, seed, epoch, loss, accuracy, lr of every epoch."""
        frames = [run.history().assign(recipe=r, seed=s) for (r, s), run in self.stored.items()]
        return pd.concat(frames, ignore_index=True)

    @property
    def runs(self) -> pd.DataFrame:
        """Provenance: one row a run."""
        return pd.DataFrame(
            {
                "recipe": recipe,
                "seed": seed,
                "run": run.key,
                "seconds": run.info["seconds"]["train"],
                "hardware": run.info["hardware"]["name"],
                "threads": run.info["hardware"]["threads"],
                "torch": run.info["versions"]["torch"],
                "ood_core": run.info["versions"]["ood-core"],
                "commit": run.info["commit"],
                "created": run.info["created"],
                "loaded": (recipe, seed) not in self.fresh,
            }
            for (recipe, seed), run in self.stored.items()
        )


def setup() -> None:
    """Set-up of a notebook or command: one thread, and denormal numbers flushed to zero.

    One thread because results are bit-equal for a given thread count only, and because two threads on a shared machine
    are slower as soon as one core is taken away.
    """
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)


def plan(page: str, scale: str = "tiny", seeds: int = 5, store: Store | None = None) -> list[Planned]:
    """What `run_or_load` would do, without doing it; reads no image of a registered set."""
    request = Request.check(page=page, scale=scale, seeds=seeds)
    store = store or Store()
    found = []
    for recipe in recipes.load(page, request.scale).values():
        for seed in range(request.seeds):
            key = recipe.train_key(seed, data.digest(recipe.data.id_set, "train"))
            run = store.get(key)
            found.append(Planned(recipe, seed, key, _state(run, recipe, key)))
    return found


def run_or_load(
    page: str,
    *,
    scale: str = "tiny",
    seeds: int = 5,
    device: str = "auto",
    store: Store | None = None,
    watch: Callable[[Planned], Callable[[int, float], None] | None] = lambda _: None,
    stop: Callable[[], bool] = lambda: False,
) -> Results:
    """Every recipe of a page at one scale, with seeds 0..seeds-1: stored runs are loaded, missing ones trained.

    Args:
        page: a page with recipes, see `recipes.pages()`.
        scale: `tiny`, `small` or `paper`.
        seeds: how many, at least 1.
        device: `auto`, `cpu` or `cuda`.
        store: where runs live; by default `$OOD_RUNS` or `runs/` at the repository root.
        watch: called with each run before it starts; what it returns is told each epoch and its loss.
        stop: asked after each epoch; see `train.fit`.
    Raises:
        InputError: an unknown page, scale or device, fewer than one seed, missing image sets, a full disk.
        ArtifactError: a stored run is damaged; the message names the file and says what to delete.
        TrainingError: a loss went to NaN.
    """
    request = Request.check(page=page, scale=scale, seeds=seeds, device=device)
    store = store or Store()
    frames, stored, fresh = [], {}, set()
    for planned in plan(page, request.scale, request.seeds, store):
        recipe, seed = planned.recipe, planned.seed
        run, new = _one(planned, store, request.torch_device, watch(planned), stop)
        stored[recipe.id, seed] = run
        if new:
            fresh.add((recipe.id, seed))
        wanted = {job.key(run.key) for job in _all_jobs(recipe)}
        rows = run.rows()
        frames.append(rows[rows["key"].isin(wanted)].assign(recipe=recipe.id)[["recipe", *COLUMNS]])
    return Results(request, pd.concat(frames, ignore_index=True), stored, frozenset(fresh))


def _all_jobs(recipe: Recipe) -> list[Job]:
    return [job for epoch in recipe.recorded_epochs() for job in jobs(recipe, epoch)]


def _missing(run: Run, recipe: Recipe, key: str) -> list[Job]:
    """Measurements of the trained network that are not stored, or are of an older version."""
    have = set(run.rows()["key"])
    return [job for job in jobs(recipe, recipe.epochs) if job.key(key) not in have]


def _state(run: Run | None, recipe: Recipe, key: str) -> str:
    """`to train` where there is no run, or where the recipe lists an epoch at which nothing was recorded.

    A scorer or an image set that arrives after training is measured on the trained network alone: no earlier epoch can
    be had without training again, and that is not done for it.
    """
    if run is None or not set(recipe.recorded_epochs()) <= set(run.rows()["epoch"]):
        return "to train"
    return "to measure" if _missing(run, recipe, key) else "stored"


def _one(
    planned: Planned,
    store: Store,
    device: torch.device,
    on_epoch: Callable[[int, float], None] | None,
    stop: Callable[[], bool],
) -> tuple[Run, bool]:
    """The stored run with every row the recipe asks for, and whether anything was done for it."""
    recipe, seed, key = planned.recipe, planned.seed, planned.key
    with store.lock(key):
        run = store.get(key)
        state = _state(run, recipe, key)
        if run is not None and state == "stored":
            return run, False
        sets = Sets.load(recipe)
        started = time.perf_counter()
        if run is not None and state == "to measure":
            net = network(recipe, sets.train, seed, device)
            net.load_state_dict(run.weights())
            final = Measurement(net.eval(), sets, recipe, seed, key)
            rows = pd.DataFrame(final.run(_missing(run, recipe, key)), columns=KEYED)
            info = {**run.info, "updated": _now()}
            scores = {**run.scores(), **final.scores}
            info["seconds"] = {**info["seconds"], "measure": time.perf_counter() - started}
            return store.put(info, _merged(run.rows(), rows), run.history(), scores, run.weights()), True

        measurements: dict[int, Measurement] = {}

        def record(net: Any, epoch: int) -> list[dict[str, Any]]:
            measurements[epoch] = Measurement(net, sets, recipe, seed, key)
            return measurements[epoch].run(jobs(recipe, epoch))

        trained = train.fit(
            recipe,
            seed,
            sets.train,
            device=device,
            checkpoints=store.checkpoints(key),
            record=record,
            on_epoch=on_epoch,
            stop=stop,
        )
        rows = pd.DataFrame(trained.recorded, columns=KEYED)
        scores = measurements[recipe.epochs].scores
        if run is not None:
            rows, scores = _merged(run.rows(), rows), {**run.scores(), **scores}
        total = time.perf_counter() - started
        info = {
            "key": key,
            "recipe": recipe.model_dump(mode="json"),
            "training": recipe.training(),
            "seed": seed,
            "digests": {"train": sets.train.digest, "test": sets.test.digest}
            | {name: images.digest for name, images in sets.ood.items()},
            "versions": {name: metadata.version(name) for name in ("torch", "numpy", "scikit-learn")}
            | {"ood-core": metadata.version("ood-core"), "python": platform.python_version()},
            "train_version": recipes.TRAIN_VERSION,
            "hardware": _hardware(device),
            "commit": _commit(),
            "created": _now(),
            "seconds": {"train": trained.seconds, "train_cpu": trained.cpu_seconds, "measure": total - trained.seconds},
        }
        return store.put(info, rows, pd.DataFrame(trained.history), scores, trained.network.state_dict()), True


def _merged(old: pd.DataFrame, new: pd.DataFrame) -> pd.DataFrame:
    """Old rows without those that new ones replace, then the new ones."""
    return pd.concat([old[~old["identity"].isin(set(new["identity"]))], new], ignore_index=True)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _hardware(device: torch.device) -> dict[str, Any]:
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else _processor()
    return {"device": device.type, "name": name, "threads": torch.get_num_threads(), "system": platform.system()}


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def _commit() -> str:
    """The checkout's commit, with `+` where it has uncommitted changes; "unknown" outside git."""
    try:
        command = ["git", "describe", "--always", "--abbrev=12", "--dirty=+", "--exclude=*"]
        done = subprocess.run(command, cwd=paths.repository(), capture_output=True, text=True, check=True)  # noqa: S603
        return done.stdout.strip()
    except (OSError, subprocess.CalledProcessError, InputError):
        return "unknown"


def recorded_rows(page: str, scale: str) -> pd.DataFrame | None:
    """Rows of recorded runs in `book/results/<scale>/<page>.csv`, or None where nothing was recorded."""
    path = paths.repository() / "book" / "results" / scale / f"{page}.csv"
    if not path.is_file():
        return None
    return pd.read_csv(path, keep_default_na=False, float_precision="round_trip")


def verdicts(page: str, results: Results | None = None) -> dict[str, list[claims.Verdict] | None]:
    """Verdicts of a page by scale: `results` live at its own scale, recorded rows at the others, None if not run."""
    asked = claims.load(page)
    found: dict[str, list[claims.Verdict] | None] = {}
    for scale in recipes.SCALES:
        live = results is not None and results.request.scale == scale
        rows = results.rows if live and results is not None else recorded_rows(page, scale)
        found[scale] = None if rows is None else claims.judge(asked, rows)
    return found


def scoreboard() -> tables.Html:
    """All five papers with their verdicts by scale: live at `tiny`, recorded at the others, "not run" where neither.

    A page without recipes has not been run at any scale.
    """
    found = {}
    for page in PAPERS:
        live = None
        if page in recipes.pages() and "tiny" in recipes.page(page).scales:
            live = run_or_load(page, scale="tiny", seeds=recipes.page(page).seeds["tiny"])
        found[page] = verdicts(page, live)
    written = paths.repository() / "book" / "papers"
    links = {page: f"papers/{page}.html" for page in PAPERS if (written / f"{page}.ipynb").is_file()}
    return tables.scoreboard(found, {page: claims.page(page) for page in PAPERS}, links)


def export(page: str, scale: str, seeds: int, folder: Path) -> None:
    """Write what a page shows to `folder`: rows.csv, claims.csv, provenance.json."""
    results = run_or_load(page, scale=scale, seeds=seeds)
    folder.mkdir(parents=True, exist_ok=True)
    results.rows.to_csv(folder / "rows.csv", index=False)
    claims.frame(claims.judge(claims.load(page), results.rows)).to_csv(folder / "claims.csv", index=False)
    info = {f"{recipe}/{seed}": run.info for (recipe, seed), run in results.stored.items()}
    (folder / "provenance.json").write_text(json.dumps(info, indent=1), encoding="utf-8")
