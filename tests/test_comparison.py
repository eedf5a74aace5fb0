"""Detectors compared on rows whose ranking, differences and paradox are known."""

import numpy as np
import pandas as pd
import pytest

from ood_core import comparison, tables
from ood_core.checks import InputError
from tests.made_up import BLANK, around, auroc
from tests.pages import Page

OWN = {"msp": "logits", "knn": "unit"}


def cost(recipe, scorer, seconds):
    top = BLANK | {"recipe": recipe, "scorer": scorer, "layer": OWN.get(scorer, "features"), "split": "train"}
    return [{**top, "metric": "fit_seconds", "seed": seed, "value": seconds} for seed in range(5)]


def detector(recipe, scorer, near, far, half=0.01, **columns):
    columns = {"layer": OWN.get(scorer, "features"), **columns}
    return [
        *auroc(recipe, around(near, half), scorer=scorer, ood_set="a", ood_group="near", **columns),
        *auroc(recipe, around(far + 0.02, half), scorer=scorer, ood_set="b", ood_group="far", **columns),
        *auroc(recipe, around(far - 0.02, half), scorer=scorer, ood_set="c", ood_group="far", **columns),
    ]


@pytest.fixture
def rows():
    found = [
        *detector("ce", "msp", 0.8, 0.9),
        *detector("ce", "knn", 0.86, 0.94),
        *detector("l2", "msp", 0.8, 0.9, params='{"p":1}'),
        *detector("l2", "norm", 0.6, 0.5),
        *cost("ce", "knn", 0.5),
        *auroc("ce", around(0.1, 0.01), scorer="msp", layer="logits", ood_set="a", epoch=2),  # not the last epoch
        *auroc("ce", around(0.1, 0.01), scorer="msp", layer="logits", ood_set="v", ood_group="validation"),
        *auroc("ce", around(0.1, 0.01), scorer="msp", layer="logits", ood_set="t", ood_group="control"),
    ]
    return pd.DataFrame(found)


def test_near_and_far_weigh_the_same_however_many_sets(rows):
    table = comparison.summary(rows)
    assert table["scorer"].tolist() == ["knn", "msp", "msp", "norm"]
    first = table.iloc[0]
    assert (first["near"], first["far"], first["both"]) == pytest.approx((0.86, 0.94, 0.9))
    assert (first["low"], first["high"]) == pytest.approx((0.89, 0.91))
    assert first["n"] == 5
    assert first["fit_seconds"] == 0.5
    assert np.isnan(table.iloc[1]["fit_seconds"])


def test_against_a_baseline_is_paired_and_corrected(rows):
    table = comparison.against(rows, "ce", "msp").set_index(["recipe", "scorer"])
    assert len(table) == 3
    assert table.loc[("ce", "knn"), "difference"] == pytest.approx(0.05)
    assert table.loc[("ce", "knn"), "outcome"] == "wins"
    assert table.loc[("l2", "msp"), "outcome"] == "open"
    assert table.loc[("l2", "norm"), "outcome"] == "loses"
    assert (table["p_holm"] >= table["p"]).all()
    with pytest.raises(InputError, match="ce/gen is there 0 times"):
        comparison.against(rows, "ce", "gen")


def test_every_objective_is_read_at_its_own_last_epoch(rows):
    longer = pd.DataFrame(detector("ce-long", "msp", 0.85, 0.95, epoch=70))
    table = comparison.summary(pd.concat([rows, longer])).set_index(["recipe", "scorer"])
    assert table.loc[("ce-long", "msp"), "both"] == pytest.approx(0.9)
    assert table.loc[("ce", "knn"), "both"] == pytest.approx(0.9)


def test_seeds_that_only_one_of_them_has_do_not_count(rows):
    few = rows[~((rows["scorer"] == "knn") & (rows["seed"] > 2))]
    assert comparison.against(few, "ce", "msp").set_index("scorer").loc["knn", "n"] == 3


