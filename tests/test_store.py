"""The run store: whole or absent, and every damage noticed."""

import itertools
import json
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import torch

from ood_core.checks import ArtifactError, InputError
from ood_core.store import FORMAT, FileCheckpoints, Store
from ood_core.train import State
from tests.steps import MAY_FAIL, before_each_step, fail_at

KEY = "a" * 20
WEIGHTS = {"w": torch.arange(6.0).reshape(2, 3).T}


def put(store, **changes):
    info = {"key": KEY, "recipe": {"id": "made"}, "seed": 0, **changes}
    rows = pd.DataFrame({"metric": ["auroc"], "value": [0.1 + 0.2 + info["seed"]], "key": ["k"]})
    history = pd.DataFrame({"epoch": [1], "loss": [0.5]})
    return store.put(info, rows, history, {"msp|logits||": np.arange(3.0)}, WEIGHTS, {0: WEIGHTS, 2: WEIGHTS})


def test_what_is_put_comes_back(tmp_path):
    store = Store(tmp_path)
    assert store.get(KEY) is None
    put(store)
    run = store.get(KEY)
    assert run.rows()["value"][0] == 0.1 + 0.2
    assert run.history()["loss"].tolist() == [0.5]
    assert run.scores()["msp|logits||"].tolist() == [0, 1, 2]
    assert torch.equal(run.weights()["w"], WEIGHTS["w"])
    assert run.early_epochs() == [0, 2] == list(run.early_weights())
    assert torch.equal(run.early_weights()[2]["w"], WEIGHTS["w"])
    run.check()
    assert [r.key for r in store.runs()] == [KEY]
    assert sorted(p.name for p in tmp_path.iterdir()) == [KEY]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="threads are counted in /proc")
def test_reading_a_run_starts_no_threads_that_could_abort_the_end_of_the_process(tmp_path):
    put(Store(tmp_path))
    counted = (
        "import os, sys\n"
        "from ood_core.store import Store\n"
        "run, threads = Store(sys.argv[1]).get(sys.argv[2]), lambda: len(os.listdir('/proc/self/task'))\n"
        "before = threads()\n"
        "run.rows(), run.history()\n"
        "assert threads() == before, (before, threads())\n"
    )
    command = [sys.executable, "-c", counted, str(tmp_path), KEY]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_putting_again_replaces(tmp_path):
    store = Store(tmp_path)
    put(store, seed=0)
    put(store, seed=1)
    assert store.get(KEY).info["seed"] == 1
    assert sorted(p.name for p in tmp_path.iterdir()) == [KEY]


def test_what_training_left_on_its_way_goes_when_the_run_is_there(tmp_path):
    (tmp_path / f"{KEY}.partial").mkdir()
    (tmp_path / f"{KEY}.partial" / "state").write_bytes(b"half-way")
    put(Store(tmp_path))
    assert [p.name for p in tmp_path.iterdir()] == [KEY]


def test_a_run_at_hand_stays_readable_when_another_process_replaces_it(tmp_path):
    held = put(Store(tmp_path))
    scores = {**held.scores(), "energy|logits||": np.ones(2)}
    Store(tmp_path).put(held.info, held.rows(), held.history(), scores, held.weights(), held.early_weights())
    assert held.scores().keys() == scores.keys()
    (held.folder / "scores.npz").write_bytes(b"")
    with pytest.raises(ArtifactError, match="truncated or edited"):
        held.scores()


def test_large_early_weights_are_left_out_and_said(tmp_path, monkeypatch):
    monkeypatch.setattr("ood_core.store.EARLY_BYTES", 2 * WEIGHTS["w"].nbytes - 1)
    run = put(Store(tmp_path))
    assert run.early_epochs() == []
    assert run.early_weights() == {}
    assert not (run.folder / "early.safetensors").exists()
    run.check()


