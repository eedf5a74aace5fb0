"""Scores beside pytorch-ood's on the same features: equal up to sign and a factor that is stated, or why not.

pytorch-ood's scores are larger for OOD, so its negation stands beside ours. Needs the extra `peers`, a part of `test`.
"""

import dataclasses

import numpy as np
import pytest
import torch
from torch import nn

from ood_core import scorers
from tests.scorers.cases import CLASSES, DIM, outputs

TRAIN, NEW = outputs(dtype=torch.float32), outputs((7, 9, 8, 6), dtype=torch.float32, seed=1)
N = len(TRAIN)


@pytest.fixture(scope="module")
def head():
    linear = nn.Linear(DIM, CLASSES)
    with torch.no_grad():
        linear.weight.copy_(TRAIN.head.weight)
        linear.bias.copy_(TRAIN.head.bias)
    return linear


def ours(name, train=TRAIN, new=NEW, **parameters):
    return scorers.make(name, **parameters).fit(train).score(new).numpy()


def equal(got, theirs, rtol=1e-4):
    theirs = -theirs.detach().double().numpy()
    np.testing.assert_allclose(got, theirs, rtol=rtol, atol=1e-5 * np.abs(theirs).max())


@pytest.mark.parametrize(
    ("name", "called", "parameters", "theirs"),
    [
        ("msp", "MaxSoftmax", {}, {}),
        ("max_logit", "MaxLogit", {}, {}),
        ("energy", "EnergyBased", {}, {}),
        ("energy", "EnergyBased", {"temperature": 2.5}, {"t": 2.5}),
        ("entropy", "Entropy", {}, {}),
    ],
)
def test_logit_scores_are_equal(peer, name, called, parameters, theirs):
    equal(ours(name, **parameters), getattr(peer, called)(None, **theirs).predict_logits(NEW.logits), 1e-3)


@pytest.mark.parametrize(("gamma", "m", "terms"), [(0.1, 100, CLASSES), (0.5, 2, 2)])
def test_gen_sums_where_it_averages(peer, gamma, m, terms):
    # It clips probabilities near 0 and 1 besides, so the logits here are small ones.
    small = [dataclasses.replace(rows, logits=0.1 * rows.logits, head=None) for rows in (TRAIN, NEW)]
    theirs = peer.GEN(None, gamma=gamma, M=min(m, CLASSES)).predict_logits(small[1].logits)
    equal(ours("gen", *small, gamma=gamma, M=m) / terms, theirs)


def test_kl_matching_is_equal_where_fitted_by_prediction(peer):
    detector = peer.KLMatching(None).fit_logits(TRAIN.logits)
    equal(ours("kl_matching"), detector.predict_logits(NEW.logits), 1e-3)


@pytest.mark.parametrize("layer", ["unit", "features"])
def test_neighbours_are_equal(peer, layer):
    # Not squared, as in the paper; faiss, which other code uses, gives squares (test_search_and_covariance.py).
    detector = peer.KNN(None, k=5, normalize=layer == "unit").fit_features(TRAIN.features, TRAIN.labels)
    equal(ours("knn", k=5, layer=layer), detector.predict_features(NEW.features))


def test_mahalanobis_is_its_score_over_two_n(peer):
    # Its covariance lacks the division by N, and its score the factor one half of the log-density: 2 N between them.
    detector = peer.Mahalanobis(None).fit_features(TRAIN.features, TRAIN.labels)
    got = ours("mahalanobis", ridge=1e-9) / (2 * N)
    equal(got, detector.predict_features(NEW.features))


def test_relative_mahalanobis_is_its_score_over_n(peer):
    # Both covariances lack the division by N; there is no factor one half here.
    detector = peer.RMD(None).fit_features(TRAIN.features, TRAIN.labels)
    equal(ours("relative_mahalanobis", ridge=1e-9) / N, detector.predict_features(NEW.features), 1e-3)


def test_vim_is_equal(peer, head):
    detector = peer.ViM(None, 3, head.weight, head.bias).fit_features(TRAIN.features, TRAIN.labels)
    equal(ours("vim", dim=3), detector.predict_features(NEW.features), 1e-3)
    assert ours("vim").tolist() == ours("vim", dim=3).tolist(), "half of the columns is the default here"


