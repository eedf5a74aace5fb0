"""Cross-entropy, with the entropic scale where a recipe has one."""

from __future__ import annotations

from torch.nn import functional as F

from ..recipes.schema import Loss
from .batch import Batch, Step


class CrossEntropy:
    """Mean over the batch of -log softmax(scale * logits)[label], in nats and in the precision of the logits."""

    views = 1

    def __init__(self, settings: Loss) -> None:
        self.scale = settings.scale

    def __call__(self, batch: Batch) -> Step:
        _, logits = batch.forward(batch.images)
        scaled = logits if self.scale == 1 else logits * self.scale
        right = (logits.detach().argmax(dim=1) == batch.labels).sum()
        return Step(F.cross_entropy(scaled, batch.labels), right, len(batch.labels))
