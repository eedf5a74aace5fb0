"""Planned runs, trained and measured where they are missing."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

from .. import data, files, parallel, recipes, recorded
from ..checks import InputError, choice
from ..measure import Sets
from ..runs import Planned, look_up, merged, train_along
from ..store import Store
from ..workers import Progress, run_all
from .request import Request
from .results import Results


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
    restore: bool = False,
    store: Store | None = None,
    progress: Progress | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> dict[str, Results]:
    """`run_or_load` of several pages, by page; a run that they share passes its images through the network once.

    Args:
        requests: at least one, alike in device, jobs and `compiled`.
        only: recipes to take, by id, from the pages that have them; a page without any is left out.
        unrecorded: leave out the runs whose results the repository has, but not the run.
        restore: take runs that the repository has with their weights from there, instead of training them again.
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
            if restore:
                _restore(request, names, found)
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
            if run is None:
                raise InputError(
                    f"run {item.key} of {item.recipe.id}, seed {item.seed}, is not in {found.folder}, expected it "
                    "there by now: it was deleted meanwhile.\nRun the same command again."
                )
            stored[item.recipe.id, item.seed] = run
        fresh = frozenset((item.recipe.id, item.seed) for item in items if item.key in new)
        results[request.page] = Results(request, {item.recipe.id: item.recipe for item in items}, stored, fresh)
    return results


def _restore(request: Request, only: Collection[str], store: Store) -> None:
    """Put runs of a page into the store that the repository has and the store has not."""
    for item in plan(request.page, request.scale, request.seeds, store, only):
        if to_train_again(item) and store.get(item.key) is None:
            recorded.restore(request.scale, item.key, store)


def to_train_again(planned: Planned) -> bool:
    """Whether a run has recorded results, and would be trained to have it here as well."""
    folder = recorded.folder(planned.recipe.scale) / planned.key
    return planned.state == "to train" and files.has(folder, "run.json")
