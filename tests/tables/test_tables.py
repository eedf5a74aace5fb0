"""Tables: nothing unescaped, sorting keeps parts with their claim, and the CSV holds what the table rounds."""

import json
import math
import re

import numpy as np
import pandas as pd
import pytest

from ood_core import claims, recipes, tables
from ood_core.checks import InputError
from ood_core.tables.html import ANSWERS, FIRST, SYMBOLS, badge, interval, table

from ..made_up import BLANK, around, auroc, claim, l2_norm_rows, part
from ..pages import EVIL, ROOT, Page, csv_of


@pytest.fixture(scope="module")
def judged():
    return claims.judge(claims.load("l2-norm", ROOT), l2_norm_rows())


@pytest.fixture(scope="module")
def everything(judged):
    cards = {name: claims.page(name, ROOT) for name in ("l2-norm", "nan", "isomax")}
    none = claims.judge(claims.load("nan", ROOT), pd.DataFrame(), scale="tiny")
    pages = {"l2-norm": {"tiny": judged, "small": None}, "nan": {"tiny": none, "small": None}, "isomax": {"tiny": None}}
    return tables.scoreboard(pages, cards, {"l2-norm": "papers/l2-norm.html"})


def test_a_table_shows_itself_and_keeps_its_numbers(judged):
    shown = tables.claims_table(judged)
    assert shown._repr_html_() == shown.html
    assert len(shown.frame) == len(claims.frame(judged))


@pytest.mark.parametrize("kind", ["claims", "box", "score", "metrics", "runs"])
def test_no_text_becomes_markup(kind):
    rows = pd.DataFrame(
        auroc(EVIL, around(0.9, 0.01), ood_set=EVIL, scorer=EVIL, params=json.dumps({EVIL: EVIL}), ood_group="near")
    )
    sel = {"recipe": EVIL, "metric": "auroc"}
    stated = claim(part(a=sel, name=EVIL, note=EVIL), part(name="2", a=sel, each="ood_set", counts=False), title=EVIL)
    stated = stated.model_copy(update={"statement": EVIL, "source": EVIL, "note": EVIL, "id": EVIL})
    verdicts = claims.judge([stated], rows)
    entry = claims.Reported(claim=EVIL, quantity=EVIL, status="verified", value=1.0, unit=EVIL, where=EVIL, read=EVIL)
    card = claims.Page(page="p", title=EVIL, paper=EVIL, claims=(stated,))
    made = {
        "claims": lambda: tables.claims_table(verdicts, [entry], EVIL),
        "box": lambda: tables.verdict_box({"tiny": verdicts, EVIL: None}),
        "score": lambda: tables.scoreboard({EVIL: {"tiny": verdicts}}, {EVIL: card}, {EVIL: EVIL}),
        "metrics": lambda: tables.metrics_table(rows),
        "runs": lambda: tables.provenance_table(pd.DataFrame([{"run": EVIL, "class": EVIL, EVIL: {EVIL: EVIL}}])),
    }[kind]().html
    assert "<script" not in made.lower()
    assert "script" in made
    assert not Page(made).all("script")
    for _, attributes in Page(made).elements:
        assert set(attributes) <= {
            *("class", "tabindex", "role", "aria-label", "aria-hidden", "scope", "data-sort", "type"),
            *("colspan", "hidden", "data-scale", "data-column"),
            *("download", "href", "title"),
        }


def test_every_wide_table_scrolls_in_a_named_box(judged, everything):
    for shown in (tables.claims_table(judged), tables.verdict_box({"tiny": judged}), everything):
        page = Page(shown.html)
        boxes = [a for a in page.all("div") if a.get("class") == "table-scroll"]
        assert len(boxes) == len(page.all("table")) == 1
        assert boxes[0]["tabindex"] == "0"
        assert boxes[0]["role"] == "region"
        assert boxes[0]["aria-label"]
        assert "sortable" in page.all("table")[0]["class"].split()
    with pytest.raises(InputError, match="label is empty"):
        table(["a"], [], " ")


