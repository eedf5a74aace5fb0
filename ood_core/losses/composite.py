"""DisMax's regularisation: half of each batch is put together from four images, and so are its targets."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from .. import parallel
from ..checks import InputError
from ..recipes.schema import Loss
from .batch import Batch, Step

SOURCES = 4
LEAST = 2 * SOURCES  # so that four images of one half are four different ones


class Composite:
    """(CE + alpha KL) / 2: CE over half of the shuffled batch as it is, KL over composites of the other half.

    In the second half, image i keeps its upper left quadrant and takes the upper right, lower left and lower right ones
    from the images 1, 2 and 3 places before it, round the half; Q puts 1/4 on each of the four labels, and equal labels
    add up. With P the softmax of scale * logits,

        CE = mean of -log P[label],  KL = mean of sum_c Q_c log(Q_c / P_c),  0 log 0 = 0

    Nothing is written to the batch's images. The pieces are not rescaled; an odd row or column in the middle belongs to
    the lower or right piece. Accuracy is that of the first half. In several processes all share one shuffled batch,
    each with an equal part of both halves.

    Source: arXiv 2205.05874, with KL(Q || P) as its code computes it; its figure has KL(P || Q), which is infinite.
    """

    views = 1

    def __init__(self, settings: Loss) -> None:
        self.scale, self.alpha = settings.scale, settings.composite

    def __call__(self, batch: Batch) -> Step:
        images, labels = parallel.everyone(batch.images), parallel.everyone(batch.labels)
        count = len(labels)
        if count < LEAST:
            raise InputError(
                f"a batch has {count} images, expected at least {LEAST}: a composite takes {SOURCES} of one half.\n"
                "Raise optimiser.batch, or set loss.composite to 0."
            )
        order = torch.randperm(count, generator=batch.draw).to(labels.device)
        whole, parts = parallel.share(order[: count // 2]), order[count // 2 :]
        mixed = parallel.share(composites(images[parts]))
        _, logits = batch.forward(torch.cat([images[whole], mixed]))
        log_p = F.log_softmax(self.scale * logits, dim=1)
        target = parallel.share(shares(labels[parts], logits.shape[1])).to(log_p)
        loss = F.nll_loss(log_p[: len(whole)], labels[whole])
        loss = (loss + self.alpha * F.kl_div(log_p[len(whole) :], target, reduction="batchmean")) / 2
        right = (logits[: len(whole)].detach().argmax(dim=1) == labels[whole]).sum()
        return Step(loss, right, len(whole))


def composites(images: Tensor) -> Tensor:
    """Images (M, C, H, W) whose quadrants come from the images 0, 1, 2 and 3 places before, round the batch."""
    made = images.clone()
    top, left = images.shape[2] // 2, images.shape[3] // 2
    made[:, :, :top, left:] = images[:, :, :top, left:].roll(1, dims=0)
    made[:, :, top:, :left] = images[:, :, top:, :left].roll(2, dims=0)
    made[:, :, top:, left:] = images[:, :, top:, left:].roll(3, dims=0)
    return made


def shares(labels: Tensor, classes: int) -> Tensor:
    """Targets (M, classes) of those composites: a quarter for the label of each piece."""
    own = F.one_hot(labels, classes).double()
    total: Tensor = sum((own.roll(back, dims=0) for back in range(1, SOURCES)), own)
    return total / SOURCES
