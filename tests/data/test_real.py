"""Real image sets: what the registry says of them, what everybody knows of them, and that a network learns."""

import numpy as np
import pytest
import torch

from ood_core import data, metrics, reference, train
from ood_core.features import extract
from ood_core.recipes import load
from tests.data.real import real
from tests.spine import recipe

pytestmark = pytest.mark.data
ALL = reference.recorded()


@pytest.mark.parametrize(("name", "split"), ALL, ids=["-".join(place) for place in ALL])
def test_real_sets_are_the_registered_ones(name, split):
    found, entry = real(name, split), data.entry(name)
    assert found.digest == entry["splits"][split]["digest"]
    assert len(found) == entry["splits"][split]["count"]
    assert list(found.images.shape[1:]) == entry["shape"]
    assert list(found.ids) == sorted(found.ids)
    assert entry.get("classes", list(found.classes)) == list(found.classes)


BALANCED = {
    ("cifar10", "train"): (10, 5000),
    ("cifar10", "test"): (10, 1000),
    ("cifar100", "test"): (100, 100),
    ("tiny-imagenet-32", "val"): (200, 25),
    ("textures-32", "dtd10"): (10, 120),
    ("fashion-mnist", "test"): (10, 1000),
}


@pytest.mark.parametrize(("place", "counts"), BALANCED.items(), ids=lambda value: "-".join(map(str, value)))
def test_every_class_has_its_images(place, counts):
    found = real(*place)
    classes, each = counts
    assert np.bincount(found.labels).tolist() == [each] * classes == [each] * len(found.classes)


@pytest.mark.parametrize("name", ["cifar10", "cifar100"])
def test_classes_are_in_the_official_order_which_is_the_alphabet(name):
    classes = real(name, "test").classes
    assert list(classes) == sorted(classes)
    assert classes[0] == {"cifar10": "airplane", "cifar100": "apple"}[name]


def test_channel_means_and_deviations_are_those_that_everybody_writes():
    images, values = real("cifar10", "train").images, np.arange(256) / 255
    for channel, (mean, deviation) in enumerate([(0.4914, 0.2470), (0.4822, 0.2435), (0.4465, 0.2616)]):
        shares = np.bincount(images[..., channel].ravel(), minlength=256) / images[..., channel].size
        assert round(shares @ values, 4) == mean
        assert round(np.sqrt(shares @ (values - mean) ** 2), 4) == deviation


def test_the_first_published_training_image_is_the_frog():
    """Corner pixels of the first image of the published order, as printed in many places."""
    found = real("cifar10", "train")
    top = (found.images[:, 0, :3] == [[59, 62, 63], [43, 46, 45], [50, 48, 43]]).all(axis=(1, 2))
    bottom = (found.images[:, -1, -3:] == [[216, 184, 140], [151, 118, 84], [123, 92, 72]]).all(axis=(1, 2))
    (place,) = np.flatnonzero(top)
    assert bottom[place]
    assert found.classes[found.labels[place]] == "frog"
    assert found.ids[place] == "21fab10b3598b22e232015f2305c08ad"


def test_the_split_of_cifar10_is_constant_and_shares_no_image():
    whole = real("cifar10", "train")
    part, validation = data.train_part(whole)
    assert (len(part), len(validation)) == (45_000, 5_000)
    assert not set(part.ids) & set(validation.ids)
    assert np.array_equal(validation.images, whole.images[45_000:])
    assert np.bincount(validation.labels).min() > 400, "no class is rare in it"


def test_every_set_of_the_small_recipes_fits_its_network():
    asked = load("l2-norm", "small")["ce"]
    shape = real(asked.data.id_set, "train").images.shape[1:]
    for name in (*asked.evaluate.near, *asked.evaluate.far, *asked.evaluate.validation):
        found = data.fitted(real(*data.parse(name)), shape)
        assert found.images.shape[1:] == shape


def test_grey_digits_lie_in_the_middle_of_black_in_all_channels():
    digits = real("mnist", "test3k")
    seen = data.fitted(digits, (32, 32, 3)).images
    assert (seen[:, 2:-2, 2:-2] == digits.images).all()
    frame = np.ones((32, 32), dtype=bool)
    frame[2:-2, 2:-2] = False
    assert not seen[:, frame].any()


def test_a_few_steps_of_training_lower_the_loss_and_beat_guessing():
    whole, test = real("cifar10", "train"), real("cifar10", "test")
    few = whole.part(slice(2000), "few")
    asked = recipe(
        data={"id_set": "cifar10", "crop_padding": 4, "flip": True},
        head={"name": "linear"},
        network={"name": "resnet8", "width": 4},
        optimiser={"batch": 25, "lr": 0.05},
        schedule={"epochs": 3, "warmup_epochs": 0.5},
    )
    trained = train.fit(asked, 0, few)
    losses = [row["loss"] for row in trained.history]
    assert losses[0] < 2.4
    assert losses[-1] < 0.92 * losses[0]
    outputs = extract(trained.network, test.part(slice(1000), "few"))
    right = metrics.accuracy(outputs.logits, torch.from_numpy(test.labels[:1000]))
    assert right > 0.25


@pytest.mark.parametrize("treatment", ["resized", "jpeg", "grey", "framed"])
def test_controls_are_the_test_images_after_a_treatment(treatment):
    made, test = real(f"cifar10-{treatment}", "test"), real("cifar10", "test")
    assert (len(made), made.labels) == (len(test), None)
    grey = (test.images == test.images[..., :1]).all(axis=(1, 2, 3))
    unchanged = set(test.ids[grey]) if treatment == "grey" else set()
    assert set(made.ids) & set(test.ids) == unchanged
    assert len(unchanged) in (0, 106)
    assert abs(float(made.images[:, 2:30, 2:30].mean()) - float(test.images.mean())) < 2, "the same images"
