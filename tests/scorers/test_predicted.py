"""NCI, fDBD and SHE on paper, their laws, and heads and labels that they cannot work with."""

import dataclasses
import math

import pytest
import torch

from ood_core import Outputs, scorers
from ood_core.checks import InputError
from ood_core.outputs import Head

from .cases import outputs

# Three classes in the plane; the training mean is (0, 1).
HEAD = Head("linear", torch.tensor([[3.0, 4.0], [-3.0, 4.0], [0.0, -4.0]]), torch.tensor([0.0, 0.0, 1.0]))
TRAIN = torch.tensor([[2.0, 2.0], [4.0, 2.0], [-3.0, 3.0], [-3.0, 1.0], [0.0, -2.0], [0.0, 0.0]])
LABELS = torch.tensor([0, 0, 1, 1, 2, 2])
BY_HAND = Outputs(features=TRAIN, logits=HEAD.logits(TRAIN), labels=LABELS, head=HEAD)


def score(name, rows, train=BY_HAND, **parameters):
    return scorers.make(name, **parameters).fit(train).score(Outputs(features=torch.as_tensor(rows)))


def test_nci_by_hand():
    rows = [[3.0, 5.0], [0.0, -3.0], [0.0, 1.0]]
    # h - mu = (3, 4): along w_0, whose length is 5; (0, -4) along w_2, whose length is 4; and the mean itself.
    assert score("nci", rows, alpha=0.0).tolist() == pytest.approx([5, 4, 0])
    assert score("nci", rows).tolist() == pytest.approx([5 + 8e-4, 4 + 3e-4, 1e-4])
    assert score("nci", rows, alpha=2.0, p=2.0).tolist() == pytest.approx([5 + 2 * 34**0.5, 4 + 6, 2])


def test_fdbd_by_hand():
    # At (3, 5): logits 29, 11, -19; |w_0 - w_1| = 6, |w_0 - w_2| = sqrt(73); |h - mu| = 5.
    assert score("fdbd", [[3.0, 5.0]]).item() == pytest.approx((18 / 6 + 48 / 73**0.5) / 2 / 5)
    # Two classes with prototypes at -1 and 3: the boundary is at 1, the mean of the training rows at 2.
    line = torch.tensor([[1.0], [3.0]])
    head = Head("distance", torch.tensor([[-1.0], [3.0]]), scale=7.0)
    out = Outputs(features=line, logits=head.logits(line), head=head)
    assert score("fdbd", [[4.0], [1.0], [-3.0]], out).tolist() == pytest.approx([3 / 2, 0, 4 / 5])


def test_she_by_hand():
    # All are right but (0, 0), which has logits 0, 0, 1 and is right too: patterns (3, 2), (-3, 2), (0, -1).
    rows = [[1.0, 1.0], [-1.0, 2.0], [7.0, -9.0]]
    assert score("she", rows).tolist() == pytest.approx([5, 7, 9])
    # Two more rows of class 0 that the head takes for class 2 leave its pattern as it is.
    wrong = torch.tensor([[0.0, -50.0], [1.0, -50.0]])
    features, labels = torch.cat([TRAIN, wrong]), torch.cat([LABELS, torch.tensor([0, 0])])
    more = Outputs(features=features, logits=HEAD.logits(features), labels=labels, head=HEAD)
    assert score("she", rows, more).tolist() == pytest.approx([5, 7, 9])
    assert scorers.make("she").fit(more).summary()["stored"] == [2, 2, 2]


@pytest.mark.parametrize(
    ("name", "settings"), [("nci", {"alpha": 0.0}), ("nci", {"alpha": 0.3, "p": 2.0}), ("fdbd", {}), ("she", {})]
)
def test_a_rotation_that_the_last_layer_takes_up_changes_nothing(name, settings):
    train, test = outputs(), outputs(seed=1)
    turn = torch.linalg.qr(torch.randn(6, 6, dtype=torch.float64)).Q
    head = Head("linear", train.head.weight @ turn, train.head.bias)
    turned = [dataclasses.replace(out, features=out.features @ turn, head=head) for out in (train, test)]
    plain = scorers.make(name, **settings).fit(train).score(test)
    assert torch.allclose(scorers.make(name, **settings).fit(turned[0]).score(turned[1]), plain)


