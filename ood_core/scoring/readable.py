"""Image files that can be read: the others stop the work before it begins, or are left out by name."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import repeat
from pathlib import Path
from typing import Any

from tqdm import tqdm

from ..checks import InputError
from ..data.pictures import UnreadableError, opened

NAMED = 3  # unreadable files
SOME = 1000  # files that wait for a thread at once
ORIENTATION, UPRIGHT = 0x0112, 1  # the tag of Exif, and its value for an image that is shown as it is stored


def require_images(paths: Iterable[Path]) -> int:
    """Refuse files whose beginning is not that of an image, before hours go into those in front of them.

    Returns:
        how many have a tag that asks to show them turned or mirrored.
    Raises:
        InputError: names the first few; a file that breaks off later is found when it is read.
    """
    try:
        from PIL import Image
    except ModuleNotFoundError:  # which `opened` says at the first image
        return 0
    bad, turned = [], 0
    for path in paths:
        try:
            with Image.open(path) as file:
                turned += _turned(file)
        except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
            bad.append((path, error))
    if bad:
        first = ", ".join(str(path) for path, _ in bad[:NAMED]) + (" and others" if len(bad) > NAMED else "")
        raise InputError(
            f"{first} cannot be read ({bad[0][1]}), expected images; that is so of {len(bad)} of the files.\n"
            "Replace these files, move them away, or leave them out with `skip_unreadable=True`."
        )
    return turned


def _turned(file: Any) -> bool:
    """By what stands before the pixels. A TIFF is turned by Pillow as it is read."""
    if file.format == "TIFF" or (file.format == "PNG" and "exif" not in file.info):  # a PNG would be read to its end
        return False
    try:
        return file.getexif().get(ORIENTATION, UPRIGHT) in range(UPRIGHT + 1, 9)
    except Exception:  # whatever Pillow raises of a damaged tag, which the pixels do without
        return False


@dataclass
class Checking:
    """Refuses what cannot be read, or leaves it out.

    Left out is what does not decode to its end, or has more than 8 bits a channel: no file says whether those of the
    training images were scaled, cut to a window or stretched to their range. Every file is read for that, once more
    than the network needs it, so that what is left is known before any work: fit, threshold and table are made of the
    same files.

    Attributes:
        skip: leave out.
        threads, progress: that read at once, and whether a bar shows it.
        unreadable: files that were left out, each with what is wrong.
        turned: how many of those that can be read have a tag that asks to show them turned or mirrored.
    """

    skip: bool
    threads: int = 1
    progress: bool = False
    unreadable: dict[Path, str] = field(default_factory=dict)
    turned: int = 0

    def refuse(self, paths: Iterable[Path]) -> None:
        """`require_images`, unless files may be left out."""
        if not self.skip:
            self.turned += require_images(paths)

    def sound(self, folder: Path, paths: list[Path], mode: str) -> list[Path]:
        """The images of a folder, or the one file, without what is left out.

        Args:
            mode: of Pillow, "L" or "RGB", as the network takes images.
        Raises:
            InputError: not one can be read.
        """
        if not self.skip:
            return paths
        found = []
        with (
            ThreadPoolExecutor(max(1, self.threads)) as pool,
            tqdm(total=len(paths), disable=not self.progress, unit="file", desc=f"checking {folder.name}") as bar,
        ):
            for start in range(0, len(paths), SOME):
                some = paths[start : start + SOME]
                for path, fault in zip(some, pool.map(_fault, some, repeat(mode)), strict=True):
                    if fault is None:
                        found.append(path)
                    else:
                        self.unreadable[path] = fault
                    bar.update()
        if not found:
            raise InputError(
                f"{folder} holds no image that can be read ({paths[0]}: {self.unreadable[paths[0]]}), expected one at "
                f"least of {len(paths)}.\nReplace the files, or check the path."
            )
        self.turned += require_images(found)
        return found


def _fault(path: Path, mode: str) -> str | None:
    try:
        opened(path, mode)
    except UnreadableError as error:
        cause = error.__cause__
        return getattr(cause, "strerror", None) or str(cause).removesuffix(f" {str(path)!r}")  # it is named beside
    except InputError as error:
        if error.__cause__ is not None:  # no Pillow, which is the fault of no file
            raise
        return str(error).removeprefix(f"{path} has ").partition(":")[0]  # more than 8 bits a channel
    return None
