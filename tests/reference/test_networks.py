"""The page of networks says what the registry says."""

import re

import pytest

from ood_core import models, recipes, reference

from ..pages import Page


def test_every_network_has_a_row():
    made = reference.network_table()
    rows = made.frame.set_index("network")
    assert list(rows.index) == [f"`{name}`" for name in models.NAMES]
    assert rows.loc["`resnet18`", "parameters"] == 11_173_962 - 5_130
    assert rows.loc["`resnet18`", "multiply_adds"] == pytest.approx(555.4e6, abs=1e5)
    assert rows.loc["`densenet100`", "features"] == 342
    assert rows.loc["`cvt7`", "sides"] == "from 8, multiples of 4"
    assert "`spectral`" in rows.loc["`resnet18`", "options"]
    assert all(rows["source"])
    body = Page(made.html).body
    assert len(body) == len(models.NAMES)
    vgg = next(row["cells"] for row in body if row["cells"][0]["text"].startswith("vgg16"))
    assert "column D" in vgg[0]["text"], "its source stands below its name"
    assert [vgg[3]["text"], vgg[3]["sort"]] == ["14.7 M", "14723136"]
    assert [made.html.count(text) for text in (">0.0774 M<", ">5,240 M<")] == [1, 1]


def test_networks_in_use_are_those_of_the_recipes():
    made = reference.networks_in_use()
    small = {recipe.network.name for page in recipes.pages() for recipe in recipes.load(page, "small").values()}
    (line,) = re.findall(r"<em>small</em>: (.*?)\.</li>", made.html)
    assert set(re.findall(r"<code>(\w+)</code>", line)) == small
    (idle,) = re.findall(r"In no recipe of this book: (.*?)\.</li>", made.html)
    assert not small & set(re.findall(r"<code>(\w+)</code>", idle))


def test_every_network_belongs_to_one_family_that_says_what_width_means():
    families = reference.network_families().frame
    named = re.findall(r"`(\w+)`", " ".join(notes[-1] for notes in families["notes"]))
    assert sorted(named) == sorted(models.NAMES)
    assert all("`width`" in arguments["width"] for arguments in families["arguments"])
    for notes in families["notes"]:
        assert any(note.startswith("Source: ") and note.endswith(".") for note in notes), "whole, to its last sentence"