def test_seconds_of_training_are_those_of_the_processor_where_they_are_known():
    def run(device="cpu", name="this", **seconds):
        return {"hardware": {"device": device, "name": name}, "seconds": seconds}

    mine = [("ce", run(train=50.0, train_cpu=10.0)), ("ce", run(train=20.0))]
    assert comparison.training_seconds(mine) == {"ce": 15.0}
    assert comparison.training_seconds([("l2", run("cuda", train=7.0, train_cpu=9.0))]) == {"l2": 7.0}
    others = [("ce", run(name="slower", train_cpu=99.0, train=99.0)), ("l2", run("cuda", train=7.0))]
    assert comparison.training_seconds([*others, *mine]) == {"ce": 15.0}, "two kinds of machine do not compare"
    kernels = [("l2", {"hardware": {"device": "cpu", "name": "this", "bfloat16": "native"}, "seconds": {"train": 1.0}})]
    assert comparison.training_seconds([*kernels, *mine]) == {"ce": 15.0}, "nor do two kinds of kernels"
    assert comparison.training_seconds([]) == {}


def test_which_detectors_the_best_is_not_clearly_better_than():
    """Intervals of single detectors would all overlap: seeds differ far more than detectors do by seed."""
    seeds, made = np.array([0.6, 0.7, 0.8, 0.9, 0.95]), []
    below = {"knn": np.zeros(5), "ssd": 0.01 + around(0, 0.001), "vim": 0.01 * np.array([1, -1, 2, -1, 0.5])}
    below["nnguide"] = 0.008 + around(0, 0.0078)  # p below .05, which three tests take away
    for scorer, less in below.items():
        for group in ("near", "far"):
            made += auroc(
                "ce", seeds - less, scorer=scorer, layer=OWN.get(scorer, "features"), ood_set=group, ood_group=group
            )
    table = comparison.summary(pd.DataFrame(made))
    assert table["scorer"].tolist() == ["knn", "vim", "nnguide", "ssd"]
    assert table["level"].tolist() == [True, True, True, False]
    once = pd.DataFrame([{**row, "recipe": "few"} for row in made if row["seed"] == 0 and row["scorer"] == "vim"])
    more = comparison.summary(pd.concat([pd.DataFrame(made), once]))
    assert more.set_index(["recipe", "scorer"])["level"].isna().to_dict()["few", "vim"], "one seed tells nothing"
    against = comparison.against(pd.DataFrame(made), "ce", "knn")
    close = against.set_index("scorer").loc["nnguide"]
    assert close["p"] < 0.05 <= close["p_holm"]
    assert close["outcome"] == "open"
    assert table["behind"].tolist() == pytest.approx([0.0, -0.003, -0.008, -0.01])
    told = "Of 3 others, 1 is clearly worse (paired by seed, Holm); of the 2 that are not, 2 are within a point of it.<"
    assert told in tables.guide(table, against).html
    far_off = table.assign(behind=table["behind"] * 100)
    told = (
        "1 is clearly worse (paired by seed, Holm); of the rest none is within a point of it: there, seeds are too few"
    )
    assert told in tables.guide(far_off, against).html
    assert "All others are clearly worse" in tables.guide(table.assign(level=[True, *[False] * 3]), against).html


def test_other_measures_rank_beside_the_mean():
    """`msp` is first by the mean, for a set in a black frame alone; `knn` without that set and by FPR95."""
    made = []
    for scorer, near, far, framed, fpr in (("msp", 0.7, 0.8, 1.0, 0.6), ("knn", 0.75, 0.82, 0.5, 0.3)):
        sets = {("cifar100", "near"): near, ("svhn/test10k", "far"): far, ("mnist/test3k", "far"): framed}
        for (name, group), value in sets.items():
            where = {"scorer": scorer, "layer": OWN.get(scorer, "features"), "ood_set": name, "ood_group": group}
            made += auroc("ce", value + np.zeros(3), **where)
            made += auroc("ce", fpr + np.array([0, 0.01, 0.02]), metric="fpr_at_tpr", **where)
    rows = pd.DataFrame(made)
    table = comparison.summary(rows).set_index("scorer")
    assert table.loc["msp", ["both", "natural", "fpr"]].tolist() == pytest.approx([0.8, 0.75, 0.61])
    assert table.loc["knn", ["both", "natural", "fpr"]].tolist() == pytest.approx([0.705, 0.785, 0.31])
    against = comparison.against(rows, "ce", "msp").set_index("scorer")
    assert against.loc["knn", ["near", "far"]].tolist() == pytest.approx([0.05, -0.24])
    shown = tables.ranking(table.reset_index())
    assert ">natural sets<" in shown.html
    assert ">61.0<" in shown.html
    duels = tables.duels(against.reset_index(), "MSP").html
    assert ">+5.0<" in duels
    assert ">−24.0<" in duels
    text = tables.guide(table.reset_index(), against.reset_index().assign(outcome="wins", near=-0.1), have="ce").html
    assert "1 better (1 of them behind it on near sets), 0 worse" in text
    knn, msp = "ce with <code>knn</code>", "ce with <code>msp</code>"
    assert f"whose look may give them away: {knn} (78.5); {msp} (75.0).<" in text
    assert f"less is better): {knn} (31.0); {msp} (61.0).<" in text
    assert "By FPR95: <code>knn</code> (31.0); <code>msp</code> (61.0)." in text
    framed = rows[rows["ood_set"].isin(["cifar100", "mnist/test3k"]) & (rows["metric"] == "auroc")]
    alone = comparison.summary(framed)
    assert alone[["natural", "fpr"]].isna().all(axis=None), "no far set is left, and no FPR95 was measured"
    assert "Without uniform noise" not in tables.guide(alone, comparison.against(framed, "ce", "msp"), have="ce").html


