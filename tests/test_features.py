"""Extraction from any model: right rows, right head, and the model left as it was."""

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import unquote

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import BatchSampler, DataLoader, IterableDataset, RandomSampler, SequentialSampler, TensorDataset

from ood_core import extract, scorers
from ood_core._torchvision import torchvision
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
    with pytest.raises(InputError, match="failed on its first batch"):
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


class Endless(IterableDataset):
    """Rows without a length."""

    def __init__(self, rows):
        self.rows = rows

    def __iter__(self):
        return iter(self.rows)


@pytest.mark.parametrize(("side", "expected"), [(8, [1024, 6]), (32, [64] * 2 + [2]), (40, [64, 1])])
def test_small_images_come_in_larger_batches(side, expected):
    """As many as have the pixels of 64 images of 32x32, and never fewer than 64."""
    sizes = []
    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(side * side, 3))
    net.register_forward_pre_hook(lambda _, given: sizes.append(len(given[0])))
    extract(net, torch.rand(sum(expected), 1, side, side))
    assert sizes == expected


@pytest.mark.parametrize(
    "given",
    [
        lambda x: iter([x[:4], x[4:5], x[5:]]),
        lambda x: DataLoader(Endless(x), batch_size=4),
        lambda x: DataLoader(x, batch_sampler=[[0, 1], [2], list(range(3, 11))]),
        lambda x: DataLoader(x, sampler=range(11), batch_size=3),
        lambda x: x.numpy(),
        lambda x: [x[:4].numpy(), x[4:].numpy()[:, ::-1].copy()[:, ::-1]],
    ],
    ids=["generator", "iterable data set", "batch sampler", "sampler", "array", "arrays"],
)
def test_anything_that_gives_batches(model, x, given, tmp_path):
    expected = extract(model, x).features
    torch.testing.assert_close(extract(model, given(x)).features, expected)
    torch.testing.assert_close(extract(model, given(x), into=tmp_path / "kept").features, expected)


def test_a_dropped_last_batch_is_not_made_up(model, x):
    out = extract(model, DataLoader(TensorDataset(x), batch_size=4, drop_last=True))
    torch.testing.assert_close(out.features, extract(model, x[:8]).features)


@pytest.mark.parametrize("count", [1, 4, 5, 11], ids=["one", "a batch", "a batch and one", "some"])
def test_on_disk_the_numbers_are_the_same(model, x, count, tmp_path):
    given = {"labels": torch.arange(count) % 4, "layers": ["conv"], "keep_inputs": True, "batch_size": 4}
    memory, disk = (
        extract(model, x[:count], **given),
        extract(model, x[:count], into=tmp_path / "kept", **given),
    )
    for layer in ("features", "logits", "unit", "raw_logits", "conv"):
        assert torch.equal(disk.layer(layer), memory.layer(layer))
    assert torch.equal(disk.inputs, x[:count])
    assert torch.equal(disk.correct, memory.correct)
    assert disk.head is not None
    assert np.array_equal(np.load(tmp_path / "kept" / "features.npy"), memory.features.numpy())
    kept = {str(path.relative_to(tmp_path / "kept")) for path in (tmp_path / "kept").rglob("*.npy")}
    assert kept == {"features.npy", "logits.npy", "inputs.npy", "layers/conv.npy"}
    if count >= 4:
        one, other = (scorers.make("cluster").fit(out).score(out) for out in (memory, disk))
        assert torch.equal(one, other)


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_an_interrupted_pass_leaves_no_files(model, x, error, tmp_path):
    def batches():
        yield x
        raise error

    with pytest.raises(error):
        extract(model, batches(), into=tmp_path / "kept")
    assert list(tmp_path.iterdir()) == []
    assert model.training


