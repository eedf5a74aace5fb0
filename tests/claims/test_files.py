"""The files of claims and reported numbers, and the first page's claims on rows of a known truth."""

from pathlib import Path

import pandas as pd
import pytest
import yaml

from ood_core import claims, study
from ood_core.checks import InputError

from ..made_up import l2_norm_rows

ROOT = Path(__file__).resolve().parent.parent.parent
PAGES = {"l2-norm": 7, "l2-collapse": 12, "nan": 13, "clusters": 7, "isomax": 10}


def write(root, text, kind="claims", name="p"):
    folder = root / "book" / kind
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.yml").write_text(text, encoding="utf-8")


GOOD = """
page: p
title: t
paper: x
claims:
  - id: T1
    title: t
    statement: s
    origin: P
    source: here
    parts:
      - name: q
        rule: one_sample
        a: {recipe: l2, metric: auroc}
        direction: greater
        margin: 0.5
        unit: percent
"""


@pytest.mark.parametrize(
    ("old", "new", "messages"),
    [
        ("rule: one_sample", "rule: better", ["T1", "'better'", "non_inferior"]),
        ("metric: auroc", "metric: auroc, colour: red", ["T1", "'colour'", "ood_group"]),
        ("metric: auroc", "metric: auroc, epoch: 12", ["epoch is 12", "fraction"]),
        ("metric: auroc", "metric: auroc, scorer: [a, b]", ["scorer is", "ood_set"]),
        ("metric: auroc", "scorer: msp", ["metric is missing"]),
        ("direction: greater", "direction: above", ["direction", "'above'", "greater"]),
        ("direction: greater", "", ["direction is missing"]),
        ("margin: 0.5", "margin: half", ["margin", "'half'"]),
        ("margin: 0.5", "margin: 0.5\n        hold_at: 1.0", ["hold_at is given", "margin"]),
        ("unit: percent", "unit: percent\n        colour: red", ["'colour'", "counts"]),
        ("unit: percent", "unit: percent\n        each: ood_set", ["at_least is missing"]),
        ("unit: percent", "unit: percent\n        at_least: 2", ["without each"]),
        ("unit: percent", "unit: percent\n        counts: false", ["no part counts"]),
        ("origin: P", "origin: X", ["origin", "'X'"]),
        ("origin: P", "origin: P\n    combine: at_least", ["k is None"]),
        ("origin: P", "origin: P\n    min_seeds: 1", ["min_seeds", "2"]),
        ("origin: P", "origin: P\n    not_run: {huge: no}", ["not_run", "tiny"]),
        ("page: p", "page: q", ["expected 'p'"]),
        ("id: T1", "id: T1\n    id: T2", ["'id' stands twice"]),
        ("claims:", "claims: [", ["not YAML"]),
    ],
)
def test_a_wrong_claims_file_says_where_what_and_what_is_allowed(tmp_path, old, new, messages):
    assert old in GOOD
    write(tmp_path, GOOD.replace(old, new))
    with pytest.raises(InputError) as refused:
        claims.load("p", tmp_path)
    for message in ["book/claims/p.yml", *messages]:
        assert message in str(refused.value)


def test_a_right_claims_file_is_read_and_frozen(tmp_path):
    write(tmp_path, GOOD)
    (read,) = claims.load("p", tmp_path)
    assert read.parts[0].a == {"epoch": "last", "recipe": "l2", "metric": "auroc"}
    assert read.min_seeds == 5
    with pytest.raises(ValueError, match="frozen"):
        read.title = "other"
    with pytest.raises(InputError, match=r"page is '\.\./p', expected one of: p"):
        claims.load("../p", tmp_path)


ENTRY = """
page: p
reported:
  - claim: T1
    quantity: AUROC
    status: verified
    value: 0.9
    unit: AUROC
    where: table 1
    read: digits checked
"""


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("    where: table 1\n", "", "where is missing"),
        ("    read: digits checked\n", "", "read is missing"),
        ("    value: 0.9\n", "", "value is missing"),
        ("status: verified", "status: not reported", "expected none where nothing is reported"),
        ("status: verified", "status: secondary", "'secondary'"),
        ("claim: T1", "claim: T9", "'T9'"),
    ],
)
def test_a_reported_value_without_its_source_is_refused(tmp_path, old, new, message):
    write(tmp_path, GOOD)
    write(tmp_path, ENTRY, "reported")
    assert claims.reported("p", tmp_path)[0].value == 0.9
    assert old in ENTRY
    write(tmp_path, ENTRY.replace(old, new), "reported")
    with pytest.raises(InputError, match=message):
        claims.reported("p", tmp_path)


