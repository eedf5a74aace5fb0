"""Runs on disk: one directory a train key, complete or absent, checked by checksum, shared between processes.

    $OOD_RUNS/<train key>/run.json              recipe, seed, digests, versions, hardware, seconds, sha256 of each file
                          history.parquet       one row an epoch
                          rows.parquet          tidy rows, with the key of what made each
                          scores.npz            scores by scorer, layer, parameters and set
                          model.safetensors     the weights
                          early.safetensors     the weights at recorded epochs before the last, if they are small
    $OOD_RUNS/<train key>.partial/              while training: the checkpoint, and weights at recorded epochs

Everything is written beside its place, flushed and renamed, see `files`. Nothing is unpickled.
"""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import pandas as pd
import pyarrow
import safetensors
import safetensors.torch
from numpy.typing import NDArray
from pyarrow import parquet
from torch import Tensor

from . import files, paths
from .checks import ArtifactError, InputError
from .train import State

FORMAT = 1
# Weights of earlier epochs are kept up to this size, so that a measurement that arrives later needs no training.
EARLY_BYTES = 64 * 2**20
Scores = dict[str, NDArray[np.float64]]


@dataclass(frozen=True)
class Kept:
    """A run on disk: a folder named by its key, whose `run.json` has the SHA-256 of every other file.

    Attributes:
        folder: where it lies.
        info: the contents of `run.json`.
    """

    folder: Path
    info: dict[str, Any]
    mend: ClassVar[str]  # what to do about a damaged one

    @classmethod
    def load(cls, folder: Path) -> Self | None:
        """The run in a folder, or None.

        Raises:
            ArtifactError: its `run.json` is damaged or of another key.
        """
        path, mend = folder / "run.json", cls.mend.format(folder=folder)
        try:
            info = json.loads(files.read(folder, path.name))
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (ValueError, OSError) as error:
            raise ArtifactError(f"{path} is damaged ({error}), expected JSON.\n{mend}") from error
        if not isinstance(info, dict) or info.get("key") != folder.name or "files" not in info:
            raise ArtifactError(f"{path} is not the record of run {folder.name}.\n{mend}")
        return cls(folder, info)

    @property
    def key(self) -> str:
        return str(self.info["key"])

    def check(self) -> None:
        """Read every file and compare it with its checksum.

        Raises:
            ArtifactError: a file is missing, truncated or edited; the message names it.
        """
        for name in self.info["files"]:
            self.read(name)

    def read(self, name: str) -> bytes:
        """The contents of a file, held against its checksum; where the run was replaced since, those it has by now.

        Raises:
            ArtifactError: it is missing, truncated or edited.
        """
        path, known, mend = self.folder / name, self, self.mend.format(folder=self.folder)
        while True:
            content, missing = b"", None
            try:
                content = files.read(self.folder, name)
            except OSError as error:
                missing = error
            found, expected = hashlib.sha256(content).hexdigest(), known.info["files"].get(name)
            if missing is None and found == expected:
                return content
            now = self.load(self.folder)
            if now is None or now.info == known.info:
                break
            known = now  # another process has measured more, or trained again
        if now is not None and expected is None:
            raise ArtifactError(
                f"{path} belongs to run {self.key} no longer: it was replaced by one without.\nLoad the run again."
            )
        if missing is not None:
            raise ArtifactError(
                f"{path} cannot be read ({missing.strerror}), expected a file of run {self.key}.\n{mend}"
            ) from missing
        raise ArtifactError(
            f"{path} has SHA-256 {found[:16]}..., expected {str(expected)[:16]}...: it was truncated or edited.\n{mend}"
        )


