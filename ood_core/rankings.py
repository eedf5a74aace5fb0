"""Which combination of training, clusters, distance and threshold wins where: rank tables, and rows for claims.

Rows of single runs do not say who wins: that takes all runs of a seed. `derived` computes such numbers for each seed
and writes them as rows of the recipe `ALL`. A *block* is a network and an OOD set, a *combination* a training with a
scorer, its layer and parameters. Recipes are named `training` or `training-network`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats as scipy_stats

from . import data, stats
from .checks import InputError
from .comparison import GROUPS, final
from .measure.clusters import PER_CLASS
from .recipes import ALL

COMBINATION = ["training", "scorer", "layer", "params"]
RANKED = ("cluster", "mahalanobis", "ssd")
LEAKY = "cluster_leaky"
CLUSTERS = {"single": 0, **PER_CLASS}  # k-means clusters for each class, at least one
CONTRASTIVE = ("supcon", "simclr")
OTHER_ID = "cifar100"  # networks that learned it are compared among themselves
RELEVANT = 0.003  # a difference of AUROC that counts as a sign
IRRELEVANT = 0.002  # a regret that counts as none
ONE_SIDED = 0.9

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Ranks:
    """Combinations ranked in every block, 1 the best.

    Attributes:
        table: one row a combination, best first: mean rank, share of blocks won, mean AUROC, regret against the best
            of each block.
        p: of Friedman's test that all combinations are equal; NaN for fewer than three combinations or two blocks.
        critical: least difference of mean ranks that Nemenyi's test calls clear at 5 %.
    """

    table: pd.DataFrame
    p: float
    critical: float

    @property
    def clear(self) -> bool:
        """Whether the best mean rank is clearly better than all others."""
        best = np.sort(self.table["rank"].to_numpy(dtype=float))
        return bool(len(best) > 1 and best[1] - best[0] > self.critical)


def ranks(values: pd.DataFrame) -> Ranks:
    """Rank the columns (combinations) of a table in each of its rows (blocks); larger is better, ties share ranks.

    Friedman's statistic, and Nemenyi's critical difference q sqrt(K (K + 1) / (6 B)), q = the 95 % point of the
    studentised range of K means, divided by sqrt(2).

    Raises:
        InputError: an empty or incomplete table.
    Source: Demsar 2006, JMLR 7, section 3.2.2.
    """
    if values.empty or values.isna().any(axis=None):
        raise InputError("a block lacks a combination, or there is none, expected a number for each.\nScore all alike.")
    numbers = values.to_numpy(dtype=float)
    ranked = scipy_stats.rankdata(-numbers, axis=1)
    count, blocks = numbers.shape[1], len(numbers)
    regret = numbers.max(axis=1, keepdims=True) - numbers
    table = pd.DataFrame(
        {
            "rank": ranked.mean(axis=0),
            "won": _won(numbers).mean(axis=0),
            "mean": numbers.mean(axis=0),
            "regret": regret.mean(axis=0),
        },
        index=values.columns,
    )
    enough = count >= 3 and blocks >= 2 and bool(np.ptp(numbers, axis=1).any())
    p = float(scipy_stats.friedmanchisquare(*numbers.T).pvalue) if enough else math.nan
    point = float(scipy_stats.studentized_range.ppf(0.95, count, np.inf)) if count > 1 else math.inf
    critical = point / math.sqrt(2) * math.sqrt(count * (count + 1) / (6 * blocks))
    return Ranks(table.sort_values("rank", kind="stable"), p, critical)


def cells(rows: pd.DataFrame, groups: tuple[str, ...] = GROUPS) -> pd.DataFrame:
    """AUROC of every combination at the last epoch: seed, training, network, scorer, layer, params, ood_set, value."""
    last = final(rows)
    found = last[(last["metric"] == "auroc") & last["ood_group"].isin(groups) & (last["recipe"] != ALL)]
    return _named(found)[["seed", "network", "ood_set", *COMBINATION, "value"]]


def blocks(rows: pd.DataFrame, seed: int | None = None) -> pd.DataFrame:
    """Blocks x combinations of `RANKED` on unit features: AUROC of one seed, or the mean over seeds."""
    found = cells(rows)
    found = found[found["scorer"].isin(RANKED) & (found["layer"] == "unit")]
    if seed is not None:
        found = found[found["seed"] == seed]
    return found.pivot_table(index=["network", "ood_set"], columns=COMBINATION, values="value", aggfunc="mean")


def chosen(rows: pd.DataFrame) -> pd.DataFrame:
    """The detector of each family with the largest mean AUROC on validation OOD sets, which are tested nowhere.

    Families are cross-entropy and contrast, both on the first network; detectors that read test labels are left out.

    Returns:
        one row a family: the columns of `COMBINATION`, `validation`, `family`; without validation sets, none.
    """
    found = cells(rows, ("validation",))
    found = found[(found["network"] == "") & (found["scorer"] != LEAKY)]
    means = found.groupby(COMBINATION)["value"].mean().rename("validation").reset_index()
    picked = []
    for family, trainings in (("ce", ("ce",)), ("contrast", CONTRASTIVE)):
        own = means[means["training"].isin(trainings)]
        if len(own):
            picked.append(own.loc[[own["validation"].idxmax()]].assign(family=family))
    columns = [*COMBINATION, "validation", "family"]
    return pd.concat(picked, ignore_index=True) if picked else pd.DataFrame(columns=columns)


def complete(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows of networks of which every training is there, and of seeds that all of these have."""
    named = _named(rows[rows["recipe"] != ALL])
    have = named.groupby("network")["training"].agg(set)
    networks = [name for name, trainings in have.items() if {"ce", *CONTRASTIVE} <= trainings]
    own = rows.loc[named.index[named["network"].isin(networks)]]
    seeds = own.groupby("recipe")["seed"].agg(set)
    return own[own["seed"].isin(set.intersection(*seeds))] if len(own) else own


