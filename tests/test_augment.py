"""Crop and flip against a plain loop, and the evaluation path without either."""

import numpy as np
import torch

from ood_core.augment import Augmentation
from ood_core.recipes.schema import Data
from ood_core.rng import generator


def plain(image, row, column, flip, padding):
    padded = np.pad(image, ((padding, padding), (padding, padding), (0, 0)))
    crop = padded[row : row + image.shape[0], column : column + image.shape[1]]
    return crop[:, ::-1] if flip else crop


def test_equals_a_plain_loop():
    images = torch.randint(1, 256, (40, 6, 5, 3), dtype=torch.uint8, generator=generator(0, "test", 0))
    made = Augmentation(images, Data(id_set="x", crop_padding=2, flip=True))
    made.new_epoch(generator(0, "augment", 1))
    index = torch.arange(40).flip(0)[:33]
    out = made.batch(index)
    assert out.dtype == torch.uint8
    for k, i in enumerate(index.tolist()):
        row, column, flip = made.drawn[i].tolist()
        np.testing.assert_array_equal(out[k].numpy(), plain(images[i].numpy(), row, column, flip, 2))
    assert set(made.drawn[:, 0].tolist()) == set(made.drawn[:, 1].tolist()) == {0, 1, 2, 3, 4}
    assert set(made.drawn[:, 2].tolist()) == {0, 1}


def test_none_asked_for_is_the_image_itself():
    images = torch.randint(0, 256, (4, 3, 3, 1), dtype=torch.uint8, generator=generator(0, "test", 0))
    made = Augmentation(images, Data(id_set="x"))
    made.new_epoch(generator(0, "augment", 1))
    assert torch.equal(made.batch(torch.tensor([2, 0])), images[[2, 0]])


def test_an_images_draw_depends_on_seed_and_epoch_not_on_its_batch():
    images = torch.randint(0, 256, (30, 4, 4, 1), dtype=torch.uint8, generator=generator(0, "test", 0))
    made = Augmentation(images, Data(id_set="x", crop_padding=1, flip=True))
    made.new_epoch(generator(5, "augment", 2))
    whole, first = made.batch(torch.arange(30)), made.drawn.clone()
    assert torch.equal(made.batch(torch.tensor([7])), whole[7:8])
    made.new_epoch(generator(5, "augment", 3))
    assert not torch.equal(made.drawn, first)
    made.new_epoch(generator(5, "augment", 2))
    assert torch.equal(made.drawn, first)
