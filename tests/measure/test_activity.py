"""Units that are on, norms against both folds, and depth: numbers by hand on outputs of a known truth."""

import math

import pytest
import torch
from scipy import stats as scipy_stats

from ood_core import metrics, networks
from ood_core.measure import Seen, Sets, activity, jobs, rows
from tests.spine import images, recipe

MEASURES = ["folds", "activity", "depth"]


def seen_by(network=None, epoch=None, seed=0, **evaluate):
    made = recipe(
        network=network or {"name": "resnet14", "width": 2},
        head={"name": "linear"},
        evaluate={"near": ["digits-89"], "far": ["noise"], "measures": MEASURES, "scores": [], **evaluate},
    )
    train, test = images(40), images(30, seed=1)
    ood = {"digits-89": images(25, seed=2), "noise": images(20, classes=2, seed=3)}
    net = networks.network(made, train, seed, torch.device("cpu")).eval()
    return Seen(net, Sets(train, None, test, ood), made, seed, made.epochs if epoch is None else epoch)


def rows_of(seen):
    return rows(seen, jobs(seen.recipe, seen.epoch), "key")


def value(found, **where):
    wanted = {"layer": "features", "ood_set": "", "protocol": "", **where}
    (row,) = [row for row in found if all(row[column] == w for column, w in wanted.items())]
    return row["value"]


def test_activity_by_hand():
    a = torch.tensor([[1.0, 0.0, 2.0, 0.0], [0.0, 0.0, 0.0, 0.0], [1.0, -1.0, 1.0, 3.0]])
    assert activity.activity(a) == {
        "active_share": pytest.approx((2 + 0 + 3) / 12),
        "inverse_count": pytest.approx((1 / 2 + 1 / 3) / 2),  # the row without any has none, and is counted apart
        "zero_rows": 1.0,
    }
    assert activity.activity(torch.zeros(2, 3)) == {"active_share": 0.0, "inverse_count": 0.0, "zero_rows": 2.0}


def test_both_folds_against_the_same_ood_images():
    seen = seen_by()
    found = rows_of(seen)
    for name in ("digits-89", "noise"):
        norm = {key: out.features.abs().sum(dim=1) for key, out in (("train", seen.train), ("test", seen.test))}
        other = seen.ood(name).features.abs().sum(dim=1)
        expected = {split: metrics.auroc(values, other) for split, values in norm.items()}
        for split in ("train", "test"):
            assert value(found, metric="norm_auroc", split=split, ood_set=name) == pytest.approx(expected[split])
        gap = value(found, metric="norm_auroc_gap", ood_set=name)
        assert gap == pytest.approx(expected["train"] - expected["test"])
    assert gap != 0


def test_the_fold_of_training_is_all_of_its_images_and_activity_reads_the_first_ones():
    seen = seen_by(collapse_images=10)
    found = rows_of(seen)
    (fold,) = [r for r in found if (r["metric"], r["split"], r["ood_set"]) == ("norm_auroc", "train", "noise")]
    (share,) = [r for r in found if (r["metric"], r["split"], r["protocol"]) == ("active_share", "train", "")]
    assert fold["n"] == 40 + 20
    assert share["n"] == 10


def test_every_set_says_how_many_units_are_on_and_id_how_surely():
    seen = seen_by()
    with torch.no_grad():
        seen.net.backbone.stages[2][1].bn2.bias -= 0.5  # about a third of the units are off
    found = rows_of(seen)
    sets = [("", "train", seen.sample), ("", "test", seen.test), ("noise", "test", seen.ood("noise"))]
    for name, split, out in sets:
        share = float((out.features > 0).double().mean())
        assert value(found, metric="active_share", ood_set=name, split=split) == pytest.approx(share)
        assert 0.5 < share < 0.8
        assert value(found, metric="zero_rows", ood_set=name, split=split) == 0
        if not name:
            q = (out.features > 0).double().mean(dim=0)
            by_hand = sum(-sum(p * math.log(p) for p in (x, 1 - x) if p) for x in q.tolist()) / len(q)
            assert value(found, metric="activation_entropy", split=split) == pytest.approx(by_hand)
            assert value(found, metric="log2_features", split=split) == 3


