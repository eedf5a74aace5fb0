"""Composite images piece by piece, their targets, and the loss against a definition that loops."""

import math

import numpy as np
import pytest
import torch

from ood_core import train
from ood_core.checks import InputError
from ood_core.losses import Batch, objective
from ood_core.losses.composite import composites, shares
from ood_core.recipes.schema import Loss
from ood_core.store import FileCheckpoints
from tests.spine import images, recipe
from tests.test_train import same, weights


def settings(alpha=1.0, scale=10.0):
    return Loss(scale=scale, composite=alpha)


def generator(seed=4):
    return torch.Generator().manual_seed(seed)


class Linear(torch.nn.Module):
    """Logits of flattened pixels, and a memory of what it was given."""

    def __init__(self, pixels, classes):
        super().__init__()
        self.weight = torch.randn(classes, pixels, generator=generator(1), dtype=torch.float64) / 30

    def forward(self, x):
        self.seen = x.clone()
        return x, x.flatten(1) @ self.weight.T


def batch(count=11, classes=5, shape=(2, 4, 6)):
    pixels = torch.randn(count, *shape, generator=generator(2), dtype=torch.float64)
    labels = torch.randint(0, classes, (count,), generator=generator(3))
    model = Linear(math.prod(shape), classes)
    return Batch(model, pixels, labels, model, generator()), model


def by_definition(pixels, labels, logits_of, order, alpha, scale, classes):
    """Loops over images, pixels and classes; softmax, then logarithm."""
    half = len(order) // 2
    first, second = order[:half], order[half:]

    def probabilities(image):
        e = np.exp(scale * logits_of(image))
        return e / e.sum()

    ce = np.mean([-math.log(probabilities(pixels[i])[labels[i]]) for i in first])
    kls = []
    for place in range(len(second)):
        sources = [second[(place - back) % len(second)] for back in range(4)]
        made = np.empty_like(pixels[0])
        _, height, width = made.shape
        for row in range(height):
            for column in range(width):
                quadrant = 2 * (row >= height // 2) + (column >= width // 2)
                made[:, row, column] = pixels[sources[quadrant]][:, row, column]
        q = np.zeros(classes)
        for source in sources:
            q[labels[source]] += 0.25
        p = probabilities(made)
        kls.append(sum(qc * math.log(qc / pc) for qc, pc in zip(q, p, strict=True) if qc))
    return (ce + alpha * np.mean(kls)) / 2


@pytest.mark.parametrize("alpha", [0.25, 1.0])
@pytest.mark.parametrize("count", [8, 11, 32])
def test_against_the_definition(count, alpha):
    given, model = batch(count)
    step = objective(settings(alpha))(given)
    order = torch.randperm(count, generator=generator()).tolist()
    pixels, labels = given.images.numpy(), given.labels.tolist()
    w = model.weight.numpy()
    wanted = by_definition(pixels, labels, lambda image: w @ image.ravel(), order, alpha, 10.0, 5)
    assert step.loss.item() == pytest.approx(wanted, rel=1e-12)
    right = sum(int(np.argmax(w @ pixels[i].ravel()) == labels[i]) for i in order[: count // 2])
    assert (int(step.right), step.counted) == (right, count // 2)


def test_pieces_keep_their_place():
    pixels = torch.arange(5.0)[:, None, None, None].expand(5, 3, 5, 4).clone()
    before = pixels.clone()
    made = composites(pixels)
    assert made[0, 1].tolist() == [[0, 0, 4, 4]] * 2 + [[3, 3, 2, 2]] * 3  # an odd row belongs below
    assert made[4, 0].tolist() == [[4, 4, 3, 3]] * 2 + [[2, 2, 1, 1]] * 3
    assert torch.equal(pixels, before)


def test_targets_add_up():
    target = shares(torch.tensor([0, 0, 2, 1, 0]), 4)
    assert target.tolist() == [
        [0.5, 0.25, 0.25, 0],  # images 0, 4, 3, 2
        [0.75, 0.25, 0, 0],  # 1, 0, 4, 3
        [0.75, 0, 0.25, 0],  # 2, 1, 0, 4
        [0.5, 0.25, 0.25, 0],
        [0.5, 0.25, 0.25, 0],
    ]


def test_the_batch_is_left_as_it_was_and_half_of_it_goes_in_unchanged():
    given, model = batch(16)
    before = given.images.clone()
    objective(settings())(given)
    assert torch.equal(given.images, before)
    order = torch.randperm(16, generator=generator())
    assert torch.equal(model.seen[:8], before[order[:8]])
    assert torch.equal(model.seen[8:], composites(before[order[8:]]))


def test_what_is_drawn_depends_on_the_generator_alone():
    losses = []
    for seed in (4, 4, 5):
        given, _ = batch(16)
        losses.append(
            objective(settings())(Batch(given.forward, given.images, given.labels, given.head, generator(seed)))
        )
    first, again, other = (step.loss.item() for step in losses)
    assert first == again != other


def test_finite_where_a_softmax_and_then_its_logarithm_are_not():
    given, model = batch()
    model.weight = 1e3 * model.weight
    assert math.isfinite(objective(settings())(given).loss.item())


def test_too_small_a_batch_is_refused():
    with pytest.raises(InputError, match="a batch has 7 images, expected at least 8"):
        objective(settings())(batch(7)[0])


@pytest.mark.parametrize("head", ["dismax", "linear"])
def test_training_learns_and_resumes_to_the_bit(tmp_path, head):
    made = recipe(
        head={"name": head},
        loss={"scale": 10.0 if head == "dismax" else 1.0, "composite": 1.0},
        schedule={"epochs": 6, "warmup_epochs": 1},
    )
    whole = train.fit(made, 0, images(200))
    assert whole.history[-1]["loss"] < whole.history[0]["loss"]
    assert whole.history[-1]["accuracy"] > 2 / 3
    asked = iter((False, True))
    kept = FileCheckpoints(tmp_path / "c.safetensors")
    with pytest.raises(train.InterruptedTraining):
        train.fit(made, 0, images(200), checkpoints=kept, stop=lambda: next(asked))
    resumed = train.fit(made, 0, images(200), checkpoints=kept)
    assert same(weights(whole), weights(resumed))
    assert whole.history == resumed.history
    plain = train.fit(made.model_copy(update={"loss": Loss(scale=made.loss.scale)}), 0, images(200))
    assert not same(weights(whole), weights(plain))
