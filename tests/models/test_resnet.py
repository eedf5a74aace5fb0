"""Residual networks: the default written out by hand, DDU's options, bottlenecks, and what is refused."""

import pytest
import torch
from torch.nn import functional as F

from ood_core import networks
from ood_core.checks import InputError
from ood_core.models import backbone, cost
from ood_core.models.resnet import PadShortcut, PoolShortcut
from ood_core.recipes.schema import Network
from tests.spine import images, recipe


def build(name="resnet8", size=(8, 8), channels=1, **settings):
    return backbone(Network(name=name, **settings), (*size, channels))


def plain(net, x):
    """The default network in functional form, from named weights: convolution, batch norm, relu, 1x1 shortcuts."""
    w = net.state_dict()

    def norm(x, name):
        return F.batch_norm(x, *(w[f"{name}.{part}"] for part in ("running_mean", "running_var", "weight", "bias")))

    x = F.relu(norm(F.conv2d(x, w["conv1.weight"], None, 1, 1), "bn1"))
    for stage in range(3):
        name, stride = f"stages.{stage}.0", 1 if stage == 0 else 2
        out = F.relu(norm(F.conv2d(x, w[f"{name}.conv1.weight"], None, stride, 1), f"{name}.bn1"))
        out = norm(F.conv2d(out, w[f"{name}.conv2.weight"], None, 1, 1), f"{name}.bn2")
        if f"{name}.shortcut.0.weight" in w:
            x = norm(F.conv2d(x, w[f"{name}.shortcut.0.weight"], None, stride, 0), f"{name}.shortcut.1")
        x = F.relu(out + x)
    return x.mean(dim=(2, 3))


def test_the_default_keeps_its_bits():
    net = networks.network(recipe(network={"name": "resnet8", "width": 16}), images(), 0, torch.device("cpu")).eval()
    x = net.prepare(torch.from_numpy(images().images))
    assert torch.equal(net.backbone(x), plain(net.backbone, x))
    assert [name for name in net.backbone.state_dict() if "shortcut" in name and "conv" in name] == []


def test_bottlenecks_have_the_published_number_of_parameters():
    net = build("resnet50", (32, 32), 3, width=64)
    assert net.dim == 2048
    assert sum(p.numel() for p in net.parameters()) + 2048 * 10 + 10 == 23_520_842  # the CIFAR form, ten classes


@pytest.mark.parametrize(
    ("activation", "value"), [("relu", 0.0), ("leaky_relu", -0.02), ("gelu", -2 * 0.022750131948179195)]
)
def test_activations_by_hand(activation, value):
    """Identity convolutions and an input of -2: what the stem lets through."""
    net = build(width=1, activation=activation).eval()
    with torch.no_grad():
        net.conv1.weight.zero_()
        net.conv1.weight[0, 0, 1, 1] = 1
        seen = []
        net.stages.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
        net(torch.full((1, 1, 8, 8), -2.0))
    expected = value * 1 / (1 + 1e-5) ** 0.5 if activation == "leaky_relu" else value
    torch.testing.assert_close(seen[0], torch.full((1, 1, 8, 8), expected), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", ["resnet8", "resnet50"])
def test_every_activation_of_a_block_changes(name):
    """No ReLU is left: with leaky_relu every convolution but the stem is given negative numbers."""
    torch.manual_seed(0)
    net = build(name, width=4, activation="leaky_relu").eval()
    negative = []
    for module in net.modules():
        if isinstance(module, torch.nn.Conv2d) and module is not net.conv1:
            module.register_forward_pre_hook(lambda _, given: negative.append(bool((given[0] < 0).any())))
    net(torch.randn(64, 1, 8, 8))
    assert len(negative) > 5
    assert all(negative)


def test_pooled_shortcuts_by_hand():
    x = torch.arange(9.0).reshape(1, 1, 3, 3)
    out = PoolShortcut(1, 3, 2)(x)
    assert out.shape == (1, 3, 2, 2)
    assert out[0, 0].tolist() == [[2.0, 3.5], [6.5, 8.0]]  # means of 0 1 3 4; 2 5; 6 7; 8
    assert out[0, 1:].abs().max() == 0
    assert torch.equal(PoolShortcut(1, 2, 1)(x)[:, :1], x)


def test_padded_shortcuts_by_hand():
    x = torch.arange(9.0).reshape(1, 1, 3, 3)
    out = PadShortcut(1, 3, 2)(x)
    assert out[0, 0].tolist() == [[0.0, 2.0], [6.0, 8.0]]
    assert out[0, 1:].abs().max() == 0
    with pytest.raises(InputError, match="'pad' from 8 to 6 channels"):
        build(width=4, features=6, shortcut="pad")


def test_the_cifar_family_as_published_has_no_parameters_on_shortcuts():
    """He et al. print 0.27M and 1.7M. ResNet-110 by hand: stem, stages of 36 convolutions, norms, ten classes."""
    convolutions = 9 * (3 * 16 + 36 * 16**2 + 16 * 32 + 35 * 32**2 + 32 * 64 + 35 * 64**2)
    found = cost(Network(name="resnet110", shortcut="pad"), (32, 32, 3))[0] + 64 * 10 + 10
    assert found == convolutions + 2 * (37 * 16 + 36 * 32 + 36 * 64) + 650 == 1_727_962
    assert cost(Network(name="resnet20", shortcut="pad"), (32, 32, 3))[0] + 650 == 269_722
    net = build("resnet20", (9, 12), 2, width=4, shortcut="pad")
    assert net(torch.randn(2, 2, 9, 12)).shape == (2, net.dim)


def test_pooled_networks_have_no_shortcut_parameters_and_the_same_shapes():
    conv, pool = (build(width=4, shortcut=kind) for kind in ("conv", "pool"))
    left = [name for name, _ in conv.named_parameters() if "shortcut" not in name]
    assert [name for name, _ in pool.named_parameters()] == left
    for size in ((8, 8), (7, 5)):
        assert pool.eval()(torch.randn(2, 1, *size)).shape == conv.eval()(torch.randn(2, 1, *size)).shape


@pytest.mark.parametrize("name", ["resnet8", "resnet18", "resnet50"])
def test_all_options_together_at_several_sizes(name):
    for size in ((8, 8), (9, 12)):
        net = build(name, size, 2, width=4, activation="leaky_relu", shortcut="pool", spectral=3.0)
        networks.initialise(net, 0)
        assert net.train()(torch.randn(3, 2, *size)).shape == (3, net.dim)


def test_features_set_the_last_stage_alone():
    net = build(width=4, features=10)
    assert net.dim == 10
    assert net(torch.randn(2, 1, 8, 8)).shape == (2, 10)
    assert net.stages[1][0].conv2.out_channels == 8
    with pytest.raises(InputError, match=r"network\.features is 10, expected a multiple of 4"):
        build("resnet50", width=4, features=10)
    with pytest.raises(InputError, match="'pool' from 8 to 6 channels"):
        build(width=4, features=6, shortcut="pool")