FILES = ["rows.parquet", "history.parquet", "scores.npz", "model.safetensors", "early.safetensors"]


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize(
    "damage",
    [lambda b: b[:-1], lambda b: b[: len(b) // 2] + bytes([b[len(b) // 2] ^ 1]) + b[len(b) // 2 + 1 :], lambda _: b""],
    ids=["truncated", "one bit", "empty"],
)
def test_damage_is_noticed_and_named(tmp_path, name, damage):
    run = put(Store(tmp_path))
    path = run.folder / name
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ArtifactError, match=f"{name} has SHA-256 .* truncated or edited") as caught:
        Store(tmp_path).get(KEY).check()
    assert f"Delete {run.folder}" in str(caught.value)
    path.unlink()
    with pytest.raises(ArtifactError, match="cannot be read"):
        run.check()


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda info: {**info, "seed": 9}, "was edited"),
        (lambda info: {**info, "files": {}}, "was edited"),
        (lambda info: {**info, "key": "b" * 20}, "not the record of run"),
        (lambda info: {**info, "format": FORMAT + 1}, f"expected at most {FORMAT}"),
        (lambda info: [info], "not the record of run"),
    ],
)
def test_an_edited_record_is_refused(tmp_path, edit, message):
    path = put(Store(tmp_path)).folder / "run.json"
    path.write_text(json.dumps(edit(json.loads(path.read_text()))))
    with pytest.raises(ArtifactError, match=message):
        Store(tmp_path).get(KEY)


def test_a_truncated_record_is_refused(tmp_path):
    path = put(Store(tmp_path)).folder / "run.json"
    path.write_text(path.read_text()[:40])
    with pytest.raises(ArtifactError, match="damaged"):
        Store(tmp_path).get(KEY)


