"""Folders of images: every image once, in a fixed order, and none that cannot be meant."""

import os
import shutil
import struct
import zlib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from ood_core.checks import InputError
from ood_core.data.pictures import images_in
from ood_core.scoring.folders import classes_in, read
from tests.scoring.cases import KEY, call, scored, spoil


def test_hidden_files_and_folders_are_left_out(folders):
    before = images_in(folders["train"])
    for place in (".ipynb_checkpoints", "7/.ipynb_checkpoints/deeper"):
        (folders["train"] / place).mkdir(parents=True)
        shutil.copy(before[0], folders["train"] / place / "0.png")
    assert images_in(folders["train"]) == before
    assert images_in((folders["train"] / "7").rename(folders["train"] / ".7"))


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


def test_an_image_that_is_found_twice_is_scored_once(net, folders, tmp_path):
    test, one = folders["test"], folders["test"] / "0003.png"
    arguments = ("--id-folder", folders["train"], "--model", KEY, "--out", tmp_path / "s.csv")
    wanted, _ = scored(folders, tmp_path, "--id-folder", folders["train"])
    (tmp_path / "link").symlink_to(test)
    result = call(test, one, test / ".." / "test", tmp_path / "link", *arguments)
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "s.csv", dtype={"predicted": str}), wanted)
    assert len(result.stdout.splitlines()) == 3
    call(one, test, *arguments)
    assert list(pd.read_csv(tmp_path / "s.csv")["file"].map(Path).map(lambda path: path.name))[:2] == [
        one.name,
        "0000.png",
    ]
    assert len(pd.read_csv(tmp_path / "s.csv")) == 40