def derived(rows: pd.DataFrame) -> pd.DataFrame:
    """Numbers that take all runs of a seed, as tidy rows of the recipe `ALL`; none where a training is missing.

    share_won: largest share of blocks that one combination wins. share_won_by_means: the same on means over seeds.
    regret: mean over blocks of what the best fixed combination loses against the best of each block, both chosen on
    the *other* seeds, so that noise wins nothing. regret_or_rank: at least 0.002 where the best mean rank is not
    clearly better than all others.
    kmeans_* (k-means minus class means, K as many as classes; under a protocol of `CLUSTERS`, as many as that says) and
    threshold_* (a threshold a cluster, minus a global one):
    smaller_sign, the smaller of the shares of cells that gain or lose 0.003 or more; one_sign, the share of the more
    frequent sign; one_sign_if_clear, at most 0.9 where the mean difference over cells is not clear over seeds; mean.
    chosen: protocol ce or contrast, mean AUROC over test sets of the detector in `chosen`; chosen_gap: ce minus
    contrast; passes_ratio: image passes of training, ce over contrast.
    All of these are of the ID set that `ce` learned. Of networks that learned `OTHER_ID`: cosine_least and
    cosine_majority, see `cosine_gaps`; under the protocol leaky, with scores that read the labels of ID test images.
    """
    own = rows["id_set"] == OTHER_ID
    return pd.concat([_of_id_set(rows[~own]), _of_other_id_set(rows[own])], ignore_index=True)


def _of_id_set(rows: pd.DataFrame) -> pd.DataFrame:
    """What `derived` makes of one ID set."""
    common = complete(rows)
    if common.empty:
        return rows.iloc[:0]
    seeds = sorted(int(seed) for seed in common["seed"].unique())
    tables = _tables(common, seeds)
    whole = blocks(common).loc[tables[seeds[0]].index, tables[seeds[0]].columns]
    numbers: dict[int, dict[tuple[str, str], float]] = {seed: {} for seed in seeds}
    fixed = ranks(whole)
    for seed, table in tables.items():
        numbers[seed]["share_won", ""] = float(ranks(table).table["won"].max())
        numbers[seed]["share_won_by_means", ""] = float(fixed.table["won"].max())
    if len(seeds) > 1:
        for seed, lost in regrets({seed: table.to_numpy(dtype=float) for seed, table in tables.items()}).items():
            numbers[seed]["regret", ""] = lost
            numbers[seed]["regret_or_rank", ""] = lost if fixed.clear else max(lost, IRRELEVANT)
    gains = {("kmeans", ""): _kmeans(tables, 0), ("threshold", ""): _threshold(tables)}
    gains |= {("kmeans", name): _kmeans(tables, count) for name, count in _counts(common).items()}
    for (name, protocol), by_seed in gains.items():
        for seed, found in signs(by_seed).items():
            numbers[seed] |= {(f"{name}_{key}", protocol): value for key, value in found.items()}
    for seed, picked in _chosen(common, seeds).items():
        numbers[seed] |= picked
    return _tidy(common, numbers, len(whole))


