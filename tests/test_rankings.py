"""Ranks, regret and signs on made-up rows where the right answer is known."""

import json
import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats as scipy_stats

from ood_core import rankings
from ood_core.checks import InputError
from ood_core.measure import COLUMNS

SETS = {"near-set": "near", "far-a": "far", "far-b": "far"}
PARAMS = ({}, {"centres": "kmeans"}, {"threshold": "cluster"}, *({"centres": "kmeans", "clusters": k} for k in (1, 16)))


def auroc(recipe, seed, ood_set, value, scorer="cluster", group=None, layer="unit", **params):
    text = json.dumps(params, sort_keys=True, separators=(",", ":")) if params else ""
    row = dict.fromkeys(("recipe", *COLUMNS), "") | {"scale": "tiny", "id_set": "digits", "epoch": 12, "n": 9}
    return row | {
        "recipe": recipe,
        "seed": seed,
        "ood_set": ood_set,
        "ood_group": group or SETS[ood_set],
        "split": "test",
        "layer": layer,
        "scorer": scorer,
        "params": text,
        "metric": "auroc",
        "value": value,
    }


def passes(recipe, seed, value):
    row = auroc(recipe, seed, "near-set", value) | {"metric": "image_passes", "ood_set": "", "ood_group": ""}
    return row | {"scorer": "", "layer": "", "split": "train"}


def frame(lines):
    return pd.DataFrame(lines)[["recipe", *COLUMNS]].astype({"value": float, "seed": int, "epoch": int, "n": int})


def made(value, seeds=3, networks=("", "-second")):
    """Rows of every training and combination; `value(training, network, seed, set, params)` is the AUROC."""
    lines = []
    for training in ("ce", "supcon", "simclr"):
        for network in networks:
            for seed in range(seeds):
                for name in SETS:
                    for params in PARAMS:
                        found = value(training, network, seed, name, params)
                        lines.append(auroc(training + network, seed, name, found, **params))
    return frame(lines)


def of(found, metric, protocol=""):
    kept = found[(found["metric"] == metric) & (found["protocol"] == protocol)].sort_values("seed")
    return kept["value"].tolist()


def test_ranks_wins_and_regret_by_hand():
    values = pd.DataFrame([[0.9, 0.8, 0.7], [0.6, 0.9, 0.9], [0.9, 0.8, 0.1]], columns=list("abc"))
    found = rankings.ranks(values)
    table = found.table
    assert table.loc["a", "rank"] == pytest.approx((1 + 3 + 1) / 3)
    assert table.loc["b", "rank"] == pytest.approx((2 + 1.5 + 2) / 3)
    assert table["won"].to_dict() == {"a": pytest.approx(2 / 3), "b": pytest.approx(1 / 6), "c": pytest.approx(1 / 6)}
    assert table.loc["b", "regret"] == pytest.approx((0.1 + 0 + 0.1) / 3)
    assert list(table.index) == ["a", "b", "c"]
    expected = scipy_stats.friedmanchisquare(values["a"], values["b"], values["c"]).pvalue
    assert found.p == pytest.approx(expected)
    assert not found.clear


def test_nemenyi_as_published():
    """Demsar 2006, section 3.2.2: q for 4 classifiers is 2.569, and over 14 sets the difference is 1.25."""
    rng = np.random.default_rng(0)
    found = rankings.ranks(pd.DataFrame(rng.uniform(size=(14, 4))))
    assert found.critical == pytest.approx(1.25, abs=0.005)
    always = pd.DataFrame(np.tile([0.9, 0.5, 0.4, 0.3], (60, 1)) + rng.uniform(size=(60, 4)) * 0.01)
    assert rankings.ranks(always).clear


def test_an_incomplete_table_is_refused():
    with pytest.raises(InputError, match="lacks a combination"):
        rankings.ranks(pd.DataFrame([[0.1, math.nan]]))


def test_noise_alone_has_no_regret_and_a_real_difference_has_its_own():
    """The best of a seed's own noise would regret a lot; chosen on other seeds it is 0 on average."""
    rng = np.random.default_rng(0)
    found, naive = [], []
    for _ in range(100):
        noise = {seed: rng.normal(0, 0.01, size=(8, 20)) for seed in range(3)}
        found.append(np.mean(list(rankings.regrets(noise).values())))
        whole = np.mean(list(noise.values()), axis=0)
        naive.append(whole.max(axis=1).mean() - whole.mean(axis=0).max())
    assert abs(np.mean(found)) < 3 * np.std(found) / math.sqrt(100)
    assert np.mean(naive) > 0.005
    real = np.where(np.arange(8)[:, None] < 5, [[0.9, 0.8]], [[0.7, 0.8]])
    assert rankings.regrets({0: real, 1: real + 0.01, 2: real}) == pytest.approx(dict.fromkeys(range(3), 0.3 / 8))


