"""Linear heads, on raw and on L2-normalised features."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .. import outputs
from ..recipes.schema import Head


class LinearHead(nn.Module):
    """logits = W h + b, or W h where the recipe asks for no bias."""

    kind = "linear"

    def __init__(self, settings: Head, dim: int, classes: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(classes, dim))
        self.bias = nn.Parameter(torch.empty(classes)) if settings.bias else None

    def forward(self, features: Tensor) -> Tensor:
        with torch.autocast(features.device.type, enabled=False):
            return F.linear(self.on(features.to(self.weight.dtype)), self.weight, self.bias)

    def on(self, features: Tensor) -> Tensor:
        """What the weights act on."""
        return features

    def formula(self) -> outputs.Head:
        """The head as scorers take it, detached from the module."""
        bias = None if self.bias is None else self.bias.detach().cpu().clone()
        return outputs.Head(self.kind, self.weight.detach().cpu().clone(), bias)  # type: ignore[arg-type]


class L2Head(LinearHead):
    """logits = (W z + b) / T with z = h / max(||h||_2, 1e-12). Source: arXiv 2209.08378, 2306.04072, which have T = 1.

    Without T, |logit_c - b_c| <= ||w_c||, so confidence grows only as weight decay lets W grow. T is part of the head:
    it is there in training and after, and `formula` has W / T and b / T.
    """

    kind = "unit"

    def __init__(self, settings: Head, dim: int, classes: int) -> None:
        super().__init__(settings, dim, classes)
        self.temperature = settings.temperature

    def forward(self, features: Tensor) -> Tensor:
        logits = super().forward(features)
        return logits if self.temperature == 1 else logits / self.temperature

    def formula(self) -> outputs.Head:
        """The head as scorers take it, detached from the module."""
        found = super().formula()
        bias = None if found.bias is None else found.bias / self.temperature
        return outputs.Head("unit", found.weight / self.temperature, bias)

    def on(self, features: Tensor) -> Tensor:
        return outputs.unit(features).to(features)
