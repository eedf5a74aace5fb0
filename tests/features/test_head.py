"""Logits and the layer that gives them: found in what the model returns, and no other layer taken for the head."""

import pytest
import torch
from torch import nn
from torch.nn.functional import normalize

from ood_core import extract
from ood_core.checks import InputError
from tests.features.cases import Small


@pytest.mark.parametrize("wrap", [lambda y: (y, 1), lambda y: type("Output", (), {"logits": y})()])
def test_logits_in_a_wrapper(model, x, wrap):
    class Wrapped(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = model

        def forward(self, x):
            return wrap(self.inner(x))

    torch.testing.assert_close(extract(Wrapped(), x).logits, extract(model, x).logits)


def test_what_is_no_row_of_logits_an_image_is_refused(x):
    with pytest.raises(InputError, match="expected logits"):
        extract(nn.Sequential(nn.Linear(6, 2)), x)


class Encoder(Small):
    """Gives its tokens, its features or what its classifier takes: no logits."""

    def __init__(self, gives):
        super().__init__()
        self.gives = gives

    def forward(self, x):
        tokens = self.norm(self.conv(x))
        if self.gives == "tokens":
            return tokens.flatten(2).transpose(1, 2)
        h = self.hidden(tokens.mean(dim=(2, 3))).relu()
        self.fc(h)
        return h


@pytest.mark.parametrize("batch_size", [3, 11])
@pytest.mark.parametrize(("gives", "layer", "dim"), [("tokens", "norm", 5), ("features", "norm", 5)])
def test_an_encoder_has_features_and_no_logits(x, tmp_path, gives, layer, dim, batch_size):
    found = extract(Encoder(gives), x, torch.zeros(11).long(), layer=layer, batch_size=batch_size)
    assert found.features.shape == (11, dim)
    assert (found.logits, found.head, found.correct) == (None, None, None)
    extract(Encoder(gives), x, layer=layer, into=tmp_path / "kept")
    assert not (tmp_path / "kept" / "logits.npy").exists()


def test_an_output_that_is_the_named_layer_is_no_logits_unless_a_linear_layer_gave_it(x):
    backbone = nn.Sequential(nn.Conv2d(3, 5, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    assert extract(backbone, x, layer="2").logits is None
    whole = extract(nn.Sequential(backbone, nn.Linear(5, 4)), x, layer="1")
    assert torch.equal(whole.features, whole.logits)


def test_features_in_place_of_logits_are_refused_where_no_layer_is_named(x):
    with pytest.raises(InputError, match="returned what its last linear layer takes, expected logits"):
        extract(Encoder("features"), x)


@pytest.mark.parametrize(("nothing", "said"), [((), "an empty tuple"), ([], "an empty list"), ({}, "dict")])
def test_a_model_that_returns_nothing_is_refused_in_words(x, nothing, said):
    class Nothing(Small):
        def forward(self, x):
            super().forward(x)
            return nothing

    with pytest.raises(InputError, match=rf"the model returned {said}, expected logits \(B, C\)\."):
        extract(Nothing(), x)


def test_a_head_that_does_not_make_the_logits_is_not_kept(x):
    class Scaled(Small):
        def forward(self, x):
            return 2 * super().forward(x)

    assert extract(Scaled(), x).head is None


class Two(Small):
    """A second linear head, which runs last and whose output is returned in a place of its own."""

    def __init__(self, returned):
        super().__init__()
        self.aux, self.returned = nn.Linear(7, 4), returned
        self.fed = nn.Linear(7, 7)

    def forward(self, x):
        h = self.body(x)
        return self.returned(self.fc(h), self.aux(self.fed(h)))


@pytest.mark.parametrize("batch_size", [3, 11])
@pytest.mark.parametrize(
    ("returned", "head"),
    [
        (lambda y, aux: (y, aux), "fc"),
        (lambda y, aux: (y.double(), aux), "fc"),
        (lambda y, aux: (aux, y), "aux"),
        (lambda y, aux: (y.softmax(dim=1), aux.softmax(dim=1)), None),
    ],
    ids=["first", "in another type", "last", "neither"],
)
def test_of_two_linear_heads_the_one_that_gives_the_logits_counts(x, returned, head, batch_size):
    net = Two(returned).eval()
    out = extract(net, x, batch_size=batch_size)
    with torch.no_grad():
        h = net.body(x)
        torch.testing.assert_close(out.features, net.fed(h) if head == "aux" else h)
    if head is None:
        assert out.head is None
    else:
        assert torch.equal(out.head.weight, getattr(net, head).weight)


def test_features_of_all_batches_are_of_one_layer(x):
    """The second batch's logits are cut off, so no linear layer gives them as they are."""
    net = Two(lambda y, aux: (y.clamp(max=float("inf") if len(y) == 8 else y.max().item() - 1e-3), aux)).eval()
    out = extract(net, x, batch_size=8)
    with torch.no_grad():
        torch.testing.assert_close(out.features, net.body(x))


class Made(Small):
    """Logits made of what its linear layer gives, and a layer of as many columns, or more, that runs afterwards."""

    def __init__(self, made, width):
        super().__init__()
        self.made, self.later = made, nn.Linear(5, width)

    def forward(self, x):
        h = self.body(x)
        logits = self.made(self.fc(h))
        self.later(x.mean(dim=(2, 3)).repeat(1, 2)[:, :5])
        return logits


@pytest.mark.parametrize("width", [4, 9])
@pytest.mark.parametrize(
    "made",
    [
        lambda y: y / 1.5,
        lambda y: -9 * y + 1,
        lambda y: (y / 2).softmax(dim=1),
        lambda y: y.log_softmax(dim=1),
    ],
    ids=["temperature", "negative", "softmax", "log-softmax"],
)
def test_logits_that_are_another_form_of_what_a_layer_gives_come_from_that_layer(x, made, width):
    net = Made(made, width).eval()
    for batch_size in (3, 11):
        out = extract(net, x, batch_size=batch_size)
        with torch.no_grad():
            torch.testing.assert_close(out.features, net.body(x))
        assert out.head is None


@pytest.mark.parametrize(
    "made", [torch.sigmoid, torch.tanh, lambda y: y.clamp(-0.1, 0.1)], ids=["sigmoid", "tanh", "clamp"]
)
def test_logits_in_an_unknown_form_come_from_the_last_layer_of_as_many_columns(x, made):
    net = Made(made, 9).eval()
    with torch.no_grad():
        torch.testing.assert_close(extract(net, x).features, net.body(x))


def test_a_low_rank_adapter_of_the_last_layer_is_a_detour(x):
    class Adapted(Small):
        def __init__(self):
            super().__init__()
            self.down, self.up = nn.Linear(7, 2, bias=False), nn.Linear(2, 4, bias=False)

        def forward(self, x):
            h = self.body(x)
            return self.fc(h) + self.up(self.down(h))

    net = Adapted().eval()
    for row in (x, x[:1]):
        with torch.no_grad():
            torch.testing.assert_close(extract(net, row).features, net.body(row))


def test_tokens_that_are_pooled_after_the_last_layer_keep_their_head():
    class Late(nn.Sequential):
        def forward(self, x):
            return super().forward(x).mean(dim=1)

    net, x = Late(nn.Linear(3, 6), nn.ReLU(), nn.Linear(6, 2)), torch.randn(8, 5, 3)
    out = extract(net, x)
    torch.testing.assert_close(out.features, net[0](x).relu().mean(dim=1).detach())
    assert out.head is not None


class Convolutional(nn.Sequential):
    """Squeeze and excitation before a classifier that is a convolution."""

    def __init__(self):
        super().__init__(nn.Conv2d(3, 8, 3), nn.Linear(8, 2), nn.Linear(2, 8), nn.Conv2d(8, 4, 1))

    def forward(self, x):
        first, squeeze, excite, last = self
        x = first(x)
        return last(x * excite(squeeze(x.mean(dim=(2, 3))).relu()).sigmoid()[..., None, None]).mean(dim=(2, 3))


def test_where_no_linear_layer_has_as_many_columns_as_there_are_logits_a_layer_must_be_named(x):
    with pytest.raises(InputError, match=r"gives 4 logits.*\(the last, '2', gives 8\)[\s\S]*Name the module"):
        extract(Convolutional(), x)
    out = extract(Convolutional(), x, layer="0")
    assert out.features.shape == (11, 8)
    assert out.head is None


class Pair(Small):
    """Returns what `pair` makes of the features and their linear layer."""

    def __init__(self, pair):
        super().__init__()
        self.pair = pair

    def forward(self, x):
        return self.pair(self.body(x), self.fc)


@pytest.mark.parametrize("given", [{}, {"layer": "conv"}, {"batch_size": 1}], ids=str)
@pytest.mark.parametrize(
    ("pair", "message"),
    [
        (lambda h, fc: (h, fc(h)), "element 0 is what its last linear layer takes, while element 1 is what"),
        (lambda h, fc: [h, fc(h)], "element 0 is what its last linear layer takes"),
        (lambda h, fc: (h, fc(h).log_softmax(dim=1)), "element 0 is what its last linear layer takes, expected logits"),
        (lambda h, fc: (h / 2, None, fc(h)), "element 0 is given by no linear layer, while element 2 is what the last"),
        (lambda h, fc: (h, 9 * fc(normalize(h))), "element 0 is given by no linear layer, while element 1 has"),
    ],
    ids=["features", "a list", "features and probabilities", "scaled features", "scaled logits"],
)
def test_features_before_the_logits_are_not_taken_for_logits(x, pair, message, given):
    with pytest.raises(
        InputError, match=rf"Pair returned a tuple whose {message}[\s\S]*Return the logits first, or wrap"
    ):
        extract(Pair(pair).eval(), x, **given)
    flipped = Pair(lambda h, fc: tuple(reversed(pair(h, fc))))
    assert extract(flipped, x, **given).logits.shape == (11, 4)


def test_features_that_a_linear_layer_gave_are_not_taken_for_logits_either(x):
    class Embedding(Small):
        def forward(self, x):
            h = self.hidden(self.conv(x).mean(dim=(2, 3)))
            return h, self.fc(h)

    with pytest.raises(InputError, match="element 0 is what its last linear layer takes, while element 1"):
        extract(Embedding(), x)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("auto", [True, False], ids=["autocast", "model"])
@pytest.mark.parametrize("classes", [3, 100])
def test_half_precision_keeps_its_head_and_no_other(dtype, auto, classes):
    class Scaled(nn.Sequential):
        factor = 1.0

        def forward(self, x):
            return super().forward(x) * self.factor

    for seed in range(10):
        torch.manual_seed(seed)
        net, x = Scaled(nn.Linear(4, 64), nn.ReLU(), nn.Linear(64, classes)), torch.randn(100, 4)
        if not auto:
            net, x = net.to(dtype), x.to(dtype)
        for net.factor, kept in ((1.0, True), (1.2, False)):
            with torch.autocast("cpu", dtype, enabled=auto):
                assert (extract(net, x).head is not None) is kept


def test_a_model_that_keeps_out_of_autocast_keeps_its_head(model, x):
    class Exact(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = model

        def forward(self, x):
            with torch.autocast("cpu", enabled=False):
                return self.inner(x)

    with torch.autocast("cpu", torch.bfloat16):
        out = extract(Exact(), x)
    assert torch.equal(out.logits, extract(model, x).logits)
    assert out.head is not None


def test_a_head_with_a_spectral_norm_is_read_as_it_is_when_it_runs(model, x):
    """In train mode each look at its weight is a step of the power iteration, which changes it."""
    torch.nn.utils.parametrizations.spectral_norm(model.fc)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    out = extract(model, x)
    assert model.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    torch.testing.assert_close(out.head.logits(out.features), out.logits)
