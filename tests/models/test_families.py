"""Networks against their definitions, written out from named weights with torch's functions and in float64."""

import pytest
import torch
from torch.nn import functional as F

from ood_core import networks
from ood_core.models.densenet import DenseNet
from ood_core.models.transformer import CompactTransformer
from ood_core.models.vgg import VGG
from ood_core.models.wide_resnet import WideResNet
from ood_core.recipes.schema import Network

SHAPE = (8, 12, 3)


def made(family, *shape, width):
    """A network in float64 whose batch norms have seen data and whose every parameter is away from 0 and 1."""
    net = family(*shape, Network(name="made", width=width), SHAPE).double()
    networks.initialise(net, 0)
    torch.manual_seed(1)
    for parameter in net.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    net.train()(torch.randn(16, 3, 8, 12, dtype=torch.float64))
    return net.eval(), torch.randn(4, 3, 8, 12, dtype=torch.float64), net.state_dict()


def norm(w, name, x):
    mean, var, weight, bias = (
        w[f"{name}.{part}"][:, None, None] for part in ("running_mean", "running_var", "weight", "bias")
    )
    return (x - mean) / (var + 1e-5).sqrt() * weight + bias


def conv(w, name, x, stride=1):
    kernel = w[f"{name}.weight"]
    return F.conv2d(x, kernel, w.get(f"{name}.bias"), stride, kernel.shape[-1] // 2)


def test_wide_residual_blocks_activate_before_they_convolve():
    net, x, w = made(WideResNet, 1, width=5)
    found = net(x)
    x = conv(w, "conv1", x)
    for stage, stride in enumerate((1, 2, 2)):
        name = f"stages.{stage}.0"
        first = norm(w, f"{name}.bn1", x).clamp(min=0)
        shortcut = F.conv2d(first, w[f"{name}.shortcut.weight"], stride=stride)
        second = norm(w, f"{name}.bn2", conv(w, f"{name}.conv1", first, stride)).clamp(min=0)
        x = shortcut + conv(w, f"{name}.conv2", second)
    torch.testing.assert_close(found, norm(w, "bn", x).clamp(min=0).mean((2, 3)))


def test_a_wide_block_that_keeps_its_shape_adds_the_raw_input():
    net, x, w = made(WideResNet, 2, width=5)
    block, x = net.stages[0][1], torch.randn(2, 5, 4, 4, dtype=torch.float64)
    assert block.shortcut is None
    for name, value in w.items():
        if name == "stages.0.1.conv2.weight":
            value.zero_()
    assert torch.equal(block(x), x)


def test_plain_stages_convolve_normalise_and_pool():
    net, x, w = made(VGG, (1, 2), width=5)
    found = net(x)
    for stage, count in enumerate((1, 2)):
        for layer in range(count):
            x = norm(w, f"stages.{stage}.{3 * layer + 1}", conv(w, f"stages.{stage}.{3 * layer}", x)).clamp(min=0)
        x = x.unfold(2, 2, 2).unfold(3, 2, 2).amax((4, 5))
    torch.testing.assert_close(found, x.mean((2, 3)))


def test_plain_networks_stop_widening_at_eight_times():
    net = VGG((1, 1, 1, 1, 1), Network(name="made", width=4), (32, 32, 3))
    assert [m.out_channels for m in net.modules() if isinstance(m, torch.nn.Conv2d)] == [4, 8, 16, 32, 32]


def test_dense_layers_append_and_transitions_halve():
    net, x, w = made(DenseNet, 2, width=3)
    found = net(x)
    x = conv(w, "conv1", x)
    for block, place in enumerate((0, 2, 4)):
        if block:
            squeezed = conv(w, f"blocks.{place - 1}.conv", norm(w, f"blocks.{place - 1}.bn", x).clamp(min=0))
            x = squeezed.unfold(2, 2, 2).unfold(3, 2, 2).mean((4, 5))
        for layer in range(2):
            name = f"blocks.{place}.{layer}"
            inner = conv(w, f"{name}.conv1", norm(w, f"{name}.bn1", x).clamp(min=0))
            assert inner.shape[1] == 4 * 3
            x = torch.cat([x, conv(w, f"{name}.conv2", norm(w, f"{name}.bn2", inner).clamp(min=0))], 1)
    torch.testing.assert_close(found, norm(w, "bn", x).clamp(min=0).mean((2, 3)))


def test_dense_network_has_the_published_number_of_features():
    assert DenseNet(16, Network(name="made", width=12), (32, 32, 3)).dim == 342


def test_the_transformer_from_its_formulas():
    net, x, w = made(CompactTransformer, 2, width=8)
    found = net(x)

    def layer_norm(name, x):
        centred = x - x.mean(-1, keepdim=True)
        return (
            centred / (centred.square().mean(-1, keepdim=True) + 1e-5).sqrt() * w[f"{name}.weight"] + w[f"{name}.bias"]
        )

    def linear(name, x):
        return x @ w[f"{name}.weight"].T + w.get(f"{name}.bias", 0)

    rows = []
    for image in x:
        patches = [image[:, r : r + 4, c : c + 4].flatten() for r in (0, 4) for c in (0, 4, 8)]
        t = torch.stack(patches) @ w["patches.weight"].flatten(1).T + w["patches.bias"] + w["positions.weight"]
        for block in ("blocks.0", "blocks.1"):
            q, k, v = linear(f"{block}.qkv", layer_norm(f"{block}.norm1", t)).split(8, dim=1)
            heads = []
            for i in range(4):
                own = slice(2 * i, 2 * i + 2)
                scores = (q[:, own] @ k[:, own].T / 2**0.5).softmax(1)
                heads.append(scores @ v[:, own])
            t = t + linear(f"{block}.out", torch.cat(heads, 1))
            hidden = linear(f"{block}.perceptron.0", layer_norm(f"{block}.norm2", t))
            t = t + linear(f"{block}.perceptron.2", hidden * 0.5 * (1 + torch.erf(hidden / 2**0.5)))
        t = layer_norm("norm", t)
        share = linear("share", t).squeeze(1).softmax(0)
        rows.append(sum(s * token for s, token in zip(share, t, strict=True)))
    torch.testing.assert_close(found, torch.stack(rows))


@pytest.mark.parametrize("shape", [(8, 12, 3), (16, 8, 1)])
def test_the_transformer_has_a_position_for_each_patch(shape):
    net = CompactTransformer(1, Network(name="made", width=4), shape)
    assert net.positions.weight.shape == (shape[0] * shape[1] // 16, 4)
