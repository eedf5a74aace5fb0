"""Several models, one score: the mean of standardised scores."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Self

import torch
from torch import Tensor

from ..checks import InputError
from ..outputs import Outputs
from .base import Scorer


class Ensemble(Scorer):
    """Mean over models of each one's standardised score.

    s(x) = 1/M sum_m (s_m(x) - mean_m) / sd_m, with mean and standard deviation (divisor N) of s_m over its fitted rows

    Standardising makes scores of any unit and scale count alike. Calibrates, predicts, saves and loads as a scorer
    does; everywhere it takes a list with one `Outputs` a model, of the same images in the same order.

    Args:
        members: scorers, one a model; `fit` fits them. One that keeps its training rows, such as knn, meets each of
            them in its own bank there unless it excludes the row itself.
    Source: ours; means of scores over models as in Lakshminarayanan, Pritzel and Blundell 2017, arXiv 1612.01474.
    """

    name: ClassVar[str] = "ensemble"
    cost: ClassVar[str] = "the members' cost; fit also scores the training rows"
    source: ClassVar[str] = "Lakshminarayanan, Pritzel and Blundell 2017, arXiv 1612.01474, for means over models"

    members: tuple[Scorer, ...]

    def __init__(self, members: Sequence[Scorer]) -> None:
        super().__init__(layer="")  # each member has its own
        self.members = tuple(members)
        strange = [type(member).__name__ for member in self.members if not isinstance(member, Scorer)]
        if strange or not self.members:
            raise InputError(
                f"ensemble got {', '.join(strange) or 'no members'}, expected scorers.\n"
                "Pass a list, for example [make('knn'), make('knn')]."
            )
        if len({id(member) for member in self.members}) < len(self.members):
            raise InputError("ensemble got one scorer twice, expected one a model.\nMake a scorer for each model.")

    def fit(self, outputs: Sequence[Outputs]) -> Self:  # type: ignore[override]
        """Fit each member on its own model's training rows, and keep mean and deviation of its scores there.

        Raises:
            InputError: not one `Outputs` a member, other images, or a member whose training scores are all equal.
        """
        self._check(outputs)
        scores = [member.fit(part).score(part) for member, part in zip(self.members, outputs, strict=True)]
        mean, sd = (torch.stack([kind(s).cpu() for s in scores]) for kind in (torch.mean, _deviation))
        flat = torch.nonzero(~(sd > 0)).flatten().tolist()
        if flat:
            raise InputError(
                f"ensemble's member {', '.join(map(str, flat))} gives all training rows one score, expected some "
                "spread to standardise by.\nLeave it out."
            )
        self._state, self._columns, self.calibration = {"mean": mean, "sd": sd}, len(self.members), None
        return self

    def score(self, outputs: Sequence[Outputs]) -> Tensor:  # type: ignore[override]
        """Scores (N,) on the first outputs' device; larger = more in-distribution."""
        self._require_fit("score")
        self._check(outputs)
        parts = zip(self.members, outputs, self._state["mean"].tolist(), self._state["sd"].tolist(), strict=True)
        scores = [(member.score(part) - mean) / sd for member, part, mean, sd in parts]
        return torch.stack([s.to(scores[0]) for s in scores]).mean(dim=0)

    def _check(self, outputs: Sequence[Outputs]) -> None:
        if isinstance(outputs, Outputs) or len(outputs) != len(self.members):
            got = "one Outputs" if isinstance(outputs, Outputs) else f"{len(outputs)} Outputs"
            raise InputError(
                f"ensemble got {got}, expected a list of {len(self.members)}, one a member.\n"
                "Extract the same images with each model."
            )
        rows = {len(part) for part in outputs}
        labels = [part.labels.cpu() for part in outputs if part.labels is not None]
        if len(rows) > 1 or any(not torch.equal(labels[0], other) for other in labels[1:]):
            raise InputError(
                f"ensemble got outputs of {', '.join(map(str, sorted(rows)))} rows or of other labels, expected the "
                "same images in the same order from each model.\nExtract without shuffling."
            )

    def _score(self, x: Tensor) -> Tensor:
        raise NotImplementedError  # score asks the members

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
        return self._state | {key: value for part in parts for key, value in part.items()}

    def restore(self, header: dict[str, Any], state: dict[str, Tensor]) -> Self:
        """Take over what `save` wrote: the ensemble's own and each member's."""
        for i, (member, own) in enumerate(zip(self.members, header["members"], strict=True)):
            front = f"{i}."
            tensors = {key.removeprefix(front): value for key, value in state.items() if key.startswith(front)}
            member.restore(own, tensors)
        return super().restore(header, {key: state[key] for key in ("mean", "sd")})

    def _facts(self) -> dict[str, Any]:
        return {
            "score_mean": self._state["mean"].tolist(),
            "score_sd": self._state["sd"].tolist(),
            "members": [member.summary() for member in self.members],
        }


def _deviation(scores: Tensor) -> Tensor:
    return scores.std(correction=0)
