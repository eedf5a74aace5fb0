"""Put an executed notebook and the tables behind it into the site, under downloads/<page>/."""

from __future__ import annotations

import ast
import shutil
from pathlib import Path
from typing import Any

import papermill
from sphinx.application import Sphinx


def parameters(notebook: Path) -> dict[str, Any]:
    """The values of the cell tagged `parameters`, which are those the page was executed with."""
    found = papermill.inspect_notebook(str(notebook))
    return {name: ast.literal_eval(found[name]["default"]) for name in found}


def copy_downloads(app: Sphinx, error: Exception | None) -> None:
    """Copy what changed since the last build; a page that was not executed again keeps its files."""
    if error or app.builder.format != "html":
        return
    executed = Path(app.outdir).parent / "jupyter_execute"  # where myst-nb leaves them
    for page in sorted(app.env.found_docs):
        if page.startswith("papers/") or page == "compare/compare":
            source, folder = executed / f"{page}.ipynb", Path(app.outdir, "downloads", Path(page).name)
            copied = folder / "executed.ipynb"
            if copied.exists() and copied.stat().st_mtime >= source.stat().st_mtime:
                continue
            from ood_core import study

            folder.mkdir(parents=True, exist_ok=True)
            given = parameters(source)
            study.export(folder.name, given["scale"], given["seeds"], folder)
            shutil.copyfile(source, copied)  # last: its age says that the tables are there as well


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the handler."""
    app.connect("build-finished", copy_downloads)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
