"""What one pass of a network over a set of images leaves behind, and the form that every scorer takes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from . import checks
from .checks import InputError
from .precision import at_least_float32

HEAD_KINDS = ("linear", "unit", "distance")
RESERVED = ("features", "unit", "logits", "raw_logits")  # what `Outputs.layer` makes of the other fields
NORM_EPS = 1e-12  # floor of the denominator h / max(||h||, eps); a zero vector stays zero


@dataclass(frozen=True, eq=False)  # by fields, == would ask tensors for one truth value
class Head:
    """The last layer as a formula: features h (N, D) -> logits (N, C).

    Kinds, with z = h / max(||h||_2, 1e-12):

    - `linear`:   logits = W h + b
    - `unit`:     logits = W z + b           (L2-normalised features)
    - `distance`: logits = -D_c with D_c = scale ||h - w_c||_2, or with `normalized` scale ||z - w_c / ||w_c||_2 ||_2;
      with `plus_mean` -(D_c + mean_k D_k)

    Attributes:
        kind: one of the three.
        weight: (C, D), rows of W or the prototypes w_c.
        bias: (C,), or None; distance heads have none.
        scale: factor of a distance head outside training; 1 for the other kinds.
        normalized: distance between unit vectors.
        plus_mean: every logit of a distance head also holds the mean distance to all prototypes.
    Source: papers 2306.04072 (unit), 2006.04005 (distance) and 2205.05874 (plus_mean, the paper's "logits+").
    Example:
        >>> import torch
        >>> from ood_core.outputs import Head
        >>> Head("unit", torch.eye(2)).logits(torch.tensor([[3.0, 4.0]]))
        tensor([[0.6000, 0.8000]])
        >>> Head("distance", torch.eye(2)).logits(torch.tensor([[1.0, 1.0]]))
        tensor([[-1., -1.]])
    """

    kind: Literal["linear", "unit", "distance"]
    weight: Tensor
    bias: Tensor | None = None
    scale: float = 1.0
    normalized: bool = False
    plus_mean: bool = False

    def __post_init__(self) -> None:
        checks.choice("head kind", self.kind, HEAD_KINDS)
        _plain("head weight", self.weight)
        _plain("head bias", self.bias)
        weight = checks.matrix("head weight", self.weight)
        if self.bias is not None:
            if self.kind == "distance":
                raise InputError("a distance head got a bias, expected none.\nLeave bias out.")
            bias = checks.vector("head bias", self.bias)
            if bias.shape[0] != weight.shape[0]:
                raise InputError(
                    f"head bias has {bias.shape[0]} entries, expected {weight.shape[0]}.\nPass one per class."
                )
            object.__setattr__(self, "bias", bias)
        object.__setattr__(self, "weight", weight)

    def __repr__(self) -> str:
        """The kind, and shapes in place of numbers."""
        tensors = {"weight": self.weight} | ({} if self.bias is None else {"bias": self.bias})
        options = {f.name: getattr(self, f.name) for f in fields(self)[3:] if getattr(self, f.name) != f.default}
        parts = {name: checks.outline(value) for name, value in tensors.items()} | options
        return f"Head({self.kind!r}, {', '.join(f'{name}={value}' for name, value in parts.items())})"

    @property
    def classes(self) -> int:
        """Number of classes C."""
        return int(self.weight.shape[0])

    def logits(self, features: Tensor) -> Tensor:
        """Logits (N, C) of raw features (N, D), in the features' dtype and on their device."""
        h = checks.matrix("features", features, columns=self.weight.shape[1], like="the head's weight")
        weight = self.weight.to(h)
        if self.kind == "distance":
            wide = at_least_float32(h)  # cdist knows no type of half precision
            pair = (unit(h), unit(weight)) if self.normalized else (h.to(wide), weight.to(wide))
            distances = self.scale * torch.cdist(*pair, compute_mode="donot_use_mm_for_euclid_dist")
            return -(distances + distances.mean(dim=1, keepdim=True) if self.plus_mean else distances).to(h)
        bias = None if self.bias is None else self.bias.to(h)
        return F.linear(unit(h).to(h) if self.kind == "unit" else h, weight, bias)


def unit(features: Tensor) -> Tensor:
    """Rows divided by their L2 norm, z = h / max(||h||_2, 1e-12); a zero row stays zero. Shape (N, D).

    In float32 at least: quotients of float16 or bfloat16 rows have more digits than these types hold.

    Example:
        >>> import torch
        >>> from ood_core.outputs import unit
        >>> unit(torch.tensor([[3.0, 4.0], [0.0, 0.0]]))
        tensor([[0.6000, 0.8000],
                [0.0000, 0.0000]])
    """
    return F.normalize(features.to(at_least_float32(features)), dim=1, eps=NORM_EPS)


def _plain(name: str, value: Any) -> None:
    """Refuse tensors whose values cannot be read or summed, on which torch fails in its own words much later."""
    if not isinstance(value, Tensor):
        return
    eight_bits = value.is_floating_point() and value.element_size() < 2
    if value.is_meta or value.layout != torch.strided or value.is_quantized or eight_bits:
        raise InputError(
            f"{name} is {value.dtype}, {value.layout}, on {value.device}, expected plain numbers of at least 16 bits.\n"
            "Load meta tensors first; convert others, for example with .to_dense(), .dequantize() or .float()."
        )


@dataclass(frozen=True, eq=False)
class Outputs:
    """Features and logits of N images, as scorers take them.

    Attributes:
        features: raw penultimate features h, float (N, D), before any normalisation. The only required field.
        logits: (N, C), as the network was trained to give them.
        labels: int64 (N,), class indices, or None.
        head: a `Head`; for a linear one (weight, bias) or the model's `torch.nn.Linear` will do.
        layers: other layers by name, each (N, ...); `features`, `unit`, `logits` and `raw_logits` name other fields.
        inputs: the preprocessed images, kept only when asked for (gradient scorers).
        correct: bool (N,), rows that the network classifies right; derived from logits and labels if left out.
    Raises:
        InputError: a wrong rank, NaN or infinity, no rows, fields that disagree on N, layers without a name of their
            own, or tensors without plain values (sparse, quantised, of 8 bits, on the meta device).
    Example:
        >>> import torch
        >>> from ood_core import Outputs
        >>> h = torch.tensor([[3.0, 0.0], [1.0, 2.0], [0.0, 4.0]])
        >>> outputs = Outputs(h, logits=h, labels=[0, 0, 1], head=(torch.eye(2), torch.zeros(2)))
        >>> outputs.correct
        tensor([ True, False,  True])
        >>> outputs.layer("unit")[2], len(outputs[:2])
        (tensor([0., 1.]), 2)
    """

    features: Tensor
    logits: Tensor | None = None
    labels: Tensor | None = None
    head: Head | None = None
    layers: Mapping[str, Tensor] = field(default_factory=dict)
    inputs: Tensor | None = None
    correct: Tensor | None = None

    def __post_init__(self) -> None:
        self._own_names(self.layers)
        for name, value in {**vars(self), **{f"layers[{name!r}]": x for name, x in self.layers.items()}}.items():
            _plain(name, value)
        features = checks.matrix("features", self.features)
        n = features.shape[0]
        put: Callable[[str, Any], None] = lambda name, value: object.__setattr__(self, name, value)  # noqa: E731
        put("features", features)
        if self.logits is not None:
            put("logits", checks.matrix("logits", self.logits, unit="C"))
            self._same_rows("logits", self.logits, n)
        if self.labels is not None:
            # labels of an OOD set may exceed the network's classes: only fit and accuracy need them to agree
            put("labels", checks.labels("labels", self.labels, n))
        if self.head is not None:
            put("head", self._head(self.head, features.shape[1]))
        put("layers", {name: checks.tensor(f"layers[{name!r}]", value) for name, value in self.layers.items()})
        for name, value in self.layers.items():
            self._same_rows(f"layers[{name!r}]", value, n)
        if self.inputs is not None:
            put("inputs", checks.tensor("inputs", self.inputs))
            self._same_rows("inputs", self.inputs, n)
        if self.correct is None and self.logits is not None and self.labels is not None:
            put("correct", self.logits.argmax(dim=1) == self.labels.to(self.logits.device))
        elif self.correct is not None:
            flags = checks.tensor("correct", self.correct)
            if flags.dtype != torch.bool or flags.ndim != 1:
                raise InputError(
                    f"correct is {flags.dtype} with shape {tuple(flags.shape)}, expected bool with shape ({n},).\n"
                    "Pass one flag per image, for example logits.argmax(1) == labels."
                )
            put("correct", flags)
            self._same_rows("correct", flags, n)

    @staticmethod
    def _own_names(layers: Any) -> None:
        """Refuse layers that a scorer could not ask for by their names."""
        if not isinstance(layers, Mapping):
            raise InputError(
                f"layers is a {type(layers).__name__}, expected tensors by name.\n"
                'Pass a dictionary, for example {"layer3": tensor}.'
            )
        for name in layers:
            if name in RESERVED:
                raise InputError(
                    f"layers holds {name!r}, expected other names than {', '.join(RESERVED)}: a scorer on layer "
                    f"{name!r} would not see that tensor.\nGive it another name, for example "
                    f"'{name}_module', or pass it as the field that it is."
                )

    @staticmethod
    def _head(given: Any, columns: int) -> Head:
        if isinstance(given, nn.Linear):
            given = tuple(None if part is None else part.detach() for part in (given.weight, given.bias))
        head = Head("linear", *given) if isinstance(given, tuple) and len(given) in (1, 2) else given
        if not isinstance(head, Head):
            raise InputError(
                f"head is a {type(head).__name__}, expected a Head, (weight, bias) or a Linear.\n"
                "Use ood_core.Head(kind, weight, bias)."
            )
        if head.weight.shape[1] != columns:
            raise InputError(
                f"head weight has {head.weight.shape[1]} columns, expected {columns} as the features.\n"
                "Pass the layer that takes these features."
            )
        return head

    @staticmethod
    def _same_rows(name: str, value: Tensor | None, rows: int) -> None:
        if value is None or value.ndim == 0 or value.shape[0] != rows:
            shape = None if value is None else tuple(value.shape)
            raise InputError(f"{name} has shape {shape}, expected {rows} rows as features have.\nPass one per image.")

    def __repr__(self) -> str:
        """What is there, by shape and type, on the features' device."""
        own = {f.name: getattr(self, f.name) for f in fields(self)}
        parts = {name: checks.outline(value) for name, value in own.items() if isinstance(value, Tensor)}
        if self.head is not None:
            parts["head"] = repr(self.head)
        if self.layers:
            layers = (f"{name!r}: {checks.outline(value)}" for name, value in self.layers.items())
            parts["layers"] = f"{{{', '.join(layers)}}}"
        place = "" if self.features.device.type == "cpu" else f" on {self.features.device}"
        return f"Outputs({', '.join(f'{name}={part}' for name, part in parts.items())}{place})"

    def __len__(self) -> int:
        return int(self.features.shape[0])

    def layer(self, name: str = "features") -> Tensor:
        """One layer by name.

        `features` (raw h), `unit` (h / ||h||), `logits`, `raw_logits` (W h + b: a unit head without its division,
        the same as `logits` for a linear head), or a key of `layers`.
        """
        if name == "features":
            return self.features
        if name == "unit":
            return unit(self.features)
        if name == "logits" and self.logits is not None:
            return self.logits
        if name == "raw_logits" and self.head is not None and self.head.kind != "distance":
            return replace(self.head, kind="linear").logits(self.features)
        if name in self.layers:
            return self.layers[name]
        have = ["features", "unit"] + (["logits"] if self.logits is not None else [])
        have += (["raw_logits"] if self.head is not None and self.head.kind != "distance" else []) + list(self.layers)
        advice = "Name one of these, or extract with that layer."
        if name == "logits":
            advice = "Pass Outputs(features, logits=...); without a classifier, score features, as knn and ssd do."
        raise InputError(f"layer {name!r} is not in these outputs, which hold: {', '.join(have)}.\n{advice}")

    def to(self, device: torch.device | str) -> Outputs:
        """The same on another device, the head as well; scorers work where the outputs are."""
        head = self.head
        if head is not None:
            bias = None if head.bias is None else head.bias.to(device)
            head = replace(head, weight=head.weight.to(device), bias=bias)
        return self._changed(lambda x: x.to(device), head)

    def __getitem__(self, index: Any) -> Outputs:
        """Rows by slice, boolean mask or index tensor; the head is kept."""
        if isinstance(index, int):
            raise InputError("index is one integer, expected a slice, a mask or a list.\nUse outputs[i:i + 1].")
        try:
            if isinstance(index, slice) and (index.step or 1) < 0:  # a step that torch does not take
                index = list(range(*index.indices(len(self))))
            return self._changed(lambda x: x[index], self.head)
        except InputError:
            raise
        except (IndexError, TypeError, ValueError) as error:
            raise InputError(
                f"index is {index!r}, which picks no rows ({error}), expected a slice, {len(self)} flags or a list of "
                f"numbers below {len(self)}.\nUse for example outputs[:10]."
            ) from error

    def _changed(self, change: Callable[[Tensor], Tensor], head: Head | None) -> Outputs:
        """Every tensor changed in the same way, behind a head."""
        own = {f.name: getattr(self, f.name) for f in fields(self)}
        tensors = {name: change(value) for name, value in own.items() if isinstance(value, Tensor)}
        return Outputs(**tensors, layers={key: change(layer) for key, layer in self.layers.items()}, head=head)