def test_an_answer_is_put_in_the_claim_s_words():
    rows = pd.DataFrame(auroc("l2", around(0.4, 0.01)))
    asked = claim(part(direction="two_sided", band=0.005), answers={"lower": "unit is better"})
    box = Page(tables.verdict_box({"tiny": claims.judge([asked], rows)}).html).body
    assert box[0]["cells"][2]["text"] == "↓ lowerunit is better"
    with pytest.raises(ValueError, match="none where a claim takes a side"):
        claim(part(), answers={"lower": "unit is better"})


@pytest.mark.parametrize(
    ("values", "unit", "expected"),
    [
        ((0.954, 0.941, 0.968), "percent", "95.4 % [94.1, 96.8]"),
        ((0.99954, 0.99951, 0.99957), "percent", "99.954 % [99.951, 99.957]"),
        ((0.052, 0.039, 0.065), "points", "+5.2 points [+3.9, +6.5]"),
        ((-0.052, -0.065, -0.039), "points", "−5.2 points [−6.5, −3.9]"),
        ((0.5, 0.25, 0.75), "percent", "50.0 % [25.0, 75.0]"),
        ((0.0412, 0.031, 0.053), "number", "0.04 [0.03, 0.05]"),
        ((-0.0002, -0.006, 0.0051), "points", "0.0 points [−0.6, +0.5]"),
        ((0.048, -0.0004, 0.097), "points", "+4.80 points [−0.04, +9.70]"),
        ((-0.021, -0.038, -0.004), "number", "−0.021 [−0.038, −0.004]"),
        ((math.log(3.2), math.log(3.1), math.log(3.3)), "log_ratio", "3.20 times [3.10, 3.30]"),
        ((math.log(0.44), None, None), "log_ratio", "0.44 times"),
        ((41.2, 31.0, 53.0), "number", "41.2 [31.0, 53.0]"),
        ((1.23e-9, None, None), "number", "1.23e−09"),
        ((0.9, None, None), "percent", "90.0 %"),
        ((0.9, 0.9, 0.9), "percent", "90.0 % [90.0, 90.0]"),
        ((None, None, None), "percent", ""),
        ((math.nan, math.nan, math.nan), "percent", ""),
    ],
)
def test_intervals_in_their_units(values, unit, expected):
    assert interval(*values, unit) == expected


def test_verdicts_differ_without_colour():
    assert tuple(SYMBOLS) == claims.WORDS
    symbols = [*SYMBOLS.values(), *ANSWERS.values()]
    assert len(set(symbols)) == len(symbols)
    for word, symbol in SYMBOLS.items():
        assert f">{symbol}<" in badge(word)
        assert word in badge(word)
    assert "↓" in badge("answered", "lower")
    assert "lower" in badge("answered", "lower")


def test_the_box_names_every_scale(judged):
    shown = tables.verdict_box({"tiny": judged, "small": None, "paper": None})
    assert "<strong>tiny</strong> (live): 7 claims: 6 hold, 1 answered; 5 seeds." in shown.html
    assert "<strong>paper</strong> (recorded): not run." in shown.html
    rows = Page(shown.html).body
    assert len(rows) == 7
    assert Page(shown.html).rows[0]["cells"][-1]["text"] == "tiny"  # a scale that has not run has a sentence, no column
    assert [cell["text"].strip() for cell in rows[0]["cells"]][2:] == ["✓ holds"]
    both = tables.verdict_box({"tiny": judged, "small": judged, "paper": None})
    assert [cell["text"] for cell in Page(both.html).rows[0]["cells"]] == ["id", "claim", "small", "tiny"]
    waiting = [claim(not_run=dict.fromkeys(("tiny", "small", "paper"), "its images are not at hand"))]
    empty = tables.verdict_box({"tiny": claims.judge(waiting, pd.DataFrame(), scale="tiny")})
    assert "not run: its images are not at hand." in empty.html


