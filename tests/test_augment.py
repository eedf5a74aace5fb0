"""Crop and flip against a plain loop; contrastive augmentation against other libraries' steps, image by image."""

import colorsys

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from ood_core.augment import ORDERS, Augmentation, coloured
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
        row, column, flip = made.drawn[0][i].tolist()
        np.testing.assert_array_equal(out[k].numpy(), plain(images[i].numpy(), row, column, flip, 2))
    assert set(made.drawn[0][:, 0].tolist()) == set(made.drawn[0][:, 1].tolist()) == {0, 1, 2, 3, 4}
    assert set(made.drawn[0][:, 2].tolist()) == {0, 1}


def test_none_asked_for_is_the_image_itself():
    images = torch.randint(0, 256, (4, 3, 3, 1), dtype=torch.uint8, generator=generator(0, "test", 0))
    made = Augmentation(images, Data(id_set="x"))
    made.new_epoch(generator(0, "augment", 1))
    assert torch.equal(made.batch(torch.tensor([2, 0])), images[[2, 0]])


def test_an_images_draw_depends_on_seed_and_epoch_not_on_its_batch():
    images = torch.randint(0, 256, (30, 4, 4, 1), dtype=torch.uint8, generator=generator(0, "test", 0))
    made = Augmentation(images, Data(id_set="x", crop_padding=1, flip=True))
    made.new_epoch(generator(5, "augment", 2))
    whole, first = made.batch(torch.arange(30)), made.drawn[0].clone()
    assert torch.equal(made.batch(torch.tensor([7])), whole[7:8])
    made.new_epoch(generator(5, "augment", 3))
    assert not torch.equal(made.drawn[0], first)
    made.new_epoch(generator(5, "augment", 2))
    assert torch.equal(made.drawn[0], first)


def colour_set(count=64, size=9, channels=3):
    return torch.randint(
        0, 256, (count, size, size + 2, channels), dtype=torch.uint8, generator=generator(0, "test", 1)
    )


def contrastive(images, seed=0, epoch=1, views=2, **changes):
    made = Augmentation(images, Data(id_set="x", colour=True, flip=True, **changes))
    made.new_epoch(generator(seed, "augment", epoch), views)
    return made


def test_the_first_view_draws_as_before_and_the_second_on_its_own():
    images = colour_set()
    one, two = (Augmentation(images, Data(id_set="x", crop_padding=2, flip=True)) for _ in range(2))
    one.new_epoch(generator(3, "augment", 1))
    two.new_epoch(generator(3, "augment", 1), 2)
    assert torch.equal(one.drawn[0], two.drawn[0])
    assert not torch.equal(two.drawn[0], two.drawn[1])
    first, second = (two.batch(torch.arange(64), view) for view in range(2))
    assert torch.equal(first, one.batch(torch.arange(64)))
    assert not torch.equal(first, second)


def test_plain_draws_are_pinned():
    """Trainings of recorded runs saw these numbers: moving them would make other networks of the same keys."""
    made = Augmentation(torch.zeros(3, 4, 4, 1, dtype=torch.uint8), Data(id_set="x", crop_padding=4, flip=True))
    made.new_epoch(generator(0, "augment", 1))
    assert made.drawn[0].tolist() == [[0, 0, 1], [8, 3, 0], [8, 3, 1]]


def mean_area_of_a_loop(size=32, count=4000):
    """Mean share of the area, by the definition: draw until a crop fits."""
    rng, total = np.random.default_rng(0), 0.0
    for _ in range(count):
        for _ in range(10):
            area, ratio = size**2 * rng.uniform(0.2, 1), np.exp(rng.uniform(np.log(3 / 4), np.log(4 / 3)))
            width, height = round(np.sqrt(area * ratio)), round(np.sqrt(area / ratio))
            if width <= size and height <= size:
                break
        else:
            width = height = size
        total += width * height / size**2
    return total / count


def test_crops_stay_inside_and_have_the_asked_areas_and_shapes():
    made = contrastive(torch.zeros(4000, 32, 32, 3, dtype=torch.uint8))
    top, left, height, width, _ = made.drawn[0].double().T
    assert min(top.min(), left.min()) == 0
    assert max((top + height).max(), (left + width).max()) == 32
    share = height * width / 32**2
    assert 0.18 < share.min() < 0.25 < 0.9 < share.max()
    assert abs(float(share.mean()) - mean_area_of_a_loop()) < 0.02
    assert 0.7 < float((width / height).min()) < 0.8
    assert 1.25 < float((width / height).max()) < 1.4


def test_a_crop_that_never_fits_is_the_whole_image():
    """1 x 40 pixels hold no crop of 20 % with sides of nearly equal length."""
    made = contrastive(torch.zeros(50, 1, 40, 3, dtype=torch.uint8))
    assert {tuple(row) for row in made.drawn[0][:, :4].tolist()} == {(0, 0, 1, 40)}


def test_a_resized_crop_equals_torch_s_interpolation_image_by_image():
    images = colour_set(channels=1)
    made = contrastive(images)
    index = torch.arange(63, -1, -1)
    out = made.batch(index, 1)
    assert out.dtype == torch.uint8
    assert out.shape == images.shape
    flips = 0
    for k, i in enumerate(index.tolist()):
        top, left, height, width, flip = made.drawn[1][i].tolist()
        crop = images[i, top : top + height, left : left + width, 0].float()
        whole = F.interpolate(crop[None, None], size=(9, 11), mode="bilinear", align_corners=False)[0, 0]
        expected = whole.flip(1) if flip else whole
        assert (out[k, :, :, 0].float() - expected).abs().max() < 0.51
        flips += flip
    assert 10 < flips < 54


