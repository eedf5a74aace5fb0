"""Contrastive training in the one loop: resume to the bit, what it learns, and that plain training did not move."""

import math

import pytest
import torch

from ood_core import geometry, train
from ood_core.features import extract
from ood_core.store import FileCheckpoints
from tests.spine import images, recipe


def contrastive(loss="supcon", **changes):
    settings = {
        "data": {"id_set": "digits", "colour": True},
        "head": {"name": "projection"},
        "loss": {"name": loss},
        "schedule": {"epochs": 3, "warmup_epochs": 1},
    }
    return recipe(**{**settings, **changes})


def same(a, b):
    first, second = a.network.state_dict(), b.network.state_dict()
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize("loss", ["supcon", "nt_xent"])
@pytest.mark.parametrize("at", [1, 2])
def test_resume_equals_no_interruption(tmp_path, loss, at):
    made, kept = contrastive(loss), FileCheckpoints(tmp_path / "c.safetensors")
    whole = train.fit(made, 0, images())
    asked = iter(range(1, 9))
    with pytest.raises(train.InterruptedTraining):
        train.fit(made, 0, images(), checkpoints=kept, stop=lambda: next(asked) == at)
    resumed = train.fit(made, 0, images(), checkpoints=kept)
    assert same(whole, resumed)
    assert [row["loss"] for row in whole.history] == [row["loss"] for row in resumed.history]
    assert all(math.isnan(row["accuracy"]) for row in resumed.history)
    assert not same(whole, train.fit(made, 1, images()))


def test_supcon_separates_classes_and_more_so_than_nt_xent():
    """Global separation of the classes, untrained and after a few epochs of either loss."""
    found = {}
    for loss, epochs in (("supcon", 0), ("supcon", 12), ("nt_xent", 12)):
        made = contrastive(loss, schedule={"epochs": epochs}, network={"name": "resnet8", "width": 4})
        out = extract(train.fit(made, 0, images(90)).network, images(90))
        found[loss, epochs] = float(geometry.global_separation(out.features, out.labels).median())
    mixed = {name: 1 - value for name, value in found.items()}
    assert mixed["supcon", 12] < 0.05
    assert mixed["supcon", 12] < mixed["supcon", 0] / 2
    assert mixed["supcon", 12] < mixed["nt_xent", 12] / 2


def test_bfloat16_trains_with_losses_in_float32():
    found = train.fit(contrastive(precision="bfloat16"), 0, images())
    assert math.isfinite(found.history[-1]["loss"])
    assert found.history[-1]["loss"] < found.history[0]["loss"]


def test_the_second_view_is_used():
    """NT-Xent of two equal views is smaller than that of two different ones from the first step on."""
    plain = contrastive("nt_xent", data={"id_set": "digits"}, schedule={"epochs": 1})
    cropped = contrastive("nt_xent", schedule={"epochs": 1})
    losses = [train.fit(made, 0, images()).history[0]["loss"] for made in (plain, cropped)]
    assert losses[0] < losses[1]
