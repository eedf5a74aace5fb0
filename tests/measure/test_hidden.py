"""Hidden classifiers: proposition 1, the bound, and what rows say of them, against other ways to the same numbers."""

import dataclasses

import pytest
import torch
from torch import nn

from ood_core import geometry, metrics, networks
from ood_core.measure import Seen, Sets, hidden, jobs, rows
from tests.spine import images, recipe

NO_BIAS = {"name": "linear", "bias": False}
MEASURES = ["hidden_bound", "hidden_classifiers", "hidden_confidence"]


def seen_by(activation="relu", head=None, network=None, labels=True, **changes):
    """A perceptron of made-up images, before training."""
    made = recipe(
        network=network or {"name": "mlp5", "width": 9, "activation": activation},
        head=head or NO_BIAS,
        evaluate={"far": ["noise"], "measures": MEASURES, "scores": []},
        **changes,
    )
    train, test, ood = images(40), images(30, seed=1), images(20, seed=2)
    if not labels:
        test = dataclasses.replace(test, labels=None)
    sets = Sets(train, None, test, {"noise": ood})
    net = networks.network(made, train, 0, torch.device("cpu")).eval()
    return Seen(net, sets, made, 0, made.epochs)


def rows_of(seen):
    return rows(seen, jobs(seen.recipe, seen.epoch), "key")


def value(found, **where):
    """The one row that fits; what is left out is empty."""
    wanted = {"layer": "", "ood_set": "", "protocol": "", **where}
    (row,) = [row for row in found if all(row[column] == w for column, w in wanted.items())]
    return row["value"]


@pytest.mark.parametrize("network", [None, {"name": "resnet8", "width": 4}])
def test_classes_of_an_ood_set_are_not_those_of_the_network(network):
    plain, other = seen_by(network=network), seen_by(network=network)
    ood = other.sets.ood["noise"]
    other.sets.ood["noise"] = dataclasses.replace(
        ood, labels=ood.labels + 90, classes=tuple(f"class {c}" for c in range(100))
    )
    assert rows_of(plain) == rows_of(other)


@pytest.mark.parametrize("activation", ["relu", "leaky_relu", "gelu"])
def test_the_linear_maps_give_the_logits_from_every_layer(activation):
    net = seen_by(activation).net.double()
    torch.manual_seed(0)
    x = torch.randn(11, 1, 8, 8, dtype=torch.float64)
    x[3] = 0  # every unit is 0: 0/0 in D
    logits = net(x)
    found = list(hidden.linear_maps(net.backbone, net.head.weight.detach(), x))
    assert len(found) == 4
    for a, c in found:
        product = a @ c.T if c.ndim == 2 else (c @ a[:, :, None]).squeeze(2)
        torch.testing.assert_close(product, logits, rtol=0, atol=1e-12)


def test_for_a_relu_the_linear_map_is_the_jacobian_and_for_a_gelu_it_is_not():
    for activation, same in (("relu", True), ("gelu", False)):
        net = seen_by(activation).net.double()
        torch.manual_seed(0)
        x = torch.randn(1, 1, 8, 8, dtype=torch.float64)
        (_, first), *_ = net.backbone.hidden(x)

        def rest(a, net=net):
            for layer in list(net.backbone.layers)[1:]:
                a = net.backbone.act(layer(a))
            return net.head(a)

        jacobian = torch.autograd.functional.jacobian(rest, first)[0, :, 0]
        *_, (_, c) = hidden.linear_maps(net.backbone, net.head.weight.detach(), x)
        assert torch.allclose(c[0], jacobian, atol=1e-12) == same


@pytest.mark.parametrize("activation", ["relu", "gelu"])
def test_the_bound_holds_for_every_pair_and_for_random_signs(activation):
    found = rows_of(seen_by(activation))
    for protocol in ("", hidden.RANDOM):
        for name, count in (("", 40 + 30), ("noise", 20)):
            where = {"ood_set": name, "protocol": protocol}
            assert value(found, metric="bound_violations", layer="all", split="", **where) == 0
            for layer in range(1, 5):
                assert value(found, metric="bound_worst", layer=f"hidden.{layer}", split="test", **where) <= 1e-12
            (row,) = [r for r in found if r["layer"] == "all" and (r["ood_set"], r["protocol"]) == (name, protocol)]
            assert row["n"] == 4 * count * 3  # layers, images, classes


def test_a_bound_that_fails_is_counted(monkeypatch):
    right = geometry.holder_bound

    def wrong(a, c):
        found = right(a, c)
        gap = found.gap.clone()
        gap[0, 0] = found.bound[0, 0] + 1e-6 * a[0].abs().sum()
        gap[1, 2] = -1e-6 * a[1].abs().sum()
        return geometry.HolderBound(gap, found.bound, 1e-6)

    monkeypatch.setattr(geometry, "holder_bound", wrong)
    found = rows_of(seen_by())
    assert value(found, metric="bound_violations", layer="all", ood_set="noise", split="") == 4 * 2
    assert value(found, metric="bound_worst", layer="hidden.2", split="train") == 1e-6