def test_nci_is_equal_with_the_l1_norm(peer, head):
    detector = peer.NCI(None, head, alpha=0.1).fit_features(TRAIN.features)
    equal(ours("nci", alpha=0.1), detector.predict_features(NEW.features))


def test_fdbd_is_equal(peer, head):
    # The mean over boundaries, as in the paper; code that sums them gives C - 1 times this.
    detector = peer.fDBD(None, head).fit_features(TRAIN.features)
    equal(ours("fdbd"), detector.predict_features(NEW.features))


def test_she_is_equal(peer, head):
    detector = peer.SHE(None, head).fit_features(TRAIN.features, TRAIN.labels)
    equal(ours("she"), detector.predict_features(NEW.features))


def test_nnguide_is_equal(peer, head):
    detector = peer.NNGuide(None, head, k=10).fit_features(TRAIN.features, TRAIN.labels)
    equal(ours("nnguide"), detector.predict_features(NEW.features))


def maps(rows):
    return rows.features.relu()[:, :, None, None]


def rectified(rows, head):
    features = rows.features.relu()
    return type(rows)(features, head(features).detach(), rows.labels, (head.weight.detach(), head.bias.detach()))


@pytest.mark.parametrize(
    ("name", "called", "parameters", "theirs"),
    [
        ("ash", "ASH", {"variant": "s", "quantile": 0.5}, {"variant": "ash-s", "percentile": 0.5}),
        ("ash", "ASH", {"variant": "p", "quantile": 0.5}, {"variant": "ash-p", "percentile": 0.5}),
        ("ash", "ASH", {"variant": "b", "quantile": 0.5}, {"variant": "ash-b", "percentile": 0.5}),
        ("scale", "SCALE", {"quantile": 0.5}, {"percentile": 0.5}),
    ],
)
def test_shapes_in_front_of_the_energy_are_equal(peer, head, name, called, parameters, theirs):
    # On maps of one pixel, where pooling before or after the shape is the same.
    detector = getattr(peer, called)(None, lambda z: head(z.flatten(1)), **theirs)
    kept = (maps(NEW).flatten(1) > 0).sum(dim=1) >= 3  # rows with fewer active units than the shape keeps
    got = ours(name, rectified(TRAIN, head), rectified(NEW, head)[kept], **parameters)
    equal(got, detector.predict_feature_maps(maps(NEW)[kept]), 1e-3)


def test_react_clips_at_the_same_quantile(peer, head):
    """Equal on pooled features. On maps it is another score: there it clips each pixel, and pools afterwards."""
    detector = peer.ReAct(None, lambda z: head(z.flatten(1)), percentile=0.8).fit_feature_maps(
        maps(TRAIN), TRAIN.labels
    )
    scorer = scorers.make("react", quantile=0.8).fit(rectified(TRAIN, head))
    assert scorer.summary()["clip"] == pytest.approx(detector.threshold, rel=1e-6)
    equal(scorer.score(rectified(NEW, head)).numpy(), detector.predict_feature_maps(maps(NEW)), 1e-3)

    wide = torch.rand(30, DIM, 2, 2)  # pooled last
    pooled = wide.mean(dim=(2, 3))
    on_maps = peer.ReAct(None, lambda z: head(z.mean(dim=(2, 3))), threshold=0.5)
    on_pooled = peer.ReAct(None, lambda z: head(z.flatten(1)), threshold=0.5)
    apart = on_maps.predict_feature_maps(wide) - on_pooled.predict_feature_maps(pooled[:, :, None, None])
    assert apart.abs().max() > 0.05


def test_odin_takes_the_same_step(peer):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(12, 16), nn.Tanh(), nn.Linear(16, 4)).eval()
    images = torch.rand(20, 3, 2, 2)
    rows = type(NEW)(features=images.flatten(1), inputs=images)
    detector = peer.ODIN(model, eps=0.02, temperature=10.0)
    equal(ours("odin", rows, rows, model=model, epsilon=0.02, temperature=10.0), detector.predict(images))
