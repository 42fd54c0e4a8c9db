"""`aggregate` on many machines: Ray Data distributes parts of the files to scoring replicas.

A part is a range of rows of one file. A replica reads it as a stream and saves its sums in the work
folder atomically. Finished parts are never scored again, by this run or a later one, and a replica
that dies loses only the parts it was working on. The sums are added in the order of the parts, so
that the result does not depend on which replica scored what.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from p2l_model.analysis.aggregate import Accumulated, OnRows, State, accumulate
from p2l_model.analysis.prompts import count_rows, read_prompts
from p2l_model.analysis.scored import PromptReader
from p2l_model.errors import DataError, ExtraMissingError

PART_ROWS: Final = 65_536
_KINDS: Final = (".parquet", ".jsonl", ".csv", ".txt")


@dataclass(frozen=True, slots=True)
class Part:
    """The n rows of a file from row `first` on; n is None for all rows to the end."""

    path: str
    first: int
    n: int | None


@dataclass(frozen=True, slots=True)
class Job:
    """The settings of every replica. key: everything but the part that the sums depend on."""

    checkpoint: str
    engine: str
    models: tuple[str, ...]
    by: str | None
    n_blocks: int
    work: str
    key: Mapping[str, Any]

    def state(self, part: Part) -> State:
        """The file that holds the part's sums."""
        size = Path(part.path).stat().st_size
        about = {**self.key, **asdict(part), "size": size, "by": self.by, "blocks": self.n_blocks}
        name = hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()[:24]
        return State(Path(self.work) / "parts" / name, about)


def parts_of(sources: Sequence[str], part_rows: int = PART_ROWS) -> list[Part]:
    """The parts of the files, and of the files in folders, in the order of their names. Raises
    DataError."""
    files = [file for source in sources for file in _files(Path(source))]
    parts = []
    for file in files:
        n_rows = count_rows(str(file))
        if n_rows is None:
            parts.append(Part(str(file), 0, None))
            continue
        starts = range(0, n_rows, part_rows)
        parts += [Part(str(file), first, min(part_rows, n_rows - first)) for first in starts]
    if not parts:
        raise DataError(f"{', '.join(sources)}: no rows in any {', '.join(_KINDS)} file")
    return parts


def accumulate_on_ray(
    job: Job, parts: Sequence[Part], on_rows: OnRows, *, replicas: int = 2, gpus: float = 0.0
) -> Accumulated:
    """Aggregates on the cluster that ray.init reached, or on this machine. gpus: per replica.

    Raises DataError, ScoringError, ExtraMissingError.
    """
    left = [part for part in parts if job.state(part).stored() is None]
    if left:
        _score(job, left, on_rows, replicas, gpus)
    return merged(job, parts)


def merged(job: Job, parts: Sequence[Part]) -> Accumulated:
    """The sums of all parts. Raises DataError where one is missing."""
    total: Accumulated | None = None
    for part in parts:
        found = job.state(part).stored()
        if found is None:
            raise DataError(f"{part.path}: rows from {part.first} on were not scored: run it again")
        if total is None:
            total = found
        else:
            total.merge(found)
    if total is None:
        raise DataError("there are no prompts to aggregate")
    return total


def score_part(job: Job, part: Part, reader: PromptReader) -> int:
    """Scores a part, saves its sums and returns its number of rows. A finished part is left
    alone."""
    state = job.state(part)
    found = state.stored()
    if found is None:
        fresh = Accumulated(reader.family, reader.models, job.n_blocks)
        chunks = read_prompts(part.path, by=job.by, skip=part.first, limit=part.n)
        found = accumulate(chunks, reader, fresh, lambda done: None)  # noqa: ARG005
        state.save(found)
    return found.n_rows


class Replica:
    """A scoring process that loads the checkpoint once. It maps a row (a part) to its row count."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._reader = PromptReader.load(job.checkpoint, job.engine, job.models)

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        n = None if row["n"] < 0 else int(row["n"])
        part = Part(row["path"], int(row["first"]), n)
        return {"rows": score_part(self._job, part, self._reader)}


def _score(job: Job, parts: Sequence[Part], on_rows: OnRows, replicas: int, gpus: float) -> None:
    try:
        import ray
    except ImportError as error:
        raise ExtraMissingError("ray", "ray") from error
    rows = [asdict(part) | {"n": -1 if part.n is None else part.n} for part in parts]
    data = ray.data.from_items(rows, override_num_blocks=len(rows))  # one per part
    # Ray Data restarts a dead replica elsewhere and gives it the lost parts.
    scored = data.map(
        Replica,
        fn_constructor_args=(job,),
        compute=ray.data.ActorPoolStrategy(size=replicas),
        num_gpus=gpus if gpus > 0 else None,
    )
    done = 0
    for row in scored.iter_rows():
        done += int(row["rows"])
        on_rows(done)


def _files(path: Path) -> list[Path]:
    if path.is_dir():
        return sorted(file for file in path.rglob("*") if file.suffix.lower() in _KINDS)
    if not path.exists():
        raise DataError(f"{path}: there is no such file or folder")
    return [path]
