"""The feature norm on paper, and its laws."""

import pytest
import torch

from ood_core import Outputs, scorers
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


def test_unit_features_all_score_one():
    outputs = Outputs(features=torch.randn(20, 5))
    unit = scorers.make("feature_norm", layer="unit").fit(outputs).score(outputs)
    assert torch.allclose(unit, torch.ones(20, dtype=torch.float64), atol=1e-6)


def test_refuses_what_is_no_norm():
    with pytest.raises(InputError, match=r"p=0.5, expected at least 1"):
        scorers.make("feature_norm", p=0.5)
