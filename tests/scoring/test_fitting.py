"""Fitting and the threshold: on other images each, and no more of them in memory than are needed."""

import shutil

import numpy as np
import pytest
import torch

from ood_core import extract, scorers, scoring
from tests.scoring.cases import KEY, call


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


def test_held_out_copies_of_what_was_fitted_on_are_refused(net, folders, tmp_path):
    copy = shutil.copytree(folders["train"], tmp_path / "copy")
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
