"""Recipes: what a typo says, and which changes make another run."""

import pytest
import yaml

from ood_core import recipes
from ood_core.checks import InputError
from ood_core.heads import NAMES as HEADS
from ood_core.losses import NAMES as LOSSES
from ood_core.models import NAMES as NETWORKS
from ood_core.recipes.schema import Head, Loss, Recipe
from tests.made_page import changed

ALL = [
    (page, scale, recipe)
    for page in recipes.pages()
    for scale in recipes.page(page).scales
    for recipe in recipes.load(page, scale)
]


def a_recipe(**changes):
    settings = {
        "id": "ce",
        "title": "t",
        "scale": "tiny",
        "source": "ours",
        "minutes": 1,
        "data": {"id_set": "digits"},
        "network": {"name": "resnet8"},
        "schedule": {"epochs": 3},
    }
    return Recipe.model_validate({**settings, **changes})


@pytest.mark.parametrize(("page", "scale", "recipe"), ALL)
def test_every_recipe_names_things_that_exist(page, scale, recipe):
    from ood_core import data, scorers

    found = recipes.load(page, scale)[recipe]
    assert found.network.name in NETWORKS
    assert found.head.name in HEADS
    assert found.loss.name in LOSSES
    for text in (*found.evaluate.near, *found.evaluate.far, *found.evaluate.validation):
        name, split = data.parse(text)
        assert data.entry(name)["splits"][split]["digest"]
    for score in found.evaluate.scores:
        scorers.make(score.scorer, **score.params)
    assert found.recorded_epochs()[0] == 0
    assert found.recorded_epochs()[-1] == found.epochs


def test_schema_and_registries_agree():
    assert set(HEADS) <= set(Head.model_fields["name"].annotation.__args__)
    assert set(LOSSES) <= set(Loss.model_fields["name"].annotation.__args__)


def test_train_key_is_pinned():
    """A key that moves orphans every stored and recorded run: change it only with TRAIN_VERSION."""
    assert a_recipe().train_key(0, "digest") == "f8887baa8ed23c27fbfa"


@pytest.mark.parametrize(
    "changes",
    [
        {"title": "other"},
        {"source": "theirs"},
        {"minutes": 9},
        {"scale": "small"},
        {"id": "other"},
        {"evaluate": {"near": ["digits-89"], "scores": ["msp"], "record": [0.5]}},
        {"optimiser": {"lr": 0.1}},  # a default, written out
        {"head": {"name": "linear"}},
    ],
)
def test_what_does_not_retrain(changes):
    assert a_recipe(**changes).train_key(0, "d") == a_recipe().train_key(0, "d")


@pytest.mark.parametrize(
    "changes",
    [
        {"head": {"name": "l2"}},
        {"optimiser": {"lr": 0.2}},
        {"schedule": {"epochs": 4}},
        {"network": {"name": "resnet8", "width": 8}},
        {"data": {"id_set": "digits", "train_on": "all"}},
        {"precision": "bfloat16"},
    ],
)
def test_what_retrains(changes):
    assert a_recipe(**changes).train_key(0, "d") != a_recipe().train_key(0, "d")


def test_seed_and_images_retrain():
    keys = {a_recipe().train_key(seed, digest) for seed in (0, 1) for digest in ("d", "e")}
    assert len(keys) == 4


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"epoch": 3}, "epoch: got 3, extra inputs"),
        ({"schedule": {"epochs": "many"}}, "schedule.epochs: got 'many'"),
        ({"schedule": {"epochs": 3, "warmup_epochs": 4}}, "warmup_epochs is 4.0, expected at most epochs"),
        ({"schedule": {"epochs": 3, "milestones": [150, 250]}}, "expected fractions"),
        (
            {"head": {"name": "l3"}},
            "head.name: got 'l3', input should be 'linear', 'l2', 'isomax', 'isomax_plus', 'dismax' or 'projection'",
        ),
        ({"evaluate": {"record": [2]}}, "expected fractions of the epochs"),
        ({"optimiser": {"lr": -1}}, "optimiser.lr: got -1"),
    ],
)
def test_a_mistake_is_named(tmp_path, monkeypatch, changes, message):
    shared = {
        "source": "ours",
        "minutes": 1,
        "data": {"id_set": "digits"},
        "network": {"name": "resnet8"},
        "schedule": {"epochs": 3},
    }
    page = {
        "seeds": {"tiny": 1},
        "scales": {"tiny": shared},
        "recipes": {"ce": {"title": "t", **changes}},
    }
    (tmp_path / "mine.yml").write_text(yaml.safe_dump(page))
    monkeypatch.setattr(recipes, "FOLDER", tmp_path)
    recipes.page.cache_clear()
    with pytest.raises(InputError, match="ce at tiny is not a valid recipe") as caught:
        recipes.load("mine", "tiny")
    assert message in str(caught.value)
    recipes.page.cache_clear()


