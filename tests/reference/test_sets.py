"""The page on image sets says what registry, recipes and images say; what is recorded is about these images."""

import base64
import io

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from ood_core import data, recipes, reference
from ood_core.checks import InputError
from ood_core.data import imageset, samples
from ood_core.reference import sets

from ..data.real import real
from ..pages import Page, csv_of


def test_the_set_table_has_every_registered_split():
    made = reference.set_table()
    wanted = [(name, split) for name in data.names() for split in data.entry(name)["splits"]]
    assert list(zip(made.frame["set"], made.frame["split"], strict=True)) == wanted
    page = Page(made.html)
    assert [shown["cells"][0]["sort"] for shown in page.body] == data.names()
    row = csv_of(made.html)[0][0]
    assert (row["images"], row["digest"]) == ("959", data.digest("digits", "train"))
    assert "train 959test 484" in page.body[0]["cells"][1]["text"]
    assert page.body[0]["cells"][1]["sort"] == str(959 + 484)
    assert "not seen yet" in made.html, "the training part of svhn has no digest in the registry"


def uses(frame, name, split, id_set):
    """What the table says of a split beside an ID set."""
    has = frame["split"].str.split(", ").map(lambda splits: split in splits)
    return frame[(frame["set"] == name) & has & (frame["beside"] == id_set)]["used as"].tolist()


def test_the_use_of_each_set_is_what_the_recipes_say():
    frame = reference.use_table().frame
    for page in recipes.pages():
        for scale in recipes.page(page).scales:
            for recipe in recipes.load(page, scale).values():
                asked, id_set = recipe.evaluate, recipe.data.id_set
                for role, named in (
                    ("near OOD", asked.near),
                    ("far OOD", asked.far),
                    ("to choose on", asked.validation),
                    ("control", asked.control),
                ):
                    for text in named:
                        (found,) = uses(frame, *data.parse(text), id_set)
                        assert role in found
                        assert scale in found
    assert uses(frame, "kmnist", "test", "cifar10") == ["no recipe"]
    assert uses(frame, "photos", "test", "digits")[0].startswith("far OOD (")
    assert uses(frame, "cifar10", "train", "")[0].startswith("ID training, its last tenth validation (")
    assert "near OOD" not in uses(frame, "svhn", "test10k", "cifar10")[0]
    (together,) = frame[frame["set"] == "kmnist"].to_dict("records")
    assert (together["split"], together["images"]) == ("train, test", 70_000)


def test_every_set_beside_an_id_set_says_which_classes_mean_the_same():
    for (name, split), used in sets.roles().items():
        for id_set, role in used:
            assert role.startswith("ID") or id_set in data.entry(name)["overlaps"], (name, split, id_set)
    for name in data.names():
        for id_set, same in data.entry(name).get("overlaps", {}).items():
            assert set(same) - {"note"} <= set(data.entry(id_set)["classes"]), (name, id_set)
    text = sets.same_classes("tiny-imagenet-32", "cifar10")
    assert text.startswith("automobile: beach wagon, convertible, ")
    assert text.endswith("tractor (truck)")
    assert sets.same_classes("svhn", "cifar10") == ""


@pytest.mark.parametrize(("name", "split"), reference.embedded())
def test_samples_show_the_images(name, split):
    made = reference.sample_grid(name, split)
    (image,) = Page(made.html).all("img")
    png = base64.b64decode(image["src"].removeprefix("data:image/png;base64,"))
    with Image.open(io.BytesIO(png)) as file:
        sheet = np.asarray(file)
    images = data.load(name, split).images
    side = images.shape[1]
    for place in (0, 1, 12, 23):
        top, left = place // 12 * (side + 1), place % 12 * (side + 1)
        assert np.array_equal(sheet[top : top + side, left : left + side], images[place].squeeze())
    assert data.entry(name)["title"] in image["alt"]
    assert image["alt"].startswith("24 images of ")


def test_embedded_sets_are_those_that_need_nothing(monkeypatch):
    monkeypatch.delenv("OOD_DATA", raising=False)
    at_hand = [(n, s) for n in data.names() for s in data.entry(n)["splits"] if data.where(n, s) == "embedded"]
    assert reference.embedded() == at_hand
    assert ("digits-shuffled", "validation") in at_hand


@pytest.mark.parametrize(("name", "split"), reference.recorded())
def test_recorded_pictures_are_shown_and_small(name, split):
    made = reference.sample_grid(name, split)
    (image,) = Page(made.html).all("img")
    content = base64.b64decode(image["src"].removeprefix("data:image/webp;base64,"))
    assert len(content) < 12_000
    high, wide = data.entry(name)["shape"][:2]
    with Image.open(io.BytesIO(content)) as file:
        assert file.size == (12 * (wide + 1) - 1, 2 * (high + 1) - 1)
    assert f"{data.known(name, split)['count']:,} images." in made.html


