"""Stores callers' feedback on answers, and reads it as training data."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import orjson
from sqlalchemy import func, insert, select
from sqlalchemy.exc import IntegrityError

from server.ledger.attempt import Outcome
from server.storage.database import Database
from server.storage.receipts import DAMAGED
from server.storage.rows import micros
from server.storage.schema import attempts, feedback, grades, prompts, receipts


class FeedbackExistsError(Exception):
    """This request has its feedback already: the first one stands."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Opinion:
    """An opinion: winner with model_a and model_b, or rating in [0, 1] of the answer of model.

    messages: JSON, the user's turns; None where they were not given. Names are leaderboard names;
    card, card_a, card_b are the catalogue names of the same models, where they are known.
    """

    model: str | None = None
    model_a: str | None = None
    model_b: str | None = None
    winner: str | None = None
    rating: float | None = None
    messages: str | None = None
    card: str | None = None
    card_a: str | None = None
    card_b: str | None = None


@dataclass(frozen=True, slots=True)
class Asked:
    """The key that made a request, and the model (catalogue name) that answered it; None where none
    did."""

    key_name: str
    model: str | None


def who_asked(database: Database, request_id: str) -> Asked | None:
    """Who made a request; None where there is no such request. Blocks. Raises StorageError."""
    answered = (
        select(attempts.c.key_name, attempts.c.model, attempts.c.outcome)
        .where(attempts.c.request_id == request_id)
        .order_by(attempts.c.attempt.desc())
    )
    with database.begin() as connection:
        rows = connection.execute(answered).all()
        if rows:
            given = next((r.model for r in rows if r.outcome == Outcome.ANSWERED.value), None)
            return Asked(rows[0].key_name, given)
        receipt = connection.execute(
            select(receipts.c.key_name, receipts.c.document, receipts.c.folded_answered).where(
                receipts.c.request_id == request_id
            )
        ).first()
    if receipt is None:
        return None
    return Asked(receipt.key_name, _answerer(receipt) if receipt.folded_answered else None)


def main_request(database: Database, key_name: str, session: str) -> str | None:
    """The request by which the outcome of a whole session is remembered: the first one that was
    answered by the model with the most answers in it. None where the ledger has no answer of such a
    session of the key. Blocks. Raises StorageError."""
    answers = (
        select(attempts.c.model, attempts.c.request_id, attempts.c.started_at)
        .where(
            attempts.c.session == session,
            attempts.c.key_name == key_name,
            attempts.c.outcome == Outcome.ANSWERED.value,
        )
        .order_by(attempts.c.started_at, attempts.c.request_id)
    )
    with database.begin() as connection:
        rows = connection.execute(answers).all()
    if not rows:
        return None
    ((most, _),) = Counter(row.model for row in rows).most_common(1)
    return next(str(row.request_id) for row in rows if row.model == most)


def add_feedback(database: Database, request_id: str, key_name: str, opinion: Opinion) -> None:
    """Stores an opinion. Blocks. Raises FeedbackExistsError, StorageError."""
    row = {
        "request_id": request_id,
        "created_at": micros(time.time()),
        "key_name": key_name,
        "model": opinion.model,
        "model_a": opinion.model_a,
        "model_b": opinion.model_b,
        "winner": opinion.winner,
        "rating": opinion.rating,
        "messages": opinion.messages,
        "card": opinion.card,
        "card_a": opinion.card_a,
        "card_b": opinion.card_b,
    }
    with database.naming():
        try:
            with database.engine.begin() as connection:
                connection.execute(insert(feedback), [row])
        except IntegrityError:
            raise FeedbackExistsError from None


def _answerer(receipt: Any) -> str | None:
    """The model that answered, where the attempts are no longer stored."""
    try:
        model: str = orjson.loads(receipt.document)["attempts"][-1]["decision"]["model"]
    except DAMAGED:
        return None
    return model


def votes(database: Database) -> Iterator[dict[str, Any]]:
    """Feedback that compares two models, in the form that `train` reads; only where the prompt is
    known. Two models that share a column of the leaderboard are left out."""
    compared = feedback.c.winner.is_not(None) & (feedback.c.model_a != feedback.c.model_b)
    for row in _with_prompts(database, compared):
        yield {
            "prompt": orjson.loads(row["prompt"]),
            "model_a": row["model_a"],
            "model_b": row["model_b"],
            "winner": row["winner"],
            "user": row["key_name"],
        }


def scores(database: Database) -> Iterator[dict[str, Any]]:
    """Ratings in the form of score files; only where the prompt and the model are known."""
    known = feedback.c.rating.is_not(None) & feedback.c.model.is_not(None)
    for row in _with_prompts(database, known):
        yield {
            "prompt": orjson.loads(row["prompt"]),
            "model": row["model"],
            "score": row["rating"],
            "user": row["key_name"],
        }


def count_feedback(database: Database) -> int:
    """The number of all opinions, with or without a prompt. Blocks. Raises StorageError."""
    with database.begin() as connection:
        return int(connection.execute(select(func.count()).select_from(feedback)).scalar() or 0)


def answers_by_model(database: Database) -> dict[str, int]:
    """How many opinions and grades there are on each model's answers, by catalogue name, else by
    leaderboard name. Blocks. Raises StorageError."""
    found: dict[str, int] = {}
    cards = (feedback.c.card, feedback.c.model), (feedback.c.card_a, feedback.c.model_a)
    named = *cards, (feedback.c.card_b, feedback.c.model_b)
    columns = [func.coalesce(*pair) for pair in named]
    with database.begin() as connection:
        for column in (*columns, grades.c.model, grades.c.model_b):
            counted = select(column, func.count()).where(column.is_not(None)).group_by(column)
            for name, number in connection.execute(counted):
                found[name] = found.get(name, 0) + int(number)
    return found


def _with_prompts(database: Database, which: Any) -> Iterator[Any]:
    prompt = func.coalesce(feedback.c.messages, prompts.c.messages)
    query = (
        select(feedback, prompt.label("prompt"))
        .join_from(feedback, prompts, feedback.c.request_id == prompts.c.request_id, isouter=True)
        .where(which, prompt.is_not(None))
        .order_by(feedback.c.created_at, feedback.c.request_id)
    )
    with database.begin() as connection:
        yield from connection.execution_options(yield_per=1000).execute(query).mappings()
