"""Shapes in front of scorers: on paper, both parts kept and named, any head, exact quantiles in little memory."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ood_core import Outputs, scorers
from ood_core.checks import ArtifactError, InputError
from ood_core.outputs import Head
from ood_core.scorers import artifact
from ood_core.scorers.clusters import Cluster
from ood_core.scorers.quantiles import quantile

from .cases import outputs

SHAPES = ("react", "ash", "scale")
FOUR = torch.tensor([[1.0, 2.0, 3.0, 4.0]])


def shaped(name, rows, train=None, **parameters):
    """The shaped features themselves, seen through the norm of each unit."""
    columns = []
    for d in range(rows.shape[1]):
        head = Head("linear", torch.eye(rows.shape[1])[d : d + 1])
        fitted_on = rows if train is None else train
        scorer = scorers.make(name, then="max_logit", **parameters).fit(Outputs(fitted_on, head=head))
        columns.append(scorer.score(Outputs(rows)))
    return torch.stack(columns, dim=1).tolist()


def test_react_by_hand():
    # The 0.5 quantile of 1, 2, 3, 4 is 2.5; of their two copies too.
    assert shaped("react", FOUR, quantile=0.5) == [[1, 2, 2.5, 2.5]]
    assert shaped("react", torch.tensor([[9.0, -9.0, 2.5, 0.0]]), FOUR, quantile=0.5) == [[2.5, -9, 2.5, 0]]
    assert shaped("react", FOUR, quantile=1) == FOUR.tolist()
    fitted = scorers.make("react", then="feature_norm", quantile=0.5).fit(Outputs(FOUR))
    assert fitted.summary()["clip"] == 2.5


def test_ash_by_hand():
    # Half of four units: 3 and 4 stay, s1 = 10, s2 = 7, n = 2.
    grown = np.exp(10 / 7)
    assert shaped("ash", FOUR, quantile=0.5, variant="p") == [[0, 0, 3, 4]]
    assert shaped("ash", FOUR, quantile=0.5, variant="b") == [[0, 0, 5, 5]]
    assert shaped("ash", FOUR, quantile=0.5)[0] == pytest.approx([0, 0, 3 * grown, 4 * grown])
    assert shaped("scale", FOUR, quantile=0.5)[0] == pytest.approx([grown * v for v in (1, 2, 3, 4)])
    # A quarter of four is one unit; 0.3 of four rounds to one as well.
    assert shaped("ash", FOUR, quantile=0.3, variant="p") == [[0, 2, 3, 4]]


def test_ties_and_zeros_of_a_rectifier():
    rows = torch.tensor([[0.0, 0.0, 0.0, 6.0], [2.0, 2.0, 2.0, 0.0], [0.0, 0.0, 0.0, 0.0]])
    assert shaped("ash", rows, quantile=0.5, variant="p") == rows.tolist()
    # Units at 0 are kept and stay 0: no energy goes where nothing was active.
    assert shaped("ash", rows, quantile=0.5, variant="b") == [[0, 0, 0, 6], [2, 2, 2, 0], [0, 0, 0, 0]]
    for name in ("ash", "scale"):
        got = shaped(name, rows, quantile=0.5)
        assert got[0] == pytest.approx([0, 0, 0, 6 * np.e])
        assert got[2] == [0, 0, 0, 0]


def test_shapes_do_not_depend_on_the_order_of_units():
    train = outputs()
    turned = Head("linear", train.head.weight.flip(1), train.head.bias)
    flipped = Outputs(train.features.flip(1), train.logits, train.labels, turned)
    for name in SHAPES:
        plain = scorers.make(name).fit(train).score(train)
        assert torch.allclose(scorers.make(name).fit(flipped).score(flipped), plain, rtol=1e-12)


def test_the_exponential_growth_is_bounded_by_the_share_kept():
    h = torch.rand(50, 20, dtype=torch.float64)
    for share in (0.5, 0.9):
        growth = torch.tensor(shaped("scale", h, quantile=share)) / h
        assert ((growth > np.e) & (growth < np.exp(1 / (1 - share)) * (1 + 1e-12))).all()


@pytest.mark.parametrize("name", ["ash", "scale"])
def test_rows_that_no_rectifier_made_are_refused(name):
    rows = torch.tensor([[1.0, 2.0], [-1.0, -2.0]])
    with pytest.raises(InputError, match=r"1 of 2 rows whose largest features do not sum above 0[\s\S]*ReLU"):
        scorers.make(name, then="feature_norm", quantile=0.5).fit(Outputs(rows))


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("kind", ["linear", "unit", "distance"])
def test_the_head_makes_the_logits(name, kind):
    train, test = outputs(head_kind=kind), outputs((7, 9, 8, 6), seed=1, head_kind=kind)
    for inner in ("max_logit", "energy", "msp"):
        fitted = scorers.make(name, then=inner).fit(train)
        features = torch.stack([shaped_row(fitted, row) for row in test.features])
        by_hand = Outputs(features, train.head.logits(features))
        expected = scorers.make(inner).fit(by_hand).score(by_hand)
        assert torch.allclose(fitted.score(Outputs(test.features)), expected, rtol=1e-12)


def shaped_row(fitted, row):
    return fitted._shape(row[None], fitted._state)[0]


def test_a_head_that_did_not_make_the_logits_is_refused():
    train = outputs()
    other = replace(train, head=Head("linear", train.head.weight.flip(1), train.head.bias))
    for name in SHAPES:
        with pytest.raises(InputError, match="head gives other logits"):
            scorers.make(name).fit(other)
        with pytest.raises(InputError, match="works through the last layer, which these outputs lack"):
            scorers.make(name).fit(replace(train, head=None))
        without = replace(train, head=None, logits=None, correct=None)
        assert len(scorers.make(name, then="feature_norm").fit(without).score(without)) == len(train)


def test_the_inner_scorer_learns_from_shaped_rows():
    train = outputs()
    clip = float(np.quantile(train.features.numpy(), 0.6))
    clipped = Outputs(train.features.clamp(max=clip).float(), labels=train.labels)
    behind = scorers.make("react", quantile=0.6, then="ddu").fit(train)
    alone = scorers.make("ddu").fit(clipped)
    assert behind.summary()["then"]["condition_number"] == pytest.approx(alone.summary()["condition_number"])
    with pytest.raises(InputError, match="ddu learns from labels"):
        scorers.make("react", then="ddu").fit(replace(train, labels=None))


@pytest.mark.parametrize("memory", [2**28, 2000], ids=["one block", "blocks"])
@pytest.mark.parametrize("chained", [False, True], ids=["shape", "shape behind a shape"])
def test_an_inner_scorer_that_reads_labels_gets_those_of_its_rows(memory, chained, monkeypatch):
    train, test = outputs(), outputs((7, 9, 8, 6), seed=1)
    test = test[torch.randperm(len(test))]
    then = {"then": "cluster_leaky"}
    then = {"then": "react", "then_params": {"quantile": 1.0, **then}} if chained else then
    behind = scorers.make("react", quantile=0.6, **then).fit(train)
    monkeypatch.setattr(type(behind), "memory", memory)
    clip = behind.summary()["clip"]
    clipped, rows = (Outputs(o.features.clamp(max=clip), labels=o.labels) for o in (train, test))
    alone = scorers.make("cluster_leaky").fit(clipped)
    assert torch.allclose(behind.score(test), alone.score(rows), rtol=1e-6)
    unlabelled = replace(test, labels=None, correct=None)
    nearest = behind.score(unlabelled)
    assert torch.allclose(nearest, alone.score(replace(rows, labels=None)), rtol=1e-6)
    assert (behind.score(test) < nearest - 1e-3).any()
    with pytest.raises(InputError, match="cluster_leaky got the label 9"):
        behind.score(replace(test, labels=torch.full((len(test),), 9)))
    assert torch.equal(behind.score(unlabelled), nearest)  # nothing is left of the labels before


def test_shapes_can_stand_in_a_row(tmp_path):
    train = outputs()
    chain = {"then": "ash", "then_params": {"variant": "p", "quantile": 0.5, "then": "max_logit"}}
    fitted = scorers.make("react", **chain).fit(train)
    clipped = train.features.clamp(max=fitted.summary()["clip"])
    smallest = clipped.sort(dim=1).values[:, 3:4]
    pruned = torch.where(clipped >= smallest, clipped, 0.0)
    assert torch.allclose(fitted.score(train), train.head.logits(pruned).amax(dim=1), rtol=1e-12)
    fitted.save(tmp_path / "chain.safetensors")
    again = scorers.load(tmp_path / "chain.safetensors")
    assert again.params == fitted.params == chain
    assert torch.equal(again.score(train), fitted.score(train))


def test_one_scorer_has_one_name():
    made = scorers.make("react", then="energy", then_params={"temperature": 2, "layer": "logits"}, quantile=0.9)
    assert made.params == {"then_params": {"temperature": 2.0}}
    assert json.dumps(made.params) == '{"then_params": {"temperature": 2.0}}'
    assert scorers.make("scale", then="energy").params == {}
    assert scorers.make("ash", then="feature_norm", then_params={"p": float("inf"), "layer": "unit"}).params == {
        "then": "feature_norm",
        "then_params": {"p": "inf", "layer": "unit"},
    }


def test_the_default_parameters_are_nobody_s_to_change():
    scorers.make("react").then_params["temperature"] = 3.0
    scorers.describe("react")["parameters"]["then_params"]["temperature"] = 3.0
    assert scorers.make("react").then_params == {}


def test_the_version_of_either_part_counts(tmp_path, monkeypatch):
    train = outputs()
    path = tmp_path / "react.safetensors"
    scorers.make("react", then="cluster").fit(train).save(path)
    before = scorers.version("react", then="cluster")
    monkeypatch.setattr(Cluster, "version", Cluster.version + 1)
    assert scorers.version("react", then="cluster") == before + 1
    assert scorers.version("react") == 1
    with pytest.raises(ArtifactError, match=r"cluster version \d, expected \d: an older version wrote it"):
        scorers.load(path)


def test_the_file_shows_both(tmp_path):
    path = tmp_path / "ash.safetensors"
    scorers.make("ash", then="cluster").fit(outputs(head_kind="unit")).save(path)
    header, tensors = artifact.read(path)
    assert header["then"]["name"] == "cluster"
    assert header["head"]["kind"] == "unit"
    assert {"head.weight", "head.bias", "then.centres"} <= set(tensors)


def test_refusals():
    for name in SHAPES:
        with pytest.raises(InputError, match="scorer is 'enrgy', expected one of"):
            scorers.make(name, then="enrgy")
        with pytest.raises(InputError, match="feature_norm got temperature, expected only: layer, p"):
            scorers.make(name, then="feature_norm", then_params={"temperature": 2})
        with pytest.raises(InputError, match="then='odin' on layer 'inputs', expected features"):
            scorers.make(name, then="odin")
        with pytest.raises(InputError, match="on layer 'projection', expected features"):
            scorers.make(name, then="knn", then_params={"layer": "projection"})
        for share in (-0.1, 1.5, 90):
            with pytest.raises(InputError, match=r"expected a fraction in [\[(]0, 1"):
                scorers.make(name, quantile=share)
    with pytest.raises(InputError, match="ash's variant is 'x', expected one of: s, p, b"):
        scorers.make("ash", variant="x")
    for name in ("ash", "scale"):
        with pytest.raises(InputError, match=r"quantile=0\.95 for 4 units a row, which keeps none"):
            scorers.make(name, quantile=0.95, then="feature_norm").fit(Outputs(FOUR))


numbers = st.floats(width=32, allow_nan=False, allow_infinity=False)


@given(st.lists(numbers, min_size=1, max_size=30), st.floats(0, 1))
def test_quantiles_agree_with_numpy(values, share):
    for dtype in (torch.float32, torch.float64):
        x = torch.tensor(values, dtype=dtype)[:, None]
        wanted = np.quantile(x.double().numpy(), share)
        assert quantile(x, share, 40) == pytest.approx(wanted, rel=1e-12, abs=1e-300)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_quantiles_in_every_precision_and_any_blocks(dtype):
    x = torch.randn(300, 7).relu().to(dtype)
    for share in (0.0, 0.3, 0.9, 0.977, 1.0):
        wanted = np.quantile(x.double().numpy(), share)
        for memory in (1, 5000, 2**28):
            assert quantile(x, share, memory) == pytest.approx(wanted, rel=1e-15)