MEMORY = """
import json, sys, threading, time
import torch
from torch import nn
from ood_core import extract
torch.set_num_threads(1)

def resident():
    lines = open("/proc/self/status").read().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon")) / 1024

model = nn.Sequential(nn.Linear(4, 512), nn.Linear(512, 2))
rows = (torch.randn(1000, 4) for _ in range(100))
into = sys.argv[1] or None
images = rows if into else torch.randn(100_000, 4)
extract(model, torch.randn(2000, 4))  # warm
before = peak = resident()
done = False
def watch():
    global peak
    while not done:
        peak = max(peak, resident())
        time.sleep(0.001)
thread = threading.Thread(target=watch)
thread.start()
out = extract(model, images, into=into)
done = True
thread.join()
print(json.dumps([len(out), peak - before]))
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads the system's account of memory")
@pytest.mark.parametrize("place", ["", "kept"], ids=["memory", "disk"])
def test_memory_is_bounded(place, tmp_path):
    """Features of 195 MB: on disk they cost a batch, in memory themselves and not twice."""
    into = str(tmp_path / place) if place else ""
    command = [sys.executable, "-c", MEMORY, into]
    rows, grown = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    assert rows == 100_000
    assert grown < (60 if place else 195 + 40)


@pytest.mark.parametrize("name", ["resnet18", "vit_b_16", "mobilenet_v3_small"])
def test_torchvision_models(name):
    """Built without weights, so nothing is downloaded."""
    try:
        models = torchvision().models
    except InputError as error:
        pytest.skip(str(error))
    size = 224 if name.startswith("vit") else 64
    model, x = models.get_model(name, weights=None, num_classes=5), torch.randn(3, 3, size, size)
    out = extract(model, x, batch_size=2)
    width = {"resnet18": 512, "vit_b_16": 768, "mobilenet_v3_small": 1024}[name]
    assert out.features.shape == (3, width)
    assert out.head is not None
    torch.testing.assert_close(out.head.logits(out.features), out.logits)
    if name == "resnet18":
        pooled = extract(model, x, layer="layer4", layers=["avgpool"])
        torch.testing.assert_close(pooled.features, out.features)
        torch.testing.assert_close(pooled.layer("avgpool"), out.features)
        assert pooled.head is not None


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


def test_further_layers_and_inputs(model, x):
    out = extract(model, x, layers=["conv", "hidden"], keep_inputs=True)
    assert {name: tuple(value.shape) for name, value in out.layers.items()} == {"conv": (11, 5), "hidden": (11, 7)}
    assert torch.equal(out.inputs, x)


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (
            lambda x: x[0],
            r"Small failed on its first batch, torch.float32 \(3, 6, 6\) on cpu \(\w+Error: .*\), expected images that "
            r"fit its parameters \(the first, conv.weight, is torch.float32 \(5, 3, 3, 3\) on cpu\).\n.*image\[None\]",
        ),
        (
            lambda x: x.double(),
            r"first batch, torch.float64 [\s\S]*images.to\(torch.float32\), or a model in torch.float64",
        ),
        (
            lambda x: x.numpy().astype(float),
            r'torch.float64 \(11, 3, 6, 6\)[\s\S]*Pass images.astype\("float32"\), or a model in torch.float64\.',
        ),
        (lambda x: [x.double()], r"Pass batches of torch.float32, or a model in torch.float64\."),
        (lambda x: x[:, :2], r"first batch, torch.float32 \(11, 2, 6, 6\)"),
    ],
    ids=["one image", "another type", "an array's own type", "batches", "channels"],
)
def test_images_in_another_form_are_told_with_what_the_model_has(model, x, images, message):
    with pytest.raises(InputError, match=message):
        extract(model, images(x))


def test_an_array_for_a_type_that_numpy_lacks(model, x):
    with pytest.raises(InputError, match=r"Pass torch.from_numpy\(images\).to\(torch.bfloat16\), or"):
        extract(model.bfloat16(), x.numpy())
    assert len(extract(model, torch.from_numpy(x.numpy()).to(torch.bfloat16))) == 11


def test_what_fails_after_the_first_batch_comes_as_it_is(model, x):
    with pytest.raises(RuntimeError, match="channels"):
        extract(model, [x, x[:, :2]])

    def full(*_):
        raise torch.OutOfMemoryError("no room")

    model.register_forward_pre_hook(full)
    with pytest.raises(torch.OutOfMemoryError):
        extract(model, x)


@pytest.mark.parametrize("wrap", [lambda y: (y, 1), lambda y: type("Output", (), {"logits": y})()])
def test_logits_in_a_wrapper(model, x, wrap):
    class Wrapped(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = model

        def forward(self, x):
            return wrap(self.inner(x))

    torch.testing.assert_close(extract(Wrapped(), x).logits, extract(model, x).logits)


class LikeTimm(nn.Module):
    """The form of timm's models: `forward_features` gives tokens, `forward_head` pools them and ends in `head`."""

    def __init__(self):
        super().__init__()
        self.embed, self.norm = nn.Linear(36, 12), nn.LayerNorm(12)
        self.head_drop, self.head = nn.Dropout(0.5), nn.Linear(12, 4)

    def forward_features(self, x):
        return self.norm(self.embed(x.flatten(2)))  # (B, tokens, D)

    def forward_head(self, x, pre_logits=False):
        x = self.head_drop(x.mean(dim=1))
        return x if pre_logits else self.head(x)

    def forward(self, x):
        return self.forward_head(self.forward_features(x))


