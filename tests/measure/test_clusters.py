"""Separation, purity and probe of a network against their definitions, written in another way."""

import numpy as np
import pytest
import torch
from scipy import optimize, special

from ood_core import geometry, networks
from ood_core.checks import InputError
from ood_core.measure import Job, Seen, Sets, clusters, embedding, jobs, parse_score_name, rows
from tests.spine import images, recipe

MEASURES = ["separation", "purity", "probe", "passes", "collapse", "norms"]


def seen_by(head="projection", epoch=None, **changes):
    loss = {"loss": {"name": "supcon"}} if head == "projection" else {}
    made = recipe(
        network={"name": "resnet8", "width": 4},
        head={"name": head},
        evaluate={"near": ["digits-89"], "measures": MEASURES, "scores": [{"scorer": "ssd"}]},
        **loss,
        **changes,
    )
    train, test = images(90), images(60, seed=1)
    net = networks.network(made, train, 0, torch.device("cpu")).eval()
    sets = Sets(train, None, test, {"digits-89": images(25, seed=2)})
    return Seen(net, sets, made, 0, made.epochs if epoch is None else epoch)


def rows_of(seen):
    return rows(seen, jobs(seen.recipe, seen.epoch), "key")


def value(found, **where):
    wanted = {"protocol": "", "class": "", "ood_set": "", **where}
    (row,) = [row for row in found if all(row[column] == w for column, w in wanted.items())]
    return row["value"]


@pytest.mark.parametrize("head", ["projection", "linear"])
def test_separation_is_the_double_loop_over_test_images(head):
    seen = seen_by(head)
    found = rows_of(seen)
    z = seen.test.features.double().numpy()
    z = z / np.linalg.norm(z, axis=1, keepdims=True)
    labels = seen.test.labels.numpy()
    kinds = {
        "cosine": lambda a, b: 1 - a @ b.T,
        "euclidean": lambda a, b: np.sqrt(((a[:, None] - b[None]) ** 2).sum(axis=2)),
    }
    for name, distance in kinds.items():
        mean = np.array([[distance(z[labels == a], z[labels == b]).mean() for b in range(3)] for a in range(3)])
        own, other = np.diag(mean), np.min(mean + np.diag([np.inf] * 3), axis=1)
        expected = (other - own) / np.maximum(other, own)
        got = [value(found, metric="gs", protocol=name, **{"class": c}) for c in seen.sets.test.classes]
        np.testing.assert_allclose(got, expected, rtol=1e-6)  # features are float32
        assert value(found, metric="gs_median", protocol=name) == pytest.approx(np.median(got))
        assert value(found, metric="gs_min", protocol=name) == pytest.approx(min(got))
        assert value(found, metric="gs_lower_quartile", protocol=name) == pytest.approx(np.percentile(got, 25))
        assert value(found, metric="gs_upper_quartile", protocol=name) == pytest.approx(np.percentile(got, 75))


def test_purity_by_hand():
    """Two clusters in training; test rows fall to the nearer centre: 3 of 4 and 2 of 2 have the cluster's label."""
    train = torch.tensor([[0.0, 0], [0, 1], [10, 0], [10, 1]])
    test = torch.tensor([[1.0, 0], [2, 1], [4, 0], [4.9, 0], [6, 0], [9, 0]])
    labels = torch.tensor([0, 0, 0, 1, 1, 1])
    found = clusters.nearest_cluster(train, test, 2)
    assert found[:4].unique().tolist() != found[4:].unique().tolist()
    assert len(found[:4].unique()) == len(found[4:].unique()) == 1
    assert geometry.cluster_purity(labels, found) == {"mean": pytest.approx(7 / 8), "weighted": pytest.approx(5 / 6)}


def test_purity_is_fitted_on_training_images_and_scored_on_test_images():
    seen = seen_by()
    found = rows_of(seen)
    protocols = {row["protocol"] for row in found if row["metric"] == "nmi"}
    assert protocols == {"half", "one", "two", "five"}
    assert {row["n"] for row in found if row["metric"] == "purity_mean"} == {60}
    seen = seen_by()
    seen.train.features[:] = torch.randn(90, 16)  # other clusters: the same test images get other purities
    assert value(rows_of(seen), metric="nmi", protocol="one") != value(found, metric="nmi", protocol="one")


def test_clusters_are_those_of_unit_features_half_one_two_and_five_for_each_class_but_two_at_least():
    seen = seen_by()
    found = rows_of(seen)
    unit = [out.features / out.features.norm(dim=1, keepdim=True) for out in (seen.train, seen.test)]
    for name, count in (("half", 2), ("one", 3), ("two", 6), ("five", 15)):
        nearest = clusters.nearest_cluster(*unit, count)
        assert value(found, metric="nmi", protocol=name) == pytest.approx(geometry.nmi(seen.test.labels, nearest))


