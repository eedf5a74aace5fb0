"""How long one decision takes: the network with its score, the same backbone under a softmax head, and ODIN."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable
from statistics import median

import torch
from torch import Tensor, nn

from .. import networks, scorers
from ..heads import LinearHead
from ..networks import Network
from ..outputs import Outputs
from ..recipes.schema import Head
from ..scorers import Scorer
from .job import Job, Measure, Moment, Row, Seen

BATCHES = (1, 64)
ROUNDS, WARM_UP = 25, 3


def _plan(at: Moment) -> list[Job]:
    """At the last epoch alone."""
    return [Job("latency", at.epoch, at.test, layer="logits")] if at.last else []


def _rows(seen: Seen, _: Job) -> list[Row]:
    """Milliseconds a batch, and the median over rounds of the log of the ratio to softmax with the largest probability.

    `msp`: the backbone under a linear head, largest probability. `entropy`: the network itself, entropic score. `odin`:
    the network itself, preprocessing and score. Images are at hand, prepared; larger batches repeat test images.
    """
    rows: list[Row] = []
    pixels = seen.sets.test.images
    for batch in BATCHES:
        index = torch.arange(batch) % len(pixels)
        images = seen.net.prepare(torch.from_numpy(pixels[index.numpy()])).contiguous()
        seconds = interleaved(contenders(seen.net, images), ROUNDS, WARM_UP, images.device)
        for name, times in seconds.items():
            place = {"scorer": name, "protocol": f"batch {batch}", "split": "test", "n": ROUNDS}
            rows.append({**place, "metric": "latency_ms", "value": 1e3 * median(times)})
            if name != "msp":
                logs = [math.log(own / base) for own, base in zip(times, seconds["msp"], strict=True)]
                rows.append({**place, "metric": "latency_log_ratio", "value": median(logs)})
    return rows


def contenders(net: Network, images: Tensor) -> dict[str, Callable[[], Tensor]]:
    """One call each that goes from prepared images (B, C, H, W) to scores (B,)."""
    softmax = copy.deepcopy(net)
    classes = net(images[:1]).shape[1]
    softmax.head = LinearHead(Head(), net.backbone.dim, classes)
    networks.initialise(softmax.head, 0)
    softmax.to(images.device).eval()

    def plain(model: nn.Module, scorer: Scorer) -> Tensor:
        with torch.no_grad():
            logits = model(images)
        return scorer.score(Outputs(logits, logits))

    logits = net(images).detach()
    msp, entropy = (scorers.make(name).fit(Outputs(logits, logits)) for name in ("msp", "entropy"))
    given = Outputs(logits, inputs=images)
    odin = scorers.make("odin", model=net).fit(given)
    return {
        "msp": lambda: plain(softmax, msp),
        "entropy": lambda: plain(net, entropy),
        "odin": lambda: odin.score(given),
    }


def interleaved(
    calls: dict[str, Callable[[], Tensor]], rounds: int, warm_up: int, device: torch.device
) -> dict[str, list[float]]:
    """Seconds of each call in each round; every round makes all calls, so that a slow spell meets all of them.

    Each timed call follows an untimed one of its own: what runs after another finds its data gone from the caches.
    On a CPU, of processor time: what other programs do on the machine is not counted. It is the time that passes where
    one thread has a core to itself.
    """
    clock = time.process_time if device.type == "cpu" else time.perf_counter
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for number in range(-warm_up, rounds):
        for name, call in calls.items():
            call()
            _finish(device)
            began = clock()
            call()
            _finish(device)
            if number >= 0:
                seconds[name].append(clock() - began)
    return seconds


def _finish(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


MEASURES = (Measure("latency", 3, _plan, _rows, repeats=False),)
