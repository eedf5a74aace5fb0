"""What a watched model gives for one batch after another: features, further layers and logits, a row an image."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ..checks import InputError
from .head import logits_layer, logits_of, projects, refuse_unknown, rounding
from .hooks import Caught, pooled_rows
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
            return self._rows(inputs)
        few = inputs[: max(1, min(_FEW, len(inputs) // 4))].clone()  # the model may work in place
        rows = self._rows(inputs)
        self._require_same(rows, few, len(inputs))
        return rows

    def _require_same(self, before: dict[Key, Tensor], few: Tensor, count: int) -> None:
        """Refuse a model that gives other rows to the same images in another batch."""
        try:
            again = self._rows(few.clone())
        except FAILURES:  # a model made for batches of one size
            again = self._rows(few[torch.arange(count) % len(few)])
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

    def _rows(self, inputs: Tensor) -> dict[Key, Tensor]:
        caught, started = self._caught, self._started
        caught.clear(len(inputs))
        output = self._model(inputs) if started else first_output(self._model, inputs, self._kind)
        named = None if started else caught.values.get(("features",))
        given = None if self._encoder else logits_of(self._model, output, [] if started else caught.ran, named)
        self._started, self._encoder = True, given is None
        ran = logits_layer(caught.ran, self.head, given)
        if ran is not None and ran.taken is not None:
            caught.values["features",] = ran.taken
        if ran is None and given is not None and self._layer is None and caught.ran:
            refuse_unknown(self._model, caught.ran, given)
        size = len(inputs if given is None else given)
        rows = {key: pooled_rows(self._model, self._layer, key, caught.values, size) for key in self._wanted}
        if given is None:
            return rows
        if self.head is None and ran is not None:
            self.head = ran.module
            self._last = ("layers", "projection") if projects(ran.module) else ("logits",)
            self.eps = rounding(rows["features",], ran.output, given)
        return {**rows, self._last: given}
