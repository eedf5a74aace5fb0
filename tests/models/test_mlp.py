"""The multilayer perceptron of the feature-norm theory: five matrices, no biases, states as its formula says."""

import pytest
import torch
from torch.nn import functional as F

from ood_core import networks
from ood_core.models import ARCHITECTURES, backbone
from ood_core.recipes.schema import Network
from tests.spine import images, recipe

PLAIN = {"name": "mlp5", "width": 7}


def made(**settings):
    asked = recipe(network={**PLAIN, **settings}, head={"name": "linear", "bias": False})
    return networks.network(asked, images(), 0, torch.device("cpu")).eval()


def test_five_matrices_and_nothing_else():
    net = made()
    shapes = [tuple(p.shape) for p in net.parameters()]
    assert shapes == [(7, 64), (7, 7), (7, 7), (7, 7), (3, 7)]
    width = ARCHITECTURES["mlp5"].width
    whole = backbone(Network(name="mlp5", width=width), (32, 32, 3))
    assert sum(p.numel() for p in whole.parameters()) == 3072 * width + 3 * width**2


@pytest.mark.parametrize(("activation", "rectify"), [("relu", F.relu), ("leaky_relu", F.leaky_relu), ("gelu", F.gelu)])
def test_states_by_hand(activation, rectify):
    net = made(activation=activation)
    x = torch.randn(6, 1, 8, 8)
    states = net.backbone.hidden(x)
    a = x.reshape(6, 64)
    for layer, (z, after) in zip(net.backbone.layers, states, strict=True):
        torch.testing.assert_close(z, a @ layer.weight.T)
        a = rectify(z)
        torch.testing.assert_close(after, a)
    torch.testing.assert_close(net.backbone(x), a)
    torch.testing.assert_close(net(x), a @ net.head.weight.T)


def test_without_biases_a_relu_network_scales_with_its_input():
    net, x = made(), torch.randn(4, 1, 8, 8)
    torch.testing.assert_close(net(3 * x), 3 * net(x))
    assert net.head.formula().bias is None
    assert not net(torch.zeros(1, 1, 8, 8)).any()
