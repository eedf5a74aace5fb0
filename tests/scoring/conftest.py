"""Networks, folders of images and a file with models of one's own."""

import numpy as np
import pytest
from PIL import Image
from safetensors.torch import save_file

from ood_core import data
from ood_core._torchvision import torchvision
from tests.scoring.cases import OWN, stored, write
from tests.spine import recipe


@pytest.fixture
def net(tmp_path, monkeypatch):
    """An untrained network in a store of its own; nothing here depends on how good it is."""
    monkeypatch.setenv("OOD_RUNS", str(tmp_path / "runs"))
    return stored(recipe(head={"name": "l2"}))


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


@pytest.fixture
def mine(photos, tmp_path):
    (tmp_path / "beside.py").write_text("SIDE = 4\n")
    (tmp_path / "mine.py").write_text(OWN)
    return tmp_path / "mine.py"
