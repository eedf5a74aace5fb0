"""Judging claims: selections, combination of parts, correction over a page."""

import math

import pandas as pd
import pytest
from pydantic import ValidationError
from statsmodels.stats.multitest import multipletests

from ood_core import claims
from ood_core.checks import InputError
from ood_core.claims.judging import combine

from ..made_up import PAIR, around, auroc, claim, one, part


@pytest.mark.parametrize(
    ("words", "how", "k", "expected"),
    [
        (["holds", "holds"], "all", 0, "holds"),
        (["holds", "does not hold", "inconclusive"], "all", 0, "does not hold"),
        (["holds", "inconclusive"], "all", 0, "inconclusive"),
        (["inconclusive", "descriptive"], "all", 0, "descriptive"),
        (["descriptive", "not run"], "all", 0, "not run"),
        (["holds", "does not hold", "inconclusive"], "at_least", 1, "holds"),
        (["holds", "does not hold", "inconclusive"], "at_least", 2, "inconclusive"),
        (["holds", "does not hold", "does not hold"], "at_least", 2, "does not hold"),
        (["holds", "does not hold"], "listed", 0, "descriptive"),
        (["not run", "not run"], "listed", 0, "not run"),
    ],
)
def test_parts_combine(words, how, k, expected):
    assert combine([(word, "") for word in words], how, k)[0] == expected


def test_answers_combine():
    higher, lower = ("answered", "higher"), ("answered", "lower")
    assert combine([higher, higher], "all") == higher
    assert combine([higher, lower], "all") == ("answered", "mixed")
    assert combine([higher, ("not run", "")], "all") == ("not run", "")


def test_groups_are_paired_by_seed_not_by_position():
    rows = auroc("l2", [0.9, 0.8, 0.7, 0.6, 0.5, 0.4])
    rows += auroc("ce", [0.85, 0.75, 0.65, 0.55, 0.45])[::-1]
    found = one(part(**PAIR), rows)
    assert found.word == "holds"
    assert found.estimate == pytest.approx(0.05)
    assert found.n == 5
    assert "left out" in found.note
    assert "5" in found.note
    assert found.values == pytest.approx(dict.fromkeys(range(5), 0.05))


def test_far_is_the_mean_of_aurocs_per_seed():
    rows = auroc("l2", [0.8] * 5, ood_set="a", ood_group="far") + auroc("l2", [0.6] * 5, ood_set="b", ood_group="far")
    rows += auroc("l2", [0.1] * 5)
    found = one(part(a={"recipe": "l2", "metric": "auroc", "ood_group": "far"}), rows)
    assert found.estimate == pytest.approx(0.7)
    assert found.sets == ("a", "b")


@pytest.mark.parametrize(
    ("column", "value"),
    [("scorer", "msp"), ("layer", "unit"), ("params", '{"k":3}'), ("ood_group", "far"), ("split", "train")],
)
def test_an_ambiguous_selection_is_refused(column, value):
    rows = auroc("l2", [0.9] * 5) + auroc("l2", [0.8] * 5, **{column: value}, ood_set="x")
    with pytest.raises(InputError, match=f"several values of {column}"):
        one(part(), rows)


def test_a_number_that_is_there_twice_is_refused():
    with pytest.raises(InputError, match="twice for seed 0"):
        one(part(), auroc("l2", [0.9] * 5) + auroc("l2", [0.8]))


def test_a_seed_that_lacks_an_ood_set_is_refused():
    rows = auroc("l2", [0.9] * 5) + auroc("l2", [0.9] * 4, ood_set="near-2")
    with pytest.raises(InputError, match="no row of OOD set 'near-2' for seed 4"):
        one(part(), rows)


def test_groups_on_different_sets_are_refused():
    rows = auroc("l2", [0.9] * 5) + auroc("ce", [0.9] * 5, ood_set="near-2")
    with pytest.raises(InputError, match="same OOD sets"):
        one(part(**PAIR), rows)


