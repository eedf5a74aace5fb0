"""The classifier hidden in a layer: its bound, what it has learned, and how sure it is. Everything in float64.

Source: Park et al. 2023, arXiv 2310.05316, section 3; claims N1 to N3 of the page `nan`.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from .. import geometry, metrics, stats
from ..data import ImageSet
from ..models.mlp import MLP
from ..outputs import Head, Outputs
from ..rng import generator
from .job import Job, Measure, Moment, Row, Seen, score_name

RANDOM = "random signs"  # the protocol of the control: B drawn at random instead of taken from the network
TOLERANCE = 1e-9  # of the l1 norm: rounding leaves about 1e-15
BLOCK = 128


@dataclass(frozen=True)
class Layer:
    """What one hidden layer says of N images, with the network's signs or random ones.

    Attributes:
        name: `hidden.1` to `hidden.L` of a multilayer perceptron, else `features`, the last.
        norm: ||a||_1, (N,).
        logits: psibar = B a, (N, K); `gap` is ||a||_1 minus the largest.
        limit: the bound on the gap of that largest logit, (N,).
        apart: mean over units of |sign(a) - b_y|, between 0 and 2, (N,); NaN without labels.
        violations: pairs of image and class where the bound fails by more than `TOLERANCE`.
        worst: how far it fails at worst, as a share of the norm; 0 or less where it holds.
    """

    name: str
    norm: Tensor
    logits: Tensor
    limit: Tensor
    apart: Tensor
    violations: int
    worst: float

    @property
    def gap(self) -> Tensor:
        """||a||_1 - max_k psibar_k, (N,)."""
        return self.norm - self.logits.amax(dim=1)


@torch.no_grad()
def linear_maps(net: MLP, weight: Tensor, x: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """a(l) (N, D) and C(l)(x) with logits = C(l)(x) a(l), for l = L down to 1; C is (K, D) at L, (N, K, D) before.

    C(L) = W(L+1)^T and C(l) = C(l+1) D(l+1) W(l+1)^T, D = diag(sigma(z)/z) with 0/0 = 0. For a GeLU this is no
    derivative. Biases are none.

    Args:
        weight: (K, D) of the head.
        x: images (N, C, H, W) in the precision of the network.
    """
    states = net.hidden(x)
    c = weight
    for index in reversed(range(len(states))):
        z, a = states[index]
        yield a, c
        slope = torch.where(z == 0, 0.0, a / torch.where(z == 0, 1.0, z))
        wide = c.unsqueeze(0) if c.ndim == 2 else c
        c = (wide * slope[:, None, :]) @ net.matrices[index]


def layers(seen: Seen, name: str, images: ImageSet) -> dict[str, list[Layer]]:
    """Every hidden layer on some images, by protocol: "" with the network's signs, `RANDOM` with random ones.

    A multilayer perceptron gives all of its layers from the first to the last; another network with a linear head its
    features, of which the head is the linear map.
    """
    blocks: dict[str, dict[str, list[Layer]]] = {"": {}, RANDOM: {}}
    for layer, a, c, labels in _maps(seen, name, images):
        draw = generator(seen.seed, "signs", layer)
        signs = torch.randint(0, 2, c.shape[-2:], generator=draw).to(a) * 2 - 1
        for protocol, coefficients in (("", c), (RANDOM, signs)):
            blocks[protocol].setdefault(layer, []).append(_layer(layer, a, coefficients, labels))
    # `_maps` begins at the last layer
    return {protocol: [_joined(parts) for parts in reversed(found.values())] for protocol, found in blocks.items()}


def _maps(seen: Seen, name: str, images: ImageSet) -> Iterator[tuple[str, Tensor, Tensor, Tensor | None]]:
    """Name, a, C and labels of each block of images and each layer."""
    head: Head = seen.net.head.formula()  # type: ignore[operator]  # every head has one
    net, weight = seen.net.backbone, head.weight.double()
    wide = copy.deepcopy(net).double() if isinstance(net, MLP) else None
    features = None if wide is not None else _outputs(seen, name).features.double().cpu()
    for start in range(0, len(images), BLOCK):
        part = slice(start, start + BLOCK)
        labels = None if images.labels is None else torch.from_numpy(images.labels[part])
        if features is not None:
            yield "features", features[part], weight.cpu(), labels
        elif wide is not None:
            x = seen.net.prepare(torch.from_numpy(images.images[part])).double()
            for depth, (a, c) in enumerate(linear_maps(wide, weight.to(x.device), x)):
                yield f"hidden.{len(wide.layers) - depth}", a.cpu(), c.cpu(), labels


def _outputs(seen: Seen, name: str) -> Outputs:
    """What other measures have passed through the network already: a split of `_id_sets`, or an OOD set."""
    if name == "train":
        return seen.sample
    return seen.test if name == "test" else seen.ood(name)


def _layer(name: str, a: Tensor, c: Tensor, labels: Tensor | None) -> Layer:
    found = geometry.holder_bound(a, c)
    norm = a.abs().sum(dim=1)
    logits = norm[:, None] - found.gap
    apart = torch.full_like(norm, torch.nan)
    if labels is not None:
        own = c[labels] if c.ndim == 2 else c[torch.arange(len(a)), labels]
        apart = 2 * ((a > 0) != (own > 0)).double().mean(dim=1)
    slack = TOLERANCE * norm[:, None]
    broken = (found.gap < -slack) | (found.gap > found.bound + slack)
    limit = found.bound.gather(1, logits.argmax(dim=1, keepdim=True)).squeeze(1)
    return Layer(name, norm, logits, limit, apart, int(broken.sum()), found.violation)


def _joined(blocks: list[Layer]) -> Layer:
    def whole(name: str) -> Tensor:
        return torch.cat([getattr(block, name) for block in blocks])

    return Layer(
        name=blocks[0].name,
        norm=whole("norm"),
        logits=whole("logits"),
        limit=whole("limit"),
        apart=whole("apart"),
        violations=sum(block.violations for block in blocks),
        worst=max(block.worst for block in blocks),
    )


def _of(seen: Seen, name: str, images: ImageSet) -> dict[str, list[Layer]]:
    """`layers`, once for all measures of a network."""
    return seen.once(("hidden", name), lambda: layers(seen, name, images))


def _id_sets(seen: Seen) -> list[tuple[str, ImageSet]]:
    """Split and images of the ID parts: those of `Seen.sample` and `Seen.test`."""
    sample = seen.sets.train.part(slice(seen.recipe.evaluate.collapse_images), "sample")
    return [("train", sample), ("test", seen.first(seen.sets.test))]


def _bound(seen: Seen, job: Job) -> list[Row]:
    """By split, layer and protocol; and with layer `all` over both ID splits and all layers together.

    Of ID test images, gap and bound of the last layer are left to be stored, as shares of the norm.
    """
    sets = [("test", seen.ood_images(job.ood_set))] if job.ood_set else _id_sets(seen)
    rows: list[Row] = []
    broken, pairs = {"": 0, RANDOM: 0}, {"": 0, RANDOM: 0}
    for split, images in sets:
        for protocol, found in _of(seen, job.ood_set or split, images).items():
            for layer in found:
                common = {"split": split, "layer": layer.name, "protocol": protocol, "n": layer.logits.numel()}
                rows.append({**common, "metric": "bound_violations", "value": float(layer.violations)})
                rows.append({**common, "metric": "bound_worst", "value": layer.worst})
                broken[protocol] += layer.violations
                pairs[protocol] += layer.logits.numel()
            if seen.last and split == "test" and not job.ood_set:
                _leave(seen, protocol, found[-1])
    whole = {"split": "", "layer": "all", "metric": "bound_violations"}
    return rows + [{**whole, "protocol": p, "n": pairs[p], "value": float(broken[p])} for p in broken]


def _leave(seen: Seen, protocol: str, layer: Layer) -> None:
    params = '{"signs":"random"}' if protocol else ""
    norm = layer.norm.clamp(min=torch.finfo().tiny)
    for name, values in (("hidden_gap", layer.gap), ("hidden_bound", layer.limit)):
        seen.scores[score_name(name, layer.name, params)] = (values / norm).numpy()


def _learned(seen: Seen, _: Job) -> list[Row]:
    rows: list[Row] = []
    for split, images in _id_sets(seen):
        if images.labels is None:
            continue
        labels = torch.from_numpy(images.labels)
        for protocol, found in _of(seen, split, images).items():
            for layer in found:
                log = layer.logits.log_softmax(dim=1)
                values = {
                    "hidden_accuracy": float((layer.logits.argmax(dim=1) == labels).double().mean()),
                    "hidden_entropy": float(-(log.exp() * log).sum(dim=1).mean()),
                    "sign_difference": float(layer.apart.mean()),
                    "norm_gap": float(layer.gap.mean()),
                    "norm_gap_share": float((layer.gap / layer.norm.clamp(min=torch.finfo().tiny)).mean()),
                }
                common = {"split": split, "layer": layer.name, "protocol": protocol, "n": len(labels)}
                rows += [{**common, "metric": metric, "value": value} for metric, value in values.items()]
    return rows


def _largest(out: Outputs) -> tuple[Tensor, Tensor]:
    """||h||_1 and max_k psibar_k of the last hidden layer, both (N,)."""
    assert out.head is not None
    features = out.features.double()
    return features.abs().sum(dim=1), geometry.hidden_confidence(features, out.head.weight).amax(dim=1)


def _confidence(seen: Seen, job: Job) -> list[Row]:
    norm, hidden = _largest(seen.test)
    if not job.ood_set:
        if len(norm.unique()) == 1 or len(hidden.unique()) == 1:  # a dead layer has no ranks
            return []
        value = stats.spearman(norm.cpu().numpy(), hidden.cpu().numpy())
        return [{"split": "test", "metric": "spearman_norm_hidden", "value": value, "n": len(norm)}]
    _, other = _largest(seen.ood(job.ood_set))
    value = metrics.auroc(hidden, other)
    return [{"split": "test", "metric": "hidden_auroc", "value": value, "n": len(hidden) + len(other)}]


def _plan_bound(at: Moment) -> list[Job]:
    """Before training, halfway and after it: the bound holds for any numbers, and costs more than all else here."""
    if at.epoch not in (0, round(at.recipe.epochs / 2), at.recipe.epochs):
        return []
    whole = Job("hidden_bound", at.epoch, (*at.sample, *at.test))
    return [whole, *(Job("hidden_bound", at.epoch, reads, name, group) for name, group, reads in at.ood)]


def _plan_learned(at: Moment) -> list[Job]:
    return [Job("hidden_classifiers", at.epoch, (*at.sample, *at.test))]


def _plan_confidence(at: Moment) -> list[Job]:
    own = [Job("hidden_confidence", at.epoch, at.test, layer="features")]
    sets = ((name, group, (*at.test, *reads)) for name, group, reads in at.ood)
    return own + [Job("hidden_confidence", at.epoch, reads, name, group, "features") for name, group, reads in sets]


MEASURES = (
    Measure("hidden_bound", 2, _plan_bound, _bound),
    Measure("hidden_classifiers", 1, _plan_learned, _learned),
    Measure("hidden_confidence", 1, _plan_confidence, _confidence),
)