def test_links_that_lead_back_end_the_walk(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        Image.new("L", (8, 8)).save(tmp_path / name / "0.png")
    (tmp_path / "a" / "there").symlink_to(tmp_path / "b")
    (tmp_path / "b" / "back").symlink_to(tmp_path / "a")
    (tmp_path / "a" / "up").symlink_to(tmp_path)
    assert [str(path.relative_to(tmp_path)) for path in images_in(tmp_path / "a")] == ["a/0.png", "a/there/0.png"]
    assert len(images_in(tmp_path)) == 4


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


def test_images_beside_the_class_folders_are_refused(net, folders):
    shutil.copy(folders["test"] / "0000.png", folders["train"] / "loose.png")
    with pytest.raises(
        InputError, match=r"train holds 1 images \(loose.png\) beside its sub-folders, expected each in"
    ):
        classes_in(folders["train"])


def test_files_that_are_no_images_are_named_together_before_any_work(net, folders, tmp_path, monkeypatch):
    bad = [spoil(folders["test"], f"bad{i}.png", b"not an image") for i in range(5)]
    monkeypatch.setattr("ood_core.scoring.classifiers.load", lambda *_, **__: pytest.fail("a model is loaded"))
    result = call(folders["test"], "--id-folder", folders["train"], "--model", KEY, "--out", tmp_path / "s.csv")
    assert result.exit_code == 1
    assert f"{bad[0]}, {bad[1]}, {bad[2]} and others cannot be read" in result.output
    assert "that is so of 5 of the files.\nReplace these files, move them away, or leave them out with" in result.output
    assert "with --skip-unreadable.\n" in result.output


def test_an_unreadable_image_is_named(net, folders, tmp_path):
    whole = (folders["test"] / "0000.png").read_bytes()
    for content in (b"", b"not an image", whole[: len(whole) // 2]):
        bad = spoil(folders["test"], "bad.png", content)
        result = call(folders["test"], "--id-folder", folders["train"], "--model", KEY, "--out", tmp_path / "s.csv")
        assert result.exit_code == 1
        assert f"{bad} cannot be read" in result.output
        assert "with --skip-unreadable." in result.output
        assert not (tmp_path / "s.csv").exists()


def test_sixteen_bits_are_not_clipped_in_silence(tmp_path):
    Image.fromarray(np.full((4, 4), 40_000, dtype=np.uint16)).save(tmp_path / "deep.png")
    with pytest.raises(InputError, match=r"deep.png has pixels of type I;16, expected 8 bits"):
        read(tmp_path / "deep.png", 1)


def png(kind, channels):
    """A PNG of 2x2 pixels with 16 bits a channel, which Pillow does not write in colour."""
    parts = [(b"IHDR", struct.pack(">IIBBBBB", 2, 2, 16, kind, 0, 0, 0))]
    parts += [(b"IDAT", zlib.compress(2 * (b"\0" + 2 * channels * b"\x12\x34"))), (b"IEND", b"")]
    chunks = (struct.pack(">I", len(x)) + tag + x + struct.pack(">I", zlib.crc32(tag + x)) for tag, x in parts)
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def tiff(order):
    """One with 16 bits in each of three channels, in a byte order."""
    end = {"II": "<", "MM": ">"}[order]
    fields = [(256, 3, 1, 2), (257, 3, 1, 2), (258, 3, 3, 200), (259, 3, 1, 1), (262, 3, 1, 2)]
    fields += [(273, 4, 1, 300), (277, 3, 1, 3), (278, 3, 1, 2), (279, 4, 1, 24)]
    text = order.encode() + struct.pack(f"{end}HIH", 42, 8, len(fields))
    for tag, kind, count, value in fields:
        short = kind == 3 and count == 1
        text += struct.pack(f"{end}HHI", tag, kind, count) + struct.pack(
            f"{end}{'HH' if short else 'I'}", value, *[0] * short
        )
    return (text.ljust(200, b"\0") + struct.pack(f"{end}HHH", 16, 16, 16)).ljust(300, b"\0") + 24 * b"\x12"


@pytest.mark.parametrize(
    ("name", "content", "kind"),
    [
        ("rgb.png", png(2, 3), "RGB;16B"),
        ("rgba.png", png(6, 4), "RGBA;16B"),
        ("la.png", png(4, 2), "LA;16B"),
        ("little.tif", tiff("II"), "RGB;16L"),
        ("big.tif", tiff("MM"), "RGB;16B"),
        ("bytes.ppm", b"P6 2 2 65535\n" + 24 * b"\x12", "RGB up to 65535"),
        ("text.ppm", b"P3 1 1 1023\n1 1000 30\n", "RGB up to 1023"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_sixteen_bits_of_colour_are_not_rounded_in_silence(tmp_path, name, content, kind):
    path = spoil(tmp_path, name, content)
    with pytest.raises(InputError, match=rf"{name} has pixels of type {kind}, expected 8 bits a channel: conversion"):
        read(path, 3)


def test_what_has_8_bits_or_fewer_a_channel_is_read(tmp_path):
    Image.new("RGB", (2, 2), (255, 0, 0)).save(tmp_path / "8.png")
    wanted = read(tmp_path / "8.png", 3)
    row = struct.pack("<HH", 0xF800, 0xF800)
    head = struct.pack("<IiiHHIIiiII", 40, 2, 2, 1, 16, 3, 8, 0, 0, 0, 0) + struct.pack("<III", 0xF800, 0x7E0, 0x1F)
    spoil(tmp_path, "16.bmp", b"BM" + struct.pack("<IHHI", 74, 0, 0, 66) + head + 2 * row)  # 5, 6 and 5 bits
    spoil(tmp_path, "15.ppm", b"P6 2 2 15\n" + 4 * b"\x0f\0\0")
    Image.fromarray(wanted).quantize(2).save(tmp_path / "p.png")
    Image.fromarray(wanted).save(tmp_path / "p.tif", compression="tiff_lzw")
    assert not read(spoil(tmp_path, "1.pbm", b"P1 2 2\n1 1 1 1\n"), 3).any()
    for name in ("16.bmp", "15.ppm", "p.png", "p.tif"):
        assert read(tmp_path / name, 3).tolist() == wanted.tolist(), name


def test_an_image_of_another_size_is_named_unless_all_are_resized(net, folders, tmp_path):
    Image.new("L", (9, 8)).save(folders["test"] / "wide.png")
    arguments = (folders["test"], "--id-folder", folders["train"], "--model", KEY, "--out", tmp_path / "s.csv")
    result = call(*arguments)
    assert result.exit_code == 1
    assert "wide.png is 9x8 pixels, expected 8x8 as the others.\nPass --size 8" in result.output
    assert call(*arguments, "--size", 8).exit_code == 0
    assert "this network was trained on 8x8 images" in call(*arguments, "--size", 16).output
