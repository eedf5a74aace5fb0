"""The page of networks says what the registry says."""

import re

import pytest

from ood_core import models, reference
from tests.test_tables import Page


def test_every_network_has_a_row():
    made = reference.network_table()
    rows = made.frame.set_index("network")
    assert list(rows.index) == [f"`{name}`" for name in models.NAMES]
    assert rows.loc["`resnet18`", "parameters"] == 11_173_962 - 5_130
    assert rows.loc["`resnet18`", "multiply-adds (millions)"] == pytest.approx(555.4, abs=0.1)
    assert rows.loc["`densenet100`", "features"] == 342
    assert rows.loc["`cvt7`", "sides (pixels)"] == "from 8, multiples of 4"
    assert "`spectral`" in rows.loc["`resnet18`", "options"]
    assert all(rows["source"])
    assert len(Page(made.html).body) == len(models.NAMES)


def test_every_network_belongs_to_one_family_that_says_what_width_means():
    families = reference.network_families().frame
    named = re.findall(r"`(\w+)`", " ".join(notes[-1] for notes in families["notes"]))
    assert sorted(named) == sorted(models.NAMES)
    assert all("`width`" in arguments["width"] for arguments in families["arguments"])
    for notes in families["notes"]:
        assert any(note.startswith("Source: ") and note.endswith(".") for note in notes), "whole, to its last sentence"