def by_hand(pixel, drawn, mean_grey):
    """Colour jitter of a flat image in plain Python with colorsys, in the order that was drawn."""
    factors, shift, order, before, grey = drawn[:3], drawn[3], int(drawn[4]), int(drawn[5]), drawn[6]
    luma = lambda p: 0.299 * p[0] + 0.587 * p[1] + 0.114 * p[2]  # noqa: E731
    steps = list(ORDERS[order])
    for kind in [*steps[:before], "hue", *steps[before:]]:
        if kind == "hue":
            hue, saturation, value = colorsys.rgb_to_hsv(*pixel)
            pixel = colorsys.hsv_to_rgb((hue + shift) % 1, saturation, value)
        else:
            other = [0.0, mean_grey(pixel), luma(pixel)][kind]
            pixel = [min(1, max(0, factors[kind] * p + (1 - factors[kind]) * other)) for p in pixel]
    return [luma(pixel)] * 3 if grey else pixel


def test_colours_equal_a_plain_loop_over_flat_images():
    """A flat image is its own mean grey, so each pixel says the whole: compared with colorsys, step by step."""
    draw = generator(0, "test", 2)
    pixels = torch.rand(300, 3, generator=draw)
    pixels[:20] = pixels[:20, :1]  # greys have no hue
    made = contrastive(torch.zeros(300, 2, 2, 3, dtype=torch.uint8))
    drawn = made.colours[0]
    out = coloured(pixels[:, None, None, :].expand(-1, 2, 2, -1), drawn)
    for i in range(300):
        luma = lambda p: 0.299 * p[0] + 0.587 * p[1] + 0.114 * p[2]  # noqa: E731
        expected = by_hand(pixels[i].tolist(), drawn[i].tolist(), luma)
        np.testing.assert_allclose(out[i, 1, 0].numpy(), expected, atol=2e-5)
    assert set(drawn[:, 4].tolist()) == {0, 1, 2, 3, 4, 5}
    assert set(drawn[:, 5].tolist()) == {0, 1, 2, 3}


def test_contrast_blends_with_the_mean_grey_of_the_image():
    x = torch.tensor([[[[0.0, 0.0, 0.0], [1.0, 1.0, 1.0]]]])
    half = torch.tensor([[1.0, 0.5, 1.0, 0.0, 0.0, 3.0, 0.0]])
    torch.testing.assert_close(coloured(x, half)[0, 0, :, 0], torch.tensor([0.25, 0.75]))


def test_each_view_takes_the_colours_that_were_drawn_for_it():
    flat = torch.tensor([200, 100, 50], dtype=torch.uint8).expand(30, 4, 4, 3).contiguous()  # any crop is the whole
    made = contrastive(flat)
    first, second = (255 * coloured(flat.float() / 255, made.colours[view]) for view in range(2))
    assert (first - second).abs().max() > 20
    for view, expected in enumerate((first, second)):
        assert (made.batch(torch.arange(30), view).float() - expected).abs().max() < 0.501


def test_jitter_and_grey_come_as_often_as_they_should():
    made = contrastive(torch.zeros(20000, 1, 1, 3, dtype=torch.uint8))
    factors, hue, grey = made.colours[1][:, :3], made.colours[1][:, 3], made.colours[1][:, 6]
    untouched = (factors == 1).all(dim=1)
    assert abs(float(untouched.float().mean()) - 0.2) < 0.01
    assert torch.equal(untouched, hue == 0)
    assert abs(float(grey.mean()) - 0.2) < 0.01
    assert 0.6 <= float(factors.min()) < 0.601 < 1.399 < float(factors.max()) <= 1.4
    assert -0.1 <= float(hue.min()) < -0.0999 < 0.0999 < float(hue.max()) <= 0.1


def test_contrastive_draws_depend_on_image_and_epoch_alone():
    images = colour_set()
    made = contrastive(images)
    whole = made.batch(torch.arange(64), 1)
    assert torch.equal(made.batch(torch.tensor([9, 7]), 1), whole[[9, 7]])
    assert torch.equal(contrastive(images).batch(torch.arange(64), 1), whole)
    assert not torch.equal(contrastive(images, epoch=2).batch(torch.arange(64), 1), whole)


def test_grey_images_stay_grey_levels_without_jitter():
    """A flat grey image is left as it is by any crop; a jitter of brightness would move it."""
    flat = torch.full((30, 8, 8, 1), 77, dtype=torch.uint8)
    assert torch.equal(contrastive(flat).batch(torch.arange(30)), flat)


def test_two_crops_at_once_are_refused():
    with pytest.raises(ValueError, match="crop_padding is 4 with colour, expected 0"):
        Data(id_set="x", colour=True, crop_padding=4)


def test_crops_reach_every_edge_and_shapes_and_strengths_are_fair():
    made = contrastive(torch.zeros(4000, 32, 32, 3, dtype=torch.uint8))
    top, left, height, width = made.drawn[0].T[:4]
    assert bool(((top + height == 32) & (height < 32)).any())
    assert bool(((left + width == 32) & (width < 32)).any())
    assert abs(float((width.double() / height).log().mean())) < 0.01
    strengths = made.colours[0][:, :3]
    apart = torch.corrcoef(strengths[(strengths != 1).all(dim=1)].T)
    assert float(apart.fill_diagonal_(0).abs().max()) < 0.1
    assert not torch.equal(made.colours[0], made.colours[1])
