"""Reads all graded and compared answers: callers' feedback, and the grades of judges."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson
from sqlalchemy import select

from p2l_model.types import Outcome
from server.storage.database import Database
from server.storage.grades import Grade, grades_version, latest_grades
from server.storage.receipts import DAMAGED, leaderboard_names, stored_leaderboard
from server.storage.rows import micros
from server.storage.schema import feedback, receipts
from server.storage.versions import rows_version

# Only this many of the latest of either: older ones count for little, as models change.
_MOST: Final = 6_000
_BATCH: Final = 500
# A comparison's score: from here on a win, and below the rest of it a loss.
_WINS: Final = 0.75


@dataclass(frozen=True, slots=True)
class GradedAnswer:
    """at_us: when it was graded. source: the judge, None for a caller's feedback. model, model_b:
    catalogue names, or leaderboard names in feedback of earlier releases. score: in [0, 1], or
    winner: an Outcome's name. board: the leaderboard of the receipt, and taste what had
    moved it where the version before this one wrote the receipt; None where there is none.
    checkpoint: the version of what made the board, as the receipt names it; None where that is not
    stored."""

    at_us: int
    key_name: str
    profile: str | None
    source: str | None
    model: str
    model_b: str | None
    score: float | None
    winner: str | None
    board: Mapping[str, Any] | None = None
    taste: Mapping[str, Any] | None = None
    checkpoint: str | None = None


def feedback_version(database: Database) -> tuple[int, ...]:
    """A value that changes whenever there is more or less feedback, also from a gateway whose clock
    is behind. Blocks. Raises StorageError."""
    return rows_version(database, feedback)


def answers_version(database: Database) -> tuple[int, ...]:
    """A value that changes whenever there are more or fewer of them. Blocks. Raises
    StorageError."""
    return feedback_version(database) + grades_version(database)


def graded_answers(database: Database) -> Iterator[GradedAnswer]:
    """The latest, in no particular order. Blocks. Raises StorageError."""
    yield from _feedback(database)
    yield from map(_graded, latest_grades(database, _MOST))


def _graded(one: Grade) -> GradedAnswer:
    score: float | None = one.score
    winner = None
    if one.model_b is not None:
        won = Outcome.MODEL_A if one.score >= _WINS else Outcome.TIE
        winner = Outcome.MODEL_B if one.score <= 1 - _WINS else won
        score = None
    return GradedAnswer(
        *(micros(one.created_at), one.key_name or "", None, one.source, one.model, one.model_b),
        *(score, winner, one.leaderboard),
    )


def _feedback(database: Database) -> Iterator[GradedAnswer]:
    query = (
        select(feedback, receipts.c.document, receipts.c.catalogue_version)
        .join(receipts, receipts.c.request_id == feedback.c.request_id, isouter=True)
        .order_by(feedback.c.created_at.desc())
        .limit(_MOST)
    )
    with database.begin() as connection:
        names = leaderboard_names(connection)
        for row in connection.execution_options(yield_per=_BATCH).execute(query):
            first = row.card or row.model or row.card_a or row.model_a
            if first is None or (row.rating is None and row.winner is None):
                continue
            profile, board, taste, checkpoint = _of_receipt(row, names)
            yield GradedAnswer(
                *(row.created_at, row.key_name, profile, None, first),
                *(row.card_b or row.model_b, row.rating, row.winner, board, taste),
                checkpoint=checkpoint,
            )


def _of_receipt(
    row: Any, names: Mapping[str, Sequence[str] | None]
) -> tuple[str | None, Mapping[str, Any] | None, Mapping[str, Any] | None, str | None]:
    if row.document is None:
        return None, None, None, None
    try:
        document = orjson.loads(row.document)
        # A model that was asked for by its name has a leaderboard of one, which says nothing.
        board = stored_leaderboard(document, names.get(row.catalogue_version))
        if board is None or not document["routed"]:
            board = None
        checkpoint = document.get("checkpoint")
        named = checkpoint if isinstance(checkpoint, str) else None
        return document.get("profile"), board, document.get("taste"), named
    except DAMAGED:
        return None, None, None, None