def test_epochs_are_free_of_scale():
    rows = [r for epoch in (0, 2, 6, 12) for r in auroc("l2", [0.5 + epoch / 100] * 5, epoch=epoch)]
    rows += auroc("l2", [0.1] * 5, epoch=11, metric="accuracy")

    def at(epoch):
        return one(part(a={"recipe": "l2", "metric": "auroc", "epoch": epoch}), rows).estimate

    assert at("last") == pytest.approx(0.62)
    assert at("first") == pytest.approx(0.5)
    assert at(0.5) == pytest.approx(0.56)
    assert at(1 / 3) == pytest.approx(0.52)  # epoch 4 is as near to 2 as to 6: the earlier
    assert at(0.9) == pytest.approx(0.62)
    rows += auroc("l2", [0.9] * 5, epoch=14, metric="accuracy")
    missing = one(part(), rows)
    assert missing.word == "not run"
    assert "last epoch, 14" in missing.note


def test_runs_that_end_at_different_epochs_are_refused():
    rows = auroc("l2", [0.9] * 5)
    rows[2]["epoch"] = 7
    with pytest.raises(InputError, match="seed 2: 7"):
        one(part(), rows)


def test_parameters_match_as_json_not_as_text():
    rows = auroc("l2", [0.9] * 5, params='{"distance": "cosine","k":2}') + auroc("l2", [0.7] * 5)
    selected = {"recipe": "l2", "metric": "auroc", "params": {"k": 2, "distance": "cosine"}}
    assert one(part(a=selected), rows).estimate == pytest.approx(0.9)


def test_what_is_not_recorded_is_not_run_and_says_why():
    rows = auroc("l2", [0.9] * 5)
    other = one(part(a={"recipe": "l2", "metric": "auroc", "scorer": "feature_nrom"}), rows)
    assert other.word == "not run"
    assert "scorer 'feature_nrom'" in other.note
    assert "feature_norm" in other.note
    assert "recipe deep" in one(part(a={"recipe": "deep", "metric": "auroc"}), rows).note
    lost = one(part(), auroc("l2", [0.9, 0.9, math.nan, 0.9, 0.9]))
    assert (lost.word, lost.n) == ("not run", 0)
    assert "seed 2" in lost.note


def test_what_has_not_run_says_what_it_waits_for():
    def missing(names, seeds):
        return f"{', '.join(names)} x {seeds}"

    b = {"recipe": "wide", "metric": "auroc", "minus": "other"}
    two = part(**{**PAIR, "b": b})
    rows = auroc("l2", [0.9, 0.91, 0.92]) + auroc("wide", [0.8, 0.81, 0.82])
    extra = part(name="extra", a={"recipe": "deep", "metric": "auroc"})
    aside = part(name="aside", a={"recipe": "l2", "metric": "no such"}, counts=False)
    asked = [
        claim(part(name="first"), two | {"name": "second"}, aside, extra, min_seeds=3),
        claim(aside | {"counts": True}, id="T2"),
    ]
    first, second = claims.judge(asked, pd.DataFrame(rows), missing=missing)
    assert (first.word, first.note) == ("not run", "waits for l2, wide, other, deep x 3")
    assert [p.note for p in first.parts][1::2] == ["waits for l2, wide, other x 3", "waits for deep x 3"]
    for found in (first.parts[2], second):  # its runs are there: what they lack is the reason
        assert found.note.startswith("nothing is recorded with metric")
    assert claims.judge(asked, pd.DataFrame(rows))[0].note == "no run of recipe other is recorded"
    assert (
        claims.judge(asked, pd.DataFrame(rows), missing=lambda *_: "")[0].note == "no run of recipe other is recorded"
    )
    (short,) = claims.judge([claim(part(), min_seeds=5)], pd.DataFrame(rows), missing=missing)
    assert short.note == "3 of 5 seeds: numbers without a verdict, which waits for l2 x 5"


def test_fewer_seeds_than_asked_describe():
    found = claims.judge([claim(part(), min_seeds=5)], pd.DataFrame(auroc("l2", [0.9, 0.91, 0.92, 0.93])))[0]
    assert (found.word, found.n) == ("descriptive", 4)
    assert "4 of 5 seeds" in found.note
    assert found.parts[0].estimate == pytest.approx(0.915)
    enough = claims.judge([claim(part(), min_seeds=4)], pd.DataFrame(auroc("l2", [0.9, 0.91, 0.92, 0.93])))[0]
    assert enough.word == "holds"
    identity = part(rule="always", direction=None, margin=None, at_most=1.0)
    assert one(identity, auroc("l2", [0.9])).word == "holds"


