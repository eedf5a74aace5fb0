"""Logits in a tuple whose elements have several widths: told from what they are made of, or the tuple is refused."""

import pytest
import torch
from torch import nn
from torch.nn.functional import normalize

from ood_core import extract
from ood_core.checks import InputError
from tests.features.cases import Small


def scores(h, width=24):
    """A classifier that is a function: 10 cos(h, w_c)."""
    return 10 * normalize(h) @ torch.randn(h.shape[1], width, generator=torch.Generator().manual_seed(0)).to(h)


class Embedded(Small):
    """Returns what `pair` makes of its layers, the features and what its linear layer gives."""

    def __init__(self, pair):
        super().__init__()
        self.pair, self.first, self.second = pair, nn.Linear(7, 6), nn.Linear(6, 9)

    def forward(self, x):
        h = self.body(x)
        return self.pair(self, h, self.fc(h))


@pytest.mark.parametrize("given", [{}, {"layer": "conv"}, {"layer": "fc"}, {"batch_size": 1}], ids=str)
@pytest.mark.parametrize(
    "pair",
    [
        lambda net, h, e: (e, scores(e)),
        lambda net, h, e: [e, None, scores(e.relu())],
        lambda net, h, e: (e.double(), 9 * nn.functional.linear(e, net.second.weight[:, :4])),
        lambda net, h, e: (e, net.second(nn.functional.pad(e.relu(), (0, 2)))),
        lambda net, h, e: (normalize(e), scores(e)),
    ],
    ids=["a function", "a list", "another type", "a linear layer", "unit embedding"],
)
def test_an_embedding_of_a_linear_layer_is_not_taken_for_the_logits_made_of_it(x, pair, given):
    with pytest.raises(
        InputError, match=r"elements 0 and \d have 4 and \d+ columns, and the latter is made of the former"
    ):
        extract(Embedded(pair).eval(), x, **given)


@pytest.mark.parametrize(
    "pair",
    [
        lambda net, h, y: (y, h),
        lambda net, h, y: (y, normalize(h)),
        lambda net, h, y: (y.softmax(dim=1), normalize(h.abs() + 1)),
        lambda net, h, y: (y, net.second(net.first(h).relu())),
        lambda net, h, y: (y, normalize(net.second(net.first(h).relu())), scores(h)),
        lambda net, h, y: (y, y.softmax(dim=1), y.amax(dim=1, keepdim=True)),
        lambda net, h, y: (y, y.argmax(dim=1), [h], None),
    ],
    ids=["features", "unit features", "no known features", "projection", "two more", "probabilities", "other things"],
)
def test_what_stands_beside_the_logits_does_not_hide_them(x, pair):
    net = Embedded(pair).eval()
    for given in ({}, {"layer": "conv"}, {"batch_size": 3}):
        out = extract(net, x, **given)
        with torch.no_grad():
            torch.testing.assert_close(out.logits, net(x)[0])
    assert not net.fc._forward_hooks


def test_of_two_unknown_elements_neither_is_taken_for_the_logits(x):
    class Unknown(nn.Module):
        def __init__(self, order):
            super().__init__()
            self.conv, self.order = nn.Conv2d(3, 5, 3), order

        def forward(self, x):
            h = self.conv(x).mean(dim=(2, 3))
            return [(h + 1, scores(h), 2 * h, h)[at] for at in self.order]

    for order in ([0, 1], [1, 0], [2, 1]):
        with pytest.raises(InputError, match=r"columns, and nothing shows which[\s\S]*or wrap the model"):
            extract(Unknown(order), x, layer="conv")
    assert extract(Unknown([1, 2]), x, layer="conv").logits.shape == (11, 24)  # 2 h has the direction of the features
    assert extract(Unknown([3, 1]), x, layer="conv").logits is None