def test_what_an_objective_costs_and_how_well_it_classifies_stand_beside_its_detectors(rows):
    known = pd.concat(
        [
            rows,
            pd.DataFrame(auroc("ce", around(0.85, 0.01), metric="accuracy", scorer="", ood_set="", ood_group="")),
            pd.DataFrame(
                auroc("ce", [0.99] * 5, metric="accuracy", split="train", scorer="", ood_set="", ood_group="")
            ),
            pd.DataFrame(auroc("l2", [0.9] * 5, metric="accuracy", protocol="linear_probe", scorer="", ood_group="")),
        ]
    )
    table = comparison.summary(known, training={"ce": 1234.5}).set_index(["recipe", "scorer"])
    assert table.loc[("ce", "msp"), "train_seconds"] == table.loc[("ce", "knn"), "train_seconds"] == 1234.5
    assert table.loc[("ce", "knn"), "accuracy"] == pytest.approx(0.85)
    assert table.loc[("l2", "norm"), ["train_seconds", "accuracy"]].isna().all()
    shown = tables.ranking(table.reset_index()).html
    assert ">training (s)<" in shown
    assert shown.count(">1,234<") == 2
    text = tables.guide(table.reset_index(), comparison.against(known, "ce", "msp")).html
    assert "one network: ce 1,234. On another kind of machine, which does not compare: l2.</li>" in text


def collapse(recipe, values, metric="nc1"):
    top = BLANK | {"recipe": recipe, "metric": metric, "split": "train"}
    return [{**top, "seed": seed, "value": value} for seed, value in enumerate(values)]


def of_one_objective(values, detection):
    found = collapse("one", values)
    for group in ("near", "far"):
        found += auroc("one", detection, scorer="msp", layer="logits", ood_set=group, ood_group=group)
    return found


@pytest.mark.parametrize("elsewhere", [{"split": "test"}, {"layer": "unit"}, {"epoch": 2}])
def test_collapse_is_that_of_training_features_after_the_last_epoch(elsewhere):
    rise = np.array([0.0, 0.01, 0.02, 0.03])
    turned = [{**row, **elsewhere} for row in collapse("one", 9 - 100 * rise)]
    rows = pd.DataFrame([*of_one_objective(1 + rise, 0.9 + rise), *turned])
    assert comparison.with_collapse(rows).loc[0, "within"] == pytest.approx(1)


def test_two_seeds_of_an_objective_have_no_correlation():
    table = comparison.with_collapse(pd.DataFrame(of_one_objective([1.0, 1.1], [0.8, 0.9]))).iloc[0]
    assert np.isnan(table["within"])
    assert (table["objectives"], table["networks"]) == (0, 2)


