"""The frame of every scorer: parameters, fit, score in blocks, a calibrated threshold, one file on disk."""

from __future__ import annotations

import copy
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import MISSING, Field, asdict, dataclass, fields
from functools import wraps
from numbers import Integral, Real
from pathlib import Path
from typing import Any, ClassVar, Self, TypeVar, cast

import torch
from torch import Tensor

from .. import checks
from ..checks import InputError, NotFittedError
from ..outputs import Outputs
from ..precision import working_dtype
from . import artifact
from .calibration import Calibration, threshold
from .kept import Kept
from .rows import Directions, canonical_order, direction, marks

CACHE_BYTES = 2**19  # of float64; three to four times as fast there as in blocks of the whole budget
Method = TypeVar("Method", bound=Callable[..., Any])
# How rows and files record a switch. They did so before `make` took True and False, and keys of rows stay as they are.
_RECORDED = {True: "yes", False: "no"}
_SWITCHES = {recorded: value for value, recorded in _RECORDED.items()}
_TYPES: dict[type, tuple[Any, str]] = {
    bool: (bool, "a truth value"),
    float: (Real, "a finite number"),
    int: (Integral, "a whole number"),
    str: (str, "a name"),
    dict: (Mapping, "parameters by name"),
}
# The same in every scorer that has a parameter of this name: the smallest value, and what to do about a smaller one.
_LEAST = {
    "k": (1, "For the nearest row alone pass 1."),
    "n_init": (1, "Each start may find better clusters."),
    "ridge": (0, "The default is 1e-4."),
    "seed": (0, "Pass 0 or more."),
}


def without_autocast(method: Method) -> Method:
    """`fit` or `score` in the precision of its outputs: a bound on float32 products is none on bfloat16 ones."""

    @wraps(method)
    def exact(self: Scorer, outputs: Any) -> Any:
        with torch.autocast(outputs.features.device.type if isinstance(outputs, Outputs) else "cpu", enabled=False):
            return method(self, outputs)

    return cast(Method, exact)


KINDS: dict[str, type[Scorer]] = {}  # by name: what `load` can make


@dataclass(frozen=True)
class FitScores:
    """What a scorer gave the rows it was fitted on: the unit that an ensemble measures its scores in.

    Attributes:
        mean, sd: of the scores; the standard deviation divides by n.
        n: rows that were scored. Beyond `Scorer.sample` rows, so many of them, spread evenly over the fitted ones; a
            scorer that keeps its training rows meets each of them among these.
    """

    mean: float
    sd: float
    n: int