@pytest.mark.data
@pytest.mark.parametrize(("name", "split"), reference.recorded())
def test_recorded_pictures_are_of_these_images(name, split):
    images = real(name, split)
    with Image.open(sets.picture_of(name, split)) as file:
        shown = np.asarray(file.convert("RGB")).astype(int)

    def distance(found):
        grid = samples.grid(found)
        return np.abs(np.repeat(grid, 3 // grid.shape[2], axis=2).astype(int) - shown).mean()

    assert distance(images) < 10
    assert distance(images.part(slice(24, None), "others")) > 20


def test_nothing_else_is_recorded():
    wanted = {sets.picture_of(*place).name for place in reference.recorded()} | {sets.DUPLICATES}
    assert {path.name for path in sets.folder().iterdir()} == wanted


def test_a_picture_of_other_images_is_never_shown(monkeypatch):
    monkeypatch.setitem(data.entry("mnist")["splits"]["test3k"], "digest", "0" * 64)
    with pytest.raises(InputError, match=r"mnist-test3k-00000000\.webp is not there, .*\nRun: .* data record"):
        reference.sample_grid("mnist", "test3k")


def test_duplicates_of_embedded_sets_are_counted():
    frame = reference.overlaps().frame.set_index("set")
    for part in ("train", "test"):
        train = data.load("digits", part).images.reshape(-1, 64)
        for name, split in sets.beside("digits"):
            if (name, split) == ("digits", part):
                continue
            flat = data.load(name, split).images.reshape(-1, 64)
            row = frame.loc[f"{name}/{split}"]
            assert row["beside"] == "digits"
            assert row["different"] == len(np.unique(flat, axis=0))
            assert row[f"in its {part}"] == sum(bool((train == image).all(axis=1).any()) for image in flat)
    assert frame.loc["photos/test", "different"] < 520
    assert frame.loc["digits/train", "in its train"] == "", "a set is not compared with itself"


def test_a_leak_is_counted_and_named():
    train, noise = data.load("digits", "train"), data.load("noise", "test")
    leaky = noise.images.copy()
    leaky[:3] = train.images[5]
    row = data.compared(imageset.make(leaky, name="noise"), train)
    assert (row["shared"], row["different"]) == (3, 498)
    name = train.classes[train.labels[5]]
    assert row["pairs"].count(f"= {name}") == 3
    small = imageset.make(np.repeat(train.images[:1], 3, axis=3)[:, 1:-1, 1:-1], name="small")
    framed = np.pad(small.images, ((0, 0), (1, 1), (1, 1), (0, 0)))
    assert data.compared(small, imageset.make(framed, name="framed"))["shared"] == 1, "as a network sees it"
    with pytest.raises(InputError, match="expected at most 8x8 and 1 or 1 channels"):
        data.compared(small, train)


def test_recorded_duplicates_are_about_the_registered_images():
    rows = pd.DataFrame(sets.recorded_duplicates())
    wanted = {
        (name, split, f"cifar10/{part}")
        for name, split in sets.beside("cifar10")
        for part in ("train", "test")
        if (name, split) != ("cifar10", part)
    }
    assert set(zip(rows["set"], rows["split"], rows["among"], strict=True)) == wanted
    shown = reference.overlaps().frame
    assert sorted(shown[shown["beside"] == "cifar10"]["set"]) == sorted(map("/".join, sets.beside("cifar10")))
    assert shown.set_index("set").loc["cifar100/test", "which"] == "cattle = dog; bus = automobile"
    shared = rows[rows["shared"] > 0].set_index(["set", "among"])["shared"].to_dict()
    assert shared == {
        ("cifar100", "cifar10/train"): 1,
        ("cifar100", "cifar10/test"): 1,
        ("cifar10-grey", "cifar10/test"): 106,  # that were grey before
    }


@pytest.mark.data
def test_recorded_duplicates_are_found_again():
    for place in reference.recorded():
        real(*place)
    assert sets._compared("cifar10") == sets.recorded_duplicates()


def test_a_stale_row_is_left_out(monkeypatch):
    before = len(reference.overlaps().frame)
    monkeypatch.setitem(data.entry("mnist")["splits"]["test3k"], "digest", "0" * 64)
    assert len(reference.overlaps().frame) == before - 1


def test_recording_writes_pictures_and_rows_and_removes_old_ones(tmp_path, monkeypatch):
    target = tmp_path / "sets"
    target.mkdir()
    (target / "gone-test-01234567.webp").write_bytes(b"")
    monkeypatch.setattr(sets, "folder", lambda: target)
    monkeypatch.setattr(sets, "recorded", lambda: [("photos", "test")])
    monkeypatch.setattr(sets, "RECORDED", ("digits",))
    written = reference.record_sets()
    assert sorted(path.name for path in target.iterdir()) == sorted(path.name for path in written)
    assert [path.suffix for path in written] == [".webp", ".csv"]
    assert sets.recorded_duplicates() == sets._compared("digits")
