"""ODIN: a step on paper, a network left as it was, files without a network."""

import math

import pytest
import torch
from torch import nn

from ood_core import Outputs, extract, scorers
from ood_core.checks import InputError
from ood_core.scorers import artifact
from tests.oracle.odin import NETWORK, network


def images(n=20, dtype=torch.float64):
    return torch.randn(n, 1, 2, 3, dtype=dtype)


def outputs(x):
    return Outputs(torch.ones(len(x), 1), inputs=x)


class Line(nn.Module):
    """Logits (w . x, 0) of images (B, 2)."""

    def __init__(self, weight):
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(weight))

    def forward(self, x):
        lead = x @ self.weight
        return torch.stack([lead, torch.zeros_like(lead)], dim=1)


def test_by_hand():
    # Class 0 leads by 3 w.x; a step of 0.5 along the signs (+, -) of w adds 0.5 (|2| + |-1|) = 1.5 to the lead.
    x = torch.tensor([[1.0, 1.0], [-1.0, 1.0]])
    scorer = scorers.make("odin", model=Line([2.0, -1.0]), temperature=2, epsilon=0.5).fit(outputs(x))
    # Leads 1 and -3: the second row is of class 1, and the step takes it further from class 0.
    expected = [1 / (1 + math.exp(-2.5 / 2)), 1 / (1 + math.exp(-4.5 / 2))]
    assert scorer.score(outputs(x)).tolist() == pytest.approx(expected, rel=1e-6)


def test_without_a_step_it_is_the_softmax_at_that_temperature():
    x = images()
    scores = scorers.make("odin", model=NETWORK, epsilon=0, temperature=10).fit(outputs(x)).score(outputs(x))
    assert torch.allclose(scores, (NETWORK.eval()(x) / 10).softmax(dim=1).amax(dim=1).detach())


def test_a_step_raises_the_confidence():
    x = images()
    plain, moved = (
        scorers.make("odin", model=NETWORK, epsilon=step, temperature=10).fit(outputs(x)).score(outputs(x))
        for step in (0.0, 1e-4)
    )
    assert (moved > plain).all()


@pytest.mark.parametrize("training", [True, False])
def test_leaves_the_network_and_the_images_as_they_were(training):
    net, x = network().train(training), images()
    net[0].weight.requires_grad_(False)
    net[4].eval()  # a layer that was set apart
    net[4].weight.grad = torch.ones_like(net[4].weight)
    modes = [module.training for module in net.modules()]
    state = {key: value.clone() for key, value in net.state_dict().items()}
    before = x.clone()
    scorers.make("odin", model=net, epsilon=0.1).fit(outputs(x)).score(outputs(x))
    assert [module.training for module in net.modules()] == modes
    assert all(torch.equal(value, state[key]) for key, value in net.state_dict().items())
    assert [p.grad is None for p in net.parameters()] == [True, True, True, True, False, True]
    assert torch.equal(net[4].weight.grad, torch.ones_like(net[4].weight))
    assert [p.requires_grad for p in net.parameters()] == [False, True, True, True, True, True]
    assert torch.equal(x, before)
    assert x.grad is None
    assert not x.requires_grad


@pytest.mark.parametrize(("given", "said"), [((), "tuple"), ({}, "dict"), ((None,), "NoneType")])
def test_a_network_without_logits_is_named_as_one(given, said):
    class Other(nn.Module):
        def forward(self, _):
            return given

    with pytest.raises(InputError, match=rf"odin's model returned {said}, expected logits"):
        scorers.make("odin", model=Other()).fit(outputs(images()))


def test_a_failing_network_gets_its_modes_back():
    net = nn.Sequential(nn.Flatten(1), nn.Dropout()).train()
    scorer = scorers.make("odin", model=net).fit(outputs(images()))
    net[0].start_dim = 0
    for use in (scorer.score, scorers.make("odin", model=net).fit):
        with pytest.raises(InputError, match=r"odin's model returned \(120,\), expected logits"):
            use(outputs(images()))
        assert net.training
        assert net[1].training


