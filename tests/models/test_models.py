"""Every network that has a name: sizes it claims, options it refuses, counts as published, starts, rows, precision."""

import math

import pytest
import torch
from torch import nn

from ood_core import networks, train
from ood_core.checks import InputError
from ood_core.models import ARCHITECTURES, NAMES, backbone, cost
from ood_core.recipes.schema import Network
from tests.spine import images, recipe

# Parameters at the published width, for 32x32x3 images and with a linear layer of ten classes.
# ResNet-18, 34, 50: torchvision's published 11,689,512, 21,797,672 and 25,557,032 for ImageNet, with the 7x7 stem
# (9,408) changed for a 3x3 one (1,728) and 1000 classes for ten.
# ResNet-20, 110, WRN-28-10, DenseNet-BC-100-12: pytorchcv (github.com/osmr/pytorchcv) asserts these numbers; the papers
# print 0.27M, 1.7M, 36.5M, 0.8M. VGG-16: Keras prints 14,714,688 without its linear layers; batch norm adds 2 * 4,224.
PUBLISHED = {
    "resnet18": 11_689_512 - 9_408 + 1_728 - 512 * 990 - 990,
    "resnet34": 21_797_672 - 9_408 + 1_728 - 512 * 990 - 990,
    "resnet50": 25_557_032 - 9_408 + 1_728 - 2048 * 990 - 990,
    "resnet20": 272_474,
    "resnet110": 1_730_714,
    "wide_resnet28": 36_479_194,
    "densenet100": 769_162,
    "vgg16": 14_714_688 + 2 * 4_224 + 512 * 10 + 10,
}
FULL = 9 * 64 * 64 * 32 * 32  # a convolution that keeps its shape, in any stage of a network of width 64
# Multiply-adds at 32x32, as (most, share of it that is convolutions and products). By hand: ResNet-18 (stem, first
# stage, three alike that halve the resolution) and VGG-16 (as many channels in the fifth stage as in the fourth).
# pytorchcv's tables, which also count normalisation, activations and the head: ResNet-110, WRN-28-10, DenseNet-BC-100.
# CVT-7/4: its authors print 0.236 G, which leaves out the products inside attention, 2 T^2 D a block.
WORK = {
    "resnet18": (9 * 3 * 64 * 32 * 32 + 4 * FULL + 3 * (3 * FULL + FULL / 2 + FULL / 18), 1),
    "vgg16": (9 * 3 * 64 * 32 * 32 + FULL + 1.5 * FULL + 2 * 2.5 * FULL + 3 * FULL / 4, 1),
    "resnet110": (255.70e6, 0.99),
    "wide_resnet28": (5_246.98e6, 0.999),
    "densenet100": (298.45e6, 0.96),
    "cvt7": (0.2365e9 + 7 * 2 * 64 * 64 * 256, 0.996),
}


def settings(name, **changes):
    """The narrowest network that still has several channels in each layer."""
    return Network(name=name, **{"width": 4 * ARCHITECTURES[name].width_step, **changes})


def build(name, size=32, channels=3, **changes):
    return backbone(settings(name, **changes), (size, size, channels))


def small(name, channels=1, least=8):
    """A narrow network at the least size it takes, filled from a seed, and images for it."""
    size = max(least, ARCHITECTURES[name].least)
    net = build(name, size, channels)
    networks.initialise(net, 0)
    return net, torch.randn(6, channels, size, size)


@pytest.mark.parametrize("name", PUBLISHED)
def test_parameters_as_published(name):
    width = ARCHITECTURES[name].width
    net = build(name, width=width)
    found, _ = cost(settings(name, width=width), (32, 32, 3))
    assert found == sum(p.numel() for p in net.parameters())
    assert found + net.dim * 10 + 10 == PUBLISHED[name]


def test_the_transformer_has_the_printed_number_of_parameters():
    """Its authors' table: 3.717M for CVT-7/4 on CIFAR-10, with the linear layer."""
    found, _ = cost(settings("cvt7", width=256), (32, 32, 3))
    assert round((found + 256 * 10 + 10) / 1e6, 3) == 3.717


def test_parameters_of_our_own_networks_counted_by_hand():
    def conv(inputs, outputs, kernel=3, bias=0):
        return kernel**2 * inputs * outputs + bias * outputs + 2 * outputs  # with its batch norm

    def block(inputs, outputs):
        shortcut = conv(inputs, outputs, 1) if inputs != outputs else 0
        return conv(inputs, outputs) + conv(outputs, outputs) + shortcut

    resnet8 = conv(3, 16) + block(16, 16) + block(16, 32) + block(32, 64)
    assert cost(settings("resnet8", width=16), (32, 32, 3))[0] == resnet8
    resnet14 = resnet8 + block(16, 16) + block(32, 32) + block(64, 64)
    assert cost(settings("resnet14", width=16), (32, 32, 3))[0] == resnet14
    vgg8 = [(3, 32), (32, 32), (32, 64), (64, 64), (64, 128), (128, 128), (128, 128)]
    assert cost(settings("vgg8", width=32), (32, 32, 3))[0] == sum(conv(i, o, bias=1) for i, o in vgg8)
    assert cost(settings("mlp5", width=512), (32, 32, 3))[0] == 3072 * 512 + 3 * 512**2


@pytest.mark.parametrize("name", WORK)
def test_multiply_adds_as_published(name):
    _, found = cost(settings(name, width=ARCHITECTURES[name].width), (32, 32, 3))
    most, share = WORK[name]
    assert share * most <= found <= most


