"""Files and folders: whole or as before, and found while they are replaced."""

import pytest

from ood_core import files
from ood_core.checks import InputError
from tests.steps import before_each_step, fail_at


def test_a_file_is_replaced_or_stays(tmp_path):
    path = tmp_path / "a.txt"
    files.write(path, b"old")
    files.write(path, b"new")
    steps = ("pathlib.Path.write_bytes", "os.fsync", "pathlib.Path.replace")
    for step in range(len(steps)):
        with before_each_step(fail_at(step, OSError("full")), steps), pytest.raises(OSError, match="full"):
            files.write(path, b"half")
        assert path.read_bytes() == b"new"
    assert [one.name for one in tmp_path.iterdir()] == ["a.txt"]


def test_a_folder_is_found_where_it_was_moved_from_its_place(tmp_path):
    files.put(tmp_path / "a", {"x": b"1", "y": b"2"})
    files.put(tmp_path / "b", {"y": b"3"})
    (tmp_path / "a").rename(tmp_path / "a.old")
    assert files.read(tmp_path / "a", "x") == b"1"
    assert files.has(tmp_path / "a", "y")
    assert files.folders(tmp_path, "x") == [tmp_path / "a"]
    assert files.folders(tmp_path, "y") == [tmp_path / "a", tmp_path / "b"]
    files.put(tmp_path / "a", {"x": b"4"})
    assert sorted(one.name for one in tmp_path.iterdir()) == ["a", "b"]
    assert not files.has(tmp_path / "a", "y")
    with pytest.raises(FileNotFoundError):
        files.read(tmp_path / "a", "y")


def test_what_is_not_there(tmp_path):
    assert files.folders(tmp_path / "no", "x") == []
    (tmp_path / "no").write_text("a file")
    assert files.folders(tmp_path / "no", "x") == []
    assert not files.has(tmp_path / "no", "x")
    with (
        pytest.raises(InputError, match=r"cannot hold runs .*\nMake room\."),
        files.locked(tmp_path / "no" / "lock", "Make room."),
    ):
        pass
