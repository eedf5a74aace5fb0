"""The table of claims: parts stay with their claim, nothing is said twice, and the CSV holds what is rounded."""

import math

import pandas as pd
import pytest

from ood_core import claims, tables

from ..made_up import around, auroc, claim, l2_norm_rows, part
from ..pages import ROOT, Page, csv_of


@pytest.fixture(scope="module")
def judged():
    return claims.judge(claims.load("l2-norm", ROOT), l2_norm_rows())


def browser_sort(rows, column, descending):
    """Rows as sortable-tablesort orders them: numbers where both are, empty last, ties in their present order."""

    def number(text):
        try:
            return float(text) if text else 0.0
        except ValueError:
            return math.nan

    def text(row):
        cell = row["cells"][column]
        return cell["text"].strip() if cell["sort"] is None else cell["sort"]

    filled = [row for row in rows if text(row) != ""]
    numeric = all(not math.isnan(number(text(row))) for row in filled)
    key = (lambda row: number(text(row))) if numeric else text
    # Python's reverse keeps the order of ties, as negating the comparison does
    return sorted(filled, key=key, reverse=descending) + [row for row in rows if text(row) == ""]


def test_sorting_keeps_the_parts_below_their_claim(judged):
    rows = Page(tables.claims_table(judged, claims.reported("l2-norm", ROOT)).html).body

    def families(order):
        found = []
        for row in order:
            if row["class"] == "claim":
                found.append((row["cells"][0]["text"], []))
            else:
                assert row["cells"][0]["text"] == found[-1][0]
                found[-1][1].append(row["cells"][1]["text"])
        return dict(found)

    expected = families(rows)
    assert list(expected) == [f"B{i}" for i in range(1, 8)]
    assert len(expected["B1"]) == 2 + 3 + 1 + 2  # near, far, each of 3 sets under its heading, 2 useful
    assert expected["B3"] == []  # one part: its numbers stand in the claim's own row
    for column in range(5):
        for descending in (False, True):
            rows = browser_sort(rows, column, descending)
            assert families(rows) == expected
    back = browser_sort(rows, 0, False)
    assert list(families(back)) == list(expected)
    assert list(families(browser_sort(back, 0, True))) == list(expected)[::-1]


def test_the_csv_holds_what_the_table_rounds(judged):
    shown = tables.claims_table(judged, name="l2-norm-claims")
    read, link = csv_of(shown.html)
    assert link["download"] == "l2-norm-claims.csv"
    estimates = shown.frame["estimate"].astype(float)
    assert [float(line["estimate"] or "nan") for line in read] == pytest.approx(
        list(estimates), abs=0, rel=0, nan_ok=True
    )
    assert [line["verdict"] for line in read] == shown.frame["verdict"].tolist()


def test_numbers_that_decide_nothing_are_marked_and_can_be_shown(judged):
    shown = tables.claims_table(judged)
    page = Page(shown.html)
    assert [a["type"] for a in page.all("input")] == ["checkbox", "checkbox"]  # the first on phones alone
    listed = {row["cells"][1]["text"].split("\n")[0] for row in page.body if "listed" in row["class"]}
    assert any(text.startswith("useful, near") for text in listed)
    assert not any(text.startswith("near: AUROC above") for text in listed)
    css = (ROOT / "book" / "_static" / "book.css").read_text(encoding="utf-8")
    assert ".claims-table:not(:has(.rest input:checked)) tr.listed" in css
    assert '<label class="more rest"><input type="checkbox">' in shown.html


def test_a_claim_counts_the_parts_that_decide_it():
    stated = claim(part(), part(name="q", margin=0.6), part(name="beside", margin=0.7, counts=False))
    (first, *_) = Page(
        tables.claims_table(claims.judge([stated], pd.DataFrame(auroc("l2", around(0.9, 0.01))))).html
    ).body
    assert first["cells"][3]["text"].startswith("2 parts: 2 hold")


def row_of(shown, start):
    (found,) = [
        r for r in Page(shown.html).body if r["cells"][0]["text"] == start[0] and start[1] in r["cells"][1]["text"]
    ]
    return [cell["text"] for cell in found["cells"]]