def _tables(rows: pd.DataFrame, seeds: list[int]) -> dict[int, pd.DataFrame]:
    """`blocks` of each seed: those that all seeds have, and the combinations that all of these blocks have."""
    found = pd.concat({seed: blocks(rows, seed) for seed in seeds}, names=["seed"])
    shared = found.groupby(["network", "ood_set"]).filter(lambda block: len(block) == len(seeds)).dropna(axis=1)
    return {seed: shared.loc[[seed]].droplevel("seed") for seed in seeds}


def _of_other_id_set(rows: pd.DataFrame) -> pd.DataFrame:
    common = complete(rows)
    if common.empty:
        return rows.iloc[:0]
    numbers: dict[int, dict[tuple[str, str], float]] = {int(seed): {} for seed in sorted(common["seed"].unique())}
    for protocol, scored in (("", RANKED), ("leaky", (LEAKY,))):
        gaps = cosine_gaps(common, scored)
        for seed, found in gaps.items():
            ordered = np.sort(list(found.values()))
            numbers[seed]["cosine_least", protocol] = float(ordered[0])
            numbers[seed]["cosine_majority", protocol] = float(ordered[len(ordered) // 2])
    return _tidy(common, numbers, len(common["recipe"].unique()))


def _tidy(rows: pd.DataFrame, numbers: dict[int, dict[tuple[str, str], float]], count: int) -> pd.DataFrame:
    """Numbers by seed, metric and protocol as rows of the recipe `ALL`."""
    lines = [
        {
            **dict.fromkeys(rows.columns, ""),
            **rows.iloc[0][["scale", "id_set", "epoch"]].to_dict(),
            "recipe": ALL,
            "seed": seed,
            "split": "test",
            "metric": metric,
            "protocol": protocol,
            "value": value,
            "n": count,
        }
        for seed, found in numbers.items()
        for (metric, protocol), value in found.items()
    ]
    return pd.DataFrame(lines, columns=rows.columns).astype(rows.dtypes.to_dict())


def cosine_gaps(rows: pd.DataFrame, scored: Collection[str] = RANKED) -> dict[int, dict[str, float]]:
    """By seed and network: cross-entropy with the cosine to class means minus the best detector of contrast.

    Both are mean AUROCs over OOD sets, on unit features with one threshold for all clusters. The best is picked for
    each network by its mean over seeds, with the test result in sight. `cosine_least` is the least gap of a seed, and
    `cosine_majority` the one that more than half of the networks do not exceed: where it is below zero, contrast is
    ahead on a majority.

    Args:
        rows: of one ID set, every training on every network.
        scored: scorers to take.
    """
    found = cells(rows)
    found = found[found["scorer"].isin(scored) & (found["layer"] == "unit")]
    means = found.groupby(["network", "seed", *COMBINATION])["value"].mean().reset_index()
    asked = pd.DataFrame([settings(params) for params in means["params"]], index=means.index)
    means = means[asked["threshold"] == "global"]
    centres = (asked["distance"] == "cosine") & (asked["centres"] == "class_means")
    ours = means[(means["training"] == "ce") & means["scorer"].str.startswith("cluster") & centres[means.index]]
    gaps: dict[int, dict[str, float]] = {int(seed): {} for seed in sorted(means["seed"].unique())}
    for network, own in ours.groupby("network"):
        contrast = means[means["training"].isin(CONTRASTIVE) & (means["network"] == network)]
        by_seed = contrast.pivot_table(index="seed", columns=COMBINATION, values="value")
        best = by_seed.iloc[:, int(by_seed.mean().argmax())]
        for seed, value in zip(own["seed"], own["value"], strict=True):
            gaps[int(seed)][str(network)] = float(value - best[seed])
    return gaps


def regrets(values: dict[int, Array]) -> dict[int, float]:
    """By seed, what the best fixed column loses against the best of each row, both chosen on the mean of other seeds.

    Args:
        values: seed -> (blocks, combinations); at least two seeds.
    """
    found = {}
    for seed, table in values.items():
        others = np.mean([other for key, other in values.items() if key != seed], axis=0)
        best = table[np.arange(len(table)), others.argmax(axis=1)]
        found[seed] = float((best - table[:, others.mean(axis=0).argmax()]).mean())
    return found


def signs(gains: dict[int, Array]) -> dict[int, dict[str, float]]:
    """By seed: how often paired differences (cells,) gain and lose; see `derived` for the names."""
    means = np.array([values.mean() for values in gains.values()])
    interval = stats.t_interval(means) if len(means) > 1 else None
    clear = interval is not None and (interval.low > 0 or interval.high < 0)
    found = {}
    for seed, values in gains.items():
        up, down = float((values >= RELEVANT).mean()), float((values <= -RELEVANT).mean())
        one = float(max((values > 0).mean(), (values < 0).mean()))
        found[seed] = {
            "smaller_sign": min(up, down),
            "one_sign": one,
            "one_sign_if_clear": one if clear else min(one, ONE_SIDED),
            "mean": float(values.mean()),
        }
    return found


def settings(params: str) -> dict[str, object]:
    """Distance, centres, clusters and threshold of a `cluster` scorer, defaults filled in."""
    defaults = {"distance": "euclidean", "centres": "class_means", "clusters": 0, "threshold": "global"}
    given = json.loads(params) if params else {}
    return defaults | {name: value for name, value in given.items() if name in defaults}


def _counts(rows: pd.DataFrame) -> dict[str, int]:
    """Clusters by protocol; none where the classes of the ID set are not registered."""
    name = rows["id_set"].iloc[0]
    if name not in data.names():
        return {}
    classes = len(data.entry(name)["classes"])
    return {protocol: max(1, int(classes * share)) for protocol, share in CLUSTERS.items()}


def _kmeans(tables: dict[int, pd.DataFrame], clusters: int) -> dict[int, Array]:
    """k-means (0: as many clusters as classes) minus class means: same training, distance and global threshold."""
    what = {"centres": "kmeans", "clusters": clusters, "threshold": "global"}
    return _gains(tables, what, {"centres": "class_means", "clusters": 0})


def _threshold(tables: dict[int, pd.DataFrame]) -> dict[int, Array]:
    """A threshold a cluster minus a global one: same training, distance and centres."""
    return _gains(tables, {"threshold": "cluster"}, {"threshold": "global"})


def _gains(tables: dict[int, pd.DataFrame], what: dict[str, object], other: dict[str, object]) -> dict[int, Array]:
    """Differences over cells and blocks between columns with the settings `what` and their partners with `other`."""
    names = [name for name in next(iter(tables.values())).columns if name[1] == "cluster"]
    columns = {(name[0], json.dumps(settings(name[3]), sort_keys=True)): name for name in names}
    pairs = []
    for (training, text), name in columns.items():
        asked = json.loads(text)
        partner = columns.get((training, json.dumps(asked | other, sort_keys=True)))
        if what.items() <= asked.items() and partner is not None:
            pairs.append((name, partner))
    if not pairs:
        return {}
    return {
        seed: np.concatenate([(table[a] - table[b]).to_numpy(dtype=float) for a, b in pairs])
        for seed, table in tables.items()
    }


def _chosen(rows: pd.DataFrame, seeds: list[int]) -> dict[int, dict[tuple[str, str], float]]:
    """Mean AUROC over test sets of the chosen detectors, their gap, and the ratio of training passes."""
    picked = chosen(rows)
    if len(picked) < 2:
        return {}
    tested = cells(rows)
    passes = rows[(rows["metric"] == "image_passes") & (rows["epoch"] > 0)].set_index(["recipe", "seed"])["value"]
    found: dict[int, dict[tuple[str, str], float]] = {}
    for seed in seeds:
        means, cost = {}, {}
        for line in picked.itertuples():
            same = tested[(tested["network"] == "") & (tested["seed"] == seed)]
            for name in COMBINATION:
                same = same[same[name] == getattr(line, name)]
            means[line.family] = float(same["value"].mean())
            cost[line.family] = float(passes.get((line.training, seed), math.nan))
        found[seed] = {("chosen", str(family)): value for family, value in means.items()}
        found[seed]["chosen_gap", ""] = means["ce"] - means["contrast"]
        found[seed]["passes_ratio", ""] = cost["ce"] / cost["contrast"]
    return found


def _named(rows: pd.DataFrame) -> pd.DataFrame:
    """With the columns `training` and `network` that the recipe's name is made of."""
    parts = [str(name).partition("-") for name in rows["recipe"]]
    return rows.assign(training=[part[0] for part in parts], network=[part[2] for part in parts])


def _won(numbers: Array) -> Array:
    """Share of each block that each combination wins; equals share a block."""
    best = numbers == numbers.max(axis=1, keepdims=True)
    share: Array = best / best.sum(axis=1, keepdims=True)
    return share
