"""The page nan as it is written: shared runs, five labelings of the same images, claims about recipes that exist."""

import pytest

from ood_core import claims, recipes

SCALES = ("tiny", "small", "paper")


@pytest.mark.parametrize("scale", ["tiny", "small"])
@pytest.mark.parametrize("name", ["ce", "ce-deep"])
def test_base_cells_are_the_runs_of_l2_norm(scale, name):
    mine, theirs = (recipes.load(page, scale)[name] for page in ("nan", "l2-norm"))
    assert mine.train_key(3, "d") == theirs.train_key(3, "d")


@pytest.mark.parametrize("scale", SCALES)
def test_five_labelings_differ_in_labels_and_augmentation_alone(scale):
    found = {name: r for name, r in recipes.load("nan", scale).items() if name.startswith("labels-")}
    assert len(found) == 5
    base = found["labels-true"]
    for name, recipe in found.items():
        plain = name in ("labels-instance", "labels-random")
        assert recipe.data.flip == (base.data.flip and not plain)
        assert recipe.data.crop_padding == (0 if plain else base.data.crop_padding)
        alike = {"labels": "true", "flip": base.data.flip, "crop_padding": base.data.crop_padding}
        assert recipe.data.model_copy(update=alike) == base.data
        assert recipe.training() | {"data": 0} == base.training() | {"data": 0}
    schemes = [recipe.data.labels for recipe in found.values()]
    assert schemes == ["true", "instance", "instance", "binary", "constant"]


@pytest.mark.parametrize("scale", SCALES)
def test_widths_are_one_octave_apart_around_the_base_cell(scale):
    found = recipes.load("nan", scale)
    base = found["ce"].network
    stages = 4 if base.name == "resnet18" else 3
    usual = base.width * 2 ** (stages - 1)
    widths = [found[f"width-{name}"].network.features for name in ("quarter", "half", "double")]
    assert widths == [usual // 4, usual // 2, usual * 2]


def test_claims_speak_of_recipes_that_exist():
    named = set()
    for claim in claims.load("nan"):
        for part in claim.parts:
            for selector in filter(None, (part.a, part.b)):
                recipe = selector["recipe"]
                named.update(recipe if isinstance(recipe, list) else [recipe])
    assert named == set(recipes.load("nan", "small"))  # and nothing is trained for no claim
    absent = {name for claim in claims.load("nan") for name in claim.absent.get("tiny", ())}
    assert named - set(recipes.load("nan", "tiny")) == absent


@pytest.mark.parametrize("scale", SCALES)
def test_one_class_networks_differ_in_the_class_alone(scale):
    found = [r for name, r in recipes.load("nan", scale).items() if name.startswith("one-class-")]
    assert [r.data.one_class for r in found] == list(range(8 if scale == "tiny" else 10))
    rest = {
        str(r.model_copy(update={"id": "", "title": "", "data": r.data.model_copy(update={"one_class": 0})}))
        for r in found
    }
    assert len(rest) == 1


def test_printed_averages_are_those_of_the_printed_parts():
    """One average of the paper is off by more than rounding, and its table says so."""
    off = {}
    for table in claims.printed("nan"):
        if "AUROC, Average" not in table.columns:
            continue
        for key, rows in table.frame.groupby("score"):
            for metric in ("AUROC", "FPR95"):
                mine = rows[rows["column"].str.startswith(metric)]
                average = mine["column"] == f"{metric}, Average"
                apart = abs(mine[~average]["value"].mean() - mine[average]["value"].item())
                if apart > 0.051:
                    off[table.table, key, metric] = apart
    assert list(off) == [("Table 3, without labels", "NAN", "FPR95")]
    (table,) = [table for table in claims.printed("nan") if table.table == "Table 3, without labels"]
    assert "its parts give 38.16" in table.where


def test_every_table_and_every_claim_has_an_entry():
    assert [t.table for t in claims.printed("nan")] == [
        *("Table 1, supervised contrastive", "Table 1, without labels", "Table 2", "Table 3, cross-entropy"),
        *("Table 3, without labels", "Table 4", "Table 5"),
    ]
    assert {entry.claim for entry in claims.reported("nan")} == {claim.id for claim in claims.load("nan")}
