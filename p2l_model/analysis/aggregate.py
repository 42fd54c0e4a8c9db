"""`aggregate`: reads any number of prompts once and makes their leaderboard, overall and by
group."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np

from p2l_model.analysis.bootstrap import N_RESAMPLES, estimate
from p2l_model.analysis.leaderboard import Leaderboard, of_estimate
from p2l_model.analysis.prompts import PromptChunk, block_of
from p2l_model.analysis.scored import PromptReader
from p2l_model.analysis.sums import BlockSums
from p2l_model.errors import DataError
from p2l_model.types import PreferenceFamily

N_BLOCKS: Final = 100
_SAVE_EVERY: Final = 8192  # rows

# Called with the number of rows done so far.
OnRows = Callable[[int], None]


@dataclass(slots=True)
class Accumulated:
    """The sums of what was read so far.

    groups: the sums by group, or {"": ...} without a column to group by; n_rows: the number of rows
    of the source in them.
    """

    family: PreferenceFamily
    models: tuple[str, ...]
    n_blocks: int = N_BLOCKS
    n_rows: int = 0
    groups: dict[str, BlockSums] = field(default_factory=dict)

    def add(self, chunk: PromptChunk, reader: PromptReader) -> None:
        """Scores the chunk's prompts and adds them. Raises ScoringError."""
        outputs = reader.outputs(reader.features(chunk.conversations))
        block = block_of(chunk.conversations, self.n_blocks)
        names = np.array(chunk.group, dtype=object)
        for name in dict.fromkeys(chunk.group):
            rows = np.flatnonzero(names == name)
            prompts = chunk.prompt[rows]
            self._sums(name).add(outputs.rows(prompts), chunk.weight[rows], block[prompts])
        self.n_rows += chunk.n_rows

    def merge(self, other: Accumulated) -> None:
        """Adds what another machine has read. Raises DataError where it used another checkpoint."""
        if (self.models, self.n_blocks) != (other.models, other.n_blocks):
            raise DataError("these sums have other models or blocks and cannot be merged")
        for name, sums in other.groups.items():
            self._sums(name).merge(sums)
        self.n_rows += other.n_rows

    def total(self) -> BlockSums:
        """The sums over all groups."""
        total = BlockSums(self.family, len(self.models))
        for sums in self.groups.values():
            total.merge(sums)
        return total

    def _sums(self, name: str) -> BlockSums:
        if name not in self.groups:
            self.groups[name] = BlockSums(self.family, len(self.models))
        return self.groups[name]


@dataclass(frozen=True, slots=True)
class Aggregation:
    """Leaderboards of all prompts and by group.

    groups: by name, in alphabetical order; empty without a column to group by.
    """

    overall: Leaderboard
    groups: Mapping[str, Leaderboard]

    def to_json(self, by: str | None) -> dict[str, Any]:
        """The JSON that the command prints. by: the column that grouped the rows, or None."""
        found = self.overall.to_json()
        if by is None:
            return found
        return found | {
            "by": by,
            "groups": {name: board.to_json() for name, board in self.groups.items()},
        }


def accumulate(
    chunks: Iterable[PromptChunk],
    reader: PromptReader,
    into: Accumulated,
    on_rows: OnRows,
    state: State | None = None,
) -> Accumulated:
    """Reads all chunks and returns `into` with their sums.

    state: a file in which progress is saved now and then and at the end. Raises DataError,
    ScoringError.
    """
    saved = into.n_rows
    for chunk in chunks:
        into.add(chunk, reader)
        on_rows(into.n_rows)
        if state is not None and into.n_rows - saved >= _SAVE_EVERY:
            state.save(into)
            saved = into.n_rows
    if state is not None and into.n_rows != saved:
        state.save(into)
    if into.n_rows == 0:
        raise DataError("there are no prompts to aggregate")
    return into


def summarise(
    accumulated: Accumulated,
    by: str | None,
    *,
    seed: int = 0,
    n_resamples: int = N_RESAMPLES,
    on_group: OnRows | None = None,
) -> Aggregation:
    """Fits the leaderboards and their intervals, overall and, unless by is None, per group.

    Raises DataError, TrainingError.
    """
    family, models = accumulated.family, accumulated.models
    whole = estimate(accumulated.total(), seed=seed, n_resamples=n_resamples)
    boards: dict[str, Leaderboard] = {}
    for done, name in enumerate(sorted(accumulated.groups) if by is not None else [], 1):
        found = estimate(accumulated.groups[name], seed=seed, n_resamples=n_resamples)
        boards[name] = of_estimate(family, models, found)
        if on_group is not None:
            on_group(done)
    return Aggregation(of_estimate(family, models, whole), boards)


class State:
    """A file that holds the progress of a run, so that a killed run can continue.

    key: everything that the sums depend on (checkpoint, source, columns); a file with another key
    is refused. The file is always replaced as a whole.
    """

    def __init__(self, folder: Path, key: Mapping[str, Any]) -> None:
        self._path, self._key = folder / "sums.npz", dict(key)
        folder.mkdir(parents=True, exist_ok=True)

    def load(self, fresh: Accumulated) -> Accumulated:
        """Returns the saved sums, or `fresh`. Raises DataError for the file of another run."""
        return self.stored() or fresh

    def stored(self) -> Accumulated | None:
        """Returns the saved sums, or None. Raises DataError for the file of another run."""
        if not self._path.exists():
            return None
        with np.load(self._path, allow_pickle=False) as arrays:
            about = json.loads(bytes(arrays["about"]))
            if about["key"] != self._key:
                raise DataError(f"{self._path} belongs to another run: use an empty folder")
            return unpack(about, dict(arrays))

    def save(self, accumulated: Accumulated) -> None:
        """Saves the sums atomically."""
        about, arrays = pack(accumulated)
        text = json.dumps(about | {"key": self._key}).encode()
        # Two replicas may work on the same part when one of them is wrongly thought dead.
        partial = self._path.with_suffix(f".{os.getpid()}.partial")
        with partial.open("wb") as file:
            np.savez(file, about=np.frombuffer(text, dtype=np.uint8), **arrays)
        partial.replace(self._path)


def pack(accumulated: Accumulated) -> tuple[dict[str, Any], dict[str, Any]]:
    """Returns the part that JSON can hold, and the arrays by name."""
    names = sorted(accumulated.groups)
    arrays = {
        f"{index}.{part}": array
        for index, name in enumerate(names)
        for part, array in accumulated.groups[name].arrays().items()
    }
    about = {
        "family": accumulated.family.value,
        "models": list(accumulated.models),
        "n_blocks": accumulated.n_blocks,
        "n_rows": accumulated.n_rows,
        "groups": names,
    }
    return about, arrays


def unpack(about: Mapping[str, Any], arrays: Mapping[str, Any]) -> Accumulated:
    """The inverse of `pack`."""
    family = PreferenceFamily(about["family"])
    found = Accumulated(family, tuple(about["models"]), about["n_blocks"], about["n_rows"])
    for index, name in enumerate(about["groups"]):
        mine = {
            key.split(".", 1)[1]: array
            for key, array in arrays.items()
            if key.split(".", 1)[0] == str(index)
        }
        found.groups[name] = BlockSums.from_arrays(family, len(found.models), mine)
    return found