def test_parts_that_do_not_count_decide_nothing():
    rows = auroc("l2", [0.9, 0.91, 0.92, 0.93, 0.94])
    verdict = claims.judge([claim(part(), part(name="q", direction="less", counts=False))], pd.DataFrame(rows))[0]
    assert verdict.word == "holds"
    assert [p.word for p in verdict.parts] == ["holds", "does not hold"]
    assert verdict.parts[1].p_holm is None
    assert verdict.parts[0].p_holm == verdict.parts[0].p  # alone in its family


def test_each_set_stands_alone_and_some_set_can_be_enough():
    rows = auroc("l2", around(0.9, 0.01), ood_set="a") + auroc("l2", around(0.3, 0.01), ood_set="b")
    listed = one(part(each="ood_set", counts=False), rows, combine="listed")
    assert [(r.name, r.word) for r in listed.parts] == [("p: a", "holds"), ("p: b", "does not hold")]
    assert listed.word == "descriptive"
    assert one(part(each="ood_set", at_least=1), rows).word == "holds"
    assert one(part(each="ood_set", at_least=2), rows).word == "does not hold"
    pair = {**PAIR, "each": "ood_set", "at_least": 1}
    rows += auroc("ce", around(0.5, 0.01), ood_set="a") + auroc("ce", around(0.5, 0.01), ood_set="b")
    assert [r.estimate for r in one(part(**pair), rows).parts] == pytest.approx([0.4, -0.2])


def test_holm_runs_over_the_counted_tests_of_the_page_once_each():
    weak, strong = around(0.5 + 0.0101, 0.01), around(0.9, 0.01)
    rows = auroc("l2", weak) + auroc("l2", strong, scorer="msp")
    a = {"recipe": "l2", "metric": "auroc", "scorer": "feature_norm"}
    others = [part(name=f"q{i}", a={**a, "scorer": "msp"}, margin=0.5 + i / 100) for i in range(3)]
    page = [claim(part(a=a)), claim(*others, id="T2"), claim(part(a=a), id="T3")]
    first, second, third = claims.judge(page, pd.DataFrame(rows))
    expected = multipletests([first.parts[0].p, *(r.p for r in second.parts)], method="holm")[1]
    assert [first.parts[0].p_holm, *(r.p_holm for r in second.parts)] == pytest.approx(list(expected))
    assert third.parts[0].p_holm == first.parts[0].p_holm
    assert first.word == "holds"
    assert first.parts[0].p < 0.05 <= 2 * first.parts[0].p
    alone = claims.judge(page[:1], pd.DataFrame(rows))[0]
    assert alone.stands
    pair = claims.judge([claim(part(a=a), part(name="q", a=a, margin=0.50005))], pd.DataFrame(rows))[0]
    assert (pair.word, pair.holm, pair.stands) == ("holds", ("inconclusive", ""), False)


def test_a_corrected_p_of_just_a_twentieth_leaves_it_open(monkeypatch):
    monkeypatch.setattr("ood_core.stats.holm", lambda p: [0.05] * len(p))
    (verdict,) = claims.judge([claim(part())], pd.DataFrame(auroc("l2", around(0.9, 0.01))))
    assert (verdict.word, verdict.holm) == ("holds", ("inconclusive", ""))


def test_questions_lose_their_answer_under_holm():
    rows = auroc("l2", around(0.5101, 0.01))
    asked = [part(name=str(i), direction="two_sided", margin=0.5 - i / 1e6) for i in range(3)]
    verdict = claims.judge([claim(*asked)], pd.DataFrame(rows))[0]
    assert (verdict.word, verdict.answer) == ("answered", "higher")
    assert verdict.holm == ("answered", "no clear difference")


def test_rows_of_two_scales_and_foreign_rows_are_refused():
    rows = pd.DataFrame(auroc("l2", [0.9] * 5) + auroc("l2", [0.9] * 5, scale="small"))
    with pytest.raises(InputError, match="small, tiny"):
        claims.judge([claim(part())], rows)
    with pytest.raises(InputError, match="lack the columns recipe"):
        claims.judge([claim(part())], rows.drop(columns="recipe"))
    with pytest.raises(InputError, match="scale is None"):
        claims.judge([claim(part())], pd.DataFrame())
    empty = claims.judge([claim(part())], pd.DataFrame(), scale="paper")[0]
    assert (empty.word, empty.note) == ("not run", "no run of this page is recorded at this scale")