@dataclass(kw_only=True, eq=False)
class Scorer(ABC):
    """Turns `Outputs` into one number a row; larger means more in-distribution.

    A scorer is a keyword-only dataclass whose fields are its parameters, each with a default of the right type. It
    gives `_score` (rows in float64 -> scores) and, if it learns something, `_fit` (-> named tensors, kept in
    `self._state`); checks, blocks, devices, thresholds and files come from here. Autocast is off in `fit` and `score`.

    Attributes:
        layer: what is scored, by the names of `Outputs.layer`.
        fit_scores: mean and deviation of the fitted rows' own scores, set by `fit`; None where one is not finite.
        calibration: set by `calibrate`, else None.
        memory: bytes that `score` may use above its inputs.
        sample: fitted rows that `fit` scores and `calibrate` knows again, at most; 0 for none, and no `fit_scores`.
    """

    name: ClassVar[str]
    version: ClassVar[int] = 1  # raised when the same parameters give other scores: recorded rows become stale
    needs: ClassVar[tuple[str, ...]] = ()  # fields of Outputs that fit needs beside the layer
    given: ClassVar[tuple[str, ...]] = ()  # what `make` takes beside parameters: never named, never saved
    cost: ClassVar[str]
    source: ClassVar[str]
    advice: ClassVar[str] = "Look at the rows' scale."  # what to do when a score is not finite
    memory: ClassVar[int] = 256 * 2**20
    sample: ClassVar[int] = 1000
    in_cache: ClassVar[bool] = False  # one pass over the rows is all there is to do: keep its blocks in the cache
    learns: ClassVar[bool] = True  # scores depend on the fitted rows: `calibrate` wants others
    widens: ClassVar[bool] = True  # rows come to `_score` in float64; False where it widens them or sums nothing
    by_block: ClassVar[bool] = False  # `_fit` reads its rows by `rows.blocks` alone: `Directions` will do
    as_given: ClassVar[tuple[str, ...]] = ()  # fitted tensors that stay in their own precision: banks of rows

    layer: str = "features"

    def __post_init__(self) -> None:
        for f in fields(self):
            setattr(self, f.name, self._typed(f.name, getattr(self, f.name), _default(f)))
        for key, (least, advice) in _LEAST.items():
            self._require(key, getattr(self, key, least) >= least, f"at least {least}", advice)
        self._check_parameters()
        self.fit_scores: FitScores | None = None
        self.calibration: Calibration | None = None
        self._columns = 0
        self._marks: list[int] = []
        self._moved: tuple[torch.device, torch.dtype, dict[str, Tensor]] | None = None
        self._kept = Kept()
        self._state: dict[str, Tensor] = {}

    def __setattr__(self, key: str, value: Any) -> None:
        # A parameter changed after fit would be reported, stored and saved beside scores that it did not make.
        if "_state" in self.__dict__ and key in self.parameters():
            raise InputError(
                f"{self.name}.{key} was set on an existing scorer, expected parameters to stay.\nMake a new scorer."
            )
        super().__setattr__(key, value)

    def _typed(self, key: str, value: Any, default: Any) -> Any:
        """One type a parameter, so that 2 and 2.0 are one scorer with one name in the rows."""
        kind = type(default)
        accepted, called = _TYPES[kind]
        if kind is bool and isinstance(value, str):
            value = _SWITCHES.get(value, value)
        fits = isinstance(value, accepted) and (kind is bool or not isinstance(value, bool))
        if not fits or (kind is float and not math.isfinite(value)):
            raise InputError(
                f"{self.name} got {key}={value!r} ({type(value).__name__}), expected {called} such as {default!r}.\n"
                "Pass a value of that type."
            )
        return kind(value)

    def _check_parameters(self) -> None:  # noqa: B027
        """Refuse parameters out of range; nothing to refuse by default."""

    def _require(self, key: str, in_range: bool, expected: str, advice: str) -> None:
        """Refuse a parameter out of range, in the words of all scorers."""
        if not in_range:
            raise InputError(f"{self.name} got {key}={getattr(self, key)}, expected {expected}.\n{advice}")

    @classmethod
    def parameters(cls) -> dict[str, Any]:
        """All parameters with their defaults, `layer` included."""
        return {f.name: _default(f) for f in fields(cls)}

    @classmethod
    def check_defaults(cls) -> None:
        """Refuse fields that could be neither checked nor recorded.

        Raises:
            InputError: a field without a default, or with one of another type.
        """
        for f in fields(cls):
            if type(_default(f)) not in _TYPES:
                raise InputError(
                    f"{cls.__name__}.{f.name} has the default {_default(f)!r}, expected one of type "
                    f"{', '.join(kind.__name__ for kind in _TYPES)}.\nGive each parameter such a default."
                )

    @property
    def params(self) -> dict[str, Any]:
        """Parameters that differ from their defaults, as rows record them, without `layer`, a column of its own there.

        True is "yes" and False "no"; infinity is "inf". `make` takes these as well.
        """
        defaults = {key: _recorded(value) for key, value in self.parameters().items()}
        return {key: value for key, value in self._values().items() if key != "layer" and value != defaults[key]}

    @without_autocast
    def fit(self, outputs: Outputs) -> Self:
        """Learn from ID training rows and return self; what was fitted or calibrated before is dropped.

        A scorer with nothing to learn keeps the number of columns, so that outputs of another model are refused.

        Args:
            outputs: holds `layer` (N, D) and what `needs` names.
        Raises:
            InputError: something needed is missing, not finite, or a class has no (or too few) rows.
        """
        given, _ = self._given(outputs)
        x: Any = given
        if self.layer == "unit":
            x = Directions(given) if self.by_block else self._layer(outputs)
        state = self._fit(x, outputs)
        self._state, self._moved, self._columns, self.calibration = state, None, int(x.shape[1]), None
        self._kept = Kept(state[key] for key in self.as_given if key in state)
        # The smallest hashes of all, whichever order the rows came in: of any part of these rows, the smallest too.
        own = marks(given, self.memory).unique(return_counts=True) if self.learns and self.sample else None
        self._marks = [] if own is None else own[0][own[1] == 1][: self.sample].tolist()
        self.fit_scores = self._own_scores(given, outputs)
        return self

    def _own_scores(self, x: Tensor, outputs: Outputs) -> FitScores | None:
        if not self.sample:
            return None
        if len(x) > self.sample:
            # By content, so that the order of the rows does not matter; a few columns say enough.
            order = canonical_order(x[:, :16])
            outputs = outputs[order[torch.linspace(0, len(x) - 1, self.sample).long()]]
        try:
            scores = self.score(outputs)
        except InputError:  # rows to learn from need not be rows to score: fdbd has no score for the mean itself
            return None
        mean, sd = float(scores.mean()), float(scores.std(correction=0))
        return FitScores(mean, sd, len(scores)) if math.isfinite(mean) and math.isfinite(sd) else None

    @without_autocast
    def score(self, outputs: Outputs) -> Tensor:
        """Scores (N,) in float64 where the device has it, on the input's device; larger = more in-distribution.

        Row i depends on row i of the input alone, to rounding, for any number of rows.

        Raises:
            NotFittedError: before `fit`. InputError: another number of columns than in fit, NaN, an overflow, or
                training rows that the scorer keeps and that were written to since.
        """
        self._require_fit("score")
        self._kept.require_unchanged(self.name)
        x, placed = self._given(outputs, self._columns)
        dtype = working_dtype(x)
        scorer = self._beside(x.device, dtype)
        rows = max(1, self.memory // (8 * self._numbers_per_row(self._columns)))
        if self.in_cache and x.device.type == "cpu":
            rows = min(rows, max(1, CACHE_BYTES // (8 * self._columns)))
        # One tensor for all scores and one for widened rows: small results between large blocks that come and go would
        # leave holes that no next block fits into, up to the size of all rows. The blocks are of one size: a few rows
        # in the last would read a whole bank for themselves.
        blocks = max(1, -(-len(x) // rows))
        scores = x.new_empty(len(x), dtype=dtype)
        wide = x.new_empty((-(-len(x) // blocks), x.shape[1]), dtype=dtype) if self.widens else None
        for block, into in zip(x.tensor_split(blocks), scores.tensor_split(blocks), strict=True):
            part = placed(block)
            made = scorer._score(part if wide is None else wide[: len(part)].copy_(part))
            if not isinstance(made, Tensor) or made.shape != into.shape:
                got = f"a tensor {tuple(made.shape)}" if isinstance(made, Tensor) else f"a {type(made).__name__}"
                raise InputError(
                    f"{self.name}._score gave {got}, expected a tensor ({len(into)},).\nGive a score a row."
                )
            into.copy_(made)
        if not bool(scores.sum().isfinite()) and (bad := int((~torch.isfinite(scores)).sum())):
            raise InputError(
                f"{self.name} gives NaN or infinity for {bad} of {len(scores)} rows, expected finite scores.\n"
                + self.advice
            )
        return scores

    def _beside(self, device: torch.device, dtype: torch.dtype) -> Self:
        """A scorer whose fitted tensors lie where the rows do: this one, or a copy that `score` throws away.

        What was fitted stays as it is, or one score on a device without float64 would be saved as the scorer. The last
        tensors that were moved are kept, as mostly the same device comes again.
        """
        kept = self._moved
        if kept is None or kept[:2] != (device, dtype):
            moved = {
                key: value.to(device=device, dtype=None if key in self.as_given else dtype)
                for key, value in self._state.items()
            }
            if all(value is self._state[key] for key, value in moved.items()):
                return self
            kept = self._moved = device, dtype, moved
        scorer = copy.copy(self)
        scorer._state = kept[2]
        return scorer

    def calibrate(self, outputs: Outputs, id_tpr: float = 0.95, confidence: float = 0.95) -> Self:
        """Keep the largest threshold that accepts the share `id_tpr` of held-out ID rows, and return self.

        Args:
            outputs: ID rows that were neither trained on nor fitted on.
            id_tpr: share of ID to accept, a fraction in (0, 1].
            confidence: of the interval in `calibration`, a fraction in (0, 1).
        Raises:
            InputError: no such fraction, most rows are those of `fit` (of a scorer that learns from them), or what
                `score` raises.
        Source: `threshold`, which takes scores that are there already.
        """
        self._require_fit("calibrate")
        # What costs little is looked at before the rows are scored.
        checks.share("id_tpr", id_tpr)
        checks.share("confidence", confidence, below=True)
        self._require_other_rows(outputs)
        self.calibration = threshold(self.score(outputs), id_tpr, confidence)
        return self

    def _require_other_rows(self, outputs: Outputs) -> None:
        """Refuse rows that were fitted on: their scores are others than those of new rows of the same kind."""
        if not self._marks:
            return
        rows, _ = self._given(outputs, self._columns)
        found = marks(rows, self.memory).unique().cpu()
        kept = torch.tensor(self._marks)
        if len(kept) == self.sample:  # there are more, of which nothing is known
            found = found[found <= kept[-1]]
        again, compared = int(torch.isin(found, kept).sum()), min(len(found), len(kept))
        if 2 * again > compared:
            raise InputError(
                f"{self.name} got rows to calibrate on that it was fitted on ({again} of {compared} seen), expected "
                "others: the rate promised for new images would be false.\nPass held-out images."
            )

    def predict(self, outputs: Outputs) -> Tensor:
        """True (N,) where the score reaches the calibrated threshold: taken for in-distribution.

        Raises:
            NotFittedError: before `fit` or `calibrate`.
            InputError: what `score` raises.
        """
        self._require_fit("predict")
        if self.calibration is None:
            raise NotFittedError(
                f"{self.name} has no threshold, expected one before predict.\nCall calibrate(held_out_outputs) first."
            )
        return self.score(outputs) >= self.calibration.threshold

    def save(self, path: str | Path) -> None:
        """Write parameters, fitted tensors and calibration to one safetensors file; `scorers.load` reads it.

        Raises:
            NotFittedError: before `fit`. InputError: a folder that is missing or cannot be written to.
        """
        self._save(path, {})

    def _save(self, path: str | Path, extra: Mapping[str, Any]) -> None:
        """`save`, with further fields of the header, which `scorers.load` leaves to others of this package."""
        self._require_fit("save")
        artifact.write(Path(path).expanduser(), {**self._header(), **extra}, self._tensors())

    def restore(self, header: dict[str, Any], state: dict[str, Tensor]) -> Self:
        """Take over what `save` wrote; `scorers.load` is the door to it."""
        self._state, self._moved, self._marks = state, None, header.get("marks", [])
        self._kept = Kept()
        self._columns = header["columns"]
        self.fit_scores = FitScores(**_numbers(header["fit_scores"])) if header.get("fit_scores") else None
        self.calibration = None if header["calibration"] is None else Calibration(**_numbers(header["calibration"]))
        return self

    def summary(self) -> dict[str, Any]:
        """What was fitted, as plain values: name, version, layer, params, columns, scores of the fitted rows,
        calibration, and the scorer's own facts.
        """
        self._require_fit("summary")
        return {
            "name": self.name,
            "version": self.version,
            "layer": self.layer,
            "params": self.params,
            "columns": self._columns,
            "fit_scores": None if self.fit_scores is None else asdict(self.fit_scores),
            "calibration": None if self.calibration is None else asdict(self.calibration),
            **self._facts(),
        }

    def _values(self) -> dict[str, Any]:
        """All parameters as rows and files record them: infinity, which JSON cannot hold, and switches by name."""
        return {key: _recorded(getattr(self, key)) for key in self.parameters()}

    def _header(self) -> dict[str, Any]:
        if KINDS.get(self.name) is not type(self):
            raise InputError(
                f"{type(self).__name__} is not the scorer that is registered as {self.name!r}, expected one that load "
                "finds by its name.\nGive the class a name of its own and register it: @scorers.register."
            )
        return {
            "name": self.name,
            "version": self.version,
            "parameters": self._values(),
            "columns": self._columns,
            "marks": self._marks,
            "fit_scores": None if self.fit_scores is None else asdict(self.fit_scores),
            "calibration": None if self.calibration is None else asdict(self.calibration),
        }

    def _tensors(self) -> dict[str, Tensor]:
        return self._state

    def _require_fit(self, what: str) -> None:
        if not self._columns:
            raise NotFittedError(f"{self.name} is not fitted, expected fit before {what}.\nCall fit(train_outputs).")

    def _layer(self, outputs: Outputs, columns: int | None = None) -> Tensor:
        if not isinstance(outputs, Outputs):
            raise InputError(
                f"{self.name} got a {type(outputs).__name__}, expected Outputs.\n"
                "Wrap arrays, for example Outputs(features=h), or use extract(model, images)."
            )
        return checks.matrix(f"layer {self.layer!r}", self._rows(outputs), columns)

    def _given(self, outputs: Outputs, columns: int | None = None) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
        """Rows as they lie in memory, and what makes a block of them the layer: no second copy of all unit vectors."""
        if self.layer == "unit" and isinstance(outputs, Outputs):
            return checks.matrix("layer 'unit'", outputs.features, columns), direction
        return self._layer(outputs, columns), lambda block: block

    def _rows(self, outputs: Outputs) -> Tensor:
        return outputs.layer(self.layer)

    def _fit(self, x: Tensor, outputs: Outputs) -> dict[str, Tensor]:  # noqa: ARG002
        """Named float64 tensors learned from x (N, D)."""
        return {}

    @abstractmethod
    def _score(self, x: Tensor) -> Tensor:
        """Scores (n,) of a block x (n, D); x may be the caller's own memory, so it is not written to."""

    def _numbers_per_row(self, columns: int) -> int:
        """Numbers that `_score` holds for each row, the block itself included."""
        return 3 * columns

    @property
    def _meets_itself(self) -> bool:
        """Whether a fitted row's score is its distance to itself: rounding, and no unit to measure scores in."""
        return False

    def _facts(self) -> dict[str, Any]:
        return {}


def _numbers(values: dict[str, Any]) -> dict[str, Any]:
    strange = [f"{key} is {value!r}" for key, value in values.items() if not isinstance(value, Real)]
    if strange:
        raise TypeError(", ".join(strange))
    return values


def _recorded(value: Any) -> Any:
    if isinstance(value, bool):
        return _RECORDED[value]
    return "inf" if value == math.inf else value


def _default(parameter: Field[Any]) -> Any:
    return parameter.default if parameter.default_factory is MISSING else parameter.default_factory()
