"""A page that fails ends the build with what its cell said: the engine names the page alone."""

from __future__ import annotations

from myst_nb.core.execute.base import ExecutionError
from myst_nb.core.execute.direct import NotebookClientDirect
from sphinx.application import Sphinx


class Client(NotebookClientDirect):  # type: ignore[misc]  # it has no types
    """Executes as the engine does, with the error of the cell in the error of the page."""

    def start_client(self) -> None:
        """Raise ExecutionError with the page, the cell's code and its traceback."""
        try:
            super().start_client()
        except ExecutionError as error:
            raise ExecutionError(f"{error}\n{error.__cause__}") from error.__cause__


def setup(_: Sphinx) -> dict[str, bool]:
    """Put the client in place of the engine's."""
    from myst_nb.core import execute

    execute.NotebookClientDirect = Client
    return {"parallel_read_safe": True, "parallel_write_safe": True}