def test_a_paradox_of_simpson_shows():
    """Within each objective more collapse goes with worse detection; the objectives turn it round."""
    rise = np.array([0.0, 0.01, 0.02, 0.03])
    found = []
    for recipe, base, level in (("one", 1.0, 0.9), ("other", 2.0, 0.7)):
        found += collapse(recipe, base + rise)
        for group in ("near", "far"):
            found += auroc(recipe, level + rise, scorer="msp", layer="logits", ood_set=group, ood_group=group)
    table = comparison.with_collapse(pd.DataFrame(found)).iloc[0]
    assert table["within"] == pytest.approx(1)
    assert table["pooled"] < 0
    assert (table["objectives"], table["networks"]) == (2, 8)
    shown = tables.with_collapse({"tiny": comparison.with_collapse(pd.DataFrame(found))}, {"msp": "MSP"})
    assert f">+1.00 / {table['pooled']:+.2f} <strong>turns</strong>".replace("-", "−") in shown.html
    assert table["chance"] == pytest.approx(np.sqrt(1 / 3 + 1 / 3) / 2)
    noise = comparison.with_collapse(pd.DataFrame(found)).assign(within=0.8)
    assert "turns" not in tables.with_collapse({"tiny": noise}, {"msp": "MSP"}).html, "as much comes by chance"
    assert "8 networks, 2 objectives" in shown.html


def test_every_collapse_metric_stands_beside_each_scorer_at_each_scale():
    """A network counts where it has both numbers; a scorer on another layer is in the frame and not in the table."""
    rise = np.array([0.0, 0.01, 0.02, 0.03])
    found = [*collapse("one", 1 + rise), *collapse("one", 1 - rise, "nc3"), *collapse("two", 2 + rise)]
    for recipe in ("one", "two"):
        for group in ("near", "far"):
            found += auroc(recipe, 0.9 + rise, scorer="msp", layer="logits", ood_set=group, ood_group=group)
            found += auroc(recipe, 0.9 - rise, scorer="msp", layer="raw", ood_set=group, ood_group=group)
    table = comparison.with_collapse(pd.DataFrame(found)).set_index(["collapse", "layer"])
    assert table["within"].round(9).to_dict() == {
        ("nc1", "logits"): 1,
        ("nc1", "raw"): -1,
        ("nc3", "logits"): -1,
        ("nc3", "raw"): 1,
    }
    assert table["networks"].tolist() == [8, 8, 4, 4]
    by_scale = {"small": table.reset_index(), "tiny": table.reset_index().query("collapse == 'nc1'")}
    shown = tables.with_collapse(by_scale, {"knn": "neighbours", "msp": "MSP"})
    assert shown.frame[["collapse", "scale"]].drop_duplicates().to_numpy().tolist() == [
        *(["nc1", "small"], ["nc3", "small"], ["nc1", "tiny"])
    ]
    assert shown.html.count("networks, ") == 3, "one cell a metric and scale, for the scorer's own layer"
    assert shown.html.index(">NC1<") < shown.html.index(">NC3<")
    assert "4 networks, 1 objectives" in shown.html
    with pytest.raises(InputError, match="scorers are knn, expected one that was measured"):
        tables.with_collapse(by_scale, {"knn": "neighbours"})


def test_constant_numbers_have_no_correlation():
    found = collapse("one", [1.0, 1.0, 1.0])
    for group in ("near", "far"):
        found += auroc("one", [0.5, 0.6, 0.7], scorer="msp", layer="logits", ood_set=group, ood_group=group)
    whole = comparison.with_collapse(pd.DataFrame(found))
    assert np.isnan(whole.loc[0, "within"])
    assert whole.loc[0, "objectives"] == 0
    shown = tables.with_collapse({"tiny": whole}, {"msp": "M"}).html
    assert "constant, or too few" in shown
    assert "3 networks, 0 objectives" in shown


def test_a_missing_group_is_said(rows):
    with pytest.raises(InputError, match="no near or no far set"):
        comparison.by_seed(rows[~((rows["ood_group"] == "far") & (rows["scorer"] == "knn"))])
    with pytest.raises(InputError, match="no near or no far set"):
        comparison.by_seed(rows[rows["ood_group"] == "near"])
    with pytest.raises(InputError, match="no AUROC of a near or far set"):
        comparison.by_seed(rows[rows["metric"] != "auroc"])


