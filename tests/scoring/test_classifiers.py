"""Classifiers: stored runs and torchvision's, refused where they cannot be what is meant."""

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from ood_core import extract, scorers
from ood_core._torchvision import torchvision
from ood_core.checks import ArtifactError, InputError
from ood_core.data.pictures import images_in
from ood_core.scoring import classifiers
from tests.scoring.cases import KEY, MEAN, STD, call, others, pixels, stored
from tests.spine import recipe


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
    path.unlink()
    with pytest.raises(InputError, match=r"^there is no file .*w.safetensors, expected .*\nCheck the path\.$"):
        load("resnet18", 2)


def test_an_own_set_with_other_labels_needs_no_classes_as_many_as_outputs(folders, tmp_path, monkeypatch):
    monkeypatch.setenv("OOD_RUNS", str(tmp_path / "runs"))
    stored(recipe(data={"id_set": "digits", "labels": "instance"}))
    monkeypatch.setattr("ood_core.data.names", list)
    assert classifiers.load(KEY, 8).classes == ()
    for head in ("linear", "dismax"):
        stored(recipe(head={"name": head}))
        with pytest.raises(InputError, match="holds 7 classes, expected the 8 of run"):
            classifiers.load(KEY, 7)


@pytest.mark.parametrize("given", [{}, {"mean": MEAN, "std": STD}, {"mean": MEAN, "std": STD, "kept": True}], ids=str)
@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("w.st", "`model` is 'w.st', the name of a file, expected torchvision:NAME, FILE.py:FUNCTION or the key of a"),
        ("W.PTH", "`model` is 'W.PTH', the name of a file"),
        ("resnet18.bin", "`model` is 'resnet18.bin', the name of a file"),
        ("best", r'`model="torchvision:NAME"` with `weights=FILE`, .*: `model="FILE.py:FUNCTION"`'),
        ("resnet18", r'the bare name of an architecture, expected torch.*\nWrite `model="torchvision:resnet18"`'),
        ("resnet", "'resnet' is the start of 0 runs"),
        ("x" * 5000, "x' is the start of 0 runs"),
    ],
)
def test_what_is_meant_as_no_key_is_told_what_the_model_takes(net, tmp_path, monkeypatch, model, message, given):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "best").touch()
    with pytest.raises(InputError, match=message):
        classifiers.load(model, 2, **given)


def test_a_run_comes_first_and_torchvision_is_asked_last(net, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / KEY[:6]).touch()
    asked = []

    def shut():
        asked.append("torchvision")
        raise InputError("no torchvision here")

    monkeypatch.setattr(classifiers, "torchvision", shut)
    assert classifiers.load(KEY[:6], 10).channels == 1
    with pytest.raises(InputError, match="the name of a file"):
        classifiers.load("w.pt", 10)
    assert not asked
    with pytest.raises(InputError, match="'resnet18' is the start of 0 runs"):
        classifiers.load("resnet18", 10)
    assert asked


def test_a_run_of_one_class_is_refused(folders, tmp_path, monkeypatch):
    monkeypatch.setenv("OOD_RUNS", str(tmp_path / "runs"))
    one = {"id_set": "digits", "one_class": 3}
    stored(recipe(data=one, head={"name": "projection"}, loss={"name": "nt_xent"}))
    result = call(folders["test"], "--id-folder", folders["train"], "--model", KEY, "--scorer", "knn")
    assert result.exit_code == 1
    assert "learned class 3 of digits alone, expected a run of all classes" in result.output
