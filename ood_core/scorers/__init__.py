"""Scores that tell in-distribution from out-of-distribution rows; larger always means more in-distribution.

scorer = scorers.make("ddu").fit(train)     # train: Outputs of ID training images, with labels
s = scorer.score(outputs)                   # tensor (N,)
scorer.calibrate(held_out).predict(outputs) # bool (N,), True = in-distribution; scorers.threshold(s) for scores at hand
scorer.save("ddu.safetensors"); scorers.load("ddu.safetensors")
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .. import checks
from ..checks import ArtifactError, InputError
from . import artifact
from .base import KINDS, FitScores, Scorer
from .calibration import Calibration, threshold
from .clusters import Cluster, ClusterLeaky
from .combine import KNNNAN, SSDNAN, ReActNAN
from .ensembles import Ensemble
from .gaussians import DDU
from .logits import MSP, Energy, MaxLogit, MinDistance
from .mahalanobis import Mahalanobis, RelativeMahalanobis
from .neighbours import KNN, NNGuide
from .norms import NAN, ActiveCount, FeatureNorm
from .odin import ODIN
from .predicted import FDBD, NCI, SHE
from .probabilities import GEN, MMLES, Entropy, KLMatching
from .registry import register
from .ssd import SSD
from .subspaces import NECO, Residual, ViM
from .transforms import ASH, ReAct, Scale

__all__ = [
    "Calibration",
    "FitScores",
    "Scorer",
    "describe",
    "ensemble",
    "load",
    "make",
    "names",
    "register",
    "threshold",
    "version",
]

KINDS |= {
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
        NNGuide,
        Cluster,
        SSD,
        ClusterLeaky,
        KNNNAN,
        SSDNAN,
        ReActNAN,
        ViM,
        Residual,
        NECO,
        NCI,
        FDBD,
        SHE,
        ReAct,
        ASH,
        Scale,
        ODIN,
        Ensemble,
    )
}


def names() -> list[str]:
    """Names of all scorers, in the order of the registry.

    Example:
        >>> from ood_core import scorers
        >>> scorers.names()[:4]
        ['msp', 'max_logit', 'energy', 'entropy']
    """
    return [name for name in KINDS if name != Ensemble.name]


def make(name: str, **parameters: Any) -> Scorer:
    """A scorer by name, not yet fitted.

    Args:
        name: one of `names()`.
        parameters: by keyword; `describe(name)` lists them with their defaults. A scorer that works on a network
            itself takes `model` as well, which is no parameter: neither named nor saved.
    Raises:
        InputError: an unknown name or parameter, or a value of the wrong type or out of range.
    Example:
        >>> from ood_core import scorers
        >>> scorers.make("knn", k=10, which="mean").params
        {'k': 10, 'which': 'mean'}
    """
    kind = _kind(name)
    unknown = sorted(set(parameters) - {*kind.parameters(), *kind.given})
    if unknown:
        raise InputError(
            f"{name} got {', '.join(unknown)}, expected only: {', '.join([*kind.parameters(), *kind.given])}.\n"
            f"scorers.describe({name!r}) shows their defaults."
        )
    return kind(**parameters)


def ensemble(members: Sequence[Scorer]) -> Ensemble:
    """One scorer of several, one a model: the mean of their standardised scores.

    Args:
        members: scorers, one a model, fitted already or by `fit` of the ensemble, which takes one `Outputs` a model.
    Example:
        >>> import torch
        >>> from ood_core import Outputs, scorers
        >>> train_a, train_b = Outputs(torch.tensor([[3.0], [1.0]])), Outputs(torch.tensor([[5.0], [9.0]]))
        >>> a, b = scorers.make("feature_norm").fit(train_a), scorers.make("feature_norm").fit(train_b)
        >>> scorers.ensemble([a, b]).score([Outputs(torch.tensor([[2.0]])), Outputs(torch.tensor([[11.0]]))])
        tensor([1.], dtype=torch.float64)
    """
    return Ensemble(members)


def version(name: str, **parameters: Any) -> int:
    """Version of a scorer: raised when the same parameters give other scores, which makes recorded rows stale.

    With an inner scorer (`then`), raised when either of the two is.

    Example:
        >>> from ood_core import scorers
        >>> scorers.version("msp")
        1
    """
    chosen = {**_kind(name).parameters(), **parameters}
    inner = version(chosen["then"], **chosen["then_params"]) - 1 if "then" in chosen else 0
    return _kind(name).version + inner


def describe(name: str) -> dict[str, Any]:
    """What a scorer does, needs and costs: about, layer, needs, parameters with defaults, version, cost, source.

    Example:
        >>> from ood_core import scorers
        >>> about = scorers.describe("mahalanobis")
        >>> about["needs"], about["parameters"]
        (['labels'], {'layer': 'features', 'ridge': 0.0001})
    """
    kind = _kind(name)
    parameters = kind.parameters()
    return {
        "name": name,
        "about": (kind.__doc__ or "").split("\n", maxsplit=1)[0],
        "layer": parameters["layer"],
        "needs": [*kind.needs, *kind.given],
        "parameters": parameters,
        "version": kind.version,
        "cost": kind.cost,
        "source": kind.source,
    }


def load(path: str | Path, **given: Any) -> Scorer:
    """A fitted scorer from the file that `save` wrote, calibration included.

    Args:
        given: what `make` takes beside parameters and no file holds, such as `model` for odin.
    Raises:
        ArtifactError: the file is missing, truncated, edited, or was written by another version of the scorer.
    Example:
        >>> import tempfile, torch
        >>> from ood_core import Outputs, scorers
        >>> rows = Outputs(torch.tensor([[3.0, 4.0], [1.0, 0.0]]))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     scorers.make("feature_norm").fit(rows).save(f"{folder}/norm.safetensors")
        ...     scorer = scorers.load(f"{folder}/norm.safetensors")
        >>> scorer.score(rows)
        tensor([5., 1.], dtype=torch.float64)
    """
    header, state = artifact.read(Path(path).expanduser())
    _check_version(path, header)
    if "members" in header:
        members = [make(part["name"], **part["parameters"]) for part in header["members"]]
        scorer: Scorer = ensemble(members)
    else:
        scorer = make(header["name"], **header["parameters"], **given)
    try:
        return scorer.restore(header, state)
    except (KeyError, TypeError) as error:  # by its version it should fit
        raise artifact.damaged(path, error) from error


def _check_version(path: str | Path, header: dict[str, Any]) -> None:
    name, written = header["name"], header["version"]
    if name not in KINDS:
        raise ArtifactError(
            f"{path} holds the scorer {name!r}, expected one of: {', '.join(names())}.\n"
            "Update ood_core; import the module that registers it, if it is your own."
        )
    known = KINDS[name].version
    if written != known:
        age = "a newer" if written > known else "an older"
        raise ArtifactError(
            f"{path} holds {name} version {written}, expected {known}: {age} version wrote it.\n"
            + ("Update ood_core." if age == "a newer" else "Fit and save it again.")
        )
    for part in (*header.get("members", ()), *([header["then"]] if "then" in header else ())):
        _check_version(path, part)


def _kind(name: str) -> type[Scorer]:
    return KINDS[checks.choice("scorer", name, names())]
