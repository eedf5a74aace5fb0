"""Runs, folders, files and calls of the command that these tests share."""

import shutil

import numpy as np
import pandas as pd
import torch
from click.testing import CliRunner
from PIL import Image

from ood_core import cli, data
from ood_core.data.pictures import images_in
from ood_core.networks import network
from ood_core.store import Store

KEY = "5eed5eed5eed5eed5eed"
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
CONSTANTS = ("--mean", "0.5,0.5,0.5", "--std", "0.2,0.2,0.2", "--size", 4)
# A file with functions that each make a model, or a model and a transform.
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

def swapped():
    return Two(), lambda image: transform(image).flip(0)

def scaled():
    return Two(), lambda image: transform(image) * 0.98

def random():
    return Two(), lambda image: transform(image) + torch.rand(())

def choosy():
    return Two(), lambda image: transform(image.crop((0, 0, 4, 4 // (image.width < 99))))

class Afraid(Two):
    def forward(self, x):
        if (x == 0).flatten(1).all(dim=1).any():
            raise KeyError("too dark")
        return super().forward(x)

def afraid():
    return Afraid(), transform

def fussy():
    def small(image):
        assert image.width > 40, f"{image.width} is narrow\\nat line 2"
        return transform(image)
    return Two(), small

def convolved():
    return nn.Sequential(nn.Conv2d(3, 2, SIDE), nn.Flatten()), transform

ready = Two()

def halves():
    net = Two()
    net.fc.to("meta")
    return net, transform
"""


def write(images, folder, by_class=True):
    """One PNG an image, named by its place; returns the folder."""
    for place, pixels in enumerate(images.images):
        name = images.classes[images.labels[place]] if by_class else ""
        (folder / name).mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels.squeeze(-1)).save(folder / name / f"{place:04d}.png")
    return folder


def stored(made):
    """A run of a recipe that was never trained, under KEY; returns its network."""
    built = network(made, data.training(made.data, 0)[0], 0, torch.device("cpu")).eval()
    nothing = pd.DataFrame({"epoch": [0]})
    info = {"key": KEY, "recipe": made.model_dump(mode="json"), "seed": 0}
    Store().put(info, nothing, nothing, {}, built.state_dict(), {})
    return built


def call(*arguments):
    result = CliRunner().invoke(cli.main, ["score", *map(str, arguments)], prog_name="python -m ood_core")
    assert "Traceback" not in result.output
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def scored(folders, tmp_path, *options, target="test", out="s.csv"):
    """Scores by the command, which must succeed."""
    result = call(folders[target], "--model", KEY, *options, "--out", tmp_path / out)
    assert result.exit_code == 0, result.output
    return pd.read_csv(tmp_path / out, dtype={"predicted": str}), result


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


def pixels(path):
    with Image.open(path) as image:
        return np.asarray(image)


def others(folder, target):
    """The same images upside down: of the same classes and no copies."""
    shutil.copytree(folder, target)
    for path in images_in(target):
        Image.fromarray(pixels(path)[::-1]).save(path)
    return target


def spoil(folder, name, content):
    (folder / name).write_bytes(content)
    return folder / name