SECOND = ENTRY.split("reported:\n")[1].replace("quantity: AUROC", "quantity: other").replace("0.9", "0.6")
BETWEEN = "differences:\n  - {claim: T1, part: q, quantity: AUROC, minus: other}\n"


def test_a_difference_is_made_of_two_printed_values(tmp_path):
    write(tmp_path, GOOD)
    write(tmp_path, ENTRY + SECOND + BETWEEN, "reported")
    made = claims.reported("p", tmp_path)[-1]
    assert (made.claim, made.part, made.value, made.unit) == ("T1", "q", pytest.approx(0.3), "points")
    assert (made.where, made.read) == ("table 1", "from 0.9 and 0.6")
    write(tmp_path, ENTRY + SECOND + BETWEEN.replace("minus", "over"), "reported")
    made = claims.reported("p", tmp_path)[-1]
    assert (made.value, made.unit, made.quantity) == (pytest.approx(1.5), "times", "AUROC over other")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("part: q", "part: r", "part is 'r', expected one of T1: q"),
        ("part: q", "part: 'q: photos'", "part is 'q: photos'"),  # q is not repeated for each set
        ("minus: other", "minus: AUPR", "names a quantity without a value, expected: \\['AUROC', 'other'\\]"),
        ("minus: other", "minus: other, over: other", "expected one of them"),
        (", minus: other", "", "expected one of them"),
        ("quantity: other\n    status: verified", "quantity: other\n    status: not reported", "expected none where"),
        (
            "value: 0.6\n    unit: AUROC\n    where: table 1",
            "value: 0.6\n    unit: AUROC\n    where: table 2",
            "one place",
        ),
    ],
)
def test_a_difference_of_what_is_not_there_is_refused(tmp_path, old, new, message):
    write(tmp_path, GOOD)
    text = ENTRY + SECOND + BETWEEN
    assert old in text
    write(tmp_path, text.replace(old, new), "reported")
    with pytest.raises(InputError, match=message):
        claims.reported("p", tmp_path)


@pytest.mark.parametrize("page", PAGES)
def test_the_books_claims_can_be_read(page):
    loaded = claims.load(page, ROOT)
    letter = loaded[0].id[0]
    assert [c.id for c in loaded] == [f"{letter}{i}" for i in range(1, PAGES[page] + 1)]
    verdicts = claims.judge(loaded, pd.DataFrame(), scale="tiny")
    assert {verdict.word for verdict in verdicts} == {"not run"}
    assert all(verdict.note for verdict in verdicts)


def test_the_books_reported_numbers_are_those_that_were_read():
    found = {(r.claim, r.value) for r in claims.reported("l2-norm", ROOT) if r.status == "verified"}
    assert found == {("B4", 5), ("B4", 3), ("B5", 60), ("B5", 100), ("B5", 2)}


def words(**truth):
    return {v.claim.id: v.word for v in claims.judge(claims.load("l2-norm", ROOT), l2_norm_rows(**truth))}


def test_claims_of_l2_norm_where_the_paper_is_right():
    verdicts = {v.claim.id: v for v in claims.judge(claims.load("l2-norm", ROOT), l2_norm_rows())}
    expected = {f"B{i}": "holds" for i in (1, 2, 3, 4, 5, 7)} | {"B6": "answered"}
    assert {name: v.word for name, v in verdicts.items()} == expected
    assert verdicts["B6"].answer == "mixed"
    by_name = {r.name: r for v in verdicts.values() for _, r in claims.walk(v.parts)}
    assert by_name["near: norm minus cosine"].answer == "higher"
    assert by_name["near: norm minus MSP"].answer == "lower"
    assert by_name["useful, near: norm minus MSP"].word == "does not hold"
    assert by_name["far: L2 minus no L2"].estimate == pytest.approx(0.1)
    assert by_name["far: L2 minus no L2"].sets == ("noise", "photos")
    assert by_name["near: half of the short minus long schedule"].word == "does not hold"
    assert by_name["gradient of the loss along the feature, largest cosine"].word == "holds"
    assert all(r.word != "not run" for r in by_name.values())