@dataclass(frozen=True)
class Run(Kept):
    """One stored run."""

    mend = "Delete {folder} and run again."

    @classmethod
    def load(cls, folder: Path) -> Self | None:
        """The run in a folder, or None.

        Raises:
            ArtifactError: its `run.json` is damaged, of another key, or of a newer format.
        """
        found = super().load(folder)
        if found is None:
            return None
        path, written = folder / "run.json", found.info.get("format", 0)
        if written > FORMAT:
            raise ArtifactError(
                f"{path} has format {written}, expected at most {FORMAT}.\nUpdate ood_core, or delete it."
            )
        if found.info.get("seal") != _seal(found.info):
            raise ArtifactError(f"{path} was edited: its seal does not match.\n{cls.mend.format(folder=folder)}")
        return found

    def rows(self) -> pd.DataFrame:
        """Tidy rows, with the column `key` that says what made each."""
        return _table(self.read("rows.parquet"))

    def history(self) -> pd.DataFrame:
        """epoch, loss, accuracy, lr: one row an epoch."""
        return _table(self.read("history.parquet"))

    def scores(self) -> Scores:
        """Scores by `scorer|layer|params|set`; the set is empty for ID test images."""
        return unpacked(self.read("scores.npz"))

    def weights(self) -> dict[str, Tensor]:
        """Tensors of the trained network."""
        return safetensors.torch.load(self.read("model.safetensors"))

    def early_epochs(self) -> list[int]:
        """Epochs before the last whose weights are kept."""
        return list(self.info.get("early_epochs", ()))

    def early_weights(self) -> dict[int, dict[str, Tensor]]:
        """Tensors of the network at `early_epochs`, by epoch."""
        found: dict[int, dict[str, Tensor]] = {epoch: {} for epoch in self.early_epochs()}
        if found:
            for name, value in safetensors.torch.load(self.read("early.safetensors")).items():
                epoch, _, rest = name.partition("/")
                found.setdefault(int(epoch), {})[rest] = value
        return found


class Store:
    """The run store at `$OOD_RUNS` (default: `runs/` at the repository root)."""

    def __init__(self, folder: Path | str | None = None) -> None:
        self.folder = Path(folder) if folder is not None else paths.runs()

    def get(self, key: str) -> Run | None:
        """A stored run, or None.

        Raises:
            ArtifactError: its `run.json` is damaged, of another key, or of a newer format.
        """
        return Run.load(self.folder / key)

    def keys(self) -> list[str]:
        """Keys of all stored runs, damaged ones included, in order."""
        return [folder.name for folder in files.folders(self.folder, "run.json") if "." not in folder.name]

    def runs(self) -> Iterator[Run]:
        """All stored runs, in the order of their keys.

        Raises:
            ArtifactError: one of them is damaged, as `get` finds it.
        """
        for key in self.keys():
            found = self.get(key)
            if found is not None:
                yield found

    @contextmanager
    def lock(self, key: str) -> Iterator[None]:
        """Hold a run for this process; another one that asks for it waits and then finds the result."""
        with files.locked(self.folder / f"{key}.lock", "Set OOD_RUNS to another folder."):
            yield

    def checkpoints(self, key: str) -> FileCheckpoints:
        """Where training of this run leaves its state."""
        return FileCheckpoints(self.folder / f"{key}.partial" / "checkpoint.safetensors")

    def put(
        self,
        info: Mapping[str, Any],
        rows: pd.DataFrame,
        history: pd.DataFrame,
        scores: Scores,
        weights: Mapping[str, Tensor],
        early: Mapping[int, Mapping[str, Tensor]],
    ) -> Run:
        """Write a whole run, then put it in its place; until then, and where that fails, an older version stays there.

        Args:
            early: weights at recorded epochs before the last; left out where they are more than `EARLY_BYTES`.
        Raises:
            InputError: the disk is full or not writable; nothing half-written stays.
        """
        key = str(info["key"])
        packed = io.BytesIO()
        np.savez(packed, allow_pickle=False, **scores)
        contents = {
            "rows.parquet": _parquet(rows),
            "history.parquet": _parquet(history),
            "scores.npz": packed.getvalue(),
            "model.safetensors": safetensors.torch.save({name: t.contiguous() for name, t in weights.items()}),
        }
        kept = {f"{epoch}/{name}": t.contiguous() for epoch, net in early.items() for name, t in net.items()}
        if sum(t.nbytes for t in kept.values()) > EARLY_BYTES:
            kept = {}
        if kept:
            contents["early.safetensors"] = safetensors.torch.save(kept)
        record = {
            "format": FORMAT,
            **info,
            "early_epochs": sorted(early) if kept else [],
            "files": {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()},
        }
        record["seal"] = _seal(record)
        contents["run.json"] = json.dumps(record, indent=1, sort_keys=True, allow_nan=False).encode()
        try:
            files.put(self.folder / key, contents)
        except OSError as error:
            raise InputError(
                f"run {key} could not be written to {self.folder} ({error.strerror}), expected a writable disk with "
                f"{sum(map(len, contents.values())) / 1e6:.1f} MB free.\n"
                "Make room or set OOD_RUNS to another folder; nothing half-written was left."
            ) from error
        shutil.rmtree(self.folder / f"{key}.partial", ignore_errors=True)
        return Run(self.folder / key, record)


