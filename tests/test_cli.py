"""The commands as typed: what they print, what they refuse, how they exit."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tomllib
import warnings
from importlib.metadata import EntryPoint

import pytest
import yaml
from click.testing import CliRunner

from ood_core import cli, recipes, study
from ood_core.cli.options import PAGE, show
from ood_core.models import backbone
from ood_core.runs import train_key
from ood_core.store import Run, Store
from tests.building import ROOT
from tests.made_page import changed

COMMANDS = [
    [],
    ["recipes"],
    ["plan"],
    ["run"],
    ["verify"],
    ["score"],
    ["data"],
    ["data", "list"],
    ["data", "check"],
    ["data", "fetch"],
    ["data", "show"],
    ["data", "record"],
]


@pytest.fixture
def call(made, monkeypatch):
    """Commands that know the tests' own page beside the real ones."""
    for command in ("recipes", "run", "verify"):
        page = next(p for p in cli.main.commands[command].params if p.name in ("page", "pages"))
        monkeypatch.setattr(page.type, "choices", (*page.type.choices, "made"))

    def invoke(*arguments):
        return CliRunner().invoke(cli.main, [str(a) for a in arguments], prog_name="python -m ood_core")

    return invoke


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_has_help_with_an_example(command):
    result = CliRunner().invoke(cli.main, [*command, "--help"], prog_name="python -m ood_core")
    assert result.exit_code == 0
    assert command == [] or "python -m ood_core" in result.output.partition("\n")[2]