def test_a_row_says_reported_ours_and_verdict(judged):
    shown = tables.claims_table(judged, claims.reported("l2-norm", ROOT))
    near = row_of(shown, ("B2", "near: L2 minus no L2paired"))
    assert near[3].startswith("+6.0 points [")
    assert "seeds" not in near[3], "the claim says how many"
    assert row_of(shown, ("B2", "Without L2 the norm is worse"))[3].endswith("n = 5 seeds")
    assert "holds" in near[4]
    assert "Holm" in near[4]
    assert "Printed: 60 epochs (ResNet-18)" in row_of(shown, ("B5", "The short schedule"))[1]
    assert row_of(shown, ("B1", "The norm tells"))[1].endswith("Not reported.")
    assert row_of(shown, ("B3", "L2 costs little accuracy"))[2] == "not reported", "one part: in the column of its own"
    assert "Means are over noise, photos." in row_of(shown, ("B2", "Without L2 the norm is worse"))[1]
    accuracy = row_of(shown, ("B3", "L2 costs little accuracy"))
    assert accuracy[3].startswith("−0.2 points")
    assert "2 sets: 2 hold" in row_of(shown, ("B5", "some far set: norm minus Gaussian densitysame test"))[3]
    assert "same test" not in row_of(shown, ("B5", "some near set: norm minus Gaussian densitynon"))[1]


def test_a_verdict_that_holm_takes_back_says_so():
    rows = pd.DataFrame(auroc("l2", around(0.5101, 0.01)))
    verdicts = claims.judge([claim(part(), part(name="q", margin=0.50005))], rows)
    page = Page(tables.claims_table(verdicts).html)
    assert "† after Holm: inconclusive" in page.body[0]["cells"][4]["text"]
    assert (
        Page(tables.verdict_box({"tiny": verdicts}).html)
        .body[0]["cells"][2]["text"]
        .endswith("after Holm: inconclusive")
    )
    answer = Page(tables.scoreboard({"p": {"tiny": verdicts}}).html).body[0]["cells"][1]["text"]
    assert answer == "At tiny, 5 seeds:✓ holds: t\u00a0†† not after Holm's correction over the page"
    box = tables.verdict_box({"tiny": verdicts}).html
    assert "1 claim: 1 holds; 1 of these no longer after Holm&#x27;s correction; 5 seeds." in box


def test_a_claim_that_waits_for_some_of_its_parts_says_so():
    rows = pd.DataFrame(auroc("l2", around(0.9, 0.01)))
    missing = part(name="q", a={"recipe": "other", "metric": "auroc"})
    waits, absent = claims.judge([claim(part(), missing), claim(missing, id="T2", title="u")], rows)
    assert waits.records()[0]["verdict"] == absent.records()[0]["verdict"] == "not run"
    box = Page(tables.verdict_box({"tiny": [waits, absent]}).html).body
    assert [row["cells"][2]["text"] for row in box] == ["◐ partly run", "– not run"]
    assert "partly run" in Page(tables.claims_table([waits]).html).body[0]["cells"][4]["text"]
    answer = Page(tables.scoreboard({"p": {"tiny": [waits, absent]}}).html).body[0]["cells"][1]["text"]
    assert answer.endswith("– not run: u◐ partly run: t") or answer == "Not run yet."


