"""The projection that contrastive losses act on; thrown away when features are used."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .. import outputs
from ..recipes.schema import Head

SIZE = 128


class ProjectionHead(nn.Module):
    """z = g(h) / max(||g(h)||_2, 1e-12), g(h) = W2 relu(W1 h + b1) + b2: features (B, D) -> unit vectors (B, 128).

    W1 is D x D. No logits: `formula()` is None, and `features.extract` keeps z as `layers["projection"]`.
    Source: Chen et al. 2020, arXiv 2002.05709, and Khosla et al. 2020, arXiv 2004.11362, whose code has these sizes.
    """

    def __init__(self, _: Head, dim: int, classes: int) -> None:  # noqa: ARG002 (every head is made like this)
        super().__init__()
        self.first = nn.Linear(dim, dim)
        self.second = nn.Linear(dim, SIZE)

    def forward(self, features: Tensor) -> Tensor:
        with torch.autocast(features.device.type, enabled=False):
            hidden = F.relu(self.first(features.to(self.first.weight.dtype)))
            return outputs.unit(self.second(hidden)).to(hidden)

    def formula(self) -> None:
        """None: there are no logits."""
