"""The engine on a two-page book of its own: what is read again, what is refused, what lies beside a page."""

import json
import re
import shutil
from pathlib import Path

import nbformat
import pytest

from tests.building import ROOT, Completed, build_book, executed

NOTEBOOK_HEAD = (
    "---\njupytext: {text_representation: {extension: .md, format_name: myst, format_version: 0.13}}\n"
    "kernelspec: {display_name: Python 3, language: python, name: python3}\n---\n"
)
FRONT = (
    NOTEBOOK_HEAD
    + "# Front\n\n$x^2$, [the page](papers/demo), [plain](plain)\n\n```{code-cell}\nprint('front ran')\n```\n"
)
STUDY = """
from pathlib import Path
def export(page, scale, seeds, folder):
    Path(folder, "rows.csv").write_text(f"{page},{scale},{seeds}")
"""
VERIFY = """
from types import SimpleNamespace
def verify_index(scale):
    return [SimpleNamespace(run="g", seed=1, problem=text) for text in [{missing!r}] if text]
def verify_recorded(page, scale):
    return [SimpleNamespace(run="r", seed=0, problem={problem!r})]
"""


def demo_page() -> nbformat.NotebookNode:
    """A paper's page: parameters, then one line that shows what the package says."""
    given = nbformat.v4.new_code_cell("scale = 'tiny'\nseeds = 3", metadata={"tags": ["parameters"]})
    cells = [
        nbformat.v4.new_markdown_cell("# Demo"),
        given,
        nbformat.v4.new_code_cell("import ood_core\nprint(ood_core.WORD)"),
    ]
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    return nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": kernel})


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A checkout with the real settings and extensions, and next to nothing else."""
    for name in ("_config.yml", "_ext"):
        (shutil.copytree if (ROOT / name).is_dir() else shutil.copy)(ROOT / name, tmp_path / name)
    book, package = tmp_path / "book", tmp_path / "ood_core"
    shutil.copytree(ROOT / "book" / "_static", book / "_static")
    shutil.copytree(ROOT / "book" / "_vendor", book / "_vendor")
    for folder in (package, book / "papers", book / "claims"):
        folder.mkdir(parents=True)
    (tmp_path / "_toc.yml").write_text("format: jb-book\nroot: index\nchapters: [{file: plain}, {file: papers/demo}]\n")
    for name in ("_config.yml", "_toc.yml"):
        (book / name).symlink_to(Path("..", name))
    (book / "index.md").write_text(FRONT)
    (book / "plain.md").write_text("# Plain\n\nNothing runs here.\n")
    nbformat.write(demo_page(), book / "papers" / "demo.ipynb")
    (book / "claims" / "demo.yml").write_text("claims: []\n")
    (package / "__init__.py").write_text("WORD = 'first word'\n")
    (package / "study.py").write_text(STUDY)
    (package / "recipes.py").write_text("SCALES = ['small']\ndef pages(): return ['demo']\n")
    (package / "verify.py").write_text(VERIFY.format(problem="", missing=""))
    return tmp_path


def build(root: Path) -> Completed:
    """Build the small book, with the small package in front of the real one."""
    return build_book(root, PYTHONPATH=str(root))


def test_a_page_is_never_older_than_what_it_shows(root: Path) -> None:
    first = build(root)
    assert first.returncode == 0, first.stderr
    site = root / "book" / "_build" / "html"
    assert executed(first) == {"index", "papers/demo"}
    assert "first word" in (site / "papers" / "demo.html").read_text()
    assert (site / "downloads" / "demo" / "rows.csv").read_text() == "demo,tiny,3"
    outputs = json.loads((site / "downloads" / "demo" / "executed.ipynb").read_text())["cells"][-1]["outputs"]
    assert outputs[0]["text"] == ["first word\n"]
    check_scripts(site)

    again = build(root)
    assert again.returncode == 0
    assert "0 added, 0 changed, 0 removed" in again.stdout
    assert executed(again) == set()

    (root / "book" / "claims" / "demo.yml").write_text("claims: [one]\n")
    after_claims = build(root)
    assert executed(after_claims) == {"index", "papers/demo"}
    assert "0 added, 2 changed, 0 removed" in after_claims.stdout, "the page without code is left alone"

    (root / "ood_core" / "__init__.py").write_text("WORD = 'second word'\n")
    (root / "ood_core" / "study.py").write_text(STUDY.replace("{scale},", "{scale},again,"))
    assert build(root).returncode == 0
    assert "second word" in (site / "papers" / "demo.html").read_text()
    assert (site / "downloads" / "demo" / "rows.csv").read_text() == "demo,tiny,again,3"


def check_scripts(site: Path) -> None:
    """Each script once, from the site itself; formulas' script only where there are formulas."""
    for page in ("index.html", "papers/demo.html", "plain.html"):
        html = (site / page).read_text()
        scripts = re.findall(r'<script[^>]* src="([^"?]+)', html)
        assert scripts, "the theme has scripts"
        assert sorted(set(scripts)) == sorted(scripts)
        assert not [script for script in scripts if "thebe" in script]
        assert not re.findall(r'<(?:script|link|img)[^>]* (?:src|href)="[^"]*//[^"]*"', html)
        assert ("tex-svg.js" in html) == (page == "index.html")


@pytest.mark.parametrize(
    ("changes", "messages"),
    [
        ({"index.md": FRONT.replace("print('front ran')", "1 / 0")}, ["ZeroDivisionError"]),
        (
            {
                "index.md": FRONT.replace("print('front ran')", "import warnings; warnings.warn('beware')"),
                "plain.md": "# Plain\n\n[gone](nowhere.md)\n",
            },
            ["stderr was found", "nowhere"],
        ),
        (
            {"../ood_core/verify.py": VERIFY.format(problem="rows.csv was edited", missing="it is not there")},
            ["recorded run r (demo, small, seed 0): rows.csv was edited", "run g (small, seed 1): it is not there"],
        ),
    ],
    ids=["a cell fails", "a cell warns and a link is dead", "recorded runs were edited or are gone"],
)
def test_trouble_fails_every_build_until_it_is_mended(root: Path, changes: dict[str, str], messages: list[str]) -> None:
    for page, text in changes.items():
        (root / "book" / page).write_text(text)
    for _ in range(2):  # a page that is not read again would be silent the second time
        run = build(root)
        assert run.returncode != 0
        assert all(message in run.stdout + run.stderr for message in messages), run.stderr


def test_a_page_that_fails_says_why_where_pages_are_read_side_by_side(root: Path) -> None:
    names = [f"page{i}" for i in range(9)]  # with fewer than five pages a build has one process
    for name in names:
        (root / "book" / f"{name}.md").write_text(f"# {name}\n")
    more = "".join(f", {{file: {name}}}" for name in names)
    toc = root / "_toc.yml"
    toc.write_text(toc.read_text().replace("{file: plain}", "{file: plain}" + more))
    (root / "ood_core" / "__init__.py").write_text("LABEL = 'first word'\n")
    run = build(root)
    assert run.returncode != 0
    said = run.stdout + run.stderr
    assert "demo.ipynb" in said
    assert "print(ood_core.WORD)" in said
    assert "has no attribute 'WORD'" in said
