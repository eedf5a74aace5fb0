"""What a set looks like: its first images in canonical order, which is by content and so as good as random."""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray

from .imageset import ImageSet

GRID = (12, 2)  # columns and rows
GAP = 1  # pixels of grey between two images


def grid(images: ImageSet) -> NDArray[np.uint8]:
    """The first 24 images, 12 in a row, as one array (H, W, C)."""
    columns, rows = GRID
    _, height, width, channels = images.images.shape
    sheet = np.full((rows * (height + GAP) - GAP, columns * (width + GAP) - GAP, channels), 128, dtype=np.uint8)
    for place, pixels in enumerate(images.images[: columns * rows]):
        top, left = place // columns * (height + GAP), place % columns * (width + GAP)
        sheet[top : top + height, left : left + width] = pixels
    return sheet


def sheet(images: ImageSet, kind: str = "PNG", factor: int = 1) -> bytes:
    """`grid` as a picture: `PNG` keeps every pixel, `WEBP` is a tenth as large and near enough to look at.

    Args:
        factor: pixels a side that each pixel becomes.
    """
    from PIL import Image

    array = grid(images)
    picture = Image.fromarray(array.squeeze(-1) if array.shape[-1] == 1 else array)
    if factor > 1:
        picture = picture.resize((picture.width * factor, picture.height * factor), Image.Resampling.NEAREST)
    target = io.BytesIO()
    picture.save(target, format=kind, **({"quality": 80, "method": 6} if kind == "WEBP" else {"optimize": True}))
    return target.getvalue()
