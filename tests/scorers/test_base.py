"""Calibration: the threshold by its definition, and the interval of what it promises; directions of rows."""

import dataclasses
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from ood_core import Outputs, scorers
from ood_core.checks import InputError
from ood_core.outputs import Head
from ood_core.scorers import rows as by_rows

from .cases import outputs


def column(values) -> Outputs:
    """Outputs whose largest logit is the value itself."""
    values = torch.as_tensor(values, dtype=torch.float64)[:, None]
    return Outputs(features=torch.ones_like(values), logits=values)


def calibrated(values, **options):
    return scorers.make("max_logit").fit(column([0.0])).calibrate(column(values), **options)


@given(st.lists(st.integers(0, 9), min_size=1, max_size=40), st.integers(1, 100))
def test_the_threshold_is_the_largest_that_accepts_enough(values, per_cent):
    share = per_cent / 100
    kept = calibrated(values, id_tpr=share).calibration
    enough = [t for t in values if sum(v >= t for v in values) / len(values) >= share]
    assert kept.threshold == max(enough)
    assert kept.rate == sum(v >= kept.threshold for v in values) / len(values)
    assert kept.n == len(values)


def test_a_share_that_rounds_up_accepts_no_row_too_many():
    # 0.07 * 100 is 7.000000000000001 in floating point.
    assert calibrated(range(100), id_tpr=0.07).calibration.threshold == 93


def test_predict_accepts_the_threshold_itself():
    scorer = calibrated(range(20), id_tpr=0.95)
    assert scorer.calibration.threshold == 1
    assert scorer.predict(column([0.9, 1.0, 5.0])).tolist() == [False, True, True]


@pytest.mark.parametrize(("n", "share", "confidence"), [(1, 0.95, 0.95), (20, 0.95, 0.9), (1000, 0.9, 0.95)])
def test_the_interval_inverts_the_binomial(n, share, confidence):
    # The rate behind the k-th largest of n is below r just if at least k of n uniform numbers are below r.
    kept = calibrated(range(n), id_tpr=share, confidence=confidence).calibration
    k = math.ceil(share * n - 1e-9)
    assert binom.sf(k - 1, n, kept.low) == pytest.approx((1 - confidence) / 2)
    assert binom.sf(k - 1, n, kept.high) == pytest.approx((1 + confidence) / 2)
    assert kept.low < kept.high


def test_the_interval_covers_the_true_rate_as_often_as_it_says():
    covered = []
    for _ in range(1500):
        kept = calibrated(torch.rand(60, dtype=torch.float64), id_tpr=0.8).calibration
        covered.append(kept.low <= 1 - kept.threshold <= kept.high)
    assert sum(covered) / 1500 == pytest.approx(0.95, abs=0.02)  # three and a half standard errors


@pytest.mark.parametrize("value", [0, -0.1, 1.01, 95, float("nan"), "0.95", None, [0.9, 0.8]])
def test_refuses_shares_that_are_none(value):
    with pytest.raises(InputError, match="id_tpr is"):
        calibrated([1.0, 2.0], id_tpr=value)
    with pytest.raises(InputError, match="confidence is"):
        calibrated([1.0, 2.0], confidence=value)


@given(st.lists(st.floats(-9, 9), min_size=1, max_size=30), st.floats(0.01, 1), st.floats(0.5, 0.99))
def test_scores_at_hand_get_the_same_threshold(values, id_tpr, confidence):
    wanted = calibrated(values, id_tpr=id_tpr, confidence=confidence).calibration
    for scores in (values, np.array(values), torch.tensor(values, dtype=torch.float64)):
        assert scorers.threshold(scores, id_tpr, confidence) == wanted


def test_the_threshold_of_scores_at_hand_accepts_what_it_says():
    scores = torch.linspace(0, 1, 200, dtype=torch.float32)[torch.randperm(200)]
    found = scorers.threshold(scores)
    assert (scores >= found.threshold).float().mean().item() == pytest.approx(found.rate) == 0.95
    assert (found.id_tpr, found.confidence, found.n) == (0.95, 0.95, 200)