def test_the_largest_scale_stands_open_and_the_others_are_folded(judged):
    shown = tables.claims_by_scale({"tiny": judged, "small": judged[:2], "paper": None}, "tiny", name="made")
    assert shown.html.startswith(
        "<p><strong>paper</strong> (recorded): not run.</p><p><strong>small</strong> (recorded): 2"
    )
    assert "<summary><strong>tiny</strong> (live): 7 claims: 6 hold, 1 answered; 5 seeds.</summary>" in shown.html
    assert shown.html.count("<details") == 1
    assert [a["download"] for a in Page(shown.html).all("a")] == ["made-small.csv", "made.csv"]
    assert len(shown.frame) == len(claims.frame(judged[:2])) + len(claims.frame(judged))
    alone = tables.claims_by_scale({"tiny": None, "small": judged, "paper": None}, "small")
    assert "<details" not in alone.html
    assert "<strong>small</strong> (live)" in alone.html
    assert tables.claims_by_scale({"tiny": None}, "tiny").frame.empty
    waiting = claims.judge(claims.load("l2-norm", ROOT), pd.DataFrame(), scale="small")
    below = tables.claims_by_scale({"tiny": judged, "small": waiting}, "tiny").html
    assert below.index("<summary><strong>small") < below.index("<p><strong>tiny"), "what only waits is folded"
    assert "<p><strong>small" in tables.claims_by_scale({"small": waiting}, "small").html
    assert [c["text"] for c in Page(tables.verdict_box({"tiny": judged, "small": waiting}).html).rows[0]["cells"]] == [
        *("id", "claim", "tiny")
    ]


def test_a_claim_that_has_not_run_takes_one_row():
    rows = pd.DataFrame(auroc("l2", around(0.9, 0.01)))
    other = {"recipe": "other", "metric": "auroc"}
    absent = claim(part(a=other), part(name="q", a=other, counts=False), id="T2")
    shown = tables.claims_table(claims.judge([claim(part(), part(name="q", a=other)), absent], rows))
    assert [row["class"] for row in Page(shown.html).body] == ["claim", "part", "part", "claim"]
    assert len(shown.frame) == 6  # the file names every part


def test_what_the_paper_printed_stands_beside_the_part_that_measures_it():
    rows = pd.DataFrame([*auroc("l2", around(0.9, 0.01)), *auroc("ce", around(0.4, 0.01))])
    stated = claim(part(), part(name="q", counts=False), part(name="r", counts=False))
    about = {"claim": "T1", "quantity": "a minus b", "status": "verified", "where": "table 1", "read": "from 9 and 4"}
    entries = [claims.Reported(part="q", value=-5.04, unit="points", **about)]
    shown = Page(tables.claims_table(claims.judge([stated], rows), entries).html)
    assert [row["class"] for row in shown.body] == ["claim", "part", "part", "part listed"]
    assert shown.body[0]["cells"][2]["text"] == ""
    assert shown.body[2]["cells"][2]["text"] == "−5.0 points" + "table 1"
    lines = [{"says": "s", "numbers": [{"claim": "T1", "part": "q"}, {"claim": "T1", "part": "r"}]}]
    card = claims.Page(page="made", title="t", paper="p", claims=(stated,), headline=lines)
    board = tables.scoreboard({"made": {"tiny": claims.judge([stated], rows)}}, {"made": card}, None, {"made": entries})
    answer = Page(board.html).body[0]["cells"][1]["text"]
    assert "s: ✓holds 90.0 % [89.0, 91.0]\u00a0° (paper −5.0 points); ✓holds 90.0 % [89.0, 91.0]\u00a0°" in answer


def test_numbers_of_another_convention_are_always_shown():
    rows = pd.DataFrame(auroc("l2", around(0.9, 0.01)))
    stated = claim(part(), part(name="other", counts=False, shown=True), part(name="asked", counts=False))
    shown = Page(tables.claims_table(claims.judge([stated], rows)).html)
    assert [row["class"] for row in shown.body] == ["claim", "part", "part", "part listed"]
    assert ["decides nothing" in row["cells"][-1]["text"] for row in shown.body] == [False, False, True, False]
    with pytest.raises(ValueError, match="counts: false alone"):
        claim(part(shown=True))


def test_several_printed_numbers_are_a_line_below_the_claim(judged):
    about = {"claim": "B1", "quantity": "q", "status": "verified", "read": "from the page"}
    units = ["% AUROC (a)", "% AUROC (b)", "% FPR95 (a)", "% AUROC (c)"]
    entries = [
        claims.Reported(value=-2.5 * place, unit=unit, where=f"table {1 + place // 4}", **about)
        for place, unit in enumerate(units, 1)
    ]
    top = Page(tables.claims_table([judged[0]], entries).html).body[0]
    line = "Printed: −2.5 % AUROC (a), −5 (b); −7.5 % FPR95 (a)table 1Printed: −10 % AUROC (c)table 2"
    assert top["cells"][1]["text"].endswith(line)
    assert top["cells"][2] == {"text": "", "sort": "-2.5"}, "it still sorts by the first"


