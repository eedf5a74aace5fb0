"""Training in several processes that `torchrun` starts, each with a share of every batch; in one process, nothing.

All processes hold all images and draw the same orders and augmentations, so a batch is that of one process, cut into
parts: the result equals that of one process up to rounding. Gradients are averaged after each step's backward pass,
batch norm takes its statistics over all parts, and losses that compare images see those of all.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, TypeVar

import torch
from torch import Tensor, distributed, nn

from .checks import InputError

PATIENCE = timedelta(hours=12)  # the others wait while the first one measures
WORD = 64  # bytes
Module = TypeVar("Module", bound=nn.Module)


def size() -> int:
    """How many processes train together."""
    return distributed.get_world_size() if _joined() else 1


def rank() -> int:
    """Which of them this is, from 0; the first one alone writes and speaks."""
    return distributed.get_rank() if _joined() else 0


def _joined() -> bool:
    return distributed.is_available() and distributed.is_initialized()


@contextmanager
def processes(device: torch.device) -> Iterator[torch.device]:
    """Within, the processes that `torchrun` started are joined; gives the device of this one."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield device
        return
    if device.type == "cuda":
        device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(device)
    distributed.init_process_group("cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo", timeout=PATIENCE)
    try:
        yield device
    finally:
        distributed.destroy_process_group()


def tell(word: str) -> None:
    """From the first process to the others; at most `WORD` bytes."""
    if size() > 1:
        distributed.broadcast(torch.tensor(list(word.encode().ljust(WORD)), dtype=torch.uint8), 0)


def hear() -> str:
    """What the first process tells the others next."""
    word = torch.empty(WORD, dtype=torch.uint8)
    distributed.broadcast(word, 0)
    return bytes(word.tolist()).decode().strip()


def any_of(flag: bool) -> bool:
    """Whether one of the processes says yes."""
    return bool(_reduced(torch.tensor(int(flag)), distributed.ReduceOp.MAX))


def alike(name: str, number: int) -> int:
    """The number, where all processes have the same.

    Raises:
        InputError: they differ, so that they cannot go on together.
    """
    low, high = (int(_reduced(torch.tensor(sign * number), distributed.ReduceOp.MAX)) * sign for sign in (-1, 1))
    if low != high:
        raise InputError(
            f"{name} is {low} in one process and {high} in another, expected one number.\n"
            "Let OOD_RUNS name a folder that all of them see."
        )
    return number


def total(x: Tensor) -> Tensor:
    """The sum over processes, without a gradient."""
    return _reduced(x.detach().clone(), distributed.ReduceOp.SUM)


def _reduced(x: Tensor, how: Any) -> Tensor:
    if size() > 1:
        distributed.all_reduce(x, how)
    return x


def share(x: Tensor) -> Tensor:
    """What falls to this process of rows that all have, whose number is a multiple of the processes."""
    each = len(x) // size()
    return x[rank() * each : (rank() + 1) * each] if size() > 1 else x


def divisible(batch: int, loss_halves: bool) -> None:
    """Refuse a batch that cannot be cut into equal parts, or whose halves cannot.

    Raises:
        InputError: says so.
    """
    by = size() * (2 if loss_halves and size() > 1 else 1)
    if batch % by:
        raise InputError(
            f"optimiser.batch is {batch} in {size()} processes, expected a multiple of {by}.\n"
            "Start another number of processes; the batch is part of the recipe."
        )


def everyone(x: Tensor) -> Tensor:
    """Rows of all processes in the order of their ranks, without a gradient."""
    return torch.cat(_parts(x)) if size() > 1 else x


def gathered(x: Tensor) -> Tensor:
    """The same, where gradients of all processes come back to the rows' own."""
    if size() == 1:
        return x
    rows: Tensor = _Gather.apply(x)  # type: ignore[no-untyped-call]
    return rows


def average_gradients(net: nn.Module) -> None:
    """The mean over processes, in one message."""
    if size() == 1:
        return
    gradients = [p.grad for p in net.parameters() if p.grad is not None]
    flat = torch.cat([gradient.reshape(-1) for gradient in gradients])
    distributed.all_reduce(flat)
    flat /= size()
    for gradient, part in zip(gradients, flat.split([g.numel() for g in gradients]), strict=True):
        gradient.copy_(part.view(gradient.shape))


def synchronised(net: Module, device: torch.device) -> Module:
    """The network with batch norm over the images of all processes: torch's own on a GPU, its definition elsewhere."""
    if size() > 1 and device.type == "cuda":
        return nn.SyncBatchNorm.convert_sync_batchnorm(net)  # type: ignore[no-any-return]
    for module in net.modules():
        if size() > 1 and type(module) is nn.BatchNorm2d:
            module.__class__ = _SyncedNorm
    return net


class _SyncedNorm(nn.BatchNorm2d):
    """Batch norm whose mean and variance are those of all processes' images."""

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return super().forward(x)
        h = x.to(torch.promote_types(x.dtype, torch.float32))
        count = size() * x.numel() // x.shape[1]
        mean = _summed(h.sum(dim=(0, 2, 3))) / count
        centred = h - mean[:, None, None]
        variance = _summed(centred.square().sum(dim=(0, 2, 3))) / count
        with torch.no_grad():
            assert self.num_batches_tracked is not None
            self.num_batches_tracked += 1
            for kept, now in ((self.running_mean, mean), (self.running_var, variance * count / (count - 1))):
                assert kept is not None
                kept.lerp_(now.to(kept.dtype), self.momentum or 0.0)
        scale = self.weight * (variance + self.eps).rsqrt()
        return (centred * scale[:, None, None] + self.bias[:, None, None]).to(x.dtype)


def _summed(x: Tensor) -> Tensor:
    out: Tensor = _Sum.apply(x)  # type: ignore[no-untyped-call]
    return out


class _Sum(torch.autograd.Function):
    """The sum over processes; what the losses of all of them say of it comes back."""

    @staticmethod
    def forward(_: Any, x: Tensor) -> Tensor:
        return total(x)

    @staticmethod
    def backward(_: Any, *gradients: Tensor) -> Tensor:
        return total(gradients[0].contiguous())


class _Gather(torch.autograd.Function):
    """Rows of all processes, in the order of their ranks; gradients of all processes come back to the rows' own."""

    @staticmethod
    def forward(_: Any, x: Tensor) -> Tensor:
        return torch.cat(_parts(x))

    @staticmethod
    def backward(_: Any, *gradients: Tensor) -> Tensor:
        return share(total(gradients[0].contiguous()))


def _parts(x: Tensor) -> list[Tensor]:
    parts = [torch.empty_like(x, memory_format=torch.contiguous_format) for _ in range(size())]
    distributed.all_gather(parts, x.contiguous())
    return parts