def test_the_worst_failure_of_a_layer_is_that_of_all_its_blocks(monkeypatch):
    right, told = geometry.holder_bound, []

    def failing(a, c):
        told.append(len(a))
        return right(a, c)._replace(violation=0.3 if len(told) == 3 else 0.1)

    monkeypatch.setattr(hidden, "BLOCK", 16)
    monkeypatch.setattr(geometry, "holder_bound", failing)
    seen = seen_by(network={"name": "resnet8", "width": 2}, head={"name": "linear"})
    (layer,) = hidden.layers(seen, "train", seen.sets.train)[""]
    assert told == [16, 16, 16, 16, 8, 8]  # the network's signs and random ones, block by block
    assert (len(layer.norm), layer.worst) == (40, 0.3)


def test_layers_of_a_deep_perceptron_come_from_the_first_to_the_last():
    seen = seen_by()
    seen.net.backbone.layers.extend(nn.Linear(9, 9, bias=False) for _ in range(7))
    for found in hidden.layers(seen, "noise", images(5)).values():
        assert [layer.name for layer in found] == [f"hidden.{depth}" for depth in range(1, 12)]


def test_random_signs_are_drawn_from_the_seed():
    at = seen_by()
    first, again, other = (Seen(at.net, at.sets, at.recipe, seed, at.epoch) for seed in (0, 0, 1))
    first, again, other = (hidden.layers(seen, "noise", images(5))[hidden.RANDOM] for seen in (first, again, other))
    for a, b, c in zip(first, again, other, strict=True):
        assert torch.equal(a.logits, b.logits)
        assert not torch.equal(a.logits, c.logits)


def test_last_layer_by_hand_where_zero_counts_as_minus_one():
    seen = seen_by()
    seen.net.head.weight.data[:, 0] = 0  # sign(0) is -1, for B and for activations that are off
    found = rows_of(seen)
    out = seen.test
    a, b = out.features.double(), torch.where(out.head.weight > 0, 1.0, -1.0).double()
    psi, on = a @ b.T, torch.where(a > 0, 1.0, -1.0).double()
    norm = a.abs().sum(dim=1)
    where = {"layer": "hidden.4", "split": "test"}
    assert value(found, metric="hidden_accuracy", **where) == metrics.accuracy(psi, out.labels)
    assert value(found, metric="sign_difference", **where) == pytest.approx(float((on - b[out.labels]).abs().mean()))
    p = psi.softmax(dim=1)
    assert value(found, metric="hidden_entropy", **where) == pytest.approx(float(-(p * p.log()).sum(dim=1).mean()))
    gap = norm - psi.amax(dim=1)
    assert value(found, metric="norm_gap", **where) == pytest.approx(float(gap.mean()))
    assert value(found, metric="norm_gap_share", **where) == pytest.approx(float((gap / norm).mean()))


def test_gap_and_bound_of_every_test_image_are_left_as_shares_of_the_norm():
    seen = seen_by()
    rows_of(seen)
    a = seen.test.features.double()
    norm = a.abs().sum(dim=1)
    found = geometry.holder_bound(a, seen.test.head.weight)
    best = geometry.hidden_confidence(a, seen.test.head.weight).argmax(dim=1)
    for name, of in (("hidden_gap", found.gap), ("hidden_bound", found.bound)):
        expected = of[torch.arange(len(a)), best] / norm
        torch.testing.assert_close(torch.tensor(seen.scores[f"{name}|hidden.4||"]), expected, rtol=1e-5, atol=1e-5)
        assert len(seen.scores[f'{name}|hidden.4|{{"signs":"random"}}|']) == len(a)


def test_weights_that_are_signs_make_the_hidden_classifier_the_network_itself():
    seen = seen_by()
    seen.net.head.weight.data = torch.where(seen.net.head.weight.data > 0, 1.0, -1.0)
    accuracy = metrics.accuracy(seen.test.logits, seen.test.labels)
    found = rows_of(seen)
    assert value(found, metric="hidden_accuracy", layer="hidden.4", split="test") == accuracy
    assert value(found, metric="hidden_auroc", layer="features", ood_set="noise") == pytest.approx(
        metrics.auroc(seen.test.logits.amax(dim=1), seen.ood("noise").logits.amax(dim=1))
    )


def test_other_networks_have_their_last_layer_alone():
    found = rows_of(seen_by(network={"name": "resnet8", "width": 2}, head={"name": "linear"}))
    assert {row["layer"] for row in found if row["metric"] == "bound_worst"} == {"features"}
    assert value(found, metric="bound_violations", layer="all", ood_set="noise", split="") == 0


def test_without_labels_there_is_a_bound_and_no_accuracy():
    found = rows_of(seen_by(labels=False))
    assert {row["split"] for row in found if row["metric"] == "hidden_accuracy"} == {"train"}
    assert value(found, metric="bound_violations", layer="all", split="") == 0


def test_a_norm_that_is_its_hidden_logit_has_rank_correlation_one():
    seen = seen_by()
    seen.net.head.weight.data.fill_(1.0)
    assert value(rows_of(seen), metric="spearman_norm_hidden", layer="features") == pytest.approx(1)