@pytest.mark.parametrize("ran", [("tiny",), ("tiny", "small"), ("tiny", "paper"), ("tiny", "small", "paper")])
def test_on_a_phone_the_box_names_the_scale_of_each_line(judged, ran):
    """There no header stands above its column: the style sheet prints the scale that the cell names."""
    css = (ROOT / "book" / "_static" / "book.css").read_text(encoding="utf-8")
    assert ".verdicts > tbody > tr > [data-scale]::before { content: attr(data-scale);" in css
    box = tables.verdict_box({scale: judged if scale in ran else None for scale in recipes.SCALES})
    heads = [head["text"] for head in Page(box.html).rows[0]["cells"]][2:]
    assert heads == list(reversed(ran))
    assert re.findall(r'data-scale="(\w+)"', box.html) == heads * 7


def test_a_description_at_a_larger_scale_does_not_hide_a_verdict(judged):
    one = claims.judge(claims.load("l2-norm", ROOT), pd.DataFrame(l2_norm_rows(seeds=1)), scale="tiny")
    assert {v.word for v in one} <= {"descriptive", "not run"}
    shown = tables.scoreboard({"made": {"tiny": judged, "small": one, "paper": None}})
    assert "At tiny, 5 seeds:" in shown.html
    assert "At small, 1 seed:" in tables.scoreboard({"made": {"tiny": None, "small": one}}).html
    assert "n = 1 seed<" in tables.claims_table(one).html


def test_claims_that_wait_say_nothing_of_the_seeds():
    rows = pd.DataFrame([*auroc("l2", around(0.9, 0.01)), *auroc("few", [0.9])])
    waits = claim(
        part(a={"recipe": "few", "metric": "auroc"}), part(name="q", a={"recipe": "other", "metric": "auroc"}), id="T2"
    )
    judged = claims.judge([claim(part()), waits], rows)
    assert (judged[1].n, judged[1].word) == (1, "not run")
    assert "1 holds, 1 partly run; 5 seeds." in tables.verdict_box({"tiny": judged}).html


def test_the_scoreboard_says_which_claims_hold_and_counts_them(everything):
    first, second, third = Page(everything.html).body
    answer = first["cells"][1]["text"]
    assert answer.startswith("At tiny, 5 seeds:✓ holds: The norm tells ID from OOD better than chance; ")
    assert "the main numbersAUROC of the length alone: near ✓holds " in answer
    assert "(the length detects better in 2 of 4, direction and probability detect better in 2 of 4)‡" in answer
    assert second["cells"][1]["text"] == "Not run yet: 13 claims stated."
    assert third["cells"][1]["text"] == "Not run yet: 10 claims stated."
    assert [a["href"] for a in Page(everything.html).all("a")] == ["papers/l2-norm.html"]
    counts = everything.frame.set_index(["page", "scale"])
    assert counts.loc[("l2-norm", "tiny"), ["holds", "answered"]].tolist() == [6, 1]
    assert counts.loc[("nan", "tiny"), "not run"] == 13
    assert "Nothing has been run at scale small yet." in everything.html
    assert "<strong>At tiny:</strong> 30 claims: 6 hold, 1 answered, 23 not run.</p>" in everything.html
    bare = tables.scoreboard({"l2-norm": {"tiny": None, "paper": None}, "nan": {"tiny": None}})
    assert "Nothing has been run at scale tiny or the papers&#x27; own scale yet." in bare.html
    assert [row["cells"][1]["text"] for row in Page(bare.html).body] == ["Not run yet."] * 2


def test_the_front_page_counts_claims_as_they_are_and_as_they_are_corrected():
    """Of two claims that hold, and one that does not, one survives with p near .03 times three."""
    near = np.array([0.1, 0.3, 0.7, 0.9, 1.4])
    sure, weak = around(0.9, 0.001), 0.5 + near / 10
    rows = pd.DataFrame([*auroc("sure", sure), *auroc("weak", weak), *auroc("low", 1 - weak)])
    stated = [claim(part(a={"recipe": name, "metric": "auroc"}), id=name) for name in ("sure", "weak", "low")]
    board = tables.scoreboard({"made": {"small": claims.judge(stated, rows)}}).html
    assert (
        "3 claims: 2 hold, 1 does not hold; 1 hold and 0 do not after Holm&#x27;s correction over each page." in board
    )


