"""The collapse loss: loops in float64, its limit, classes missing or alone, and that it trains a classifier."""

import itertools
import math

import numpy as np
import pytest
import torch

from ood_core import train
from ood_core.checks import InputError
from ood_core.heads import head
from ood_core.losses import Batch, objective
from ood_core.losses.collapse import terms
from ood_core.recipes.schema import Head, Loss
from tests.spine import images, recipe


def loops(features, labels, weight, bias):
    """The four terms by sums over images, classes and pairs of classes."""
    f, y, w, b = (np.asarray(v, dtype=np.float64) for v in (features, labels, weight, bias))
    seen = sorted(set(y.astype(int)))
    k = len(seen)
    mean = {c: np.mean([x for x, label in zip(f, y, strict=True) if label == c], axis=0) for c in seen}
    middle = sum(mean.values()) / k
    m = {c: mean[c] - middle for c in seen}
    within = np.mean([np.sum((x - mean[int(label)]) ** 2) for x, label in zip(f, y, strict=True)])
    size = sum(float(v @ v) for v in m.values())
    nc2 = 0.0
    for a, c in itertools.product(seen, seen):
        wanted = 1 / k if a == c else -1 / (k * (k - 1))
        nc2 += (float(m[a] @ m[c]) / size - wanted) ** 2
    row = sum(w[c] for c in seen) / k
    length = math.sqrt(sum(float((w[c] - row) @ (w[c] - row)) for c in seen))
    nc3 = sum(np.sum(((w[c] - row) / length - m[c] / math.sqrt(size)) ** 2) for c in seen)
    offsets = [float(w[c] @ middle + b[c] + 0.5 * (w[c] - row) @ m[c]) for c in seen]
    nc4 = math.log(1 + np.var(offsets) / (length * math.sqrt(size) / k) ** 2)
    return {"nc1": within / (within + size / k), "nc2": nc2, "nc3": nc3, "nc4": nc4}


