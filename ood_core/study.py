"""From a page, a scale and a number of seeds to tidy rows: train what is missing, load what is there."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from . import claims, data, parallel, paths, rankings, recipes, recorded, tables
from .checks import InputError, choice
from .comparison import final
from .measure import COLUMNS, Sets, detection, embedding, parse_score_name
from .measure import jobs as measurements
from .runs import Planned, look_up, merged, setup, train_along, train_key
from .store import Run, Store
from .tables.verdicts import PLURALS
from .workers import Progress, run_all

__all__ = [
    "Planned",
    "Progress",
    "Request",
    "Results",
    "export",
    "final",
    "merged",
    "plan",
    "record",
    "recorded_rows",
    "recorded_runs",
    "recorded_scores",
    "run_or_load",
    "run_or_load_all",
    "scoreboard",
    "setup",
    "status",
    "verdicts",
]

DEVICES = {"tiny": "two CPU cores", "small": "two CPU cores", "paper": "one GPU"}  # what a recipe's minutes are about
_DERIVED = {"clusters": rankings.derived}  # by page: rows that take several runs


class Request(BaseModel):
    """What a page or a command asks for, checked before anything runs."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    page: str
    scale: recipes.Scale = "tiny"
    seeds: int = Field(5, ge=1, le=1000)
    device: Literal["auto", "cpu", "cuda"] = "auto"
    jobs: int = Field(1, ge=1, le=256)
    compiled: bool = False

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
class Results:
    """What a page shows.

    Attributes:
        request: page, scale, seeds, device.
        asked: the page's recipes, by id.
        stored: their runs, by (recipe, seed).
        fresh: those of them that were trained or measured by this call.
    """

    request: Request
    asked: dict[str, recipes.Recipe]
    stored: dict[tuple[str, int], Run]
    fresh: frozenset[tuple[str, int]]

    @cached_property
    def rows(self) -> pd.DataFrame:
        """Tidy rows of this page's recipes, `recipe` first."""
        frames = []
        for (name, _), run in self.stored.items():
            recipe, rows = self.asked[name], run.rows()
            wanted = {job.key(run.key) for epoch in recipe.recorded_epochs() for job in measurements(recipe, epoch)}
            frames.append(rows[rows["key"].isin(wanted)].assign(recipe=name)[["recipe", *COLUMNS]])
        return _together(self.request.page, frames)

    def scores(self, recipe: str, seed: int = 0) -> dict[tuple[str, str, str, str], NDArray[np.float64]]:
        """Scores of one run by (scorer, layer, params, set); the set is "" for ID test images."""
        if (recipe, seed) not in self.stored:
            have = ", ".join(f"{r}/{s}" for r, s in self.stored)
            raise InputError(f"there is no run {recipe}/{seed}, expected one of: {have}.\nPick one of these.")
        return {parse_score_name(name): values for name, values in self.stored[recipe, seed].scores().items()}

    def plane(self, recipe: str, seed: int = 0) -> pd.DataFrame:
        """Some images of each set in the plane of two principal axes of unit ID test features: set, x, y, label.

        The set is "" for ID test images; labels of OOD images are -1. Needs the measure `embedding`.
        """
        scores = self.stored[recipe, seed].scores()
        sets = ["", *dict.fromkeys(self.rows.loc[self.rows["ood_set"] != "", "ood_set"])]
        frames = [
            pd.DataFrame({"set": name, "x": scores[x], "y": scores[embedding.stored("y", name)]}).assign(
                label=scores.get(embedding.stored("label", name), -1)
            )
            for name in sets
            if (x := embedding.stored("x", name)) in scores
        ]
        return pd.concat(frames, ignore_index=True).astype({"label": int})

    @property
    def blocks(self) -> pd.DataFrame:
        """AUROC by network and OOD set (rows) and combination (columns), means over seeds; see `rankings.blocks`."""
        return rankings.blocks(rankings.complete(self.rows)).dropna(axis=1)

    @property
    def ranks(self) -> rankings.Ranks:
        """The combinations of `blocks`, ranked in each."""
        return rankings.ranks(self.blocks)

    @property
    def chosen(self) -> pd.DataFrame:
        """Detectors chosen on validation OOD sets; see `rankings.chosen`."""
        return rankings.chosen(rankings.complete(self.rows))

    @property
    def final(self) -> pd.DataFrame:
        """The rows of each recipe's last epoch."""
        return final(self.rows)

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