@pytest.mark.parametrize(
    ("scores", "options", "reason"),
    [
        ([], {}, r"scores has shape \(0,\)"),
        ([[1.0]], {}, r"scores has shape \(1, 1\)"),
        ([1.0, math.nan], {}, "scores holds 1 NaN"),
        ([1.0], {"id_tpr": 95}, "id_tpr is 95"),
        ([1.0], {"confidence": 1.0}, r"confidence is 1\.0"),
    ],
)
def test_refuses_scores_that_have_no_threshold(scores, options, reason):
    with pytest.raises(InputError, match=reason):
        scorers.threshold(scores, **options)


@pytest.mark.parametrize("wrapped", [False, True])
def test_fitted_rows_and_wrong_shares_are_refused_before_anything_is_scored(wrapped, monkeypatch):
    train, held = clustered(300, 1), clustered(50, 2)
    scorer = scorers.make("knn", k=5).fit(train)
    scorer, train, held = (scorers.ensemble([scorer]), [train], [held]) if wrapped else (scorer, train, held)
    monkeypatch.setattr(type(scorer), "score", lambda *_: pytest.fail("scored first"))
    with pytest.raises(InputError, match="knn got rows to calibrate on that it was fitted on"):
        scorer.calibrate(train)
    with pytest.raises(InputError, match="id_tpr is 95"):
        scorer.calibrate(held, 95)
    with pytest.raises(InputError, match=r"expected Outputs|expected a list of 1"):
        scorer.calibrate(torch.ones(3, 64))


DIVIDED = [("knn", {"k": 5}), ("ssd", {}), ("knn_nan", {"k": 5}), ("ssd_nan", {}), ("ddu", {"layer": "unit"})]


@pytest.mark.parametrize(("name", "settings"), DIVIDED)
def test_directions_whose_length_overflows_are_refused_and_not_zero(name, settings):
    train = outputs(dtype=torch.float32)
    far = dataclasses.replace(train, features=1e25 * train.features)
    with pytest.raises(InputError, match=r"float32[\s\S]*Scale the features down, or pass them in float64\."):
        scorers.make(name, **settings).fit(far)
    scorer = scorers.make(name, **settings).fit(train)
    if name.endswith("_nan"):  # reads the layer in float64 and divides there
        assert torch.allclose(1e25 * scorer.score(far), scorer.score(train))
    else:
        with pytest.raises(InputError, match=r"expected lengths that fit into torch\.float32"):
            scorer.score(far)
    assert torch.isfinite(scorer.score(dataclasses.replace(far, features=far.features.double()))).all()


def test_confidence_of_one_is_refused_by_its_own_words():
    with pytest.raises(InputError, match="confidence is 1, expected a fraction above 0 and below 1"):
        calibrated([1.0, 2.0], confidence=1)


CLUSTERS = torch.nn.Linear(64, 10, bias=False)
CLUSTERS.weight.data = 3 * torch.randn(10, 64, generator=torch.Generator().manual_seed(0))