def test_tables_say_what_the_frames_hold(rows):
    names = {"ce": "cross-entropy <b>", "l2": "L2"}
    summary, against = comparison.summary(rows), comparison.against(rows, "ce", "msp")
    shown = tables.ranking(summary, names).html
    assert "cross-entropy &lt;b&gt;" in shown
    assert '90.0 % <span class="quiet">[89.0, 91.0]</span>' in shown
    assert "over 5 seeds." in shown
    assert '<span class="quiet">5 seeds' not in shown, "all have as many"
    assert "p=<wbr>1" in tables.duels(against, "MSP", names).html
    text = tables.guide(summary, against, names).html
    assert "Best mean over near and far: cross-entropy &lt;b&gt; with <code>knn</code>, 90.0 % [89.0, 91.0]." in text
    assert "[89.0, 91.0]. All others are clearly worse (paired by seed, Holm).</li>" in text
    assert "Against the baseline, after Holm's correction: 1 better, 1 worse, 1 not clear" in text
    far = pd.concat([rows, pd.DataFrame(detector("ce", "gen", 0.82, 0.99, layer="logits"))])
    more = tables.guide(comparison.summary(far), comparison.against(far, "ce", "msp"), names).html
    assert "Against the baseline, after Holm's correction: 2 better, 1 worse, 1 not clear" in more
    assert "Best on near sets alone: cross-entropy &lt;b&gt; with <code>knn</code> (86.0); " in more
    assert "on far sets alone: cross-entropy &lt;b&gt; with <code>gen</code> (99.0)." in more
    assert "With nothing trained again" not in text
    own = tables.guide(summary, against, names, have="ce").html
    assert "again, the best scorers on cross-entropy &lt;b&gt;: <code>knn</code> (90.0); <code>msp</code> (" in own
    assert "The first minus the baseline: +" in own
    linked = tables.guide(summary, against, names, about="scorers.html#scorer-").html
    assert 'with <a href="scorers.html#scorer-knn"><code>knn</code></a>' in linked
    fewer = tables.guide(summary.assign(n=[2, *summary["n"][1:]]), against, names).html
    assert "90.0 % [89.0, 91.0] over 2 seeds. All others" in fewer, "where detectors differ in seeds"


def test_a_scorer_on_another_layer_says_so_and_stands_for_nothing_else(rows):
    more = pd.concat([rows, pd.DataFrame(detector("ce", "knn", 0.9, 0.98, layer="features"))])
    summary = comparison.summary(more)
    assert summary["other_layer"].tolist() == ["features", "", "", "", ""]
    text = tables.guide(summary, comparison.against(more, "ce", "knn")).html
    assert "Best mean over near and far: ce with <code>knn</code> (raw features), 94.0 %" in text
    assert "l2 with <code>msp</code> (p=1)" in text
    printed = pd.DataFrame([("knn", "near", 90.0), ("knn", "far", 93.0)], columns=["score", "column", "value"])
    found, other = tables.anchor(printed, "d", summary, "ce").frame.to_dict("records")
    assert found["near_ours"] == pytest.approx(86.0), "the better layer was picked with its test result in sight"
    assert (found["other_layer"], other["other_layer"]) == ("", "features")
    assert other["near_ours"] == pytest.approx(90.0)
    assert other["near_printed"] is None or np.isnan(other["near_printed"])


def test_one_seed_gives_numbers_without_intervals(rows):
    one = rows[rows["seed"] == 0]
    summary = comparison.summary(one)
    assert "inf" not in tables.ranking(summary).html
    assert comparison.against(one, "ce", "msp").empty
    assert "inf" not in tables.guide(summary, comparison.against(one, "ce", "msp")).html


def test_an_anchor_stands_beside_ours(rows):
    printed = pd.DataFrame(
        [("msp", "near", 88.0), ("msp", "far", 91.0), ("vim", "near", 89.0), ("vim", "far", 93.0)],
        columns=["score", "column", "value"],
    )
    tuned = pd.DataFrame(detector("ce", "msp", 0.99, 0.99, params='{"temperature":2.0}'))  # not the default
    shown = tables.anchor(printed, "a <document>", comparison.summary(pd.concat([rows, tuned])), "ce")
    first, second = shown.frame.to_dict("records")
    assert (first["near_printed"], first["near_ours"]) == pytest.approx((88.0, 80.0))
    assert (first["far_printed"], first["far_ours"]) == pytest.approx((91.0, 90.0))
    assert second["near_ours"] is None or np.isnan(second["near_ours"])
    assert "a &lt;document&gt;" in shown.html
    assert tables.anchor(printed, "d", comparison.summary(rows), "not-run").html.count("not run") == 4
    assert "Test accuracy" not in shown.html, "none was measured"


