"""The one training loop: from a recipe, a seed and images to a network and its history. Resumable to the bit."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from . import bfloat16, compilation, parallel
from .augment import Augmentation
from .checks import InputError
from .data import ImageSet
from .losses import Batch, objective
from .networks import Network, network
from .recipes import Recipe
from .recipes.schema import Schedule
from .rng import generator

CHECKPOINT_SECONDS = 30.0
SETTLED = 10  # steps that tell a loss which runs away from a high first one, as large rates without warm-up have it
DIVERGED = 10  # times the loss that training began with; the most of all runs made here is 2.2

# Given the network in eval mode before training (epoch 0) and at the epochs whose weights the recipe keeps.
Recorder = Callable[[Network, int], None]
Forward = Callable[[Tensor], tuple[Tensor, Tensor]]  # images -> features and the head's output


class TrainingError(RuntimeError):
    """Training went to NaN or infinity."""


class InterruptedTraining(KeyboardInterrupt):
    """Training was asked to stop and left a checkpoint at the end of an epoch."""


@dataclass(frozen=True)
class State:
    """What a checkpoint holds: everything needed to go on as if nothing had happened.

    `compile_seconds` is None where no epoch so far ran compiled.
    """

    epoch: int
    tensors: dict[str, Tensor]
    history: list[dict[str, float]]
    seconds: float
    cpu_seconds: float
    compile_seconds: float | None = None


class Checkpoints(Protocol):
    """Where the loop leaves its state; implemented by the run store."""

    def load(self) -> State | None: ...
    def save(self, state: State) -> None: ...


@dataclass(frozen=True)
class Trained:
    """The outcome: the network in eval mode and one history row an epoch.

    `seconds` is wall time and `cpu_seconds` processor time, both of training without recording and compiling;
    `compile_seconds` is wall time, and None where no epoch ran compiled.
    """

    network: Network
    history: list[dict[str, float]]
    seconds: float
    cpu_seconds: float
    compile_seconds: float | None = None


def learning_rate(schedule: Schedule, peak: float, step: int, steps_per_epoch: int) -> float:
    """The rate for optimiser step `step` (from 0): linear warm-up to `peak`, then cosine to 0 or steps down."""
    total = schedule.epochs * steps_per_epoch
    warmup = round(schedule.warmup_epochs * steps_per_epoch)
    if step < warmup:
        return peak * (step + 1) / warmup
    if schedule.name == "cosine":
        return peak * 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, total - warmup)))
    passed = sum(step >= round(m * schedule.epochs) * steps_per_epoch for m in schedule.milestones)
    return peak * schedule.gamma**passed


def fit(
    recipe: Recipe,
    seed: int,
    images: ImageSet,
    *,
    device: torch.device | str = "cpu",
    checkpoints: Checkpoints | None = None,
    record: Recorder | None = None,
    checkpoint_seconds: float | None = None,
    compiled: bool = False,
    on_epoch: Callable[[int, float], None] | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> Trained:
    """Train one network.

    Each epoch visits every image once in an order drawn from (seed, epoch); a last batch that would be short is left
    out of that epoch. On the CPU the result depends only on recipe, seed, images and thread count, to the bit, whether
    or not training was interrupted; compiled, or in several processes (see `parallel`), it differs in the last digits.

    Args:
        images: the ID images to train on, with labels.
        checkpoints: where to look for a state to resume from, and to leave one; None trains without.
        checkpoint_seconds: least time between two states; `CHECKPOINT_SECONDS` if left out.
        compiled: run the backbone through `torch.compile`; another seed of the same network finds it compiled.
        record: given the network before training (epoch 0) and at the recipe's kept epochs.
        on_epoch: told the epoch just finished and its loss, for progress.
        stop: asked after each epoch; where it says yes, the state is saved and training ends.
    Raises:
        InputError: no labels, fewer images than one batch, a batch that several processes cannot share evenly, or no
            compiler where one is asked for.
        TrainingError: the loss is NaN or infinite at the end of an epoch.
        InterruptedTraining: `stop` said so.
    """
    if images.labels is None:
        raise InputError(
            f"{images.name}/{images.split} has no labels, expected them for training.\nUse a labelled set."
        )
    batch = recipe.optimiser.batch
    if len(images) < batch:
        raise InputError(
            f"{images.name}/{images.split} has {len(images)} images, expected at least one batch of {batch}.\n"
            "Lower optimiser.batch in the recipe."
        )
    parallel.divisible(batch, recipe.loss.composite > 0)
    device = torch.device(device)
    net = parallel.synchronised(network(recipe, images, seed, device), device)
    optimiser = torch.optim.SGD(
        net.parameters(),
        lr=recipe.optimiser.lr,
        momentum=recipe.optimiser.momentum,
        nesterov=recipe.optimiser.nesterov,
        weight_decay=recipe.optimiser.weight_decay,
        fused=True,
    )
    labels = torch.from_numpy(images.labels).to(device)
    augmentation = Augmentation(torch.from_numpy(images.images).to(device), recipe.data)

    first, history = 0, []
    watch = _Stopwatch()
    state = checkpoints.load() if checkpoints else None
    if state is not None:
        _restore(net, optimiser, state.tensors)
        first, history = state.epoch, list(state.history)
        watch = _Stopwatch(state.seconds, state.cpu_seconds)
    parallel.alike("the epoch to go on from", first)
    compile_seconds = None if state is None else state.compile_seconds
    forward = _forward(net, recipe, net.backbone)
    if compiled:
        with watch.paused():
            forward, spent = _compiled(net, recipe, augmentation, labels)
        compile_seconds = (compile_seconds or 0.0) + spent
    marks = set(recipe.kept_epochs())
    pause = CHECKPOINT_SECONDS if checkpoint_seconds is None else checkpoint_seconds

    def measure(epoch: int) -> None:
        if record is not None and epoch in marks:
            with watch.paused():
                record(net.eval(), epoch)

    if state is None:
        measure(0)
    saved = time.perf_counter()
    for epoch in range(first + 1, recipe.epochs + 1):
        row, began = _epoch(net, forward, optimiser, augmentation, labels, recipe, seed, epoch)
        _require_sane(row, history[0]["loss"] if history else began, recipe, seed)
        history.append(row)
        if on_epoch is not None:
            on_epoch(epoch, row["loss"])
        measure(epoch)
        if epoch == recipe.epochs:
            break
        stopping = parallel.any_of(stop())
        if checkpoints is not None and parallel.rank() == 0 and (stopping or time.perf_counter() - saved >= pause):
            checkpoints.save(State(epoch, _tensors(net, optimiser), list(history), *watch.read(), compile_seconds))
            saved = time.perf_counter()
        if stopping:
            raise InterruptedTraining(f"stopped after epoch {epoch} of {recipe.epochs}")
    return Trained(net.eval(), history, *watch.read(), compile_seconds)


def _require_sane(row: dict[str, float], began: float, recipe: Recipe, seed: int) -> None:
    """Refuse a loss that is not finite or has run away from where it began."""
    most = DIVERGED * max(1.0, began)
    if not (math.isfinite(row["loss"]) and row["loss"] <= most):
        limit = f" of at most {most:.6g}, {DIVERGED} times what it began with" if math.isfinite(most) else ""
        raise TrainingError(
            f"the loss of {recipe.id} ({recipe.scale}, seed {seed}) is {row['loss']:.6g} after epoch {row['epoch']}, "
            f"expected a finite number{limit}.\n"
            f"Lower optimiser.lr (now {recipe.optimiser.lr}) or lengthen the warm-up; nothing was stored for this run."
        )


class _Stopwatch:
    """Wall and processor seconds, less those spent paused; goes on from what an interrupted run had used."""

    def __init__(self, wall: float = 0.0, cpu: float = 0.0) -> None:
        self._start(wall, cpu)

    def _start(self, wall: float, cpu: float) -> None:
        self.wall, self.cpu = wall - time.perf_counter(), cpu - time.process_time()

    def read(self) -> tuple[float, float]:
        return self.wall + time.perf_counter(), self.cpu + time.process_time()

    @contextmanager
    def paused(self) -> Iterator[None]:
        wall, cpu = self.read()
        yield
        self._start(wall, cpu)


def _forward(net: Network, recipe: Recipe, backbone: Callable[[Tensor], Tensor]) -> Forward:
    """Backbone, as it is or compiled, and head, under autocast where the recipe asks for it."""

    def forward(x: Tensor) -> tuple[Tensor, Tensor]:
        with bfloat16.autocast(x.device, recipe.precision == "bfloat16"):
            features = backbone(x)
            return features, net.head(features)

    return forward


def _compiled(net: Network, recipe: Recipe, augmentation: Augmentation, labels: Tensor) -> tuple[Forward, float]:
    """A compiled pass, and the seconds of compiling it in one step of which nothing is left."""
    criterion = objective(recipe.loss)
    index = parallel.share(torch.arange(recipe.optimiser.batch, device=labels.device))
    before = {name: value.clone() for name, value in net.state_dict().items()}
    net.train()
    augmentation.new_epoch(torch.Generator().manual_seed(0), criterion.views)
    views = torch.cat([augmentation.batch(index, view) for view in range(criterion.views)])
    with compilation.timed() as clock:
        forward = _forward(net, recipe, compilation.compiled(net.backbone))
        step = Batch(forward, net.prepare(views), labels[index], net.head, torch.Generator().manual_seed(0))
        criterion(step).loss.backward()
        seconds = clock()
    net.load_state_dict(before)  # batch norm has seen these images
    net.zero_grad(set_to_none=True)
    return forward, seconds


def _epoch(
    net: Network,
    forward: Forward,
    optimiser: torch.optim.SGD,
    augmentation: Augmentation,
    labels: Tensor,
    recipe: Recipe,
    seed: int,
    epoch: int,
) -> tuple[dict[str, float], float]:
    """One pass in an order drawn from (seed, epoch): the history row with the last step's rate, and the first loss.

    That is infinite where steps are too few for the mean to say anything of it.
    """
    net.train()
    criterion, batch, device = objective(recipe.loss), recipe.optimiser.batch, labels.device
    steps = len(labels) // batch
    order = torch.randperm(len(labels), generator=generator(seed, "order", epoch)).to(device)
    augmentation.new_epoch(generator(seed, "augment", epoch), criterion.views)
    draw = generator(seed, "mix", epoch)
    total, right, counted, rate = torch.zeros((), device=device), torch.zeros((), device=device), 0, 0.0
    first = total
    for step in range(steps):
        rate = learning_rate(recipe.schedule, recipe.optimiser.lr, (epoch - 1) * steps + step, steps)
        for group in optimiser.param_groups:
            group["lr"] = rate
        index = parallel.share(order[step * batch : (step + 1) * batch])
        views = torch.cat([augmentation.batch(index, view) for view in range(criterion.views)])
        done = criterion(Batch(forward, net.prepare(views), labels[index], net.head, draw))
        optimiser.zero_grad(set_to_none=True)
        done.loss.backward()
        parallel.average_gradients(net)
        optimiser.step()
        first = first if step else done.loss.detach()
        total += done.loss.detach()
        right += done.right
        counted += done.counted
    # one transfer an epoch: asking for the loss of each step would stall a GPU
    processes = parallel.size()
    accuracy = float(parallel.total(right)) / (processes * counted) if counted else math.nan
    loss = float(parallel.total(total)) / (processes * steps)
    began = float(parallel.total(first)) / processes if steps >= SETTLED else math.inf
    return {"epoch": epoch, "loss": loss, "accuracy": accuracy, "lr": rate}, began


def _tensors(net: Network, optimiser: torch.optim.SGD) -> dict[str, Tensor]:
    """Parameters, buffers and momentum, by name, on the CPU."""
    tensors = {f"net.{name}": value for name, value in net.state_dict().items()}
    for name, parameter in net.named_parameters():
        momentum = optimiser.state[parameter].get("momentum_buffer")
        if momentum is not None:
            tensors[f"momentum.{name}"] = momentum
    return {name: value.detach().cpu().contiguous() for name, value in tensors.items()}


def _restore(net: Network, optimiser: torch.optim.SGD, tensors: dict[str, Tensor]) -> None:
    net.load_state_dict({name[4:]: value for name, value in tensors.items() if name.startswith("net.")})
    for name, parameter in net.named_parameters():
        momentum = tensors.get(f"momentum.{name}")
        if momentum is not None:
            buffer = torch.empty_like(parameter)  # keeps channels last, so that sums run in the same order
            optimiser.state[parameter]["momentum_buffer"] = buffer.copy_(momentum)
