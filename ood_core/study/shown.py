"""What a page draws of its runs, whether they were made just now or recorded: rows, scores, and both side by side."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

import pandas as pd
from numpy.typing import NDArray

from .. import rankings
from ..checks import InputError
from ..comparison import final
from ..measure import embedding, ood_sets, parse_score_name
from ..recipes import Recipe

Scores = dict[tuple[str, str, str, str], NDArray[Any]]  # (scorer, layer, params, set) -> (N,); "" is ID test


class Shown(ABC):
    """Rows and scores of runs; what follows from them is the same wherever they come from."""

    @property
    @abstractmethod
    def scale(self) -> str:
        """tiny, small or paper."""

    @property
    @abstractmethod
    def where(self) -> str:
        """The ID set and the scale, as a sentence for the beginning of a caption."""

    @property
    @abstractmethod
    def rows(self) -> pd.DataFrame:
        """Tidy rows of this page's recipes, `recipe` first."""

    @abstractmethod
    def scores(self, recipe: str, seed: int = 0) -> Scores:
        """Scores of one run by (scorer, layer, params, set), on the sets of this page's recipe; "" is ID test."""

    @property
    def final(self) -> pd.DataFrame:
        """The rows of each recipe's last epoch."""
        return final(self.rows)

    def plane(self, recipe: str) -> pd.DataFrame:
        """Some images of each set in the plane of two principal axes of unit ID test features: set, x, y, label.

        Of seed 0. The set is "" for ID test images; labels of OOD images are -1. Needs the measure `embedding`.
        """
        scores = self.scores(recipe)
        sets = ["", *dict.fromkeys(self.rows.loc[self.rows["ood_set"] != "", "ood_set"])]
        x, y, label = ([parse_score_name(embedding.stored(of, name)) for name in sets] for of in ("x", "y", "label"))
        frames = [
            pd.DataFrame({"set": name, "x": scores[x[i]], "y": scores[y[i]]}).assign(label=scores.get(label[i], -1))
            for i, name in enumerate(sets)
            if x[i] in scores
        ]
        return pd.concat(frames, ignore_index=True).astype({"label": int})

    def by_set(self, columns: Mapping[str, tuple[str, str, str, str]], seed: int = 0, sign: int = 1) -> dict[str, Any]:
        """Scores of one seed by column and set, and the AUROCs that were measured of them.

        Args:
            columns: title -> recipe, scorer, layer, params.
            sign: -1 turns scores back into what they are minus of, such as entropies.
        Returns:
            `scores` and `aurocs`, as `plots.score_histograms` takes them.
        Raises:
            InputError: scores that are not kept.
        """
        scores: dict[str, dict[str, NDArray[Any]]] = {}
        aurocs: dict[tuple[str, str], float] = {}
        last = self.final
        measured = last[(last["metric"] == "auroc") & (last["seed"] == seed)]
        for title, (recipe, *of) in columns.items():
            kept = self.scores(recipe, seed)
            scores[title] = {name: sign * values for (*known, name), values in kept.items() if known == of}
            if not scores[title]:
                have = ", ".join(sorted({"/".join(known) for (*known, _) in kept}))
                raise InputError(
                    f"{recipe} has no scores of {'/'.join(of)}, expected one of: {have}.\nPick one of these."
                )
            own = measured[measured["recipe"] == recipe]
            own = own[(own[["scorer", "layer", "params"]] == of).all(axis=1)]
            aurocs |= {(title, name): value for name, value in zip(own["ood_set"], own["value"], strict=True)}
        return {"scores": scores, "aurocs": aurocs}

    @property
    def ranked(self) -> pd.DataFrame:
        """Rows of the runs that are ranked together: of one ID set, networks with every training and common seeds."""
        rows = self.rows
        return rankings.complete(rows[rows["id_set"] != rankings.OTHER_ID])

    @property
    def blocks(self) -> pd.DataFrame:
        """AUROC by network and OOD set (rows) and combination (columns), means over seeds; see `rankings.blocks`."""
        return rankings.blocks(self.ranked).dropna(axis=1)

    @property
    def ranks(self) -> rankings.Ranks:
        """The combinations of `blocks`, ranked in each."""
        return rankings.ranks(self.blocks)

    @property
    def chosen(self) -> pd.DataFrame:
        """Detectors chosen on validation OOD sets; see `rankings.chosen`."""
        return rankings.chosen(self.ranked)


def on_own_sets(scores: Mapping[str, NDArray[Any]], recipe: Recipe) -> Scores:
    """Stored scores by their four parts, on ID test images and a recipe's sets; pages that share a run add others."""
    sets = {"", *(name for name, _ in ood_sets(recipe))}
    found = {parse_score_name(name): values for name, values in scores.items()}
    return {key: values for key, values in found.items() if key[3] in sets}
