"""What is measured of training: each network in the form of each contender, on the same made-up images."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

Run = Callable[[], tuple[float, float]]  # -> wall and processor seconds
Prepare = Callable[[], Run]

CONTENDERS = ("ours", "ours, compiled", "bare", "plain", "plain, tuned", "ceiling")
ABOUT = {
    "ours": "this package",
    "ours, compiled": "this package through torch.compile, where asked for and on a GPU",
    "bare": "the same steps on one prepared batch, nothing read; extraction with its copies in and out, nothing kept",
    "plain": "DataLoader with torchvision's transforms, float32, the loss read at each step",
    "plain, tuned": "the same with channels last, and autocast where the recipe has it",
}
# images: of an epoch on a CPU, and on a GPU. epochs: of a round.
NETS: dict[str, dict[str, Any]] = {
    "digits": {"scale": "tiny", "images": (1536, 1536), "epochs": (2, 10)},
    "resnet8": {"scale": "small", "images": (2560, 50_048), "epochs": (1, 1)},
    "resnet18": {
        "scale": "small",
        "network": {"name": "resnet18", "width": 64},
        "images": (256, 50_048),
        "epochs": (1, 1),
    },
}
COMPILING: list[float] = []  # seconds before each compiled training of this process; of the first of a network, most
CEILINGS = ("matmul float32", "matmul bfloat16", "copy")
# As in `works`: at least so many times faster, or at most so many times the time.
TARGETS: dict[str, dict[str, Any]] = {
    "train": {"plain": {"faster": 3}},
    "augment": {},
    "extract": {"bare": {"at_most": 1.11}},
}
# On a GPU, of images a second in training: so many images, so often, within so many seconds.
SPEED: dict[str, Any] = {
    "work": "resnet18: train",
    "contender": "ours, compiled",
    "images": 45_000,
    "epochs": 60,
    "within": 120,
    "aim": 60,
}


def recipe(net: str, device: str) -> Any:
    """The recipe of cross-entropy that a network is measured with, cut to a round."""
    from ood_core import recipes

    about = NETS[net]
    base = recipes.load("l2-norm", about["scale"])["ce"]
    schedule = base.schedule.model_copy(update={"epochs": about["epochs"][device == "cuda"], "warmup_epochs": 0})
    network = base.network.model_copy(update=about.get("network", {}))
    return base.model_copy(update={"schedule": schedule, "network": network})


def made_up(net: str, device: str, size: float) -> Any:
    """Noise of the shape that the recipe's images have, in whole batches."""
    import numpy as np

    from ood_core import data

    batch = recipe(net, device).optimiser.batch
    count = max(1, round(NETS[net]["images"][device == "cuda"] * size / batch)) * batch
    shape = data.entry(recipe(net, device).data.id_set)["shape"]
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (count, *shape), dtype=np.uint8)
    return data.imageset.make(pixels, np.arange(count) % 10, [str(c) for c in range(10)], name="noise", split="train")


def costs(net: str, device: str, size: float) -> dict[str, dict[str, Any]]:
    """Images of a round, and floating point operations and bytes of one image, counted.

    Training is three forward passes; of its bytes only activations are counted, each written and read once.
    """
    import torch

    from ood_core.models import backbone, cost

    asked, count = recipe(net, device), len(made_up(net, device, size))
    shape = data_shape(asked)
    work = cost(asked.network, shape)[1]
    module = backbone(asked.network, shape).eval()
    written: list[int] = []
    for part in module.modules():
        if not list(part.children()):
            part.register_forward_hook(lambda _, __, out: written.append(out.numel()))
    with torch.no_grad():
        module(torch.zeros(1, shape[2], *shape[:2]))
    pixels, wide = shape[0] * shape[1] * shape[2], {"float32": 4, "bfloat16": 2}
    precision, epochs = asked.precision, asked.epochs
    one = {
        "train": {"flop": 6 * work, "bytes": 6 * sum(written) * wide[precision], "precision": precision},
        "extract": {"flop": 2 * work, "bytes": 2 * sum(written) * 4, "precision": "float32"},
        "augment": {"flop": 0, "bytes": 5 * pixels, "precision": "float32"},  # uint8 in, float32 out
    }
    return {name: {"images": count * (1 if name == "extract" else epochs), **found} for name, found in one.items()}


def reached(device: str, found: dict[str, Any]) -> list[dict[str, Any]]:
    """`SPEED` beside the seconds that the measured median comes to; nothing on a CPU, or where it was not measured."""
    rows = [row for row in found["rows"] if (row["work"], row["contender"]) == (SPEED["work"], SPEED["contender"])]
    if device != "cuda" or not rows:
        return []
    a_second = found["costs"][SPEED["work"]]["images"] / statistics.median(rows[0]["wall"])
    seconds = SPEED["epochs"] * SPEED["images"] / a_second
    met = {"met": seconds <= SPEED["within"], "aim met": seconds <= SPEED["aim"]}
    return [{**SPEED, "images a second": round(a_second, 1), "seconds": round(seconds, 1), **met}]