@pytest.mark.parametrize("group", [[], ["data"]], ids=["all", "data"])
def test_summaries_stand_whole_on_a_line_of_80_columns(group, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    result = CliRunner().invoke(cli.main, [*group, "--help"])
    lines = result.output.partition("Commands:\n")[2].splitlines()
    assert len(lines) == (len(cli.SUMMARIES) if not group else 5)
    assert all(re.fullmatch(r"  \w+ +\S.*\.", line) and "..." not in line for line in lines)


def test_the_help_of_all_commands_imports_none_of_them():
    code = (
        "import sys\nfrom ood_core.cli import main\n"
        "main(['--help'], standalone_mode=False)\n"
        "print([m for m in sys.modules if m.startswith(('torch', 'numpy', 'pandas', 'ood_core.'))])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "['ood_core.cli']"
    for name in cli.SUMMARIES:
        assert cli.main.commands[name].name == name
    with pytest.raises(KeyError):
        _ = cli.main.commands["fly"]


def test_the_installed_command_is_this_one():
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["scripts"]
    assert scripts == {"ood-core": "ood_core.cli:main"}
    assert EntryPoint("ood-core", scripts["ood-core"], "console_scripts").load() is cli.main


def test_run_recipes_verify(call):
    first = call("run", "made", "--seeds", 1, "--jobs", 1, "--json")
    assert first.exit_code == 0, first.output
    rows = json.loads(first.stdout)
    assert [(row["recipe"], row["seed"], row["loaded"]) for row in rows] == [("ce", 0, False), ("l2", 0, False)]
    left = "2 runs, 0 stored, 2 to do, about 0.0 minutes on two CPU cores, a run on each"
    assert f"made at tiny: {left}" in first.stderr
    again = call("run", "made", "--seeds", 1, "--jobs", 1)
    assert "2 stored, 0 to do" in again.stderr
    assert "True" in again.stdout
    listed = json.loads(call("recipes", "made", "--json").stdout)
    assert [(row["recipe"], row["stored"], row["seeds"]) for row in listed] == [("ce", 1, 2), ("l2", 1, 2)]
    verified = call("verify", "made")
    assert verified.exit_code == 0
    assert "2 runs, 64 numbers computed again, 0 with problems" in verified.stderr


@pytest.mark.parametrize(
    ("command", "one"),
    [
        (["run", "made", "--seeds", "1", "--jobs", "1"], True),
        (["verify", "made"], True),
        (["record", "l2-norm"], True),
        (["recipes", "made"], False),
        (["data", "list"], False),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_one_thread_where_runs_are_made_recorded_or_checked(call, monkeypatch, command, one):
    asked = []
    monkeypatch.setattr("torch.set_num_threads", asked.append)
    result = call(*command)
    assert "No such" not in result.output
    assert asked == ([1] if one else []), result.output


def test_recipes_counts_runs_without_reading_their_rows(call, monkeypatch):
    call("run", "made", "--seeds", 1, "--jobs", 1)
    monkeypatch.setattr(Run, "rows", lambda run: pytest.fail(f"{run.key} is read"))
    listed = json.loads(call("recipes", "made", "--json").stdout)
    assert [(row["stored"], row["seeds"]) for row in listed] == [(1, 2), (1, 2)]
    shutil.rmtree(next(Store().runs()).folder)
    assert sorted(row["stored"] for row in json.loads(call("recipes", "made", "--json").stdout)) == [0, 1]


def test_verify_finds_the_runs_of_a_page_by_the_seeds_that_are_there(call, monkeypatch):
    call("run", "made", "--seeds", 1, "--jobs", 1)
    seeds = []
    monkeypatch.setattr("ood_core.cli.verify.train_key", lambda one, seed: seeds.append(seed) or train_key(one, seed))
    assert "2 runs" in call("verify", "made").stderr
    assert set(seeds) == {0}


def test_plan_says_what_is_there_and_what_is_left(made, call):
    page = changed()
    page["scales"]["tiny"]["minutes"] = 3
    made(page)
    before = call("plan", "made", "--json")
    assert before.exit_code == 0, before.output
    rows = json.loads(before.stdout)
    page = recipes.load("made", "tiny")
    assert [(row["recipe"], row["seeds"], row["stored"], row["to train"]) for row in rows] == [
        ("ce", 2, 0, 2),
        ("l2", 2, 0, 2),
    ]
    settings = page["ce"].network
    net = backbone(settings, (8, 8, 1))
    for row in rows:
        assert row["parameters"] == sum(p.numel() for p in net.parameters())
        assert row["network"] == f"{settings.name} x{settings.width}"
        assert (row["page"], row["data"], row["on"]) == ("made", "digits", "two CPU cores, a run on each")
        assert (row["epochs"], row["minutes a run"]) == (page["ce"].epochs, page["ce"].minutes)
    left = "4 runs: 0 stored, 0 to measure, 4 to train, about 12 minutes on two CPU cores, a run on each"
    assert before.stderr.strip() == left
    call("run", "made", "--seeds", 1, "--jobs", 1)
    assert "4 runs: 2 stored, 0 to measure, 2 to train, about 6.0 minutes" in call("plan", "made").stderr
    assert "stored" in call("plan", "made").stdout.splitlines()[0]


def test_plan_and_run_say_what_is_recorded(call, tmp_path, monkeypatch):
    monkeypatch.setattr("ood_core.recorded.folder", lambda scale: tmp_path / "results" / scale)
    call("run", "made", "--seeds", 1, "--jobs", 1)
    study.record("made", "tiny", 1)
    assert "2 to train, about" in call("plan", "made").stderr, "what is stored is not counted again"
    monkeypatch.setenv("OOD_RUNS", str(tmp_path / "empty"))
    told = "to train, 2 of them recorded in book/results/tiny, about 0.0 minutes on two CPU cores, a run on each"
    assert f"4 runs: 0 stored, 0 to measure, 4 {told}" in call("plan", "made").stderr
    only_new = call("run", "made", "--seeds", 2, "--recipe", "ce", "--jobs", 1, "--unrecorded", "--json")
    assert "1 runs, 0 stored, 1 to do, about" in only_new.stderr
    assert [(row["recipe"], row["seed"]) for row in json.loads(only_new.stdout)] == [("ce", 1)]
    nothing = call("run", "made", "--seeds", 1, "--jobs", 1, "--unrecorded")
    assert (nothing.exit_code, nothing.stdout.strip()) == (0, "")
    first = call("run", "made", "--seeds", 1, "--recipe", "ce", "--jobs", 1).stderr
    assert "1 runs, 0 stored, 1 to do, 1 of them recorded in book/results/tiny, about" in first
    both = call("run", "made", "--seeds", 2, "--recipe", "ce", "--jobs", 1, "--unrecorded").stderr
    assert "2 runs, 2 stored, 0 to do" in both, "a stored run is there, recorded or not"
    monkeypatch.setenv("OOD_RUNS", str(tmp_path / "again"))
    back = call("run", "made", "--seeds", 1, "--jobs", 1, "--restore", "--json")
    assert "2 runs, 2 stored, 0 to do" in back.stderr
    assert [row["loaded"] for row in json.loads(back.stdout)] == [True, True]
    wrong = call("run", "made", "--restore", "--unrecorded")
    assert wrong.exit_code == 2
    assert "give one of them" in wrong.output


def test_plan_takes_recipes_and_several_pages_as_run_does(made, call, tmp_path):
    page = changed()
    page["recipes"] = {"l2": page["recipes"]["l2"], "other": {**page["recipes"]["ce"], "title": "Another"}}
    (tmp_path / "recipes" / "second.yml").write_text(yaml.safe_dump(page))
    PAGE.choices = (*PAGE.choices, "second")  # the fixture takes them back

    def planned(*arguments):
        result = call("plan", *arguments, "--seeds", 1, "--json")
        assert result.exit_code == 0, result.output
        return [(row["page"], row["recipe"]) for row in json.loads(result.stdout)], result.stderr

    rows, told = planned("made", "second", "made")
    assert rows == [("made", "ce"), ("made", "l2"), ("second", "l2"), ("second", "other")]
    assert told.startswith("2 runs (2 more are shared)")  # `other` trains like `ce`
    rows, told = planned("made", "second", "--recipe", "l2", "--recipe", "ce")
    assert rows == [("made", "ce"), ("made", "l2"), ("second", "l2")]
    assert planned("made", "second", "--recipe", "other")[0] == [("second", "other")]
    wrong = call("plan", "made", "second", "--recipe", "c")
    assert wrong.exit_code == 1
    assert "recipe of made, second at scale tiny is 'c', expected one of: ce, l2, other" in wrong.output


def test_plan_counts_shared_runs_once_and_names_options(made, call):
    page = changed()
    page["recipes"]["again"] = {**page["recipes"]["ce"], "title": "The same again"}
    page["recipes"]["soft"] = {**page["recipes"]["ce"], "network": {"activation": "leaky_relu", "spectral": 3}}
    page["scales"]["tiny"]["minutes"] = 30
    made(page)
    result = call("plan", "made", "--seeds", 3, "--json")
    assert "9 runs (3 more are shared): 0 stored, 0 to measure, 9 to train, about 4.5 hours" in result.stderr
    (soft,) = (row for row in json.loads(result.stdout) if row["recipe"] == "soft")
    assert soft["network"].endswith(" activation=leaky_relu spectral=3.0")


def test_verify_fails_on_damage_and_names_it(call):
    call("run", "made", "--seeds", 1, "--jobs", 1)
    path = next(Store().runs()).folder / "scores.npz"
    path.write_bytes(path.read_bytes()[:-1])
    result = call("verify")
    assert result.exit_code == 1
    assert "scores.npz has SHA-256" in result.stdout
    assert "1 with problems" in result.stderr


def test_all_runs_every_page_of_the_scale(call):
    result = call("run", "--all", "--seeds", 1, "--jobs", 1, "--json")
    assert result.exit_code == 0
    assert {row["page"] for row in json.loads(result.stdout)} == {"made"}


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["run"], 2, "or pass --all for every page; not both"),
        (["plan"], 2, "or pass --all for every page; not both"),
        (["plan", "made", "--all"], 2, "or pass --all for every page; not both"),
        (["plan", "made", "--scale", "paper"], 1, "paper"),
        (["plan", "made", "--recipe", "cee"], 1, "recipe of made at scale tiny is 'cee', expected one of: ce, l2"),
        (["plan", "--all", "--recipe", "ce"], 2, "--recipe belongs to the pages that are named"),
        (["run", "made", "--all"], 2, "or pass --all for every page; not both"),
        (["run", "no-such"], 2, "'no-such' is not"),
        (["run", "../made"], 2, "'../made' is not"),
        (["run", "made", "--scale", "huge"], 2, "'huge' is not one of"),
        (["run", "made", "--seeds", "0"], 2, "0 is not in the range"),
        (["run", "made", "--seeds", "many"], 2, "'many' is not a valid integer"),
        (["run", "made", "--device", "tpu"], 2, "'tpu' is not one of"),
        (["recipes", "--scale", "paper"], 1, "no page has recipes at scale 'paper'"),
        (["recipes", "made", "--scale", "paper"], 1, "paper"),
        (["run", "made", "--scale", "paper"], 1, "paper"),
        (["verify"], 1, "no stored run matches"),
        (["data", "check", "digit"], 1, "image set is 'digit', expected one of: digits"),
        (["data", "fetch", "digits"], 1, "digits is embedded in a library"),
        (["data", "fetch", "cifar10"], 1, "OOD_DATA is not set"),
        (["fly"], 2, "No such command 'fly'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_mistakes_get_a_message_and_no_traceback(call, monkeypatch, arguments, code, message):
    monkeypatch.delenv("OOD_DATA", raising=False)
    result = call(*arguments)
    assert result.exit_code == code, result.output
    assert message in result.output
    assert "Traceback" not in result.output


CODE = """
import sys
from pathlib import Path
from ood_core import cli, recipes
from ood_core.cli import run
recipes.FOLDER = Path(sys.argv[1])
recipes.page.cache_clear()
for name in ("recipes", "run", "verify"):
    page = next(p for p in cli.main.commands[name].params if p.name in ("page", "pages"))
    page.type.choices = (*page.type.choices, "made")
run.tqdm = type("Told", (run.tqdm,), {"update": lambda self, n=1: print("tick", flush=True)})
cli.main(["run", "made", "--seeds", "1", "--jobs", sys.argv[2]], prog_name="python -m ood_core")
"""


@pytest.mark.slow
@pytest.mark.parametrize("jobs", [1, 2])
def test_ctrl_c_says_how_to_go_on(made, tmp_path, jobs):
    page = changed(record=[])
    page["scales"]["tiny"]["schedule"]["epochs"] = 200
    made(page)
    with subprocess.Popen(
        [sys.executable, "-c", CODE, str(tmp_path / "recipes"), str(jobs)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    ) as process:
        for tick, _ in enumerate(process.stdout):
            if tick == 5:
                process.send_signal(signal.SIGINT)
                break
        _, err = process.communicate(timeout=120)
    assert process.returncode == 130, err
    assert "stopping after this epoch" in err
    assert "of 200. Run the same command again to go on from there." in err
    assert "Traceback" not in err
    assert list(Store().runs()) == []
    assert len(list((tmp_path / "runs").glob("*.partial/checkpoint.safetensors"))) == jobs


def test_the_module_runs():
    done = subprocess.run([sys.executable, "-m", "ood_core", "--version"], capture_output=True, text=True, check=True)
    assert "ood_core, version" in done.stdout


@pytest.mark.parametrize(("floats", "shown"), [({}, "-0.00"), ({"floats": ".6g"}, "-9.56e-05")])
def test_a_table_says_how_its_floats_are_printed(capsys, floats, shown):
    show([{"score": -9.56e-05}], as_json=False, **floats)
    assert capsys.readouterr().out.split()[-1] == shown


def test_help_names_every_page():
    result = CliRunner().invoke(cli.main, ["run", "--help"])
    for page in recipes.pages():
        assert page in result.output


def test_tensorboard_shows_what_the_store_has(call, tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its own, on what it imports
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    board = tmp_path / "board"
    for _ in range(2):  # the second time from the store, in place of the first
        assert call("run", "made", "--seeds", "1", "--jobs", "1", "--tensorboard", board).exit_code == 0
    runs = {run.info["recipe"]["id"]: run for run in Store().runs()}
    assert sorted(path.name for path in board.iterdir()) == sorted(f"{r}-0-{runs[r].key[:8]}" for r in ("ce", "l2"))
    (place,) = board.glob("l2-0-*")
    seen = EventAccumulator(str(place)).Reload()
    history = runs["l2"].history()
    for name in ("loss", "accuracy", "lr"):
        found = seen.Scalars(f"training/{name}")
        assert [event.step for event in found] == history["epoch"].tolist()
        assert [event.value for event in found] == pytest.approx(history[name].tolist(), rel=1e-6)
    rows = runs["l2"].rows()
    mine = rows[(rows["metric"] == "auroc") & (rows["scorer"] == "feature_norm") & (rows["ood_set"] == "noise")]
    found = seen.Scalars("auroc/test/noise/features/feature_norm")
    assert [event.step for event in found] == mine["epoch"].tolist() == [0, 1, 2]
    assert [event.value for event in found] == pytest.approx(mine["value"].tolist(), rel=1e-6)


def test_tensorboard_that_is_not_installed_is_said_before_training(call, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    done = call("run", "made", "--tensorboard", tmp_path)
    assert done.exit_code == 1
    assert 'pip install ".[tensorboard]"' in done.output
    assert list(Store().runs()) == []


def test_record_takes_several_pages_each_with_its_own_of_the_recipes(monkeypatch):
    asked = []

    def call(*arguments):
        return CliRunner().invoke(cli.main, [str(a) for a in arguments])

    def record(page, scale, seeds, only, known):
        asked.append((page, scale, seeds, list(only), set(known)))
        return []

    monkeypatch.setattr("ood_core.study.record", record)
    named = ("record", "isomax", "compare", "nan")
    told = call(*named, "--recipe", "dismax", "--recipe", "isomax-s3", "--seeds", 2)
    assert asked == [
        ("isomax", "small", 2, ["dismax", "isomax-s3"], set()),
        ("compare", "small", 2, ["dismax"], set()),
    ], "and not all recipes of a page that has none of them"
    assert told.exit_code == 1
    assert "no whole run of isomax compare nan at small is stored" in told.stderr
    assert "not both" in call("record", "nan", "--all").stderr