def test_what_all_parts_share_is_said_once_above_them():
    sets = [row for name in "ab" for row in auroc("l2", around(0.9, 0.01), ood_set=name)]
    fewer = auroc("l2", around(0.9, 0.01, 3), ood_set="c", scorer="other")
    two = {"recipe": "l2", "metric": "auroc", "scorer": "feature_norm"}
    stated = claim(part(a=two), part(name="q", a=two, margin=0.6), part(name="r", a={**two, "scorer": "other"}))
    about = {"claim": "T1", "quantity": "q", "status": "verified", "value": 1.0, "unit": "points", "read": "9 less 8"}
    entries = [claims.Reported(part=name, where=f"table {i}", **about) for name, i in [("p", 1), ("q", 1), ("r", 2)]]
    top, *parts = Page(tables.claims_table(claims.judge([stated], pd.DataFrame(sets + fewer)), entries).html).body
    texts = [[cell["text"] for cell in row["cells"]] for row in parts]
    assert top["cells"][1]["text"].endswith("Means are over a, b.")
    assert not any("mean of" in line[1] for line in texts)
    assert [line[2] for line in texts] == ["+1.0 pointstable 1", "+1.0 points", "+1.0 pointstable 2"]
    assert [line[3].partition("]")[2] for line in texts] == ["n = 5 seeds", "n = 5 seeds", ""], (
        "the fewest are the claim's"
    )


def test_parts_that_wait_share_one_row():
    rows = pd.DataFrame(auroc("l2", around(0.9, 0.01)))
    away = {"recipe": "ce", "metric": "auroc"}
    stated = claim(part(), part(name="q", a=away), part(name="r", a=away), part(name="s", a=away, counts=False))
    page = Page(tables.claims_table(claims.judge([stated], rows)).html)
    assert [row["cells"][1]["text"].partition("one")[0] for row in page.body[1:]] == [
        "p",
        "q; rno run of recipe ce is recorded",
    ]
    assert page.body[-1]["cells"][4]["text"] == "– not run"
    listed = claim(part(counts=False), part(name="q", counts=False, margin=0.7), combine="listed")
    assert len(Page(tables.claims_table(claims.judge([listed], rows)).html).body) == 3, "none of its parts decides"
    none = claims.judge([stated.model_copy(update={"parts": stated.parts[1:]})], rows)
    assert len(Page(tables.claims_table(none).html).body) == 1


def test_parts_in_a_row_that_say_the_same_share_one():
    rows = pd.DataFrame([*auroc("l2", around(0.9, 0.01)), *auroc("ce", around(0.8, 0.01))])
    other = {"recipe": "ce", "metric": "auroc"}
    names = [("p", {}), ("q", {}), ("r", {"a": other}), ("s", {}), ("t", {"counts": False}), ("u", {"counts": False})]
    verdicts = claims.judge([claim(*(part(name=name, **how) for name, how in names))], rows)
    page = Page(tables.claims_table(verdicts).html)
    assert [row["cells"][1]["text"].partition("one")[0].removesuffix("same test") for row in page.body[1:]] == [
        *("p; q", "r", "s", "t; u")
    ]
    assert page.body[0]["cells"][3]["text"].startswith("4 parts: 4 hold"), "each of them counts"
    about = {"claim": "T1", "quantity": "q", "status": "verified", "value": 1.0, "unit": "%", "where": "w", "read": "r"}
    printed = Page(tables.claims_table(verdicts, [claims.Reported(part="q", **about)]).html)
    assert printed.body[1]["cells"][1]["text"].startswith("p"), "a printed number has a row of its own"
    assert len(printed.body) == len(page.body) + 1