def test_full_disk_leaves_nothing_and_keeps_what_was_there(tmp_path):
    """A real limit on file size in a process of its own: writes fail as on a full disk."""
    put(Store(tmp_path), seed=7)
    code = """
import resource, sys
import numpy as np, pandas as pd, torch
from ood_core.store import Store
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
try:
    Store(sys.argv[1]).put({"key": sys.argv[2], "seed": 8}, pd.DataFrame({"key": ["k"]}), pd.DataFrame({"e": [1]}), {},
                           {"w": torch.zeros(100_000)}, {})
except ValueError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path), KEY], capture_output=True, text=True, check=True)
    assert "could not be written" in done.stdout
    assert "0.4 MB free" in done.stdout
    assert sorted(p.name for p in tmp_path.iterdir()) == [KEY]
    assert Store(tmp_path).get(KEY).info["seed"] == 7
    Store(tmp_path).get(KEY).check()


@pytest.mark.parametrize("old", [None, 0])
def test_death_at_any_step_leaves_the_old_run_or_the_new_one(tmp_path, old):
    """Whole, found by its key and among all, and another `put` leaves nothing of either attempt behind."""
    found = []
    for step in itertools.count():
        store = Store(tmp_path / str(step))
        if old is not None:
            put(store, seed=old)
        try:
            with before_each_step(fail_at(step, SystemExit("killed"))):
                put(store, seed=1)
            break
        except SystemExit:
            run = store.get(KEY)
            found.append(None if run is None else run.info["seed"])
            assert store.keys() == ([] if run is None else [KEY])
            for one in store.runs():
                one.check()
        put(store, seed=2).check()
        assert store.get(KEY).info["seed"] == 2
        assert sorted(path.name for path in store.folder.iterdir()) == [KEY]
    assert step > 10
    assert found == sorted(found, key=(old, 1).index)
    assert set(found) == {old, 1}


@pytest.mark.parametrize("old", [None, 0])
def test_an_error_at_any_step_leaves_the_old_run_and_says_so(tmp_path, old):
    refused = 0
    for step in itertools.count():
        store = Store(tmp_path / str(step))
        store.folder.mkdir()
        if old is not None:
            put(store, seed=old)
        before = None if old is None else store.get(KEY).info
        full = OSError(28, "No space left on device")
        try:
            with before_each_step(fail_at(step, full), MAY_FAIL) as taken:
                put(store, seed=1)
        except InputError as error:
            refused += "could not be written" in str(error) and "(No space left on device)" in str(error)
            run = store.get(KEY)
            assert (None if run is None else run.info) == before
            assert [path.name for path in store.folder.iterdir()] == ([] if run is None else [KEY])
        else:  # nothing failed, or only what clears up
            store.get(KEY).check()
            assert store.get(KEY).info["seed"] == 1
            if step not in taken:
                break
    assert refused == (8 if old is None else 9)  # a folder, six files, and one rename or two


def test_a_run_is_found_at_every_moment_of_its_replacement(tmp_path):
    store = Store(tmp_path)
    held, seen = put(store, seed=0), []

    def look(_):
        run = store.get(KEY)
        run.check()
        assert run.folder == tmp_path / KEY
        assert store.keys() == [KEY]
        assert held.rows()["value"].item() == run.rows()["value"].item()
        seen.append(run.info["seed"])

    with before_each_step(look):
        put(store, seed=1)
    assert seen == sorted(seen)
    assert set(seen) == {0, 1}


def test_a_file_that_a_run_has_no_longer_is_not_called_damaged(tmp_path):
    held = put(Store(tmp_path))
    Store(tmp_path).put({**held.info, "seed": 1}, held.rows(), held.history(), held.scores(), held.weights(), {})
    with pytest.raises(ArtifactError, match=r"replaced by one without\.\nLoad the run again"):
        held.early_weights()


def test_runs_live_where_the_environment_says(tmp_path, monkeypatch):
    monkeypatch.setenv("OOD_RUNS", str(tmp_path / "mine"))
    assert Store().folder == tmp_path / "mine"
    monkeypatch.delenv("OOD_RUNS")
    monkeypatch.chdir(tmp_path)
    assert Store().folder.name == "runs"
    assert (Store().folder.parent / "ood_core").is_dir()


def state(epoch=2):
    return State(epoch, {"net.w": torch.arange(5.0)}, [{"epoch": 1.0, "loss": 0.1 + 0.2}], 1.5, 1.25)


def test_checkpoint_round_trip(tmp_path):
    kept = FileCheckpoints(tmp_path / "p" / "c.safetensors")
    assert kept.load() is None
    kept.save(state())
    found = kept.load()
    assert (found.epoch, found.history) == (2, state().history)
    assert (found.seconds, found.cpu_seconds) == (1.5, 1.25)
    assert torch.equal(found.tensors["net.w"], torch.arange(5.0))
    assert [path.name for path in (tmp_path / "p").iterdir()] == ["c.safetensors"]


@pytest.mark.parametrize("cut", [0, 5, 100, -1])
def test_a_damaged_checkpoint_starts_anew_and_says_so(tmp_path, cut):
    kept = FileCheckpoints(tmp_path / "c.safetensors")
    kept.save(state())
    kept.path.write_bytes(kept.path.read_bytes()[:cut])
    with pytest.warns(UserWarning, match="is damaged .* training starts anew"):
        assert kept.load() is None


def test_an_edited_checkpoint_starts_anew(tmp_path):
    kept = FileCheckpoints(tmp_path / "c.safetensors")
    kept.save(state())
    content = bytearray(kept.path.read_bytes())
    content[-1] ^= 1
    kept.path.write_bytes(bytes(content))
    with pytest.warns(UserWarning, match="checksum"):
        assert kept.load() is None


def test_recorded_weights_wait_for_the_run_and_a_damaged_file_is_named(tmp_path):
    kept = FileCheckpoints(tmp_path / KEY / "c.safetensors")
    kept.record(3, WEIGHTS)
    assert torch.equal(kept.recorded(3)["w"], WEIGHTS["w"])
    path = tmp_path / KEY / "epoch-3.safetensors"
    path.write_bytes(path.read_bytes()[:20])
    with pytest.raises(ArtifactError, match="expected the weights of epoch 3"):
        kept.recorded(3)
    with pytest.raises(ArtifactError, match=r"epoch-4.safetensors cannot be read"):
        kept.recorded(4)


def test_an_unwritable_checkpoint_is_said(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="could not be written"):
        FileCheckpoints(tmp_path / "file" / "c.safetensors").save(state())


def test_keys_name_damaged_runs_too(tmp_path):
    run = put(Store(tmp_path))
    (run.folder / "run.json").write_text("{")
    assert Store(tmp_path).keys() == [KEY]
    with pytest.raises(ArtifactError, match="damaged"):
        list(Store(tmp_path).runs())
