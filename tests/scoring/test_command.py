"""The command: mistakes named, values read as they are meant, no file overwritten."""

import os
import resource
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from ood_core import scorers, scoring
from ood_core.checks import InputError
from ood_core.cli import score
from tests.scoring.cases import CONSTANTS, KEY, call


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
        (["--id-folder", "train", "--model", "w.pt"], 1, "Others: --model FILE.py:FUNCTION, a function that loads"),
        (["--id-folder", "train", "--model", "w.st", "--mean", "0,0,0"], 1, "--model is 'w.st', the name of a file"),
        (["--id-folder", "train", "--model", "resnet18", "--weights", "w"], 1, "Write --model torchvision:resnet18."),
        (["--id-folder", "train", "--model", KEY, "--mean", "0,0,0"], 1, "expected none: a run holds its own"),
        (["--id-folder", "train", "--model", KEY, "--mean", "a,b"], 2, "not numbers with commas between"),
        (["--id-folder", "train", "--model", KEY, "--scorer", "magic"], 2, "'magic' is not one of 'msp'"),
        (["--id-folder", "train", "--model", KEY, "--scorer", "KNN"], 2, "'odin'. Did you mean 'knn'?"),
        (["--id-folder", "train", "--model", KEY, "--scorer", "mahalnobis"], 2, "Did you mean 'mahalanobis'?"),
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
        (["--id-folder", "train", "--model", KEY, "--sheet", "s.txt"], 1, "s.txt ends in .txt, expected .png"),
        (
            ["--id-folder", "train", "--model", KEY, "--sheet", "test/s.png"],
            1,
            "--sheet test/s.png lies in test, expected",
        ),
        (
            ["--id-folder", "train", "--model", KEY, "--sheet", "link/s.png"],
            1,
            "--sheet link/s.png lies in test, expect",
        ),
        (
            ["--id-folder", "train", "--model", KEY, "--sheet", "train/3/s.png"],
            1,
            "--sheet train/3/s.png lies in train",
        ),
        (["--id-folder", "train", "--model", KEY, "--sheet", "pipe"], 1, "--sheet pipe cannot be written (it is a dev"),
        (["--id-folder", "train", "--model", "torchvision:resnet"], 1, "no classifier 'resnet', expected one such as"),
        (["--id-folder", "train", "--model", "torchvision:resnet18"], 1, "without --weights"),
        (["--id-folder", "train", "--model", "torchvision:resnet18", "--weights", "w"], 1, "--mean is not given"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_mistakes_are_named(net, folders, tmp_path, monkeypatch, options, code, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("test")
    result = call("test", *options)
    assert result.exit_code == code, result.output
    assert message in result.output
    assert not (tmp_path / "scores.csv").exists()


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


@pytest.mark.parametrize(
    ("scorer", "pairs", "wanted"),
    [
        ("kl_matching", {"classes": "true"}, {"classes": "true"}),
        ("knn", {"layer": "0", "k": "3", "which": "mean"}, {"layer": "0", "k": 3, "which": "mean"}),
        ("react", {"then": "knn", "then_params": '{"k": 3}'}, {"then": "knn", "then_params": {"k": 3}}),
        ("knn", {"exclude_self": "true"}, {"exclude_self": True}),
        ("knn", {"exclude_self": "yes"}, {"exclude_self": "yes"}),
        ("msp", {"k": "three"}, {"k": "three"}),
    ],
)
def test_parameters_that_are_names_stay_text(scorer, pairs, wanted):
    assert score._values(scorer, pairs) == wanted


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


def test_small_scores_are_printed_with_significant_digits(net, folders, tmp_path, monkeypatch):
    whole = scorers.make("msp").__class__._score
    monkeypatch.setattr("ood_core.scorers.logits.MSP._score", lambda self, x: -1e-5 * whole(self, x))
    result = call(folders["test"], "--id-folder", folders["train"], "--model", KEY, "--out", tmp_path / "s.csv")
    frame = pd.read_csv(tmp_path / "s.csv")
    shown = result.stdout.splitlines()[-1].split()[-3:]
    expected = [frame["score"].min(), frame["score"].median(), frame["score"].max()]
    assert list(map(float, shown)) == pytest.approx(expected, rel=1e-5)


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


@pytest.fixture
def full():
    """Sets how long files may be from now on in one test: a longer one fails as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("name", ["s.csv", "sheet.png"])
def test_a_disk_that_is_full_is_told_and_an_older_file_stays(net, folders, tmp_path, monkeypatch, full, name):
    paths = {"s.csv": tmp_path / "s.csv", "sheet.png": tmp_path / "sheet.png"}
    for path in paths.values():
        path.write_text("older")
    whole, place = scoring.score_folders, scoring.contact_sheet
    if name == "s.csv":
        monkeypatch.setattr(scoring, "score_folders", lambda *given, **named: (whole(*given, **named), full(500))[0])
    monkeypatch.setattr(scoring, "contact_sheet", lambda *given: (full(500), place(*given)))
    fit = ("--id-folder", folders["train"], "--model", KEY, "--out", paths["s.csv"], "--sheet", paths["sheet.png"])
    result = call(folders["test"], *fit)
    assert result.exit_code == 1
    assert f"Error: {paths[name]} cannot be written (File too large), expected a writable disk" in result.output
    assert paths[name].read_text() == "older"
    assert not list(tmp_path.glob("*.writing"))


@pytest.mark.skipif(not Path("/dev/full").is_char_device(), reason="no /dev/full here")
def test_a_device_is_written_to_and_never_replaced(net, folders, tmp_path):
    fit = ("--id-folder", folders["train"], "--model", KEY)
    result = call(folders["test"], *fit, "--out", "/dev/full")
    assert result.exit_code == 1
    assert "Error: /dev/full cannot be written (No space left on device), expected a writable disk" in result.output
    command = [sys.executable, "-m", "ood_core", "score", folders["test"], *fit, "--out", "/dev/stdout"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("file,score,decision,predicted\n")
    (tmp_path / "link.csv").symlink_to("linked.csv")
    assert call(folders["test"], *fit, "--out", tmp_path / "link.csv").exit_code == 0
    assert done.stdout.startswith((tmp_path / "linked.csv").read_text())