def clustered(rows: int, seed: int) -> Outputs:
    generator = torch.Generator().manual_seed(seed)
    centres = CLUSTERS.weight.detach()
    labels = torch.arange(rows) % 10
    features = (centres[labels] + 0.3 * torch.randn(rows, 64, generator=generator)).relu()
    head = Head("linear", centres, torch.zeros(10))
    return Outputs(features, head.logits(features), labels, head, inputs=features)


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("knn", {"k": 10}),
        ("knn_nan", {"k": 10}),
        ("nnguide", {}),
        ("max_logit", {"layer": "raw_logits"}),
        ("cluster", {"layer": "raw_logits"}),
        ("cluster_leaky", {"layer": "raw_logits"}),
        ("vim", {}),
        ("react", {"then": "knn", "then_params": {"k": 10}}),
        ("odin", {"model": CLUSTERS}),
    ],
)
def test_autocast_changes_no_score(name, settings):
    train, test = clustered(3000, 1), clustered(200, 2)
    plain = scorers.make(name, **settings).fit(train)
    scores = plain.score(test)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(plain.score(test), scores)
        inside = scorers.make(name, **settings).fit(train)
        assert torch.equal(inside.score(test), scores)
        accepted = inside.calibrate(test).predict(test)
        one = scorers.ensemble([inside]).score([test])
        assert torch.is_autocast_enabled("cpu")
    assert torch.equal(accepted, plain.calibrate(test).predict(test))
    assert torch.equal(one, scorers.ensemble([plain]).score([test]))


LEARNED = [
    ("knn", {"k": 1}),
    ("ddu", {"layer": "unit"}),
    ("ssd", {}),
    ("nnguide", {}),
    ("react", {}),
    ("scale", {"then": "mahalanobis"}),
    ("kl_matching", {}),
]


@pytest.mark.parametrize(("name", "settings"), LEARNED)
def test_a_rate_is_not_promised_from_fitted_rows(name, settings, tmp_path):
    train, held = clustered(2500, 1), clustered(600, 2)
    scorer = scorers.make(name, **settings).fit(train)
    part = torch.randperm(2500, generator=torch.Generator().manual_seed(3))
    mostly = torch.cat([train.features[:400], held.features[:300]])
    mixed = Outputs(mostly, logits=train.head.logits(mostly), labels=torch.arange(700) % 10)
    scorer.save(tmp_path / "scorer")
    for fitted in (scorer, scorers.load(tmp_path / "scorer")):
        for seen in (train, train[part], train[part[:200]], mixed):
            with pytest.raises(InputError, match=rf"^{name} got rows[\s\S]*fitted on[\s\S]*Pass held-out images"):
                fitted.calibrate(seen)
        assert fitted.calibration is None
        assert fitted.calibrate(held).calibration.n == 600


@pytest.mark.parametrize(
    ("name", "settings"),
    [("msp", {}), ("energy", {}), ("feature_norm", {}), ("nan", {}), ("ash", {}), ("scale", {"then": "nan"})],
)
def test_what_learns_nothing_may_be_calibrated_on_any_row(name, settings):
    train = clustered(300, 1)
    assert scorers.make(name, **settings).fit(train).calibrate(train).calibration.n == 300


def test_an_ensemble_knows_the_rows_of_its_members():
    train, held = clustered(300, 1), clustered(300, 2)
    pair = scorers.ensemble([scorers.make("energy"), scorers.make("ddu")]).fit([train, train])
    with pytest.raises(InputError, match=r"^ddu got rows[\s\S]*Pass held-out images"):
        pair.calibrate([train, train])
    assert pair.calibrate([held, held]).calibration.n == 300


def test_equal_rows_say_nothing_about_images():
    """Rows of a collapsed layer may come again in any image."""
    rows, labels = torch.eye(4).repeat(30, 1) + 1, torch.arange(120) % 2
    train = Outputs(rows, labels=labels)
    assert scorers.make("cluster").fit(train).calibrate(train[:50]).calibration.n == 50


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_marks_are_those_of_the_values(dtype):
    x = torch.randn(5000, 7).to(torch.bfloat16).to(torch.float16).to(dtype)
    found = by_rows.marks(x, 2**20)
    assert len(found.unique()) == len(x.unique(dim=0))
    assert torch.equal(found, by_rows.marks(x.double(), 1))  # whatever the precision and the blocks
    assert not torch.equal(found, by_rows.marks(x.flip(1), 2**20))
    assert torch.equal(by_rows.marks(torch.zeros(1, 3), 99), by_rows.marks(-torch.zeros(1, 3), 99))