class LikeHuggingFace(nn.Module):
    """The form of transformers' classifiers: called by keyword or place, an object with `.logits` beside None."""

    def __init__(self):
        super().__init__()
        self.vit, self.classifier = LikeTimm(), nn.Linear(12, 4)

    def forward(self, pixel_values=None, labels=None):
        states = self.vit.forward_features(pixel_values)
        return SimpleNamespace(loss=None, logits=self.classifier(states[:, 0, :]), hidden_states=(states,))


class LikeDistilled(LikeTimm):
    """A distilled DeiT: two tokens, two heads, and outside training the mean of their logits."""

    def __init__(self):
        super().__init__()
        self.head_dist = nn.Linear(12, 4)

    def forward(self, x):
        states = self.forward_features(x)
        return (self.head(states[:, 0]) + self.head_dist(states[:, 1])) / 2


def test_models_in_the_form_of_timm(x):
    net = LikeTimm().eval()
    out = extract(net, x, layers=["norm"])
    with torch.no_grad():
        states = net.forward_features(x)
        torch.testing.assert_close(out.features, net.forward_head(states, pre_logits=True))
        torch.testing.assert_close(out.layer("norm"), states.mean(dim=1))
        torch.testing.assert_close(out.logits, net(x))
    assert torch.equal(out.head.weight, net.head.weight)


def test_models_in_the_form_of_hugging_face(x):
    net = LikeHuggingFace().eval()
    labels = torch.arange(11) % 4
    loader = DataLoader(
        [{"pixel_values": image, "labels": label} for image, label in zip(x, labels, strict=True)], batch_size=4
    )
    out = extract(net, ((b["pixel_values"], b["labels"]) for b in loader))
    with torch.no_grad():
        torch.testing.assert_close(out.features, net.vit.forward_features(x)[:, 0])
        torch.testing.assert_close(out.logits, net(pixel_values=x).logits)
    assert torch.equal(out.head.weight, net.classifier.weight)
    assert torch.equal(out.labels, labels)


def test_the_mean_of_two_heads_is_no_single_head(x):
    net = LikeDistilled().eval()
    out = extract(net, x)
    with torch.no_grad():
        torch.testing.assert_close(out.logits, net(x))
        torch.testing.assert_close(out.features, net.forward_features(x)[:, 1])
    assert out.head is None


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
        torch.testing.assert_close(out.features, h if head == "fc" else net.fed(h))
    if head is None:
        assert out.head is None
    else:
        assert torch.equal(out.head.weight, getattr(net, head).weight)


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
    ],
    ids=["features", "a list", "features and probabilities", "scaled features"],
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


