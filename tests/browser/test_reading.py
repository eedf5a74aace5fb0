"""What a reader does: open every page at any width, follow the contents, sort, search, read in the dark."""

from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.browser.visitor import Visitor
from tests.building import PAGES, PAPERS

pytestmark = [pytest.mark.browser, pytest.mark.slow]

UNNAMED_FIGURES = """() => [...document.querySelectorAll('.bd-article img, .bd-article svg')]
  .filter(e => !e.closest('mjx-container') && !e.closest('[aria-hidden=true]') && !e.closest('button'))
  .filter(e => e.tagName === 'IMG' ? !e.alt.trim()
    : !(e.getAttribute('role') === 'img' && (e.getAttribute('aria-label') || e.querySelector(':scope > title'))))
  .map(e => e.outerHTML.slice(0, 120))"""
WIDER_THAN_THE_WINDOW = "() => document.documentElement.scrollWidth - document.documentElement.clientWidth"
LOW_CONTRAST = Path(__file__).with_name("contrast.js").read_text(encoding="utf-8")


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize("width", [1366, 820, 390])
def test_every_page_opens(visit: Visitor, page: str, width: int) -> None:
    opened = visit.open(page)
    expect(opened.locator(".bd-article h1").first).to_be_visible()
    assert "Traceback" not in opened.inner_text("body")
    assert opened.evaluate(UNNAMED_FIGURES) == []
    assert opened.evaluate(WIDER_THAN_THE_WINDOW) <= 0


@pytest.mark.parametrize("page", PAGES)
def test_every_page_can_be_read_in_light_and_dark(visit: Visitor, page: str) -> None:
    opened = visit.open(page)
    root, switch = opened.locator("html"), opened.locator("button.theme-switch-button:visible").first
    expect(root).to_have_attribute("data-theme", "light")
    assert opened.evaluate(LOW_CONTRAST) == []
    for _ in range(3):  # the button goes round through light, dark and as the system has it
        if root.get_attribute("data-theme") != "dark":
            switch.click()
    expect(root).to_have_attribute("data-theme", "dark")
    assert opened.evaluate(LOW_CONTRAST) == []
    opened.reload(wait_until="networkidle")
    expect(root).to_have_attribute("data-theme", "dark")


@pytest.mark.parametrize("width", [1366, 390])
def test_the_contents_lead_to_every_page(visit: Visitor, width: int) -> None:
    page = visit.open("index")
    for name in PAGES[1:]:
        if width < 992:
            page.locator("button.primary-toggle:visible").click()
        file = f"{name.rsplit('/')[-1]}.html"  # whole: collapse.html is not l2-collapse.html
        page.locator(f"nav.bd-links :is(a[href='{file}'], a[href$='/{file}']):visible").first.click()
        page.wait_for_url(f"**/{name}.html")
        expect(page.locator(".bd-article h1").first).to_be_visible()


@pytest.mark.parametrize("page", ["index", *PAPERS])
def test_a_table_sorts_by_mouse_and_keyboard(visit: Visitor, page: str) -> None:
    opened = visit.open(page)
    table = opened.locator("table.sortable").first

    def cells(place: int) -> list[str]:
        return table.locator(f"tbody tr > :nth-child({place})").all_inner_texts()

    places = range(1, table.locator("thead th").count() + 1)
    place = next(i for i in places if len(set(cells(i))) > 1)
    header, before = table.locator("thead th").nth(place - 1), cells(place)
    orders = []
    for press, direction in ((header.click, "descending"), (lambda: header.press("Enter"), "ascending")):
        press()
        expect(header).to_have_attribute("aria-sort", direction)
        opened.wait_for_timeout(100)  # rows move a moment after the header is marked
        orders.append(cells(place))
    assert sorted(before) == sorted(orders[0]) == sorted(orders[1])
    assert orders[0][0] == orders[1][-1] != orders[1][0]


def test_a_long_table_unfolds_and_scrolls_under_its_header(visit: Visitor) -> None:
    page = visit.open("compare/compare")
    fold = page.locator(".folded:has(tbody > tr:nth-child(100))").first
    long = fold.locator(".table-scroll")
    assert long.locator("tbody tr:visible").count() == 10
    assert long.evaluate("box => box.scrollHeight <= box.clientHeight + 1"), "what is folded does not scroll as well"
    assert f"Of {long.locator('tbody tr').count()} rows the first are shown." in fold.inner_text()
    fold.locator("input").focus()
    page.keyboard.press("Space")
    assert long.locator("tbody tr:visible").count() > 100
    height = page.viewport_size["height"] if page.viewport_size else 0
    assert 0 < long.bounding_box()["height"] <= 0.86 * height
    long.evaluate("box => box.scrollTop = 500")
    assert long.evaluate("box => box.scrollTop") == 500
    header, edge = long.locator("thead th").first.bounding_box(), long.bounding_box()
    assert abs(header["y"] - edge["y"]) < 2, "the header went with the rows"
    claims = visit.open("papers/isomax").locator(".table-scroll:has(.claims)").first
    assert claims.evaluate("box => box.scrollHeight <= box.clientHeight + 1"), "claims are read whole"