def test_a_network_that_ends_in_a_softmax_is_refused_and_a_log_softmax_scores_alike():
    torch.manual_seed(0)
    base = nn.Sequential(nn.Flatten(), nn.Linear(images()[0].numel(), 4))
    rows = outputs(images().repeat(4, 1, 1, 1))
    assert len(rows) >= 10
    plain = scorers.make("odin", model=base).fit(rows).score(rows)
    logs = scorers.make("odin", model=nn.Sequential(base, nn.LogSoftmax(dim=1))).fit(rows).score(rows)
    assert torch.allclose(logs, plain)
    with pytest.raises(InputError, match=r"^odin got probabilities[\s\S]*without the softmax"):
        scorers.make("odin", model=nn.Sequential(base, nn.Softmax(dim=1))).fit(rows)


def test_batches_are_bounded():
    seen = []

    class Watched(nn.Sequential):
        def forward(self, x):
            seen.append(len(x))
            return super().forward(x)

    scorer = scorers.make("odin", model=Watched(*network())).fit(outputs(images()))
    whole = scorer.score(outputs(images(150)))
    assert len(whole) == 150
    assert max(seen) == 64
    scorer.batch = 7
    seen.clear()
    scorer.score(outputs(images(15)))
    assert seen == [7, 7, 7, 7, 1, 1]


def test_works_where_gradients_are_off():
    x = images()
    scorer = scorers.make("odin", model=NETWORK, epsilon=0.1).fit(outputs(x))
    plain = scorer.score(outputs(x))
    with torch.no_grad():
        assert torch.equal(scorer.score(outputs(x)), plain)
    with torch.inference_mode():
        assert torch.equal(scorer.score(outputs(x.clone())), plain)
    assert not plain.requires_grad


def test_the_network_keeps_its_precision():
    x = images()
    exact = scorers.make("odin", model=NETWORK, epsilon=0.1, temperature=10).fit(outputs(x)).score(outputs(x))
    single = scorers.make("odin", model=network().float(), epsilon=0.1, temperature=10).fit(outputs(x))
    scores = single.score(outputs(x))
    assert scores.dtype == torch.float64
    assert torch.allclose(scores, exact, rtol=1e-5)


def test_reads_what_extract_keeps():
    x = images(dtype=torch.float32)
    net = network().float()
    kept = extract(net, x, keep_inputs=True)
    scorer = scorers.make("odin", model=net, epsilon=0, temperature=1).fit(kept)
    assert torch.allclose(scorer.score(kept), kept.logits.double().softmax(dim=1).amax(dim=1), rtol=1e-6)
    with pytest.raises(InputError, match=r"odin reads the images, which these outputs lack[\s\S]*keep_inputs=True"):
        scorer.score(extract(net, x))


@pytest.mark.parametrize("wrap", [lambda y: (y, None), lambda y: type("Out", (), {"logits": y})()])
def test_takes_the_forms_of_output_that_extract_takes(wrap):
    class Wrapped(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = NETWORK

        def forward(self, x):
            return wrap(self.inner(x))

    x = images()
    plain, wrapped = (scorers.make("odin", model=m).fit(outputs(x)).score(outputs(x)) for m in (NETWORK, Wrapped()))
    assert torch.equal(plain, wrapped)


class Both(nn.Module):
    """Features and logits, in that order or the other."""

    def __init__(self, net, features_first):
        super().__init__()
        self.net, self.features_first = net, features_first

    def forward(self, x):
        features = self.net[:-1](x)
        both = features, self.net[-1](features)
        return both if self.features_first else both[::-1]


@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16, torch.float16])
def test_another_network_than_that_of_the_outputs_is_refused(kind):
    torch.manual_seed(0)
    x = images(80, torch.float32)
    net, other, wide = (nn.Sequential(nn.Flatten(), nn.Linear(6, 9), nn.ReLU(), nn.Linear(9, n)) for n in (9, 9, 4))
    with torch.autocast("cpu", kind, enabled=kind != torch.float32):
        kept = extract(net, x, keep_inputs=True)
    for same in (net, Both(net, features_first=False)):
        assert len(scorers.make("odin", model=same).fit(kept).score(kept)) == 80
    for wrong in (other, Both(net, features_first=True)):
        with pytest.raises(InputError, match=r"other logits than these outputs hold \(apart by [\s\S]*logits first"):
            scorers.make("odin", model=wrong).fit(kept)
    with pytest.raises(InputError, match="odin's model gives 4 logits an image, expected the 9 of these outputs"):
        scorers.make("odin", model=wide).fit(kept)
    half = extract(net.to(kind), x.to(kind), keep_inputs=True)
    assert len(scorers.make("odin", model=net).fit(half).score(half)) == 80


