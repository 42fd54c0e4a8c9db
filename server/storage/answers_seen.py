"""Counts the answers that people, checkers and judges have graded or compared."""

from __future__ import annotations

from collections import Counter
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, func, select

from server.storage.database import Database
from server.storage.rows import MICRO
from server.storage.schema import feedback, grades


class AnswersSeen(NamedTuple):
    """Of one model, by its name in the catalogue, else on the leaderboard. ratings, comparisons: by
    callers; graded: by checkers and judges. latest_at: seconds since 1970."""

    model: str
    ratings: int
    comparisons: int
    graded: int
    latest_at: float


def answers_seen(database: Database) -> list[AnswersSeen]:
    """The models with answers, the most frequent first. Blocks. Raises StorageError."""
    rated, compared, graded = Counter[str](), Counter[str](), Counter[str]()
    latest: dict[str, int] = {}
    counted = (
        (rated, func.coalesce(feedback.c.card, feedback.c.model), feedback.c.created_at),
        (compared, func.coalesce(feedback.c.card_a, feedback.c.model_a), feedback.c.created_at),
        (compared, func.coalesce(feedback.c.card_b, feedback.c.model_b), feedback.c.created_at),
        (graded, grades.c.model, grades.c.created_at),
        (graded, grades.c.model_b, grades.c.created_at),
    )
    for counter, model, created in counted:
        for name, n, last in _counts(database, model, created):
            counter[name] += n
            latest[name] = max(latest.get(name, 0), last)
    found = [
        AnswersSeen(name, rated[name], compared[name], graded[name], last / MICRO)
        for name, last in latest.items()
    ]
    return sorted(found, key=lambda one: (-one.ratings - one.comparisons - one.graded, one.model))


def _counts(
    database: Database, model: ColumnElement[Any], created: ColumnElement[Any]
) -> list[tuple[str, int, int]]:
    query = select(model, func.count(), func.max(created)).where(model.is_not(None)).group_by(model)
    with database.begin() as connection:
        return [(str(name), int(n), int(last)) for name, n, last in connection.execute(query)]
