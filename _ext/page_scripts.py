"""Give each page every script once, and none that another host would serve."""

from __future__ import annotations

from typing import Any

from sphinx.application import Sphinx


def clean(_app: Sphinx, _page: str, _template: str, context: dict[str, Any], _doctree: object) -> None:
    """Drop repeated scripts and Thebe from one page.

    The theme and the engine both add their scripts, which the browser reports as an error; Thebe would start a live
    kernel elsewhere, and this book has none.
    """
    kept: dict[tuple[str, str], Any] = {}
    for script in context.get("script_files", []):
        body = getattr(script, "attributes", {}).get("body") or ""
        key = (str(getattr(script, "filename", script)), body)
        if "thebe" not in "".join(key).lower():
            kept.setdefault(key, script)
    context["script_files"] = list(kept.values())


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the handler, after those that add scripts."""
    app.connect("html-page-context", clean, priority=999)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
