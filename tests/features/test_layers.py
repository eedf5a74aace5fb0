"""Layers by name: each once, none by a name that outputs have for something else."""

import pytest
import torch
from torch import nn

from ood_core import extract
from ood_core.checks import InputError
from tests.features.cases import Small


@pytest.mark.parametrize("name", ["features", "unit", "logits", "raw_logits"])
def test_a_module_named_as_a_field_is_kept_by_another_name_alone(name):
    """As VGG's and MobileNet's `features`: a scorer on that layer would read the penultimate features."""

    class Named(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(6, 2)
            self.add_module(name, nn.Linear(3, 6))

        def forward(self, x):
            return self.fc(self.get_submodule(name)(x).relu())

    model, x = Named(), torch.randn(4, 3)
    with pytest.raises(InputError, match=rf"layers holds the module '{name}'[\s\S]*layer='{name}'.*\[\"0.{name}\"\]"):
        extract(model, x, layers=["fc", name])
    expected = model.get_submodule(name)(x).detach()
    torch.testing.assert_close(extract(model, x, layer=name).layer("features"), expected)
    wrapped = extract(nn.Sequential(model), x, layers=[f"0.{name}"])
    torch.testing.assert_close(wrapped.layer(f"0.{name}"), expected)
    torch.testing.assert_close(wrapped.features, expected.relu())
    with pytest.raises(InputError, match=r"layer 'unit' is not a module of Small"):
        extract(Small(), x, layers=["unit"])


def test_a_layer_asked_for_twice_is_kept_once(model, x, tmp_path):
    expected = extract(model, x, layers=["conv"]).layer("conv")
    for place in ({}, {"into": tmp_path / "kept"}):
        out = extract(model, x, layers=["conv", "hidden", "conv"], **place)
        assert list(out.layers) == ["conv", "hidden"]
        assert torch.equal(out.layer("conv"), expected)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda m, x: extract(m, x, layer="fcc"), "layer 'fcc' is not a module of Small, expected one of: conv"),
        (lambda m, x: extract(m, x, layer=""), "layer '' is not a module of Small"),
        (lambda m, x: extract(m, x, layers=[""]), "layer '' is not a module of Small"),
        (lambda m, x: extract(m, x, layers=[["conv"]]), r"layer \['conv'\] is not a module of Small"),
        (lambda m, x: extract(m, x, layers="conv"), r"layers is 'conv', expected a list[\s\S]*layers=\['conv'\]\."),
        (lambda m, x: extract(m, x, layers=None), r"layers is None, expected a list[\s\S]*leave it out"),
    ],
)
def test_refusals(model, x, call, message):
    with pytest.raises(InputError, match=message):
        call(model, x)