@pytest.fixture
def compiled(model, x):
    """Compiled and run: torch calls no hooks in it from then on."""
    made = torch.compile(model.eval(), backend="eager")
    with torch.no_grad():
        made(x)
    return made


def test_a_compiled_model_gives_what_it_gave_before(model, compiled, x):
    expected = extract(model, x, layers=["conv", "hidden"])
    out = extract(compiled, x, layers=["conv", "_orig_mod.hidden"])
    for name in ("features", "logits", "conv"):
        assert torch.equal(out.layer(name), expected.layer(name))
    assert torch.equal(out.layer("_orig_mod.hidden"), expected.layer("hidden"))
    assert torch.equal(extract(compiled, x, layer="conv").features, expected.layer("conv"))
    assert torch.equal(out.head.weight, model.fc.weight)
    assert not any(m._forward_hooks for m in model.modules())


def test_compiled_parts_show_their_layers(model, compiled, x):
    net = nn.Sequential(nn.Flatten(), nn.Unflatten(1, (3, 6, 6)), compiled)
    out = extract(net, x, layers=["2._orig_mod.conv"])
    expected = extract(model, x, layers=["conv"])
    assert torch.equal(out.features, expected.features)
    assert torch.equal(out.layer("2._orig_mod.conv"), expected.layer("conv"))
    model.compile(backend="eager")
    with torch.no_grad():
        model(x)
    assert torch.equal(extract(model, x, layers=["conv"]).layer("conv"), expected.layer("conv"))


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
@pytest.mark.parametrize("how", ["trace", "script"])
def test_what_torch_jit_made_is_refused_by_name(how):
    net, x = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3)).eval(), torch.randn(5, 4)
    made = torch.jit.trace(net, x) if how == "trace" else torch.jit.script(net)
    for given in ({}, {"layer": "1"}, {"layers": ["0"]}):
        with pytest.raises(
            InputError, match=r"model is a \w+ made by torch.jit[\s\S]*Pass the module that was traced or"
        ):
            extract(made, x, **given)
    with pytest.raises(InputError, match=r"Sequential ran no linear layer[\s\S]*What torch.jit made runs its layers"):
        extract(nn.Sequential(made), x)
    with pytest.raises(InputError, match=r"layer '0.1'"):
        extract(nn.Sequential(made), x, layer="0.1")
    assert extract(nn.Sequential(made, nn.Linear(3, 2)), x).features.shape == (5, 3)


def test_a_named_layer_that_does_not_run_is_named(x):
    with pytest.raises(InputError, match=r"Unused ran no layer 'spare'[\s\S]*Name another layer to use"):
        extract(Unused(), x, layer="spare")


def test_a_layer_asked_for_twice_is_kept_once(model, x, tmp_path):
    expected = extract(model, x, layers=["conv"]).layer("conv")
    for place in ({}, {"into": tmp_path / "kept"}):
        out = extract(model, x, layers=["conv", "hidden", "conv"], **place)
        assert list(out.layers) == ["conv", "hidden"]
        assert torch.equal(out.layer("conv"), expected)


@pytest.mark.parametrize("name", ["a/b", "a%2Fb", "é b"])
def test_a_module_of_any_name_has_a_file(name, tmp_path):
    class Named(nn.Module):
        def __init__(self):
            super().__init__()
            self.d, self.fc = nn.ModuleDict({name: nn.Linear(4, 4)}), nn.Linear(4, 2)

        def forward(self, x):
            return self.fc(self.d[name](x))

    net, x = Named(), torch.randn(5, 4)
    kept, expected = (
        extract(net, x, layers=[f"d.{name}"], into=tmp_path / "kept"),
        extract(net, x, layers=[f"d.{name}"]),
    )
    assert torch.equal(kept.layer(f"d.{name}"), expected.layer(f"d.{name}"))
    (file,) = (tmp_path / "kept" / "layers").iterdir()
    assert unquote(file.stem) == f"d.{name}"
    assert np.array_equal(np.load(file), expected.layer(f"d.{name}").numpy())


