"""A kept scorer: scores alike, and is refused for another network or transform."""

import shutil

import numpy as np
import pandas as pd
import pytest
import torch

from ood_core import Outputs, extract, scorers, scoring
from ood_core.checks import InputError
from ood_core.store import Store
from tests.scoring.cases import CONSTANTS, KEY, call, kept_by, scored
from tests.spine import recipe


@pytest.mark.parametrize("name", ["knn", "msp", "odin"])
def test_a_kept_scorer_scores_alike_without_the_id_images(net, sets, folders, tmp_path, name):
    file = tmp_path / "kept.safetensors"
    fit = ("--id-folder", folders["train"], "--held-out", folders["held"], "--scorer", name, "--id-tpr", 0.8)
    first, said = scored(folders, tmp_path, *fit, "--save", file)
    assert f"s.csv and {file}" in said.stderr
    for part in ("train", "held"):
        shutil.rmtree(folders[part])
    again, told = scored(folders, tmp_path, "--load", file, out="again.csv")
    pd.testing.assert_frame_equal(first, again)
    assert [line for line in told.stderr.splitlines() if "threshold" in line] == [
        line for line in said.stderr.splitlines() if "threshold" in line
    ]
    given = {"model": net} if name == "odin" else {}
    seen = extract(net, sets["test"], keep_inputs=True)
    np.testing.assert_allclose(scorers.load(file, **given).score(seen), first["score"], rtol=1e-6)


def test_a_kept_scorer_is_written_once_and_whole(net, folders, tmp_path, monkeypatch):
    """What is killed between two writes leaves the first, and a bank of all ID images passes the disk but once."""
    file, read, written = tmp_path / "kept.safetensors", [], []
    one, other = scorers.artifact.write, scorers.artifact.read

    def write(path, *given):
        one(path, *given)
        written.append(scoring.kept.read(path)[0])

    monkeypatch.setattr(scorers.artifact, "write", write)
    monkeypatch.setattr(scorers.artifact, "read", lambda path: read.append(path) or other(path))
    scored(folders, tmp_path, "--id-folder", folders["train"], "--scorer", "knn", "--save", file)
    assert written == ["knn"]
    assert len(read) == 1, "by this test alone"


def test_a_kept_scorer_is_refused_for_another_network(net, folders, tmp_path):
    file = tmp_path / "kept.safetensors"
    scored(folders, tmp_path, "--id-folder", folders["train"], "--save", file)
    with torch.no_grad():
        net.head.weight[0, 0] += 1
    nothing = pd.DataFrame({"epoch": [0]})
    shutil.rmtree(tmp_path / "runs")
    info = {"key": KEY, "recipe": recipe(head={"name": "l2"}).model_dump(mode="json"), "seed": 0}
    Store().put(info, nothing, nothing, {}, net.state_dict(), {})
    result = call(folders["test"], "--model", KEY, "--load", file)
    assert result.exit_code == 1
    assert "was fitted on a network of other weights, expected those of --model" in result.output
    scorers.make("feature_norm").fit(Outputs(torch.ones(2, 2))).save(file)
    assert (
        "holds a scorer without classes and threshold" in call(folders["test"], "--model", KEY, "--load", file).output
    )


def test_a_kept_scorer_is_refused_with_another_transform_or_none(net, mine, tmp_path):
    _, again = kept_by(mine, tmp_path, "paired")
    assert again(f"{mine}:paired") == ""
    for other in ("swapped", "scaled"):
        assert "was saved with another transform than --model brings, expected the same" in again(f"{mine}:{other}")
    for other in (f"{mine}:plain", "torchvision:resnet18"):
        assert f"{other} brings no transform, expected one" in again(other)
        assert "fit again without --load and with --mean and --std" in again(other)
    _, again = kept_by(mine, tmp_path, "plain", *CONSTANTS)
    assert again(f"{mine}:plain") == ""
    for other in (f"{mine}:paired", KEY):
        assert f"{other} prepares images itself, expected none that does" in again(other)


@pytest.mark.parametrize("options", [(), ("--save", "kept")])
def test_a_transform_that_varies_is_refused_saved_or_not(mine, tmp_path, monkeypatch, options):
    monkeypatch.chdir(tmp_path)
    fit = ("--id-folder", "pets", "--model", "mine.py:random", "--scorer", "feature_norm")
    result = call("pets", *fit, *options)
    assert result.exit_code == 1
    assert "makes something else of the same image each time, expected the same" in result.output
    assert not (tmp_path / "kept").exists()
    assert not (tmp_path / "scores.csv").exists()


def test_a_transform_that_varies_seldom_is_found_out_and_nan_is_no_random_step():
    values = iter([0.0] * (scoring.kept.TRIES - 1) + [1.0])
    with pytest.raises(InputError, match="makes something else of the same image each time"):
        scoring.kept.made_of(lambda image: torch.full((3, 4, 4), next(values)))
    sizes = iter(range(1, 99))
    with pytest.raises(InputError, match="makes something else of the same image each time"):
        scoring.kept.made_of(lambda image: torch.zeros(3, next(sizes), 4))
    assert scoring.kept.made_of(lambda image: torch.full((3, 4, 4), torch.nan)) is None


def test_a_transform_that_takes_no_other_size_is_saved(mine, tmp_path):
    file, again = kept_by(mine, tmp_path, "choosy")
    assert scoring.kept.read(file)[1].transform is None
    assert again(f"{mine}:choosy") == ""


def test_a_setting_of_before_is_read_and_one_of_a_newer_version_refused(mine, tmp_path):
    file, again = kept_by(mine, tmp_path, "paired")
    header, tensors = scorers.artifact.read(file)
    assert header["setting"]["transform"]
    before = {name: value for name, value in header["setting"].items() if name != "transform"}
    scorers.artifact.write(file, {**header, "setting": before}, tensors)
    assert again(f"{mine}:paired") == ""
    assert "brings no transform, expected one" in again(f"{mine}:plain")
    scorers.artifact.write(file, {**header, "setting": {**before, "rotation": 90}}, tensors)
    assert "holds a setting of a newer version" in again(f"{mine}:paired")


def test_a_saved_run_and_a_transform_over_the_same_network_are_told_apart(tmp_path):
    none, some = (), (0.5, 0.25)
    for then, now, said in ((none, some, "brought no transform"), (some, none, "brought a transform")):
        with pytest.raises(InputError, match=f"was saved with a model that {said}, expected the same"):
            scoring.kept._require_same(tmp_path, then, now)
    with pytest.raises(InputError, match="another transform"):
        scoring.kept._require_same(tmp_path, some, None)
