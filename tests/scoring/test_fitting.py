"""Fitting and the threshold: on other images each, and no more of them in memory than are needed."""

import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from ood_core import extract, scorers, scoring
from ood_core.checks import InputError
from ood_core.data.pictures import images_in
from ood_core.scoring import held_out
from tests.scoring.cases import KEY, call, pixels


def test_without_held_out_images_a_fifth_of_each_class_is_not_fitted_on(net, sets, folders):
    found = scoring.score_folders([folders["test"]], id_folder=folders["train"], model=KEY, scorer="cluster")
    out, labels = extract(net, sets["train"]), sets["train"].labels
    held = np.zeros(len(labels), dtype=bool)
    for label in range(8):
        held[np.flatnonzero(labels == label)[4::5]] = True
    scorer = scorers.make("cluster").fit(out[torch.from_numpy(~held)]).calibrate(out[torch.from_numpy(held)])
    assert found.calibration.n == held.sum() == 16
    assert found.calibration.threshold == pytest.approx(scorer.calibration.threshold, rel=1e-6)
    np.testing.assert_allclose(found.frame["score"], scorer.score(extract(net, sets["test"])), rtol=1e-6)


@pytest.mark.parametrize("scorer", ["msp", "odin"])
def test_held_out_copies_are_refused_by_scorers_that_learn_nothing(net, folders, tmp_path, monkeypatch, scorer):
    copy = shutil.copytree(folders["train"], tmp_path / "copy")
    arguments = (folders["test"], "--id-folder", folders["train"], "--model", KEY, "--out", tmp_path / "s.csv")
    monkeypatch.setattr("ood_core.scoring.fitted", lambda *_: pytest.fail("a scorer is fitted"))
    result = call(*arguments, "--held-out", copy, "--scorer", scorer)
    assert result.exit_code == 1
    same = f"such as {copy}/0/0000.png, a copy of {folders['train']}/0/0000.png, expected up to 1 %."
    assert f"--held-out shares 96 of its 96 images with --id-folder by content, {same}\nName ID images" in result.output


def test_few_copies_are_let_pass_and_files_of_other_sizes_are_not_read(folders, tmp_path, monkeypatch):
    paths = [tmp_path / f"{i}.png" for i in range(200)]
    for i, path in enumerate(paths):
        path.write_bytes(bytes(1000 + i))
    few = [tmp_path / f"few {i}.png" for i in range(3)]
    for i, path in enumerate(few):
        path.write_bytes(bytes(1000 + i))
    read = []
    monkeypatch.setattr(held_out, "_digest", lambda path: read.append(path) or path.read_bytes())
    held_out.require_no_copies(paths, {"a": few[:2]})
    assert sorted(read) == sorted([*few[:2], *paths[:2]])
    with pytest.raises(InputError, match="shares 3 of its 200 images with `id_folder` by content"):
        held_out.require_no_copies(paths, {"a": few[:1], "b": few[1:]})
    for path in few:
        path.write_bytes(b"?" * path.stat().st_size)
    held_out.require_no_copies(paths, {"a": few})


def test_held_out_copies_of_what_was_fitted_on_are_refused(net, folders, tmp_path):
    """Also where their files are others: written anew, they hold the same pixels."""
    copy = shutil.copytree(folders["train"], tmp_path / "copy")
    for path in images_in(copy):
        Image.fromarray(pixels(path)).save(path, compress_level=1)
    arguments = (folders["test"], "--id-folder", folders["train"], "--held-out", copy, "--model", KEY)
    result = call(*arguments, "--scorer", "knn", "--out", tmp_path / "s.csv", "--save", tmp_path / "kept")
    assert result.exit_code == 1
    assert "knn got rows to calibrate on that it was fitted on (96 of 96 seen), expected others" in result.output
    assert not (tmp_path / "s.csv").exists()
    assert not (tmp_path / "kept").exists()


@pytest.mark.parametrize("size", [1, 16])
def test_images_for_gradients_are_never_kept_together(net, folders, monkeypatch, size):
    most = []
    original = scoring.passes.extract

    def seen(*given, **named):
        out = original(*given, **named)
        most.append(0 if out.inputs is None else len(out.inputs))
        return out

    monkeypatch.setattr("ood_core.scoring.passes.extract", seen)
    monkeypatch.setattr(scorers.odin.ODIN, "sample", 24)
    scoring.score_folders(
        [folders["test"]],
        id_folder=folders["train"],
        held_out=folders["held"],
        model=KEY,
        scorer="odin",
        batch_size=size,
    )
    assert max(most) == 24  # of the 96 to fit on; 60 and 40 come in batches
    assert sorted(most)[-2] == size