def test_features_of_all_batches_are_of_one_layer(x):
    """The second batch's logits are cut off, so no linear layer gives them as they are."""
    net = Two(lambda y, aux: (y.clamp(max=float("inf") if len(y) == 8 else y.max().item() - 1e-3), aux)).eval()
    out = extract(net, x, batch_size=8)
    with torch.no_grad():
        torch.testing.assert_close(out.features, net.body(x))


def test_a_linear_layer_called_by_keyword(x):
    class Named(Small):
        def forward(self, x):
            return self.fc(input=self.body(x))

    net = Named().eval()
    out = extract(net, x)
    with torch.no_grad():
        torch.testing.assert_close(out.features, net.body(x))
    assert torch.equal(out.head.weight, net.fc.weight)


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


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda m, x: extract(m, x, layer="fcc"), "layer 'fcc' is not a module of Small, expected one of: conv"),
        (lambda m, x: extract(m, x, layer=""), "layer '' is not a module of Small"),
        (lambda m, x: extract(m, x, layers=[""]), "layer '' is not a module of Small"),
        (lambda m, x: extract(m, x, layers=[["conv"]]), r"layer \['conv'\] is not a module of Small"),
        (lambda m, x: extract(m, x, layers="conv"), r"layers is 'conv', expected a list[\s\S]*layers=\['conv'\]\."),
        (lambda m, x: extract(m, x, layers=None), r"layers is None, expected a list[\s\S]*leave it out"),
        (lambda m, x: extract(m, None), "images are a NoneType, expected a tensor, an ImageSet"),
        (lambda m, x: extract(m, 3), "images are a int, expected a tensor"),
        (lambda m, x: extract(m, torch.tensor(3.0)), r"images have shape \(\), expected \(N, ...\)"),
        (lambda m, x: extract(m, np.array(3.0)), r"images have shape \(\), expected \(N, ...\)"),
        (lambda m, x: extract(m, np.float32(3)), "images are a float32, expected a tensor"),
        (lambda m, x: extract(m.forward, x), "model is a method, expected a torch.nn.Module"),
        (lambda m, x: extract(Small, x), "model is the class Small, expected a torch.nn.Module"),
        (lambda m, x: extract(m, x, pool="sum"), "pool is 'sum'"),
        (lambda m, x: extract(m, (x * 255).byte()), "expected preprocessed floating-point"),
        (lambda m, x: extract(m, []), "expected at least one image"),
        (lambda m, x: extract(nn.Flatten(), x), "ran no linear layer"),
        (lambda m, x: extract(nn.Sequential(nn.Linear(6, 2)), x), "expected logits"),
        (lambda m, _: extract(m, images()), "has no `prepare`"),
        (lambda m, x: extract(m, x, labels=torch.zeros(3, dtype=torch.long)), r"labels has shape \(3,\)"),
        (lambda m, x: extract(m, iter([x]), labels=torch.zeros(3, dtype=torch.long)), r"labels has shape \(3,\)"),
        (
            lambda m, x: extract(m, DataLoader(TensorDataset(x), shuffle=True), labels=torch.zeros(11).long()),
            "a DataLoader that shuffles",
        ),
        *(
            (
                lambda m, x, given=given: extract(
                    m, DataLoader(TensorDataset(x), **given(x)), labels=torch.zeros(11).long()
                ),
                "a DataLoader that shuffles",
            )
            for given in (
                lambda x: {"batch_sampler": BatchSampler(RandomSampler(x), 4, drop_last=False)},
                lambda x: {"batch_sampler": [[1, 0], list(range(2, 11))]},
                lambda x: {"batch_size": None, "sampler": RandomSampler(x)},
                lambda x: {"sampler": range(10, -1, -1)},
                lambda x: {"in_order": False},
            )
        ),
        (lambda m, x: extract(m, [(x, torch.arange(11), torch.zeros(11).long())]), "a batch holds 3 items"),
        (lambda m, x: extract(m, [()]), "a batch holds 0 items"),
        (lambda m, x: extract(m, [(x, ["a.png"] * 11)]), "labels, is a list that is not numeric"),
        (lambda m, x: extract(m, [(x, {"name": 1})]), "labels, is a dict that is not numeric"),
        (lambda m, x: extract(m, [(x, torch.zeros(11))]), r"labels, has dtype torch.float32, expected integers"),
        (lambda m, x: extract(m, [(x, torch.zeros(3).long())]), r"labels, has shape \(3,\), expected \(11,\)"),
        (lambda m, x: extract(m, [(x * 255).byte()]), "images have dtype torch.uint8"),
        (lambda m, x: extract(m, (x, torch.zeros(11).long())), "images are a tuple of two"),
        (lambda m, x: extract(m, [x, x[..., :5]], keep_inputs=True), r"inputs has rows of shape \(3, 6, 5\) after"),
        (lambda m, x: extract(m, x, batch_size=0), "batch_size is 0, expected a whole number of at least 1"),
        (lambda m, x: extract(m, x, batch_size=-1), "batch_size is -1"),
        (lambda m, x: extract(m, x, batch_size=2.5), "batch_size is 2.5"),
        (lambda m, x: extract(m, x, device="cuda:99"), "device is 'cuda:99', which torch cannot use"),
        (lambda m, x: extract(m, x, device="gpu"), "device is 'gpu', which torch cannot use"),
        (lambda m, x: extract(m, [{"pixel_values": x}]), r"a batch is a dict, expected a tensor x or a pair"),
        (lambda m, x: extract(m, (x.numpy() * 255).astype(np.uint8)), "images have dtype torch.uint8"),
        (lambda m, x: extract(m, (x.numpy(), np.zeros(11, int))), "images are a tuple of two"),
        (lambda m, x: extract(m, x[0, 0, 0]), r"images have shape \(6,\), expected \(N, ...\), one row an image"),
        (lambda m, x: extract(nn.Sequential(m), x, layer="0.hidden", layers=["0"], into=__file__), "is there already"),
    ],
)
def test_refusals(model, x, call, message):
    with pytest.raises(InputError, match=message):
        call(model, x)