def test_one_combination_that_wins_everywhere():
    def value(training, network, seed, name, params):
        return 0.9 if training == "ce" and not params else 0.6 + 0.01 * seed

    found = rankings.derived(made(value))
    assert of(found, "share_won") == [1, 1, 1]
    assert of(found, "regret") == [0, 0, 0]
    assert set(found["recipe"]) == {"all"}
    assert set(found["n"]) == {6}  # two networks and three sets
    assert found.columns.tolist() == ["recipe", *COLUMNS]


def test_winners_that_change_with_the_block():
    """SupCon wins on the far sets, cross-entropy near: two thirds of the blocks, and a third of a difference of 0.2."""

    def value(training, network, seed, name, params):
        if params:
            return 0.5
        return {"ce": 0.8 if name == "near-set" else 0.6, "supcon": 0.6 if name == "near-set" else 0.8}.get(
            training, 0.5
        )

    found = rankings.derived(made(value))
    assert of(found, "share_won") == pytest.approx([2 / 3] * 3)
    assert of(found, "share_won_by_means") == pytest.approx([2 / 3] * 3)
    assert of(found, "regret") == pytest.approx([0.2 / 3] * 3)
    assert of(found, "regret_or_rank") == pytest.approx([0.2 / 3] * 3)


def test_a_small_regret_counts_as_two_tenths_of_a_point_without_a_clear_rank():
    found = rankings.derived(made(lambda t, n, s, o, p: 0.9 if t == "ce" and not p else 0.8999))
    assert of(found, "regret") == [0, 0, 0]
    assert of(found, "regret_or_rank") == [0.002] * 3


def test_signs_of_kmeans_and_thresholds():
    """k-means gains half a point on one set of three and loses on another; thresholds lose everywhere."""
    gain = {"near-set": 0.005, "far-a": -0.005, "far-b": 0.001}

    def value(training, network, seed, name, params):
        if "centres" in params:
            return 0.8 + gain[name] * (1 + params.get("clusters", 0))
        return 0.8 - (0.01 + 0.001 * seed if "threshold" in params else 0)

    found = rankings.derived(made(value))
    assert of(found, "kmeans_smaller_sign") == pytest.approx([1 / 3] * 3)
    assert of(found, "kmeans_one_sign") == pytest.approx([2 / 3] * 3)
    assert of(found, "kmeans_mean") == pytest.approx([0.001 / 3] * 3)
    assert of(found, "kmeans_mean", "single") == pytest.approx([0.002 / 3] * 3)
    assert of(found, "kmeans_mean", "two") == pytest.approx([0.017 / 3] * 3)  # digits have eight classes
    assert of(found, "kmeans_mean", "five") == []
    assert of(found, "threshold_smaller_sign") == [0, 0, 0]
    assert of(found, "threshold_one_sign_if_clear") == [1, 1, 1]
    unclear = rankings.signs({0: np.array([0.1, 0.1]), 1: np.array([-0.1, -0.1]), 2: np.array([0.01, 0.02])})
    assert unclear[0]["one_sign"] == 1
    assert unclear[0]["one_sign_if_clear"] == 0.9


def test_the_detector_is_chosen_on_validation_sets_and_judged_on_the_others():
    """On the validation set the default wins for ce, k-means for contrast; on test sets it is the other way round."""
    rows = made(lambda t, n, s, o, p: 0.7 + (0.1 if p else 0) + {"ce": 0.0, "supcon": 0.05, "simclr": 0.2}[t])
    lines = []
    for seed in range(3):
        for training in ("ce", "supcon", "simclr"):
            lines += [
                auroc(training, seed, "shuffled", 0.9 if training == "ce" else 0.1, group="validation"),
                auroc(training, seed, "shuffled", 0.5, group="validation", threshold="cluster"),
                auroc(training, seed, "shuffled", 1.0, group="validation", scorer="cluster_leaky"),
            ]
            lines.append(passes(training, seed, 1000 if training == "ce" else 2000))
        lines.append(auroc("supcon", seed, "shuffled", 0.8, group="validation", centres="kmeans"))
        lines.append(auroc("simclr-second", seed, "shuffled", 0.99, group="validation"))
    rows = pd.concat([rows, frame(lines)], ignore_index=True)
    picked = rankings.chosen(rows).set_index("family")
    assert picked.loc["ce", ["training", "params"]].tolist() == ["ce", ""]
    assert picked.loc["contrast", ["training", "params"]].tolist() == ["supcon", '{"centres":"kmeans"}']
    found = rankings.derived(rows)
    assert of(found, "chosen", "ce") == pytest.approx([0.7] * 3)
    assert of(found, "chosen", "contrast") == pytest.approx([0.85] * 3)
    assert of(found, "chosen_gap") == pytest.approx([-0.15] * 3)
    assert of(found, "passes_ratio") == [0.5] * 3


