"""Neighbours beside faiss and scikit-learn, covariances and densities beside scikit-learn and torch.distributions."""

import numpy as np
import pytest
import torch
from sklearn.covariance import EmpiricalCovariance
from sklearn.metrics import average_precision_score, roc_auc_score
from sklearn.neighbors import NearestNeighbors

from ood_core import Outputs, metrics, scorers
from ood_core.outputs import unit
from tests.scorers.cases import outputs


def test_neighbours_are_those_of_faiss(faiss):
    bank, rows = torch.randn(2000, 48).relu(), torch.randn(100, 48).relu()
    index = faiss.IndexFlatL2(48)
    index.add(unit(bank).numpy())
    squared, _ = index.search(unit(rows).numpy(), 20)  # squared distances, in float32
    got = scorers.make("knn", k=20).fit(Outputs(features=bank)).score(Outputs(features=rows))
    np.testing.assert_allclose(got.square(), squared[:, -1], rtol=1e-4)


def test_neighbours_are_those_of_scikit_learn():
    bank, rows = torch.randn(2000, 48), torch.randn(100, 48)
    wanted, _ = NearestNeighbors(n_neighbors=20, algorithm="brute").fit(bank.double().numpy()).kneighbors(rows.double())
    got = scorers.make("knn", k=20, layer="features").fit(Outputs(features=bank)).score(Outputs(features=rows))
    np.testing.assert_allclose(got, -wanted[:, -1], rtol=1e-9)


def test_mahalanobis_is_that_of_the_covariance_within_classes():
    train, new = outputs(), outputs((7, 9, 8, 6), seed=1)
    means = torch.stack([train.features[train.labels == c].mean(dim=0) for c in range(4)])
    within = EmpiricalCovariance(assume_centered=True).fit((train.features - means[train.labels]).numpy())
    wanted = np.min([within.mahalanobis((new.features - mean).numpy()) for mean in means], axis=0)
    got = scorers.make("mahalanobis", ridge=0.0).fit(train).score(new)
    np.testing.assert_allclose(got, -wanted, rtol=1e-9)


def test_ddu_is_the_density_of_torch_distributions():
    train, new = outputs(), outputs((7, 9, 8, 6), seed=1)
    parts = [train.features[train.labels == c] for c in range(4)]
    gaussians = torch.distributions.MultivariateNormal(
        torch.stack([part.mean(dim=0) for part in parts]), torch.stack([part.T.cov() for part in parts])
    )
    wanted = gaussians.log_prob(new.features[:, None]).logsumexp(dim=1)
    got = scorers.make("ddu", jitter="ladder").fit(train).score(new)
    np.testing.assert_allclose(got, wanted, rtol=1e-9)


def test_metrics_are_those_of_scikit_learn():
    rng = np.random.default_rng(0)
    inside, outside = rng.normal(1, 1, 3000).round(1), rng.normal(0, 1, 2000).round(1)  # ties
    both, truth = np.concatenate([inside, outside]), np.repeat([1, 0], [3000, 2000])
    assert metrics.auroc(inside, outside) == pytest.approx(roc_auc_score(truth, both), abs=1e-12)
    assert metrics.aupr_in(inside, outside) == pytest.approx(average_precision_score(truth, both), abs=1e-12)
    assert metrics.aupr_out(inside, outside) == pytest.approx(average_precision_score(1 - truth, -both), abs=1e-12)
