"""What is measured on a network: jobs with keys, and the tidy rows they make."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from . import collapse, data, metrics, scorers, stats
from .data import ImageSet
from .features import extract
from .losses import loss
from .networks import Network
from .outputs import Outputs
from .recipes import Recipe, Score, digest_of
from .store import Scores

COLUMNS = (
    *("run", "scale", "seed", "id_set", "ood_set", "ood_group", "split", "epoch"),
    *("layer", "scorer", "params", "protocol", "class", "metric", "value", "n"),
)
# Raise a number when the same network would give other rows: they are then measured again.
VERSIONS = {"accuracy": 1, "collapse": 1, "norms": 1, "gradient": 1, "norm_cosine": 1, "ood_norm": 1, "ood": 1}
GRADIENT_IMAGES = 512


@dataclass(frozen=True)
class Sets:
    """The image sets of a recipe: the part to train on, ID test images, and OOD sets by name."""

    train: ImageSet
    test: ImageSet
    ood: dict[str, ImageSet]

    @classmethod
    def load(cls, recipe: Recipe) -> Sets:
        train, _ = data.train_part(data.load(recipe.data.id_set, "train"), recipe.data.train_on)
        groups = (("near", recipe.evaluate.near), ("far", recipe.evaluate.far))
        ood = {name: data.load(name, "test", role) for role, names in groups for name in names}
        return cls(train, data.load(recipe.data.id_set, "test"), ood)


@dataclass(frozen=True)
class Job:
    """One measurement at one epoch; its key changes when anything changes that its rows depend on."""

    measure: str
    epoch: int
    ood_set: str = ""
    ood_group: str = ""
    layer: str = ""
    scorer: str = ""
    params: str = ""
    version: int = 1
    digests: tuple[str, ...] = ()

    def key(self, train_key: str) -> str:
        return digest_of({"train_key": train_key, **self.__dict__, "measure_version": VERSIONS[self.measure]})

    @property
    def identity(self) -> str:
        """The same for a stale row and the one that replaces it."""
        parts = (self.measure, self.epoch, self.ood_set, self.layer, self.scorer, self.params)
        return "|".join(map(str, parts))


def canonical(score: Score) -> tuple[str, str]:
    """The layer a scorer reads, and its other non-default parameters as canonical JSON ("" for none)."""
    made = scorers.make(score.scorer, **score.params)
    rest = {name: value for name, value in made.params.items() if name != "layer"}
    text = json.dumps(rest, sort_keys=True, separators=(",", ":")) if rest else ""
    return made.layer, text


def jobs(recipe: Recipe, epoch: int) -> list[Job]:
    """Everything to measure at one epoch; scorers not followed through training are measured at the last one only."""
    last = epoch == recipe.epochs
    train = data.digest(recipe.data.id_set, "train")
    test = data.digest(recipe.data.id_set, "test")
    found = [Job("accuracy", epoch, digests=(train, test))]
    part = (train, recipe.data.train_on, str(recipe.evaluate.collapse_images))
    found += [Job("collapse", epoch, layer=layer, digests=part) for layer in ("features", "unit")]
    found += [Job("norms", epoch, layer="features", digests=(*part, test))]
    if last:
        found += [Job("gradient", epoch, layer="features", digests=part)]
        found += [Job("norm_cosine", epoch, layer="features", digests=(*part, test))]
    groups = (("near", recipe.evaluate.near), ("far", recipe.evaluate.far))
    ood = [(name, group, data.digest(name, "test")) for group, names in groups for name in names]
    for name, group, digest in ood:
        read = (train, recipe.data.train_on, digest)
        found.append(Job("ood_norm", epoch, name, group, layer="features", digests=read))
    for score in recipe.evaluate.scores:
        if last or score.through_training:
            layer, params = canonical(score)
            version = scorers.version(score.scorer, **score.params)
            for name, group, digest in ood:
                digests = (train, recipe.data.train_on, test, digest)
                found.append(Job("ood", epoch, name, group, layer, score.scorer, params, version, digests))
    return found


class Measurement:
    """Runs jobs on one network at one epoch; images are passed through it once each."""

    def __init__(self, net: Network, sets: Sets, recipe: Recipe, seed: int, train_key: str) -> None:
        self.net, self.sets, self.recipe = net, sets, recipe
        self.common = {"run": train_key, "scale": recipe.scale, "seed": seed, "id_set": recipe.data.id_set}
        self.scores: Scores = {}
        self._ood: dict[str, Outputs] = {}
        self._id_scores: dict[tuple[str, str, str], Tensor] = {}

    @cached_property
    def train(self) -> Outputs:
        return extract(self.net, self.sets.train)

    @cached_property
    def test(self) -> Outputs:
        return extract(self.net, self.sets.test)

    @cached_property
    def _sample(self) -> Outputs:
        """The first training images of the canonical order, on which collapse and norms are measured."""
        return self.train[: self.recipe.evaluate.collapse_images]

    def ood(self, name: str) -> Outputs:
        if name not in self._ood:
            unlabelled = replace(self.sets.ood[name], labels=None)  # its classes are not the network's
            self._ood[name] = extract(self.net, unlabelled)
        return self._ood[name]

    def run(self, todo: Iterable[Job]) -> list[dict[str, Any]]:
        """Tidy rows, each with the `key` and `identity` of its job."""
        rows: list[dict[str, Any]] = []
        fitted: dict[tuple[str, str, str], scorers.Scorer] = {}
        for job in todo:
            for found in self._measure(job, fitted):
                row = {
                    **dict.fromkeys(COLUMNS, ""),
                    **self.common,
                    "epoch": job.epoch,
                    "ood_set": job.ood_set,
                    "ood_group": job.ood_group,
                    "layer": job.layer,
                    "scorer": job.scorer,
                    "params": job.params,
                    **found,
                }
                rows.append({**row, "key": job.key(str(self.common["run"])), "identity": job.identity})
        return rows

    def _measure(self, job: Job, fitted: dict[tuple[str, str, str], scorers.Scorer]) -> list[dict[str, Any]]:
        if job.measure == "ood":
            return self._ood_rows(job, fitted)
        return list(getattr(self, f"_{job.measure}_rows")(job))

    def _accuracy_rows(self, _: Job) -> list[dict[str, Any]]:
        pairs = (("train", self.train), ("test", self.test))
        return [
            {"split": split, "metric": "accuracy", "value": metrics.accuracy(out.logits, out.labels), "n": len(out)}
            for split, out in pairs
        ]

    def _collapse_rows(self, job: Job) -> list[dict[str, Any]]:
        out = self._sample
        assert out.head is not None
        assert out.labels is not None
        values = collapse.measure(
            out.layer(job.layer), out.labels, out.head.weight, out.head.bias, num_classes=out.head.classes
        )
        return [{"split": "train", "metric": name, "value": value, "n": len(out)} for name, value in values.items()]

    def _norms_rows(self, _: Job) -> list[dict[str, Any]]:
        assert self._sample.labels is not None
        values = collapse.norm_statistics(self._sample.features, self._sample.labels)
        rows = [{"split": "train", "metric": m, "value": value, "n": len(self._sample)} for m, value in values.items()]
        return [*rows, {"split": "test", **_mean_norm(self.test)}]

    def _ood_norm_rows(self, job: Job) -> list[dict[str, Any]]:
        return [{"split": "test", **_mean_norm(self.ood(job.ood_set))}]

    def _gradient_rows(self, _: Job) -> list[dict[str, Any]]:
        """Max |cos(dL/dh, h)| over training images whose gradient is not zero, in float64."""
        out = self._sample[:GRADIENT_IMAGES]
        assert out.labels is not None
        head = copy.deepcopy(self.net.head).double().cpu()
        features = out.features.double().requires_grad_()
        with torch.enable_grad():
            value = loss(self.recipe.loss.name)(head(features), out.labels) * len(out)
            (gradient,) = torch.autograd.grad(value, features)
        moved = gradient.norm(dim=1) > 0
        cosine = torch.nn.functional.cosine_similarity(gradient[moved], features.detach()[moved], dim=1, eps=1e-300)
        worst = float(cosine.abs().max()) if bool(moved.any()) else 0.0
        return [{"split": "train", "metric": "loss_gradient_cosine", "value": worst, "n": int(moved.sum())}]

    def _norm_cosine_rows(self, _: Job) -> list[dict[str, Any]]:
        norm = scorers.make("feature_norm").fit(self.train).score(self.test)
        cosine = scorers.make("cluster", distance="cosine", layer="unit").fit(self.train).score(self.test)
        value = stats.spearman(norm.cpu().numpy(), cosine.cpu().numpy())
        return [{"split": "test", "metric": "spearman_norm_cosine", "value": float(value), "n": len(self.test)}]

    def _ood_rows(self, job: Job, fitted: dict[tuple[str, str, str], scorers.Scorer]) -> list[dict[str, Any]]:
        name = (job.scorer, job.layer, job.params)
        if name not in fitted:
            settings = {"layer": job.layer, **(json.loads(job.params) if job.params else {})}
            fitted[name] = scorers.make(job.scorer, **settings).fit(self.train)
            self._id_scores[name] = fitted[name].score(self.test)
        id_scores = self._id_scores[name]
        ood_scores = fitted[name].score(self.ood(job.ood_set))
        if job.epoch == self.recipe.epochs:
            self.scores["|".join((*name, ""))] = id_scores.double().cpu().numpy()
            self.scores["|".join((*name, job.ood_set))] = ood_scores.double().cpu().numpy()
        values = metrics.evaluate(id_scores, ood_scores, correct=self.test.correct)
        count = len(id_scores) + len(ood_scores)
        return [{"split": "test", "metric": metric, "value": value, "n": count} for metric, value in values.items()]


def _mean_norm(out: Outputs) -> dict[str, Any]:
    return {"metric": "norm_mean", "value": float(out.features.double().norm(dim=1).mean()), "n": len(out)}


def parse_score_name(name: str) -> tuple[str, str, str, str]:
    """`scorer|layer|params|set` as stored -> its four parts."""
    scorer, layer, rest = name.split("|", 2)
    params, _, set_name = rest.rpartition("|")
    return scorer, layer, params, set_name
