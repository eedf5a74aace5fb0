"""Check the recorded runs before a build: one that is missing, edited or older than the code is a warning."""

from __future__ import annotations

from sphinx.application import Sphinx
from sphinx.util import logging

log = logging.getLogger(__name__)


def check(_: Sphinx) -> None:
    """One warning for each recorded run with a problem; with -W the build fails."""
    from ood_core import recipes
    from ood_core.verify import verify_index, verify_recorded

    for scale in recipes.SCALES:
        for found in verify_index(scale):
            log.warning("recorded run %s (%s, seed %s): %s", found.run, scale, found.seed, found.problem)
    for page in recipes.pages():
        for scale in recipes.SCALES:
            for found in verify_recorded(page, scale):
                if found.problem:
                    log.warning(
                        "recorded run %s (%s, %s, seed %s): %s", found.run, page, scale, found.seed, found.problem
                    )


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the handler."""
    app.connect("builder-inited", check)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
