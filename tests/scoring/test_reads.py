"""What a scorer reads: features of every network, logits of those whose logits stand for classes."""

import json

import numpy as np
import pandas as pd
import pytest

from ood_core import Outputs, extract, scorers, scoring
from ood_core.checks import InputError
from tests.scoring.cases import KEY, call, scored, stored
from tests.spine import recipe

SCHEMES = [{"data": {"id_set": "digits", "labels": labels}} for labels in ("instance", "binary", "constant")]


@pytest.mark.parametrize("changes", [{"head": {"name": "projection"}, "loss": {"name": "supcon"}}, *SCHEMES], ids=str)
def test_a_network_whose_logits_stand_for_no_class_is_scored_by_features(folders, sets, tmp_path, monkeypatch, changes):
    monkeypatch.setenv("OOD_RUNS", str(tmp_path / "runs"))
    built = stored(recipe(**changes))
    passed = {part: extract(built, images) for part, images in sets.items()}
    seen = {part: Outputs(out.features, labels=out.labels) for part, out in passed.items()}
    for name in ("ddu", "knn"):
        arguments = (folders["test"], "--id-folder", folders["train"], "--held-out", folders["held"], "--model", KEY)
        result = call(
            *(*arguments, "--scorer", name, "--out", tmp_path / "s.csv", "--sheet", tmp_path / f"{name}.png"),
        )
        assert result.exit_code == 0, result.output
        frame = pd.read_csv(tmp_path / "s.csv", keep_default_na=False)
        np.testing.assert_allclose(frame["score"], scorers.make(name).fit(seen["train"]).score(seen["test"]), rtol=1e-5)
        assert set(frame["predicted"]) == {""}
    for name, reads in {"msp": "logits", "vim": "head", "odin": "model", "nnguide": "logits"}.items():
        result = call(*arguments, "--scorer", name, "--out", tmp_path / "s.csv")
        assert result.exit_code == 1
        assert f"{name} works through {reads}, expected a scorer of features" in result.output


def test_a_projection_and_shaped_features_of_a_contrastive_run_can_be_scored(folders, sets, tmp_path, monkeypatch):
    monkeypatch.setenv("OOD_RUNS", str(tmp_path / "runs"))
    built = stored(recipe(head={"name": "projection"}, loss={"name": "supcon"}))
    seen = {part: extract(built, images) for part, images in sets.items()}
    fit = ("--id-folder", folders["train"], "--held-out", folders["held"])
    for name, settings in (
        ("knn", {"layer": "projection"}),
        ("react", {"then": "knn"}),
        ("ash", {"then": "knn", "layer": "features"}),
        ("scale", {"then": "feature_norm", "then_params": {"layer": "features"}}),
        ("react", {"then": "knn", "layer": "projection"}),
    ):
        given = [part for key, value in settings.items() for part in ("--param", f"{key}={as_text(value)}")]
        frame, _ = scored(folders, tmp_path, *fit, "--scorer", name, *given, "--save", tmp_path / "kept")
        wanted = scorers.make(name, **settings).fit(seen["train"]).score(seen["test"])
        np.testing.assert_allclose(frame["score"], wanted, rtol=1e-5)
        again, _ = scored(folders, tmp_path, "--load", tmp_path / "kept")
        np.testing.assert_allclose(again["score"], wanted, rtol=1e-5)
    for settings, reads in (
        ({}, "logits"),
        ({"then": "scale"}, "head"),
        ({"then": "vim"}, "head"),
        ({"then": "knn", "layer": "logits"}, "logits"),
    ):
        with pytest.raises(InputError, match=f"react works through {reads}, expected a scorer of features"):
            scoring.score_folders(
                [folders["test"]], id_folder=folders["train"], model=KEY, scorer="react", parameters=settings
            )


def as_text(value):
    return value if isinstance(value, str) else json.dumps(value)
