"""The notebooks as papermill runs them: other parameters work, wrong ones are refused in words, code stays short."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from ood_core import claims, study
from ood_core.checks import InputError
from tests.building import COMPARE, PAPERS, ROOT

MOST_LINES = 60


def notebook(page):
    return json.loads((ROOT / "book" / f"{page}.ipynb").read_text(encoding="utf-8"))


def papermill(page, folder, runs, **parameters):
    """Run a page from another working folder, as a user would."""
    out = folder / "out.ipynb"
    given = [text for name, value in parameters.items() for text in ("-p", name, str(value))]
    command = [Path(sys.executable).with_name("papermill"), ROOT / "book" / f"{page}.ipynb", out, *given]
    done = subprocess.run(
        [*map(str, command), "--no-progress-bar"],
        cwd=ROOT,
        env={**os.environ, "OOD_RUNS": str(runs)},
        capture_output=True,
        text=True,
        check=False,
    )
    return done, json.loads(out.read_text(encoding="utf-8")) if out.exists() else None


@pytest.mark.parametrize("page", [*PAPERS, COMPARE])
def test_a_page_is_short_and_has_its_three_parameters(page):
    code = [cell for cell in notebook(page)["cells"] if cell["cell_type"] == "code"]
    assert sum(bool(line.strip()) for cell in code for line in cell["source"]) <= MOST_LINES
    (tagged,) = [cell for cell in code if "parameters" in cell["metadata"].get("tags", [])]
    assert [line.split(" = ")[0] for line in tagged["source"]] == ["scale", "seeds", "device"]


@pytest.mark.parametrize("page", [*PAPERS, COMPARE])
def test_a_page_uses_public_names_of_the_four_modules_alone(page):
    code = ["".join(cell["source"]) for cell in notebook(page)["cells"] if cell["cell_type"] == "code"]
    source = "\n".join(code)
    imports = [line for line in source.splitlines() if line.startswith(("import ", "from "))]
    names = "claims, comparison, plots, recipes, study, tables" if page == COMPARE else "claims, plots, study, tables"
    assert imports == [f"from ood_core import {names}"]
    assert "._" not in source


@pytest.mark.slow
@pytest.mark.parametrize("page", PAPERS)
def test_fewer_seeds_describe_and_do_not_judge(page, tmp_path, runs):
    done, out = papermill(page, tmp_path, runs, scale="tiny", seeds=2)
    assert done.returncode == 0, done.stderr[-2000:]
    outputs = [output for cell in out["cells"] if cell["cell_type"] == "code" for output in cell["outputs"]]
    shown = ("".join(output["data"]["text/html"]) for output in outputs if "data" in output)
    box = next(html for html in shown if "verdict-box" in html)
    assert "verdict-descriptive" in box
    # an identity is checked on every number and needs no seeds
    counted = [[part.rule for part in claim.parts if part.counts] for claim in claims.load(Path(page).name)]
    live = re.findall(r"<td[^>]*>((?:(?!</td>).)*)</td></tr>", box)  # a claim's verdict at the smallest scale
    assert len(live) == len(counted)
    assert "".join(live).count("verdict-holds") <= sum(set(rules) == {"always"} for rules in counted)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"scale": "huge"}, "scale is 'huge': input should be 'tiny', 'small' or 'paper'"),
        ({"seeds": 0}, "seeds is 0: input should be greater than or equal to 1"),
        ({"seeds": "five"}, "seeds is 'five'"),
        ({"scale": "../tiny"}, "scale is '../tiny'"),
        ({"device": "/dev/null"}, "device is '/dev/null'"),
    ],
    ids=str,
)
def test_a_wrong_parameter_is_refused_in_words(parameters, message):
    given = {"scale": "tiny", "seeds": 5, "device": "auto", **parameters}
    with pytest.raises(InputError) as refused:
        study.run_or_load(Path(PAPERS[0]).name, **given)
    assert message in str(refused.value)


@pytest.mark.slow
def test_a_wrong_parameter_from_papermill_is_refused_in_words(tmp_path, runs):
    done, _ = papermill(PAPERS[0], tmp_path, runs, scale="../tiny", seeds=0)
    assert done.returncode != 0
    assert "InputError" in done.stderr
    assert "scale is '../tiny'" in done.stderr
    assert "seeds is 0" in done.stderr
