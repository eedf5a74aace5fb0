"""Entropy of posteriors and calibration by one temperature, on logits of a known truth and on a network's rows."""

import json
import math

import numpy as np
import pytest
import torch

from ood_core import networks
from ood_core.measure import Seen, Sets, jobs, posteriors, rows
from tests.spine import images, recipe


def seen_by(head="isomax", scale=10.0, measures=("posterior", "calibration"), **changes):
    made = recipe(
        head={"name": head},
        loss={"scale": scale},
        evaluate={"near": ["digits-89"], "measures": list(measures)},
        **changes,
    )
    train, validation, test = images(48), images(24, seed=5), images(30, seed=1)
    net = networks.network(made, train, 0, torch.device("cpu")).eval()
    if head == "isomax":
        net.head.prototypes.data.normal_(generator=torch.Generator().manual_seed(0))
    return Seen(net, Sets(train, validation, test, {"digits-89": images(25, seed=2)}), made, 0, made.epochs)


def rows_of(seen):
    return rows(seen, jobs(seen.recipe, seen.epoch), "key")


def drawn(temperature, rows_=4000, classes=4, seed=0):
    """Logits, and labels drawn from softmax(logits / temperature)."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 2, (rows_, classes))
    p = np.exp(logits / temperature)
    p /= p.sum(1, keepdims=True)
    labels = np.array([rng.choice(classes, p=row) for row in p])
    return torch.tensor(logits), torch.tensor(labels)


def test_entropies_with_and_without_the_scale():
    seen = seen_by()
    found = [row for row in rows_of(seen) if row["metric"] == "posterior_entropy"]
    assert len(found) == 4
    for row in found:
        out = seen.ood(row["ood_set"]) if row["ood_set"] else seen.test
        factor = 10 if row["params"] else 1
        p = np.exp(factor * out.logits.double().numpy())
        p /= p.sum(1, keepdims=True)
        assert row["value"] == pytest.approx(float((-(p * np.log(p)).sum(1)).mean() / math.log(3)), rel=1e-10)
        assert (row["ood_group"], row["n"]) == (("near", 25) if row["ood_set"] else ("", 30))
    assert {row["params"] for row in found} == {"", '{"temperature":0.1}'}
    flat = {row["ood_set"]: row["value"] for row in found if not row["params"]}
    sharp = {row["ood_set"]: row["value"] for row in found if row["params"]}
    assert all(0 <= sharp[name] < flat[name] <= 1 for name in flat)


def test_a_loss_without_a_scale_has_one_entropy():
    found = [row for row in rows_of(seen_by("linear", 1.0)) if row["metric"] == "posterior_entropy"]
    assert [row["params"] for row in found] == ["", ""]


def test_entropies_before_training_is_over_are_not_asked_for():
    seen = seen_by()
    assert not [job for job in jobs(seen.recipe, 0) if job.measure in ("posterior", "calibration", "latency")]


@pytest.mark.parametrize("truth", [0.1, 1.0, 7.0])
def test_both_fits_find_the_temperature_that_labels_were_drawn_at(truth):
    logits, labels = drawn(truth)
    assert posteriors.by_nll(logits, labels) == pytest.approx(truth, rel=0.1)
    fitted = posteriors.by_ece(logits, labels)
    assert fitted == pytest.approx(truth, rel=0.25)
    errors = [posteriors.ece_at(t, logits, labels) for t in np.geomspace(0.001, 100, 41)]
    assert posteriors.ece_at(fitted, logits, labels) <= min(errors)


def test_the_fit_by_likelihood_is_a_minimum():
    logits, labels = drawn(0.5, 500)
    best = posteriors.by_nll(logits, labels)
    losses = [posteriors.nll_at(best * f, logits, labels) for f in (0.99, 1.0, 1.01)]
    assert losses[1] < min(losses[0], losses[2])


def test_errors_at_a_temperature_by_hand():
    """Two rows, odds of 3 to 1; one is right. At T = 1/2 the odds are 9 to 1."""
    logits, labels = torch.tensor([[math.log(3), 0.0]] * 2, dtype=torch.float64), torch.tensor([0, 1])
    assert posteriors.ece_at(1.0, logits, labels) == pytest.approx(0.25)
    assert posteriors.ece_at(0.5, logits, labels) == pytest.approx(0.4)
    assert posteriors.nll_at(0.5, logits, labels) == pytest.approx(-(math.log(0.9) + math.log(0.1)) / 2)


def test_a_flat_error_takes_the_temperature_of_the_likelihood():
    """Even odds at every T, and half of the rows right: the error is 0 wherever one looks."""
    logits, labels = torch.zeros(10, 2, dtype=torch.float64), torch.tensor([0, 1] * 5)
    assert posteriors.by_ece(logits, labels) == pytest.approx(posteriors.by_nll(logits, labels))


def test_the_temperature_of_the_likelihood_is_tried_between_those_of_the_grid():
    """Three of four rows are right, at odds of 3^1.01 to 1: confidence is 3/4 at T = 1.01, which the grid lacks."""
    logits = torch.tensor([[1.01 * math.log(3), 0.0]] * 4, dtype=torch.float64)
    assert posteriors.by_ece(logits, torch.tensor([0, 0, 0, 1])) == pytest.approx(1.01, abs=1e-4)


def test_the_temperature_is_fitted_on_validation_images_and_the_error_taken_on_test_images():
    seen = seen_by()
    found = {(row["params"], row["metric"]): row for row in rows_of(seen) if row["metric"] in ("ece", "temperature")}
    assert set(found) == {
        ("", "ece"),
        *((f'{{"fitted_by":"{how}"}}', metric) for how in ("ece", "nll") for metric in ("ece", "temperature")),
    }
    held_out = seen.kept["validation"]
    assert len(held_out) == 24
    logits, labels = seen.test.logits.double(), seen.test.labels
    assert found["", "ece"]["value"] == posteriors.ece_at(1.0, logits, labels)
    for how in ("ece", "nll"):
        params = json.dumps({"fitted_by": how}, separators=(",", ":"))
        temperature = posteriors.FITS[how](held_out.logits.double(), held_out.labels)
        assert found[params, "temperature"]["value"] == temperature
        assert found[params, "temperature"]["n"] == 24
        assert found[params, "ece"]["value"] == posteriors.ece_at(temperature, logits, labels)
        assert found[params, "ece"]["n"] == 30


def test_without_validation_images_nothing_is_calibrated():
    made = recipe(data={"id_set": "digits", "train_on": "all"}, evaluate={"measures": ["calibration"]})
    assert [job for job in jobs(made, made.epochs) if job.measure == "calibration"] == []