@pytest.mark.parametrize(
    "given",
    [
        lambda _: {"batch_size": 4},
        lambda x: {"batch_sampler": BatchSampler(SequentialSampler(x), 4, drop_last=False)},
        lambda x: {"batch_size": 5, "sampler": SequentialSampler(x)},
    ],
)
def test_labels_beside_a_loader_in_order(model, x, given):
    labels = torch.arange(11) % 4
    out = extract(model, DataLoader(TensorDataset(x), **given(x)), labels=labels)
    assert torch.equal(out.labels, labels)
    torch.testing.assert_close(out.features, extract(model, x).features)


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


def test_a_contrastive_network_has_a_projection_and_no_logits(tmp_path):
    """Features are what the projection takes, not what its own linear layers take; the same numbers on disk."""
    made = recipe(head={"name": "projection"}, loss={"name": "supcon"}, data={"id_set": "digits", "colour": True})
    net = network(made, images(), 0, torch.device("cpu")).eval()
    out = extract(net, images(), batch_size=16)
    with torch.no_grad():
        x = net.prepare(torch.from_numpy(images().images))
        torch.testing.assert_close(out.features, net.backbone(x))
        torch.testing.assert_close(out.layers["projection"], net(x))
    assert out.logits is None
    assert out.head is None
    assert out.correct is None
    assert out.layers["projection"].shape == (50, 128)
    assert torch.equal(out.labels, torch.from_numpy(images().labels))
    kept = extract(net, images(), batch_size=16, into=tmp_path / "kept", layers=["backbone.conv1"])
    assert torch.equal(kept.layers["projection"], out.layers["projection"])
    assert set(kept.layers) == {"projection", "backbone.conv1"}
    assert scorers.make("ssd").fit(out).score(out).shape == (50,)
    with pytest.raises(InputError, match="logits"):
        scorers.make("msp").fit(out).score(out)