class FileCheckpoints:
    """One safetensors file with the loop's state and a checksum over it; see `train.Checkpoints`."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def load(self) -> State | None:
        """The last state, or None; a damaged file counts as none, with a warning that says why."""
        try:
            content = self.path.read_bytes()
        except FileNotFoundError:
            return None
        try:
            tensors = safetensors.torch.load(content)
            with safetensors.safe_open(self.path, "pt") as file:
                meta = file.metadata()
            if _checksum(tensors, meta["state"]) != meta["checksum"]:
                raise ArtifactError("its checksum does not match")
            state = json.loads(meta["state"])
            spent = state["seconds"], state["cpu_seconds"], state.get("compile_seconds")
            return State(state["epoch"], tensors, state["history"], *spent)
        except (safetensors.SafetensorError, ArtifactError, KeyError, TypeError, ValueError) as error:
            warnings.warn(f"{self.path} is damaged ({error}): training starts anew", stacklevel=2)
            return None

    def save(self, state: State) -> None:
        text = json.dumps(
            {
                "epoch": state.epoch,
                "history": state.history,
                "seconds": state.seconds,
                "cpu_seconds": state.cpu_seconds,
                "compile_seconds": state.compile_seconds,
            }
        )
        meta = {"state": text, "checksum": _checksum(state.tensors, text)}
        self._put(self.path, safetensors.torch.save(state.tensors, meta))

    def record(self, epoch: int, weights: Mapping[str, Tensor]) -> None:
        """Keep the weights of one epoch until the run is stored."""
        tensors = {name: value.detach().cpu().contiguous() for name, value in weights.items()}
        self._put(self._recorded(epoch), safetensors.torch.save(tensors))

    def recorded(self, epoch: int) -> dict[str, Tensor]:
        """What `record` kept.

        Raises:
            ArtifactError: the file is missing or damaged.
        """
        path = self._recorded(epoch)
        try:
            return safetensors.torch.load(path.read_bytes())
        except (OSError, safetensors.SafetensorError) as error:
            raise ArtifactError(
                f"{path} cannot be read ({error}), expected the weights of epoch {epoch}.\n"
                f"Delete {path.parent} and run again."
            ) from error

    def _recorded(self, epoch: int) -> Path:
        return self.path.with_name(f"epoch-{epoch}.safetensors")

    def _put(self, path: Path, content: bytes) -> None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            files.write(path, content)
        except OSError as error:
            raise InputError(
                f"{path} could not be written ({error.strerror}), expected a writable disk with "
                f"{len(content) / 1e6:.1f} MB free.\n"
                "Make room or set OOD_RUNS to another folder; the last checkpoint is kept."
            ) from error


def unpacked(content: bytes) -> Scores:
    """The arrays of an `.npz` file; nothing is unpickled."""
    with np.load(io.BytesIO(content), allow_pickle=False) as file:
        return {name: file[name] for name in file.files}


def _seal(record: Mapping[str, Any]) -> str:
    """SHA-256 over the record without its seal."""
    rest = {name: value for name, value in record.items() if name != "seal"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()


def _checksum(tensors: Mapping[str, Tensor], text: str) -> str:
    digest = hashlib.sha256(text.encode())
    for name in sorted(tensors):
        digest.update(name.encode() + tensors[name].contiguous().numpy().tobytes())
    return digest.hexdigest()


def _table(content: bytes) -> pd.DataFrame:
    """A Parquet file, read in this thread alone.

    Arrow's pools of threads, taken down while the interpreter exits, abort or hang some processes that have done all
    they were to do (apache/arrow 34314, 50482).
    """
    found = parquet.ParquetFile(pyarrow.BufferReader(content)).read(use_threads=False)
    frame: pd.DataFrame = found.to_pandas(use_threads=False)
    return frame


def _parquet(frame: pd.DataFrame) -> bytes:
    target = io.BytesIO()
    frame.to_parquet(target, index=False)
    return target.getvalue()