@pytest.mark.parametrize(
    ("truth", "changed"),
    [
        ({"l2_far": 0.45, "ce_far": 0.4}, {"B1": "does not hold", "B4": "does not hold"}),
        ({"ce_near": 0.98}, {"B2": "does not hold", "B4": "does not hold", "B5": "does not hold"}),
        ({"ce_near": 0.948}, {"B2": "does not hold", "B4": "does not hold"}),  # inside the band
        ({"ce_far": 0.95}, {"B2": "does not hold", "B4": "does not hold", "B5": "does not hold"}),
        ({"cv": 0.08}, {"B7": "does not hold"}),
        ({"seeds": 4}, dict.fromkeys(("B1", "B2", "B3", "B4", "B5", "B6", "B7"), "descriptive")),
    ],
)
def test_claims_of_l2_norm_where_it_is_not(truth, changed):
    assert words(**truth) == {**words(), **changed}


def test_one_recipe_missing_leaves_its_claims_not_run():
    rows = l2_norm_rows()
    verdicts = claims.judge(claims.load("l2-norm", ROOT), rows[rows["recipe"] != "l2-deep"])
    found = {v.claim.id: v.word for v in verdicts}
    assert found["B4"] == "not run"
    assert found["B1"] == "holds"
    assert "l2-deep" in next(v.note for v in verdicts if v.claim.id == "B4")


def test_pages_come_in_the_order_of_the_contents(tmp_path):
    assert claims.pages(ROOT) == list(PAGES)
    (tmp_path / "book" / "claims").mkdir(parents=True)
    for name in ("norm", "l2-norm", "draft", "a"):
        (tmp_path / "book" / "claims" / f"{name}.yml").touch()
    parts = [{"chapters": [{"file": f"papers/{name}"} for name in names]} for names in (("l2-norm", "norm"), ("a",))]
    (tmp_path / "_toc.yml").write_text(yaml.safe_dump({"root": "index", "parts": parts}), encoding="utf-8")
    assert claims.pages(tmp_path) == ["l2-norm", "norm", "a", "draft"]


def test_a_printed_nought_is_a_value_that_nothing_is_divided_by(tmp_path):
    write(tmp_path, GOOD)
    nought = ENTRY + SECOND.replace("value: 0.6", "value: 0.0") + BETWEEN
    write(tmp_path, nought, "reported")
    assert claims.reported("p", tmp_path)[-1].value == pytest.approx(0.9)
    write(tmp_path, nought.replace("minus", "over"), "reported")
    with pytest.raises(InputError, match="divides by other, which is 0"):
        claims.reported("p", tmp_path)


def test_what_was_read_in_somebody_else_s_text_is_context_alone(tmp_path):
    write(tmp_path, GOOD)
    read = "{table: t, status: second-hand, where: w, read: r, unit: '%', keys: [k], columns: [c], rows: [[a, 1.0]]}"
    write(tmp_path, f"{ENTRY}context: [{read}]\n", "reported")
    assert len(claims.reported("p", tmp_path)) == 1
    write(tmp_path, f"{ENTRY}tables: [{read}]\n", "reported")
    with pytest.raises(InputError, match="table 't' is second-hand, expected that under context alone"):
        claims.reported("p", tmp_path)


@pytest.mark.parametrize("page", claims.pages())
def test_what_is_explained_is_what_the_recorded_runs_say(page):
    """A text about a verdict that has changed since is not shown, and this says which."""
    rows = study.recorded_rows(page, "small")
    found = {verdict.claim.id: verdict.word for verdict in claims.judge(claims.load(page), rows)}
    told = {claim.id: known.of for claim in claims.load(page) for known in claim.explained.values()}
    assert told == {name: found[name] for name in told}
    fails = {name for name, word in found.items() if word == "does not hold"}
    assert fails <= set(told), "a claim that fails has our explanation"
