"""Random generators named by (seed, purpose, item), never by a key or a position in a stream.

So two recipes with one seed start from the same backbone and see the same order, and resuming needs no stored state.
"""

from __future__ import annotations

import hashlib

import torch


def generator(seed: int, purpose: str, item: str | int) -> torch.Generator:
    """A CPU generator for one purpose (`init`, `order`, `augment`) and one item (a parameter's name, an epoch)."""
    digest = hashlib.blake2b(f"{seed}|{purpose}|{item}".encode(), digest_size=8).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest, "little") & (2**63 - 1))
