"""How well the network classifies ID images: told, and a network that may as well guess is warned of."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ood_core import scoring
from ood_core.scoring.accuracy import Accuracy, accuracy
from ood_core.scoring.classifiers import Classifier
from tests.scoring.cases import KEY, call

MODELS = """
import torch
from torch import nn

def fitting(sign, shift):
    net = nn.Sequential(nn.Flatten(), nn.Linear(48, 2))
    with torch.no_grad():
        net[1].weight.zero_()[1] = sign / 48
        net[1].bias.zero_()[1] = -sign * shift
    return net

def right():
    return fitting(1.0, 0.5)

def reversed_():
    return fitting(-1.0, 0.5)

def blind():
    return fitting(1.0, 99.0)
"""
CONSTANTS = ("--mean", "0,0,0", "--std", "1,1,1")


@pytest.fixture
def lit(tmp_path):
    """Dark and bright images to train on and to hold out, some without a class, and networks that know them or not."""
    rng = np.random.default_rng(0)
    for part, count in (("train", 15), ("held", 20), ("loose", 10)):
        for place, label in enumerate(("a dark", "bright")):
            folder = tmp_path / part / ("" if part == "loose" else label)
            folder.mkdir(parents=True, exist_ok=True)
            for i in range(count):
                pixels = rng.integers(0, 100, (4, 4, 3)) + 150 * (place if i else 1 - place)  # one of each is wrong
                Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{label} {i:02}.png")
    (tmp_path / "nets.py").write_text(MODELS)
    return tmp_path


def score(lit, model, *options):
    fit = ("--id-folder", lit / "train", "--model", f"{lit}/nets.py:{model}", *CONSTANTS, "--out", lit / "s.csv")
    result = call(lit / "loose", *fit, *options)
    assert result.exit_code == 0, result.output
    return result


@pytest.mark.parametrize("scorer", ["msp", "odin"])
def test_the_share_of_held_out_images_in_their_class_is_told(lit, scorer):
    result = score(lit, "right", "--held-out", lit / "held", "--scorer", scorer, "--json")
    assert f"the network puts 95.0 % of 40 ID images in {lit}/held into their folder's class\n" in result.stderr
    assert "warning" not in result.stderr
    expected = {"folder": f"{lit}/held", "right": 38, "n": 40, "chance": 0.5, "share": 0.95, "doubtful": False}
    assert json.loads(result.stdout)["accuracy"] == expected


@pytest.mark.parametrize(("model", "share"), [("reversed_", "5.0"), ("blind", "50.0")])
def test_a_network_that_may_as_well_guess_is_warned_of(lit, model, share):
    told = score(lit, model, "--held-out", lit / "held").stderr
    assert f"the network puts {share} % of 40 ID images" in told
    assert "warning: chance alone would give about 50.0 %, so its scores may mean nothing. Check that the sub" in told


@pytest.mark.parametrize("scorer", ["msp", "odin"])
def test_without_classes_held_out_it_is_that_of_the_images_that_are_fitted_on(lit, scorer):
    some = score(lit, "right", "--held-out", lit / "loose", "--scorer", scorer).stderr
    told = f"of 30 ID images in {lit}/train into their folder's class; of new ones fewer, if it was trained on these\n"
    assert f"the network puts 93.3 % {told}" in some
    (lit / "held" / "grey").mkdir()
    shutil.copy(lit / "held" / "bright" / "bright 01.png", lit / "held" / "grey" / "0.png")  # of no known class
    assert "95.0 % of 40 ID images" in score(lit, "right", "--held-out", lit / "held", "--scorer", scorer).stderr
    fifth = score(lit, "right", "--scorer", scorer).stderr
    assert f"the network puts 100.0 % {told.replace('30', '6')}" in fifth


def test_a_network_without_classes_has_none(net, folders, monkeypatch):
    without = Classifier(net, net.prepare, 1, (8, 8), predicts=False)
    monkeypatch.setattr("ood_core.scoring.classifiers._stored", lambda *_: without)
    found = scoring.score_folders([folders["test"]], id_folder=folders["train"], model=KEY, scorer="knn")
    assert found.accuracy is None


@pytest.mark.parametrize(
    ("right", "n", "chance", "doubtful"),
    [
        (300, 1000, 0.1, False),
        (180, 1000, 0.1, True),
        (5, 8, 0.5, True),
        (8, 8, 0.5, False),
        (2, 2, 0.5, False),
        (98, 100, 0.9, False),  # most images are of one class
        (95, 100, 0.95, True),  # all of them are put there
        (10, 10, 1.0, False),
        (0, 10, 0.0, True),
        (150, 1000, 0.001, False),
    ],
)
def test_chance_is_told_from_knowledge(right, n, chance, doubtful):
    assert Accuracy(Path("x"), right, n, chance).doubtful == doubtful


def test_chance_counts_the_classes_of_images_and_predictions():
    predicted = {
        Path(f"x/{own}/{i}.png"): place for i, (own, place) in enumerate(zip("aaab", (0, 0, 1, 1), strict=True))
    }
    found = accuracy(predicted, Path("x"), ["a", "b"])
    assert (found.right, found.n, found.chance) == (3, 4, (3 * 2 + 1 * 2) / 16)
    assert accuracy(predicted, Path(), ["a", "b"]) is None