def test_a_recipe_can_be_of_some_scales_alone(made):
    page = changed(far=["photos"])
    page["recipes"]["l2"]["scales"] = ["tiny"]
    page["scales"]["small"] = page["scales"]["tiny"]
    (recipes.FOLDER / "other.yml").write_text(yaml.safe_dump(page))
    assert set(recipes.load("other", "tiny")) - set(recipes.load("other", "small")) == {"l2"}
    page["recipes"]["l2"]["scales"] = ["tny"]
    (recipes.FOLDER / "wrong.yml").write_text(yaml.safe_dump(page))
    with pytest.raises(InputError, match=r"scales of wrong/l2: scale is 'tny', expected one of: small, tiny"):
        recipes.load("wrong", "tiny")


@pytest.mark.parametrize("scale", ["tiny", "small", "paper"])
@pytest.mark.parametrize(
    "recipe", ["ce", "l2", "ce-long", "l2-long", "ce-deep", "l2-deep", "isomax", "supcon", "simclr"]
)
def test_pages_share_the_runs_of_one_name(recipe, scale):
    pages = [page for page in recipes.pages() if recipe in recipes.load(page, scale)]
    if recipe == "ce-deep" and scale == "paper":
        pages.remove("nan")  # its claim is about ResNet-34
    assert len(pages) > 1
    assert len({recipes.load(page, scale)[recipe].train_key(0, "d") for page in pages}) == 1


def test_changes_by_scale_reach_only_what_they_name():
    tiny = recipes.load("l2-norm", "tiny")
    assert tiny["ce-long"].schedule.epochs != tiny["ce"].schedule.epochs
    assert tiny["ce-long"].schedule.warmup_epochs == tiny["ce"].schedule.warmup_epochs
    assert tiny["ce-long"].network == tiny["ce"].network


@pytest.mark.parametrize(("page", "scale"), [("../l2-norm", "tiny"), ("l2-norm", "huge"), ("", "tiny")])
def test_unknown_page_or_scale(page, scale):
    with pytest.raises(InputError, match="expected one of"):
        recipes.load(page, scale)


def test_a_recipe_can_train_like_another_and_share_its_run(made):
    page = changed(far=["photos"])
    page["scales"]["tiny"]["optimiser"]["lr"] = 0.3  # the page's own settings do not touch it
    page["scales"]["tiny"]["minutes"] = 9
    page["recipes"] = {"mine": {"title": "mine", "same_as": "made/l2"}}
    (recipes.FOLDER / "other.yml").write_text(yaml.safe_dump(page))
    mine, theirs = recipes.load("other", "tiny")["mine"], recipes.load("made", "tiny")["l2"]
    assert mine.train_key(0, "d") == theirs.train_key(0, "d")
    assert (mine.title, mine.evaluate.far, mine.minutes) == ("mine", ("photos",), theirs.minutes)
    for wrong, message in (("made/l3", "is 'l3'"), ("nowhere/l2", "page is 'nowhere'")):
        page["recipes"]["mine"]["same_as"] = wrong
        (recipes.FOLDER / "wrong.yml").write_text(yaml.safe_dump(page))
        recipes.page.cache_clear()
        with pytest.raises(InputError, match=message):
            recipes.load("wrong", "tiny")
    page["recipes"]["mine"]["same_as"] = "other/mine"
    (recipes.FOLDER / "third.yml").write_text(yaml.safe_dump(page))
    with pytest.raises(InputError, match="expected a recipe with settings of its own"):
        recipes.load("third", "tiny")


@pytest.mark.parametrize("scale", ["tiny", "small"])
def test_cells_that_the_clusters_page_shares_are_the_same_runs(scale):
    mine, other = recipes.load("clusters", scale), recipes.load("l2-norm", scale)
    for name, same in (("ce", "ce"), ("ce-second", "ce-deep")):
        assert mine[name].train_key(0, "d") == other[same].train_key(0, "d")


def test_a_network_meets_the_usual_sets_of_its_id_set_unless_its_recipe_names_others(made):
    page = changed()
    del page["scales"]["tiny"]["evaluate"]["near"], page["scales"]["tiny"]["evaluate"]["far"]
    page["recipes"]["l2"]["evaluate"] = {"near": [], "far": ["noise"]}
    made(page)
    usual, own = recipes.load("made", "tiny")["ce"].evaluate, recipes.load("made", "tiny")["l2"].evaluate
    assert (usual.near, usual.far) == (("digits-89",), ("photos", "inverted", "noise"))
    assert (own.near, own.far) == ((), ("noise",))
