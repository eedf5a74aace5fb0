"""Every network that has a name: sizes it claims, options it refuses, parameters counted by hand and as published."""

import pytest
import torch

from ood_core.checks import InputError
from ood_core.models import ARCHITECTURES, NAMES, backbone
from ood_core.recipes.schema import Network


def build(name, size=32, channels=3, **settings):
    return backbone(Network(name=name, **settings), (size, size, channels))


@pytest.mark.parametrize("name", ["resnet8", "resnet20", "resnet18"])
def test_parameter_counts_from_the_layer_shapes(name):
    width = ARCHITECTURES[name].width
    found = sum(p.numel() for p in build(name, width=width).parameters())
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


@pytest.mark.parametrize("name", NAMES)
def test_every_network_runs_at_its_sizes_and_refuses_smaller_ones(name):
    about = ARCHITECTURES[name]
    width = 4 * about.width_step
    for size, channels in [(about.least, 1), (8, 1), (28, 1), (32, 3), (64, 3)]:
        if size >= about.least and size % about.step == 0:
            net = build(name, size, channels, width=width).eval()
            assert net(torch.zeros(2, channels, size, size)).shape == (2, net.dim)
    small = about.least - about.step
    with pytest.raises(InputError, match=f"{name} got images of {small}x{small}, expected at least {about.least}x"):
        build(name, small, width=width)


def test_unknown_names_and_options_are_refused_by_name():
    with pytest.raises(InputError, match="network is 'resnet9'"):
        build("resnet9")
    for name in NAMES:
        for option, value in {"features": 3, "activation": "gelu", "shortcut": "pool", "spectral": 3.0}.items():
            if option not in ARCHITECTURES[name].options:
                with pytest.raises(InputError, match=f"{name} got network.{option} {value!r}, expected it to be left"):
                    build(name, width=4 * ARCHITECTURES[name].width_step, **{option: value})
