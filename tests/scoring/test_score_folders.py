"""Folders of images: the same scores as the library gives."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ood_core import extract, scorers, scoring
from tests.scoring.cases import KEY, MEAN, STD, call, stored
from tests.spine import recipe


@pytest.mark.parametrize(
    ("name", "settings"), [("ddu", {}), ("feature_norm", {"p": 1}), ("msp", {"layer": "logits"}), ("odin", {})]
)
def test_the_same_scores_as_from_the_library(net, sets, folders, tmp_path, name, settings):
    given = [text for key, value in settings.items() for text in ("--param", f"{key}={value}")]
    result = call(
        *(folders["test"], folders["photos"], "--id-folder", folders["train"], "--held-out", folders["held"]),
        *("--model", KEY[:6], "--scorer", name, *given, "--id-tpr", 0.9, "--out", tmp_path / "s.csv", "--json"),
    )
    assert result.exit_code == 0, result.output
    network_too = {"model": net} if name == "odin" else {}
    seen = {part: extract(net, images, keep_inputs=True) for part, images in sets.items()}
    scorer = scorers.make(name, **settings, **network_too).fit(seen["train"]).calibrate(seen["held"], id_tpr=0.9)
    frame = pd.read_csv(tmp_path / "s.csv", dtype={"predicted": str})
    assert list(frame.columns) == ["file", "score", "decision", "predicted"]
    start = 0
    table = {row["folder"]: row for row in json.loads(result.stdout)["folders"]}
    for part in ("test", "photos"):
        rows, out = frame[start : start + len(sets[part])], seen[part]
        start += len(rows)
        assert [str(Path(file).parent) for file in rows["file"]] == [str(folders[part])] * len(rows)
        np.testing.assert_allclose(rows["score"], scorer.score(out), rtol=1e-6)
        assert list(rows["decision"] == "in") == scorer.predict(out).tolist()
        assert list(rows["predicted"]) == [str(label) for label in out.logits.argmax(1).tolist()]
        assert table[str(folders[part])]["accepted"] == pytest.approx(float(scorer.predict(out).float().mean()))
        assert table[str(folders[part])]["median"] == pytest.approx(float(np.median(rows["score"])))
    assert f"accepts {100 * scorer.calibration.rate:.1f} % of 60 held-out ID images" in result.stderr
    assert "every fifth image" not in result.stderr


@pytest.mark.parametrize("head", ["linear", "isomax", "isomax_plus", "dismax"])
def test_every_head_with_logits_can_be_scored(folders, sets, tmp_path, monkeypatch, head):
    monkeypatch.setenv("OOD_RUNS", str(tmp_path / "runs"))
    built = stored(recipe(head={"name": head, **({"start": "normal"} if head == "isomax" else {})}))
    seen = {part: extract(built, images) for part, images in sets.items()}
    for name in ("msp", "ddu", *(["min_distance"] if head != "linear" else [])):
        found = scoring.score_folders(
            [folders["test"]], id_folder=folders["train"], model=KEY, scorer=name, held_out=folders["held"]
        )
        scorer = scorers.make(name).fit(seen["train"])
        np.testing.assert_allclose(found.frame["score"], scorer.score(seen["test"]), rtol=1e-5)
        predicted = [sets["train"].classes[place] for place in seen["test"].logits.argmax(1).tolist()]
        assert list(found.frame["predicted"]) == predicted


def test_another_layer_can_be_scored(photos, tmp_path):
    pets = tmp_path / "pets"
    found = scoring.score_folders(
        [pets],
        id_folder=pets,
        model="torchvision:resnet18",
        weights=tmp_path / "w.safetensors",
        size=32,
        mean=MEAN,
        std=STD,
        scorer="feature_norm",
        parameters={"layer": "layer3"},
    )
    assert found.scorer.layer == "layer3"
    assert found.scorer.summary()["columns"] == 256
