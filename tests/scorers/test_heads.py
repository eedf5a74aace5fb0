"""Scorers that work through the last layer: each kind of head, and outputs whose head and logits disagree."""

import dataclasses

import pytest
import torch

from ood_core import Outputs, scorers
from ood_core.checks import InputError
from ood_core.outputs import Head
from ood_core.scorers.heads import level_point, linear_form, linear_logits, taken
from tests.oracle import subspaces as oracle

from .cases import outputs

HEADS = {
    "linear": Head("linear", torch.zeros(1, 1), torch.zeros(1)),
    "linear without bias": Head("linear", torch.zeros(1, 1)),
    "unit": Head("unit", torch.zeros(1, 1), torch.zeros(1)),
    "distance": Head("distance", torch.zeros(1, 1), scale=2.5),
    "normalised distance": Head("distance", torch.zeros(1, 1), scale=2.5, normalized=True),
    "normalised distance, plus the mean": Head(
        "distance", torch.zeros(1, 1), scale=2.5, normalized=True, plus_mean=True
    ),
}
SCORERS = [
    ("vim", {}),
    ("residual", {}),
    ("neco", {"times": "max_logit"}),
    ("nci", {"alpha": 0.1}),
    ("fdbd", {}),
    ("she", {}),
]
each_head = pytest.mark.parametrize("kind", HEADS)
each_scorer = pytest.mark.parametrize(("name", "settings"), SCORERS, ids=[name for name, _ in SCORERS])


def behind(kind, seed=0, per_class=(40, 55, 30, 25), dtype=torch.float64):
    """The shared features behind a head of another kind, which errs on some rows of every class."""
    base = outputs(per_class, seed=seed)
    like = HEADS[kind]
    generator = torch.Generator().manual_seed(5)
    means = torch.stack([outputs().features[outputs().labels == c].mean(0) for c in range(4)])
    weight = means + 0.3 * torch.randn(means.shape, generator=generator, dtype=torch.float64)
    if like.kind != "distance":
        weight = weight - weight.mean(0)
    bias = None if like.bias is None else torch.randn(4, generator=generator, dtype=torch.float64) / 4
    head = dataclasses.replace(like, weight=weight.to(dtype), bias=bias)
    features = base.features.to(dtype)
    return Outputs(features=features, logits=head.logits(features), labels=base.labels, head=head)


@each_head
def test_the_linear_form_keeps_classes_and_boundaries(kind):
    out = behind(kind)
    state = linear_form(out.features, out, "features", "test", 2**20)
    logits = linear_logits(state, taken(state, out.features))
    assert torch.equal(logits.argmax(1), out.logits.argmax(1))
    if out.head.kind != "distance":
        assert torch.allclose(logits, out.logits)
        return
    # Minus half the squared distances up to a common number; the logits are minus the scaled distances.
    distances = -dataclasses.replace(out.head, plus_mean=False).logits(out.features) / out.head.scale
    squares = -(distances**2) / 2
    assert torch.allclose(logits - logits[:, :1], squares - squares[:, :1])
    assert torch.allclose(state["weight"].sum(0), torch.zeros(6, dtype=torch.float64), atol=1e-12)


@each_head
def test_the_level_point_has_equal_logits_and_is_the_shortest(kind):
    out = behind(kind)
    state = linear_form(out.features, out, "features", "test", 2**20)
    point = level_point(state)
    logits = linear_logits(state, point[None])
    # The rows of these weights sum to 0, so that only a number common to all classes can be left.
    assert torch.allclose(logits, logits.mean().expand_as(logits), atol=1e-9)
    assert torch.allclose(point, torch.as_tensor(oracle.origin(out.head)), atol=1e-9)
    if kind == "distance":
        away = torch.cdist(point[None], out.head.weight)
        assert torch.allclose(away, away[:, :1].expand_as(away))
    if kind == "linear without bias" or kind.startswith("normalised"):
        assert torch.allclose(point, torch.zeros_like(point), atol=1e-12)


def test_a_direction_lost_to_rounding_does_not_move_the_level_point():
    # The rows of a float32 weight that should sum to 0 do so to 1e-8, and the bias has a part along them.
    weight = torch.tensor([[1.0, 0.0, 0.0], [-1.0, 0.0, 1e-8]], dtype=torch.float64)
    state = {"weight": weight, "bias": torch.tensor([2.0, 1.0], dtype=torch.float64)}
    assert torch.allclose(level_point(state), torch.tensor([-0.5, 0, 0], dtype=torch.float64), atol=1e-6)


