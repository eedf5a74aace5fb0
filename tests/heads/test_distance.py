"""Distance heads against their formulas in float64, and the laws that follow from these."""

import math

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from ood_core import extract, networks, scorers, train
from ood_core.heads import head
from ood_core.losses import Batch, objective
from ood_core.recipes.schema import Head, Loss
from ood_core.rng import generator
from ood_core.store import FileCheckpoints
from tests.spine import images, recipe
from tests.test_train import same, weights

NAMES = ("isomax", "isomax_plus", "dismax")
SCALE = 10.0
each = pytest.mark.parametrize("name", NAMES)


def made(name, dim=7, classes=5, scale=-1.7, **settings):
    """A head in float64, away from its start; a negative scale counts by its size."""
    module = head(Head(name=name, **settings), dim, classes).double()
    torch.nn.init.normal_(module.prototypes, generator=torch.Generator().manual_seed(1))
    if name != "isomax":
        module.scale.data.fill_(scale)
    return module


def features(rows=11, dim=7, seed=0):
    return torch.randn(rows, dim, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def by_definition(name, h, prototypes, scale=-1.7):
    """Logits one pair at a time, with sums in Python's exact fsum."""

    def length(v):
        return math.sqrt(math.fsum(float(x) ** 2 for x in v))

    rows = []
    for row in np.asarray(h):
        distances = []
        for p in np.asarray(prototypes):
            if name == "isomax":
                distances.append(length(row - p))
            else:
                factor = abs(scale) * (1 if name == "isomax_plus" else math.sqrt(0.5))
                distances.append(factor * length(row / length(row) - p / length(p)))
        shift = math.fsum(distances) / len(distances) if name == "dismax" else 0
        rows.append([-d - shift for d in distances])
    return torch.tensor(rows, dtype=torch.float64)


def entropic(logits, labels, scale=SCALE):
    """-log of the probability of the label, softmax and logarithm one after the other."""
    weights_ = torch.exp(scale * logits)
    chosen = weights_.gather(1, labels[:, None])[:, 0] / weights_.sum(1)
    return -chosen.log().mean()


@each
def test_logits_and_formula_against_the_definition(name):
    module, h = made(name), features()
    expected = by_definition(name, h, module.prototypes.detach())
    torch.testing.assert_close(module(h), expected, rtol=1e-12, atol=1e-12)
    formula = module.formula()
    assert formula.kind == "distance"
    torch.testing.assert_close(formula.logits(h), expected, rtol=1e-12, atol=1e-12)
    module.prototypes.data.zero_()
    assert not torch.equal(formula.weight, module.prototypes)  # a copy, not the module's own memory


@each
def test_any_leading_dimensions(name):
    module, h = made(name), features(24)
    flat = module(h)
    assert torch.equal(module(h.reshape(2, 3, 4, 7)), flat.reshape(2, 3, 4, 5))
    assert torch.equal(module(h[3]), flat[3])


@each
def test_gradients_against_differences(name):
    module, h = made(name), features(4).requires_grad_()
    parameters = [h, *module.parameters()]
    assert torch.autograd.gradcheck(lambda *_: module(h), parameters)


@each
def test_single_precision_under_autocast_and_near_neighbours(name):
    module = made(name).float()
    h = features().float()
    with torch.autocast("cpu", torch.bfloat16):
        found = module(h)
    assert found.dtype == torch.float32
    assert torch.equal(found, module(h))
    assert module(h.bfloat16()).dtype == torch.float32


def test_near_points_far_from_the_origin_keep_their_distance():
    """By expansion, ||h||^2 - 2 h p + ||p||^2 is 0 or noise here."""
    module = head(Head(name="isomax"), 2, 1)
    module.prototypes.data.fill_(1e4)
    near = module.prototypes.detach() + torch.tensor([[0.0, 2.0**-8]])
    assert module(near).item() == -(2.0**-8)


@each
def test_a_feature_on_its_prototype_has_a_gradient_of_zero_there(name):
    module = made(name)
    h = (2.5 * module.prototypes.detach() if name != "isomax" else module.prototypes.detach().clone()).requires_grad_()
    logits = module(h)
    zero = -torch.finfo(torch.float64).eps * 10
    own = logits.diagonal() if name != "dismax" else logits.diagonal() - logits.mean(1) / 2
    assert float(own.detach().min()) > zero
    gradients = torch.autograd.grad(entropic(logits, torch.arange(5)), [h, *module.parameters()])
    assert all(torch.isfinite(g).all() for g in gradients)
    if name == "isomax":  # the own distance alone: nothing but its derivative at 0
        (gradient,) = torch.autograd.grad(module(h).diagonal().sum(), h)
        assert torch.equal(gradient, torch.zeros_like(gradient))


@each
def test_a_zero_feature_has_finite_logits_and_gradients(name):
    module = head(Head(name=name), 7, 5)
    networks.initialise(module, 0)
    h = torch.zeros(3, 7, requires_grad=True)
    loss = F.cross_entropy(SCALE * module(h), torch.arange(3))
    gradients = torch.autograd.grad(loss, [h, *module.parameters()])
    assert torch.isfinite(loss)
    assert all(torch.isfinite(g).all() for g in gradients)


def test_the_first_step_of_isomax_moves_prototypes_alone():
    module = head(Head(name="isomax"), 7, 8).double()
    networks.initialise(module, 0)
    assert not module.prototypes.any()
    h = features().requires_grad_()
    loss = F.cross_entropy(SCALE * module(h), torch.arange(11) % 8)
    assert loss.item() == pytest.approx(math.log(8), rel=1e-15)
    pull, push = torch.autograd.grad(loss, [h, module.prototypes])
    assert float(pull.abs().max()) < 1e-15  # eight equal terms of 1/8 against 1
    assert float(push.abs().min(dim=0).values.max()) > 1e-3


@each
def test_the_scale_is_in_the_training_loss_once_and_in_no_score(name):
    """In head and loss it would be 100; left in the logits, the entropic score would be that of a softmax."""
    net = networks.network(recipe(head={"name": name}, loss={"scale": SCALE}), images(), 3, torch.device("cpu"))
    torch.nn.init.normal_(net.head.prototypes, generator=torch.Generator().manual_seed(1))
    passed = extract(net, images())
    h, labels = passed.features, passed.labels
    plain = by_definition(name, h.double(), net.head.prototypes.detach().double(), scale=1)
    batch = Batch(lambda x: (x, net.train().head(x)), h, labels, net.head, torch.Generator())
    loss = objective(Loss(scale=SCALE))(batch).loss.item()
    assert loss == pytest.approx(float(entropic(plain, labels)), rel=1e-4)
    assert loss != pytest.approx(float(entropic(plain, labels, 1.0)), rel=0.05)
    torch.testing.assert_close(passed.logits.double(), plain, rtol=1e-4, atol=1e-5)
    p = plain.softmax(1)
    wanted = (p * p.log()).sum(1)
    torch.testing.assert_close(scorers.make("entropy").fit(passed).score(passed), wanted, rtol=1e-4, atol=1e-5)


@each
def test_the_scale_never_changes_the_class_or_the_order_of_distances(name):
    module, h = made(name), features(200)
    logits = module(h).detach()
    for scale in (0.1, 10.0, 1e3):
        assert torch.equal((scale * logits).argmax(1), logits.argmax(1))
    distances = torch.stack([module.formula().logits(row[None])[0] for row in h])
    assert torch.equal(distances.argmax(1), logits.argmax(1))


def test_where_a_softmax_and_then_its_logarithm_underflow():
    """A gap of 11 times the scale of 10 is e^-110: 0 in single precision, and its logarithm infinite."""
    module = head(Head(name="isomax"), 1, 2)
    module.prototypes.data.copy_(torch.tensor([[0.0], [11.0]]))
    h, label = torch.tensor([[0.0]], requires_grad=True), torch.tensor([1])
    two_steps = -(SCALE * module(h)).softmax(1)[0, 1].log()
    assert torch.isinf(two_steps)
    loss = F.cross_entropy(SCALE * module(h), label)
    assert loss.item() == pytest.approx(110)
    (gradient,) = torch.autograd.grad(loss, h)
    assert float(gradient) == pytest.approx(-10)  # the wrong prototype is touched: its own pull is defined as 0
    mild = torch.tensor([[4.0]], requires_grad=True)
    for form in (lambda z: F.cross_entropy(SCALE * z, label), lambda z: entropic(z, label)):
        found = form(module(mild))
        assert found.item() == pytest.approx(30, rel=1e-5)


def test_dismax_is_isomax_plus_with_its_scale_over_root_two():
    """The mean distance is common to all classes: same loss, same pull; the scale's own by the chain rule."""
    dismax, plus = made("dismax", scale=1.9), made("isomax_plus", scale=1.9 / math.sqrt(2))
    h, labels = features().requires_grad_(), torch.arange(11) % 5
    found = []
    for module in (dismax, plus):
        loss = F.cross_entropy(SCALE * module(h), labels)
        found.append([loss, *torch.autograd.grad(loss, [h, module.prototypes, module.scale])])
    (loss, pull, push, size), (loss_plus, pull_plus, push_plus, size_plus) = found
    torch.testing.assert_close(loss, loss_plus, rtol=1e-13, atol=0)
    torch.testing.assert_close(pull, pull_plus, rtol=1e-10, atol=1e-14)
    torch.testing.assert_close(push, push_plus, rtol=1e-10, atol=1e-14)
    torch.testing.assert_close(size, size_plus / math.sqrt(2), rtol=1e-10, atol=0)
    gaps = dismax(h) - plus(h)
    assert float((gaps - gaps[:, :1]).detach().abs().max()) < 1e-14  # the same number for all classes
    assert float(gaps.detach().max()) < -0.1


def test_the_learned_scale_counts_by_its_size():
    """d|s|/ds turns its sign with s; a scale that grows sharpens a network that is right."""
    slopes = {}
    for scale in (1.7, -1.7):
        module = made("isomax_plus", scale=scale)
        h = module.prototypes.detach() + 0.1 * features(5)
        loss = F.cross_entropy(module(h), torch.arange(5))
        (slopes[scale],) = torch.autograd.grad(loss, module.scale)
    assert float(slopes[1.7]) < 0
    assert float(slopes[-1.7]) == -float(slopes[1.7])


@pytest.mark.parametrize(("name", "start"), [("isomax", "zeros"), ("isomax_plus", "normal"), ("dismax", "normal")])
def test_where_prototypes_start(name, start):
    net = networks.network(recipe(head={"name": name}), images(), 3, torch.device("cpu"))
    prototypes = net.head.prototypes.detach()
    drawn = torch.randn(prototypes.shape, generator=generator(3, "init", "head.prototypes"))
    assert torch.equal(prototypes, drawn if start == "normal" else torch.zeros_like(prototypes))
    other = "zeros" if start == "normal" else "normal"
    turned = networks.network(recipe(head={"name": name, "start": other}), images(), 3, torch.device("cpu"))
    assert torch.equal(turned.head.prototypes.detach(), drawn if other == "normal" else torch.zeros_like(drawn))
    if name != "isomax":
        assert float(net.head.scale.detach()) == 1
    for (label, a), (_, b) in zip(
        net.backbone.named_parameters(),
        networks.network(recipe(), images(), 3, torch.device("cpu")).backbone.named_parameters(),
        strict=True,
    ):
        assert torch.equal(a, b), label


@each
def test_training_learns_and_resumes_to_the_bit(tmp_path, name):
    settings = {"head": {"name": name}, "loss": {"scale": 10.0}}
    made_ = recipe(**settings, schedule={"epochs": 6, "warmup_epochs": 1})
    whole = train.fit(made_, 0, images(200))
    assert whole.history[-1]["accuracy"] > 2 / 3 > whole.history[0]["accuracy"]
    asked = iter((False, True))
    kept = FileCheckpoints(tmp_path / "c.safetensors")
    with pytest.raises(train.InterruptedTraining):
        train.fit(made_, 0, images(200), checkpoints=kept, stop=lambda: next(asked))
    resumed = train.fit(made_, 0, images(200), checkpoints=kept)
    assert same(weights(whole), weights(resumed))
    assert whole.history == resumed.history
    net = whole.network.eval()
    h = features(9, net.backbone.dim).float()
    torch.testing.assert_close(net.head.formula().logits(h), net.head(h), rtol=1e-5, atol=1e-6)
