"""Starts that two recipes share, preprocessing, networks and heads against their formulas."""

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch.nn import functional as F

from ood_core import networks
from ood_core.checks import InputError
from ood_core.heads import head
from ood_core.recipes.schema import Head
from ood_core.rng import generator
from tests.spine import images, recipe

CPU = torch.device("cpu")


def test_two_heads_share_the_backbones_start():
    one, other = (networks.network(recipe(head={"name": name}), images(), 3, CPU) for name in ("linear", "l2"))
    for (name, a), (_, b) in zip(one.named_parameters(), other.named_parameters(), strict=True):
        assert torch.equal(a, b), name
    third = networks.network(recipe(), images(), 4, CPU)
    assert not torch.equal(one.backbone.conv1.weight, third.backbone.conv1.weight)


def test_a_longer_network_keeps_the_start_of_shared_parameters():
    """Parameters are drawn by name, so depth does not move the stem or the head of the same shape."""
    short = networks.network(recipe(), images(), 0, CPU)
    deep = networks.network(recipe(network={"name": "resnet14", "width": 2}), images(), 0, CPU)
    assert torch.equal(short.backbone.conv1.weight, deep.backbone.conv1.weight)
    assert torch.equal(short.head.weight, deep.head.weight)


def test_initial_scales():
    net = networks.network(recipe(network={"name": "resnet8", "width": 64}), images(), 0, CPU)
    convolution = net.backbone.stages[2][0].conv2.weight  # (256, 256, 3, 3)
    assert float(convolution.detach().std()) == pytest.approx((2 / (256 * 9)) ** 0.5, rel=0.01)
    assert float(net.head.weight.detach().abs().max()) <= 1 / 16
    assert float(net.head.weight.detach().std()) == pytest.approx(1 / 16 / 3**0.5, rel=0.05)
    assert float(net.head.bias.detach().abs().max()) == 0
    assert set(net.backbone.bn1.weight.tolist()) == {1.0}


def test_generators_differ_by_seed_purpose_and_item():
    drawn = [
        float(torch.rand((), generator=generator(*key)))
        for key in [(0, "init", "a"), (1, "init", "a"), (0, "order", "a"), (0, "init", "b"), (0, "order", 1)]
    ]
    assert len(set(drawn)) == len(drawn)
    assert float(torch.rand((), generator=generator(0, "init", "a"))) == drawn[0]


def test_prepare_uses_id_constants_by_hand():
    train = images()
    net = networks.network(recipe(), train, 0, CPU)
    pixels = train.images / 255
    expected = (255 / 255 - pixels.mean()) / pixels.std()
    white = torch.full((2, 8, 8, 1), 255, dtype=torch.uint8)
    prepared = net.prepare(white)
    assert prepared.shape == (2, 1, 8, 8)
    assert torch.allclose(prepared, torch.tensor(expected, dtype=torch.float32))
    assert white.max() == 255  # the caller's images are not written to


def test_images_and_kernels_are_channels_last():
    """Nothing but time depends on it: a network with channels first gives the same numbers more slowly."""
    net = networks.network(recipe(), images(), 0, CPU)
    kernels = [p for p in net.parameters() if p.ndim == 4]
    assert any(not p.is_contiguous() for p in kernels)  # some are large enough to tell
    assert all(p.is_contiguous(memory_format=torch.channels_last) for p in kernels)
    prepared = net.prepare(torch.zeros(2, 8, 8, 3, dtype=torch.uint8))
    assert prepared.is_contiguous(memory_format=torch.channels_last)
    assert not prepared.is_contiguous()


def test_channel_constants_are_exact_and_by_channel():
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (9, 5, 4, 3), dtype=np.uint8)
    pixels[..., 2] = 7  # a constant channel is not divided by zero
    mean, std = networks.channel_constants(pixels)
    scaled = pixels.reshape(-1, 3) / 255
    np.testing.assert_allclose(mean, scaled.mean(axis=0), rtol=1e-6)
    np.testing.assert_allclose(std[:2], scaled.std(axis=0)[:2], rtol=1e-6)
    assert std[2] == 1


class _OwnStart(torch.nn.Module):
    """Prototypes, a learnable scale, and a layer inside: what a head may bring."""

    def __init__(self):
        super().__init__()
        self.prototypes = torch.nn.Parameter(torch.empty(3, 4))
        self.inner = torch.nn.Linear(4, 2)

    def fill(self, name, parameter, draw):
        assert name == "prototypes"
        parameter.normal_(generator=draw)


