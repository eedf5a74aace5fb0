"""Neural collapse behind a distance head: prototypes minus their mean as weights, and the network's own decisions."""

import math

import pytest
import torch

from ood_core import collapse
from ood_core.measure import jobs, rows
from ood_core.outputs import unit

from .test_posteriors import seen_by


def rows_at(seen, layer):
    todo = [job for job in jobs(seen.recipe, seen.epoch) if job.measure == "collapse" and job.layer == layer]
    return {row["metric"]: row["value"] for row in rows(seen, todo, "key")}


@pytest.mark.parametrize("head", ["isomax", "isomax_plus", "dismax"])
@pytest.mark.parametrize("layer", ["features", "unit"])
def test_rows(head, layer):
    seen = seen_by(head, measures=["collapse"])
    found = rows_at(seen, layer)
    out = seen.sample
    prototypes = seen.net.head.prototypes.detach().double()
    if head != "isomax":
        prototypes = prototypes / prototypes.norm(dim=1, keepdim=True)
    centred = prototypes - prototypes.mean(0)
    features = out.features.double() if layer == "features" else unit(out.features.double())
    plain = collapse.measure(features, out.labels, centred)
    for name in ("nc1", "nc2_norm_means", "nc2_angle_means", "nc2_norm_weights", "nc2_angle_weights", "nc3"):
        assert found[name] == pytest.approx(plain[name], rel=1e-4), name
    means = torch.stack([features[out.labels == c].mean(0) for c in range(3)])
    nearest = torch.cdist(features, means).argmin(1)
    assert found["nc4"] == pytest.approx(float((out.logits.argmax(1) != nearest).double().mean()))


def test_prototypes_at_one_point_have_no_directions():
    seen = seen_by(measures=["collapse"])
    seen.net.head.prototypes.data.zero_()
    found = rows_at(seen, "features")
    assert set(found) == {"nc1", "nc2_norm_means", "nc2_angle_means"}
    assert all(math.isfinite(value) for value in found.values())


def test_given_decisions_stand_in_for_those_of_the_weights():
    features = torch.tensor([[0.0], [1.0], [4.0], [5.0]], dtype=torch.float64)
    labels, weight = torch.tensor([0, 0, 1, 1]), torch.tensor([[-1.0], [1.0]])
    assert collapse.measure(features, labels, weight)["nc4"] == 1 / 4  # 1 lies nearer to 0.5 and above 0
    assert collapse.measure(features, labels, weight, decided=[0, 0, 1, 1])["nc4"] == 0
    assert collapse.measure(features, labels, decided=[1, 1, 1, 0])["nc4"] == 3 / 4
    with pytest.raises(collapse.InputError, match="decided"):
        collapse.measure(features, labels, weight, decided=[0, 1])