def test_an_anchor_says_how_far_the_orders_agree(rows):
    """Printed knn > msp > max_logit; ours max_logit > knn > msp near: 1 - 6 (1 + 1 + 4) / 24 = -0.5."""
    more = [
        *detector("ce", "max_logit", 0.9, 0.85, layer="logits"),
        *detector("ce", "msp", 0.99, 0.99, layer="raw_logits"),  # another layer, which no order counts
        *auroc("ce", around(0.85, 0.01), metric="accuracy", scorer="", ood_set="", ood_group=""),
    ]
    summary = comparison.summary(pd.concat([rows, pd.DataFrame(more)]))
    values = {"msp": (88.0, 91.0), "knn": (89.0, 92.0), "max_logit": (87.0, 90.0), "vim": (95.0, 95.0)}
    printed = pd.DataFrame(
        [(name, *pair) for name, both in values.items() for pair in zip(("near", "far"), both, strict=True)],
        columns=["score", "column", "value"],
    )
    shown = tables.anchor(printed, "d", summary, "ce").html
    assert "Test accuracy of ours: 85.0 %, mean over seeds (n = 5)." in shown
    near = "knn &gt; msp &gt; max_logit; ours: max_logit &gt; knn &gt; msp; rank correlation −0.50."
    assert f"Order on near sets, printed: {near}" in shown
    far = "knn &gt; msp &gt; max_logit; ours: knn &gt; msp &gt; max_logit; rank correlation +1.00."
    assert f"Order on far sets, printed: {far}" in shown


def run_on(machine, seconds, **hardware):
    given = {"device": "cpu", "name": machine, **hardware}
    return {"hardware": given, "seconds": {"train": 2 * seconds, "train_cpu": seconds}}


def test_objectives_say_accuracy_collapse_and_time_of_the_last_epoch():
    top = {"ood_set": "", "ood_group": "", "scorer": "", "layer": ""}
    decided = {**top, "metric": "accuracy", "split": "test"}
    rows = [
        *auroc("ce", [0.8, 0.9], **decided, epoch=12),
        *auroc("ce", [0.1, 0.2], **decided, epoch=2),
        *auroc("ce", [0.99, 0.99], **{**decided, "split": "train"}),
        *auroc("ce", [0.5, 0.7], **{**top, "metric": "nc1", "split": "train", "layer": "features"}),
        *auroc("ce", [5.0, 7.0], **{**top, "metric": "nc1", "split": "train", "layer": "unit"}),
        *auroc("simclr", [0.6], **decided, protocol="linear_probe"),
    ]
    runs = [
        ("ce", run_on("A", 60.0)),
        ("ce", run_on("A", 120.0)),
        ("ce", run_on("B", 9.0)),
        ("simclr", run_on("B", 300)),
    ]
    found = comparison.objectives(pd.DataFrame(rows), runs).set_index("recipe")
    assert found["n"].to_dict() == {"ce": 2, "simclr": 1}
    assert found.loc["ce", ["accuracy", "nc1"]].tolist() == pytest.approx([0.85, 0.6])
    assert found.loc["ce", "accuracy_sd"] == pytest.approx(0.1 / np.sqrt(2))
    assert np.isnan(found.loc["ce", "linear_probe"])
    assert np.isnan(found.loc["simclr", "accuracy"])
    assert found.loc["simclr", "linear_probe"] == 0.6
    assert np.isnan(found.loc["simclr", "linear_probe_sd"])
    assert found.loc["ce", ["train_seconds", "machine"]].tolist() == [90, "A"]  # of two runs of three
    assert found.loc["simclr", ["train_seconds", "machine"]].tolist() == [300, "B"]

    shown = tables.objectives(found.reset_index(), {"ce": "cross-entropy <b>"})
    (own, other) = [[cell["text"] for cell in line["cells"]] for line in Page(shown.html).body]
    assert own == ["cross-entropy <b>2 seeds", "85.0 ± 7.1", "", "0.600 ± 0.141", "", "", "", "", "1.5A"]
    assert other[:3] == ["simclr1 seed", "", "60.0"]
    assert "5B" in other


def test_objectives_without_runs_have_no_time():
    rows = auroc("ce", [0.8], ood_set="", ood_group="", scorer="", layer="", metric="accuracy", split="test")
    found = comparison.objectives(pd.DataFrame(rows))
    assert np.isnan(found.loc[0, "train_seconds"])
    assert Page(tables.objectives(found).html).body[0]["cells"][-1]["text"] == ""
