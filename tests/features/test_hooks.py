"""What hooks catch: pooled over the right axes, as it was before the next operation, a row an image."""

import pytest
import torch
from torch import nn

from ood_core import extract
from ood_core._torchvision import torchvision
from ood_core.checks import InputError
from tests.features.cases import Small


@pytest.mark.parametrize(("pool", "width"), [("mean", 5), ("max", 5), ("flatten", 80)])
def test_named_layer_and_pools(model, x, pool, width):
    out = extract(model, x, layer="conv", pool=pool)
    with torch.no_grad():
        raw = model.conv(x)
    expected = {"mean": raw.mean(dim=(2, 3)), "max": raw.amax(dim=(2, 3)), "flatten": raw.flatten(1)}[pool]
    torch.testing.assert_close(out.features, expected)
    assert out.features.shape == (11, width)
    assert out.head is None  # fc does not turn these features into the logits


class Unused(Small):
    """Has a layer that never runs, and one that sees each pixel as a row."""

    def __init__(self):
        super().__init__()
        self.spare, self.pixels = nn.Linear(2, 2), nn.Identity()

    def forward(self, x):
        self.pixels(x.flatten(0, 1))
        return super().forward(x)


@pytest.mark.parametrize(
    ("layer", "message"),
    [("spare", "ran no layer 'spare'"), ("pixels", r"pixels gave \(33, 6, 6\), expected a tensor \(11, D, ...\)")],
)
def test_a_layer_must_give_a_row_for_each_image(x, layer, message):
    with pytest.raises(InputError, match=message):
        extract(Unused(), x, layers=[layer])


def test_a_named_layer_that_does_not_run_is_named(x):
    with pytest.raises(InputError, match=r"Unused ran no layer 'spare'[\s\S]*Name another layer to use"):
        extract(Unused(), x, layer="spare")


def test_a_model_without_a_linear_layer_needs_a_named_one(x):
    with pytest.raises(InputError, match="ran no linear layer"):
        extract(nn.Flatten(), x)


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


class Swapped(nn.Module):
    def forward(self, x):
        return x.transpose(1, 2)


class Squeezed(nn.Module):
    """A block with squeeze and excitation, whose last parts are linear layers over its channels."""

    def __init__(self):
        super().__init__()
        self.conv, self.squeeze = nn.Conv1d(6, 8, 3), nn.Sequential(nn.Linear(8, 2), nn.ReLU(), nn.Linear(2, 8))

    def forward(self, x):
        x = self.conv(x)
        return x * self.squeeze(x.mean(dim=2))[..., None].sigmoid()


SEQUENCES = {
    "convolution": (nn.Conv1d(6, 8, 3), True),
    "batch norm": (nn.BatchNorm1d(6), True),
    "pooling": (nn.Sequential(nn.Conv1d(6, 8, 3), nn.ReLU(), nn.MaxPool1d(2)), True),
    "what does not tell": (nn.Sequential(nn.Conv1d(6, 8, 3), nn.GroupNorm(2, 8), nn.ReLU(), nn.Dropout()), True),
    "squeeze and excitation": (Squeezed(), True),
    "swapped": (nn.Sequential(nn.Conv1d(6, 8, 3), nn.ReLU(), Swapped()), False),
    "swapped twice": (nn.Sequential(Swapped(), nn.BatchNorm1d(9), Swapped()), False),
    "tokens": (nn.TransformerEncoderLayer(9, 3, 12, batch_first=True), False),
    "recurrent": (nn.Sequential(nn.Conv1d(6, 8, 3), Swapped(), nn.GRU(8, 5, batch_first=True)), False),
    "nothing tells": (nn.Identity(), False),
}


@pytest.mark.parametrize("pool", ["mean", "max"])
@pytest.mark.parametrize("part", SEQUENCES)
def test_sequences_are_pooled_over_their_positions(part, pool):
    """Of (B, D, L) axis 2, of (B, T, D) axis 1."""
    module, first = SEQUENCES[part]
    x = torch.randn(4, 6, 9)
    raw = module.eval()(x)
    raw = (raw[0] if isinstance(raw, tuple) else raw).detach()
    axis = 2 if first else 1
    out = extract(nn.Sequential(module), x, layer="0", layers=["0"], pool=pool)
    torch.testing.assert_close(out.features, raw.mean(dim=axis) if pool == "mean" else raw.amax(dim=axis))
    assert torch.equal(out.layer("0"), out.features)


@pytest.mark.parametrize("pool", ["mean", "max", "flatten"])
@pytest.mark.parametrize("axes", [(), (5,), (5, 5)], ids=["rows", "tokens", "maps"])
def test_a_layer_is_kept_as_it_was_before_the_next_worked_in_place(pool, axes):
    class Head(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(8, 3)

        def forward(self, x):
            return self.fc(x.flatten(2).mean(dim=2) if x.ndim == 4 else x.mean(dim=1) if x.ndim == 3 else x)

    first = nn.Conv2d(4, 8, 1) if len(axes) == 2 else nn.Linear(4, 8)
    net = nn.Sequential(first, nn.ReLU(inplace=True), Head())
    x = torch.randn(20, 4, *axes) if len(axes) == 2 else torch.randn(20, *axes, 4)
    named, given = extract(net, x, layers=["0"], pool=pool).layer("0"), extract(net, x, layer="0", pool=pool).features
    with torch.no_grad():
        raw = first(x)
    over = (2, 3) if len(axes) == 2 else 1
    pools = {"mean": lambda v: v.mean(dim=over), "max": lambda v: v.amax(dim=over), "flatten": lambda v: v.flatten(1)}
    expected = pools[pool](raw) if axes else raw
    torch.testing.assert_close(named, expected)
    torch.testing.assert_close(given, expected)


def test_the_head_and_the_images_are_kept_as_they_were_before_an_operation_in_place():
    class Overwriting(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(4, 3)

        def forward(self, x):
            h = x.sub_(1)
            logits = self.fc(h)
            h.zero_()
            return logits

    net, x = Overwriting(), torch.randn(20, 4)
    out = extract(net, x.clone(), keep_inputs=True)
    torch.testing.assert_close(out.features, x - 1)
    torch.testing.assert_close(out.inputs, x)
    assert out.head is not None


def test_a_named_norm_of_torchvision_is_not_what_its_block_gives():
    try:
        net = torchvision().models.resnet18(weights=None, num_classes=5)
    except InputError as error:
        pytest.skip(str(error))
    x, seen = torch.randn(2, 3, 64, 64), []
    out = extract(net, x, layers=["layer4.1.bn2", "layer4"])
    net.layer4[1].bn2.register_forward_hook(lambda _, __, output: seen.append(output.mean(dim=(2, 3))))
    with torch.no_grad():
        net.eval()(x)
    torch.testing.assert_close(out.layer("layer4.1.bn2"), seen[0])
    assert not torch.allclose(out.layer("layer4.1.bn2"), out.layer("layer4"))


def test_a_linear_layer_called_by_keyword(x):
    class Named(Small):
        def forward(self, x):
            return self.fc(input=self.body(x))

    net = Named().eval()
    out = extract(net, x)
    with torch.no_grad():
        torch.testing.assert_close(out.features, net.body(x))
    assert torch.equal(out.head.weight, net.fc.weight)
