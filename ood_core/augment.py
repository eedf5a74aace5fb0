"""Training-time augmentation on the device: crop after zero padding and flip, or that of contrastive learning."""

from __future__ import annotations

import itertools
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from .recipes.schema import Data

AREA = (0.2, 1.0)  # of a resized crop, as a share of the image
RATIO = (3 / 4, 4 / 3)  # of its width to its height
TRIES = 10  # for a crop that fits; else the whole image
JITTER, HUE = 0.4, 0.1  # brightness, contrast and saturation by 1 -+ JITTER; hue by a share of the circle
P_JITTER, P_GREY = 0.8, 0.2
LUMA = (0.299, 0.587, 0.114)
CORNERS = (5.0, 3.0, 1.0)  # of red, green and blue on the circle of hues
ORDERS = tuple(itertools.permutations(range(3)))  # of brightness, contrast and saturation


class Augmentation:
    """Batches of augmented training images; every image's draws are made at the start of an epoch, for each view.

    Without `data.colour`: random crop after zero padding, and flip, in one gather on raw uint8 pixels, so the border is
    black and the arithmetic exact. With it: a crop of 20 to 100 % of the area, resized bilinearly; flip; and for colour
    images, with probability 0.8, brightness, contrast, saturation and hue in random order, then grey with probability
    0.2, rounded to whole levels at the end.

    Args:
        images: uint8 (N, H, W, C), on the device that trains.
        data: `crop_padding`, `flip`, `colour`; with none, batches are the images themselves.
    Source: Chen et al. 2020, arXiv 2002.05709, with the strengths of the code of Khosla et al. 2020, arXiv 2004.11362.
    """

    def __init__(self, images: Tensor, data: Data) -> None:
        self.count, self.height, self.width, self.channels = images.shape
        self.flip, self.colour = data.flip, data.colour
        self.padding = data.crop_padding
        p = self.padding
        self.padded = F.pad(images, (0, 0, p, p, p, p))
        self.drawn: list[Tensor] = []
        self.colours: list[Tensor] = []

    def new_epoch(self, generator: torch.Generator, views: int = 1) -> None:
        """Draw for every image and view; a view's draws depend on neither the batch nor the number of views."""
        device = self.padded.device
        self.drawn, self.colours = [], []
        for _ in range(views):
            place = self._crops(generator) if self.colour else self._shifts(generator)
            flips = torch.randint(0, 1 + int(self.flip), (self.count, 1), generator=generator)
            self.drawn.append(torch.cat([place, flips], dim=1).to(device))
            if self.colour:
                self.colours.append(self._jitters(generator).to(device))

    def batch(self, index: Tensor, view: int = 0) -> Tensor:
        """One view of the images at `index` (B,): uint8 (B, H, W, C)."""
        drawn = self.drawn[view][index]
        if not self.colour:
            rows = torch.arange(self.height, device=index.device) + drawn[:, 0:1]  # (B, H)
            columns = _mirrored(torch.arange(self.width, device=index.device), drawn[:, 2:3] == 1) + drawn[:, 1:2]
            return self.padded[index[:, None, None], rows[:, :, None], columns[:, None, :]]
        top, left, height, width, flip = drawn.T
        vertical = _interpolation(self.height, top, height)
        horizontal = _interpolation(self.width, left, width, flip == 1)
        x = self.padded[index].float().div_(255)
        x = torch.einsum("bih,bhwc->biwc", vertical, x)
        x = torch.einsum("bjw,biwc->bijc", horizontal, x)
        if self.channels == 3:
            x = coloured(x, self.colours[view][index])
        return x.mul_(255).round_().clamp_(0, 255).to(torch.uint8)

    def _shifts(self, generator: torch.Generator) -> Tensor:
        """Row and column of the crop in the padded image, (N, 2)."""
        return torch.randint(0, 2 * self.padding + 1, (self.count, 2), generator=generator)

    def _crops(self, generator: torch.Generator) -> Tensor:
        """Top, left, height and width of the crop, (N, 4): the first of `TRIES` that fits, else the whole image."""
        drawn = torch.rand(4, self.count, TRIES, generator=generator, dtype=torch.float64)
        area = self.height * self.width * (AREA[0] + (AREA[1] - AREA[0]) * drawn[0])
        ratio = RATIO[0] * (RATIO[1] / RATIO[0]) ** drawn[1]
        width, height = (area * ratio).sqrt().round(), (area / ratio).sqrt().round()
        fits = (width >= 1) & (width <= self.width) & (height >= 1) & (height <= self.height)
        first = fits.double().argmax(dim=1, keepdim=True)
        none = ~fits.any(dim=1, keepdim=True)
        width = width.gather(1, first).masked_fill(none, self.width)
        height = height.gather(1, first).masked_fill(none, self.height)
        top = (drawn[2].gather(1, first) * (self.height - height + 1)).floor()
        left = (drawn[3].gather(1, first) * (self.width - width + 1)).floor()
        return torch.cat([top, left, height, width], dim=1).long()

    def _jitters(self, generator: torch.Generator) -> Tensor:
        """Of each image: three factors, shift of hue, index in `ORDERS`, blends before hue, and 1 for grey: (N, 7)."""
        drawn = torch.rand(self.count, 8, generator=generator)
        on = drawn[:, 0:1] < P_JITTER
        factors = torch.where(on, 1 + JITTER * (2 * drawn[:, 1:4] - 1), 1.0)
        hue = torch.where(on, HUE * (2 * drawn[:, 4:5] - 1), 0.0)
        order, before = (drawn[:, 5:6] * len(ORDERS)).floor(), (drawn[:, 6:7] * 4).floor()
        return torch.cat([factors, hue, order, before, (drawn[:, 7:8] < P_GREY).float()], dim=1)


