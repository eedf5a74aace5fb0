"""Label schemes and parts of a set: which images, which labels, and what a network of each is judged on."""

import numpy as np
import pytest
import torch

from ood_core import data, recipes
from ood_core.checks import InputError
from ood_core.data import schemes
from ood_core.measure import Seen, Sets, jobs, rows
from ood_core.networks import network
from ood_core.recipes.schema import Data
from tests.spine import images, recipe


def asked(**fields):
    return Data(id_set="digits", **fields)


def test_the_first_of_each_class_in_canonical_order():
    whole = images(31)
    part = schemes.chosen(whole, asked(per_class=4))
    assert np.bincount(part.labels).tolist() == [4, 4, 4]
    for label in range(3):
        mine, all_of_them = (x.ids[x.labels == label].tolist() for x in (part, whole))
        assert mine == all_of_them[:4]
    assert [i for i in whole.ids if i in set(part.ids)] == part.ids.tolist()
    assert part.digest != whole.digest
    assert schemes.chosen(whole, asked()) is whole


def test_one_class_alone_has_one_label_and_the_others_are_ood():
    whole = images(30)
    part = schemes.chosen(whole, asked(one_class=2, per_class=5))
    assert len(part) == 5
    assert set(part.ids) <= set(whole.ids[whole.labels == 2])
    assert part.classes == ("bar 2",)
    assert set(part.labels) == {0}
    test, rest = schemes.tested(whole, asked(one_class=2))
    assert sorted((*test.ids, *rest.ids)) == sorted(whole.ids)
    assert set(test.ids) == set(whole.ids[whole.labels == 2])
    assert test.labels is None
    assert rest.labels is None
    assert test.digest != rest.digest


def test_a_class_that_is_not_there_is_refused():
    with pytest.raises(InputError, match="one_class is 3, expected a class of bars: 0 to 2"):
        schemes.chosen(images(), asked(one_class=3))
    unlabelled = schemes.tested(images(), asked(labels="constant"))[0]
    with pytest.raises(InputError, match="has no labels"):
        schemes.chosen(unlabelled, asked(per_class=1))


def test_labels_of_each_scheme():
    whole = images(60)
    assert schemes.labelled(whole, "true", 0) is whole
    instance = schemes.labelled(whole, "instance", 0)
    assert instance.labels.tolist() == list(range(60))
    assert len(instance.classes) == 60
    constant = schemes.labelled(whole, "constant", 0)
    assert set(constant.labels) == {0}
    assert constant.classes == whole.classes  # one output alone would have no loss
    binary = schemes.labelled(whole, "binary", 0)
    assert set(binary.labels) == {0, 1}
    assert len(binary.classes) == 2
    for other in (instance, constant, binary):
        assert other.labels.dtype == np.int64
        assert (other.images == whole.images).all()


def test_a_constant_label_is_learned_because_other_outputs_are_there():
    """With a single output the softmax is 1 whatever the weights are: no loss, and nothing moves."""
    constant = schemes.labelled(images(60), "constant", 0)
    alone = schemes.chosen(images(60), asked(one_class=0))
    moves = {}
    for part in (constant, alone):
        net = network(recipe(), part, 0, "cpu")
        logits = net.head(torch.randn(9, net.backbone.dim, generator=torch.Generator().manual_seed(0)))
        loss = torch.nn.functional.cross_entropy(logits, torch.zeros(9, dtype=torch.int64))
        (slope,) = torch.autograd.grad(loss, net.head.weight)
        moves[len(part.classes)] = float(loss.detach()), float(slope.norm())
    assert min(moves[3]) > 0.1
    assert moves[1] == (0, 0)


def test_random_labels_come_from_the_seed_and_know_nothing_of_the_class():
    whole = images(3000)
    first, again, second = (schemes.labelled(whole, "binary", seed).labels for seed in (0, 0, 1))
    assert (first == again).all()
    assert 0.4 < (first == second).mean() < 0.6
    for label in range(3):
        assert 0.42 < first[whole.labels == label].mean() < 0.58


def test_other_labels_are_another_set():
    digests = {schemes.labelled(images(), scheme, 0).digest for scheme in ("true", "instance", "binary", "constant")}
    assert len(digests) == 4
    assert schemes.labelled(images(), "binary", 1).digest != schemes.labelled(images(), "binary", 0).digest


def test_a_network_of_other_labels_has_no_test_accuracy():
    whole = images()
    assert schemes.tested(whole, asked()) == (whole, None)
    for scheme in ("instance", "binary", "constant"):
        test, rest = schemes.tested(whole, asked(labels=scheme))
        assert test.labels is None
        assert rest is None
        assert (test.images == whole.images).all()


@pytest.mark.parametrize(
    ("fields", "classes"),
    [({"labels": "instance"}, 40), ({"labels": "binary"}, 2), ({"labels": "constant"}, 8), ({"one_class": 3}, 1)],
    ids=str,
)
def test_runs_with_these_labels_are_measured(fields, classes):
    """What every row says of a run whose labels are not the true ones."""
    evaluate = {
        "far": ["noise"],
        "measures": ["accuracy"],
        "scores": ["feature_norm", {"scorer": "knn", "params": {"k": 3}}],
    }
    made = recipe(data={"id_set": "digits", "per_class": 5, **fields}, head={"name": "linear"}, evaluate=evaluate)
    sets = Sets.load(made, 0)
    net = network(made, sets.train, 0, "cpu").eval()
    assert net.head.weight.shape[0] == classes
    found = rows(Seen(net, sets, made, 0, made.epochs), jobs(made, made.epochs), "key")
    accuracy = [row for row in found if row["metric"] == "accuracy"]
    assert [row["split"] for row in accuracy] == ["train"]
    assert accuracy[0]["n"] == len(sets.train) == (5 if "one_class" in fields else 40)
    assert "oscr" not in {row["metric"] for row in found}
    wanted = {"noise", "other-classes"} if "one_class" in fields else {"noise"}
    assert {row["ood_set"] for row in found} - {""} == wanted


def test_others_of_one_class_are_read_from_the_test_part():
    made = recipe(
        data={"id_set": "digits", "one_class": 3}, evaluate={"near": ["digits-89"], "scores": ["feature_norm"]}
    )
    sets, test = Sets.load(made, 0), data.load("digits", "test")
    assert len(sets.test) == (test.labels == 3).sum()
    assert len(sets.ood["other-classes"]) == (test.labels != 3).sum()
    planned = [job for job in jobs(made, made.epochs) if job.measure == "ood"]
    assert [(job.ood_set, job.ood_group) for job in planned] == [("other-classes", "near"), ("digits-89", "near")]


def test_a_scheme_makes_another_run():
    base = recipes.load("l2-norm", "tiny")["ce"]
    keys = {
        base.model_copy(update={"data": base.data.model_copy(update=change)}).train_key(0, "d")
        for change in ({}, {"labels": "binary"}, {"labels": "constant"}, {"per_class": 3}, {"one_class": 1})
    }
    assert len(keys) == 5
