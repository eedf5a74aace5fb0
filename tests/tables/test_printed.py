"""Printed tables on a page: every number with its source, nothing unescaped."""

import io
from types import SimpleNamespace

import pandas as pd

from ood_core import claims, tables

from ..pages import EVIL, ROOT, Page


def test_every_number_stands_there_with_its_source():
    found = claims.printed("isomax", root=ROOT)
    shown = tables.printed(found)
    page = Page(shown.html)
    assert len([tag for tag, _ in page.elements if tag == "details"]) == len(found)
    assert len(page.rows) == sum(1 + len(one.rows) for one in found)
    assert len(shown.frame) == sum(len(one.frame) for one in found)
    for one in found:
        assert one.where in shown.html
    (sorted_by,) = [c["sort"] for r in page.rows for c in r["cells"] if c["text"] == "0.0060 ± 0.0013"]
    assert sorted_by == "0.0060"
    assert "(read off a plot)" in shown.html
    assert set(shown.frame["status"]) == {"verified", "read off a plot"}


def test_what_a_file_says_is_text():
    frame = pd.DataFrame({"k": [EVIL], "column": [EVIL], "value": [1.0], "sd": [2.0]})
    evil = SimpleNamespace(
        **dict.fromkeys(("table", "status", "where", "read", "unit"), EVIL),
        keys=(EVIL,), columns=(EVIL, "b"), rows=((EVIL, "1±2", None),), frame=frame,
    )  # fmt: skip
    shown = tables.printed([evil], EVIL)
    assert "<script" not in shown.html
    assert shown.frame["value"].tolist() == [1.0]
    assert tables.printed([]).frame.empty
    assert pd.read_csv(io.StringIO(shown.frame.to_csv(index=False)))["table"].tolist() == [EVIL]
