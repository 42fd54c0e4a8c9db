"""Reads the ratings of requests that were part of a trial."""

from __future__ import annotations

from collections import defaultdict
from statistics import fmean
from typing import Any, Final, NamedTuple

import orjson
from sqlalchemy import select

from server.storage.database import Database
from server.storage.receipts import DAMAGED
from server.storage.schema import feedback, receipts

_BATCH: Final = 500
Ratings = dict[str, list[tuple[bool, float]]]


def trial_ratings(database: Database) -> Ratings:
    """By the trial's id: whether the new models answered, and the rating of a session, the mean of
    all ratings in it; by its first rating, oldest first. Only where the receipt is still stored.
    Blocks. Raises StorageError.

    Sessions are what is assigned to the arms. The ratings of one session are alike: counted one by
    one, a few long sessions would look like proof.
    """
    query = (
        select(feedback.c.rating, receipts.c.key_name, receipts.c.document)
        .join(receipts, receipts.c.request_id == feedback.c.request_id)
        .where(feedback.c.rating.is_not(None), receipts.c.document.contains('"trial":{'))
        .order_by(feedback.c.created_at, feedback.c.request_id)
    )
    found: dict[str, dict[_Session, list[float]]] = defaultdict(lambda: defaultdict(list))
    with database.begin() as connection:
        for row in connection.execution_options(yield_per=_BATCH).execute(query):
            rated = _rated(row)
            if rated is not None:
                found[rated[0]][rated[1]].append(float(row.rating))
    return {
        trial: [(one.is_new, fmean(ratings)) for one, ratings in sessions.items()]
        for trial, sessions in found.items()
    }


class _Session(NamedTuple):
    """A session in an arm: it is known by its key and its seed, as a receipt does not name it."""

    is_new: bool
    key_name: str
    seed: str


def _rated(row: Any) -> tuple[str, _Session] | None:
    try:
        receipt = orjson.loads(row.document)
        arm = receipt["trial"]
        return str(arm["id"]), _Session(arm["arm"] == "new", row.key_name, str(receipt["seed"]))
    except DAMAGED:
        return None
