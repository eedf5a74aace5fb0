"""Folders of images: the same scores as the library gives, a sheet that shows them, and mistakes named."""

import csv
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from click.testing import CliRunner
from PIL import Image, ImageDraw, ImageFont
from safetensors.torch import save_file

from ood_core import Outputs, cli, data, extract, scorers, scoring
from ood_core._torchvision import torchvision
from ood_core.checks import ArtifactError, InputError
from ood_core.data.pictures import images_in
from ood_core.networks import network
from ood_core.scoring import classifiers
from ood_core.scoring.folders import classes_in, read
from ood_core.store import Store
from tests.spine import recipe

KEY = "5eed5eed5eed5eed5eed"
SCHEMES = [{"data": {"id_set": "digits", "labels": labels}} for labels in ("instance", "binary", "constant")]
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def write(images, folder, by_class=True):
    """One PNG an image, named by its place; returns the folder."""
    for place, pixels in enumerate(images.images):
        name = images.classes[images.labels[place]] if by_class else ""
        (folder / name).mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels.squeeze(-1)).save(folder / name / f"{place:04d}.png")
    return folder


@pytest.fixture
def net(tmp_path, monkeypatch):
    """An untrained network in a store of its own; nothing here depends on how good it is."""
    monkeypatch.setenv("OOD_RUNS", str(tmp_path / "runs"))
    return stored(recipe(head={"name": "l2"}))


def stored(made):
    """A run of a recipe that was never trained, under KEY; returns its network."""
    built = network(made, data.training(made.data, 0)[0], 0, torch.device("cpu")).eval()
    nothing = pd.DataFrame({"epoch": [0]})
    info = {"key": KEY, "recipe": made.model_dump(mode="json"), "seed": 0}
    Store().put(info, nothing, nothing, {}, built.state_dict(), {})
    return built


@pytest.fixture(scope="module")
def sets():
    train = data.load("digits", "train")
    few = np.concatenate([np.flatnonzero(train.labels == label)[:12] for label in range(8)])
    test, photos = data.load("digits", "test"), data.load("photos", "test")
    return {
        "train": train.part(few, "few"),
        "held": test.part(slice(0, 60), "held"),
        "test": test.part(slice(60, 100), "some"),
        "photos": photos.part(slice(0, 30), "some"),
    }


@pytest.fixture
def folders(sets, tmp_path):
    return {name: write(part, tmp_path / name, by_class=name == "train") for name, part in sets.items()}


def call(*arguments):
    result = CliRunner().invoke(cli.main, ["score", *map(str, arguments)], prog_name="python -m ood_core")
    assert "Traceback" not in result.output
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


@pytest.mark.parametrize(
    ("name", "settings"), [("ddu", {}), ("feature_norm", {"p": 1}), ("msp", {"layer": "logits"}), ("odin", {})]
)
def test_the_same_scores_as_from_the_library(net, sets, folders, tmp_path, name, settings):
    given = [text for key, value in settings.items() for text in ("--param", f"{key}={value}")]
    result = call(
        *(folders["test"], folders["photos"], "--id-folder", folders["train"], "--held-out", folders["held"]),
        *("--model", KEY[:6], "--scorer", name, *given, "--id-tpr", 0.9, "--out", tmp_path / "s.csv", "--json"),
    )
    assert result.exit_code == 0, result.output
    network_too = {"model": net} if name == "odin" else {}
    seen = {part: extract(net, images, keep_inputs=True) for part, images in sets.items()}
    scorer = scorers.make(name, **settings, **network_too).fit(seen["train"]).calibrate(seen["held"], id_tpr=0.9)
    frame = pd.read_csv(tmp_path / "s.csv", dtype={"predicted": str})
    assert list(frame.columns) == ["file", "score", "decision", "predicted"]
    start = 0
    table = {row["folder"]: row for row in json.loads(result.stdout)}
    for part in ("test", "photos"):
        rows, out = frame[start : start + len(sets[part])], seen[part]
        start += len(rows)
        assert [str(Path(file).parent) for file in rows["file"]] == [str(folders[part])] * len(rows)
        np.testing.assert_allclose(rows["score"], scorer.score(out), rtol=1e-6)
        assert list(rows["decision"] == "in") == scorer.predict(out).tolist()
        assert list(rows["predicted"]) == [str(label) for label in out.logits.argmax(1).tolist()]
        assert table[str(folders[part])]["accepted"] == pytest.approx(float(scorer.predict(out).float().mean()))
        assert table[str(folders[part])]["median"] == pytest.approx(float(np.median(rows["score"])))
    assert f"accepts {100 * scorer.calibration.rate:.1f} % of 60 held-out ID images" in result.stderr
    assert "every fifth image" not in result.stderr


def test_without_held_out_images_a_fifth_of_each_class_is_not_fitted_on(net, sets, folders):
    found = scoring.score_folders([folders["test"]], id_folder=folders["train"], model=KEY, scorer="cluster")
    out, labels = extract(net, sets["train"]), sets["train"].labels
    held = np.zeros(len(labels), dtype=bool)
    for label in range(8):
        held[np.flatnonzero(labels == label)[4::5]] = True
    scorer = scorers.make("cluster").fit(out[torch.from_numpy(~held)]).calibrate(out[torch.from_numpy(held)])
    assert found.calibration.n == held.sum() == 16
    assert found.calibration.threshold == pytest.approx(scorer.calibration.threshold, rel=1e-6)
    np.testing.assert_allclose(found.frame["score"], scorer.score(extract(net, sets["test"])), rtol=1e-6)


def test_the_contact_sheet_holds_both_ends(net, folders, tmp_path):
    result = call(
        *(folders["test"], folders["photos"], "--id-folder", folders["train"], "--model", KEY),
        *("--out", tmp_path / "s.csv", "--sheet", tmp_path / "sheet.png"),
    )
    assert result.exit_code == 0, result.output
    assert "every fifth image of --id-folder" in result.stderr
    sheet = pixels(tmp_path / "sheet.png")
    frame = pd.read_csv(tmp_path / "s.csv").sort_values("score", ascending=False, kind="stable")
    left, step = scoring.sheet.GAP, scoring.sheet.THUMB + scoring.sheet.GAP
    tops = [y for y in range(sheet.shape[0]) if tuple(sheet[y, left + 40]) in ((31, 127, 201), (213, 94, 0))]
    starts = [y + 3 for y, before in zip(tops, [-9, *tops], strict=False) if y - before > 1][::2]
    for row, order in ((0, frame), (2, frame.iloc[::-1])):  # two rows of eight, from either end
        for place, file in enumerate(order["file"][:8]):
            found = sheet[starts[row] :, left + place * step :][: scoring.sheet.THUMB, : scoring.sheet.THUMB, 0]
            shown = Image.fromarray(found).resize((8, 8), Image.Resampling.NEAREST)
            assert np.array_equal(np.asarray(shown), pixels(file)), file


