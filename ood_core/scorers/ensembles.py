"""Several models, one score: the mean of standardised scores."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, ClassVar, Self

import torch
from torch import Tensor

from ..checks import InputError, NotFittedError
from ..outputs import Outputs
from .base import FitScores, Scorer

SPREAD = 1e-6  # of the mean fitted score: a standard deviation below it is rounding, and scores in it are noise


class Ensemble(Scorer):
    """Mean over models of each one's standardised score.

    s(x) = 1/M sum_m (s_m(x) - mean_m) / sd_m, with mean and standard deviation (divisor N) of s_m over its fitted rows

    Standardising makes scores of any unit and scale count alike. Each member brings the two from its own fit
    (`fit_scores`: up to 1000 of its training rows), so that fitted members need no further fit. Calibrates, predicts,
    saves and loads as a scorer does; everywhere it takes a list with one `Outputs` a model, of the same images in the
    same order.

    Args:
        members: scorers, one a model, fitted or not, and no ensembles; `fit` fits them all. Several scorers of one
            model take its outputs once for each: `score([out, out])`. One that keeps its training rows, such as knn,
            meets each of them in its own bank there unless it excludes the row itself: with k=1 it is refused.
    Source: ours; means of scores over models as in Lakshminarayanan, Pritzel and Blundell 2017, arXiv 1612.01474.
    Example:
        >>> import torch
        >>> from ood_core import Outputs, scorers
        >>> one, two = Outputs(torch.tensor([[3.0, 4.0], [1.0, 0.0]])), Outputs(torch.tensor([[9.0], [1.0]]))
        >>> a, b = scorers.make("feature_norm").fit(one), scorers.make("feature_norm").fit(two)
        >>> scorers.ensemble([a, b]).score([one, two])
        tensor([ 1., -1.], dtype=torch.float64)
    """

    name: ClassVar[str] = "ensemble"
    version: ClassVar[int] = 2
    cost: ClassVar[str] = "the members' cost"
    source: ClassVar[str] = "Lakshminarayanan, Pritzel and Blundell 2017, arXiv 1612.01474, for means over models"

    members: tuple[Scorer, ...]

    def __init__(self, members: Sequence[Scorer]) -> None:
        super().__init__(layer="")  # each member has its own
        several = isinstance(members, Iterable)
        self.members = tuple(members) if several else ()
        self._columns = len(self.members)
        strange = [type(m).__name__ for m in self.members if not isinstance(m, Scorer) or isinstance(m, Ensemble)]
        strange += [] if several else [type(members).__name__]
        if strange or not self.members:
            raise InputError(
                f"ensemble got {', '.join(strange) or 'no members'}, expected scorers of one model each.\n"
                "Pass a list, for example [make('knn'), make('knn')]."
            )
        if len({id(member) for member in self.members}) < len(self.members):
            raise InputError("ensemble got one scorer twice, expected one a model.\nMake a scorer for each model.")

    def __repr__(self) -> str:
        return f"Ensemble([{', '.join(map(repr, self.members))}])"

    def fit(self, outputs: Sequence[Outputs]) -> Self:  # type: ignore[override]
        """Fit each member on its own model's training rows.

        Raises:
            InputError: not one `Outputs` a member, other images, or a member whose training scores are all equal, to
                1e-6 of their mean.
        """
        self._check(outputs)
        for member, part in zip(self.members, outputs, strict=True):
            member.fit(part)
        self._standards()
        self.calibration = None
        return self

    def score(self, outputs: Sequence[Outputs]) -> Tensor:  # type: ignore[override]
        """Scores (N,) on the first outputs' device; larger = more in-distribution."""
        self._require_fit("score")
        self._check(outputs)
        parts = zip(self.members, outputs, self._standards(), strict=True)
        scores = [(member.score(part) - own.mean) / own.sd for member, part, own in parts]
        return self._score(torch.stack([s.to(scores[0]) for s in scores], dim=1))

    def calibrate(self, outputs: Sequence[Outputs], id_tpr: float = 0.95, confidence: float = 0.95) -> Self:  # type: ignore[override]
        """As of any scorer, from one `Outputs` a member; fitting a member again makes it void."""
        super().calibrate(outputs, id_tpr, confidence)  # type: ignore[arg-type]
        self._calibrated_on = self._standards()
        return self

    def predict(self, outputs: Sequence[Outputs]) -> Tensor:  # type: ignore[override]
        """True (N,) where the score reaches the calibrated threshold."""
        if self.calibration is not None and self._calibrated_on != self._standards():
            raise NotFittedError(
                "ensemble was calibrated before one of its members was fitted again, expected it afterwards.\n"
                "Call calibrate(held_out_outputs) again."
            )
        return super().predict(outputs)  # type: ignore[arg-type]

    def _require_other_rows(self, outputs: Sequence[Outputs]) -> None:  # type: ignore[override]
        self._check(outputs)
        for member, part in zip(self.members, outputs, strict=True):
            member._require_other_rows(part)

    def _require_fit(self, what: str) -> None:
        missing = [str(i) for i, member in enumerate(self.members) if not member._columns]
        if missing:
            raise NotFittedError(
                f"ensemble is not fitted in member {', '.join(missing)}, expected fit before {what}.\n"
                "Fit the members, or call fit([train_outputs, ...])."
            )

    def _standards(self) -> list[FitScores]:
        standards, flat = [], []
        for i, member in enumerate(self.members):
            own = member.fit_scores
            if own is None or member._meets_itself or not own.sd > SPREAD * abs(own.mean):
                flat.append(str(i))
            else:
                standards.append(own)
        if flat:
            raise InputError(
                f"ensemble's member {', '.join(flat)} gives its training rows one score or none, expected some "
                "spread to standardise by.\nLeave it out; for neighbours pass a larger k, or exclude_self=True to knn."
            )
        return standards

    def _check(self, outputs: Sequence[Outputs]) -> None:
        if isinstance(outputs, Outputs) or not isinstance(outputs, Sequence) or len(outputs) != len(self.members):
            got = f"{len(outputs)} Outputs" if isinstance(outputs, list | tuple) else f"one {type(outputs).__name__}"
            raise InputError(
                f"ensemble got {got}, expected a list of {len(self.members)}, one a member.\n"
                "Extract the same images with each model."
            )
        strange = [type(part).__name__ for part in outputs if not isinstance(part, Outputs)]
        if strange:
            raise InputError(
                f"ensemble got {', '.join(strange)} in its list, expected Outputs, one a member.\n"
                "Wrap arrays, for example Outputs(features=h), or use extract(model, images)."
            )
        rows = {len(part) for part in outputs}
        labels = [part.labels.cpu() for part in outputs if part.labels is not None]
        if len(rows) > 1 or any(not torch.equal(labels[0], other) for other in labels[1:]):
            raise InputError(
                f"ensemble got outputs of {', '.join(map(str, sorted(rows)))} rows or of other labels, expected the "
                "same images in the same order from each model.\nExtract without shuffling."
            )

    def _score(self, x: Tensor) -> Tensor:
        """Means over the members of their standardised scores (n, M)."""
        return x.mean(dim=1)

    def _header(self) -> dict[str, Any]:
        alive = [member.name for member in self.members if member.given]
        if alive:
            raise InputError(
                f"ensemble cannot save {', '.join(alive)}, expected members that work without a model.\n"
                "Save the models and make it again."
            )
        return {**super()._header(), "members": [member._header() for member in self.members]}

    def _tensors(self) -> dict[str, Tensor]:
        parts = [{f"{i}.{key}": value for key, value in m._tensors().items()} for i, m in enumerate(self.members)]
        return {key: value for part in parts for key, value in part.items()}

    def restore(self, header: dict[str, Any], state: dict[str, Tensor]) -> Self:
        """Take over what `save` wrote: each member's own."""
        for i, (member, own) in enumerate(zip(self.members, header["members"], strict=True)):
            front = f"{i}."
            tensors = {key.removeprefix(front): value for key, value in state.items() if key.startswith(front)}
            member.restore(own, tensors)
        super().restore(header, {})
        self._calibrated_on = self._standards()
        return self

    def _facts(self) -> dict[str, Any]:
        return {"members": [member.summary() for member in self.members]}
