"""Extraction from any model: right rows and right head, in memory as on disk."""

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
from torch.utils.data import DataLoader

from ood_core import extract, scorers
from ood_core._torchvision import torchvision
from ood_core.checks import InputError
from ood_core.networks import network
from tests.spine import images, recipe


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


def test_two_passes_are_equal(model, x):
    assert torch.equal(extract(model, x).logits, extract(model, x).logits)


def test_further_layers_and_inputs(model, x):
    out = extract(model, x, layers=["conv", "hidden"], keep_inputs=True)
    assert {name: tuple(value.shape) for name, value in out.layers.items()} == {"conv": (11, 5), "hidden": (11, 7)}
    assert torch.equal(out.inputs, x)


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


def test_half_precision_model_gives_float32(model, x):
    out = extract(model.bfloat16(), x.bfloat16())
    assert out.features.dtype == out.logits.dtype == torch.float32


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda m, x: extract(m, x, pool="sum"), "pool is 'sum'"),
        (lambda m, x: extract(m, []), "expected at least one image"),
        (lambda m, x: extract(nn.Sequential(m), x, layer="0.hidden", layers=["0"], into=__file__), "is there already"),
    ],
)
def test_refusals(model, x, call, message):
    with pytest.raises(InputError, match=message):
        call(model, x)


@pytest.mark.parametrize("items", [2, 1])
def test_a_dataset_of_single_images_is_not_batches(items):
    dataset = torch.utils.data.TensorDataset(*[torch.randn(6, 4)] * items)
    with pytest.raises(InputError, match="a dataset of single images, expected batches"):
        extract(torch.nn.Linear(4, 3), dataset)
