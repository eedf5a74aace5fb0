"""The part on training of the page on speed prints the recorded file, number for number; the benchmark runs."""

import json
import subprocess
import sys

import pytest
import torch
from torch.overrides import TorchFunctionMode

from benchmarks import loops
from ood_core import reference
from ood_core.models import backbone
from ood_core.networks import Network
from ood_core.reference import speed, training

from ..building import ROOT
from ..made_up import MEASURED

FOUND = {
    **MEASURED,
    "ceilings": {"matmul float32": [1e9], "matmul bfloat16": [1e9, 4e9, 2e9], "copy": [1e8, 1e8]},
    "costs": {
        "net: train": {"images": 100, "flop": 5_000_000, "bytes": 10_000, "precision": "bfloat16"},
        "net: augment": {"images": 100, "flop": 0, "bytes": 1000, "precision": "float32"},
    },
    "targets": {"net: train": {"plain": {"faster": 3}}, "net: augment": {}},
    "rows": [
        {"work": f"net: {work}", "contender": name, "threads": 1, "wall": wall, "cpu": wall}
        for work, name, wall in (
            ("train", "ours", [0.5, 4.0, 0.5]),
            ("train", "plain", [1.0, 16.0, 2.0]),
            ("augment", "ours", [0.1, 0.1, 0.1]),
        )
    ]
    + [{"work": "net: train", "contender": "ours, compiled", "threads": 1, "wall": [1], "cpu": [1], "compile": 12.34}],
}


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "training-cpu-p.json").write_text(json.dumps(FOUND))
    return tmp_path


def test_ratios_are_medians_within_rounds(folder):
    frame = reference.training_targets(folder=folder).frame
    assert frame[["work", "against", "ratio", "met"]].to_numpy().tolist() == [["net: train", "plain", 4.0, "yes"]]


def test_shares_by_hand(folder):
    """200 images a second of 5 MFLOP are half of 2 GFLOP/s; of 10 kB, 2 % of 100 MB/s."""
    frame = reference.training_table(folder=folder).frame
    assert frame["images a second"].tolist() == [200.0, 50.0, 1000.0, 100.0]
    assert frame["share of the product"].tolist() == ["50%", "", "", ""]
    assert frame["share of the copy"].tolist() == ["2%", "", "1%", ""]
    assert frame["compile s"].tolist() == ["", "", "", "12.3"]
    slow = FOUND | {"ceilings": FOUND["ceilings"] | {"matmul bfloat16": [5e8]}}
    (folder / "training-cpu-p.json").write_text(json.dumps(slow))  # then float32 is what there is to reach
    assert reference.training_table(folder=folder).frame["share of the product"].tolist() == ["100%", "", "", ""]
    (folder / "training-cpu-p.json").write_text(json.dumps(FOUND))
    assert reference.training_ceilings(folder=folder).frame["G a second"].tolist() == [1.0, 2.0, 0.1]
    assert "9.9" in reference.training_provenance(folder=folder).html


def test_processors_stand_side_by_side(folder):
    """Another processor, half as fast at everything; a GPU is a page's part of its own."""
    rows = [row | {"wall": [2 * x for x in row["wall"]]} for row in FOUND["rows"]]
    for name, extra in (("cpu-q", {"processor": "q"}), ("cuda-r", {"device": "r"})):
        (folder / f"training-{name}.json").write_text(json.dumps(FOUND | extra | {"rows": rows}))
    frame = reference.training_table(folder=folder).frame
    rates = frame.groupby("processor")["images a second"].apply(list).to_dict()
    assert rates == {"p": [200.0, 50.0, 1000.0, 100.0], "q": [100.0, 25.0, 500.0, 50.0]}
    assert reference.training_targets(folder=folder).frame[["p", "q"]].to_numpy().tolist() == [[4.0, 4.0]]
    assert reference.training_ceilings(folder=folder).frame["processor"].tolist() == ["p"] * 3 + ["q"] * 3
    assert list(reference.training_provenance(folder=folder).frame) == ["what", "p", "q"]
    assert list(reference.training_provenance("cuda", folder).frame) == ["what", "value"]
    assert "processor" not in reference.training_table("cuda", folder).frame


def test_nothing_measured_is_said_once(tmp_path):
    absent = tmp_path / "absent"
    assert "not measured" in reference.training_targets(folder=absent).html
    assert "--device cuda" in reference.training_targets("cuda", absent).html
    for make in (reference.training_table, reference.training_ceilings, reference.training_provenance):
        assert make("cuda", absent).html == ""


