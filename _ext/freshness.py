"""Run a page again when anything it shows may have changed.

Sphinx reads a page again only when the page's own file is newer. A page of this book also shows what the package, the
claims, the reported values and the recorded results say, so each executed page is remembered with a digest of all of
them. The digests live in Sphinx's environment and so die with the doctree cache.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

from myst_nb.sphinx_ import NbMetadataCollector
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment

# Folders, and measurements of speed, from the repository root.
INPUTS = ("ood_core", "book/results")
MEASURED = "book/reference/*.json"
STATED = ("book/claims", "book/reported")  # one file for each paper in each


def digest(paths: Iterable[Path], root: Path) -> str:
    """SHA-256 over names and contents of files and of everything below folders, caches of bytecode left out."""
    total = hashlib.sha256()
    for path in paths:
        for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
            if file.is_file() and "__pycache__" not in file.parts:
                content = hashlib.sha256(file.read_bytes()).hexdigest()
                total.update(f"{file.relative_to(root).as_posix()}\0{content}\n".encode())
    return total.hexdigest()


def inputs_of(app: Sphinx, page: str) -> str:
    """The digest of everything that one page is made from: of claims, a paper's page shows its own, and others all."""
    root = Path(app.srcdir).parent
    part, _, name = page.rpartition("/")
    stated = [f"{folder}/{name}.yml" for folder in STATED] if part == "papers" else STATED
    measured = sorted(root.glob(MEASURED))
    return digest([Path(app.env.doc2path(page)), *(root / given for given in (*INPUTS, *stated)), *measured], root)


def remember(app: Sphinx, page: str, _source: list[str]) -> None:
    """Keep the digest of a page that is about to be read, taken first: a change during execution counts as one."""
    app.env.made_from = {**getattr(app.env, "made_from", {}), page: inputs_of(app, page)}  # type: ignore[attr-defined]


def merge(_app: Sphinx, env: BuildEnvironment, pages: set[str], other: BuildEnvironment) -> None:
    """Take over what another process remembers of the pages that it read."""
    kept = {page: made for page, made in getattr(other, "made_from", {}).items() if page in pages}
    env.made_from = {**getattr(env, "made_from", {}), **kept}  # type: ignore[attr-defined]


def outdated(app: Sphinx, env: BuildEnvironment, _added: set[str], _changed: set[str], _removed: set[str]) -> list[str]:
    """Executed pages whose inputs are not those they were executed with."""
    executed = {page for page, kept in NbMetadataCollector.get_doc_data(env).items() if kept.get("exec_data")}
    made_from: dict[str, str] = getattr(env, "made_from", {})
    return [page for page in sorted(executed & env.found_docs) if made_from.get(page) != inputs_of(app, page)]


def forget_after_trouble(app: Sphinx, error: Exception | None) -> None:
    """After a warning, read everything again next time: an unread page repeats no warning, so `-W` would pass."""
    if error or app._warncount:
        Path(app.doctreedir, "environment.pickle").unlink(missing_ok=True)


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the handlers."""
    app.connect("source-read", remember)
    app.connect("env-merge-info", merge)
    app.connect("env-get-outdated", outdated)
    app.connect("build-finished", forget_after_trouble)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
