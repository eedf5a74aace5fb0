"""The feature norm on paper, and its laws."""

import json

import pytest
import torch
from torch import nn

from ood_core import Outputs, extract, scorers
from ood_core.checks import InputError


def score(features, **parameters):
    outputs = Outputs(features=features)
    return scorers.make("feature_norm", **parameters).fit(outputs).score(outputs)


def test_by_hand():
    features = torch.tensor([[3.0, -4.0], [0.0, 0.0], [1.0, 1.0]])
    assert score(features).tolist() == pytest.approx([5, 0, 2**0.5])
    assert score(features, p=1).tolist() == pytest.approx([7, 0, 2])
    assert score(features, p=3).tolist() == pytest.approx([91 ** (1 / 3), 0, 2 ** (1 / 3)])


def test_laws():
    h = torch.randn(40, 6, dtype=torch.float64)
    rotation = torch.linalg.qr(torch.randn(6, 6, dtype=torch.float64)).Q
    assert torch.allclose(score(h @ rotation), score(h))
    assert not torch.allclose(score(h @ rotation, p=1), score(h, p=1))
    for p in (1.0, 2.0, 3.0):
        assert torch.allclose(score(-2.5 * h, p=p), 2.5 * score(h, p=p))
    assert (score(h, p=3) < score(h)).all()


def test_half_precision_values_do_not_overflow():
    assert score(torch.full((1, 4), 6e4, dtype=torch.float16)).item() == pytest.approx(2 * 6e4, rel=1e-3)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("layer", ["unit", "features"])
def test_rows_of_one_length_are_refused(layer, dtype):
    """What is left of them to rank by is rounding: scores of 1 +- 4e-8 in float32."""
    rows = torch.randn(20, 64)
    outputs = Outputs((rows if layer == "unit" else torch.nn.functional.normalize(rows)).to(dtype))
    with pytest.raises(
        InputError, match=r"all 20 training rows the score 1\b|all 20 training rows the score (1|0\.99)"
    ):
        scorers.make("feature_norm", layer=layer).fit(outputs)
    scorers.make("feature_norm", layer=layer).fit(outputs[:9])  # a few rows may be as long by chance
    one_longer = outputs.layer(layer).double()
    one_longer[13] *= 1.1
    scorers.make("feature_norm").fit(Outputs(one_longer))
    with pytest.raises(InputError, match=r"^nan gives all 20[\s\S]*dead layer"):
        scorers.make("nan").fit(Outputs(torch.full((20, 5), 0.1, dtype=dtype)))
    assert (scorers.make("active_count").fit(Outputs(rows.abs())).score(Outputs(rows.abs())) == -64).all()  # ties


def test_unit_features_all_score_one():
    outputs = Outputs(features=torch.randn(9, 5))
    unit = scorers.make("feature_norm", layer="unit").fit(outputs).score(outputs)
    assert torch.allclose(unit, torch.ones(9, dtype=torch.float64), atol=1e-6)


@pytest.mark.parametrize("infinity", ["inf", float("inf")])
def test_the_largest_entry_is_the_norm_of_infinite_order(infinity, tmp_path):
    features = torch.tensor([[3.0, -4.0], [0.0, 0.0]])
    assert score(features, p=infinity).tolist() == [4, 0]
    scorer = scorers.make("feature_norm", p=infinity).fit(Outputs(features=features))
    assert json.loads(json.dumps(scorer.params)) == {"p": "inf"}
    scorer.save(tmp_path / "norm.safetensors")
    assert scorers.load(tmp_path / "norm.safetensors").p == float("inf")


def test_any_order_approaches_the_largest_entry_without_overflow():
    h = 1e4 * torch.randn(20, 6, dtype=torch.float64)
    largest = score(h, p="inf")
    for p in (50.0, 500.0, 1e6):
        assert ((score(h, p=p) >= largest) & (score(h, p=p) <= 6 ** (1 / p) * largest * (1 + 1e-12))).all()


def activity(name, features):
    outputs = Outputs(features=torch.tensor(features))
    scorer = scorers.make(name).fit(outputs)
    return scorer.score(outputs).tolist(), scorer.summary()


def test_the_negative_aware_norm_by_hand():
    rows = [[1.0, 0.0, 5.0, 0.0], [-1.0, 2.0, -3.0, 0.0], [0.0, 0.0, 0.0, 0.0], [-1.0, -1.0, 0.0, -1.0]]
    scores, summary = activity("nan", rows)
    assert scores == [3, 6, 0, 0]  # the last row has some l1 norm and no active unit
    assert summary["inactive_rows"] == 2
    assert summary["active_share"] == 3 / 16
    scores, summary = activity("active_count", rows)
    assert scores == [-2, -1, 0, 0]
    assert summary["inactive_rows"] == 2


def test_after_a_relu_the_negative_aware_norm_is_the_mean_of_active_units():
    h = torch.randn(40, 7, dtype=torch.float64).relu() + torch.eye(1, 7, dtype=torch.float64)
    scores, _ = activity("nan", h.tolist())
    assert scores == pytest.approx([float(row[row > 0].mean()) for row in h])
    counts, _ = activity("active_count", h.tolist())
    l1 = scorers.make("feature_norm", p=1).fit(Outputs(features=h)).score(Outputs(features=h))
    assert (-l1 / torch.tensor(counts)).tolist() == pytest.approx(scores)


def test_where_the_last_hidden_layer_lies_decides_what_the_count_does():
    """Pooled channels are off only where they are off everywhere; units of a rectified head are off one by one."""
    torch.manual_seed(0)
    body = nn.Sequential(nn.Conv2d(3, 16, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    head = nn.Sequential(nn.Linear(16, 64), nn.ReLU(), nn.Linear(64, 4))
    found = extract(nn.Sequential(body, head), torch.randn(40, 3, 10, 10), layers=["0", "1.1"])
    assert torch.equal(found.features, found.layers["1.1"])  # the default is the input of the last linear layer

    def ranks(name, layer, **parameters):
        scorer = scorers.make(name, layer=layer, **parameters).fit(found)
        return scorer.score(found).argsort().tolist(), scorer.summary()

    pooled, told = ranks("nan", "0")
    assert told["active_share"] == 1
    assert pooled == ranks("feature_norm", "0", p=1)[0]
    hidden, told = ranks("nan", "1.1")
    assert 0.2 < told["active_share"] < 0.8
    assert hidden != ranks("feature_norm", "1.1", p=1)[0]


def test_the_smallest_half_precision_number_is_active():
    row = [[2.0**-24, 0.0]]
    outputs = Outputs(features=torch.tensor(row, dtype=torch.float16))
    assert scorers.make("active_count").fit(outputs).score(outputs).tolist() == [-1]
    assert scorers.make("nan").fit(outputs).score(outputs).tolist() == [2.0**-24]


def test_refuses_what_is_no_norm():
    with pytest.raises(InputError, match=r"p=0.5, expected at least 1"):
        scorers.make("feature_norm", p=0.5)