def test_a_scale_can_be_ruled_out_with_a_reason():
    rows = pd.DataFrame(auroc("l2", around(0.9, 0.01)))
    verdict = claims.judge([claim(part(), not_run={"tiny": "no second data set"})], rows)[0]
    assert (verdict.word, verdict.note) == ("not run", "no second data set")
    assert claims.judge([claim(part(), not_run={"paper": "later"})], rows)[0].word == "holds"


def test_the_frame_holds_every_claim_and_part():
    rows = pd.DataFrame(auroc("l2", around(0.9, 0.01)))
    verdicts = claims.judge([claim(part()), claim(part(direction="less"), id="T2")], rows)
    table = claims.frame(verdicts)
    assert table["verdict"].tolist() == ["holds", "holds", "does not hold", "does not hold"]
    assert table["level"].tolist() == [0, 1, 0, 1]
    assert table["estimate"].tolist()[1] == verdicts[0].parts[0].estimate
    assert table["asks"].tolist()[1] == "one sample: > 50 %"


A = {"recipe": "l2", "metric": "auroc"}
CLOSE = 0.5101  # with a half of .01: p just under .05, gone as soon as there is a second test


def test_one_test_under_two_names_counts_once_in_the_correction():
    page = [claim(part()), claim(part(name="again"), id="T2")]
    first, second = claims.judge(page, pd.DataFrame(auroc("l2", around(CLOSE, 0.01))))
    assert first.parts[0].p_holm == second.parts[0].p_holm == first.parts[0].p


def test_tests_without_a_verdict_and_listed_ones_are_not_in_the_family():
    rows = auroc("l2", around(CLOSE, 0.01)) + auroc("few", [0.4, 0.6, 0.62])
    page = [claim(part(), part(name="listed", counts=False)), claim(part(a={**A, "recipe": "few"}), id="T2")]
    first, second = claims.judge(page, pd.DataFrame(rows))
    assert second.word == "descriptive"
    assert first.parts[0].p_holm == first.parts[0].p
    assert first.parts[1].p_holm is None


def test_sets_of_a_repeated_part_are_corrected_one_by_one():
    rows = auroc("l2", around(CLOSE, 0.01), ood_set="x") + auroc("l2", around(CLOSE, 0.01), ood_set="y")
    found = one(part(each="ood_set", at_least=1), rows)
    assert [r.p_holm for r in found.parts] == [pytest.approx(2 * r.p) for r in found.parts]
    assert (found.word, found.holm, found.stands) == ("holds", ("inconclusive", ""), False)


def test_a_question_that_loses_its_answer_does_not_stand():
    asked = [part(name=str(i), direction="two_sided", margin=0.5 - i / 1e6) for i in range(3)]
    (found,) = claims.judge([claim(*asked)], pd.DataFrame(auroc("l2", around(CLOSE, 0.01))))
    assert (found.word, found.stands, found.parts[0].stands) == ("answered", False, False)


@pytest.mark.parametrize("sizes", [("ood_set", "x", "y"), ("epoch", 0, 12)])
def test_half_an_image_is_that_of_the_smallest_set(sizes):
    column, *places = sizes
    rows = [
        {**row, "n": n}
        for at, n in zip(places, (100, 1000), strict=True)
        for row in auroc("l2", [0.0] * 5, **{column: at})
    ]
    form = "log" if column == "ood_set" else "log_area"
    assert one(part(a={**A, "form": form}, margin=0.0, unit="number"), rows).estimate == pytest.approx(
        math.log(0.5 / 100)
    )


def test_a_logarithm_of_negative_numbers_is_not_made_up():
    found = one(part(a={**A, "form": "log"}, margin=0.0, unit="number"), auroc("l2", [-0.1] * 5))
    assert (found.word, "-0.1 is among the numbers, which has no log" in found.note) == ("not run", True)