@pytest.mark.parametrize("name", NAMES)
def test_multiply_adds_from_the_shapes_that_pass_through(name):
    net = build(name).eval()
    counted = []

    def note(module, _, out):
        each = math.prod(module.weight.shape[1:])  # products for one number of the output
        counted.append(out.numel() * each)

    for module in net.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            module.register_forward_hook(note)
    net(torch.zeros(1, 3, 32, 32))
    attention = 7 * 2 * 64 * 64 * net.dim + 64 * net.dim if name == "cvt7" else 0  # scores, values; the weighted sum
    assert cost(settings(name), (32, 32, 3))[1] == sum(counted) + attention


@pytest.mark.parametrize("name", NAMES)
def test_every_network_runs_at_its_sizes_and_refuses_smaller_ones(name):
    about = ARCHITECTURES[name]
    least, step = about.least, about.step
    sizes = {(least, least), (least, 2 * least), (8, 8), (28, 28), (32, 32), (32, 64), (least + step, least + step)}
    fits = [size for size in sizes if min(size) >= least and not any(n % step for n in size)]
    assert (32, 32) in fits
    for size in fits:
        for channels in (1, 3):
            net = backbone(settings(name), (*size, channels)).eval()
            assert net(torch.zeros(2, channels, *size)).shape == (2, net.dim)
    below = least - step
    with pytest.raises(InputError, match=f"{name} got images of {below}x{below}, expected at least {least}x{least} pi"):
        build(name, below)


def test_unknown_names_and_options_and_steps_are_refused_by_name():
    with pytest.raises(InputError, match="network is 'resnet9', expected one of: resnet8"):
        backbone(Network(name="resnet9"), (32, 32, 3))
    for name in NAMES:
        for option, value in {"features": 3, "activation": "gelu", "shortcut": "pool", "spectral": 3.0}.items():
            if option not in ARCHITECTURES[name].options:
                with pytest.raises(InputError, match=f"{name} got network.{option} {value!r}, expected it to be left"):
                    build(name, **{option: value})
    for size in ((30, 32), (32, 30)):
        with pytest.raises(InputError, match=r"cvt7 got images of 3\dx3\d, .* at least 8x8 pixels, in multiples of 4"):
            backbone(settings("cvt7"), (*size, 3))
    with pytest.raises(InputError, match=r"cvt7 got network.width 30, expected a multiple of 4.\nChoose 32"):
        build("cvt7", width=30)


@pytest.mark.parametrize("name", NAMES)
def test_the_start_repeats_and_every_parameter_is_used(name):
    net, x = small(name)
    start = {key: p.detach().clone() for key, p in net.named_parameters()}
    for p in net.parameters():
        p.data.fill_(float("nan"))
    networks.initialise(net, 0)
    assert all(torch.equal(p, start[key]) for key, p in net.named_parameters())
    networks.initialise(net, 1)
    drawn = [key for key, p in net.named_parameters() if p.ndim > 1]
    assert not any(torch.equal(dict(net.named_parameters())[key], start[key]) for key in drawn)
    (net(x) * torch.randn(6, net.dim)).sum().backward()
    unused = {key for key, p in net.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0}
    # a bias of all shares alike cancels in the softmax; nothing else is without effect
    assert unused <= {"share.bias"}


@pytest.mark.parametrize("name", NAMES)
def test_rows_are_independent_in_eval_mode(name):
    net, x = small(name)
    net, x = net.double(), x.double()
    net.train()(x)  # running statistics that differ from their start
    net.eval()
    before = {key: value.clone() for key, value in net.state_dict().items()}
    whole = net(x)
    for i in (0, 5):
        torch.testing.assert_close(net(x[i : i + 1])[0], whole[i], rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(net(x.flip(0)), whole.flip(0), rtol=1e-9, atol=1e-12)
    assert not torch.allclose(whole[0], whole[5])
    assert all(torch.equal(value, before[key]) for key, value in net.state_dict().items())


@pytest.mark.parametrize("name", NAMES)
def test_autocast_stays_finite_and_close(name):
    net, x = small(name, channels=3, least=32)
    with torch.autocast("cpu", torch.bfloat16):
        out = net(x.contiguous(memory_format=torch.channels_last))
    out.float().square().mean().backward()
    assert all(bool(torch.isfinite(p.grad).all()) for p in net.parameters())
    out, exact = out.detach().float(), net(x).detach()
    assert float((out - exact).norm() / exact.norm()) < 0.15  # three digits a product, up to 110 layers


class _Kept:
    """Checkpoints in memory: the state after the first epoch."""

    def __init__(self):
        self.state = None

    def load(self):
        return self.state

    def save(self, state):
        self.state = state


@pytest.mark.parametrize("name", ["wide_resnet28", "vgg8", "densenet100", "cvt7"])
def test_resumed_training_has_the_same_bits(name):
    """One of each family; residual networks and the perceptron have theirs elsewhere."""
    made = recipe(
        network={"name": name, "width": 4},
        schedule={"epochs": 2},
        optimiser={"batch": 16, "lr": 0.01},
    )
    whole = train.fit(made, 0, images())
    kept = _Kept()
    with pytest.raises(train.InterruptedTraining):
        train.fit(made, 0, images(), checkpoints=kept, stop=lambda: True)
    assert kept.state.epoch == 1
    resumed = train.fit(made, 0, images(), checkpoints=kept)
    assert resumed.history == whole.history
    expected = whole.network.state_dict()
    assert all(torch.equal(value, expected[key]) for key, value in resumed.network.state_dict().items())


def test_cost_computes_nothing():
    """A network of a terabyte is counted at once."""
    parameters, work = cost(Network(name="wide_resnet28", width=1024), (32, 32, 3))
    assert parameters > 1e9
    assert work > 1e11
