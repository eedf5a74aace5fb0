"""A compact vision transformer: small patches, an encoder, and a learned average over the patches.

Source: Hassani et al. 2021, arXiv 2104.05704 (CVT). Departures: no dropout and no stochastic depth; layer norm before
attention and before the perceptron, with the plain sum as the residual stream; GELU is its own activation.
"""

from __future__ import annotations

from functools import partial

from torch import Tensor, nn
from torch.nn import functional as F

from ..recipes.schema import Network
from .architecture import Architecture, Backbone, ImageShape

PATCH = 4  # pixels
HEADS = 4


class _Block(nn.Module):
    """x + attention(norm(x)), then x + perceptron(norm(x)) with 2 D hidden units: (B, T, D) -> (B, T, D)."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim)
        self.qkv = nn.Linear(dim, 3 * dim, bias=False)
        self.out = nn.Linear(dim, dim)
        self.norm2 = nn.LayerNorm(dim)
        self.perceptron = nn.Sequential(nn.Linear(dim, 2 * dim), nn.GELU(), nn.Linear(2 * dim, dim))

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(self.norm1(x)).unflatten(-1, (3, HEADS, -1)).permute(2, 0, 3, 1, 4)  # each (B, heads, T, d)
        mixed = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)  # (B, T, D)
        x = x + self.out(mixed)
        out: Tensor = x + self.perceptron(self.norm2(x))
        return out


class CompactTransformer(Backbone):
    """Patches with learned positions, encoder blocks, layer norm, and sum_t softmax_t(w x_t + b) x_t over patches.

    Args:
        depth: encoder blocks.
        settings: `width` is D, the numbers that stand for a patch; also `dim`.
        image_shape: (H, W, C) of the images; the network fits this size alone.
    """

    def __init__(self, depth: int, settings: Network, image_shape: ImageShape) -> None:
        super().__init__()
        height, wide, channels = image_shape
        self.patches = nn.Conv2d(channels, settings.width, PATCH, stride=PATCH)
        self.positions = nn.Embedding((height // PATCH) * (wide // PATCH), settings.width)
        self.blocks = nn.Sequential(*(_Block(settings.width) for _ in range(depth)))
        self.norm = nn.LayerNorm(settings.width)
        self.share = nn.Linear(settings.width, 1)
        self.dim = settings.width

    def forward(self, x: Tensor) -> Tensor:
        x = self.patches(x).flatten(2).transpose(1, 2) + self.positions.weight  # (B, T, D)
        x = self.norm(self.blocks(x))
        out: Tensor = self.share(x).softmax(dim=1).transpose(1, 2) @ x  # (B, 1, D)
        return out.squeeze(1)


NETWORKS = {
    "cvt7": Architecture(
        partial(CompactTransformer, 7),
        width=256,
        least=2 * PATCH,
        options=(),
        source="Hassani et al. 2021, arXiv 2104.05704: CVT-7/4",
        step=PATCH,
        width_step=HEADS,
    )
}
