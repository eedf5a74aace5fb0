"""Models of one's own, made by a function in a file."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from ood_core import cli, extract, scorers, scoring
from ood_core.checks import InputError
from ood_core.data.pictures import images_in
from ood_core.scoring.folders import read
from tests.scoring.cases import call, others


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
        ("convolved", [], ":convolved has no linear layer, expected one before its logits: scorers take what"),
        ("plain", [], "--mean is not given, expected three numbers"),
        ("paired", ["--mean", "0,0,0"], "expected none: its transform prepares the images"),
        ("paired", ["--size", "8"], "--size is 8, expected none: the model's own transform"),
        ("paired", ["--weights", "w"], "--weights came with {}mine.py:paired, expected none"),
        ("wide", [], "expected (3, 60, 40) as of the others"),
        ("bytes_", [], "the transform made torch.uint8 (3, 4, 4) of"),
        ("halves", [], "halves of {}mine.py returned a module that lies on cpu and meta, expected one device"),
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


@pytest.mark.parametrize("place", ["mine.py", "./mine.py", "pets/../mine.py"])
def test_the_line_is_named_of_a_relative_path_too(mine, tmp_path, monkeypatch, place):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=r"mine.py failed in line 39 \(NameError"):
        scoring.own.made(f"{place}:broken")


def test_a_module_itself_is_taken_as_it_is(mine, tmp_path):
    network, transform = scoring.own.made(f"{mine}:ready")
    assert type(network).__name__ == "Two"
    assert transform is None
    assert type(scoring.own.made(f"{mine}:Two")[0]).__name__ == "Two", "a class is called"


@pytest.mark.parametrize("workers", [0, 1])
def test_an_image_that_the_transform_fails_on_is_named(mine, tmp_path, workers):
    pets = tmp_path / "pets"
    fit = ("--id-folder", pets, "--model", f"{mine}:fussy", "--scorer", "msp", "--workers", workers)
    result = call(pets, *fit, "--out", tmp_path / "s.csv")
    assert result.exit_code == 1
    assert result.output == (
        f"Error: the transform failed on {pets}/cat/5.png (AssertionError: 35 is narrow), expected a float tensor "
        "(C, H, W).\nLet it take every RGB image of Pillow, or move this file away.\n"
    )


@pytest.mark.parametrize("scorer", ["msp", "odin"])
def test_the_files_that_a_model_fails_on_after_others_are_named(mine, tmp_path, scorer):
    new = others(tmp_path / "pets" / "dog", tmp_path / "new")
    Image.new("RGB", (8, 8)).save(new / "4.png")
    given = {"model": f"{mine}:afraid", "id_folder": tmp_path / "pets", "scorer": scorer, "batch_size": 4}
    message = f"Afraid failed on the batch of 2 from {new}/4.png to {new}/5.png (KeyError: 'too dark'), expected logits"
    with pytest.raises(InputError, match=re.escape(message)) as refused:
        scoring.score_folders([new], **given)
    assert isinstance(refused.value.__cause__, KeyError)


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
