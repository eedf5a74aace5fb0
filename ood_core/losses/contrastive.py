"""Contrastive losses on unit vectors of two views of each image: SupCon and NT-Xent."""

from __future__ import annotations

import torch
from torch import Tensor

from .. import parallel
from ..recipes.schema import Loss
from .batch import Batch, Step


class SupCon:
    """Supervised contrastive loss, the form with the sum over positives outside the logarithm.

    With unit vectors z_i of the 2B views, A(i) all views but i, P(i) those of A(i) with the label of i:

    L = t/t0 mean_i -1/|P(i)| sum_{p in P(i)} log( exp(z_i . z_p / t) / sum_{a in A(i)} exp(z_i . z_a / t) )

    The mean is over anchors that have a positive; others would be 0/0. Without any the loss is 0. The factor t/t0 is
    that of the published code; it rescales loss and gradient, so it acts like a learning rate. In several processes
    each one's views are anchors against the views of all, and the mean of the processes' losses is that of the union.

    Args:
        settings: temperature t; base_temperature t0, None for no factor.
    Source: Khosla et al. 2020, arXiv 2004.11362, equation 2. Departure: anchors without positives leave the mean.
    """

    views = 2

    def __init__(self, settings: Loss) -> None:
        self.temperature = settings.temperature
        base = settings.base_temperature
        self.factor = 1.0 if base is None else settings.temperature / base

    def __call__(self, batch: Batch) -> Step:
        _, z = batch.forward(batch.images)
        nothing = torch.zeros((), dtype=torch.int64, device=z.device)
        with torch.autocast(z.device.type, enabled=False):
            return Step(self._loss(z.to(torch.promote_types(z.dtype, torch.float32)), batch.labels), nothing, 0)

    def groups(self, labels: Tensor) -> Tensor:
        """Which images are alike, (B,) of the images of this process: those with one label."""
        return labels

    def _loss(self, z: Tensor, labels: Tensor) -> Tensor:
        groups = self.groups(labels).repeat(len(z) // len(labels))
        everyone, all_groups = parallel.gathered(z), parallel.everyone(groups)
        own = torch.arange(len(z), device=z.device)[:, None] + parallel.rank() * len(z)
        others = own != torch.arange(len(everyone), device=z.device)
        positive = (groups[:, None] == all_groups) & others
        similarity = z @ everyone.T / self.temperature
        # logsumexp subtracts the largest: exp(1/t) alone would overflow float32 for t below 0.012
        log_share = similarity - similarity.masked_fill(~others, -torch.inf).logsumexp(dim=1, keepdim=True)
        count = positive.sum(dim=1)
        each = -log_share.masked_fill(~positive, 0).sum(dim=1) / count.clamp(min=1)
        anchors = parallel.total((count > 0).sum())
        return self.factor * parallel.size() * each.sum() / anchors.clamp(min=1)


class NTXent(SupCon):
    """NT-Xent, the self-supervised loss of SimCLR: SupCon where each image is a class of its own.

    L = t/t0 mean_i -log( exp(z_i . z_j(i) / t) / sum_{a in A(i)} exp(z_i . z_a / t) ), j(i) the other view of the image

    Source: Chen et al. 2020, arXiv 2002.05709, equation 1, which has no factor; the code of Khosla et al. 2020 has it.
    """

    def groups(self, labels: Tensor) -> Tensor:
        """Every image is alike to itself alone."""
        return torch.arange(len(labels), device=labels.device) + parallel.rank() * len(labels)