def pixels(path):
    with Image.open(path) as image:
        return np.asarray(image)


@pytest.mark.parametrize("count", [1, 2, 3, 16, 32, 40])
def test_a_sheet_of_few_images_shows_each_once(tmp_path, count):
    for place in range(count):
        Image.new("L", (50, 50), 2 * place).save(tmp_path / f"{place}.png")
    rows = [(str(tmp_path / f"{i}.png"), float(-i), "in" if i < 2 else "out", "a <b> & ünï") for i in range(count)]
    frame = pd.DataFrame(rows, columns=["file", "score", "decision", "predicted"])
    scoring.contact_sheet(frame, tmp_path / "sheet.png", "a title " * 40)
    grey = pixels(tmp_path / "sheet.png")
    areas = [int((grey == 2 * place).all(axis=2).sum()) for place in range(count)]
    middle = range(16, count - 16)
    assert [area >= 112**2 for area in areas] == [place not in middle for place in range(count)]
    assert max(areas) < 2 * 112**2
    assert not list(tmp_path.glob(".*"))


@pytest.fixture
def photos(tmp_path):
    """Colour images of many sizes in two classes, and weights of a network for them."""
    rng = np.random.default_rng(0)
    for label in ("cat", "dog"):
        (tmp_path / "pets" / label).mkdir(parents=True)
        for place in range(6):
            size = (40 + 7 * place, 60 - 5 * place, 3)
            Image.fromarray(rng.integers(0, 256, size, dtype=np.uint8)).save(tmp_path / "pets" / label / f"{place}.png")
    model = torchvision().models.get_model("resnet18", weights=None, num_classes=2).eval()
    save_file(model.state_dict(), tmp_path / "w.safetensors")
    return model


def others(folder, target):
    """The same images upside down: of the same classes and no copies."""
    shutil.copytree(folder, target)
    for path in images_in(target):
        Image.fromarray(pixels(path)[::-1]).save(path)
    return target


@pytest.mark.parametrize(
    ("option", "values"),
    [
        ("--mean", "123.7,116.3,103.5"),
        ("--mean", "-0.1,0.4,0.4"),
        ("--mean", "nan,0.4,0.4"),
        ("--std", "58.4,57.1,57.4"),
        ("--std", "0,0.2,0.2"),
        ("--std", "0.2,0.2,inf"),
        ("--std", "0.2,0.2,nan"),
        ("--std", "0.2,0.2"),
    ],
)
def test_constants_on_another_scale_are_refused(photos, tmp_path, option, values):
    given = {"--mean": "0,0.4,1", "--std": "0.2,0.2,1", option: values}
    result = call(
        *(tmp_path / "pets", "--id-folder", tmp_path / "pets", "--size", 32, "--model", "torchvision:resnet18"),
        *("--weights", tmp_path / "w.safetensors", *(text for pair in given.items() for text in pair)),
    )
    assert result.exit_code == 1
    assert f"{option} is " in result.output
    assert "expected three numbers on the scale 0..1" in result.output
    assert classifiers.load("torchvision:resnet18", 2, tmp_path / "w.safetensors", (0, 0.4, 1), (0.2, 0.2, 1))


def test_an_architecture_without_a_linear_layer_is_refused_with_what_the_command_can_do(photos, tmp_path):
    with pytest.raises(InputError, match=r"squeezenet1_1 has no linear layer[\s\S]*such as torchvision:resnet18"):
        classifiers.load("torchvision:squeezenet1_1", 2, tmp_path / "w.safetensors", MEAN, STD)


