"""What a scorer reads of a network's outputs, and whether this network has it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .. import scorers
from ..checks import InputError
from .classifiers import Classifier


def require_readable(name: str, settings: Mapping[str, Any], classifier: Classifier, model: str) -> None:
    """Refuse a scorer that reads logits, for a network whose logits stand for no class."""
    reads = _reads(name, settings) & {"logits", "raw_logits", "head", "model"}
    if reads and not classifier.predicts:
        raise InputError(
            f"{name} works through {' and '.join(sorted(reads))}, expected a scorer of features: run {model} has no "
            "logits that stand for classes, by its head or its labels.\n"
            'Pass for example `scorer="knn"` or `scorer="ddu"`.'
        )


def _reads(name: str, settings: Mapping[str, Any]) -> set[str]:
    chosen = {**scorers.describe(name)["parameters"], **settings}
    if "then" in chosen:  # a shape of the features: it needs the head where the scorer behind it reads logits
        return {chosen["layer"], *_own_reads(chosen["then"], chosen["then_params"])}
    return _own_reads(name, settings)


def _own_reads(name: str, settings: Mapping[str, Any]) -> set[str]:
    about = scorers.describe(name)
    # residual needs the head for one origin alone and says so itself
    return {settings.get("layer", about["layer"]), *about["needs"]} - ({"head"} if "origin" in settings else set())
