"""What keys said of two models, beside what was predicted for the prompt."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson
from sqlalchemy import func, select

from server.storage.database import Database
from server.storage.receipts import DAMAGED, leaderboard_names, stored_leaderboard
from server.storage.schema import feedback, receipts

# The latest: older opinions are of older models, and of a person who may have changed.
_MOST: Final = 20_000
# Rows in memory at a time: a receipt is kilobytes, what is taken of it is not.
_BATCH: Final = 500
_FIELDS: Final = {"family", "models", "coefficients", "eta", "gamma"}
# Of a time in microseconds so much is summed that the sum of any number of rows fits.
_MARK: Final = 1_000_003


@dataclass(frozen=True, slots=True)
class Comparison:
    """winner: an Outcome's name. leaderboard: of the receipt, as it was decided by; taste: what
    that had been moved by, None where by nothing."""

    key_name: str
    model_a: str
    model_b: str
    winner: str
    leaderboard: Mapping[str, Any]
    taste: Mapping[str, Any] | None


def feedback_version(database: Database) -> tuple[int, ...]:
    """Changes whenever there is new feedback, from a gateway whose clock is behind too, or less of
    it. Blocks. Raises StorageError."""
    created = feedback.c.created_at
    marks = func.max(created), func.min(created), func.sum(created % _MARK)
    with database.begin() as connection:
        row = connection.execute(select(func.count(), *marks)).one()
    return tuple(int(mark or 0) for mark in row)


def comparisons(database: Database) -> list[Comparison]:
    """The latest whose receipt is still kept, oldest first. Blocks. Raises StorageError."""
    query = (
        select(
            feedback.c.key_name,
            feedback.c.model_a,
            feedback.c.model_b,
            feedback.c.winner,
            receipts.c.document,
            receipts.c.catalogue_version,
        )
        .join(receipts, receipts.c.request_id == feedback.c.request_id)
        .where(feedback.c.winner.is_not(None))
        .order_by(feedback.c.created_at.desc(), feedback.c.request_id)
        .limit(_MOST)
    )
    with database.begin() as connection:
        names = leaderboard_names(connection)
        stream = connection.execution_options(yield_per=_BATCH).execute(query)
        found = [_comparison(row, names) for row in stream]
    return [one for one in reversed(found) if one is not None]


def _comparison(row: Any, names: Mapping[str, Sequence[str] | None]) -> Comparison | None:
    """None where the receipt cannot be read (any more)."""
    try:
        document = orjson.loads(row.document)
        board = stored_leaderboard(document, names.get(row.catalogue_version))
        if board is None or not board.keys() >= _FIELDS:
            return None
        taste = document.get("taste")
    except DAMAGED:
        return None
    return Comparison(row.key_name, row.model_a, row.model_b, row.winner, board, taste)
