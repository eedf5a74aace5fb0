"""Distance heads: minus the distances between a feature and one learned prototype a class."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from .. import outputs
from ..recipes.schema import Head


class IsoMaxHead(nn.Module):
    """logits = -||h - p_c||_2, not squared; prototypes start at zero. Source: arXiv 2006.04005.

    The entropic scale is the loss's alone: these logits go without it, in training and after. Differences are taken
    coordinate by coordinate, since ||h||^2 - 2 h p + ||p||^2 cancels for near points; where a feature lies on a
    prototype, the distance has no derivative and 0 is taken.
    """

    normalized = False
    plus_mean = False
    factor = 1.0
    start = "zeros"

    def __init__(self, settings: Head, dim: int, classes: int) -> None:
        super().__init__()
        self.start = settings.start or self.start
        self.prototypes = nn.Parameter(torch.empty(classes, dim))

    @torch.no_grad()
    def fill(self, name: str, parameter: nn.Parameter, draw: torch.Generator) -> None:
        """Put a parameter of this head where training starts: prototypes at 0 or drawn from N(0, 1), the scale at 1."""
        if name == "prototypes" and self.start == "normal":
            parameter.normal_(generator=draw)
        else:
            parameter.fill_(1.0 if name == "scale" else 0.0)

    def forward(self, features: Tensor) -> Tensor:
        """Features (..., D) -> logits (..., C), in the prototypes' precision under autocast."""
        with torch.autocast(features.device.type, enabled=False):
            h = features.to(self.prototypes.dtype).reshape(-1, features.shape[-1])
            pair = (
                (outputs.unit(h).to(h), outputs.unit(self.prototypes).to(h))
                if self.normalized
                else (h, self.prototypes)
            )
            # cdist's own derivative at distance 0 is 0
            distances = torch.cdist(*pair, compute_mode="donot_use_mm_for_euclid_dist") * self.size()
            if self.plus_mean:
                distances = distances + distances.mean(dim=1, keepdim=True)
            return -distances.reshape(*features.shape[:-1], -1)

    def size(self) -> Tensor | float:
        """What distances are multiplied by."""
        return self.factor

    def formula(self) -> outputs.Head:
        """The head as scorers take it, detached from the module."""
        return outputs.Head(
            "distance",
            self.prototypes.detach().cpu().clone(),
            scale=float(torch.as_tensor(self.size()).detach()),
            normalized=self.normalized,
            plus_mean=self.plus_mean,
        )


class IsoMaxPlusHead(IsoMaxHead):
    """logits = -D_c, D_c = |s| ||z - p_c / ||p_c||_2 ||_2, z = h / ||h||_2, s learned; prototypes start at random.

    Source: arXiv 2105.14399, with N(0, 1) for each entry of a prototype and s = 1 at the start.
    """

    normalized = True
    start = "normal"

    def __init__(self, settings: Head, dim: int, classes: int) -> None:
        super().__init__(settings, dim, classes)
        self.scale = nn.Parameter(torch.empty(()))

    def size(self) -> Tensor:
        return self.scale.abs() * self.factor


class DisMaxHead(IsoMaxPlusHead):
    """logits = -(D_c + mean_k D_k), D_c as in IsoMax+ over sqrt(2), so that unit vectors at right angles are |s| apart.

    The mean is the same for all classes: it changes neither probabilities nor loss, only scores that read raw logits.

    Source: arXiv 2205.05874.
    """

    factor = 1 / math.sqrt(2)
    plus_mean = True