def test_the_probe_minimises_what_it_says():
    """The same labels as a minimum found by another optimiser from the formula, on overlapping classes."""
    rng = np.random.default_rng(0)
    y = np.arange(120) % 3
    x = rng.normal(size=(120, 4)) * [1, 5, 0.1, 1] + y[:, None] * [0.8, 1, 0, 0]
    x = np.hstack([x, np.full((120, 1), 7.0)])  # a coordinate without spread divides nothing by zero
    z = (x - x.mean(axis=0)) / np.where(x.std(axis=0) > 0, x.std(axis=0), 1)

    def cost(flat):
        w, b = flat[:15].reshape(3, 5), flat[15:]
        logits = z @ w.T + b
        return -special.log_softmax(logits, axis=1)[np.arange(120), y].sum() + (w**2).sum() / 2

    best = optimize.minimize(cost, np.zeros(18)).x
    expected = (z @ best[:15].reshape(3, 5).T + best[15:]).argmax(axis=1)
    fitted, again = clusters.linear_probe((x, y), (x * 1.0, y))
    assert (fitted == expected).all()
    assert (again == fitted).all()
    some = x[:, 1] > 2  # rows of another mean are standardised by the training rows all the same
    assert (clusters.linear_probe((x, y), (x[some], y[some]))[1] == fitted[some]).all()
    assert 0.4 < (fitted == y).mean() < 0.9


def test_a_network_without_logits_has_a_probe_and_collapse_of_means_alone():
    found = rows_of(seen_by())
    assert value(found, metric="accuracy", protocol="linear_probe", split="train") == 1
    assert value(found, metric="accuracy", protocol="linear_probe", split="test") > 0.9
    collapse = {row["metric"] for row in found if row["metric"].startswith("nc")}
    assert collapse == {"nc1", "nc2_norm_means", "nc2_angle_means"}
    assert {row["metric"] for row in found if row["ood_set"]} >= {"auroc", "fpr_at_tpr"}
    assert "oscr" not in {row["metric"] for row in found}  # it asks which rows were classified right


def test_accuracy_of_a_network_without_logits_is_refused():
    seen = seen_by()
    seen.recipe = seen.recipe.model_copy(
        update={"evaluate": seen.recipe.evaluate.model_copy(update={"measures": ("accuracy",)})}
    )
    with pytest.raises(InputError, match="Name `probe` in its place"):
        rows_of(seen)


def test_passes_count_every_image_of_every_epoch_and_view():
    """90 images, 4 epochs; the ten that do not fill a batch of 16 count as well. SupCon sees two views of each."""
    assert value(rows_of(seen_by()), metric="image_passes") == 4 * 90 * 2
    assert value(rows_of(seen_by("linear")), metric="image_passes") == 4 * 90


def test_before_the_last_epoch_separation_alone_is_followed():
    found = rows_of(seen_by(epoch=2))
    assert "gs_median" in {row["metric"] for row in found}
    assert not {"gs", "purity_mean", "image_passes", "accuracy"} & {row["metric"] for row in found}


def test_images_without_labels_are_refused():
    seen = seen_by()
    object.__setattr__(seen.test, "labels", None)
    with pytest.raises(InputError, match="without true labels"):
        rows_of(seen)


def test_the_plane_is_that_of_the_two_largest_axes_by_singular_values():
    seen = seen_by()
    todo = [Job("embedding", seen.epoch, ())]
    (found,) = embedding._rows(seen, todo[0])
    z = seen.test.layer("unit").double().numpy()
    centred = z - z.mean(axis=0)
    _, sizes, axes = np.linalg.svd(centred, full_matrices=False)
    assert found["value"] == pytest.approx((sizes[:2] ** 2).sum() / (sizes**2).sum())
    for key, axis in zip("xy", axes, strict=False):
        stored = seen.scores[embedding.stored(key, "")]
        turned = axis * np.sign(axis[np.abs(axis).argmax()])
        np.testing.assert_allclose(stored, centred @ turned, atol=1e-9)
        other = seen.ood("digits-89").layer("unit").double().numpy() - z.mean(axis=0)
        np.testing.assert_allclose(seen.scores[embedding.stored(key, "digits-89")], other @ turned, atol=1e-9)
    assert seen.scores[embedding.stored("label", "")].tolist() == seen.test.labels.tolist()
    assert parse_score_name(embedding.stored("x", "photos"))[3] == ""  # `verify` takes it for no OOD score
