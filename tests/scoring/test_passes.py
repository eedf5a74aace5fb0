"""Image files through a classifier: the same for any batch size and number of workers."""

import pandas as pd
import pytest
import torch

from tests.scoring.cases import KEY, call, scored, spoil


def test_a_single_file_workers_and_the_batch_size_change_no_score(net, folders, tmp_path):
    whole, _ = scored(folders, tmp_path, "--id-folder", folders["train"])
    split, _ = scored(folders, tmp_path, "--id-folder", folders["train"], "--workers", 2, "--batch-size", 7)
    pd.testing.assert_frame_equal(whole, split)
    folders["one"] = folders["test"] / "0003.png"
    one, _ = scored(folders, tmp_path, "--id-folder", folders["train"], target="one")
    pd.testing.assert_frame_equal(one, whole[3:4].reset_index(drop=True))


@pytest.fixture
def threads():
    """Sets how many threads torch has for one test."""
    yield torch.set_num_threads
    torch.set_num_threads(1)


def test_scores_take_the_threads_that_torch_has_or_are_asked_for_and_stay_the_same(net, folders, tmp_path, threads):
    fit = ("--id-folder", folders["train"], "--held-out", folders["held"], "--scorer", "ddu")
    one, said = scored(folders, tmp_path, *fit, "--threads", 1)
    assert torch.get_num_threads() == 1
    threads(2)
    for given, number in (((), 2), (("--threads", 3), 3)):
        several, told = scored(folders, tmp_path, *fit, *given, "--workers", 1)
        assert torch.get_num_threads() == number
        pd.testing.assert_frame_equal(several, one, rtol=1e-5)
        assert told.stderr == said.stderr


def test_an_unreadable_image_is_named_by_workers_too(net, folders, tmp_path):
    whole = (folders["test"] / "0000.png").read_bytes()
    bad = spoil(folders["test"], "bad.png", whole[: len(whole) // 2])
    arguments = (folders["test"], "--id-folder", folders["train"], "--model", KEY, "--out", tmp_path / "s.csv")
    result = call(*arguments, "--workers", 1)
    assert result.exit_code == 1
    assert f"Error: {bad} cannot be read" in result.output
