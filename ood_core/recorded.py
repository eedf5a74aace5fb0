"""Recorded runs: what git keeps of a run, as small tables with provenance.

    book/results/<scale>/<train key>/run.json           recipe, seed, digests, versions, hardware, seconds, checksums
                                     rows.csv           tidy rows, with key and identity of what made each
                                     history.csv        one row an epoch
                                     model.safetensors  the weights, where they are small

A run is recorded under its train key, so pages share it, and rows are joined with page and recipe when they are read.
"""

from __future__ import annotations

import hashlib
import io
import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import safetensors.torch
from torch import Tensor

from . import paths
from .checks import ArtifactError
from .measure import COLUMNS, jobs
from .recipes import Recipe
from .store import Run

WEIGHT_BYTES = 2 * 2**20  # weights up to this size are recorded, so that a later scorer needs no training
SAID_ONCE = ("run", "scale", "seed", "id_set")  # columns that run.json says for all rows


@dataclass(frozen=True)
class Recorded:
    """One recorded run: its folder and the contents of `run.json`."""

    folder: Path
    info: dict[str, Any]

    @property
    def key(self) -> str:
        return str(self.info["key"])

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
        return pd.read_csv(io.BytesIO(self._read(name)), dtype=str, keep_default_na=False)

    def weights(self) -> dict[str, Tensor] | None:
        """Tensors of the trained network, or None where they were too large to record."""
        name = "model.safetensors"
        return safetensors.torch.load(self._read(name)) if name in self.info["files"] else None

    def check(self) -> None:
        """Read every file and compare it with its checksum.

        Raises:
            ArtifactError: a file is missing or edited; the message names it.
        """
        for name in self.info["files"]:
            self._read(name)

    def _read(self, name: str) -> bytes:
        path = self.folder / name
        try:
            content = path.read_bytes()
        except OSError as error:
            raise ArtifactError(
                f"{path} cannot be read ({error.strerror}), expected a file of a recorded run.\nCheck it out again."
            ) from error
        found = hashlib.sha256(content).hexdigest()
        if found != self.info["files"][name]:
            raise ArtifactError(
                f"{path} has SHA-256 {found[:16]}..., expected {self.info['files'][name][:16]}...: it was edited.\n"
                "Check it out again, or record the run again."
            )
        return content


def folder(scale: str) -> Path:
    """Where runs of a scale are recorded."""
    return paths.repository() / "book" / "results" / scale


def get(scale: str, key: str) -> Recorded | None:
    """A recorded run, or None.

    Raises:
        ArtifactError: its `run.json` is damaged or of another key.
    """
    path = folder(scale) / key / "run.json"
    try:
        info = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (ValueError, OSError) as error:
        raise ArtifactError(f"{path} is damaged ({error}), expected JSON.\nCheck it out again.") from error
    if not isinstance(info, dict) or info.get("key") != key or "files" not in info:
        raise ArtifactError(f"{path} is not the record of run {key}.\nCheck it out again.")
    return Recorded(path.parent, info)


def every(scale: str) -> Iterator[Recorded]:
    """All recorded runs of a scale, in the order of their keys."""
    for path in sorted(folder(scale).glob("*/run.json")):
        found = get(scale, path.parent.name)
        if found is not None:
            yield found


def put(run: Run) -> Recorded:
    """Record a stored run; an older record of it is replaced. Rows that no recipe asks for any more are kept."""
    place = folder(run.info["recipe"]["scale"]) / run.key
    rows = run.rows().drop(columns=list(SAID_ONCE))
    weights = (run.folder / "model.safetensors").read_bytes()
    files = {
        "rows.csv": rows.to_csv(index=False, lineterminator="\n", na_rep="nan").encode(),
        "history.csv": run.history().to_csv(index=False, lineterminator="\n", na_rep="nan").encode(),
    }
    if len(weights) <= WEIGHT_BYTES:
        files["model.safetensors"] = weights
    left_out = ("files", "seal", "early_epochs", "format")
    info = {name: value for name, value in run.info.items() if name not in left_out}
    info["files"] = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    for name, content in files.items():
        (place / name).write_bytes(content)
    (place / "run.json").write_text(json.dumps(info, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    return Recorded(place, info)


def split(run: Recorded, recipe: Recipe) -> tuple[pd.DataFrame, int]:
    """The rows of a recorded run that a recipe asks for, with their `key`, and how many of its measurements are stale.

    A measurement is stale when it was recorded under another key than today's: the scorer or the measure was changed
    since, or reads other images. What was never measured is neither here nor stale: a page may ask for more than has
    been run.
    """
    asked = {job.key(run.key): job.identity for epoch in recipe.recorded_epochs() for job in jobs(recipe, epoch)}
    rows = run.rows()
    kept = rows[rows["key"].isin(set(asked))]
    fresh, there = set(kept["key"]), set(rows["identity"])
    stale = sum(key not in fresh and identity in there for key, identity in asked.items())
    return kept.drop(columns="identity"), stale