def test_where_nothing_can_be_chosen_the_columns_are_there():
    rows = made(lambda *_: 0.8)
    some = rankings.chosen(pd.concat([rows, frame(shuffled(0.6))]))
    assert rankings.chosen(rows).columns.tolist() == some.columns.tolist()
    assert rankings.chosen(rows).empty


def test_networks_and_seeds_that_are_not_whole_are_left_out():
    rows = made(lambda t, n, s, o, p: 0.8, networks=("", "-second"))
    missing = rows[~((rows["recipe"] == "supcon-second") | ((rows["recipe"] == "ce") & (rows["seed"] == 2)))]
    found = rankings.derived(missing)
    assert set(found["n"]) == {3}
    assert set(found["seed"]) == {0, 1}
    assert rankings.derived(rows[rows["recipe"] != "simclr"][lambda r: r["recipe"] != "simclr-second"]).empty
    assert rankings.derived(rows.iloc[:0]).empty


def test_one_seed_has_no_regret_to_tell():
    found = rankings.derived(made(lambda t, n, s, o, p: 0.8, seeds=1))
    assert of(found, "regret") == []
    assert len(of(found, "share_won")) == 1


def test_derived_rows_are_not_derived_from():
    rows = made(lambda t, n, s, o, p: 0.8 + (0.1 if t == "ce" else 0))
    found = rankings.derived(rows)
    again = rankings.derived(pd.concat([rows, found], ignore_index=True))
    pd.testing.assert_frame_equal(again, found)


def shuffled(value, recipes=("ce", "supcon", "simclr"), seeds=3, **columns):
    return [
        auroc(name, seed, "shuffled", value, group="validation", **columns) for name in recipes for seed in range(seeds)
    ]


def test_every_seed_has_numbers_of_its_own():
    def value(training, network, seed, name, params):
        wins = training == ("ce", "supcon", "simclr")[seed] and not params
        return 0.9 + 0.001 * len(name) if wins else 0.5 + 0.01 * len(name) + 0.001 * seed * bool(params.get("centres"))

    found = rankings.derived(made(value))
    assert of(found, "share_won") == [1, 1, 1]
    assert max(of(found, "share_won_by_means")) < 0.5
    assert len(set(of(found, "kmeans_mean"))) == 3
    assert set(found["epoch"]) == {12}


def test_only_the_last_epoch_and_unit_features_compete():
    rows = made(lambda *_: 0.8)
    more = pd.concat([rows.assign(value=0.1, epoch=2), rows, rows.assign(layer="features")], ignore_index=True)
    assert set(rankings.cells(more)["value"]) == {0.8}
    assert set(rankings.blocks(more).columns.get_level_values("layer")) == {"unit"}


def test_the_detector_is_chosen_on_the_first_network_from_either_contrast():
    other = shuffled(0.99, ("ce-second",), centres="kmeans")
    picked = rankings.chosen(frame([*shuffled(0.6, ("ce", "supcon")), *shuffled(0.7, ("simclr",)), *other]))
    assert picked.set_index("family")["params"].to_dict() == {"ce": "", "contrast": ""}
    assert picked.set_index("family").loc["contrast", "training"] == "simclr"


def test_what_the_chosen_detector_comes_to_is_that_of_its_seed_and_network():
    rows = made(lambda training, network, seed, name, params: 0.7 + 0.01 * seed + 0.1 * bool(network))
    found = rankings.derived(pd.concat([rows, frame(shuffled(0.6))], ignore_index=True))
    assert of(found, "chosen", "ce") == pytest.approx([0.7, 0.71, 0.72])


def test_a_gain_below_three_tenths_of_a_point_is_no_sign():
    found = rankings.signs({0: np.array([0.005, 0.001, 0.001, -0.005]), 1: np.array([0.003, -0.002, -0.003, 0.003])})
    assert [one["smaller_sign"] for one in found.values()] == [0.25, 0.25]


def test_a_combination_that_some_block_lacks_is_left_out_and_no_block_is():
    extra = frame([auroc("ce", seed, "near-set", 0.99, scorer="ssd") for seed in range(3)])
    found = rankings.derived(pd.concat([made(lambda *_: 0.8), extra], ignore_index=True))
    assert set(found["n"]) == {6}


