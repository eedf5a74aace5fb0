"""Files that cannot be read: refused with the option that leaves them out, or left out of everything by name."""

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from ood_core import scoring
from ood_core.checks import InputError
from tests.scoring.cases import CONSTANTS, KEY, call, scored, spoil

SKIP = "--skip-unreadable"


def broken(folder):
    """One file of each kind that is no whole image, beside those that are there; returns their paths."""
    whole = next(path for path in sorted(folder.rglob("*.png"))).read_bytes()
    contents = {"empty": b"", "half": whole[: len(whole) // 2], "text": b"not an image"}
    made = [spoil(folder, f"{name}.png", content) for name, content in contents.items()]
    (folder / "lost.png").symlink_to(folder / "nowhere.png")
    return [*made, folder / "lost.png"]


@pytest.mark.parametrize("workers", [0, 2])
def test_what_cannot_be_read_is_named_and_changes_nothing_else(net, folders, tmp_path, monkeypatch, workers):
    monkeypatch.setattr("ood_core.scoring.readable.SOME", 7)
    fit = ("--id-folder", folders["train"], "--held-out", folders["held"], "--scorer", "ddu", "--workers", workers)
    wanted, said = scored(folders, tmp_path, *fit)
    untouched, told = scored(folders, tmp_path, *fit, SKIP)
    pd.testing.assert_frame_equal(untouched, wanted)
    assert told.stderr == said.stderr
    bad = [path for part in ("test", "train/3", "held") for path in broken(folders["test"].parent / part)]
    found, told = scored(folders, tmp_path, *fit, SKIP)
    pd.testing.assert_frame_equal(found, wanted)
    assert told.stdout == said.stdout
    lines = told.stderr.splitlines()
    at = lines.index("left out 12 image files that cannot be read, without a row in the CSV:")
    named = lines[at + 1 : at + 13]
    assert {line.split(" (")[0].strip() for line in named} == {str(path) for path in bad}
    assert f"  {folders['test'] / 'text.png'} (cannot identify image file)" in named
    assert f"  {folders['test'] / 'lost.png'} (No such file or directory)" in named
    assert any(line.startswith(f"  {folders['test'] / 'half.png'} (") and "truncated" in line for line in named)
    assert [line for line in lines if line not in (*named, lines[at])] == said.stderr.splitlines()


def test_a_kept_scorer_leaves_out_too_and_the_table_stays_json(net, folders, tmp_path):
    kept = tmp_path / "kept"
    wanted, _ = scored(folders, tmp_path, "--id-folder", folders["train"], "--save", kept)
    spoil(folders["test"], "half.png", (folders["test"] / "0000.png").read_bytes()[:60])
    found, told = scored(folders, tmp_path, "--load", kept, SKIP, "--json", "--sheet", tmp_path / "sheet.png")
    pd.testing.assert_frame_equal(found, wanted)
    printed = json.loads(told.stdout)
    assert printed["folders"][0]["images"] == len(wanted)
    assert printed["accuracy"] is None  # no ID image was read
    assert "left out 1 image file that cannot be read, without a row" in told.stderr


@pytest.mark.parametrize("place", ["test", "train/3", "held", "test/0000.png"])
def test_a_folder_without_a_readable_image_is_refused(net, folders, tmp_path, monkeypatch, place):
    monkeypatch.chdir(tmp_path)
    for path in sorted(Path(place).rglob("*.png")) or [Path(place)]:
        path.write_bytes(path.read_bytes()[:60])
    count = len(list(Path(place).rglob("*.png"))) or 1
    new = place if place.startswith("test") else "photos"
    options = ("--id-folder", "train", "--held-out", "held", "--model", KEY, SKIP)
    monkeypatch.setattr("ood_core.scoring.fitted", lambda *_: pytest.fail("a scorer is fitted"))
    result = call(new, *options)
    assert result.exit_code == 1
    assert f"Error: {place} holds no image that can be read (" in result.output
    assert f"expected one at least of {count}." in result.output
    assert not (tmp_path / "scores.csv").exists()


@pytest.mark.parametrize("skip", [(), (SKIP,)])
def test_images_that_ask_to_be_turned_are_counted_and_a_transform_turns_them(mine, tmp_path, skip):
    new, exif = tmp_path / "new", Image.Exif()
    new.mkdir()
    stored = Image.fromarray(np.arange(144, dtype=np.uint8).reshape(4, 12, 3))
    for tag in (1, 8):
        exif[0x0112] = tag
        for suffix in ("png", "webp", "jpg", "tif"):  # the last is turned by Pillow
            stored.save(new / f"{tag}.{suffix}", exif=exif, lossless=True)
    stored.transpose(Image.Transpose.ROTATE_90).save(new / "shown.png")
    mine.write_text(
        f"{mine.read_text()}\nfrom PIL import ImageOps\n"
        "def shown():\n    return Two(), lambda image: transform(ImageOps.exif_transpose(image))\n"
    )
    fit = (new, "--id-folder", tmp_path / "pets", "--out", tmp_path / "s.csv", *skip, "--scorer", "feature_norm")
    turns = {}
    for model in ("paired", "shown"):
        told = call(*fit, "--model", f"{mine}:{model}").stderr
        assert "3 images ask by an EXIF tag to be shown turned or mirrored, which only a transform of your own" in told
        scores = {Path(row.file).name: row.score for row in pd.read_csv(tmp_path / "s.csv").itertuples()}
        turns[model] = [name for name in ("8.png", "8.webp", "8.tif") if scores[name] == scores["shown.png"]]
    assert turns == {"paired": ["8.tif"], "shown": ["8.png", "8.webp", "8.tif"]}
    for name in ("8.png", "8.webp"):
        (new / name).unlink()
    assert "\n1 image asks by an EXIF tag" in call(*fit, "--model", f"{mine}:paired").stderr
    spoil(new, "8.jpg", (new / "8.jpg").read_bytes().replace(b"Exif\0\0", b"Exif\0\0??"))  # no tag can be read
    told = call(*fit, "--model", f"{mine}:paired")
    assert told.exit_code == 0
    assert "EXIF" not in told.stderr


def test_another_size_is_no_damage(net, folders, tmp_path):
    """It is a mistake about a whole folder, which a row less would hide."""
    fit = ("--id-folder", folders["train"], "--model", KEY, "--out", tmp_path / "s.csv", SKIP)
    Image.new("L", (9, 8)).save(folders["test"] / "odd.png")
    result = call(folders["test"], *fit)
    assert result.exit_code == 1
    assert "odd.png is 9x8 pixels, expected 8x8" in result.output


def test_what_holds_more_than_8_bits_a_channel_is_left_out_too(net, folders, tmp_path):
    fit = ("--id-folder", folders["train"], "--held-out", folders["held"])
    wanted, _ = scored(folders, tmp_path, *fit)
    odd = [folders["test"].parent / part / "has pixels: odd.png" for part in ("test", "train/3", "held")]
    for place, path in enumerate(odd):
        Image.fromarray(np.full((8, 8), 40_000 + place, dtype=np.uint16)).save(path)
    Image.new("F", (8, 8)).save(folders["test"] / "float.tif")
    result = call(folders["test"], *fit, "--model", KEY, "--out", tmp_path / "s.csv")
    assert result.exit_code == 1
    assert "expected 8 bits a channel" in result.output
    found, told = scored(folders, tmp_path, *fit, SKIP)
    pd.testing.assert_frame_equal(found, wanted)
    for path in odd:
        assert f"  {path} (pixels of type I;16, expected 8 bits a channel)\n" in told.stderr
    assert f"  {folders['test'] / 'float.tif'} (pixels of type F, expected 8 bits a channel)\n" in told.stderr


def test_without_pillow_no_file_is_to_blame(net, folders, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "PIL", None)
    result = call(folders["test"], "--id-folder", folders["train"], "--model", KEY, "--out", tmp_path / "s.csv", SKIP)
    assert result.exit_code == 1
    assert "Error: Pillow is not installed, expected for image files" in result.output


def test_the_file_alone_decides_with_a_model_of_ones_own(mine, tmp_path):
    """Colours of print become RGB; where a transform fails on an image, the image is not to blame."""
    pets = tmp_path / "pets"
    Image.new("CMYK", (50, 50)).save(pets / "cat" / "print.jpg")
    half = spoil(pets / "dog", "half.png", (pets / "dog" / "0.png").read_bytes()[:500])
    for model, extra in ((f"{mine}:paired", ()), (f"{mine}:plain", CONSTANTS)):
        arguments = (pets, "--id-folder", pets, "--model", model, *extra, "--out", tmp_path / "s.csv")
        result = call(*arguments)
        assert result.exit_code == 1
        assert f"{half} cannot be read (image file is truncated" in result.output
        result = call(*arguments, SKIP)
        assert result.exit_code == 0, result.output
        files = {Path(file).name for file in pd.read_csv(tmp_path / "s.csv")["file"]}
        assert "print.jpg" in files
        assert "half.png" not in files
    result = call(pets, "--id-folder", pets, "--model", f"{mine}:fussy", "--out", tmp_path / "s.csv", SKIP)
    assert "the transform failed on" in result.output


def test_a_call_from_python_gets_the_files_and_the_reasons(net, folders):
    shutil.copy(folders["test"] / "0000.png", folders["test"] / "copy.png")
    bad = spoil(folders["test"], "half.png", (folders["test"] / "0000.png").read_bytes()[:60])
    given = {"id_folder": folders["train"], "model": KEY}
    with pytest.raises(InputError, match=r"half.png cannot be read[\s\S]*leave it out with `skip_unreadable=True`"):
        scoring.score_folders([folders["test"]], **given)
    found = scoring.score_folders([folders["test"]], **given, skip_unreadable=True)
    assert list(found.unreadable) == [bad]
    assert "truncated" in found.unreadable[bad]
    assert len(found.frame) == 41
