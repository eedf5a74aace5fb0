"""Gathered arrays: every row once, the same bits in memory and on disk, nothing half-written."""

import errno
import os

import numpy as np
import pytest
import torch

from ood_core.checks import InputError
from ood_core.features.storage import Files, Memory

KEYS = [("features",), ("layers", "block.0")]


def batches(sizes, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [{key: torch.randn(n, 3, generator=generator) for key in KEYS} for n in sizes]


def gather(target, given):
    with target as kept:
        for batch in given:
            for key, value in batch.items():
                kept.add(key, value)
        return kept.finish()


@pytest.mark.parametrize("sizes", [[1], [4, 1], [4, 4], [1, 1, 1, 7, 1], [3, 0, 2]], ids=str)
@pytest.mark.parametrize("known", [True, False, "too many", "too few"])
def test_memory_and_files_hold_the_same_bits(sizes, known, tmp_path):
    given = batches(sizes)
    rows = {True: sum(sizes), False: None, "too many": sum(sizes) + 9, "too few": 1}[known]
    in_memory, on_disk = gather(Memory(rows), given), gather(Files(tmp_path / "kept"), given)
    for key in KEYS:
        expected = torch.cat([batch[key] for batch in given])
        assert torch.equal(in_memory[key], expected)
        assert torch.equal(on_disk[key], expected)
    assert np.array_equal(np.load(tmp_path / "kept" / "layers" / "block.0.npy"), expected.numpy())


def test_a_known_number_of_rows_is_allocated_once():
    kept = Memory(100)
    kept.add(("features",), torch.zeros(10, 2))
    place = kept.finish()["features",].data_ptr()
    for _ in range(9):
        kept.add(("features",), torch.zeros(10, 2))
    assert kept.finish()["features",].data_ptr() == place


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_every_float_type_becomes_float32(dtype, tmp_path):
    x = torch.randn(5, 2).to(dtype)
    for target in (Memory(None), Files(tmp_path / "kept")):
        got = gather(target, [{("features",): x.T.contiguous().T}])["features",]  # columns first in memory
        assert torch.equal(got, x.float())
        assert got.dtype == torch.float32


def test_the_default_type_changes_nothing(tmp_path):
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        got = [gather(target, batches([4])) for target in (Memory(None), Files(tmp_path / "kept"))]
    finally:
        torch.set_default_dtype(before)
    assert {one[key].dtype for one in got for key in KEYS} == {torch.float32}


@pytest.mark.parametrize("width", [1, 4], ids=["would broadcast", "would not fit"])
def test_rows_of_another_width_are_refused(width, tmp_path):
    for target in (Memory(9), Memory(None), Files(tmp_path / "kept")):
        with pytest.raises(InputError, match=rf"features has rows of shape \({width},\) after rows of shape \(3,\)"):
            gather(target, [{("features",): torch.zeros(2, 3)}, {("features",): torch.zeros(2, width)}])
    assert list(tmp_path.iterdir()) == []


def test_an_interrupted_pass_leaves_nothing(tmp_path):
    def given():
        yield batches([2])[0]
        assert list(tmp_path.glob(".kept.*.writing/features.npy")), "it is being written beside its place"
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        gather(Files(tmp_path / "kept"), given())
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_holds_something_is_refused_and_kept(tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    for place in (tmp_path, tmp_path / "mine.txt"):
        with pytest.raises(InputError, match="is there already, expected a new or empty folder"):
            Files(place)
    assert (tmp_path / "mine.txt").read_text() == "mine"


def test_an_empty_folder_is_taken(tmp_path):
    (tmp_path / "kept").mkdir()
    gather(Files(tmp_path / "kept"), batches([2]))
    assert sorted(path.name for path in (tmp_path / "kept").iterdir()) == ["features.npy", "layers"]


def test_a_full_disk_is_said_in_words(tmp_path, monkeypatch):
    def full(_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(InputError, match=r"No space left[\s\S]*nothing half-written"):
        gather(Files(tmp_path / "kept"), batches([2]))
    assert list(tmp_path.iterdir()) == []


def test_writing_to_a_mapped_tensor_leaves_the_file_alone(tmp_path):
    got = gather(Files(tmp_path / "kept"), batches([4]))["features",]
    before = (tmp_path / "kept" / "features.npy").read_bytes()
    got.zero_()
    assert (tmp_path / "kept" / "features.npy").read_bytes() == before


def test_a_mapped_tensor_outlives_its_folder(tmp_path):
    given = batches([4])
    got = gather(Files(tmp_path / "kept"), given)["features",]
    (tmp_path / "kept" / "features.npy").unlink()
    assert torch.equal(got, given[0]["features",])


def test_a_name_that_no_file_can_have_is_quoted(tmp_path):
    given = {("layers", name): torch.randn(3, 2) for name in ("a/b", "a%2Fb", "a\\b", "block.0")}
    got = gather(Files(tmp_path / "kept"), [given])
    assert list(got) == list(given)
    assert all(torch.equal(got[key], value) for key, value in given.items())
    names = {path.name for path in (tmp_path / "kept" / "layers").iterdir()}
    assert names == {"a%2Fb.npy", "a%252Fb.npy", "a%5Cb.npy", "block.0.npy"}
