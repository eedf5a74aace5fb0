"""Image sets made from others, none of which is an OOD set to test on.

Pieces of the ID validation images are for choosing a scorer. ID test images after a treatment that some OOD sets had
are controls: how well they are told from the untouched ones is what a detector owes to the treatment alone.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from .imageset import ImageSet
from .pictures import reduced

if TYPE_CHECKING:
    from PIL import Image

SIDE = 4  # pieces along each side, 16 in all
LARGER = 2  # times the side, before an image is reduced again
QUALITY = 75  # of JPEG, the usual default
INNER = 28  # pixels along a side of the grey sets, which lie in a black frame


def shuffled(images: ImageSet) -> NDArray[np.uint8]:
    """Each image cut into 4x4 pieces that change places: the pixels and local strokes stay, the object goes.

    The order follows from the image's id alone (the pieces are sorted by a hash of id and place), so it is the same for
    every seed, machine and library version.

    Args:
        images: height and width are multiples of 4.
    Returns:
        uint8 (N, H, W, C).
    """
    n, height, width, channels = images.images.shape
    high, wide = height // SIDE, width // SIDE
    grid = images.images.reshape(n, SIDE, high, SIDE, wide, channels).transpose(0, 1, 3, 2, 4, 5)
    pieces = grid.reshape(n, SIDE * SIDE, high, wide, channels)
    moved = np.stack([piece[_order(str(key))] for piece, key in zip(pieces, images.ids, strict=True)])
    back = moved.reshape(n, SIDE, SIDE, high, wide, channels).transpose(0, 1, 3, 2, 4, 5)
    return np.ascontiguousarray(back.reshape(images.images.shape))


def _order(key: str) -> list[int]:
    places = range(SIDE * SIDE)
    return sorted(places, key=lambda place: hashlib.blake2b(f"{key}|{place}".encode(), digest_size=16).digest())


def resized(images: ImageSet) -> NDArray[np.uint8]:
    """Each image enlarged to twice its side and reduced again, bicubic both times, as sets of larger images are."""
    return _treated(images, lambda image: image)


def jpeg(images: ImageSet) -> NDArray[np.uint8]:
    """As `resized`, with JPEG of quality 75 and halved colour in between, as sets that were born as photographs."""
    from PIL import Image

    def compressed(image: Image.Image) -> Image.Image:
        file = io.BytesIO()
        image.save(file, "JPEG", quality=QUALITY, subsampling="4:2:0")
        with Image.open(file) as found:
            return found.convert(image.mode)

    return _treated(images, compressed)


def grey(images: ImageSet) -> NDArray[np.uint8]:
    """Each image without its colour, repeated in each channel."""
    return np.repeat(
        np.stack([np.asarray(image) for image in _grey(images)])[..., None], images.images.shape[3], axis=3
    )


def framed(images: ImageSet) -> NDArray[np.uint8]:
    """Each image grey and reduced to 28x28, in the middle of black and repeated in each channel, as MNIST is shown."""
    channels = images.images.shape[3]
    small = np.stack([np.asarray(reduced(image, INNER)) for image in _grey(images)])[..., None]
    edge = [(side - INNER) // 2 for side in images.images.shape[1:3]]
    rest = [side - INNER - before for side, before in zip(images.images.shape[1:3], edge, strict=True)]
    inside = np.pad(small, ((0, 0), *zip(edge, rest, strict=True), (0, 0)))
    return np.repeat(inside, channels, axis=3)


def _grey(images: ImageSet) -> list[Image.Image]:
    from PIL import Image

    return [Image.fromarray(image.squeeze()).convert("L") for image in images.images]


def _treated(images: ImageSet, treat: Callable[[Image.Image], Image.Image]) -> NDArray[np.uint8]:
    """Each image enlarged, treated, and reduced by the one rule for larger images."""
    from PIL import Image

    made = []
    for pixels in images.images:
        image = Image.fromarray(pixels.squeeze())
        large = image.resize((LARGER * image.width, LARGER * image.height), Image.Resampling.BICUBIC)
        made.append(np.asarray(reduced(treat(large), image.width)))
    return np.stack(made).reshape(images.images.shape)


MAKERS = {"shuffled": shuffled, "resized": resized, "jpeg": jpeg, "grey": grey, "framed": framed}
