"""What keys said of two models, beside what was predicted for the prompt."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import orjson
from sqlalchemy import func, select

from server.storage.database import Database
from server.storage.receipts import stored_leaderboard
from server.storage.schema import catalogues, feedback, receipts

# The latest: older opinions are of older models, and of a person who may have changed.
_MOST: Final = 20_000


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


def feedback_version(database: Database) -> tuple[int, int]:
    """Changes whenever there is new feedback. Blocks. Raises StorageError."""
    with database.begin() as connection:
        row = connection.execute(
            select(func.count(), func.coalesce(func.max(feedback.c.created_at), 0))
        ).one()
    return int(row[0]), int(row[1])


def comparisons(database: Database) -> list[Comparison]:
    """The latest whose receipt is still kept, oldest first. Blocks. Raises StorageError."""
    query = (
        select(
            feedback.c.key_name,
            feedback.c.model_a,
            feedback.c.model_b,
            feedback.c.winner,
            receipts.c.document,
            catalogues.c.document.label("common"),
        )
        .join(receipts, receipts.c.request_id == feedback.c.request_id)
        .join(catalogues, catalogues.c.version == receipts.c.catalogue_version)
        .where(feedback.c.winner.is_not(None))
        .order_by(feedback.c.created_at.desc(), feedback.c.request_id)
        .limit(_MOST)
    )
    with database.begin() as connection:
        rows = connection.execute(query).all()
    return [_comparison(row) for row in reversed(rows)]


def _comparison(row: Any) -> Comparison:
    taste = orjson.loads(row.document).get("taste")
    return Comparison(
        row.key_name,
        row.model_a,
        row.model_b,
        row.winner,
        stored_leaderboard(row.document, row.common),
        taste,
    )
