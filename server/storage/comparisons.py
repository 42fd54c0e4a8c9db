"""Reads the comparisons of two models in keys' feedback, with the predictions for the prompt."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson
from sqlalchemy import select

from server.storage.database import Database
from server.storage.receipts import DAMAGED, leaderboard_names, stored_leaderboard
from server.storage.schema import feedback, receipts
from server.storage.versions import rows_version

# Only this many of the latest: older opinions concern older models, and a person may have changed.
_MOST: Final = 20_000
# Rows in memory at a time: a receipt has kilobytes, the part of it that is kept has not.
_BATCH: Final = 500
_FIELDS: Final = {"family", "models", "coefficients", "eta", "gamma"}


@dataclass(frozen=True, slots=True)
class Comparison:
    """A comparison. winner: an Outcome's name. leaderboard: that of the receipt, by which it was
    decided; taste: the taste that had moved it, None where there was none."""

    key_name: str
    model_a: str
    model_b: str
    winner: str
    leaderboard: Mapping[str, Any]
    taste: Mapping[str, Any] | None


def feedback_version(database: Database) -> tuple[int, ...]:
    """A value that changes whenever there is more or less feedback, also from a gateway whose clock
    is behind. Blocks. Raises StorageError."""
    return rows_version(database, feedback)


def comparisons(database: Database) -> list[Comparison]:
    """The latest comparisons whose receipt is still stored, oldest first. Blocks. Raises
    StorageError."""
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
    """A comparison; None where the receipt cannot be read (any more)."""
    try:
        document = orjson.loads(row.document)
        board = stored_leaderboard(document, names.get(row.catalogue_version))
        if board is None or not board.keys() >= _FIELDS:
            return None
        taste = document.get("taste")
    except DAMAGED:
        return None
    return Comparison(row.key_name, row.model_a, row.model_b, row.winner, board, taste)
