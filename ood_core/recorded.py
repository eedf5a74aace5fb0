"""Recorded runs: what git keeps of a run, as small tables with provenance.

    book/results/<scale>/index.csv                      key, recipe, seed and SHA-256 of run.json of every recorded run
    book/results/<scale>/<train key>/run.json           recipe, seed, digests, versions, hardware, seconds, checksums
                                     rows.csv           tidy rows, with key and identity of what made each
                                     history.csv        one row an epoch
                                     model.safetensors  the weights, where they are small
                                     scores.npz         of seed 0: what figures show, and metrics are computed from

A run is recorded under its train key, so pages share it, and rows are joined with page and recipe when they are read.
One with weights can go back into a store, where what was asked for since is measured on it without training. A run
takes up to three megabytes. Scores add up to three to one run of a recipe: those of ID test and OOD images by the
scorers that a recipe of any page follows through training, and what measures leave for pictures.

Written as the store is, see `files`; one process at a time writes, since all runs of a scale share an index.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from math import isnan
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import safetensors.torch
from torch import Tensor

from . import files, metrics, paths
from .checks import ArtifactError, InputError
from .measure import COLUMNS, CORRECT, SLOT, embedding, parse_score_name, score_name, slots
from .recipes import Recipe
from .store import Kept, Run, Scores, Store, unpacked

WEIGHT_BYTES = 2 * 2**20  # weights up to this size are recorded, so that a later scorer needs no training
SCORED = 0  # the seed whose scores are recorded
# Rounding a score to float32 makes ties, each of which moves a metric by at most one image: a scorer whose metrics move
# by this much or more is recorded in float64. One image of 10,000 at a threshold is just that much.
ROUNDING = 1e-4
LEFT = ("hidden_gap", "hidden_bound", embedding.NAME)  # what measures leave among the scores, for pictures
RESTORED = "restored"  # in `run.json` of a stored run: it was recorded before, and its scores are rounded
INDEX = ("key", "recipe", "seed", "sha256")
SAID_ONCE = ("run", "scale", "seed", "id_set")  # columns that run.json says for all rows


@dataclass(frozen=True)
class RecordedRun(Kept):
    """One recorded run."""

    mend = "Check it out again, or record the run again."

    def rows(self) -> pd.DataFrame:
        """Tidy rows in the columns of the store, with `key` and `identity` of the measurement that made each."""
        recipe = self.info["recipe"]
        said = {"run": self.key, "scale": recipe["scale"], "seed": self.info["seed"]}
        frame = self._table("rows.csv").assign(**said, id_set=recipe["data"]["id_set"])
        return frame[[*COLUMNS, "key", "identity"]].astype({"epoch": int, "n": int, "value": float})

    def history(self) -> pd.DataFrame:
        """epoch, loss, accuracy, lr: one row an epoch."""
        return self._table("history.csv").astype(float).astype({"epoch": int})

    def _table(self, name: str) -> pd.DataFrame:
        # as text: pandas' own reading of floats need not give the same last bit in every version
        return pd.read_csv(io.BytesIO(self.read(name)), dtype=str, keep_default_na=False)

    def weights(self) -> dict[str, Tensor] | None:
        """Tensors of the trained network, or None where they were too large to record."""
        name = "model.safetensors"
        return safetensors.torch.load(self.read(name)) if name in self.info["files"] else None

    def scores(self) -> Scores | None:
        """Scores by `scorer|layer|params|set` as stored, in float64, or None where they are not recorded."""
        name = "scores.npz"
        if name not in self.info["files"]:
            return None
        return {name: values.astype(np.float64) for name, values in unpacked(self.read(name)).items()}


def folder(scale: str) -> Path:
    """Where runs of a scale are recorded."""
    return paths.repository() / "book" / "results" / scale


def get(scale: str, key: str) -> RecordedRun | None:
    """A recorded run, or None.

    Raises:
        ArtifactError: its `run.json` is damaged or of another key.
    """
    return RecordedRun.load(folder(scale) / key)


def every(scale: str) -> Iterator[RecordedRun]:
    """All recorded runs of a scale, in the order of their keys."""
    for place in folders(scale):
        found = RecordedRun.load(place)
        if found is not None:
            yield found


def folders(scale: str) -> list[Path]:
    """Folders of all recorded runs of a scale, damaged ones included, in the order of their keys."""
    return files.folders(folder(scale), "run.json")


def index(scale: str) -> dict[str, dict[str, str]]:
    """What `index.csv` of a scale lists: key -> recipe, seed, sha256; empty where nothing has been recorded.

    Raises:
        ArtifactError: it is not a table of these columns with a line a key.
    """
    path = folder(scale) / "index.csv"
    try:
        lines = [*csv.reader(io.StringIO(path.read_text(encoding="utf-8")))]
    except FileNotFoundError:
        return {}
    found = {line[0]: dict(zip(INDEX[1:], line[1:], strict=False)) for line in lines[1:] if line}
    if lines[:1] != [list(INDEX)] or any(len(line) != len(INDEX) for line in lines) or len(found) < len(lines) - 1:
        raise ArtifactError(
            f"{path} is damaged, expected the columns {', '.join(INDEX)} and one line a run.\nCheck it out again."
        )
    return found


def put(run: Run, followed: Collection[tuple[str, str, str]] = ()) -> RecordedRun:
    """Record a stored run and list it; an older record of it is replaced. Rows that no recipe asks for are kept too.

    Args:
        followed: scorer, layer and parameters of the scores to record, where the seed is `SCORED`.
    Raises:
        InputError: the disk is full or not writable; what could not be written stays as it was.
        ArtifactError: the index or the stored run is damaged.
    """
    contents = _contents(run, followed)
    info = json.loads(contents["run.json"])
    line = {"recipe": info["recipe"]["id"], "seed": str(info["seed"]), "sha256": _digest(contents["run.json"])}
    key, scale = info["key"], info["recipe"]["scale"]
    place = folder(scale)
    # Beside the results and not among them: pages are made anew when anything there changes.
    with files.locked(place.parent.with_name(".recording.lock"), "Run this where the repository can be written to."):
        listed = index(scale)  # refused before anything is written, if it is damaged
        try:
            files.put(place / key, contents)
            # Only this run's line: whatever else differs from the index is for `verify` to tell.
            files.write(place / "index.csv", _listing(listed | {key: line}))
        except OSError as error:
            raise InputError(
                f"run {key} could not be recorded in {place} ({error.strerror}), expected a writable disk with "
                f"{sum(map(len, contents.values())) / 1e6:.1f} MB free.\nMake room and record it again."
            ) from error
    return RecordedRun(place / key, info)


def _contents(run: Run, followed: Collection[tuple[str, str, str]]) -> dict[str, bytes]:
    """The files of a record, `run.json` with the checksums of the others."""
    rows, weights = run.rows().drop(columns=list(SAID_ONCE)), run.read("model.safetensors")
    found = {
        "rows.csv": rows.to_csv(index=False, lineterminator="\n", na_rep="nan").encode(),
        "history.csv": run.history().to_csv(index=False, lineterminator="\n", na_rep="nan").encode(),
    }
    if len(weights) <= WEIGHT_BYTES:
        found["model.safetensors"] = weights
    if int(run.info["seed"]) == SCORED:
        found["scores.npz"] = _packed(run.scores(), followed)
    now = run.load(run.folder)
    if now is not None and now.info != run.info:  # measured further meanwhile: what was read need not be of one moment
        return _contents(now, followed)
    left_out = ("files", "seal", "early_epochs", "format", RESTORED)
    info = {name: value for name, value in run.info.items() if name not in left_out}
    info["files"] = {name: _digest(content) for name, content in found.items()}
    return {**found, "run.json": (json.dumps(info, indent=1, sort_keys=True) + "\n").encode()}


def restore(scale: str, key: str, store: Store) -> Run | None:
    """The recorded run as a stored one, to be measured further and never trained; None where it cannot be.

    Its rows, history and weights are the recorded ones. Of its scores there are those recorded with seed 0, rounded as
    they are there, and its weights at earlier epochs are gone: what is asked for at these is not measured. A run that
    the store has is left alone.

    Raises:
        InputError: the disk is full or not writable.
        ArtifactError: the record is damaged.
    """
    with store.lock(key):
        found = get(scale, key)
        weights = None if found is None else found.weights()
        if found is None or weights is None or store.get(key) is not None:
            return None
        return store.put(
            {**found.info, RESTORED: True}, found.rows(), found.history(), found.scores() or {}, weights, {}
        )


def _listing(listed: Mapping[str, Mapping[str, str]]) -> bytes:
    """`index.csv`, which `index` reads."""
    text = io.StringIO()
    lines = ((key, *(listed[key][column] for column in INDEX[1:])) for key in sorted(listed))
    csv.writer(text, lineterminator="\n").writerows([INDEX, *lines])
    return text.getvalue().encode()


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _packed(scores: Scores, followed: Collection[tuple[str, str, str]]) -> bytes:
    """Scores of some scorers and what is left for pictures, in float32 unless that would move a metric."""
    kept: dict[str, Any] = {}
    for score in {parse_score_name(name)[:3]: None for name in scores}:
        if score not in followed and score[0] != parse_score_name(CORRECT)[0] and score[0] not in LEFT:
            continue
        own = {name: values for name, values in scores.items() if parse_score_name(name)[:3] == score}
        small: dict[str, Any] = {name: values.astype(np.float32) for name, values in own.items()}
        truth = {CORRECT: scores[CORRECT]} if CORRECT in scores else {}
        exact, near = evaluated(own | truth), evaluated(small | truth)
        kept |= small if all(agree(near[which], value, ROUNDING) for which, value in exact.items()) else own
    packed = io.BytesIO()
    np.savez_compressed(packed, allow_pickle=False, **kept)
    return packed.getvalue()


def evaluated(scores: Scores) -> dict[tuple[str, str, str, str, str], float]:
    """Every OOD metric that scores give, by scorer, layer, params, OOD set and metric."""
    correct = scores[CORRECT] > 0 if CORRECT in scores else None
    found: dict[tuple[str, str, str, str, str], float] = {}
    for name, ood in scores.items():
        scorer, layer, params, ood_set = parse_score_name(name)
        if ood_set:
            again = metrics.evaluate(scores[score_name(scorer, layer, params)], ood, correct=correct)
            found |= {(scorer, layer, params, ood_set, metric): value for metric, value in again.items()}
    return found


def agree(value: float, other: float, tolerance: float) -> bool:
    """Whether two numbers differ by less than a tolerance, or are both NaN."""
    return abs(value - other) < tolerance or (isnan(value) and isnan(other))


def split(run: RecordedRun, recipe: Recipe) -> tuple[pd.DataFrame, int]:
    """The rows of a recorded run that a recipe asks for, with their `key`, and how many of its measurements are stale.

    A measurement is stale when it was recorded under another key than today's: the scorer or the measure was changed
    since, or reads other images. What was never measured is neither here nor stale: a page may ask for more than has
    been run.
    """
    asked = slots(recipe, run.key)
    rows = run.rows()
    kept = rows[rows["key"].isin(set(asked))]
    fresh, there = set(kept["key"]), set(rows[SLOT].itertuples(index=False, name=None))
    stale = sum(key not in fresh and slot in there for key, slot in asked.items())
    return kept.drop(columns="identity"), stale