def test_a_headline_prints_the_numbers_of_its_parts():
    rows = pd.DataFrame([*auroc("l2", around(0.9, 0.01)), *auroc("ce", around(0.4, 0.01))])
    plain = {"counts": False, "direction": "two_sided", "margin": 0.5, "unit": "percent", "rule": "one_sample"}
    stated = claim(
        part(unit="percent"),
        part(name="plain", **plain),
        part(name="q", a={"recipe": "other", "metric": "auroc"}, counts=False),
        part(name="fails", a={"recipe": "ce", "metric": "auroc"}, counts=False, unit="percent"),
        revised={"tiny": "the <rule> moved"},
    )
    lines = [
        {
            "says": "Both",
            "numbers": [{"label": "a", "claim": "T1", "part": name} for name in ("p", "plain", "fails", "q")],
        },
        {"says": "None <yet>", "numbers": [{"claim": "T1", "part": "q"}]},
    ]
    card = claims.Page(page="made", title="t", paper="p", claims=(stated,), headline=lines)
    html = tables.scoreboard({"made": {"tiny": claims.judge([stated], rows), "small": None}}, {"made": card}).html
    assert Page(html).body[0]["cells"][1]["text"] == (
        "At tiny, 5 seeds:✓ holds: t\u00a0‡"
        "‡ a rule or recipe changed after results had been seen: the page says what moved"
        "the main numbersBoth: a ✓holds 90.0 % [89.0, 91.0]; a 90.0 % [89.0, 91.0]; "
        "a ✗does not hold 40.0 % [39.0, 41.0]\u00a0°; a not runNone <yet>: not run"
        "° beside the claim: decides nothing, is not corrected, and may have been added after results had been seen"
    )
    for shown in (
        tables.verdict_box({"tiny": claims.judge([stated], rows)}),
        tables.claims_table(claims.judge([stated], rows)),
    ):
        assert "‡ the &lt;rule&gt; moved" in shown.html
    with pytest.raises(ValueError, match="headline names T1 'other', expected a claim and one of its parts"):
        claims.Page(
            page="made",
            title="t",
            paper="p",
            claims=(stated,),
            headline=[{"says": "s", "numbers": [{"claim": "T1", "part": "other"}]}],
        )


def test_a_headline_of_a_claim_that_a_scale_cannot_run_says_so():
    rows = pd.DataFrame(auroc("l2", around(0.9, 0.01)))
    stated = [
        claim(part(unit="percent")),
        claim(part(), id="T2", title="u", not_run={"tiny": "images are not at hand"}),
    ]
    lines = [
        {
            "says": "s",
            "numbers": [{"label": "a", "claim": "T1", "part": "p"}, {"label": "b", "claim": "T2", "part": "p"}],
        }
    ]
    card = claims.Page(page="made", title="t", paper="p", claims=tuple(stated), headline=lines)
    board = tables.scoreboard({"made": {"tiny": claims.judge(stated, rows)}}, {"made": card})
    assert Page(board.html).body[0]["cells"][1]["text"].endswith("s: a ✓holds 90.0 % [89.0, 91.0]; b not run")


def test_a_claim_that_fails_in_part_says_how_many_parts_hold():
    rows = pd.DataFrame([*auroc("l2", around(0.9, 0.01)), *auroc("ce", around(0.4, 0.01))])
    stated = claim(part(), part(name="q", a={"recipe": "ce", "metric": "auroc"}))
    box = Page(tables.verdict_box({"tiny": claims.judge([stated], rows)}).html).body
    assert box[0]["cells"][2]["text"] == "✗ does not hold1 of 2 parts hold"
    waits = part(name="r", a={"recipe": "deep", "metric": "auroc"})
    three = claim(part(), part(name="q", a={"recipe": "ce", "metric": "auroc"}), waits)
    box = Page(tables.verdict_box({"tiny": claims.judge([three], rows)}).html).body
    assert box[0]["cells"][2]["text"] == "✗ does not hold1 of 2 parts hold, 1 not run"


