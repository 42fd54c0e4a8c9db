"""Reads the ratings of requests that were part of a trial."""

from __future__ import annotations

from collections import defaultdict
from typing import Any, Final

import orjson
from sqlalchemy import select

from server.storage.database import Database
from server.storage.receipts import DAMAGED
from server.storage.schema import feedback, receipts

_BATCH: Final = 500
Ratings = dict[str, list[tuple[bool, float]]]


def trial_ratings(database: Database) -> Ratings:
    """By the trial's id: whether the new models answered, and the rating, oldest first; only where
    the receipt is still stored. Blocks. Raises StorageError."""
    query = (
        select(feedback.c.rating, receipts.c.document)
        .join(receipts, receipts.c.request_id == feedback.c.request_id)
        .where(feedback.c.rating.is_not(None), receipts.c.document.contains('"trial":{'))
        .order_by(feedback.c.created_at, feedback.c.request_id)
    )
    found: Ratings = defaultdict(list)
    with database.begin() as connection:
        for row in connection.execution_options(yield_per=_BATCH).execute(query):
            arm = _arm(row)
            if arm is not None:
                found[arm[0]].append((arm[1], float(row.rating)))
    return dict(found)


def _arm(row: Any) -> tuple[str, bool] | None:
    try:
        arm = orjson.loads(row.document)["trial"]
        return str(arm["id"]), arm["arm"] == "new"
    except DAMAGED:
        return None
