"""What every backbone has in common: its type, what a name stands for, and what it refuses."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import nn

from ..checks import InputError
from ..recipes.schema import Network

ImageShape = tuple[int, int, int]  # (H, W, C)


class Backbone(nn.Module):
    """images (B, C, H, W) -> features (B, dim)."""

    dim: int


@dataclass(frozen=True)
class Architecture:
    """What a network's name stands for.

    Attributes:
        build: (settings, (H, W, C)) -> the backbone, empty: `networks.initialise` fills it.
        width: the published width, in the sense of `network.width`.
        least: fewest pixels of an image's height and width.
        options: fields of `network` that it takes, beside name and width.
        source: where it comes from.
        step: height and width are multiples of it.
        width_step: `width` is a multiple of it.
    """

    build: Callable[[Network, ImageShape], Backbone]
    width: int
    least: int
    options: tuple[str, ...]
    source: str
    step: int = 1
    width_step: int = 1

    def check(self, settings: Network, image_shape: ImageShape) -> None:
        """Refuse options, widths and images that the architecture does not take.

        Raises:
            InputError: one of them, by name.
        """
        name, (height, wide, _) = settings.name, image_shape
        fields = type(settings).model_fields
        for option in fields.keys() - {"name", "width", *self.options}:
            got = getattr(settings, option)
            if got != fields[option].default:
                raise InputError(
                    f"{name} got network.{option} {got!r}, expected it to be left out: {name} has "
                    + (f"no options but {', '.join(self.options)}." if self.options else "no options.")
                    + "\nLeave it out, or choose another network; see `models.ARCHITECTURES`."
                )
        if settings.width % self.width_step:
            raise InputError(
                f"{name} got network.width {settings.width}, expected a multiple of {self.width_step}.\n"
                f"Choose {-(-settings.width // self.width_step) * self.width_step}, for instance."
            )
        if min(height, wide) < self.least or height % self.step or wide % self.step:
            multiples = f", in multiples of {self.step}" if self.step > 1 else ""
            raise InputError(
                f"{name} got images of {height}x{wide}, "
                f"expected at least {self.least}x{self.least} pixels{multiples}.\n"
                "Choose a network for smaller images, or bring the images to such a size."
            )