@pytest.mark.parametrize("width", [390])
@pytest.mark.parametrize("page", PAPERS)
def test_verdicts_and_claims_fit_a_phone(visit: Visitor, width: int, page: str) -> None:
    opened = visit.open(page)
    table = opened.locator(".claims-table:visible").first
    expect(table.locator("tr.claim").first).to_be_visible()
    expect(table.locator("tr.part:visible")).to_have_count(0)  # else a claim takes a screen
    table.locator(".each input").check()
    expect(table.locator("tr.part:not(.listed)").first).to_be_visible()
    expect(table.locator("tr.listed:visible")).to_have_count(0)
    for box in opened.locator(".table-scroll:has(> .verdicts, > .claims)").all():
        assert box.evaluate("box => box.scrollWidth - box.clientWidth") <= 0, box.get_attribute("aria-label")


@pytest.mark.parametrize("width", [390])
@pytest.mark.parametrize("page", ["compare/status", "papers/l2-norm"])
def test_runs_are_cards_on_a_phone(visit: Visitor, width: int, page: str) -> None:
    opened = visit.open(page)
    for summary in opened.locator("details.hide:has(.provenance) > summary").all():
        summary.click()
    (box,) = opened.locator(".table-scroll:has(> .provenance)").all()
    assert box.evaluate("box => box.scrollWidth - box.clientWidth") <= 0
    expect(box.locator("thead")).to_be_hidden()
    first = box.locator("tbody td").first
    assert first.evaluate("cell => getComputedStyle(cell, '::before').content") != "none"


@pytest.mark.parametrize("width", [390])
@pytest.mark.parametrize("page", [page for page in PAGES if page.startswith(("papers/", "compare/", "reference/"))])
def test_wide_tables_are_cards_on_a_phone(visit: Visitor, width: int, page: str) -> None:
    opened = visit.open(page)
    opened.evaluate("document.querySelectorAll('details').forEach(details => details.open = true)")
    for box in opened.locator(".table-scroll:has(> .cards)").all():
        assert box.evaluate("box => box.scrollWidth - box.clientWidth") <= 0, box.get_attribute("aria-label")
        unnamed = box.locator("tbody td:not(.scorer):not([data-column])")
        expect(unnamed).to_have_count(0)  # a number alone says nothing
    if page == "reference/recipes":
        expect(opened.locator("table.cards")).to_have_count(2)


@pytest.mark.parametrize("width", [390])
def test_of_many_cards_a_phone_shows_five(visit: Visitor, width: int) -> None:
    fold = visit.open("compare/compare").locator(".folded:has(.cards tbody > tr:nth-child(100))").first
    cards = fold.locator("tbody > tr:visible")
    expect(cards).to_have_count(5)
    fold.locator("input").check()
    assert cards.count() > 100


@pytest.mark.parametrize("width", [1366, 390])
@pytest.mark.parametrize("page", PAPERS)
def test_a_page_is_not_endless(visit: Visitor, width: int, page: str) -> None:
    assert visit.open(page).evaluate("document.documentElement.scrollHeight") < {1366: 21_000, 390: 27_000}[width]


@pytest.mark.parametrize("width", [1366])
@pytest.mark.parametrize("page", [*PAPERS, "compare/compare", "reference/models"])
def test_tables_of_results_fit_a_desk(visit: Visitor, width: int, page: str) -> None:
    opened = visit.open(page)
    for box in opened.locator(".table-scroll:has(> .detectors, > .networks, > .reference, > .claims)").all():
        assert box.evaluate("box => box.scrollWidth - box.clientWidth") <= 0, box.get_attribute("aria-label")


@pytest.mark.parametrize("width", [390])
@pytest.mark.parametrize("page", PAPERS)
def test_differences_of_protocol_are_cards_on_a_phone(visit: Visitor, width: int, page: str) -> None:
    table = visit.open(page).locator("table.differences")
    expect(table.locator("thead")).to_be_hidden()
    assert table.evaluate("table => table.scrollWidth - table.parentElement.clientWidth") <= 0
    said = "cell => getComputedStyle(cell.querySelector('p'), '::before').content"
    told = [cell.evaluate(said) for cell in table.locator("tbody > tr").first.locator("td").all()]
    assert told == ["none", '"The paper: "', '"At tiny: "', '"At small: "']


def test_search_finds_a_paper(visit: Visitor) -> None:
    page = visit.open("index")
    page.locator("button.search-button__button:visible, button.search-button-field:visible").first.click()
    page.locator("input[type=search]:visible").first.fill("norm")
    page.keyboard.press("Enter")
    page.wait_for_url("**/search.html?q=norm*")
    expect(page.locator("#search-results li a[href*='papers/l2-norm.html']").first).to_be_visible()


@pytest.mark.parametrize("page", PAGES)
def test_formulas_are_drawn(visit: Visitor, page: str) -> None:
    opened = visit.open(page)
    written = opened.locator("span.math, div.math").count()
    assert opened.locator("mjx-container svg").count() >= written
    assert opened.locator("mjx-merror, [data-mjx-error]").count() == 0
