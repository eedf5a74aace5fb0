"""Training-time augmentation: random crop after zero padding, and flip, in one gather on the device."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from .recipes.schema import Data


class Augmentation:
    """Cuts batches out of a padded copy of the training images.

    Works on raw uint8 pixels before standardisation, so the border is black and the arithmetic exact.

    Args:
        images: uint8 (N, H, W, C), on the device that trains.
        data: `crop_padding` and `flip`; with neither, batches are the images themselves.
    """

    def __init__(self, images: Tensor, data: Data) -> None:
        self.count, self.height, self.width, _ = images.shape
        self.flip = data.flip
        self.padding = data.crop_padding
        p = self.padding
        self.padded = F.pad(images, (0, 0, p, p, p, p))
        self.drawn = torch.zeros(self.count, 3, dtype=torch.int64, device=images.device)

    def new_epoch(self, generator: torch.Generator) -> None:
        """Draw row shift, column shift and flip for every image; an image's draw does not depend on its batch."""
        shifts = torch.randint(0, 2 * self.padding + 1, (self.count, 2), generator=generator)
        flips = torch.randint(0, 1 + int(self.flip), (self.count, 1), generator=generator)
        self.drawn = torch.cat([shifts, flips], dim=1).to(self.padded.device)

    def batch(self, index: Tensor) -> Tensor:
        """The augmented images at `index` (B,): uint8 (B, H, W, C)."""
        drawn = self.drawn[index]
        rows = torch.arange(self.height, device=index.device) + drawn[:, 0:1]  # (B, H)
        columns = torch.arange(self.width, device=index.device).expand(len(index), -1)
        columns = torch.where(drawn[:, 2:3] == 1, self.width - 1 - columns, columns) + drawn[:, 1:2]  # (B, W)
        return self.padded[index[:, None, None], rows[:, :, None], columns[:, None, :]]
