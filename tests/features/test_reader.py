"""What the first batch shows: a row depends on its image alone, or the model is refused."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from ood_core import extract
from ood_core.checks import InputError
from tests.features.cases import Small


class Dropping(Small):
    def body(self, x):
        return F.dropout(super().body(x) - 1, 0.5)


class Mixing(Small):
    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm2d(5, track_running_stats=False)


@pytest.mark.parametrize("given", [{}, {"layer": "norm"}, {"batch_size": 4}], ids=str)
@pytest.mark.parametrize("count", [4, 11, 300])
@pytest.mark.parametrize(("kind", "message"), [(Dropping, "F.dropout"), (Mixing, "track_running_stats=False")])
def test_rows_that_depend_on_chance_or_on_the_batch_are_refused(kind, message, count, given):
    net = kind().eval()
    with pytest.raises(InputError, match=rf"{kind.__name__} gave other (features|logits) when [\s\S]*{message}"):
        extract(net, torch.randn(count, 3, 6, 6), **given)
    assert not any(m._forward_hooks for m in net.modules())


def test_features_of_an_encoder_that_mixes_images_are_refused(x):
    with pytest.raises(InputError, match="gave other features when"):
        extract(nn.Sequential(nn.BatchNorm2d(3, track_running_stats=False)), x, layer="0")


class Fixed(Small):
    """Made for batches of one size, as an exported model."""

    def forward(self, x):
        return super().forward(x.view(6, 3, 6, 6))


class FixedMixing(Fixed, Mixing):
    pass


def test_a_model_made_for_one_size_of_batches(x):
    net = Fixed().eval()
    out = extract(net, x[:6])
    with torch.no_grad():
        torch.testing.assert_close(out.features, net.body(x[:6]))
    with pytest.raises(InputError, match="gave other features"):
        extract(FixedMixing(), x[:6])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_rounding_is_no_difference(dtype):
    """Twenty layers, in batches of three sizes."""
    net = nn.Sequential(*(part for _ in range(20) for part in (nn.Linear(64, 64), nn.LayerNorm(64), nn.GELU())))
    net.append(nn.Linear(64, 7)).to(dtype)
    for count in (1, 40, 700):
        assert len(extract(net, torch.randn(count, 64).to(dtype))) == count


def test_numbers_that_are_none_are_told_as_such(model, x):
    with torch.no_grad():
        model.fc.bias[0] = torch.nan
    with pytest.raises(InputError, match="NaN"):
        extract(model, x)
