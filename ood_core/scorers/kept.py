"""Training rows that a scorer keeps as they came: shared with their outputs, and not to be written to."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from torch import Tensor

from ..checks import InputError


class Kept:
    """Tensors and how often they had been written to when they were fitted on; a copy of a scorer watches none.

    torch counts what it writes itself: a change through a numpy array of the same memory goes unseen.
    """

    def __init__(self, tensors: Iterable[Tensor] = ()) -> None:
        self._seen = [(tensor, tensor._version) for tensor in tensors if not tensor.is_inference()]

    def require_unchanged(self, name: str) -> None:
        """Refuse rows that were written to, beside whose lengths and norms they would give wrong scores."""
        if any(tensor._version != version for tensor, version in self._seen):
            raise InputError(
                f"the training rows that {name} keeps were written to after fit, expected them as they were.\n"
                "Fit again; to use their memory for other rows, fit on a copy: Outputs(features=h.clone())."
            )

    def __deepcopy__(self, memo: dict[int, Any]) -> Kept:
        return Kept()

    def __reduce__(self) -> tuple[type[Kept], tuple[()]]:
        return Kept, ()
