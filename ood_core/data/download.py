"""Downloads that go on where they broke off. torchvision knows the addresses and checksums, but starts again."""

from __future__ import annotations

import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
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
    """While open, torchvision downloads with `retrieve`; a torchvision without that function keeps its own way."""
    from .._torchvision import torchvision

    utils: Any = torchvision().datasets.utils
    own = getattr(utils, "_urlretrieve", None)
    if own is None:
        yield
        return
    utils._urlretrieve = retrieve
    try:
        yield
    finally:
        utils._urlretrieve = own