def coloured(x: Tensor, drawn: Tensor) -> Tensor:
    """Colour jitter and grey, each image its own: x (B, H, W, 3) in 0..1 and draws (B, 7) -> (B, H, W, 3) in 0..1.

    Brightness, contrast and saturation blend x with black, with the image's mean grey and with its own grey.
    """
    orders = _constant(ORDERS, x.device)[drawn[:, 4].long()]
    before = drawn[:, 5:6]
    for late in (False, True):
        for step in range(3):
            kind = orders[:, step : step + 1]
            now = (before <= step) if late else (before > step)
            factor = torch.where(now, drawn[:, :3].gather(1, kind), 1.0)
            x = _blended(x, _by_image(kind), _by_image(factor))
        if not late:
            shift = _by_image(drawn[:, 3:4])
            x = torch.where(shift == 0, x, _hue(x, shift))
    return torch.where(_by_image(drawn[:, 6:7]) == 1, _grey(x).expand_as(x), x)


@cache
def _constant(values: tuple[Any, ...], device: torch.device) -> Tensor:
    """Made once: a step would wait for each copy to a GPU."""
    return torch.tensor(values, device=device)


def _by_image(column: Tensor) -> Tensor:
    return column[:, :, None, None]


def _blended(x: Tensor, kind: Tensor, factor: Tensor) -> Tensor:
    grey = _grey(x)
    other = torch.where(kind == 2, grey, torch.where(kind == 1, grey.mean(dim=(1, 2, 3), keepdim=True), 0.0))
    return (factor * x + (1 - factor) * other).clamp_(0, 1)


def _grey(x: Tensor) -> Tensor:
    return (x * _constant(LUMA, x.device)).sum(dim=3, keepdim=True)


def _hue(x: Tensor, shift: Tensor) -> Tensor:
    """Colours turned by `shift` of the circle, at the same value and saturation (as HSV has them)."""
    value, low = x.amax(dim=3, keepdim=True), x.amin(dim=3, keepdim=True)
    chroma = value - low
    red, green, blue = x.split(1, dim=3)
    by = chroma.masked_fill(chroma == 0, 1.0)
    sector = torch.where(value == green, 2 + (blue - red) / by, 4 + (red - green) / by)
    sector = torch.where(value == red, (green - blue) / by, sector)
    k = (sector + 6 * shift + _constant(CORNERS, x.device)) % 6
    return value - chroma * torch.minimum(k, 4 - k).clamp(0, 1)


def _interpolation(size: int, start: Tensor, length: Tensor, mirrored: Tensor | None = None) -> Tensor:
    """Weights (B, size, size) that resize pixels start..start+length-1 to `size` by linear interpolation."""
    pixels = torch.arange(size, device=start.device)
    target = pixels.expand(len(start), -1) if mirrored is None else _mirrored(pixels, mirrored[:, None])
    source = (target + 0.5) * (length / size)[:, None] - 0.5
    source = source.clamp(min=0).minimum((length - 1)[:, None]) + start[:, None]
    return (1 - (source[:, :, None] - pixels).abs()).clamp_(min=0)


def _mirrored(pixels: Tensor, flip: Tensor) -> Tensor:
    """Positions (B, size), from the end where `flip` (B, 1) says so."""
    return torch.where(flip, len(pixels) - 1 - pixels, pixels.expand(len(flip), -1))
