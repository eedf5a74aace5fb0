"""Linear heads compute in their own precision, whatever surrounds them; their formulas stand in `test_networks`."""

import pytest
import torch

from ood_core.heads import head
from ood_core.networks import initialise
from ood_core.recipes.schema import Head

each = pytest.mark.parametrize(
    "settings",
    [{"name": "linear"}, {"name": "linear", "bias": False}, {"name": "l2"}, {"name": "l2", "temperature": 0.5}],
)


def made(settings, dim=64, classes=5):
    module = head(Head(**settings), dim, classes)
    initialise(module, 0)
    if module.bias is not None:
        module.bias.data.uniform_(-1, 1, generator=torch.Generator().manual_seed(1))
    return module


@each
def test_single_precision_under_autocast(settings):
    """Products in bfloat16 would round each logit to 3 digits, and say so by their type."""
    module, h = made(settings), torch.randn(11, 64, generator=torch.Generator().manual_seed(0))
    with torch.autocast("cpu", torch.bfloat16):
        found, low = module(h), module(h.bfloat16())
    assert found.dtype == low.dtype == torch.float32
    assert torch.equal(found, module(h))
    assert torch.equal(low, module(h.bfloat16().float()))


def test_a_length_is_taken_in_single_precision():
    """Of a feature in half precision too, whose squares would overflow there."""
    module, h = made({"name": "l2"}), torch.full((2, 64), 300, dtype=torch.float16)
    assert torch.equal(module(h), module(h.float()))
    assert bool(module(h).isfinite().all())


@each
def test_a_formula_stays_as_it_was_when_the_head_trains_on(settings):
    module, h = made(settings), torch.randn(11, 64, generator=torch.Generator().manual_seed(0))
    found, before = module.formula(), module(h).detach()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(torch.arange(float(len(parameter))).reshape(-1, *[1] * (parameter.ndim - 1)))
    assert not torch.allclose(module(h), before)
    seen = h / h.norm(dim=1, keepdim=True) if found.kind == "unit" else h
    logits = seen @ found.weight.T + (0 if found.bias is None else found.bias)
    torch.testing.assert_close(logits, before, rtol=1e-4, atol=1e-4)