def plan(
    page: str, scale: str = "tiny", seeds: int = 5, store: Store | None = None, only: Collection[str] = ()
) -> list[Planned]:
    """What `run_or_load` would do, without doing it; reads no image of a registered set."""
    request = Request.check(page=page, scale=scale, seeds=seeds)
    found = store or Store()
    wanted = recipes.load(page, request.scale)
    chosen = [choice("recipe", name, wanted) for name in only] or list(wanted)
    return [look_up(wanted[name], seed, found) for name in chosen for seed in range(request.seeds)]


def run_or_load(
    page: str,
    *,
    scale: str = "tiny",
    seeds: int = 5,
    device: str = "auto",
    jobs: int = 1,
    compiled: bool = False,
    only: Collection[str] = (),
    store: Store | None = None,
    progress: Progress | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> Results:
    """Every recipe of a page at one scale, with seeds 0..seeds-1: stored runs are loaded, missing ones trained.

    Seed 0 of every recipe comes first, then seed 1: what is cut short leaves whole pairs. Within `parallel.processes`,
    every process calls this alike, and all train each run together.

    Args:
        page: a page with recipes, see `recipes.pages()`.
        scale: `tiny`, `small` or `paper`.
        seeds: how many, at least 1.
        device: `auto`, `cpu` or `cuda`.
        jobs: processes to train in, each with one thread; the results do not depend on it.
        compiled: train through `torch.compile`; `run.json` says so, since the last digits differ.
        only: recipes to take, by id; all of the page's if left out.
        store: where runs live; by default `$OOD_RUNS` or `runs/` at the repository root.
        progress: told of every epoch and every run that is done.
        stop: asked after each epoch; see `train.fit`.
    Raises:
        InputError: an unknown page, scale, recipe or device, fewer than one seed or job, missing image sets, or a full
            disk.
        ArtifactError: a stored run is damaged; the message names the file and says what to delete.
        TrainingError: a loss went to NaN, or a process ended unexpectedly.
        InterruptedTraining: `stop` said so.
    """
    request = Request.check(page=page, scale=scale, seeds=seeds, device=device, jobs=jobs, compiled=compiled)
    return run_or_load_all([request], only=only, store=store, progress=progress, stop=stop)[page]


def run_or_load_all(
    requests: Sequence[Request],
    *,
    only: Collection[str] = (),
    unrecorded: bool = False,
    store: Store | None = None,
    progress: Progress | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> dict[str, Results]:
    """`run_or_load` of several pages, by page; a run that they share passes its images through the network once.

    Args:
        requests: at least one, alike in device, jobs and `compiled`.
        only: recipes to take, by id, from the pages that have them; a page without any is left out.
        unrecorded: leave out the runs whose results the repository has, but not the run.
        store, progress, stop: as in `run_or_load`.
    Raises:
        InputError: a recipe of `only` that no page has; and what `run_or_load` raises.
    """
    found, first = store or Store(), requests[0]
    have = {request.page: [*recipes.load(request.page, request.scale)] for request in requests}
    known = dict.fromkeys(name for names in have.values() for name in names)
    chosen = {choice("recipe", name, known) for name in only}
    planned = {}
    for request in requests:
        names = [name for name in have[request.page] if name in chosen]
        if names or not only:
            items = plan(request.page, request.scale, request.seeds, found, names)
            planned[request.page] = [i for i in items if not (unrecorded and to_train_again(i))]
    once = merged(item for items in planned.values() for item in items)
    todo = sorted((item for item in once if item.state != "stored"), key=lambda item: item.seed)
    data.present(place for item in todo for recipe in item.recipes for place in Sets.places(recipe))
    progress = progress or Progress()
    progress.begin(once)
    if parallel.rank() > 0:
        train_along(once, found, first.torch_device, stop, first.compiled)
    else:
        run_all(todo, found, first.torch_device, first.jobs, progress, stop, first.compiled)
        parallel.tell("")
    new = {item.key for item in todo}
    results = {}
    for request in (request for request in requests if request.page in planned):
        items, stored = planned[request.page], {}
        for item in items:
            run = found.get(item.key)
            assert run is not None
            stored[item.recipe.id, item.seed] = run
        fresh = frozenset((item.recipe.id, item.seed) for item in items if item.key in new)
        results[request.page] = Results(request, {item.recipe.id: item.recipe for item in items}, stored, fresh)
    return results


def to_train_again(planned: Planned) -> bool:
    """Whether a run has recorded results, and would be trained to have it here as well."""
    folder = recorded.folder(planned.recipe.scale) / planned.key
    return planned.state == "to train" and (folder / "run.json").is_file()


def recorded_rows(page: str, scale: str) -> pd.DataFrame | None:
    """Rows of a page's recorded runs at one scale, `recipe` first, or None where nothing was recorded."""
    frames = [
        recorded.split(run, recipe)[0].assign(recipe=recipe.id)[["recipe", *COLUMNS]]
        for recipe, run in recorded_runs(page, scale)
    ]
    return _together(page, frames) if frames else None


def _together(page: str, frames: list[pd.DataFrame]) -> pd.DataFrame:
    """Rows of single runs, then those that the page derives from several."""
    rows = pd.concat(frames, ignore_index=True)
    if page not in _DERIVED:
        return rows
    return pd.concat([rows, _DERIVED[page](rows)], ignore_index=True)


def recorded_runs(page: str, scale: str) -> list[tuple[recipes.Recipe, recorded.Recorded]]:
    """A page's recorded runs at one scale with their recipes, by recipe and seed; none where it has no such scale."""
    if page not in recipes.pages() or scale not in recipes.page(page).scales:
        return []
    digests = {run.key: run for run in recorded.every(scale)}
    found = []
    for recipe in recipes.load(page, scale).values():
        for seed in sorted({int(run.info["seed"]) for run in digests.values()}):
            run = digests.get(train_key(recipe, seed))
            if run is not None:
                found.append((recipe, run))
    return found


def recorded_scores(
    page: str, scale: str, recipe: str, seed: int = recorded.SCORED
) -> dict[tuple[str, str, str, str], NDArray[np.float64]] | None:
    """Scores of one recorded run in the form of `Results.scores`, or None where they are not recorded.

    Of seed 0 there are those of scorers that some page follows through training, most of them rounded to float32.
    """
    have = recipes.load(page, scale)
    run = recorded.get(scale, train_key(have[choice("recipe", recipe, have)], seed))
    scores = None if run is None else run.scores()
    return None if scores is None else {parse_score_name(name): values for name, values in scores.items()}


def record(
    page: str, scale: str, seeds: int, only: Collection[str] = (), known: Collection[str] = ()
) -> list[recorded.Recorded]:
    """Record those of a page's runs that are stored and whole, see `recorded`; the others are left out.

    Args:
        only: recipes to take, by id; all of the page's if left out.
        known: keys of runs to leave as they are, such as those that were recorded for another page just now.
    """
    found = Store()
    whole = [item for item in plan(page, scale, seeds, found, only) if item.state == "stored"]
    runs = [found.get(item.key) for item in whole if item.key not in known]
    followed = _followed(scale)
    return [recorded.put(run, followed.get(run.key, ())) for run in runs if run is not None]


def _followed(scale: str) -> dict[str, set[tuple[str, str, str]]]:
    """Scorer, layer and parameters that any page follows through training, by the run whose scores are recorded."""
    found: dict[str, set[tuple[str, str, str]]] = {}
    for page in (name for name in recipes.pages() if scale in recipes.page(name).scales):
        for recipe in recipes.load(page, scale).values():
            scores = [score for score in recipe.evaluate.scores if score.through_training]
            own = {(score.scorer, *detection.canonical(score)) for score in scores}
            found.setdefault(train_key(recipe, recorded.SCORED), set()).update(own)
    return found


def verdicts(page: str, results: Results | None = None) -> dict[str, list[claims.Verdict] | None]:
    """Verdicts of a page by scale: `results` live at its own scale, recorded rows at the others, None if not run."""
    asked = claims.load(page)
    found: dict[str, list[claims.Verdict] | None] = {}
    for scale in recipes.SCALES:
        live = results is not None and results.request.scale == scale
        if live and results is not None:
            found[scale] = claims.judge(asked, results.rows)
            continue
        rows = recorded_rows(page, scale)
        found[scale] = None if rows is None else claims.judge(asked, rows, missing=_missing(page, scale, rows))
    return found


def _missing(page: str, scale: str, rows: pd.DataFrame) -> Callable[[Sequence[str], int], str]:
    """Says which runs of some recipes are not recorded and how long they take; `rankings.ALL` is every recipe."""
    minutes = {name: recipe.minutes for name, recipe in recipes.load(page, scale).items()}
    have = rows.groupby("recipe")["seed"].nunique().to_dict()

    def tell(names: Sequence[str], seeds: int) -> str:
        asked = minutes if rankings.ALL in names else [name for name in names if name in minutes]
        left = {name: seeds - have.get(name, 0) for name in asked if have.get(name, 0) < seeds}
        if not left:
            return ""
        named = ", ".join(left) if len(left) < 5 else f"{len(left)} recipes"
        runs, most = sum(left.values()), max(left.values())
        counted = f"{most} seed{'s' if most > 1 else ''}{' each' if len(left) > 1 else ''}"
        counted = counted if runs == most * len(left) else f"{runs} runs"
        total = sum(minutes[name] * count for name, count in left.items())
        return f"{named}, {counted}, about {duration(total)} on {DEVICES[scale]}"

    return tell


def duration(minutes: float) -> str:
    """Minutes for people."""
    if minutes >= 120:
        return f"{minutes / 60:.1f} hours"
    return f"{minutes:.0f} minutes" if minutes >= 10 else f"{minutes:.1f} minutes"


def scoreboard() -> tables.Html:
    """All papers with their verdicts by scale: live at `tiny`, recorded at the others, "not run" where neither.

    A page without recipes has not been run at any scale.
    """
    found, papers = {}, claims.pages()
    for page in papers:
        live = None
        if page in recipes.pages() and "tiny" in recipes.page(page).scales:
            live = run_or_load(page, scale="tiny", seeds=recipes.page(page).seeds["tiny"])
        found[page] = verdicts(page, live)
    written = paths.repository() / "book" / "papers"
    links = {page: f"papers/{page}.html" for page in papers if (written / f"{page}.ipynb").is_file()}
    return tables.scoreboard(found, {page: claims.page(page) for page in papers}, links)


def status() -> pd.DataFrame:
    """What has run: one row a page and scale, with runs, verdicts, seconds of training, versions, hardware, commits."""
    lines = []
    for page in recipes.pages():
        for scale in recipes.page(page).scales:
            if scale == "tiny":
                live = _stored(page, scale)
                infos, rows = [run.info for run in live.stored.values()], live.rows if live.stored else None
            else:
                infos, rows = [run.info for _, run in recorded_runs(page, scale)], recorded_rows(page, scale)
            if rows is not None:
                told = _told(infos)
                first = {"page": page, "scale": scale, "runs": told.pop("runs"), "result": _result(page, rows)}
                lines.append(first | told)
    return pd.DataFrame(lines)


def _stored(page: str, scale: recipes.Scale) -> Results:
    """What `run_or_load` would show without training or measuring anything."""
    request, found = Request.check(page=page, scale=scale, seeds=recipes.page(page).seeds[scale]), Store()
    whole = [item for item in plan(page, scale, request.seeds, found) if item.state == "stored"]
    runs = {(item.recipe.id, item.seed): found.get(item.key) for item in whole}
    stored = {which: run for which, run in runs.items() if run is not None}
    return Results(request, {item.recipe.id: item.recipe for item in whole}, stored, frozenset())


def _result(page: str, rows: pd.DataFrame) -> str:
    """Verdicts by number, such as "7 hold, 2 do not hold"; a page that states no claims has none."""
    if page not in claims.pages():
        return "no claims"
    counts = claims.summary(claims.judge(claims.load(page), rows))
    return ", ".join(f"{n} {PLURALS.get(word, word) if n > 1 else word}" for word, n in counts.items() if n)


def _told(infos: list[dict[str, Any]]) -> dict[str, Any]:
    """One line about some runs."""

    def all_of(*path: str) -> str:
        values = [info[path[0]] if len(path) == 1 else info[path[0]][path[1]] for info in infos]
        return ", ".join(dict.fromkeys(str(value) for value in values))

    commits = all_of("commit")
    return {
        "runs": len(infos),
        "training_seconds": float(sum(info["seconds"]["train"] for info in infos)),
        "torch": all_of("versions", "torch"),
        "ood_core": all_of("versions", "ood-core"),
        "hardware": all_of("hardware", "name"),
        "commit": commits if commits.count(", ") < 2 else f"{commits.count(', ') + 1} commits",
        "first": min(info["created"] for info in infos),
        "last": max(info["created"] for info in infos),
    }


def export(page: str, scale: str, seeds: int, folder: Path) -> None:
    """Write what a page shows to `folder`: rows.csv, provenance.json, and claims.csv where the page has claims.

    Recorded runs of other scales stand in rows-SCALE.csv and provenance-SCALE.json.
    """
    results = run_or_load(page, scale=scale, seeds=seeds)
    folder.mkdir(parents=True, exist_ok=True)
    results.rows.to_csv(folder / "rows.csv", index=False)
    if page in claims.pages():
        claims.frame(claims.judge(claims.load(page), results.rows)).to_csv(folder / "claims.csv", index=False)
    info = {f"{recipe}/{seed}": run.info for (recipe, seed), run in results.stored.items()}
    (folder / "provenance.json").write_text(json.dumps(info, indent=1), encoding="utf-8")
    for other in recipes.page(page).scales:
        rows = recorded_rows(page, other) if other != scale else None
        if rows is not None:
            rows.to_csv(folder / f"rows-{other}.csv", index=False)
            info = {f"{recipe.id}/{run.info['seed']}": run.info for recipe, run in recorded_runs(page, other)}
            (folder / f"provenance-{other}.json").write_text(json.dumps(info, indent=1), encoding="utf-8")