@pytest.mark.parametrize("seed", [0, 2])
def test_what_one_seed_lacks_is_left_out_of_all(seed):
    rng = np.random.default_rng(0)
    rows = made(lambda *_: rng.uniform())
    one = (rows["recipe"] == "ce") & (rows["params"] == '{"centres":"kmeans"}')
    expected = rankings.derived(rows[~one])
    pd.testing.assert_frame_equal(rankings.derived(rows[~(one & (rows["seed"] == seed))]), expected)
    whole = rankings.derived(rows)
    assert of(whole, "kmeans_mean") != of(expected, "kmeans_mean")
    noted = rows["ood_set"] == "far-a"
    found = rankings.derived(rows[~(noted & (rows["seed"] == seed))])
    pd.testing.assert_frame_equal(found, rankings.derived(rows[~noted]))


def test_ties_and_pairs_have_no_test_of_ranks():
    assert math.isnan(rankings.ranks(pd.DataFrame([[0.9, 0.8], [0.7, 0.6]])).p)
    assert math.isnan(rankings.ranks(pd.DataFrame([[0.5] * 3, [0.6] * 3])).p)


def test_without_partners_there_are_no_signs():
    rows = made(lambda *_: 0.8)
    found = rankings.derived(rows[~rows["params"].str.contains("threshold")])
    assert of(found, "threshold_mean") == []
    assert len(of(found, "kmeans_mean")) == 3


def on_other_id_set(value, seeds=3):
    """Rows of two networks that learned the other ID set; `value(training, network, seed, set, params)`."""
    found = made(value, seeds, ("-c100", "-c100-second"))
    leaky = [
        auroc(
            f"{training}{network}", seed, name, value(training, network, seed, name, params), "cluster_leaky", **params
        )
        for training in ("ce", "supcon", "simclr")
        for network in ("-c100", "-c100-second")
        for seed in range(seeds)
        for name in SETS
        for params in ({}, {"distance": "cosine"})
    ]
    cosine = [
        auroc(f"{training}{network}", seed, name, value(training, network, seed, name, params), **params)
        for training in ("ce", "supcon", "simclr")
        for network in ("-c100", "-c100-second")
        for seed in range(seeds)
        for name in SETS
        for params in ({"distance": "cosine"}, {"distance": "cosine", "threshold": "cluster"})
    ]
    return pd.concat([found, frame(leaky), frame(cosine)]).assign(id_set="cifar100")


def test_cosine_on_cross_entropy_against_the_best_of_contrast():
    def value(training, network, seed, name, params):
        if training == "ce":
            return (0.8 if network == "-c100" else 0.7) + 0.01 * seed if params == {"distance": "cosine"} else 0.1
        if params.get("threshold") == "cluster":
            return 0.99  # not one threshold for all: left out
        best = {"supcon": {"centres": "kmeans"}, "simclr": {}}[training]
        return (0.75 if training == "supcon" else 0.6) if params == best else 0.5

    rows = on_other_id_set(value)
    gaps = rankings.cosine_gaps(rows)
    assert gaps[1] == pytest.approx({"c100": 0.81 - 0.75, "c100-second": 0.71 - 0.75})
    found = rankings.derived(rows)
    assert of(found, "cosine_least") == pytest.approx([-0.05, -0.04, -0.03])
    assert of(found, "cosine_majority") == pytest.approx([0.05, 0.06, 0.07])
    # class means alone have a leaky form: the best of contrast is SimCLR with the Euclidean distance there
    assert of(found, "cosine_least", "leaky") == pytest.approx([0.1, 0.11, 0.12])
    assert set(found["id_set"]) == {"cifar100"}


def test_the_best_of_contrast_is_one_detector_for_all_seeds():
    def value(training, network, seed, name, params):
        if training == "ce":
            return 0.8
        return {0: 0.9, 1: 0.6, 2: 0.6}[seed] if training == "supcon" else 0.75

    gaps = rankings.cosine_gaps(on_other_id_set(value))
    assert [gap["c100"] for gap in gaps.values()] == pytest.approx([0.05, 0.05, 0.05])


def test_two_id_sets_do_not_mix():
    def value(training, network, seed, name, params):
        return 0.5 + 0.1 * len(training) + 0.01 * seed + 0.001 * len(params)

    own, other = made(value), on_other_id_set(value)
    both = rankings.derived(pd.concat([own, other], ignore_index=True))
    alone = pd.concat([rankings.derived(own), rankings.derived(other)], ignore_index=True)
    pd.testing.assert_frame_equal(both, alone)
    assert not set(rankings.derived(own)["metric"]) & {"cosine_least", "cosine_majority"}