def test_metrics_are_mean_and_sd_at_the_last_epoch():
    values = np.array([0.9, 0.92, 0.94])
    rows = auroc("l2", values, ood_set="a") + auroc("l2", [0.5] * 3, ood_set="b", ood_group="far")
    rows += auroc("l2", [0.1] * 3, ood_set="a", epoch=3) + auroc("ce", [0.7], ood_set="a", epoch=5)
    rows += auroc("l2", [0.1] * 3, ood_set="a", metric="fpr_at_tpr")
    shown = tables.metrics_table(pd.DataFrame(rows), names={"l2": "with L2"})
    head, first, second = Page(shown.html).rows
    assert [c["text"] for c in head["cells"]] == ["objective", "scorer", "a (near)", "b (far)"]
    texts = [[c["text"] for c in line["cells"]] for line in (first, second)]
    scorer = "feature_normfeatures"  # and the objective, which a phone shows here
    assert texts[0] == ["with L23 seeds", f"{scorer}with L2, 3 seeds", "92.0 ± 2.0", "50.0 ± 0.0"]
    assert texts[1] == ["ce1 seed", f"{scorer}ce, 1 seed", "70.0", ""]
    assert '<p class="how">Each number is over 1–3 seeds.</p>' in shown.html
    set_by_hand = pd.DataFrame([{**row, "params": '{"distance":"cosine","p":1}'} for row in rows])
    assert "features distance=<wbr>cosine, p=<wbr>1" in tables.metrics_table(set_by_hand).html
    exact = shown.frame.set_index(["recipe", "ood_set"])
    assert exact.loc[("l2", "a"), ["mean", "sd"]].tolist() == pytest.approx([values.mean(), values.std(ddof=1)])
    with pytest.raises(InputError, match="twice for seed 0"):
        tables.metrics_table(pd.DataFrame(rows + auroc("l2", [0.9], ood_set="a", split="train")))
    with pytest.raises(InputError, match="expected one of: auroc, fpr_at_tpr"):
        tables.metrics_table(pd.DataFrame(rows), "aurocc")
    with pytest.raises(InputError, match="aurocc"):
        tables.metrics_table(pd.DataFrame([{**BLANK, "recipe": "a", "metric": "m", "seed": 0, "value": 0.0}]), "aurocc")


def test_the_best_mean_over_the_sets_comes_first():
    def ranked(metric):
        rows = [auroc(name, [value] * 2, ood_set="a", metric=metric) for name, value in (("ce", 0.6), ("l2", 0.8))]
        shown = tables.metrics_table(pd.DataFrame([row for part in rows for row in part]), metric)
        return [line["cells"][0]["text"] for line in Page(shown.html).body], shown.html

    assert ranked("auroc")[0] == ["l2", "ce"]
    assert ranked("fpr_at_tpr")[0] == ["ce", "l2"], "where less is better"
    assert 'download="auroc-tiny.csv"' in ranked("auroc")[1]
    chosen = [
        auroc(name, [value] * 2, ood_set="v", ood_group="validation") for name, value in (("ce", 0.9), ("l2", 0.1))
    ]
    rows = [auroc(name, [value] * 2, ood_set="a") for name, value in (("ce", 0.6), ("l2", 0.8))]
    shown = tables.metrics_table(pd.DataFrame([row for part in rows + chosen for row in part]))
    assert [line["cells"][0]["text"] for line in Page(shown.html).body] == ["l2", "ce"], "validation is in no mean"


