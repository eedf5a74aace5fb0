"""Starts that two recipes share, preprocessing, networks and heads against their formulas."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from ood_core import networks
from ood_core.checks import InputError
from ood_core.heads import head
from ood_core.models import NAMES, backbone
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


def test_channel_constants_are_exact_and_by_channel():
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (9, 5, 4, 3), dtype=np.uint8)
    pixels[..., 2] = 7  # a constant channel is not divided by zero
    mean, std = networks.channel_constants(pixels)
    scaled = pixels.reshape(-1, 3) / 255
    np.testing.assert_allclose(mean, scaled.mean(axis=0), rtol=1e-6)
    np.testing.assert_allclose(std[:2], scaled.std(axis=0)[:2], rtol=1e-6)
    assert std[2] == 1


@pytest.mark.parametrize("name", ["resnet8", "resnet20", "resnet18"])
def test_parameter_counts_from_the_layer_shapes(name):
    width = 64 if name == "resnet18" else 16
    found = sum(p.numel() for p in backbone(name, width, (32, 32, 3)).parameters())
    assert found == expected_parameters(name, width, 3)
    if name == "resnet18":  # the well-known 11,173,962 of the CIFAR form with its ten-class layer
        assert found + 512 * 10 + 10 == 11_173_962


def expected_parameters(name, width, channels):
    stages = {"resnet8": [1] * 3, "resnet20": [3] * 3, "resnet18": [2] * 4}[name]
    total, inputs = channels * 9 * width + 2 * width, width
    for index, blocks in enumerate(stages):
        outputs = width * 2**index
        for _ in range(blocks):
            total += 9 * inputs * outputs + 9 * outputs * outputs + 4 * outputs
            if inputs != outputs:
                total += inputs * outputs + 2 * outputs
            inputs = outputs
    return total


@pytest.mark.parametrize("name", [name for name in NAMES if name != "resnet110"])
def test_every_network_runs_at_its_sizes(name):
    for size, channels in [(8, 1), (28, 1), (32, 3)]:
        net = backbone(name, 4, (size, size, channels)).eval()
        out = net(torch.zeros(2, channels, size, size))
        assert out.shape == (2, net.dim)


def test_images_too_small_are_refused():
    with pytest.raises(InputError, match="images of 3x8, expected at least 4x4"):
        backbone("resnet8", 4, (3, 8, 1))
    with pytest.raises(InputError, match="network is 'resnet9'"):
        backbone("resnet9", 4, (8, 8, 1))


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
