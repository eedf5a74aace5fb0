"""Contrastive losses against loops in float64, their laws, awkward batches, and two processes against one."""

import math

import numpy as np
import pytest
import torch
from torch import multiprocessing

from ood_core.losses import Batch, objective
from ood_core.recipes.schema import Loss
from ood_core.rng import generator

NAMES = ("supcon", "nt_xent")


def vectors(count, dim=6, dtype=torch.float64, item=0):
    z = torch.randn(count, dim, generator=generator(0, "test", item), dtype=dtype)
    return z / z.norm(dim=1, keepdim=True)


def loss(name, z, labels, **settings):
    made = objective(Loss(name=name, **settings))
    step = made(Batch(lambda x: (x, x), z, torch.as_tensor(labels), torch.nn.Identity(), torch.Generator()))
    assert (int(step.right), step.counted) == (0, 0)
    return step.loss


def oracle(name, z, labels, t, t0):
    """The definition as a loop over anchors and positives, with exp and log as they stand."""
    count = len(labels)
    labels = [*labels, *labels]
    total, anchors = 0.0, 0
    for i in range(len(z)):
        others = [a for a in range(len(z)) if a != i]
        positives = [p for p in others if labels[p] == labels[i]] if name == "supcon" else [(i + count) % (2 * count)]
        if not positives:
            continue
        below = sum(math.exp(float(np.dot(z[i], z[a])) / t) for a in others)
        terms = [math.log(math.exp(float(np.dot(z[i], z[p])) / t) / below) for p in positives]
        total -= sum(terms) / len(terms)
        anchors += 1
    return total / anchors * (t / t0 if t0 else 1)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("settings", [{}, {"temperature": 0.5}, {"temperature": 0.5, "base_temperature": None}])
def test_against_a_loop(name, settings):
    z, labels = vectors(14), [0, 1, 2, 0, 0, 3, 1]
    t0 = settings.get("base_temperature", 0.07)
    expected = oracle(name, z.numpy(), labels, settings.get("temperature", 0.1), t0)
    assert float(loss(name, z, labels, **settings)) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_gradients_by_differences(name):
    z = vectors(8).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: loss(name, x, [0, 1, 0, 2], temperature=0.5), z)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("t", "t0"), [(0.1, 0.07), (0.5, 0.07), (0.5, None), (0.07, 0.07)])
def test_equal_features_give_the_log_of_the_others(name, t, t0):
    """All dot products 1: (t / t0) log(2N - 1), so log(2N - 1) only without the factor."""
    z = torch.ones(10, 4, dtype=torch.float64) / 2
    expected = (t / t0 if t0 else 1) * math.log(9)
    assert float(loss(name, z, [0, 1, 0, 2, 2], temperature=t, base_temperature=t0)) == pytest.approx(expected)


@pytest.mark.parametrize("name", NAMES)
def test_the_order_of_images_does_not_matter(name):
    z, labels = vectors(12), torch.tensor([0, 1, 2, 0, 1, 1])
    order = torch.tensor([3, 5, 0, 2, 4, 1])
    moved = torch.cat([z[:6][order], z[6:][order]])
    torch.testing.assert_close(loss(name, moved, labels[order]), loss(name, z, labels))


def test_nt_xent_is_supcon_with_a_label_for_each_image():
    z = vectors(12)
    torch.testing.assert_close(loss("nt_xent", z, [0, 0, 0, 1, 1, 1]), loss("supcon", z, range(6)))
    assert float(loss("nt_xent", z, [0] * 6)) != pytest.approx(float(loss("supcon", z, [0] * 6)))


@pytest.mark.parametrize("name", NAMES)
def test_the_factor_scales_loss_and_gradient(name):
    found = {}
    for t0 in (None, 0.07):
        z = vectors(8).requires_grad_()
        value = loss(name, z, [0, 1, 0, 2], temperature=0.5, base_temperature=t0)
        value.backward()
        found[t0] = value.detach(), z.grad
    torch.testing.assert_close(found[0.07][0], found[None][0] * 0.5 / 0.07)
    torch.testing.assert_close(found[0.07][1], found[None][1] * 0.5 / 0.07)