def simplex(classes, dim, seed=0):
    """Vertices (C, D) of a simplex around the origin, turned at random."""
    corners = torch.eye(classes, dtype=torch.float64) - 1 / classes
    turn = torch.linalg.qr(
        torch.randn(dim, classes, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    )
    return corners @ turn[0].T


def case(classes=4, dim=6, images_=23, seed=0, labels=None):
    g = torch.Generator().manual_seed(seed)
    y = torch.randint(classes, (images_,), generator=g) if labels is None else torch.tensor(labels)
    f = torch.randn(len(y), dim, dtype=torch.float64, generator=g) + 2
    return f, y, torch.randn(classes, dim, dtype=torch.float64, generator=g), torch.randn(classes, generator=g).double()


@pytest.mark.parametrize("labels", [None, [0, 0, 1, 1, 2, 3], [0, 2, 2, 2, 0], [1, 3], [0, 1, 2, 3]])
def test_terms_against_loops(labels):
    """All classes, absent ones, classes of one image, and nothing but classes of one image."""
    f, y, w, b = case(labels=labels)
    found = {name: float(value) for name, value in terms(f, y, w, b).items()}
    assert found == pytest.approx(loops(f, y, w, b), rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("present", [[0, 1, 2, 3, 4], [0, 2, 4], [1, 3]])
def test_the_limit_is_zero_with_any_classes_present(present):
    corners = simplex(5, 7)
    y = torch.tensor(present).repeat(3)
    found = terms(4 * corners[y], y, 0.3 * corners, torch.zeros(5, dtype=torch.float64))
    assert all(abs(float(value)) < 1e-9 for value in found.values())


def fair(means, w):
    """The bias with which no class is favoured but by its mean."""
    m, own = means - means.mean(dim=0), w - w.mean(dim=0)
    return -w @ means.mean(dim=0) - (own * m).sum(dim=1) / 2


def test_each_term_sees_its_own_departure():
    """From the limit: noise, unequal lengths, turned weights, a shifted bias; the other terms stay at zero."""
    corners, y = simplex(4, 6), torch.arange(4).repeat(2)
    zero = torch.zeros(4, dtype=torch.float64)
    push = torch.randn(6, dtype=torch.float64)
    noisy = corners[y] + torch.cat([push.expand(4, -1), -push.expand(4, -1)]) * 0.1  # the same means
    longer = corners * torch.tensor([1, 1, 1, 1.5], dtype=torch.float64)[:, None]
    cases = {
        "nc1": (noisy, corners, zero),
        "nc2": (longer[y], longer - longer.mean(dim=0), fair(longer, longer - longer.mean(dim=0))),
        "nc3": (corners[y], corners[[1, 0, 2, 3]], fair(corners, corners[[1, 0, 2, 3]])),
        "nc4": (corners[y], corners, torch.tensor([0, 0, 0, 0.5], dtype=torch.float64)),
    }
    for name, (f, w, b) in cases.items():
        found = {term: float(value) for term, value in terms(f, y, w, b).items()}
        assert found.pop(name) > 0.01, name
        assert all(abs(value) < 1e-9 for value in found.values()), (name, found)
    # opposite weights are as far as they can be
    assert float(terms(corners[y], y, -corners, zero)["nc3"]) == pytest.approx(4)


def test_laws_of_scale_shift_and_rotation():
    f, y, w, b = case()
    turn = torch.linalg.qr(torch.randn(6, 6, dtype=torch.float64))[0]
    reference = terms(f, y, w, b)
    for g, v, c in [(3 * f, 2 * w, 6 * b), (f @ turn, w @ turn, b), (f + 1, w, b - w @ torch.ones(6).double())]:
        for name, value in terms(g, y, v, c).items():
            torch.testing.assert_close(value, reference[name])
    order = torch.randperm(len(y))
    torch.testing.assert_close(terms(f[order], y[order], w, b)["nc1"], reference["nc1"])


def test_zero_decides_by_the_nearest_class_mean():
    """Class means of unequal lengths, far from the origin, weights along them: the decision is that of the distance."""
    g = torch.Generator().manual_seed(0)
    means = torch.randn(5, 6, dtype=torch.float64, generator=g) * torch.arange(1, 6)[:, None] + 5
    w, y = 0.3 * (means - means.mean(dim=0)), torch.arange(5)
    assert float(terms(means, y, w, torch.zeros(5).double())["nc4"]) > 0.1
    assert float(terms(means, y, w, fair(means, w))["nc4"]) < 1e-12
    f = 5 + 4 * torch.randn(500, 6, dtype=torch.float64, generator=g)
    nearest = torch.cdist(f, means).argmin(dim=1)
    assert torch.equal((f @ w.T + fair(means, w)).argmax(dim=1), nearest)
    assert not torch.equal((f @ w.T - w @ means.mean(dim=0)).argmax(dim=1), nearest)  # only the lengths are left out


@pytest.mark.parametrize("labels", [[0, 0, 1, 1, 2, 3], [0, 1, 2, 3], [2, 2, 2], [1]])
def test_gradients_exist_and_are_right(labels):
    f, y, w, b = case(labels=labels)
    f, w, b = (v.requires_grad_() for v in (f, w, b))

    def loss(f, w, b):
        return torch.stack(list(terms(f, y, w, b).values())).sum()

    assert torch.autograd.gradcheck(loss, (f, w, b))


def test_a_batch_of_one_class_has_no_loss_and_a_gradient_of_zero():
    f, y, w, b = case(labels=[2, 2, 2])
    f, w = f.requires_grad_(), w.requires_grad_()
    loss = torch.stack(list(terms(f, y, w, b).values())).sum()
    loss.backward()
    assert float(loss.detach()) == 0
    assert torch.equal(f.grad, torch.zeros_like(f))
    assert torch.equal(w.grad, torch.zeros_like(w))


@pytest.mark.parametrize("features", ["equal", "zero"])
def test_features_without_spread_have_a_finite_gradient(features):
    f, y, w, b = case()
    f = (torch.zeros_like(f) if features == "zero" else torch.ones_like(f)).requires_grad_()
    w = w.requires_grad_()
    found = torch.stack(list(terms(f, y, w, b).values())).sum()
    found.backward()
    assert math.isfinite(float(found.detach()))
    assert torch.isfinite(f.grad).all()
    assert torch.isfinite(w.grad).all()


def made_head(name, classes=4, dim=6):
    module = head(Head(name=name), dim, classes)
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter)
    return module


@pytest.mark.parametrize("name", ["linear", "l2"])
def test_the_step_uses_what_the_weights_act_on(name):
    f, y, _, _ = case()
    module = made_head(name).double()
    step = objective(Loss(name="collapse"))(Batch(lambda x: (x, module(x)), f, y, module, torch.Generator()))
    seen = f if name == "linear" else f / f.norm(dim=1, keepdim=True)
    expected = loops(seen, y, module.weight.detach(), module.bias.detach())
    assert float(step.loss.detach()) == pytest.approx(sum(expected.values()))
    assert int(step.right) == int((module(f).argmax(dim=1) == y).sum())
    assert step.counted == len(y)


def test_bfloat16_features_are_taken_in_float32():
    f, y, _, _ = case()
    module, low = made_head("linear"), f.bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        found = objective(Loss(name="collapse"))(
            Batch(lambda x: (x, module(x)), low, y, module, torch.Generator())
        ).loss
    assert found.dtype == torch.float32
    expected = sum(loops(low.double(), y, module.weight.detach(), module.bias.detach()).values())
    assert float(found.detach()) == pytest.approx(expected, rel=1e-5)


def test_a_head_without_weights_on_features_is_refused():
    batch = Batch(lambda x: (x, x), torch.ones(3, 2), torch.tensor([0, 1, 0]), torch.nn.Identity(), torch.Generator())
    with pytest.raises(InputError, match="loss is 'collapse' with the head Identity"):
        objective(Loss(name="collapse"))(batch)


@pytest.mark.parametrize("name", ["linear", "l2"])
def test_it_trains_a_classifier(name):
    wanted = recipe(loss={"name": "collapse"}, head={"name": name}, network={"name": "resnet8", "width": 4})
    found = train.fit(wanted, 0, images(400))
    assert found.history[-1]["accuracy"] > 0.9 > found.history[0]["accuracy"]
    assert found.history[-1]["loss"] < 0.7 * found.history[0]["loss"]
