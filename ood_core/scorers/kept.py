"""Training rows that a scorer keeps as they came: shared with their outputs, and not to be written to."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from ..checks import InputError

ROWS = 16  # of each tensor that are looked at again


class Kept:
    """Tensors as they were when they were fitted on; a copy of a scorer watches none.

    torch counts what it writes itself. What is written through a numpy array of the same memory shows where it reaches
    one of `ROWS` rows, evenly spread.
    """

    def __init__(self, tensors: Iterable[Tensor] = ()) -> None:
        self._seen = [(tensor, None if tensor.is_inference() else tensor._version, _some(tensor)) for tensor in tensors]

    def require_unchanged(self, name: str) -> None:
        """Refuse rows that were written to, beside whose lengths and norms they would give wrong scores."""
        if any(
            (version is not None and tensor._version != version) or not torch.equal(_some(tensor), rows)
            for tensor, version, rows in self._seen
        ):
            raise InputError(
                f"the training rows that {name} keeps were written to after fit, expected them as they were.\n"
                "Fit again; to use their memory for other rows, fit on a copy: Outputs(features=h.clone())."
            )

    def __deepcopy__(self, memo: dict[int, Any]) -> Kept:
        return Kept()

    def __reduce__(self) -> tuple[type[Kept], tuple[()]]:
        return Kept, ()


def _some(tensor: Tensor) -> Tensor:
    """A copy of a few rows."""
    return tensor[torch.linspace(0, len(tensor) - 1, min(ROWS, len(tensor))).long().to(tensor.device)]