@pytest.mark.parametrize("features_first", [True, False])
def test_a_tuple_of_several_matrices_is_refused_where_nothing_tells_which_are_logits(features_first):
    net = nn.Sequential(nn.Flatten(), nn.Linear(6, 9), nn.Linear(9, 4)).double()
    with pytest.raises(InputError, match="odin's model returned several matrices, expected logits alone"):
        scorers.make("odin", model=Both(net, features_first)).fit(outputs(images()))


def test_the_file_holds_no_network(tmp_path):
    x, path = images(), tmp_path / "odin.safetensors"
    scorer = scorers.make("odin", model=NETWORK, epsilon=0.1).fit(outputs(x)).calibrate(outputs(x))
    scorer.save(path)
    header, tensors = artifact.read(path)
    assert header["parameters"] == {"layer": "inputs", "temperature": 1000.0, "epsilon": 0.1}
    assert set(tensors) == {"shape"}
    assert torch.equal(scorers.load(path, model=NETWORK).predict(outputs(x)), scorer.predict(outputs(x)))
    with pytest.raises(InputError, match=r"odin has no model[\s\S]*scorers.load\(path, model=m\)"):
        scorers.load(path).score(outputs(x))
    with pytest.raises(InputError, match="expected only: layer"):
        scorers.load(path, network=NETWORK)
    assert scorer.params == {"epsilon": 0.1}
    assert scorers.describe("odin")["needs"] == ["inputs", "model"]


def test_refusals():
    with pytest.raises(InputError, match="odin has no model"):
        scorers.make("odin").fit(outputs(images()))
    with pytest.raises(InputError, match="a function as model, expected a torch module"):
        scorers.make("odin", model=lambda x: x)
    with pytest.raises(InputError, match="layer='features', expected 'inputs'"):
        scorers.make("odin", layer="features")
    with pytest.raises(InputError, match=r"temperature=0\.0, expected one above 0"):
        scorers.make("odin", temperature=0)
    with pytest.raises(InputError, match=r"epsilon=-0\.1, expected at least 0"):
        scorers.make("odin", epsilon=-0.1)
    scorer = scorers.make("odin", model=NETWORK).fit(outputs(images()))
    with pytest.raises(InputError, match=r"images of shape \(1, 3, 2\), expected \(1, 2, 3\) as in fit"):
        scorer.score(outputs(images().transpose(2, 3)))
    with pytest.raises(InputError, match=r"inputs.* dtype torch.uint8"):
        scorer.score(outputs(torch.ones(3, 1, 2, 3, dtype=torch.uint8)))
    with pytest.raises(InputError, match="max_logit got model, expected only: layer"):
        scorers.make("max_logit", model=NETWORK)


def test_images_that_the_network_cannot_take_are_refused_by_their_shape():
    scorer = scorers.make("odin", model=nn.Linear(4, 2))
    message = r"failed on images \(20, 1, 2, 3\) float32 \(RuntimeError: mat1 .*first is \(2, 4\) float32\)\.\nPass the"
    with pytest.raises(InputError, match=message) as refused:
        scorer.fit(outputs(images()))
    assert isinstance(refused.value.__cause__, RuntimeError)


def test_the_network_keeps_its_precision_under_autocast_on_a_device_of_its_own():
    x = images(dtype=torch.float32)
    scorer = scorers.make("odin", model=network().float(), epsilon=0.1, temperature=10).fit(outputs(x))
    rows = x.flatten(1)
    plain = scorer._score(rows)  # `score` itself sees to the device of the outputs
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(scorer._score(rows), plain)
