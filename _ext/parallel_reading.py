"""Read pages in two processes: nearly all of a build is executing them, and each has a kernel of its own."""

from __future__ import annotations

import os

from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment

PROCESSES = 2  # a kernel takes 0.6 GB
# They say nothing of parallel reading, which Sphinx takes for a no. The one numbers chapters once all pages are read,
# the other acts on LaTeX alone.
SILENT = ("sphinx_multitoc_numbering", "sphinx_jupyterbook_latex")


def share(app: Sphinx) -> None:
    """Ask for two processes where there are two cores, for the command line of the book builder has no such option."""
    app.parallel = max(app.parallel, min(PROCESSES, os.cpu_count() or 1))
    for name in SILENT:
        app.extensions[name].parallel_read_safe = True


def deal(app: Sphinx, env: BuildEnvironment, pages: list[str]) -> None:
    """Put the pages in the order in which each process, which takes a run of them, gets as many of the long ones."""
    pages.sort(key=lambda page: (not env.doc2path(page).endswith(".ipynb"), page))
    pages[:] = [page for first in range(app.parallel) for page in pages[first :: app.parallel]]


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the handlers."""
    app.connect("builder-inited", share)
    app.connect("env-before-read-docs", deal)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
