"""Several runs at once, each in a process of its own with one thread; or one after the other in this process."""

from __future__ import annotations

import multiprocessing
import os
import queue
import signal
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from multiprocessing.context import BaseContext
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any

import torch

from .runs import Planned, run, setup
from .store import Store
from .train import InterruptedTraining, TrainingError

POLL_SECONDS = 0.2


class Progress:
    """Told what happens; this one says nothing."""

    def begin(self, planned: Sequence[Planned]) -> None:
        """These runs were asked for, those that are stored among them."""

    def epoch(self, planned: Planned, epoch: int, loss: float) -> None:
        """A run has finished an epoch."""

    def done(self, planned: Planned) -> None:
        """A run is stored."""


def run_all(
    todo: Sequence[Planned],
    store: Store,
    device: torch.device,
    jobs: int,
    progress: Progress,
    stop: Callable[[], bool],
    compiled: bool = False,
) -> None:
    """Bring every run into the store, `jobs` at a time; `compiled` as in `train.fit`, once in each process.

    Raises:
        TrainingError: a loss went to NaN, or a process was killed; runs in work leave a checkpoint where they can.
        InterruptedTraining: `stop` said so; each run in work has left a checkpoint.
    """
    # On a CPU one, for results that are equal to the bit; beside a GPU all there are, for what the CPU measures.
    threads = 1 if device.type == "cpu" else max(1, (os.cpu_count() or 1) // jobs)
    if jobs == 1 or len(todo) <= 1:
        if device.type != "cpu":
            setup(threads)
        for planned in todo:
            tell = partial(progress.epoch, planned)
            run(planned, store, device, tell, stop, compiled)
            progress.done(planned)
        return
    context = _context()
    told, stopping = context.Queue(), context.Event()
    others = set(multiprocessing.active_children())
    with ProcessPoolExecutor(min(jobs, len(todo)), context, _start, (told, stopping, threads)) as pool:
        futures = {pool.submit(_work, i, todo[i], store.folder, str(device), compiled): i for i in range(len(todo))}
        pending = set(futures)
        children = set(multiprocessing.active_children()) - others
        try:
            while pending:
                finished, pending = wait(pending, POLL_SECONDS, FIRST_COMPLETED)
                _pass_on(told, todo, progress)
                for future in finished:
                    future.result()
                    progress.done(todo[futures[future]])
                # Not left to the pool: its thread waits on the processes that it knew when it last woke, and one that
                # was still starting then could end unseen until another run has finished.
                if pending and not all(child.is_alive() for child in children):
                    raise BrokenProcessPool("a process ended")
                if stop():
                    stopping.set()
        except BrokenProcessPool as error:
            for child in children:
                child.terminate()
            raise TrainingError(
                "a training process ended unexpectedly, expected it to finish: it was killed, or memory ran out.\n"
                "Run the same command again to go on from the last checkpoints, with fewer --jobs if memory is short."
            ) from error
        except BaseException as error:
            stopping.set()
            if isinstance(error, KeyboardInterrupt) and not isinstance(error, InterruptedTraining):
                for child in children:
                    child.terminate()
            pool.shutdown(cancel_futures=True)
            raise


def _pass_on(told: Queue[Any], todo: Sequence[Planned], progress: Progress) -> None:
    while True:
        try:
            index, epoch, loss = told.get_nowait()
        except queue.Empty:
            return
        progress.epoch(todo[index], epoch, loss)


def _context() -> BaseContext:
    """Processes forked from one that has the imports, which takes no time; started anew where there is no fork."""
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    return context


_told: Queue[Any]
_stopping: Event


def _start(told: Queue[Any], stopping: Event, threads: int) -> None:
    """Set up a child: Ctrl-C reaches the parent alone, which asks the children to stop; it does not outlive it."""
    global _told, _stopping
    _told, _stopping = told, stopping
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    setup(threads)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)  # at once: what is written is written beside its place, and only whole files are moved there


def _work(index: int, planned: Planned, folder: Path, device: str, compiled: bool) -> None:
    run(
        planned,
        Store(folder),
        torch.device(device),
        lambda epoch, loss: _told.put((index, epoch, loss)),
        _stopping.is_set,
        compiled,
    )
