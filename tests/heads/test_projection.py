"""The projection head against its formula, in float32 whatever it is given."""

import numpy as np
import torch

from ood_core.heads import head
from ood_core.networks import initialise, network
from ood_core.recipes.schema import Head
from tests.spine import images, recipe


def test_against_the_formula_in_float64():
    made = head(Head(name="projection"), 7, 3)
    initialise(made, 0)
    for bias in (made.first.bias, made.second.bias):
        bias.data.uniform_(-1, 1)
    h = torch.randn(5, 7)
    w1, b1, w2, b2 = (p.detach().double().numpy() for p in made.parameters())
    hidden = np.maximum(h.double().numpy() @ w1.T + b1, 0)
    expected = hidden @ w2.T + b2
    expected = expected / np.linalg.norm(expected, axis=1, keepdims=True)
    assert made(h).shape == (5, 128)
    np.testing.assert_allclose(made(h).detach().numpy(), expected, atol=1e-6)
    assert made.formula() is None
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(made(h), made(h.clone()))
        assert made(h.bfloat16()).dtype == torch.float32
        np.testing.assert_allclose(made(h).detach().numpy(), expected, atol=1e-6)


def test_a_zero_projection_stays_zero():
    made = head(Head(name="projection"), 4, 2)
    torch.nn.init.zeros_(made.second.weight)
    torch.nn.init.zeros_(made.second.bias)
    assert made(torch.ones(2, 4)).abs().max() == 0


def test_the_backbone_starts_as_with_any_other_head():
    one, other = (
        network(recipe(head={"name": name}), images(), 3, torch.device("cpu")) for name in ("linear", "projection")
    )
    for (name, a), (_, b) in zip(one.backbone.named_parameters(), other.backbone.named_parameters(), strict=True):
        assert torch.equal(a, b), name
    assert one.head.weight.shape == (3, 8)
    assert other.head.first.weight.shape == (8, 8)