def test_an_area_is_divided_by_the_distance_of_its_epochs():
    rows = [row for epoch in (4, 12) for row in auroc("l2", [0.5] * 5, epoch=epoch)]
    assert one(part(a={**A, "form": "log_area"}, margin=0.0, unit="number"), rows).estimate == pytest.approx(
        math.log(0.5)
    )
    rows = [row for epoch in (0, 6, 12) for row in auroc("l2", [0.5] * (4 if epoch == 6 else 5), epoch=epoch)]
    assert one(part(a={**A, "form": "log_area"}, margin=0.0, unit="number"), rows).note.startswith("an area needs")


def test_another_detector_with_more_parameters_is_not_taken():
    rows = auroc("l2", [0.9] * 5, params='{"k":2,"which":"mean"}')
    assert one(part(a={**A, "params": {"k": 2}}), rows).word == "not run"


def test_a_fraction_is_of_the_last_epoch_of_the_run():
    rows = [row for epoch in (0, 6) for row in auroc("l2", [0.5 + epoch / 100] * 5, epoch=epoch)]
    rows += auroc("l2", [0.1] * 5, metric="accuracy", epoch=12)
    assert one(part(a={**A, "epoch": 0.4}), rows).estimate == pytest.approx(0.56)


def test_two_epochs_are_no_rank_correlation_and_lost_seeds_are_named():
    rows = [
        row
        for e in (6, 12)
        for name in ("l2", "ce")
        for row in auroc(name, [0.5, 0.6, 0.7, 0.8, 0.9 + e / 99], epoch=e)
    ]
    both = {key: {"recipe": name, "metric": "auroc", "epoch": "all"} for key, name in (("a", "l2"), ("b", "ce"))}
    found = one(part(rule="correlation", margin=None, over="epochs", unit="number", **both), rows)
    assert (found.word, found.note) == ("not run", "2 epochs are recorded for both, a rank correlation needs three")
    rows = auroc("l2", around(0.9, 0.01, 6)) + auroc("ce", around(0.8, 0.01, 5))
    assert "left out, a number is missing: 5" in one(part(a={**A, "minus": "ce"}, margin=0.0), rows).note


def test_our_own_note_stands_behind_the_verdict():
    (found,) = claims.judge([claim(part(), note="ours")], pd.DataFrame(auroc("l2", around(0.9, 0.01))))
    assert found.records()[0]["note"] == "ours"


@pytest.mark.parametrize(
    ("message", "parts", "fields"),
    [
        ("margin is -0.01, expected a size", [{**PAIR, "margin": -0.01}], {}),
        ("expected more than 0", [{"rule": "equivalent", "direction": None, "margin": 0.0, "b": PAIR["b"]}], {}),
        ("'two_sided', expected greater", [{"rule": "non_inferior", "direction": "two_sided", "b": PAIR["b"]}], {}),
        ("hold_at is", [{"rule": "threshold", "margin": None, "hold_at": 0.4, "fail_at": 0.5}], {}),
        ("epoch is", [{"a": {**A, "epoch": "all"}}], {}),
        ("two_sided stands beside", [{}, {"name": "q", "direction": "two_sided"}], {}),
        ("'p' stand twice", [{}, {}], {}),
        ("answers are given", [{}], {"answers": {"higher": "x"}}),
        ("groups are", [{}], {"groups": {"g": "all"}}),
    ],
)
def test_a_claim_that_contradicts_itself_is_refused(message, parts, fields):
    with pytest.raises(ValidationError, match=message):
        claim(*(part(**one_) for one_ in parts), **fields)


def test_two_claims_of_one_id_are_refused():
    with pytest.raises(ValidationError, match="claim 'T1' stands twice, expected one of each id"):
        claims.Page(page="p", title="t", paper="x", claims=(claim(part()), claim(part(), title="other")))


def test_what_a_part_asks_is_written_with_its_sign():
    def asks(**fields):
        return claim(part(**fields)).parts[0].asks

    assert asks(**{**PAIR, "direction": "less", "margin": 0.01}) == "paired: < −1 points, band ±0.5 points"
    worse = {"rule": "non_inferior", "b": PAIR["b"], "margin": 0.01, "unit": "points"}
    assert asks(**worse) == "non-inferior: > −1 points"
    assert asks(**worse, direction="less") == "non-inferior: < 1 points"
