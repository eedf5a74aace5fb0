"""The built book: every page is there, whole, and as new as what it shows."""

import json
import re
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pandas as pd
import pytest

from tests.building import COMPARE, PAGES, PAPERS, REFERENCE, ROOT, STATUS, Completed, executed


class Links(HTMLParser):
    """Addresses a page names, and the ids that others can point at."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.ids: set[str] = set()
        self.feed(page.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.addresses += [value for name in ("href", "src") if (value := found.get(name))]
        self.ids.update(value for name in ("id", "name") if (value := found.get(name)))


@pytest.mark.slow
def test_every_entry_of_the_contents_has_its_page(site: Path) -> None:
    assert len(PAPERS) >= 1
    for page in PAGES:
        html = (site / f"{page}.html").read_text(encoding="utf-8")
        assert "<h1>" in html
        for trouble in ("Traceback (most recent call last)", "CellExecutionError", "system-message", "problematic"):
            assert trouble not in html, page


@pytest.mark.slow
def test_every_link_inside_the_site_leads_somewhere(site: Path) -> None:
    links, checked = cache(Links), 0  # a page is parsed once, however many links lead to it
    for page in PAGES:
        here = (site / f"{page}.html").resolve()
        for address in links(here).addresses:
            parts = urlsplit(address)
            if parts.scheme or parts.netloc:
                continue
            target = (here.parent / unquote(parts.path)).resolve() if parts.path else here
            assert target.is_file(), f"{page} links to {address}"
            if parts.fragment and target.suffix == ".html":
                assert unquote(parts.fragment) in links(target).ids, f"{page} links to {address}"
            checked += 1
    assert checked > 50


@pytest.mark.slow
def test_nothing_is_loaded_from_elsewhere(site: Path) -> None:
    for page in PAGES:
        html = (site / f"{page}.html").read_text(encoding="utf-8")
        assert not re.findall(r'<(?:script|link|img|iframe|source)[^>]* (?:src|href)="(?:https?:)?//[^"]*"', html), page
    for style in (ROOT / "book" / "_static").glob("*.css"):
        assert "//" not in re.sub(r"/\*.*?\*/", "", style.read_text(), flags=re.DOTALL), style


@pytest.mark.slow
@pytest.mark.parametrize("page", PAPERS)
def test_a_paper_s_page_offers_what_it_shows(site: Path, page: str) -> None:
    folder = site / "downloads" / Path(page).name
    notebook = json.loads((folder / "executed.ipynb").read_text(encoding="utf-8"))
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert all(cell["execution_count"] for cell in code)
    assert not [out for cell in code for out in cell["outputs"] if out["output_type"] == "error"]
    rows = pd.read_csv(folder / "rows.csv", keep_default_na=False)
    assert {"recipe", "seed", "metric", "value"} <= set(rows.columns)
    assert len(rows) > 100
    assert len(pd.read_csv(folder / "claims.csv")) >= 1
    assert json.loads((folder / "provenance.json").read_text(encoding="utf-8"))
    linked = {Path(urlsplit(address).path).name for address in Links(site / f"{page}.html").addresses}
    assert {"executed.ipynb", "rows.csv", "claims.csv", "provenance.json"} <= linked


@pytest.mark.slow
def test_a_second_build_reads_nothing_and_a_changed_claim_its_pages(builds: dict[str, Completed]) -> None:
    assert builds["again"].returncode == 0, builds["again"].stderr
    assert "0 added, 0 changed, 0 removed" in builds["again"].stdout
    assert builds["changed"].returncode == 0, builds["changed"].stderr
    assert executed(builds["changed"]) == {"index", PAPERS[0], COMPARE, STATUS, *REFERENCE}
