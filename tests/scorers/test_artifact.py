"""Files: every damaged byte is noticed, newer ones are named, an interrupted save leaves the old one."""

import json

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from ood_core import Outputs, scorers
from ood_core.checks import ArtifactError, InputError
from ood_core.scorers import artifact

from .cases import outputs


@pytest.fixture
def saved(tmp_path):
    path = tmp_path / "cluster.safetensors"
    scorers.make("cluster", distance="cosine").fit(outputs()).calibrate(outputs(seed=2)).save(path)
    return path


def rewrite(path, change=None, **header):
    """The same file with another header, checksum made anew: what another version would have written."""
    old, tensors = artifact.read(path)
    new = {**old, **header}
    text = json.dumps(new)
    save_file(tensors, path, metadata={"scorer": text, "sha256": artifact.checksum(text, tensors)})


def test_any_changed_byte_is_refused(saved):
    whole = saved.read_bytes()
    for place in range(len(whole)):
        damaged = bytearray(whole)
        damaged[place] ^= 1
        saved.write_bytes(damaged)
        with pytest.raises(ArtifactError):
            scorers.load(saved)


def test_any_cut_is_refused(saved):
    whole = saved.read_bytes()
    for length in [0, 1, 7, 8, 9, *range(10, len(whole), 37), len(whole) - 1]:
        saved.write_bytes(whole[:length])
        with pytest.raises(ArtifactError, match=r"cannot be read[\s\S]*Fit and save it again"):
            scorers.load(saved)
    saved.write_bytes(whole + b"\0")
    with pytest.raises(ArtifactError):
        scorers.load(saved)


def test_an_edit_that_keeps_the_length_is_refused(saved):
    saved.write_bytes(saved.read_bytes().replace(b'\\"n\\": 150', b'\\"n\\": 950'))
    with pytest.raises(ArtifactError, match="does not match its checksum"):
        scorers.load(saved)


def test_other_versions_are_named(saved):
    whole = saved.read_bytes()
    for header, reason in (
        ({"format": 2}, r"format 2, expected at most 1: a newer version wrote it[\s\S]*Update"),
        ({"version": 2}, r"cluster version 2, expected 1: a newer version wrote it[\s\S]*Update"),
        ({"version": 0}, r"cluster version 0, expected 1: an older version wrote it[\s\S]*Fit and save"),
        ({"name": "voronoi"}, r"the scorer 'voronoi', expected one of: .*cluster"),
    ):
        saved.write_bytes(whole)
        rewrite(saved, **header)
        with pytest.raises(ArtifactError, match=reason):
            scorers.load(saved)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *((field, ...) for field in ("format", "name", "version", "parameters", "columns", "calibration")),
        *((field, "x") for field in ("format", "version", "parameters", "columns", "calibration", "marks", "members")),
        *((field, {"mean": 1.0}) for field in ("calibration", "fit_scores", "name", "columns", "then")),
        ("fit_scores", {"mean": 1.0, "sd": "x", "n": 3}),
        ("members", ["x"]),
        ("version", None),
    ],
    ids=str,
)
def test_a_header_without_a_field_or_with_another_type_is_refused(saved, field, value):
    old, tensors = artifact.read(saved)
    new = {key: one for key, one in {"format": artifact.FORMAT, **old, field: value}.items() if one is not ...}
    text = json.dumps(new)
    save_file(tensors, saved, metadata={"scorer": text, "sha256": artifact.checksum(text, tensors)})
    with pytest.raises(ArtifactError, match=r"has a damaged header \(.+\), expected that of save\.\nFit and save it"):
        scorers.load(saved)


def test_a_header_without_what_its_scorer_asks_for_is_refused(saved):
    scorers.make("react", then="feature_norm").fit(outputs()).save(saved)
    header, tensors = artifact.read(saved)
    for key in ("head", "then"):
        artifact.write(saved, {name: value for name, value in header.items() if name != key}, tensors)
        with pytest.raises(ArtifactError, match=f"damaged header .*{key}"):
            scorers.load(saved)


def test_files_of_others_are_refused(saved, tmp_path):
    save_file({"weight": torch.ones(2)}, saved)
    with pytest.raises(ArtifactError, match="holds tensors but no scorer"):
        scorers.load(saved)
    for path in (tmp_path / "absent.safetensors", tmp_path):
        with pytest.raises(ArtifactError, match="cannot be read"):
            scorers.load(path)


def test_an_interrupted_save_leaves_the_old_file_and_no_other(saved, monkeypatch):
    whole = saved.read_bytes()

    def full_disk(tensors, path, metadata):
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(artifact, "save_file", full_disk)
    with pytest.raises(InputError, match=r"cannot be written .*No space left[\s\S]*Make room"):
        scorers.load(saved).save(saved)
    assert saved.read_bytes() == whole
    assert list(saved.parent.iterdir()) == [saved]


def test_the_header_is_readable_without_the_package(saved):
    with safe_open(saved, framework="pt") as file:
        header = json.loads(file.metadata()["scorer"])
    assert header["name"] == "cluster"
    assert header["parameters"]["layer"] == "features"
    assert header["parameters"]["distance"] == "cosine"
    assert header["format"] == artifact.FORMAT


def test_a_loaded_scorer_outlives_its_file(saved):
    scorer = scorers.load(saved)
    before = scorer.score(outputs())
    saved.write_bytes(b"")
    assert torch.equal(scorer.score(outputs()), before)


def test_a_path_that_cannot_be_written_is_named(tmp_path):
    scorer = scorers.make("feature_norm").fit(outputs())
    with pytest.raises(InputError, match=r"missing/x lies in .*missing, which is no folder[\s\S]*Make that folder"):
        scorer.save(tmp_path / "missing" / "x")
    for folder in (tmp_path, ""):
        with pytest.raises(InputError, match=r"is a folder, expected a file[\s\S]*Name one in it"):
            scorer.save(folder)
    assert list(tmp_path.iterdir()) == []


def test_the_home_folder_has_its_short_name(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    scorer = scorers.make("feature_norm").fit(outputs())
    scorer.save("~/norm")
    assert (tmp_path / "norm").is_file()
    assert torch.equal(scorers.load("~/norm").score(outputs()), scorer.score(outputs()))


def test_banks_in_bfloat16_are_saved(tmp_path):
    rows = Outputs(features=torch.randn(9, 4).bfloat16())
    scorer = scorers.make("knn", k=2).fit(rows)
    scorer.save(tmp_path / "x")
    assert torch.equal(scorers.load(tmp_path / "x").score(rows), scorer.score(rows))
