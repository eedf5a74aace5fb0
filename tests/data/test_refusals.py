"""ID sets that nothing can be learned from are refused before training, by name."""

import numpy as np
import pytest

from ood_core import data
from ood_core.checks import InputError
from ood_core.recipes.schema import Data
from tests.data.layouts import pixels


@pytest.fixture(autouse=True)
def root(tmp_path, monkeypatch):
    monkeypatch.setenv("OOD_DATA", str(tmp_path))
    data.load.cache_clear()
    yield tmp_path
    data.load.cache_clear()


def mine(root, labels, classes):
    given = {} if labels is None else {"labels": labels}
    np.savez(root / "mine-train.npz", images=pixels(40, 8, 1), classes=classes, **given)
    return {"id_set": "mine"}


def test_no_labels(root):
    with pytest.raises(InputError, match=r"mine/train has no labels, expected one for each training image"):
        data.training(Data(**mine(root, None, [])), 0)


def test_a_class_without_images(root):
    asked = mine(root, np.arange(40) % 3, ["cat", "dog", "frog", "newt", "owl"])
    with pytest.raises(
        InputError, match=r"mine/train has no image of newt, owl, expected some of each of its 5 classes"
    ):
        data.training(Data(**asked), 0)


def test_one_class_is_refused_unless_that_is_meant(root):
    asked = mine(root, np.zeros(40, int), ["cat"])
    with pytest.raises(
        InputError, match=r"has one class \(cat\), expected at least two to tell apart.\nSay `one_class: 0`"
    ):
        data.training(Data(**asked), 0)
    assert len(data.training(Data(**asked, one_class=0), 0)[0]) == 36
    assert len(data.training(Data(**asked, labels="instance"), 0)[0].classes) == 36