def data_shape(asked: Any) -> Any:
    """(H, W, C) of a recipe's images."""
    from ood_core import data

    return tuple(data.entry(asked.data.id_set)["shape"])


def contender(name: str, nets: list[str], device: str, threads: int, size: float, workers: int) -> dict[str, Prepare]:
    """The works that a contender takes part in. Raises ImportError where it is not installed."""
    import torch

    from ood_core import runs

    if name in ("ours", "ours, compiled", "bare"):
        runs.setup()  # what every command and notebook of the package begins with
    torch.set_flush_denormal(True)
    torch.set_num_threads(threads)
    if name == "ceiling":
        return _ceiling(device)
    make = {"ours": _ours, "ours, compiled": _compiled, "bare": _bare}.get(name)
    found: dict[str, Prepare] = {}
    for net in nets:
        works = make(net, device, size) if make else _plain(net, device, size, name == "plain, tuned", workers)
        found |= {f"{net}: {work}": prepare for work, prepare in works.items()}
    return found


def _timed(function: Callable[[], Any], device: str) -> Run:
    import torch

    def finish() -> None:
        if device == "cuda":
            torch.cuda.synchronize()

    def run() -> tuple[float, float]:
        finish()
        wall, cpu = time.perf_counter(), time.process_time()
        function()
        finish()
        return time.perf_counter() - wall, time.process_time() - cpu

    return run


def _ours(net: str, device: str, size: float) -> dict[str, Prepare]:
    import torch

    from ood_core import extract, train
    from ood_core.augment import Augmentation
    from ood_core.networks import network
    from ood_core.rng import generator

    asked = recipe(net, device)
    on = torch.device(device)

    def training() -> Run:
        images = made_up(net, device, size)

        def run() -> tuple[float, float]:
            done = train.fit(asked, 0, images, device=device)
            return done.seconds, done.cpu_seconds

        return run

    def augmenting() -> Run:
        images = made_up(net, device, size)
        module = network(asked, images, 0, on)
        augmentation = Augmentation(torch.from_numpy(images.images).to(on), asked.data)
        order = torch.randperm(len(images)).to(on)

        def run() -> None:
            for epoch in range(asked.epochs):
                augmentation.new_epoch(generator(0, "augment", epoch))
                for index in order.split(asked.optimiser.batch):
                    module.prepare(augmentation.batch(index))

        return _timed(run, device)

    def extracting() -> Run:
        images = made_up(net, device, size)
        module = network(asked, images, 0, on)
        return _timed(lambda: extract(module, images), device)

    return {"train": training, "augment": augmenting, "extract": extracting}


def _compiled(net: str, device: str, size: float) -> dict[str, Prepare]:
    from ood_core import train

    def training() -> Run:
        images = made_up(net, device, size)

        def run() -> tuple[float, float]:
            done = train.fit(recipe(net, device), 0, images, device=device, compiled=True)
            COMPILING.append(done.compile_seconds or 0.0)
            return done.seconds, done.cpu_seconds

        return run

    return {"train": training}