def test_a_claim_that_waits_says_what_for_and_no_more():
    rows = pd.DataFrame(auroc("l2", around(0.9, 0.01)))
    for recipe, said in (("ce", "no run of recipe ce is recorded"), ("l2", "how it is read")):
        stated = claim(
            part(a={"recipe": recipe, "metric": "auroc"}),
            part(name="q", a={"recipe": recipe, "metric": "auroc"}),
            note="how it is read",
        )
        text = Page(tables.claims_table(claims.judge([stated], rows)).html).body[0]["cells"][1]["text"]
        assert f"here{said}Not reported." in text


def test_a_list_of_sets_is_written_out_once_in_a_claim():
    groups = [("a", "near"), ("b", "near"), ("c", "far"), ("d", "far"), ("e", "far")]
    rows = pd.DataFrame([row for s, g in groups for row in auroc("l2", around(0.9, 0.01), ood_set=s, ood_group=g)])
    asked = [(margin, group) for margin in (0.5, 0.6) for group in ("near", "far")]
    parts = [part(name=f"{g} {m}", a={"recipe": "l2", "metric": "auroc", "ood_group": g}, margin=m) for m, g in asked]
    hidden = {**parts[0], "name": "first", "counts": False}
    shown = Page(tables.claims_table(claims.judge([claim(hidden, *parts)], rows)).html).body[1:]
    said = [row["cells"][1]["text"].rpartition("; ")[2] for row in shown]
    assert said == ["mean of a, b", "mean of a, b", "mean of c, d, e", "mean of these 2 sets", "mean of these 3 sets"]


def test_the_list_of_all_sets_stands_above_the_table_alone():
    rows = [row for name in ("x", "y", "z") for row in auroc("l2", around(0.9, 0.01), ood_set=name)]
    every, two = ({"recipe": "l2", "metric": "auroc", **where} for where in ({}, {"without": ["z"]}))
    claimed = [claim(part(a=every), part(name="q", a=every, margin=0.6), part(name="r", a=two)), claim(part(a=every))]
    shown = tables.claims_table(claims.judge(claimed, pd.DataFrame(rows)))
    above, table = shown.html.split("<table", 1)
    assert "All sets: x, y, z." in above
    assert "x, y, z" not in table.split("csv-link")[0]
    assert [table.count(f"mean of {said}") for said in ("all 3 sets", "these 3 sets", "x, y")] == [2, 1, 1]
    assert set(shown.frame["sets"].dropna()) == {"x, y, z", "x, y"}, "the file spells them out"

    fourth = pd.DataFrame(rows + auroc("l2", around(0.9, 0.01), ood_set="alone"))
    three = {**every, "without": ["alone"]}
    claimed = [
        claim(part(a=three), part(name="q", a=three, margin=0.6), part(name="r", a={**every, "ood_set": "alone"}))
    ]
    assert "All sets" not in tables.claims_table(claims.judge(claimed, fourth)).html


def test_a_page_opens_the_scale_that_the_front_page_tells_of():
    """The larger one has one seed and describes; the smaller one decides."""
    few, many = (claims.judge([claim(part())], pd.DataFrame(auroc("l2", around(0.9, 0.01, n)))) for n in (2, 5))
    made = {"tiny": many, "small": few, "paper": None}
    html = tables.claims_by_scale(made, "tiny").html
    assert '<details class="scale"><summary><strong>small</strong>' in html
    assert "<p><strong>tiny</strong>" in html
    assert "At tiny, 5 seeds:" in tables.scoreboard({"p": made}).html


@pytest.mark.parametrize(("value", "scale", "told"), [(0.4, "tiny", True), (0.6, "tiny", False), (0.4, "small", False)])
def test_an_explanation_is_shown_while_the_verdict_is_the_one_it_explains(value, scale, told):
    known = {"tiny": {"of": "does not hold", "text": "Units < channels."}}
    rows = pd.DataFrame(auroc("l2", around(value, 0.01))).assign(scale=scale)
    shown = tables.claims_table(claims.judge([claim(part(band=0.0), explained=known)], rows))
    assert ("<summary>Why, as far as we can tell</summary>Units &lt; channels.</details>" in shown.html) == told
    assert shown.frame["explained"].iloc[0] == ("Units < channels." if told else "")