def test_perfect_clusters_reach_the_least_loss():
    """Two opposite clusters of two images: the loss is that of the 3 positives' share, log(3 + 4 exp(-2/t))."""
    z = torch.tensor([[1.0, 0], [1, 0], [-1, 0], [-1, 0]] * 2, dtype=torch.float64)
    value = loss("supcon", z, [0, 0, 1, 1], temperature=0.5, base_temperature=None)
    assert float(value) == pytest.approx(math.log(3 + 4 * math.exp(-4)))


def one_view(z, labels):
    """SupCon on a single view, where an image can be alone with its label."""
    made = objective(Loss(name="supcon"))
    made.views = 1
    return made(Batch(lambda x: (x, x), z, torch.tensor(labels), torch.nn.Identity(), torch.Generator())).loss


def test_anchors_without_positives_leave_the_mean():
    z = vectors(4)
    terms = []
    for i, p in ((0, 2), (2, 0)):
        others = [a for a in range(4) if a != i]
        terms.append(torch.logsumexp(z[others] @ z[i] / 0.1, 0) - z[p] @ z[i] / 0.1)
    torch.testing.assert_close(one_view(z, [0, 1, 0, 2]), sum(terms) / 2 * 0.1 / 0.07)


def test_no_positive_at_all_is_zero_with_a_gradient_of_zero():
    z = vectors(3).requires_grad_()
    value = one_view(z, [0, 1, 2])
    value.backward()
    assert float(value.detach()) == 0
    assert torch.equal(z.grad, torch.zeros_like(z))


@pytest.mark.parametrize("name", NAMES)
def test_small_temperatures_do_not_overflow(name):
    """exp(1 / 0.002) is above the largest float64; opposite views make the loss large and finite."""
    z = vectors(8, dtype=torch.float32)
    z[4:] = -z[:4]
    z.requires_grad_()
    value = loss(name, z, [0, 1, 2, 3], temperature=0.002, base_temperature=None)
    value.backward()
    assert 500 < float(value.detach()) < 1100
    assert torch.isfinite(z.grad).all()


@pytest.mark.parametrize("name", NAMES)
def test_float32_under_autocast(name):
    z, labels = vectors(32, dtype=torch.float32), list(range(4)) * 4
    expected = loss(name, z, labels)
    with torch.autocast("cpu", torch.bfloat16):
        found = loss(name, z, labels)
    assert found.dtype == torch.float32
    assert torch.equal(found, expected)
    assert loss(name, z.bfloat16(), labels).dtype == torch.float32


def _half(rank, folder, name, labels, written):
    """One of two processes: half of the images with both their views, through shared weights."""
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    try:
        weight = vectors(6, item=7).requires_grad_()
        x = vectors(16).reshape(2, 8, 6)[:, 4 * rank : 4 * rank + 4].reshape(8, 6)
        value = loss(name, project(x, weight), labels[4 * rank : 4 * rank + 4])
        value.backward()
        both = torch.stack([value.detach(), *weight.grad.flatten()])
        torch.distributed.all_reduce(both)  # what data parallelism does: the mean over processes
        if rank == 0:
            torch.save(both / 2, written)
    finally:
        torch.distributed.destroy_process_group()


def project(x, weight):
    z = x @ weight.T
    return z / z.norm(dim=1, keepdim=True)


@pytest.mark.parametrize("name", NAMES)
def test_two_processes_equal_one(tmp_path, name):
    """Mean loss and mean gradient of two gloo processes, with unequal classes in each, against the whole batch."""
    labels = [0, 0, 1, 2, 2, 3, 0, 1]
    written = tmp_path / "both.pt"
    multiprocessing.spawn(_half, (str(tmp_path), name, labels, str(written)), nprocs=2)
    weight = vectors(6, item=7).requires_grad_()
    value = loss(name, project(vectors(16), weight), labels)
    value.backward()
    expected = torch.stack([value.detach(), *weight.grad.flatten()])
    torch.testing.assert_close(torch.load(written, weights_only=True), expected)