def test_a_page_opens_with_what_the_front_page_says_of_it():
    rows = pd.DataFrame([*auroc("l2", around(0.9, 0.01)), *auroc("ce", around(0.4, 0.01))])
    stated = claim(part(), part(name="q", a={"recipe": "ce", "metric": "auroc"}, counts=False))
    lines = [{"says": "Length <b>", "numbers": [{"label": "near", "claim": "T1", "part": "p"}]}]
    card = claims.Page(page="made", title="t", paper="p", claims=(stated,), headline=lines)
    verdicts = {"tiny": None, "small": claims.judge([stated], rows)}
    html = tables.headline(verdicts, card).html
    assert "<strong>At small</strong>, 5 seeds, 1 claim: 1 holds.</p>" in html
    assert "<li>Length &lt;b&gt;: " in html
    assert "90.0 % [89.0, 91.0]" in html
    board = tables.scoreboard({"made": verdicts}, {"made": card}).html
    (shown,) = html.split("<li>")[1:]
    assert shown.split("</li>")[0] in board, "the same words in both places"
    board = tables.scoreboard({"made": verdicts}, {"made": card}, baselines={"small": 0.8454, "tiny": 0.9}).html
    assert "At small:</strong> 1 claim: 1 holds. Cross-entropy alone gets 84.5 % of the test images right.</p>" in board
    assert " 84.5 % of the test images right.</p>" in tables.headline(verdicts, card, (), {"small": 0.8454}).html
    assert "Cross-entropy" not in tables.headline(verdicts, card, (), {"small": None}).html
    assert tables.headline({"tiny": None}, card).html == "<p>Not run yet: 1 claims stated.</p>"


def test_seeds_that_are_the_same_in_every_row_are_said_once():
    rows = auroc("l2", [0.9] * 3, ood_set="a") + auroc("ce", [0.8] * 3, ood_set="a")
    shown = tables.metrics_table(pd.DataFrame(rows))
    assert [c["text"] for c in Page(shown.html).rows[0]["cells"]] == ["objective", "scorer", "a (near)"]
    assert '<p class="how">Each number is over 3 seeds.</p>' in shown.html
    assert set(shown.frame["n"]) == {3}, "the CSV has them still"
    alone = tables.metrics_table(pd.DataFrame(auroc("l2", [0.9], ood_set="a")))
    assert "over 1 seed." in alone.html


def test_a_long_table_says_how_many_rows_it_has_and_shows_all_on_request():
    def many(count):
        return tables.metrics_table(pd.DataFrame([row for i in range(count) for row in auroc(f"r{i}", [0.9])]))

    page = Page(many(16).html)
    assert "Of 16 rows the first are shown." in many(16).html
    assert "show all 16 rows</label>" in many(16).html
    assert [a["type"] for a in page.all("input")] == ["checkbox"]
    assert len(page.body) == 16
    assert not Page(many(15).html).all("input"), "hardly longer than its first rows"
    css = (ROOT / "book" / "_static" / "book.css").read_text(encoding="utf-8")
    assert f".folded:not(:has(.more input:checked)) tbody > tr:nth-child(n+{FIRST + 1})" in css


def test_provenance_says_once_what_all_runs_share():
    runs = pd.DataFrame([{"recipe": "l2", "seed": s, "scale": "tiny", "loaded": True} for s in range(2)])
    shown = tables.provenance_table(runs)
    assert [c["text"] for c in Page(shown.html).rows[0]["cells"]] == ["seed"]
    assert "All alike: recipe l2; scale tiny; loaded yes." in shown.html
    assert shown.frame.columns.tolist() == ["recipe", "seed", "scale", "loaded"]


def test_provenance_shows_short_keys_and_keeps_them_whole():
    key = "0123456789abcdef" * 4
    runs = pd.DataFrame(
        [{"recipe": "l2", "seed": 0, "run": key, "seconds": 3.14159, "versions": {"torch": "2"}, "loaded": True}]
    )
    shown = tables.provenance_table(runs)
    cells = [cell["text"] for cell in Page(shown.html).body[0]["cells"]]
    assert cells == ["l2", "0", key[:12], "3.1", "torch 2", "yes"]
    said = [cell["data-column"] for cell in Page(shown.html).all("td")]
    assert said == ["recipe", "seed", "run", "seconds", "versions", "loaded"], "where a phone hides the header"
    assert Page(shown.html).all("abbr")[0]["title"] == key
    assert [line["run"] for line in csv_of(shown.html)[0]] == [key]