def test_layers_are_blocks_in_order_and_the_last_is_the_feature():
    seen = seen_by()
    found = activity.inner(seen.net, seen.sets.test)
    assert list(found) == [f"backbone.stages.{i}.{j}" for i in range(3) for j in range(2)]
    assert [a.shape[1] for a in found.values()] == [2, 2, 4, 4, 8, 8]
    torch.testing.assert_close(list(found.values())[-1], seen.test.features)
    mlp = seen_by({"name": "mlp5", "width": 6})
    layers = activity.inner(mlp.net, mlp.sets.test)
    assert list(layers) == [f"hidden.{i}" for i in range(1, 5)]
    torch.testing.assert_close(layers["hidden.4"], mlp.test.features)
    assert layers["hidden.1"].shape == (30, 6)


def test_depth_by_layer_and_over_layers():
    seen = seen_by()
    with torch.no_grad():  # other weights than at the start, or nothing would have grown
        for parameter in seen.net.backbone.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)), alpha=0.3)
    found = rows_of(seen)
    layers = activity.inner(seen.net, seen.sets.test)
    others = activity.inner(seen.net, seen.sets.ood["noise"])
    aurocs = []
    for layer, a in layers.items():
        b = others[layer]
        where = {"layer": layer, "protocol": "depth", "ood_set": "noise"}
        aurocs.append(metrics.auroc(a.abs().sum(dim=1), b.abs().sum(dim=1)))
        assert value(found, metric="norm_auroc", **where) == pytest.approx(aurocs[-1])
        on, off = ((x > 0).sum(dim=1) for x in (a, b))
        assert value(found, metric="inverse_count_auroc", **where) == pytest.approx(metrics.auroc(-on, -off))
        mean = [x.sum(dim=1) / (x > 0).sum(dim=1).clamp(min=1) for x in (a, b)]
        assert value(found, metric="nan_auroc", **where) == pytest.approx(metrics.auroc(*mean), abs=1e-3)
    over = {"layer": "", "protocol": "depth", "ood_set": "noise"}
    expected = scipy_stats.spearmanr(range(6), aurocs).statistic
    assert value(found, metric="norm_auroc_with_depth", **over) == pytest.approx(expected)
    assert value(found, metric="norm_auroc_last_minus_first", **over) == pytest.approx(aurocs[-1] - aurocs[0])


def test_growth_is_measured_from_the_untrained_network():
    seen = seen_by(seed=1)
    found = rows_of(seen)  # untrained, called the last epoch: nothing has grown
    growth = [row["value"] for row in found if row["metric"] == "entropy_growth"]
    assert growth == [0.0] * 6
    assert value(found, metric="entropy_growth_with_depth", layer="", protocol="depth") == 0
    with torch.no_grad():
        seen.net.backbone.stages[2][1].bn2.bias -= 100  # the last block's units go off
    moved = rows_of(Seen(seen.net, seen.sets, seen.recipe, 1, seen.epoch))
    last = {"layer": "backbone.stages.2.1", "protocol": "depth"}
    start = value(found, metric="activation_entropy", **last)
    after = value(moved, metric="activation_entropy", **last)
    assert value(moved, metric="entropy_growth", **last) == pytest.approx(after - start)
    whole = {"layer": "", "protocol": "depth"}
    assert value(moved, metric="entropy_growth_last_minus_first", **whole) == pytest.approx(after - start)


def test_depth_is_measured_first_and_last():
    epochs = {epoch for epoch in (0, 1, 2, 4) for job in jobs(seen_by().recipe, epoch) if job.measure == "depth"}
    assert epochs == {0, 4}
