"""Scores that tell in-distribution from out-of-distribution rows; larger always means more in-distribution.

scorer = scorers.make("ddu").fit(train)     # train: Outputs of ID training images, with labels
s = scorer.score(outputs)                   # tensor (N,)
scorer.calibrate(held_out).predict(outputs) # bool (N,), True = in-distribution
scorer.save("ddu.safetensors"); scorers.load("ddu.safetensors")
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .. import checks
from ..checks import ArtifactError, InputError
from . import artifact
from .base import Calibration, Scorer
from .clusters import Cluster, ClusterLeaky
from .gaussians import DDU
from .logits import MSP, Energy, MaxLogit, MinDistance
from .mahalanobis import Mahalanobis, RelativeMahalanobis
from .neighbours import KNN
from .norms import NAN, ActiveCount, FeatureNorm
from .predicted import FDBD, NCI, SHE
from .probabilities import GEN, MMLES, Entropy, KLMatching
from .ssd import SSD
from .subspaces import NECO, Residual, ViM

__all__ = ["Calibration", "Scorer", "describe", "load", "make", "names", "version"]

_REGISTRY: dict[str, type[Scorer]] = {
    scorer.name: scorer
    for scorer in (
        MSP,
        MaxLogit,
        Energy,
        Entropy,
        KLMatching,
        GEN,
        MinDistance,
        MMLES,
        FeatureNorm,
        NAN,
        ActiveCount,
        DDU,
        Mahalanobis,
        RelativeMahalanobis,
        KNN,
        Cluster,
        SSD,
        ClusterLeaky,
        ViM,
        Residual,
        NECO,
        NCI,
        FDBD,
        SHE,
    )
}


def names() -> list[str]:
    """Names of all scorers, in the order of the registry."""
    return list(_REGISTRY)


def make(name: str, **parameters: Any) -> Scorer:
    """A scorer by name, not yet fitted.

    Args:
        name: one of `names()`.
        parameters: by keyword; `describe(name)` lists them with their defaults.
    Raises:
        InputError: an unknown name or parameter, or a value of the wrong type or out of range.
    """
    kind = _kind(name)
    unknown = sorted(set(parameters) - set(kind.parameters()))
    if unknown:
        raise InputError(
            f"{name} got {', '.join(unknown)}, expected only: {', '.join(kind.parameters())}.\n"
            f"scorers.describe({name!r}) shows their defaults."
        )
    return kind(**parameters)


def version(name: str) -> int:
    """Version of a scorer: raised when the same parameters give other scores, which makes recorded rows stale."""
    return _kind(name).version


def describe(name: str) -> dict[str, Any]:
    """What a scorer does, needs and costs: about, layer, needs, parameters with defaults, version, cost, source."""
    kind = _kind(name)
    parameters = kind.parameters()
    return {
        "name": name,
        "about": (kind.__doc__ or "").split("\n", maxsplit=1)[0],
        "layer": parameters["layer"],
        "needs": list(kind.needs),
        "parameters": parameters,
        "version": kind.version,
        "cost": kind.cost,
        "source": kind.source,
    }


def load(path: str | Path) -> Scorer:
    """A fitted scorer from the file that `save` wrote, calibration included.

    Raises:
        ArtifactError: the file is missing, truncated, edited, or was written by another version of the scorer.
    """
    header, state = artifact.read(Path(path))
    name, written = header["name"], header["version"]
    if name not in _REGISTRY:
        raise ArtifactError(
            f"{path} holds the scorer {name!r}, expected one of: {', '.join(names())}.\nUpdate ood_core."
        )
    if written != version(name):
        age = "a newer" if written > version(name) else "an older"
        raise ArtifactError(
            f"{path} holds {name} version {written}, expected {version(name)}: {age} version wrote it.\n"
            + ("Update ood_core." if age == "a newer" else "Fit and save it again.")
        )
    return make(name, **header["parameters"]).restore(header, state)


def _kind(name: str) -> type[Scorer]:
    checks.choice("scorer", name, _REGISTRY)
    return _REGISTRY[name]
