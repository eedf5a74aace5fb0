"""The frame of scorers behind a shape of the features: one fits, saves and names the other."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, field
from typing import Any, ClassVar, Self

import torch
from torch import Tensor

from ..checks import InputError
from ..outputs import Head, Outputs
from ..precision import at_least_float32, working_dtype
from .base import Scorer
from .heads import linear_form

SOME = 1000  # shaped rows that an inner scorer looks at which learns nothing from them


@dataclass(kw_only=True, eq=False)
class Shaped(Scorer):
    """A scorer behind a shape: both are fitted, saved and named as one.

    The inner scorer gets `Outputs` whose features are shaped and whose logits the head, of any kind, made of them. It
    scores one of `features`, `unit`, `logits`, `raw_logits`, and may itself be a shape.
    """

    needs: ClassVar[tuple[str, ...]] = ("head",)

    then: str = "energy"
    then_params: dict[str, Any] = field(default_factory=dict)

    def _check_parameters(self) -> None:
        self._inner: Scorer = self._made()
        self._head: Head | None = None
        self._labels: Tensor | None = None
        self.learns = type(self).learns or self._inner.learns  # type: ignore[misc]
        # Named by what the inner scorer made of them, so that 2 and 2.0, or a default given and left out, are one.
        given = {} if self._inner.layer == self._inner.parameters()["layer"] else {"layer": self._inner.layer}
        self.then_params = {**given, **self._inner.params}

    def _made(self) -> Scorer:
        from . import make

        inner = make(self.then, **self.then_params)
        if inner.layer not in ("features", "unit", "logits", "raw_logits"):
            raise InputError(
                f"{self.name} got then={self.then!r} on layer {inner.layer!r}, expected features, unit, logits or "
                "raw_logits: only these follow the shaped features.\nName the layer to shape with layer=... of "
                f"{self.name} itself; the inner scorer sees it as features."
            )
        return inner

    def _fit(self, x: Tensor, outputs: Outputs) -> dict[str, Tensor]:
        inner = self._made()
        reads = {inner.layer, *inner.needs}
        head = None
        if reads & {"logits", "raw_logits", "head"} or (self.layer == "features" and outputs.head is not None):
            linear_form(x, outputs, self.layer, self.name, self.memory)  # refuses a head that did not make the logits
            head = outputs.head
        state = self._learn(x)
        inner.memory = self.memory // 2  # type: ignore[misc]  # shared by every scorer unless set, and no field
        inner.sample = 0  # type: ignore[misc]  # the scores of the fitted rows are asked of the whole
        if not inner.learns:
            some = torch.linspace(0, len(x) - 1, min(len(x), SOME)).long()
            inner.fit(self._whole(x[some.to(x.device)], outputs[some], head, state))
        # What keeps nothing of some rows keeps nothing of all, and no copy of all shaped rows is made for it.
        if inner.learns or inner._state:
            inner.fit(self._whole(x, outputs, head, state))
        self._inner, self._head = inner, head
        return state

    def _whole(self, x: Tensor, outputs: Outputs, head: Head | None, state: dict[str, Tensor]) -> Outputs:
        """All rows shaped: features in at least float32, logits (of the unrounded features) in float64."""
        features = torch.empty_like(x, dtype=at_least_float32(x))
        logits = None if head is None else x.new_empty(len(x), head.classes, dtype=working_dtype(x))
        rows = max(1, self.memory // (64 * x.shape[1]))
        for start in range(0, len(x), rows):
            shaped = self._shape(x[start : start + rows].to(working_dtype(x)), state)
            features[start : start + rows] = shaped
            if head is not None and logits is not None:
                logits[start : start + rows] = head.logits(shaped)
        return Outputs(features, logits, outputs.labels, head)

    def score(self, outputs: Outputs) -> Tensor:
        """Scores (N,) of the inner scorer on shaped rows, with their labels for one that reads them.

        Raises:
            InputError: as the inner scorer says.
        """
        self._labels = outputs.labels if isinstance(outputs, Outputs) else None
        try:
            return super().score(outputs)
        finally:
            self._labels = None

    def _score(self, x: Tensor) -> Tensor:
        features = self._shape(x, self._state)
        logits = None if self._head is None else self._head.logits(features)
        self._inner.memory = self.memory // 2  # type: ignore[misc]
        labels = None
        if self._labels is not None:  # blocks come in order, each row once
            labels, self._labels = self._labels[: len(x)], self._labels[len(x) :]
        return self._inner.score(Outputs(features, logits, labels, self._head))

    @abstractmethod
    def _shape(self, x: Tensor, state: dict[str, Tensor]) -> Tensor:
        """Shaped rows (n, D) of x (n, D)."""

    def _learn(self, x: Tensor) -> dict[str, Tensor]:  # noqa: ARG002
        """What the shape itself takes from the training rows (N, D)."""
        return {}

    def _numbers_per_row(self, columns: int) -> int:
        return 16 * columns

    @property
    def _meets_itself(self) -> bool:
        return self._inner._meets_itself

    def _header(self) -> dict[str, Any]:
        head = self._head
        about = ("kind", "scale", "normalized", "plus_mean")
        kind = None if head is None else {name: getattr(head, name) for name in about}
        return {**super()._header(), "head": kind, "then": self._inner._header()}

    def _tensors(self) -> dict[str, Tensor]:
        head = self._head
        parts = {"weight": head.weight, "bias": head.bias} if head is not None else {}
        # Copied: an inner shape, or what an inner scorer took from the head, may be the same memory, and a file is not.
        kept = {f"head.{key}": value.clone() for key, value in parts.items() if value is not None}
        return self._state | kept | {f"then.{key}": value for key, value in self._inner._tensors().items()}

    def restore(self, header: dict[str, Any], state: dict[str, Tensor]) -> Self:
        """Take over what `save` wrote: the shape's own, the head's and the inner scorer's."""

        def part(name: str) -> dict[str, Tensor]:
            return {key.removeprefix(name): value for key, value in state.items() if key.startswith(name)}

        self._inner.restore(header["then"], part("then."))
        self._head = None
        if header["head"] is not None:
            tensors = part("head.")
            self._head = Head(weight=tensors["weight"], bias=tensors.get("bias"), **header["head"])
        own = {key: value for key, value in state.items() if not key.startswith(("then.", "head."))}
        return super().restore(header, own)

    def _facts(self) -> dict[str, Any]:
        return {"then": self._inner.summary()}
