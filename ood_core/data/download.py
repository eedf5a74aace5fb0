"""Downloads that go on where they broke off. torchvision knows the addresses and checksums, but starts again."""

from __future__ import annotations

import tarfile
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.error import HTTPError

from tqdm import tqdm

CHUNK = 2**18
TIMEOUT = 60.0  # seconds without a byte


def retrieve(url: str, filename: str | Path, chunk_size: int = CHUNK) -> None:
    """Download a file with a progress line; what has arrived stays in `FILENAME.part`, and the next call goes on.

    The whole is not checked here: torchvision compares it with its checksum, and starts from nothing if it differs.

    Raises:
        OSError: no connection, an answer that is no file, or a connection that broke off.
    """
    part = Path(f"{filename}.part")
    have = part.stat().st_size if part.exists() else 0
    headers = {"User-Agent": "ood-core", **({"Range": f"bytes={have}-"} if have else {})}
    try:
        answer = urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=TIMEOUT)  # noqa: S310
    except HTTPError as error:
        if error.code != 416 or not have:  # 416: nothing behind what we have, which may be too much
            raise
        part.unlink()
        return retrieve(url, filename, chunk_size)
    with answer:
        resumed = have if answer.status == 206 else 0
        total = resumed + answer.length if answer.length is not None else None
        name = Path(filename).name
        with (
            part.open("ab" if resumed else "wb") as file,
            tqdm(desc=name, total=total, initial=resumed, unit="B", unit_scale=True) as progress,
        ):
            try:
                while chunk := answer.read(chunk_size):
                    file.write(chunk)
                    progress.update(len(chunk))
            except HTTPException as error:  # not an OSError, and torchvision would let it through
                raise OSError(f"{url} broke off ({error})") from error
    if total is not None and part.stat().st_size != total:
        raise OSError(f"{url} broke off after {part.stat().st_size:,} of {total:,} bytes")
    part.replace(filename)
    return None


@contextmanager
def resumable() -> Iterator[None]:
    """While open, torchvision downloads with `retrieve` and unpacks nothing outside of its folder.

    A torchvision without that function, or a Python without that filter (before 3.11.4), keeps its own way.
    """
    from .._torchvision import torchvision

    utils: Any = torchvision().datasets.utils
    # torchvision names no filter for archives; Python 3.12 and 3.13 warn of that, 3.14 takes this one by itself.
    ours: list[tuple[Any, str, Any]] = [(utils, "_urlretrieve", retrieve)]
    if hasattr(tarfile, "data_filter"):
        ours.append((tarfile.TarFile, "extraction_filter", staticmethod(tarfile.data_filter)))
    with ExitStack() as restored:
        for owner, name, value in ours:
            if hasattr(owner, name):
                restored.callback(setattr, owner, name, vars(owner)[name])
                setattr(owner, name, value)
        yield