def test_a_torchvision_network_sees_what_torchvision_would_show_it(photos, tmp_path):
    module = torchvision()
    from torchvision import transforms  # after the door has opened

    given = transforms.Compose(
        [transforms.Resize(32), transforms.CenterCrop(32), transforms.ToTensor(), transforms.Normalize(MEAN, STD)]
    )
    assert module
    paths = images_in(tmp_path / "pets")
    x = torch.stack([given(Image.fromarray(pixels(path))) for path in paths])
    out = extract(photos, x, labels=torch.arange(12) // 6)
    held = others(tmp_path / "pets", tmp_path / "held")
    result = call(
        *(tmp_path / "pets", "--id-folder", tmp_path / "pets", "--held-out", held, "--size", 32),
        *("--model", "torchvision:resnet18", "--weights", tmp_path / "w.safetensors", "--scorer", "cluster"),
        *("--mean", "0.485,0.456,0.406", "--std", "0.229,0.224,0.225", "--out", tmp_path / "s.csv"),
    )
    assert result.exit_code == 0, result.output
    frame = pd.read_csv(tmp_path / "s.csv")
    np.testing.assert_allclose(frame["score"], scorers.make("cluster").fit(out).score(out), rtol=1e-4)
    assert list(frame["predicted"]) == [("cat", "dog")[place] for place in out.logits.argmax(1).tolist()]


def test_another_layer_can_be_scored(photos, tmp_path):
    pets = tmp_path / "pets"
    found = scoring.score_folders(
        [pets],
        id_folder=pets,
        model="torchvision:resnet18",
        weights=tmp_path / "w.safetensors",
        size=32,
        mean=MEAN,
        std=STD,
        scorer="feature_norm",
        parameters={"layer": "layer3"},
    )
    assert found.scorer.layer == "layer3"
    assert found.scorer.summary()["columns"] == 256


def test_names_that_need_quoting_survive(net, folders, tmp_path):
    odd = tmp_path / 'a, "b"\nc'
    odd.mkdir()
    (folders["test"] / "0000.png").rename(odd / "é ;.png")
    assert call(odd, "--id-folder", folders["train"], "--model", KEY, "--out", tmp_path / "s.csv").exit_code == 0
    with (tmp_path / "s.csv").open(newline="", encoding="utf-8") as file:
        assert [row["file"] for row in csv.DictReader(file)] == [str(odd / "é ;.png")]


def test_names_that_are_not_utf8_survive(net, folders, tmp_path, monkeypatch):
    drawn = []
    draw = ImageDraw.ImageDraw.text
    monkeypatch.setattr(ImageDraw.ImageDraw, "text", lambda *given: [drawn.append(given[2]), draw(*given)])
    odd = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9"))
    try:
        odd.mkdir()
    except OSError:
        pytest.skip("this file system takes no such names")
    (folders["test"] / "0000.png").rename(odd / os.fsdecode(b"\xff.png"))
    arguments = (odd, "--id-folder", folders["train"], "--model", KEY, "--out", tmp_path / "s.csv")
    result = call(*arguments, "--sheet", tmp_path / "sheet.png")
    assert result.exit_code == 0, result.output
    assert "caf\N{REPLACEMENT CHARACTER}" in result.stdout
    assert "caf\N{REPLACEMENT CHARACTER}/\N{REPLACEMENT CHARACTER}.png" in drawn
    assert "".join(drawn).encode()
    with (tmp_path / "s.csv").open(newline="", encoding="utf-8", errors="surrogateescape") as file:
        assert [row["file"] for row in csv.DictReader(file)] == [str(odd / os.fsdecode(b"\xff.png"))]
    assert json.loads(call(*arguments, "--json").stdout)[0]["folder"] == str(odd)


def test_small_scores_are_printed_with_significant_digits(net, folders, tmp_path, monkeypatch):
    whole = scorers.make("msp").__class__._score
    monkeypatch.setattr("ood_core.scorers.logits.MSP._score", lambda self, x: -1e-5 * whole(self, x))
    result = call(folders["test"], "--id-folder", folders["train"], "--model", KEY, "--out", tmp_path / "s.csv")
    frame = pd.read_csv(tmp_path / "s.csv")
    shown = result.stdout.splitlines()[-1].split()[-3:]
    expected = [frame["score"].min(), frame["score"].median(), frame["score"].max()]
    assert list(map(float, shown)) == pytest.approx(expected, rel=1e-5)


def spoil(folder, name, content):
    (folder / name).write_bytes(content)
    return folder / name


def test_an_unreadable_image_is_named(net, folders, tmp_path):
    whole = (folders["test"] / "0000.png").read_bytes()
    for content in (b"", b"not an image", whole[: len(whole) // 2]):
        bad = spoil(folders["test"], "bad.png", content)
        result = call(folders["test"], "--id-folder", folders["train"], "--model", KEY, "--out", tmp_path / "s.csv")
        assert result.exit_code == 1
        assert f"{bad} cannot be read" in result.output
        assert not (tmp_path / "s.csv").exists()


def test_sixteen_bits_are_not_clipped_in_silence(tmp_path):
    Image.fromarray(np.full((4, 4), 40_000, dtype=np.uint16)).save(tmp_path / "deep.png")
    with pytest.raises(InputError, match=r"deep.png has pixels of type I;16, expected 8 bits"):
        read(tmp_path / "deep.png", 1)


def test_an_image_of_another_size_is_named_unless_all_are_resized(net, folders, tmp_path):
    Image.new("L", (9, 8)).save(folders["test"] / "wide.png")
    arguments = (folders["test"], "--id-folder", folders["train"], "--model", KEY, "--out", tmp_path / "s.csv")
    result = call(*arguments)
    assert result.exit_code == 1
    assert "wide.png is 9x8 pixels, expected 8x8 as the others.\nPass --size 8" in result.output
    assert call(*arguments, "--size", 8).exit_code == 0
    assert "this network was trained on 8x8 images" in call(*arguments, "--size", 16).output


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        ([], 2, "Missing option '--model'"),
        (["--model", KEY], 1, "neither --id-folder nor --load is given"),
        (["--model", KEY, "--load", "no.safetensors"], 1, "no.safetensors cannot be read"),
        (["--model", KEY, "--load", "x", "--scorer", "msp"], 1, "--load came with --scorer, expected none"),
        (["--model", KEY, "--load", "x", "--size", "8", "--id-folder", "train"], 1, "came with --id-folder, --size"),
        (["--id-folder", "train", "--model", KEY, "--save", "test"], 1, "--save test cannot be written"),
        (["--id-folder", "train", "--model", KEY, "--workers", "-1"], 2, "-1 is not in the range"),
        (["--id-folder", "train", "--model", KEY, "--batch-size", "0"], 2, "0 is not in the range"),
        (["--id-folder", "train", "--model", "no.py:made"], 1, "no.py is not a file, expected a Python file"),
        (["--id-folder", "nowhere", "--model", KEY], 1, "there is no file or folder nowhere, expected one"),
        (["--id-folder", "held/0000.png", "--model", KEY], 1, "held/0000.png is not a folder, expected one sub-folder"),
        (["nowhere.png", "--id-folder", "train", "--model", KEY], 1, "there is no file or folder nowhere.png"),
        (["--id-folder", "train", "--held-out", "no", "--model", KEY], 1, "there is no file or folder no, expected"),
        (["--id-folder", "train", "--model", "mine.py"], 1, "Name a function: mine.py:FUNCTION"),
        (["--id-folder", "train", "--model", "mine.py:"], 1, "Name a function: mine.py:FUNCTION"),
        (["--id-folder", "held", "--model", KEY], 1, "held holds 0 sub-folders, expected one for each class"),
        (["--id-folder", "train", "--model", "abc"], 1, "'abc' is the start of 0 runs"),
        (["--id-folder", "train", "--model", ""], 1, "is the start of 0 runs"),
        (["--id-folder", "train", "--model", "../" + KEY], 1, "is the start of 0 runs"),
        (["--id-folder", "train", "--model", KEY, "--mean", "0,0,0"], 1, "expected none: a run holds its own"),
        (["--id-folder", "train", "--model", KEY, "--mean", "a,b"], 2, "not numbers with commas between"),
        (["--id-folder", "train", "--model", KEY, "--scorer", "magic"], 2, "'magic' is not one of 'msp'"),
        (["--id-folder", "train", "--model", KEY, "--param", "k=3"], 1, "msp got k, expected only: layer"),
        (["--id-folder", "train", "--model", KEY, "--param", "k"], 2, "'k' is not NAME=VALUE"),
        (["--id-folder", "train", "--model", KEY, "--param", "layer=stem"], 1, "layer 'stem' is not a module"),
        (["--id-folder", "train", "--model", KEY, "--id-tpr", "95"], 2, "95"),
        (["--id-folder", "train", "--model", KEY, "--held-out", "empty"], 1, "empty holds no image"),
        (["--id-folder", "train", "--model", KEY, "--held-out", "train/7"], 1, "--held-out shares 12 of its 12 images"),
        (["--id-folder", "train", "--model", KEY, "--out", "no/s.csv"], 1, "s.csv lies in no existing folder"),
        (["--id-folder", "train", "--model", KEY, "--out", "test"], 1, "--out test cannot be written (it is a folder)"),
        (["--id-folder", "train", "--model", KEY, "--sheet", "test"], 1, "--sheet test cannot be written"),
        (["--id-folder", "train", "--model", KEY, "--out", "/proc/x.csv"], 1, "--out /proc/x.csv cannot be written"),
        (["--id-folder", "train", "--model", KEY, "--sheet", "/proc/x.png"], 1, "--sheet /proc/x.png cannot be"),
        (["--id-folder", "train", "--model", "torchvision:resnet"], 1, "no classifier 'resnet', expected one such as"),
        (["--id-folder", "train", "--model", "torchvision:resnet18"], 1, "without --weights"),
        (["--id-folder", "train", "--model", "torchvision:resnet18", "--weights", "w"], 1, "--mean is not given"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_mistakes_are_named(net, folders, tmp_path, monkeypatch, options, code, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    result = call("test", *options)
    assert result.exit_code == code, result.output
    assert message in result.output
    assert not (tmp_path / "scores.csv").exists()


@pytest.mark.parametrize("head", ["linear", "isomax", "isomax_plus", "dismax"])
def test_every_head_with_logits_can_be_scored(folders, sets, tmp_path, monkeypatch, head):
    monkeypatch.setenv("OOD_RUNS", str(tmp_path / "runs"))
    built = stored(recipe(head={"name": head, **({"start": "normal"} if head == "isomax" else {})}))
    seen = {part: extract(built, images) for part, images in sets.items()}
    for name in ("msp", "ddu", *(["min_distance"] if head != "linear" else [])):
        found = scoring.score_folders(
            [folders["test"]], id_folder=folders["train"], model=KEY, scorer=name, held_out=folders["held"]
        )
        scorer = scorers.make(name).fit(seen["train"])
        np.testing.assert_allclose(found.frame["score"], scorer.score(seen["test"]), rtol=1e-5)
        predicted = [sets["train"].classes[place] for place in seen["test"].logits.argmax(1).tolist()]
        assert list(found.frame["predicted"]) == predicted


@pytest.mark.parametrize("changes", [{"head": {"name": "projection"}, "loss": {"name": "supcon"}}, *SCHEMES], ids=str)
def test_a_network_whose_logits_stand_for_no_class_is_scored_by_features(folders, sets, tmp_path, monkeypatch, changes):
    monkeypatch.setenv("OOD_RUNS", str(tmp_path / "runs"))
    built = stored(recipe(**changes))
    passed = {part: extract(built, images) for part, images in sets.items()}
    seen = {part: Outputs(out.features, labels=out.labels) for part, out in passed.items()}
    for name in ("ddu", "knn"):
        arguments = (folders["test"], "--id-folder", folders["train"], "--held-out", folders["held"], "--model", KEY)
        result = call(
            *(*arguments, "--scorer", name, "--out", tmp_path / "s.csv", "--sheet", tmp_path / f"{name}.png"),
        )
        assert result.exit_code == 0, result.output
        frame = pd.read_csv(tmp_path / "s.csv", keep_default_na=False)
        np.testing.assert_allclose(frame["score"], scorers.make(name).fit(seen["train"]).score(seen["test"]), rtol=1e-5)
        assert set(frame["predicted"]) == {""}
    for name, reads in {"msp": "logits", "vim": "head", "odin": "model", "nnguide": "logits"}.items():
        result = call(*arguments, "--scorer", name, "--out", tmp_path / "s.csv")
        assert result.exit_code == 1
        assert f"{name} works through {reads}, expected a scorer of features" in result.output


def test_an_own_set_with_other_labels_needs_no_classes_as_many_as_outputs(folders, tmp_path, monkeypatch):
    monkeypatch.setenv("OOD_RUNS", str(tmp_path / "runs"))
    stored(recipe(data={"id_set": "digits", "labels": "instance"}))
    monkeypatch.setattr("ood_core.data.names", list)
    assert classifiers.load(KEY, 8).classes == ()
    for head in ("linear", "dismax"):
        stored(recipe(head={"name": head}))
        with pytest.raises(InputError, match="holds 7 classes, expected the 8 of run"):
            classifiers.load(KEY, 7)


def test_a_run_of_one_class_is_refused(folders, tmp_path, monkeypatch):
    monkeypatch.setenv("OOD_RUNS", str(tmp_path / "runs"))
    one = {"id_set": "digits", "one_class": 3}
    stored(recipe(data=one, head={"name": "projection"}, loss={"name": "nt_xent"}))
    result = call(folders["test"], "--id-folder", folders["train"], "--model", KEY, "--scorer", "knn")
    assert result.exit_code == 1
    assert "learned class 3 of digits alone, expected a run of all classes" in result.output


def test_hidden_files_and_folders_are_left_out(folders):
    before = images_in(folders["train"])
    for place in (".ipynb_checkpoints", "7/.ipynb_checkpoints/deeper"):
        (folders["train"] / place).mkdir(parents=True)
        shutil.copy(before[0], folders["train"] / place / "0.png")
    assert images_in(folders["train"]) == before
    assert images_in((folders["train"] / "7").rename(folders["train"] / ".7"))


def test_empty_folders_and_classes_are_named(net, folders, tmp_path):
    with pytest.raises(InputError, match="no image, expected files such as"):
        images_in(tmp_path / "runs")
    (folders["train"] / "7" / ".hidden.png").write_bytes(b"")
    for path in (folders["train"] / "7").glob("0*.png"):
        path.unlink()
    with pytest.raises(InputError, match=r"train/7 holds no image"):
        classes_in(folders["train"])
    (folders["train"] / "7").rename(folders["train"] / "seven")
    with pytest.raises(InputError, match=r"has the classes 0, 1, 2, 3, 4, 5, 6, seven, expected those of the network"):
        classes_in(folders["train"], tuple("01234567"))


def test_classes_keep_the_order_of_the_network(folders):
    assert list(classes_in(folders["train"], tuple("76543210"))) == list("76543210")
    assert list(classes_in(folders["train"])) == list("01234567")


def test_weights_of_another_network_are_refused_by_name(photos, tmp_path):
    path = tmp_path / "w.safetensors"
    load = lambda name, classes: classifiers.load(f"torchvision:{name}", classes, path, MEAN, STD)  # noqa: E731
    with pytest.raises(InputError, match=r"layer1.2.conv1.weight is missing[\s\S]*and \d+ more"):
        load("resnet34", 2)
    with pytest.raises(InputError, match=r"fc.weight has shape \(2, 512\) instead of \(3, 512\)"):
        load("resnet18", 3)
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(ArtifactError, match="cannot be read"):
        load("resnet18", 2)
    save_file({}, path)
    torch.save({"fc.weight": torch.zeros(2, 512)}, path)
    with pytest.raises(ArtifactError, match=r"torch.load\('.*w.safetensors', weights_only=True\)"):
        load("resnet18", 2)


def scored(folders, tmp_path, *options, target="test", out="s.csv"):
    """Scores by the command, which must succeed."""
    result = call(folders[target], "--model", KEY, *options, "--out", tmp_path / out)
    assert result.exit_code == 0, result.output
    return pd.read_csv(tmp_path / out, dtype={"predicted": str}), result


@pytest.mark.parametrize("name", ["knn", "msp", "odin"])
def test_a_kept_scorer_scores_alike_without_the_id_images(net, sets, folders, tmp_path, name):
    file = tmp_path / "kept.safetensors"
    fit = ("--id-folder", folders["train"], "--held-out", folders["held"], "--scorer", name, "--id-tpr", 0.8)
    first, said = scored(folders, tmp_path, *fit, "--save", file)
    assert f"s.csv and {file}" in said.stderr
    for part in ("train", "held"):
        shutil.rmtree(folders[part])
    again, told = scored(folders, tmp_path, "--load", file, out="again.csv")
    pd.testing.assert_frame_equal(first, again)
    assert [line for line in told.stderr.splitlines() if "threshold" in line] == [
        line for line in said.stderr.splitlines() if "threshold" in line
    ]
    given = {"model": net} if name == "odin" else {}
    seen = extract(net, sets["test"], keep_inputs=True)
    np.testing.assert_allclose(scorers.load(file, **given).score(seen), first["score"], rtol=1e-6)


def test_a_kept_scorer_is_refused_for_another_network(net, folders, tmp_path):
    file = tmp_path / "kept.safetensors"
    scored(folders, tmp_path, "--id-folder", folders["train"], "--save", file)
    with torch.no_grad():
        net.head.weight[0, 0] += 1
    nothing = pd.DataFrame({"epoch": [0]})
    shutil.rmtree(tmp_path / "runs")
    info = {"key": KEY, "recipe": recipe(head={"name": "l2"}).model_dump(mode="json"), "seed": 0}
    Store().put(info, nothing, nothing, {}, net.state_dict(), {})
    result = call(folders["test"], "--model", KEY, "--load", file)
    assert result.exit_code == 1
    assert "was fitted on a network of other weights, expected those of --model" in result.output
    scorers.make("feature_norm").fit(Outputs(torch.ones(2, 2))).save(file)
    assert (
        "holds a scorer without classes and threshold" in call(folders["test"], "--model", KEY, "--load", file).output
    )


def test_a_single_file_workers_and_the_batch_size_change_no_score(net, folders, tmp_path):
    whole, _ = scored(folders, tmp_path, "--id-folder", folders["train"])
    split, _ = scored(folders, tmp_path, "--id-folder", folders["train"], "--workers", 2, "--batch-size", 7)
    pd.testing.assert_frame_equal(whole, split)
    folders["one"] = folders["test"] / "0003.png"
    one, _ = scored(folders, tmp_path, "--id-folder", folders["train"], target="one")
    pd.testing.assert_frame_equal(one, whole[3:4].reset_index(drop=True))


def test_an_unreadable_image_is_named_by_workers_too(net, folders, tmp_path):
    bad = spoil(folders["test"], "bad.png", b"not an image")
    arguments = (folders["test"], "--id-folder", folders["train"], "--model", KEY, "--out", tmp_path / "s.csv")
    result = call(*arguments, "--workers", 1)
    assert result.exit_code == 1
    assert f"Error: {bad} cannot be read" in result.output


@pytest.mark.parametrize("size", [1, 16])
def test_images_for_gradients_are_never_kept_together(net, folders, monkeypatch, size):
    most = []
    original = scoring.passes.extract

    def seen(*given, **named):
        out = original(*given, **named)
        most.append(0 if out.inputs is None else len(out.inputs))
        return out

    monkeypatch.setattr("ood_core.scoring.passes.extract", seen)
    monkeypatch.setattr(scorers.odin.ODIN, "sample", 24)
    scoring.score_folders(
        [folders["test"]],
        id_folder=folders["train"],
        held_out=folders["held"],
        model=KEY,
        scorer="odin",
        batch_size=size,
    )
    assert max(most) == 24  # of the 96 to fit on; 60 and 40 come in batches
    assert sorted(most)[-2] == size


OWN = """
import torch
from beside import SIDE
from torch import nn

class Two(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(5)
        self.body, self.fc = nn.Linear(3 * SIDE * SIDE, 6), nn.Linear(6, 2)

    def forward(self, x):
        return self.fc(self.body(x.flatten(1)).relu())

def plain():
    return Two()

def transform(image):
    pixels = torch.tensor(list(image.resize((SIDE, SIDE)).tobytes()), dtype=torch.float32)
    return pixels.reshape(SIDE, SIDE, 3).permute(2, 0, 1) / 255

def paired():
    return Two(), lambda image: transform(image)

def wide():
    pooled = nn.Sequential(nn.AdaptiveAvgPool2d(SIDE), nn.Flatten(), nn.Linear(48, 2))
    return pooled, lambda image: torch.ones(3, *image.size)

def bytes_():
    return Two(), lambda image: torch.ones(3, SIDE, SIDE, dtype=torch.uint8)

def three():
    return nn.Sequential(nn.Flatten(), nn.Linear(3 * SIDE * SIDE, 3)), transform

def other():
    return {"state": 1}

def broken():
    return undefined
"""


TRANSFORMS = """

def swapped():
    return Two(), lambda image: transform(image).flip(0)

def scaled():
    return Two(), lambda image: transform(image) * 0.98

def random():
    return Two(), lambda image: transform(image) + torch.rand(())

def choosy():
    return Two(), lambda image: transform(image.crop((0, 0, 4, 4 // (image.width < 99))))
"""


@pytest.fixture
def mine(photos, tmp_path):
    (tmp_path / "beside.py").write_text("SIDE = 4\n")
    (tmp_path / "mine.py").write_text(OWN + TRANSFORMS)
    return tmp_path / "mine.py"


def test_a_model_of_ones_own_with_its_transform(mine, tmp_path):
    pets, out = tmp_path / "pets", tmp_path / "s.csv"
    held = others(pets, tmp_path / "held")
    fit = ("--id-folder", pets, "--held-out", held, "--scorer", "cluster", "--save", tmp_path / "kept")
    assert call(pets, *fit, "--model", f"{mine}:paired", "--workers", 1, "--out", out).exit_code == 0
    network, transform = scoring.own.made(f"{mine}:paired")
    x = torch.stack([transform(Image.open(path).convert("RGB")) for path in images_in(pets)])
    seen = extract(network, x, labels=torch.arange(12) // 6)
    frame = pd.read_csv(out)
    np.testing.assert_allclose(frame["score"], scorers.make("cluster").fit(seen).score(seen), rtol=1e-5)
    assert list(frame["predicted"]) == [("cat", "dog")[place] for place in seen.logits.argmax(1).tolist()]
    shutil.rmtree(pets / "cat")
    again = ("--load", tmp_path / "kept", "--model", f"{mine}:paired", "--out", out)
    assert call(pets / "dog" / "2.png", *again).exit_code == 0
    np.testing.assert_allclose(pd.read_csv(out)["score"], frame["score"][8:9], rtol=1e-5)
    assert str(tmp_path) not in sys.path


def test_a_model_of_ones_own_without_a_transform_takes_the_constants(mine, tmp_path):
    pets, out = tmp_path / "pets", tmp_path / "s.csv"
    fit = ("--id-folder", pets, "--scorer", "feature_norm", "--size", 4, "--save", tmp_path / "kept")
    given = ("--mean", "0.5,0.5,0.5", "--std", "0.2,0.2,0.2")
    assert call(pets, *fit, *given, "--model", f"{mine}:plain", "--out", out).exit_code == 0
    x = (np.stack([read(path, 3, 4) for path in images_in(pets)]).transpose(0, 3, 1, 2) / 255 - 0.5) / 0.2
    network, _ = scoring.own.made(f"{mine}:plain")
    wanted = scorers.make("feature_norm")
    seen = extract(network, x.astype(np.float32))
    np.testing.assert_allclose(pd.read_csv(out)["score"], wanted.fit(seen).score(seen), rtol=1e-5)
    before = out.read_text()
    assert call(pets, "--load", tmp_path / "kept", "--model", f"{mine}:plain", "--out", out).exit_code == 0
    assert out.read_text() == before


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("absent", [], "mine.py has no function 'absent', expected one that returns the model"),
        ("other", [], "other of {}mine.py returned dict, expected a torch module, or a pair"),
        ("broken", [], "mine.py failed in line 39 (NameError: name 'undefined' is not defined), expected a torch"),
        ("plain", [], "--mean is not given, expected three numbers"),
        ("paired", ["--mean", "0,0,0"], "expected none: its transform prepares the images"),
        ("paired", ["--size", "8"], "--size is 8, expected none: the model's own transform"),
        ("paired", ["--weights", "w"], "--weights came with {}mine.py:paired, expected none"),
        ("wide", [], "expected (3, 60, 40) as of the others"),
        ("bytes_", [], "the transform made torch.uint8 (3, 4, 4) of"),
        ("three", [], "the network gives 3 logits an image, expected 2, one for each class"),
    ],
)
def test_mistakes_in_ones_own_model_are_named(mine, tmp_path, name, options, message):
    pets = tmp_path / "pets"
    result = call(pets, "--id-folder", pets, "--model", f"{mine}:{name}", *options, "--out", tmp_path / "s.csv")
    assert result.exit_code == 1
    assert message.format(f"{tmp_path}/") in result.output
    (mine.parent / "mine.py").write_text("import nothing_of_that_name")
    with pytest.raises(InputError, match=r"failed in line 1 \(ModuleNotFoundError"):
        scoring.own.made(f"{mine}:{name}")


def kept_by(mine, tmp_path, model, *options):
    """A file of --save by a model, and what --load of it by others says, or "" where it succeeds."""
    file, out = tmp_path / f"{model}.kept", tmp_path / "s.csv"
    pets = tmp_path / "pets"
    fit = ("--id-folder", pets, "--model", f"{mine}:{model}", "--scorer", "feature_norm", *options)
    result = call(pets, *fit, "--save", file, "--out", out)
    assert result.exit_code == 0, result.output

    def again(other):
        result = call(pets, "--load", file, "--model", other, "--out", out)
        return result.output if result.exit_code else ""

    return file, again


CONSTANTS = ("--mean", "0.5,0.5,0.5", "--std", "0.2,0.2,0.2", "--size", 4)


def test_a_kept_scorer_is_refused_with_another_transform_or_none(mine, tmp_path):
    _, again = kept_by(mine, tmp_path, "paired")
    assert again(f"{mine}:paired") == ""
    for other in ("swapped", "scaled"):
        assert "was saved with another transform than --model brings, expected the same" in again(f"{mine}:{other}")
    for other in (f"{mine}:plain", "torchvision:resnet18"):
        assert f"{other} brings no transform, expected one" in again(other)
        assert "fit again without --load and with --mean and --std" in again(other)
    _, again = kept_by(mine, tmp_path, "plain", *CONSTANTS)
    assert again(f"{mine}:plain") == ""
    for other in (f"{mine}:paired", KEY):
        assert f"{other} prepares images itself, expected none that does" in again(other)


def test_a_transform_that_varies_is_not_saved_and_one_that_takes_no_other_size_is(mine, tmp_path):
    pets, out = tmp_path / "pets", tmp_path / "s.csv"
    fit = ("--id-folder", pets, "--model", f"{mine}:random", "--scorer", "feature_norm", "--out", out)
    result = call(pets, *fit, "--save", tmp_path / "kept")
    assert result.exit_code == 1
    assert "makes something else of the same image each time, expected the same" in result.output
    assert not (tmp_path / "kept").exists()
    file, again = kept_by(mine, tmp_path, "choosy")
    assert scoring.kept.read(file)[1].transform is None
    assert again(f"{mine}:choosy") == ""


def test_a_setting_of_before_is_read_and_one_of_a_newer_version_refused(mine, tmp_path):
    file, again = kept_by(mine, tmp_path, "paired")
    header, tensors = scorers.artifact.read(file)
    assert header["setting"]["transform"]
    before = {name: value for name, value in header["setting"].items() if name != "transform"}
    scorers.artifact.write(file, {**header, "setting": before}, tensors)
    assert again(f"{mine}:paired") == ""
    assert "brings no transform, expected one" in again(f"{mine}:plain")
    scorers.artifact.write(file, {**header, "setting": {**before, "rotation": 90}}, tensors)
    assert "holds a setting of a newer version" in again(f"{mine}:paired")


def test_a_saved_run_and_a_transform_over_the_same_network_are_told_apart(tmp_path):
    none, some = (), (0.5, 0.25)
    for then, now, said in ((none, some, "brought no transform"), (some, none, "brought a transform")):
        with pytest.raises(InputError, match=f"was saved with a model that {said}, expected the same"):
            scoring.kept._require_same(tmp_path, then, now)
    with pytest.raises(InputError, match="another transform"):
        scoring.kept._require_same(tmp_path, some, None)


def test_held_out_copies_of_what_was_fitted_on_are_refused(net, folders, tmp_path):
    copy = shutil.copytree(folders["train"], tmp_path / "copy")
    arguments = (folders["test"], "--id-folder", folders["train"], "--held-out", copy, "--model", KEY)
    result = call(*arguments, "--scorer", "knn", "--out", tmp_path / "s.csv", "--save", tmp_path / "kept")
    assert result.exit_code == 1
    assert "knn got rows to calibrate on that it was fitted on (96 of 96 seen), expected others" in result.output
    assert not (tmp_path / "s.csv").exists()
    assert not (tmp_path / "kept").exists()


def test_names_that_cannot_be_drawn_are_escaped_on_the_sheet(net, folders, tmp_path, monkeypatch):
    drawn = []
    draw = ImageDraw.ImageDraw.text
    monkeypatch.setattr(ImageDraw.ImageDraw, "text", lambda *given: [drawn.append(given[2]), draw(*given)])
    odd = tmp_path / "a\nb"
    odd.mkdir()
    (folders["test"] / "0000.png").rename(odd / "\x07\u202eé\u4e2d.png")
    arguments = ("--id-folder", folders["train"], "--model", KEY, "--out", tmp_path / "s.csv")
    result = call(odd, *arguments, "--sheet", tmp_path / "sheet.png")
    assert result.exit_code == 0, result.output
    assert drawn[0].endswith("a\\nb")
    font = scoring.sheet._font(13)
    assert scoring.sheet._drawable("\x07\u202eé\u4e2d.png", font) == "\\x07\\u202eé\\u4e2d.png"
    assert all(text.isprintable() for text in drawn)


def test_without_a_wider_font_its_letters_are_escaped(monkeypatch):
    whole = ImageFont.truetype

    def narrow(font, *given, **named):
        if isinstance(font, str):
            raise OSError("cannot open resource")
        return whole(font, *given, **named)

    monkeypatch.setattr(ImageFont, "truetype", narrow)
    monkeypatch.setattr(scoring.sheet, "find_spec", lambda name: None)
    assert scoring.sheet._drawable("café ~\t", scoring.sheet._font(13)) == "caf\\xe9 ~\\t"


def test_scores_on_the_sheet_end_in_a_digit(tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr(ImageDraw.ImageDraw, "text", lambda *given: drawn.append(given[2]))
    Image.new("L", (9, 9)).save(tmp_path / "0.png")
    rows = [(str(tmp_path / "0.png"), score, "in", "") for score in (-9157.3, 0.5, 123456.0, 1.0)]
    scoring.contact_sheet(
        pd.DataFrame(rows, columns=["file", "score", "decision", "predicted"]), tmp_path / "sheet.png", "title"
    )
    assert {text.partition("  ")[0] for text in drawn if text.endswith("  in")} == {
        "-9157",
        "0.5000",
        "1.235e+05",
        "1.000",
    }


def test_the_table_is_printed_before_the_sheet_is_drawn(net, folders, tmp_path, monkeypatch):
    def broken(*_):
        raise InputError("no ink")

    monkeypatch.setattr(scoring, "contact_sheet", broken)
    arguments = ("--id-folder", folders["train"], "--model", KEY, "--out", tmp_path / "s.csv")
    result = call(folders["test"], *arguments, "--sheet", tmp_path / "sheet.png")
    assert result.exit_code == 1
    assert "no ink" in result.output
    assert str(folders["test"]) in result.stdout
    assert "threshold" in result.stderr
    assert len(pd.read_csv(tmp_path / "s.csv")) == 40


@pytest.mark.parametrize(
    ("scorer", "pairs", "wanted"),
    [
        ("kl_matching", {"classes": "true"}, {"classes": "true"}),
        ("knn", {"layer": "0", "k": "3", "which": "mean"}, {"layer": "0", "k": 3, "which": "mean"}),
        ("react", {"then": "knn", "then_params": '{"k": 3}'}, {"then": "knn", "then_params": {"k": 3}}),
        ("msp", {"k": "three"}, {"k": "three"}),
    ],
)
def test_parameters_that_are_names_stay_text(scorer, pairs, wanted):
    assert cli.score._values(scorer, pairs) == wanted


def test_a_choice_and_a_layer_that_read_as_json_can_be_named(net, folders, mine, tmp_path):
    fit = ("--id-folder", folders["train"], "--model", KEY, "--out", tmp_path / "s.csv")
    result = call(folders["test"], *fit, "--scorer", "kl_matching", "--param", "classes=true")
    assert result.exit_code == 0, result.output
    (tmp_path / "numbered.py").write_text(
        "from torch import nn\n"
        "def made():\n"
        "    return nn.Sequential(nn.Flatten(), nn.Linear(48, 5), nn.ReLU(), nn.Linear(5, 2))\n"
    )
    fit = ("--id-folder", tmp_path / "pets", "--model", f"{tmp_path}/numbered.py:made", *CONSTANTS, "--scorer", "knn")
    result = call(tmp_path / "pets", *fit, "--param", "layer=1", "--param", "k=3", "--out", tmp_path / "s.csv")
    assert result.exit_code == 0, result.output


@pytest.mark.parametrize(
    ("options", "both"),
    [
        (["--out", "x", "--sheet", "x"], "--out and --sheet are both"),
        (["--out", "x", "--sheet", "test/../x"], "--out and --sheet are both"),
        (["--out", "x", "--save", "x"], "--out and --save are both"),
        (["--sheet", "x", "--save", "link"], "--sheet and --save are both"),
        (["--out", "x", "--load", "x"], "--out and --load are both"),
        (["--sheet", "w", "--weights", "w"], "--sheet and --weights are both"),
        (["--out", "mine.py", "--model", "mine.py:made"], "--out and --model are both"),
        (["--out", "test/0000.png", "test/0000.png"], "--out and FOLDERS are both"),
    ],
)
def test_one_file_under_two_options_is_refused(folders, tmp_path, monkeypatch, options, both):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "link").symlink_to("x")
    for name in ("x", "w", "mine.py"):
        (tmp_path / name).write_text("kept")
    before = (folders["test"] / "0000.png").read_bytes()
    result = call("test", "--model", KEY, *options)
    assert result.exit_code == 1
    assert both in result.output
    assert [(tmp_path / name).read_text() for name in ("x", "w", "mine.py")] == ["kept"] * 3
    assert (folders["test"] / "0000.png").read_bytes() == before


def test_linked_folders_are_followed_and_files_left_out_are_told(net, folders, tmp_path):
    new = tmp_path / "new"
    (new / "deeper").mkdir(parents=True)
    (new / "linked").symlink_to(folders["test"])
    (new / "deeper" / "back").symlink_to(new)
    for name in ("a.jfif", "b.JPE", "c.jpg"):
        Image.new("L", (8, 8)).save(new / name, format="JPEG")
    for name in ("a.txt", "deeper/b.TXT", "c.heic", "none", ".hidden"):
        (new / name).write_bytes(b"")
    (folders["train"] / "notes.md").write_bytes(b"")
    frame, said = scored({"test": new}, tmp_path, "--id-folder", folders["train"])
    assert len(frame) == 40 + 3
    assert {Path(file).suffix for file in frame["file"]} == {".jfif", ".JPE", ".jpg", ".png"}
    told = "left out 5 files, no image by the name: 2 .txt, 1 without a suffix, 1 .heic, 1 .md"
    assert told in said.stderr.splitlines()
    (folders["train"] / "notes.md").unlink()
    assert "left out" not in scored(folders, tmp_path, "--id-folder", folders["train"])[1].stderr


def test_links_that_lead_back_end_the_walk(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        Image.new("L", (8, 8)).save(tmp_path / name / "0.png")
    (tmp_path / "a" / "there").symlink_to(tmp_path / "b")
    (tmp_path / "b" / "back").symlink_to(tmp_path / "a")
    (tmp_path / "a" / "up").symlink_to(tmp_path)
    assert [str(path.relative_to(tmp_path)) for path in images_in(tmp_path / "a")] == ["a/0.png", "a/there/0.png"]
    assert len(images_in(tmp_path)) == 4


def test_images_beside_the_class_folders_are_refused(net, folders):
    shutil.copy(folders["test"] / "0000.png", folders["train"] / "loose.png")
    with pytest.raises(
        InputError, match=r"train holds 1 images \(loose.png\) beside its sub-folders, expected each in"
    ):
        classes_in(folders["train"])


def test_a_folder_that_cannot_be_read_is_named(folders, monkeypatch):
    listed = os.scandir
    shut = folders["train"] / "7"

    def scandir(path):
        if Path(path) == shut:
            raise PermissionError(13, "Permission denied", str(path))
        return listed(path)

    monkeypatch.setattr(os, "scandir", scandir)
    with pytest.raises(InputError, match=r"train/7 cannot be read \(Permission denied\)"):
        images_in(folders["train"])


DOOR = """
import sys
import torch
try:
    torch.ops.torchvision.nms
except AttributeError as error:
    raise RuntimeError("operator torchvision::nms does not exist") from error
"""


def test_torchvision_can_be_imported_in_ones_own_file(tmp_path):
    (tmp_path / "fake" / "torchvision").mkdir(parents=True)
    (tmp_path / "fake" / "torchvision" / "__init__.py").write_text(DOOR)
    (tmp_path / "mine.py").write_text(
        "import torchvision\nfrom torch import nn\ndef made():\n    return nn.Linear(2, 2)\n"
    )
    code = "import sys; sys.path.insert(0, 'fake'); from ood_core.scoring import own; own.made('mine.py:made')"
    root = Path(cli.__file__).parents[2]
    found = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == 0, found.stderr


@pytest.mark.parametrize("error", [RuntimeError, InputError, ImportError])
def test_a_file_of_ones_own_does_without_torchvision(mine, monkeypatch, error):
    def shut():
        raise error("no torchvision here")

    monkeypatch.setattr(scoring.own, "torchvision", shut)
    assert scoring.own.made(f"{mine}:plain")


def test_a_projection_and_shaped_features_of_a_contrastive_run_can_be_scored(folders, sets, tmp_path, monkeypatch):
    monkeypatch.setenv("OOD_RUNS", str(tmp_path / "runs"))
    built = stored(recipe(head={"name": "projection"}, loss={"name": "supcon"}))
    seen = {part: extract(built, images) for part, images in sets.items()}
    fit = ("--id-folder", folders["train"], "--held-out", folders["held"])
    for name, settings in (
        ("knn", {"layer": "projection"}),
        ("react", {"then": "knn"}),
        ("ash", {"then": "knn", "layer": "features"}),
        ("scale", {"then": "feature_norm", "then_params": {"layer": "features"}}),
        ("react", {"then": "knn", "layer": "projection"}),
    ):
        given = [part for key, value in settings.items() for part in ("--param", f"{key}={as_text(value)}")]
        frame, _ = scored(folders, tmp_path, *fit, "--scorer", name, *given, "--save", tmp_path / "kept")
        wanted = scorers.make(name, **settings).fit(seen["train"]).score(seen["test"])
        np.testing.assert_allclose(frame["score"], wanted, rtol=1e-5)
        again, _ = scored(folders, tmp_path, "--load", tmp_path / "kept")
        np.testing.assert_allclose(again["score"], wanted, rtol=1e-5)
    for settings, reads in (
        ({}, "logits"),
        ({"then": "scale"}, "head"),
        ({"then": "vim"}, "head"),
        ({"then": "knn", "layer": "logits"}, "logits"),
    ):
        with pytest.raises(InputError, match=f"react works through {reads}, expected a scorer of features"):
            scoring.score_folders(
                [folders["test"]], id_folder=folders["train"], model=KEY, scorer="react", parameters=settings
            )


def as_text(value):
    return value if isinstance(value, str) else json.dumps(value)