class _EveryKind(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = torch.nn.Conv2d(3, 64, 3)
        self.norm = torch.nn.LayerNorm(5)
        self.batch = torch.nn.BatchNorm2d(5)
        self.linear = torch.nn.Linear(100, 40)
        self.position = torch.nn.Embedding(50, 40)
        self.scale = torch.nn.Parameter(torch.empty(()))
        self.head = _OwnStart()


def test_every_kind_of_parameter_has_a_start_drawn_from_seed_and_name():
    net = _EveryKind()
    for parameter in net.parameters():
        parameter.data.fill_(float("nan"))
    networks.initialise(net, 5)
    start = {name: p.detach().clone() for name, p in net.named_parameters()}
    for name in ("conv.bias", "norm.bias", "batch.bias", "linear.bias"):
        assert start[name].count_nonzero() == 0
    for name in ("norm.weight", "batch.weight", "scale"):
        assert bool((start[name] == 1).all())
    assert float(start["conv.weight"].std()) == pytest.approx((2 / (64 * 9)) ** 0.5, rel=0.05)
    assert float(start["linear.weight"].abs().max()) == pytest.approx(0.1, rel=0.01)
    assert float(start["position.weight"].std()) == pytest.approx(0.02, rel=0.05)
    by_hand = torch.empty(3, 4).normal_(generator=generator(5, "init", "head.prototypes"))
    assert torch.equal(start["head.prototypes"], by_hand)
    assert float(start["head.inner.weight"].abs().max()) <= 0.5  # a layer inside keeps the rule of its kind
    networks.initialise(net, 5)
    assert all(torch.equal(p, start[name]) for name, p in net.named_parameters())
    networks.initialise(net, 6)
    drawn = ("conv.weight", "linear.weight", "position.weight", "head.prototypes")
    assert not any(torch.equal(p, start[name]) for name, p in net.named_parameters() if name in drawn)


def test_a_kind_without_a_rule_is_refused_by_name():
    net = torch.nn.Sequential(torch.nn.Conv1d(2, 3, 4))
    with pytest.raises(InputError, match=r"0.weight has shape \(3, 2, 4\).*\nGive Conv1d a method fill"):
        networks.initialise(net, 0)


def test_heads_against_their_formulas():
    torch.manual_seed(0)
    h = torch.randn(5, 7)
    h[2] = 0
    for name in ("linear", "l2"):
        module = head(Head(name=name), 7, 3)
        networks.initialise(module, 0)
        module.bias.data.uniform_(-1, 1)
        z = h if name == "linear" else h / h.norm(dim=1, keepdim=True).clamp_min(1e-12)
        expected = z @ module.weight.T + module.bias
        assert torch.allclose(module(h), expected, atol=1e-6)
        assert torch.allclose(module.formula().logits(h), expected, atol=1e-6)
        assert torch.equal(module(h)[2], module.bias)  # a zero vector has a stated answer
        assert module(h.bfloat16()).dtype == torch.float32


def test_a_temperature_divides_the_logits_of_an_l2_head_alone():
    h = torch.randn(5, 7)
    plain, warm = (head(Head(name="l2", temperature=t), 7, 3) for t in (1.0, 0.25))
    for module in (plain, warm):
        networks.initialise(module, 0)
        module.bias.data.fill_(0.5)
    assert torch.equal(warm(h), 4 * plain(h))
    assert torch.allclose(warm.formula().logits(h), warm(h), atol=1e-6)
    assert float((warm(h).detach() - 2).abs().max()) <= 4 * float(
        warm.weight.detach().norm(dim=1).max()
    )  # the stated bound
    with pytest.raises(ValidationError, match=r"temperature is 0\.5 with name linear, expected it for an l2 head"):
        Head(name="linear", temperature=0.5)


def test_l2_gradient_is_orthogonal_to_the_feature_and_linear_is_not():
    torch.manual_seed(0)
    cosines = {}
    for name in ("linear", "l2"):
        module = head(Head(name=name), 7, 3).double()
        torch.nn.init.normal_(module.weight)
        torch.nn.init.normal_(module.bias)
        h = torch.randn(20, 7, dtype=torch.float64, requires_grad=True)
        F.cross_entropy(module(h), torch.arange(20) % 3).backward()
        cosines[name] = float(F.cosine_similarity(h.grad, h.detach(), dim=1, eps=1e-300).abs().max())
    assert cosines["l2"] < 1e-12
    assert cosines["linear"] > 0.1
