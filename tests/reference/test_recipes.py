"""The page of recipes says what the schema says."""

import pytest

from ood_core import recipes, reference
from ood_core.recipes.schema import TRAINING


def test_every_field_has_a_row_with_its_meaning_values_and_default():
    rows = reference.recipe_fields().frame.set_index("field")
    assert rows.index.is_unique
    assert (rows["meaning"].str.len() > 8).all()
    assert "None" not in rows["meaning"].tolist()
    kept = ["values", "default", "trains anew"]
    assert rows.loc["`network.width`", kept].tolist() == ["whole number, at least 1, at most 1024", "16", "yes"]
    assert rows.loc["`data.flip`", kept].tolist() == ["true, false", "false", "yes"]
    assert rows.loc["`head.start`", kept].tolist() == ["zeros, normal", "none", "yes"]
    assert rows.loc["`optimiser.momentum`", kept].tolist() == ["number, at least 0, below 1", "0.9", "yes"]
    assert rows.loc["`evaluate.measures`", kept].tolist() == ["list", "accuracy, collapse, norms", "no"]
    assert rows.loc["`schedule.milestones`", "default"] == "0.429, 0.714"
    assert rows.loc["`minutes`", kept].tolist() == ["number, above 0", "", "no"]
    assert rows.loc["`evaluate.scores.params`", kept].tolist() == ["mapping", "none", "no"]
    inner = {name.strip("`").partition(".")[0] for name in rows.index[rows["trains anew"] == "yes"]}
    assert inner == TRAINING


@pytest.mark.parametrize(("field", "value"), [("batch", 7), ("nesterov", True)])
def test_what_trains_anew_is_in_the_key(field, value):
    one = recipes.load("l2-norm", "tiny")["ce"]
    other = one.model_copy(update={"optimiser": one.optimiser.model_copy(update={field: value})})
    assert reference.recipe_fields().frame.set_index("field").loc[f"`optimiser.{field}`", "trains anew"] == "yes"
    assert one.train_key(0, "") != other.train_key(0, "")


def test_every_recipe_of_every_page_has_one_row_with_its_scales():
    rows = reference.recipe_list().frame
    assert not rows.duplicated(["recipe", "page"]).any()
    for page in recipes.pages():
        for scale in recipes.page(page).scales:
            own = rows[(rows["page"] == page) & rows["scales"].str.split(", ").map(lambda found, s=scale: s in found)]
            assert own["recipe"].str.strip("`").tolist() == list(recipes.load(page, scale))
