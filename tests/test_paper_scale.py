"""The launcher of scale `paper`: its lines name all recipes, record what they ran, end in time and go on."""

import importlib.util
import tarfile

import pytest

from ood_core import paths, recipes, recorded, study
from ood_core.train import InterruptedTraining

FILE = paths.repository() / "scripts" / "paper_scale.py"


@pytest.fixture
def launcher():
    spec = importlib.util.spec_from_file_location("paper_scale", FILE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_recipe_of_the_scale_is_in_one_line(launcher):
    named = [name for groups in launcher.LINES.values() for names, _ in groups for name in names]
    assert len(named) == len(set(named))
    assert set(named) == {name for page in recipes.pages() for name in recipes.load(page, "paper")}


def test_a_line_runs_records_packs_and_goes_on(made, launcher, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(recorded, "folder", lambda scale: tmp_path / "results" / scale)
    monkeypatch.setattr(launcher, "LINES", {"first": ((("ce", "l2", "published"), 2),)})
    monkeypatch.setattr(recipes, "pages", lambda: ["made"])
    asked_to_stop = iter([False, True])
    with pytest.raises(InterruptedTraining):
        launcher.run_line("first", "tiny", "cpu", False, lambda: next(asked_to_stop))
    assert not list(recorded.every("tiny"))
    launcher.run_line("first", "tiny", "cpu", False, lambda: False)
    found = {(run.info["recipe"]["id"], run.info["seed"]) for run in recorded.every("tiny")}
    assert found == {("ce", 0), ("ce", 1), ("l2", 0), ("l2", 1)}
    assert study.record("made", "tiny", 2, known=[run.key for run in recorded.every("tiny")]) == []  # once is enough
    assert "seed 1 of 2" in capsys.readouterr().out
    assert launcher.outlook("first", "tiny").startswith("first          4 runs,   4 stored, about 0 minutes left")
    pack = tmp_path / "pack.tar.gz"
    monkeypatch.setattr("sys.argv", ["paper_scale.py", "--scale", "tiny", "--pack", str(pack)])
    assert launcher.main() == 0
    with tarfile.open(pack) as inside:
        assert sum(name.endswith("rows.csv") for name in inside.getnames()) == 4
        assert inside.getnames()[0] == "book/results/tiny"


def test_a_line_that_is_not_there_is_refused(launcher, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["paper_scale.py", "bse"])
    with pytest.raises(SystemExit):
        launcher.main()
    assert "there is no line 'bse', expected some of: base, ddu," in capsys.readouterr().err
