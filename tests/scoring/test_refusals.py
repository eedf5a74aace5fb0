"""Refusals name parameters, which the command turns into its options."""

import ast
import inspect
import re

import pytest

from ood_core import scoring
from ood_core.checks import InputError
from ood_core.cli.score import _in_options, score_command
from tests.building import ROOT
from tests.scoring.cases import KEY, MEAN, STD, call

SOURCES = sorted(path for part in ("scoring", "features") for path in (ROOT / "ood_core" / part).glob("*.py"))
TREES = [ast.parse(path.read_text(encoding="utf-8")) for path in SOURCES]


def texts(nodes):
    """Every string in these parts of the sources."""
    found = (part for node in nodes for part in ast.walk(node) if isinstance(part, ast.Constant))
    return [part.value for part in found if isinstance(part.value, str)]


def test_the_library_knows_no_options():
    assert len(texts(TREES)) > 500
    assert [text for text in texts(TREES) if re.search(r"(^|[^-])--[a-z]", text)] == []


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "neither `id_folder` nor `load` is given, expected one"),
        ({"load": "x", "scorer": "msp", "size": 8}, "`load` came with `scorer`, `size`, expected none"),
        ({"load": "x", "parameters": {"k": 3}}, "`load` came with `parameters`, expected none"),
        ({"id_folder": "train", "size": 5}, r"`size` is 5, expected 8: .*\nPass `size=8`\."),
        ({"id_folder": "train", "mean": MEAN}, "`weights`, `mean` or `std` came with the stored run"),
        ({"id_folder": "held"}, "expected one for each class"),
        ({"id_folder": "held/0000.png"}, "expected one sub-folder of images a class in `id_folder`"),
        ({"id_folder": "train", "held_out": "train/7"}, "`held_out` shares 12 of its 12 images with `id_folder`"),
        ({"id_folder": "train", "model": "mine.py"}, "`model` is mine.py, expected a function of that file as well"),
        ({"id_folder": "train", "model": "torchvision:resnet18"}, "came without `weights`, expected a safetensors"),
        (
            {"id_folder": "train", "model": "torchvision:resnet18", "weights": "w", "std": STD},
            r"`mean` is not given[\s\S]*`mean=\(0.485, 0.456, 0.406\)` and `std=\(0.229, 0.224, 0.225\)`",
        ),
    ],
    ids=str,
)
def test_a_call_from_python_is_told_its_parameters(net, folders, tmp_path, monkeypatch, given, message):
    monkeypatch.chdir(tmp_path)
    paths = {name: folders["test"].parent / value for name, value in given.items() if name in ("id_folder", "held_out")}
    with pytest.raises(InputError, match=message) as refused:
        scoring.score_folders([folders["test"]], **{"model": KEY, **given, **paths})
    assert not re.search(r"(^|\s)--[a-z]", str(refused.value))


def test_every_parameter_in_a_refusal_has_an_option():
    raised = texts(node for tree in TREES for node in ast.walk(tree) if isinstance(node, ast.Raise))
    named = {name for text in raised for name in re.findall(r"`(\w+)", text)}
    named &= set(inspect.signature(scoring.score_folders).parameters)
    assert {"id_folder", "load", "size", "mean", "model"} <= named
    options = {parameter.name for parameter in score_command.params} | {"parameters"}
    assert named <= options
    for name in named:
        assert _in_options(f"`{name}`") in {f"--{name.replace('_', '-')}", "--param"}


@pytest.mark.parametrize(
    ("text", "typed"),
    [
        ("`load` came with `id_folder`, `parameters`, expected", "--load came with --id-folder, --param, expected"),
        ("Pass `size=4`.", "Pass --size 4."),
        ("`mean=(0.485, 0.456, 0.406)` and `std=(1, 1, 1)`", "--mean 0.485,0.456,0.406 and --std 1,1,1"),
        ("leave it out with `skip_unreadable=True`.", "leave it out with --skip-unreadable."),
        ('Pass for example `scorer="knn"`.', "Pass for example --scorer knn."),
        ("it has no `prepare`; `python -m ood_core run PAGE` prints", None),
        ("size is 4 `and\nso` on", None),
    ],
)
def test_the_command_says_it_in_options(text, typed):
    assert _in_options(text) == (typed or text)


def test_the_command_is_told_its_options(net, folders, tmp_path):
    options = ("--id-folder", folders["train"], "--model", KEY, "--out", tmp_path / "s.csv")
    said = call(folders["test"], *options, "--size", 5).output
    assert "Error: --size is 5, expected 8: this network was trained on 8x8 images.\nPass --size 8." in said
