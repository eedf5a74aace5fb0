"""What a watched model gives for one batch after another: features, further layers and logits, a row an image."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ..checks import InputError
from .head import logits_layer, projects, refuse_unknown, rounding
from .hooks import Caught, pooled_rows
from .logits import logits_of
from .model import FAILURES, first_output
from .storage import Key

_FEW = 4  # images that run twice, at most; fewer of small batches, whose cost they would double
_SAME = 0.03  # of the length of rows: above what half precision within a model loses from one batch size to another


class Reader:
    """Reads a model batch by batch; what the first one shows of it holds for all.

    Args:
        kind: type of the caller's images, for what is said of a first batch that fails.
    Attributes:
        head: the layer that gives the logits, once one is found.
        eps: the coarsest rounding among what that layer took and gave.
    """

    def __init__(self, model: nn.Module, layer: str | None, layers: Sequence[str], caught: Caught, kind: type) -> None:
        self.head: nn.Module | None = None
        self.eps = 0.0
        self._model, self._layer, self._caught, self._kind = model, layer, caught, kind
        self._wanted: list[Key] = [("features",), *(("layers", name) for name in layers)]
        self._last: Key = ("logits",)
        self._started = False
        self._encoder = False  # a model that gives no logits

    def read(self, inputs: Tensor) -> dict[Key, Tensor]:
        """Rows of one batch by the names under which they are kept; a few rows of the first one run twice."""
        if self._started:
            self._caught.clear(len(inputs))
            return self._rows(self._model(inputs), len(inputs))
        few = inputs[: max(1, min(_FEW, len(inputs) // 4))].clone()  # the model may work in place
        self._caught.clear(len(inputs))
        output = first_output(self._model, inputs, self._kind)
        rows = self._rows(output, len(inputs), lambda: self._again(few, len(inputs)))
        self._started = True
        self._require_same(rows, few, len(inputs))
        return rows

    def _again(self, few: Tensor, count: int) -> Any:
        """What the model makes of a few images; where it was made for batches of one size, of a batch full of them."""
        try:
            self._caught.clear(len(few))
            return self._model(few.clone())
        except FAILURES:
            self._caught.clear(count)
            return self._model(few[torch.arange(count) % len(few)])

    def _require_same(self, before: dict[Key, Tensor], few: Tensor, count: int) -> None:
        """Refuse a model that gives other rows to the same images in another batch."""
        output = self._again(few, count)
        again = self._rows(output, self._caught.rows)
        for key in (("features",), self._last):
            if key not in again or len(before[key]) != count:
                continue
            one, other = (rows[key][: len(few)].float() for rows in (before, again))
            apart, length = float((one - other).norm()), float(one.norm())
            if apart > (_SAME + 2 * rounding(before[key])) * length:
                raise InputError(
                    f"{type(self._model).__name__} gave other {key[-1]} when the first images came again in another "
                    f"batch (apart by {apart:.3g}, of length {length:.3g}), expected the same in eval mode.\nLook for "
                    "random steps, as F.dropout(x, p) without training=self.training, and for layers that mix the "
                    "images of a batch, as batch norm with track_running_stats=False."
                )

    def _rows(self, output: Any, count: int, again: Callable[[], Any] | None = None) -> dict[Key, Tensor]:
        """Rows of one batch of so many images; `again` runs a few of the first batch once more."""
        values, ran = self._caught.values, self._caught.ran
        named = None if self._started else values.get(("features",))
        given = None if self._encoder else logits_of(self._model, output, [] if self._started else ran, named, again)
        self._encoder = given is None
        chosen = logits_layer(ran, self.head, given)
        if chosen is not None and chosen.taken is not None:
            values["features",] = chosen.taken
        if chosen is None and given is not None and self._layer is None and ran:
            refuse_unknown(self._model, ran, given)
        size = count if given is None else len(given)
        rows = {key: pooled_rows(self._model, self._layer, key, values, size) for key in self._wanted}
        if given is None:
            return rows
        if self.head is None and chosen is not None:
            self.head = chosen.module
            self._last = ("layers", "projection") if projects(chosen.module) else ("logits",)
            self.eps = rounding(rows["features",], chosen.output, given)
        return {**rows, self._last: given}
