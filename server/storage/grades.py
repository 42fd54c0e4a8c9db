"""Stores answers that a checker or a judge has graded, and reads them for the local layer."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final

import numpy as np
import orjson
from sqlalchemy import insert, select
from sqlalchemy.exc import IntegrityError

from p2l_model.types import FloatArray, PromptLeaderboard
from server.storage.database import Database
from server.storage.receipts import DAMAGED
from server.storage.rows import MICRO, micros
from server.storage.schema import grades
from server.storage.versions import rows_version

# Only this many of the latest: older grades concern older models.
_MOST: Final = 50_000
_BATCH: Final = 500
_DIGITS: Final = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Grade:
    """A graded answer, without its text.

    id: the same grade stored twice is one grade. source: who graded, such as `checker:regex` or
    `judge:claude-opus-5:1` (the last part is the version of its instruction); each source has a
    level of its own. model: the catalogue name of the model that answered. score: in [0, 1]; with
    model_b it is that of a comparison: 1 where model's answer was better, 0.5 for a tie. key_name:
    the key whose request was answered, None where it was nobody's. leaderboard: the prompt's own,
    see `board_of`; None where it was not scored.
    created_at: seconds since 1970.
    """

    id: str
    source: str
    model: str
    score: float
    model_b: str | None = None
    key_name: str | None = None
    leaderboard: Mapping[str, Any] | None = field(default=None, repr=False)
    created_at: float = field(default_factory=time.time)

    def __post_init__(self) -> None:
        if not 0 <= self.score <= 1:
            raise ValueError(f"the score of a grade is in [0, 1], not {self.score}")


def board_of(board: PromptLeaderboard) -> dict[str, Any]:
    """A leaderboard in the form in which grades store it: without its hundreds of names, which
    `coefficients_in` compares by their digest."""
    scores = board.expected_scores
    return {
        "family": board.family.value,
        "columns": _digest(board.models),
        "coefficients": board.coefficients.round(_DIGITS).tolist(),
        "expected_scores": None if scores is None else scores.round(_DIGITS).tolist(),
        "eta": board.eta,
        "gamma": board.gamma,
    }


def coefficients_in(board: Mapping[str, Any], models: tuple[str, ...]) -> FloatArray | None:
    """The coefficients (M,) of a stored leaderboard; None where it is of another checkpoint.
    models: the M names of the current one."""
    if board.get("columns") != _digest(models):
        return None
    coefficients = np.array(board["coefficients"], dtype=np.float64)
    return coefficients if coefficients.shape == (len(models),) else None


@lru_cache(maxsize=4)
def _digest(models: tuple[str, ...]) -> str:
    return hashlib.blake2b("\0".join(models).encode(), digest_size=8).hexdigest()


def add_grades(database: Database, new: Sequence[Grade]) -> int:
    """Stores grades, and returns how many of them were not stored before. Blocks. Raises
    StorageError."""
    return sum(_add(database, grade) for grade in new)


def _add(database: Database, grade: Grade) -> bool:
    board = grade.leaderboard
    row = {
        "id": grade.id,
        "created_at": micros(grade.created_at),
        "source": grade.source,
        "key_name": grade.key_name,
        "model": grade.model,
        "model_b": grade.model_b,
        "score": grade.score,
        "leaderboard": None if board is None else orjson.dumps(board).decode(),
    }
    with database.naming():
        try:
            with database.engine.begin() as connection:
                connection.execute(insert(grades), [row])
        except IntegrityError:
            return False
    return True


def grades_version(database: Database) -> tuple[int, ...]:
    """A value that changes whenever there are more or fewer grades. Blocks. Raises StorageError."""
    return rows_version(database, grades)


def latest_grades(database: Database, most: int = _MOST) -> list[Grade]:
    """The latest grades, oldest first. Blocks. Raises StorageError."""
    query = select(grades).order_by(grades.c.created_at.desc(), grades.c.id).limit(most)
    with database.begin() as connection:
        found = list(_read(connection.execution_options(yield_per=_BATCH).execute(query)))
    found.reverse()
    return found


def _read(rows: Any) -> Iterator[Grade]:
    for row in rows:
        try:
            board = None if row.leaderboard is None else orjson.loads(row.leaderboard)
            yield Grade(
                id=row.id,
                source=row.source,
                model=row.model,
                score=row.score,
                model_b=row.model_b,
                key_name=row.key_name,
                leaderboard=board,
                created_at=row.created_at / MICRO,
            )
        except DAMAGED:
            continue  # one damaged row must not hide all the others