def _bare(net: str, device: str, size: float) -> dict[str, Prepare]:
    import torch
    from torch.nn import functional as F

    from ood_core import bfloat16
    from ood_core.features.batches import default_size
    from ood_core.networks import network

    asked = recipe(net, device)
    on = torch.device(device)

    def training() -> Run:
        images = made_up(net, device, size)
        module = network(asked, images, 0, on).train()
        optimiser = torch.optim.SGD(module.parameters(), lr=0.01, momentum=0.9, weight_decay=5e-4, fused=True)
        batch = asked.optimiser.batch
        x, y = module.prepare(torch.from_numpy(images.images[:batch])), torch.from_numpy(images.labels[:batch]).to(on)

        def run() -> None:
            for _ in range(asked.epochs * len(images) // batch):
                with bfloat16.autocast(on, asked.precision == "bfloat16"):
                    loss = F.cross_entropy(module(x), y)
                optimiser.zero_grad(set_to_none=True)
                loss.backward()
                optimiser.step()

        return _timed(run, device)

    def extracting() -> Run:
        images = made_up(net, device, size)
        module = network(asked, images, 0, on).eval()
        parts = torch.from_numpy(images.images).split(default_size(images, on))

        @torch.no_grad()
        def run() -> None:
            for x in parts:  # pixels in, features and logits out: one plain copy each, as a result needs them
                features = module.backbone(module.prepare(x))
                module.head(features).cpu()
                features.cpu()

        return _timed(run, device)

    return {"train": training, "extract": extracting}


def _plain(net: str, device: str, size: float, tuned: bool, workers: int) -> dict[str, Prepare]:
    import torch
    from PIL import Image
    from torch.nn import functional as F
    from torch.utils.data import DataLoader, Dataset

    from ood_core import _torchvision
    from ood_core.checks import InputError
    from ood_core.networks import channel_constants, network

    try:
        transforms = _torchvision.torchvision().transforms
    except InputError as error:
        raise ImportError(str(error)) from error
    asked = recipe(net, device)
    on = torch.device(device)
    memory = torch.channels_last if tuned else torch.contiguous_format

    class Pictures(Dataset[Any]):
        """As torchvision's sets give them: a picture through transforms, and its label."""

        def __init__(self, images: Any, augment: bool) -> None:
            grey = images.images.shape[-1] == 1
            self.pixels = images.images[..., 0] if grey else images.images
            self.labels = images.labels.tolist()
            mean, std = channel_constants(images.images)
            steps = [transforms.ToTensor(), transforms.Normalize(mean.tolist(), std.tolist())]
            if augment and asked.data.flip:
                steps.insert(0, transforms.RandomHorizontalFlip())
            if augment and asked.data.crop_padding:
                steps.insert(0, transforms.RandomCrop(images.images.shape[1:3], padding=asked.data.crop_padding))
            self.transform = transforms.Compose(steps)

        def __len__(self) -> int:
            return len(self.labels)

        def __getitem__(self, i: int) -> Any:
            return self.transform(Image.fromarray(self.pixels[i])), self.labels[i]

    def loader(images: Any, augment: bool) -> Any:
        return DataLoader(
            Pictures(images, augment),
            batch_size=asked.optimiser.batch,
            shuffle=augment,
            drop_last=augment,
            num_workers=workers,
            persistent_workers=workers > 0,
            pin_memory=device == "cuda",
        )

    def module(images: Any) -> Any:
        return network(asked, images, 0, on).to(memory_format=memory)

    def training() -> Run:
        images = made_up(net, device, size)
        batches, net_ = loader(images, True), module(images).train()
        optimiser = torch.optim.SGD(net_.parameters(), lr=0.01, momentum=0.9, weight_decay=5e-4)

        def run() -> None:
            for _ in range(asked.epochs):
                for x, y in batches:
                    x, y = x.to(on, memory_format=memory), y.to(on)  # noqa: PLW2901 (as such loops are written)
                    with torch.autocast(device, torch.bfloat16, enabled=tuned and asked.precision == "bfloat16"):
                        loss = F.cross_entropy(net_(x), y)
                    optimiser.zero_grad()
                    loss.backward()
                    optimiser.step()
                    loss.item()

        return _timed(run, device)

    def augmenting() -> Run:
        batches = loader(made_up(net, device, size), True)
        return _timed(lambda: [len(y) for _ in range(asked.epochs) for _, y in batches][:0], device)

    def extracting() -> Run:
        images = made_up(net, device, size)
        batches, net_ = loader(images, False), module(images).eval()

        @torch.no_grad()
        def run() -> None:
            torch.cat([net_.backbone(x.to(on, memory_format=memory)).cpu() for x, _ in batches])

        return _timed(run, device)

    return {"train": training, "augment": augmenting, "extract": extracting}


def _ceiling(device: str) -> dict[str, Prepare]:
    """Seconds of a product of two square matrices, and of a copy; `rates` says what they come to."""
    import torch

    side, words = _sizes(device)

    def product(dtype: Any) -> Prepare:
        def prepare() -> Run:
            a, b = (torch.randn(side, side, device=device).to(dtype) for _ in range(2))
            return _timed(lambda: a @ b, device)

        return prepare

    def copy() -> Run:
        source = torch.ones(words, device=device)
        target = torch.empty_like(source)
        return _timed(lambda: target.copy_(source), device)

    return {"matmul float32": product(torch.float32), "matmul bfloat16": product(torch.bfloat16), "copy": copy}


def _sizes(device: str) -> tuple[int, int]:
    """Rows of a matrix, and float32 numbers of a copy: larger than any cache."""
    return (8192, 2**28) if device == "cuda" else (2048, 2**26)


def rates(device: str, work: str, seconds: list[float]) -> list[float]:
    """Floating point operations a second of a product, bytes read and written a second of a copy."""
    side, words = _sizes(device)
    done = 8 * words if work == "copy" else 2 * side**3
    return [done / s for s in seconds]
