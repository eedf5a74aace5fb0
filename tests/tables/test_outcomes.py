"""Outcomes that a text explains: each scale by its own verdict, numbers where there is one, refusals by name."""

import re

import pandas as pd
import pytest

from ood_core import claims, tables
from ood_core.checks import InputError

from ..made_up import PAIR, around, auroc, claim, part


def judged(mean, *, alone=True, seeds=5):
    rows = pd.DataFrame(auroc("l2", around(mean, 0.01, seeds)) + auroc("ce", around(0.7, 0.001, seeds)))
    second = [] if alone else [part(name="gain: all sets", **PAIR, counts=False, direction="greater")]
    return claims.judge([claim(part(), *second)], rows)


def text(shown):
    return [re.sub("<.*?>", "", line) for line in re.findall("<li>(.*?)</li>", shown.html)]


def test_each_scale_says_what_came_of_it():
    shown = tables.outcomes({"tiny": judged(0.4), "small": judged(0.9), "paper": None}, ["T1"])
    assert text(shown) == [
        "T1 t: ✗ does not hold (40.0 % [39.0, 41.0]; 5 seeds) at tiny; ✓ holds (90.0 % [89.0, 91.0]; 5 seeds) at small"
        "; – not run at paper."
    ]
    assert shown.frame["verdict"].tolist() == ["does not hold", "holds", "not run"]
    assert shown.frame["scale"].tolist() == ["tiny", "small", "paper"]


def test_a_part_is_named_as_in_the_table_of_claims():
    shown = tables.outcomes({"tiny": judged(0.9, alone=False), "small": None}, ["T1: gain: all sets", "T1"])
    first, second = text(shown)
    assert first.startswith("T1 gain: all sets: ✓ holds (+20.0 points [")
    assert second == "T1 t: ✓ holds (5 seeds) at tiny; – not run at small."


def test_a_part_is_not_another_whose_name_begins_alike():
    rows = pd.DataFrame(auroc("l2", around(0.9, 0.01)))
    verdicts = claims.judge([claim(part(name="norm, near"), part(name="norm", direction="less"))], rows)
    (line,) = text(tables.outcomes({"tiny": verdicts}, ["T1: norm"]))
    assert line.startswith("T1 norm: ✗ does not hold")


def test_what_holm_takes_back_is_said():
    rows = pd.DataFrame(auroc("l2", around(0.5101, 0.01)))
    verdicts = claims.judge([claim(part(), part(name="q", margin=0.50005))], rows)
    assert text(tables.outcomes({"tiny": verdicts}, ["T1"])) == [
        "T1 t: ✓ holds (5 seeds; after Holm: inconclusive) at tiny."
    ]
    missing = part(name="q", a={"recipe": "other", "metric": "auroc"})
    waits = claims.judge([claim(part(), missing)], pd.DataFrame(auroc("l2", around(0.9, 0.01))))
    assert "◐ partly run" in text(tables.outcomes({"tiny": waits}, ["T1"]))[0]


def test_an_answer_is_put_in_the_claim_s_words():
    rows = pd.DataFrame(auroc("l2", around(0.4, 0.01)))
    asked = claim(part(direction="two_sided", band=0.005), answers={"lower": "unit is better"})
    (line,) = text(tables.outcomes({"tiny": claims.judge([asked], rows)}, ["T1"]))
    assert line == "T1 t: ↓ lower (unit is better; 40.0 % [39.0, 41.0]; 5 seeds) at tiny."


def test_nothing_run_at_any_scale_is_said_too():
    assert text(tables.outcomes({"tiny": None, "small": None}, ["T1"])) == [
        "T1: – not run at tiny; – not run at small."
    ]


def test_what_no_verdict_has_is_refused_by_name():
    verdicts = {"tiny": judged(0.9, alone=False), "small": None}
    with pytest.raises(InputError, match=r"asked for 'T9', expected one of: T1\.\nName a claim"):
        tables.outcomes(verdicts, ["T9"])
    with pytest.raises(InputError, match="expected one of: T1: p; T1: gain: all sets"):
        tables.outcomes(verdicts, ["T1: loss"])
    with pytest.raises(InputError, match="asked is empty"):
        tables.outcomes(verdicts, [])


def test_text_is_escaped():
    stated = claim(part(name="<b>"), title="<i>")
    verdicts = claims.judge([stated], pd.DataFrame(auroc("l2", around(0.9, 0.01))))
    shown = tables.outcomes({"<u>": verdicts}, ["T1", "T1: <b>"]).html
    assert not re.search("<(i|b|u)>", shown)
    assert "&lt;i&gt;" in shown
    assert "&lt;b&gt;" in shown
    assert "&lt;u&gt;" in shown


def test_a_share_is_on_no_side_of_anything():
    rows = pd.DataFrame(auroc("l2", [0.8] * 5))
    (line,) = text(tables.outcomes({"tiny": claims.judge([claim(part(direction="two_sided"))], rows)}, ["T1: p"]))
    assert "higher" not in line
    assert "80.0 %" in line