@pytest.mark.parametrize("device", training.FILES)
def test_the_recorded_files_are_whole_measurements(device):
    recorded = training.trainings(device)
    if not recorded:
        pytest.skip(f"training on {device} is not measured yet")
    for found in recorded.values():
        _whole(found)


def _whole(found):
    assert found["size"] == 1.0, "a trial with fewer images says nothing"
    assert found.get("failed", []) == []
    assert {row["contender"] for row in found["rows"]} >= {"ours", "bare", "plain", "plain, tuned"}
    assert {row["work"] for row in found["rows"]} == {f"{net}: {w}" for net in loops.NETS for w in loops.TARGETS}
    assert not found["commit"].endswith("+"), "measured on a checkout that nobody has"
    assert all(len(row["wall"]) == found["rounds"] >= 3 for row in found["rows"])


def test_counted_costs_by_hand():
    """The perceptron's relatives are counted elsewhere; here what a work makes of them."""
    found = loops.costs("resnet8", "cpu", 0.1)
    images = 256
    assert {name: cost["images"] for name, cost in found.items()} == dict.fromkeys(
        ("train", "extract", "augment"), images
    )
    assert found["train"]["flop"] == 3 * found["extract"]["flop"]
    assert found["augment"]["bytes"] == 5 * 32 * 32 * 3
    # Convolutions and normalisations: stem and first block 2 * 3 of 32x32x32; then 2 * 3 of 16x16x64 and 8x8x128.
    written = 6 * 32 * 32 * 32 + 6 * 16 * 16 * 64 + 6 * 8 * 8 * 128
    identity = 32 * 32 * 32  # the shortcut that changes nothing is a module
    assert found["extract"]["bytes"] == 2 * 4 * (written + identity)
    assert found["train"]["bytes"] == 3 * found["extract"]["bytes"] / 2  # bfloat16


@pytest.mark.slow
def test_the_benchmark_runs(tmp_path):
    out = tmp_path / "training-cpu-this.json"
    command = [sys.executable, ROOT / "benchmarks" / "training.py", "--nets", "digits", "--rounds", "1"]
    subprocess.run([*command, "--size", "0.1", "--out", out], check=True, capture_output=True, text=True)
    found = json.loads(out.read_text())
    assert {row["work"] for row in found["rows"]} == {f"digits: {work}" for work in loops.TARGETS}
    assert {"ours", "bare"} <= {row["contender"] for row in found["rows"]}
    assert set(found["ceilings"]) == set(loops.CEILINGS)
    assert reference.training_table(folder=tmp_path).frame["images a second"].gt(0).all()
    assert speed.ratios(found)
    assert found["speed"] == found["failed"] == []


def test_the_target_of_speed_by_hand():
    """100,000 images in a median of 4 s are 25,000 a second: 60 epochs of 45,000 images take 108 s."""
    row = {"work": "resnet18: train", "contender": "ours, compiled", "wall": [3.0, 4.0, 9.0]}
    found = {"rows": [{**row, "contender": "ours", "wall": [1.0]}, row], "costs": {row["work"]: {"images": 100_000}}}
    (reached,) = loops.reached("cuda", found)
    assert (reached["images a second"], reached["seconds"]) == (25_000, 108)
    assert (reached["met"], reached["aim met"]) == (True, False)
    assert loops.reached("cpu", found) == loops.reached("cuda", {**found, "rows": found["rows"][:1]}) == []


def test_bare_extraction_copies_every_image_in_and_its_outputs_out(monkeypatch):
    """As ours has to: without these copies the target would compare two different works."""
    images, seen, prepare, out = loops.made_up("digits", "cpu", 0.1), [], Network.prepare, []

    class Copies(TorchFunctionMode):
        def __torch_function__(self, function, types, args=(), kwargs=None):
            if function is torch.Tensor.cpu:
                out.append(tuple(args[0].shape))
            return function(*args, **(kwargs or {}))

    monkeypatch.setattr(Network, "prepare", lambda self, x: seen.append(x) or prepare(self, x))
    run = loops._bare("digits", "cpu", 0.1)["extract"]()
    assert seen == []
    with Copies():
        run()
    assert sum(len(x) for x in seen) == len(images)
    assert {x.dtype for x in seen} == {torch.uint8}
    assert len(out) == 2 * len(seen)
    dim = backbone(loops.recipe("digits", "cpu").network, images.images.shape[1:]).dim
    assert {shape[1] for shape in out} == {len(images.classes), dim}
