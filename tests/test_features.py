"""Extraction from any model: right rows, right head, and the model left as it was."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from ood_core import extract
from ood_core.checks import InputError
from ood_core.networks import network
from tests.spine import images, recipe


class Small(nn.Module):
    """Convolution, batch norm, dropout, two linear layers: everything that goes wrong in train mode."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 5, 3)
        self.norm = nn.BatchNorm2d(5)
        self.drop = nn.Dropout(0.5)
        self.hidden = nn.Linear(5, 7)
        self.fc = nn.Linear(7, 4)

    def body(self, x):
        x = self.drop(self.norm(self.conv(x)).relu().mean(dim=(2, 3)))
        return self.hidden(x).relu()

    def forward(self, x):
        return self.fc(self.body(x))


@pytest.fixture
def model():
    made = Small()
    for _ in range(3):  # running statistics that differ from a batch's
        made(torch.randn(16, 3, 6, 6))
    return made.train()


@pytest.fixture
def x():
    return torch.randn(11, 3, 6, 6)


def test_default_layer_is_the_input_of_the_last_linear(model, x):
    out = extract(model, x, labels=torch.arange(11) % 4)
    model.eval()
    with torch.no_grad():
        torch.testing.assert_close(out.features, model.body(x))
        torch.testing.assert_close(out.logits, model(x))
    assert torch.equal(out.head.weight, model.fc.weight)
    assert torch.equal(out.head.bias, model.fc.bias)
    assert torch.equal(out.correct, out.logits.argmax(1) == torch.arange(11) % 4)


@pytest.mark.parametrize("batch_size", [1, 2, 5, 10, 11, 12])
def test_every_row_once_in_order_for_any_batch(model, x, batch_size):
    out = extract(model, x, batch_size=batch_size)
    torch.testing.assert_close(out.features, extract(model, x, batch_size=11).features)
    assert len(out) == 11


def test_the_model_is_left_as_it_was(model, x):
    model.norm.eval()  # a mix of modes must come back as it was
    before = {name: value.clone() for name, value in model.state_dict().items()}
    extract(model, x, layers=["conv"])
    assert model.training
    assert not model.norm.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())
    assert all(p.requires_grad and p.grad is None for p in model.parameters())


def test_hooks_go_even_when_the_model_fails(model):
    with pytest.raises(RuntimeError):
        extract(model, torch.randn(2, 4, 6, 6))
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())
    assert model.training


def test_two_passes_are_equal(model, x):
    assert torch.equal(extract(model, x).logits, extract(model, x).logits)


@pytest.mark.parametrize("labelled", [True, False])
def test_data_loader(model, x, labelled):
    labels = torch.arange(11) % 4
    data = TensorDataset(x, labels) if labelled else TensorDataset(x)
    out = extract(model, DataLoader(data, batch_size=4))
    torch.testing.assert_close(out.features, extract(model, x).features)
    assert torch.equal(out.labels, labels) if labelled else out.labels is None


@pytest.mark.parametrize(("pool", "width"), [("mean", 5), ("max", 5), ("flatten", 80)])
def test_named_layer_and_pools(model, x, pool, width):
    out = extract(model, x, layer="conv", pool=pool)
    with torch.no_grad():
        raw = model.conv(x)
    expected = {"mean": raw.mean(dim=(2, 3)), "max": raw.amax(dim=(2, 3)), "flatten": raw.flatten(1)}[pool]
    torch.testing.assert_close(out.features, expected)
    assert out.features.shape == (11, width)
    assert out.head is None  # fc does not turn these features into the logits


def test_tokens_are_pooled_over_their_own_axis():
    class Tokens(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed, self.fc = nn.Linear(3, 6), nn.Linear(6, 2)

        def forward(self, x):
            return self.fc(self.embed(x).mean(dim=1))

    model, x = Tokens(), torch.randn(4, 5, 3)
    out = extract(model, x, layer="embed")
    torch.testing.assert_close(out.features, model.embed(x).mean(dim=1).detach())


def test_further_layers_and_inputs(model, x):
    out = extract(model, x, layers=["conv", "hidden"], keep_inputs=True)
    assert {name: tuple(value.shape) for name, value in out.layers.items()} == {"conv": (11, 5), "hidden": (11, 7)}
    assert torch.equal(out.inputs, x)


@pytest.mark.parametrize("wrap", [lambda y: (y, 1), lambda y: type("Output", (), {"logits": y})()])
def test_logits_in_a_wrapper(model, x, wrap):
    class Wrapped(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = model

        def forward(self, x):
            return wrap(self.inner(x))

    torch.testing.assert_close(extract(Wrapped(), x).logits, extract(model, x).logits)


def test_a_head_that_does_not_make_the_logits_is_not_kept(x):
    class Scaled(Small):
        def forward(self, x):
            return 2 * super().forward(x)

    assert extract(Scaled(), x).head is None


@pytest.mark.parametrize("name", ["linear", "l2"])
def test_own_network_on_an_image_set(name):
    train = images()
    net = network(recipe(head={"name": name}), train, 0, torch.device("cpu"))
    out = extract(net, train, batch_size=7)
    assert out.head.kind == {"linear": "linear", "l2": "unit"}[name]
    torch.testing.assert_close(out.head.logits(out.features), out.logits)
    assert np.array_equal(out.labels.numpy(), train.labels)
    raw = out.features @ out.head.weight.T + out.head.bias
    torch.testing.assert_close(out.layer("raw_logits"), raw)


def test_half_precision_model_gives_float32(model, x):
    out = extract(model.bfloat16(), x.bfloat16())
    assert out.features.dtype == out.logits.dtype == torch.float32


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda m, x: extract(m, x, layer="fcc"), "layer 'fcc' is not a module of Small, expected one of: conv"),
        (lambda m, x: extract(m, x, pool="sum"), "pool is 'sum'"),
        (lambda m, x: extract(m, (x * 255).byte()), "expected preprocessed floating-point"),
        (lambda m, x: extract(m, []), "expected at least one image"),
        (lambda m, x: extract(nn.Flatten(), x), "ran no linear layer"),
        (lambda m, x: extract(nn.Sequential(nn.Linear(6, 2)), x), "expected logits"),
        (lambda m, _: extract(m, images()), "has no `prepare`"),
        (lambda m, x: extract(m, x, labels=torch.zeros(3, dtype=torch.long)), r"labels has shape \(3,\)"),
    ],
)
def test_refusals(model, x, call, message):
    with pytest.raises(InputError, match=message):
        call(model, x)