def test_units_of_features_and_logits():
    train, test = outputs(), outputs(seed=1)

    def changed(features, logits):
        head = Head("linear", logits / features * train.head.weight, logits * train.head.bias)
        return [
            dataclasses.replace(out, features=features * out.features, logits=logits * out.logits, head=head)
            for out in (train, test)
        ]

    for (name, settings), law in {
        ("fdbd", ()): lambda features, logits: 1,  # a distance over a distance
        ("nci", (("alpha", 0.0),)): lambda features, logits: logits / features,  # the length of a weight
        ("she", ()): lambda features, logits: features**2,
    }.items():
        scorer = scorers.make(name, **dict(settings))
        plain = scorer.fit(train).score(test)
        for features, logits in ((10.0, 1.0), (1.0, 10.0), (1e-3, 1e3)):
            one, two = changed(features, logits)
            assert torch.allclose(scorer.fit(one).score(two), law(features, logits) * plain, rtol=1e-9)


def test_a_number_common_to_all_logits_moves_no_boundary():
    train, test = outputs(), outputs(seed=1)
    shift = torch.randn(6, dtype=torch.float64)
    head = Head("linear", train.head.weight + shift, train.head.bias + 3)
    moved = dataclasses.replace(train, logits=head.logits(train.features), head=head)
    for name in ("fdbd", "she"):
        plain = scorers.make(name).fit(train).score(test)
        assert torch.allclose(scorers.make(name).fit(moved).score(test), plain)


def test_nci_is_largest_along_the_weight():
    train = outputs()
    state = scorers.make("nci", alpha=0.0).fit(train)
    lengths = train.head.weight.norm(dim=1)
    mean = train.features.mean(0)
    along = Outputs(features=mean + 1e6 * train.head.weight)
    predicted = train.head.logits(along.features).argmax(1)
    got = state.score(along)
    right = predicted == torch.arange(4)
    assert right.any()
    assert torch.allclose(got[right], lengths[right])
    assert (state.score(train) <= lengths[train.logits.argmax(1)] + 1e-9).all()


def test_a_boundary_is_at_distance_zero():
    train = outputs()
    weight, bias = train.head.weight[:2], train.head.bias[:2]
    two = Outputs(features=train.features, logits=train.logits[:, :2], head=(weight, bias))
    normal = weight[0] - weight[1]
    on_it = train.features - ((train.features @ normal + bias[0] - bias[1]) / (normal @ normal))[:, None] * normal
    assert score("fdbd", on_it, two).abs().max() < 1e-12


def test_refusals():
    with pytest.raises(InputError, match=r"nci got alpha=-1\.0, expected at least 0"):
        scorers.make("nci", alpha=-1.0)
    with pytest.raises(InputError, match=r"nci got p=0\.5, expected at least 1"):
        scorers.make("nci", p=0.5)
    with pytest.raises(
        InputError, match=r"fdbd gives NaN or infinity for 1 of 2 rows[\s\S]*equal to the training mean"
    ):
        score("fdbd", [[0.0, 1.0], [1.0, 1.0]])
    one = Outputs(features=TRAIN, head=(HEAD.weight[:1],))
    with pytest.raises(InputError, match=r"fdbd got a head of one class"):
        scorers.make("fdbd").fit(one)
    twins = Outputs(features=TRAIN, head=(HEAD.weight[[0, 1, 0]],))
    with pytest.raises(InputError, match=r"fdbd got equal weights for the classes 0 and 2"):
        scorers.make("fdbd").fit(twins)
    missed = Outputs(features=TRAIN, labels=torch.tensor([1, 1, 0, 0, 2, 2]), head=HEAD)
    with pytest.raises(InputError, match=r"she finds no training row of class 0, 1 that the head classifies right"):
        scorers.make("she").fit(missed)


def test_distance_heads_count_prototypes_from_their_mean():
    train = outputs()
    prototypes = torch.stack([train.features[train.labels == c].mean(0) for c in range(4)])
    head = Head("distance", prototypes)
    out = dataclasses.replace(train, logits=head.logits(train.features), head=head, correct=None)
    shift = torch.full((6,), 40.0, dtype=torch.float64)
    far = Head("distance", prototypes + shift)
    moved = dataclasses.replace(out, features=out.features + shift, head=far)
    for name, settings in (("nci", {"alpha": 0.0}), ("fdbd", {})):
        plain = scorers.make(name, **settings).fit(out).score(train)
        again = scorers.make(name, **settings).fit(moved).score(Outputs(features=train.features + shift))
        assert torch.allclose(again, plain)
    top = scorers.make("nci", alpha=0.0).fit(out).score(out)
    assert math.isfinite(float(top.max()))
    assert (top <= (prototypes - prototypes.mean(0)).norm(dim=1).max() + 1e-9).all()