@each_head
@each_scorer
def test_agrees_with_its_definition_behind_every_head(kind, name, settings):
    train, test = behind(kind), behind(kind, 1, (7, 9, 8, 6))
    scorer = scorers.make(name, **settings)
    if train.head.kind == "distance" and name in ("vim", "neco"):
        with pytest.raises(InputError, match=rf"{name} got a distance head.*, expected a linear or a unit one"):
            scorer.fit(train)
        return
    wanted = getattr(oracle, name)(
        train.features.numpy(), train.labels.numpy(), test.features.numpy(), train.head, **settings
    )
    assert scorer.fit(train).score(test).tolist() == pytest.approx(wanted, rel=1e-8, abs=1e-10)


@each_scorer
def test_a_unit_head_makes_scores_blind_to_length_where_it_should(name, settings):
    train, test = behind("unit"), behind("unit", 1)
    scorer = scorers.make(name, **({"alpha": 0.0} if name == "nci" else settings)).fit(train)
    plain = scorer.score(test)
    longer = scorer.score(Outputs(features=3 * test.features))
    if name in ("vim", "residual", "nci", "fdbd"):
        assert torch.allclose(longer, plain, rtol=1e-9)
    elif name == "she":
        assert torch.allclose(longer, 3 * plain, rtol=1e-9)
    # What the head takes can be named too, and is then all there is.
    of_units = scorers.make(name, layer="unit", **settings).fit(train).score(test)
    by_hand = Outputs(features=train.layer("unit"), logits=train.logits, labels=train.labels, head=train.head)
    assert torch.allclose(
        of_units, scorers.make(name, **settings).fit(by_hand).score(Outputs(features=test.layer("unit")))
    )


@each_scorer
def test_a_head_that_does_not_give_the_logits_is_refused(name, settings):
    train = behind("linear")
    scorer = scorers.make(name, **settings)
    head = train.head
    wrong = {
        "kind": dataclasses.replace(head, kind="unit"),
        "no bias": dataclasses.replace(head, bias=None),
        "another layer's": dataclasses.replace(head, weight=head.weight.flip(1)),
    }
    for other in wrong.values():
        with pytest.raises(InputError, match=rf"{name}'s head gives other logits from layer 'features'.*apart by"):
            scorer.fit(dataclasses.replace(train, head=other))
    with pytest.raises(InputError, match=r"gives other logits from layer 'unit'[\s\S]*layer that feeds it"):
        scorers.make(name, layer="unit", **settings).fit(train)
    one_row = train.logits.clone()
    one_row[77, 2] += 1
    with pytest.raises(InputError, match="gives other logits"):
        scorer.fit(dataclasses.replace(train, logits=one_row, correct=None))
    with pytest.raises(
        InputError,
        match=rf"{name} works through the last layer, which these outputs lack[\s\S]*extract keeps one where",
    ):
        scorer.fit(dataclasses.replace(train, head=None))
    wide = torch.cat([train.logits, train.logits[:, :1] - 9], dim=1)
    five = dataclasses.replace(train, logits=wide, labels=torch.cat([torch.tensor([4]), train.labels[1:]]))
    with pytest.raises(InputError, match=rf"{name} got 5 logits and a head of 4 classes"):
        scorer.fit(five)
    few = dataclasses.replace(train, layers={"few": train.features[:, :3]})
    with pytest.raises(InputError, match=rf"{name} got layer 'few' with 3 columns, expected the 6 that the head takes"):
        scorers.make(name, layer="few", **settings).fit(few)
    with pytest.raises(InputError, match=r"layer 'unit' without logits"):
        scorers.make(name, layer="unit", **settings).fit(dataclasses.replace(train, logits=None))
    turned = Outputs(train.features, labels=train.labels, head=Head("distance", head.weight, scale=-1.0))
    with pytest.raises(InputError, match=r"head of scale -1\.0, expected one above 0"):
        scorer.fit(turned)


@each_head
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
@pytest.mark.parametrize("scale", [1e-4, 1.0, 1e4])
def test_rounding_of_logits_and_features_is_no_disagreement(kind, dtype, scale):
    out = behind(kind)
    head = dataclasses.replace(
        out.head,
        weight=scale * out.head.weight if out.head.kind == "distance" else out.head.weight,
        bias=None if out.head.bias is None else (scale if kind == "linear" else 1) * out.head.bias,
        scale=1.0,
    )
    features = scale * out.features
    if dtype == torch.float16 and scale > 1:  # beyond its range; infinite features are refused as such
        return
    rounded = Outputs(features=features.to(dtype), logits=head.logits(features).to(dtype), head=head)
    linear_form(rounded.features, rounded, "features", "test", 2**20)
    kept = Outputs(features=rounded.features.float(), logits=rounded.logits.float(), head=head)  # as extract keeps them
    linear_form(kept.features, kept, "features", "test", 2**20)


def test_without_logits_the_head_is_trusted():
    train, test = behind("linear"), behind("linear", 1)
    alone = dataclasses.replace(train, logits=None, correct=None)
    for name, settings in SCORERS:
        assert torch.equal(
            scorers.make(name, **settings).fit(alone).score(test), scorers.make(name, **settings).fit(train).score(test)
        )
