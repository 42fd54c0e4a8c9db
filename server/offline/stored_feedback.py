"""Reads the gateway's stored prompts, where the operator allowed storing them, and its feedback."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, Final

from sqlalchemy import Connection, Row, Select, select

from p2l_model.analysis.drift import Judged
from p2l_model.errors import DataError
from p2l_model.preference import binary_log_odds
from p2l_model.types import PreferenceFamily, PromptLeaderboard
from server.build import database_of
from server.config.file import ConfigError
from server.config.ledger_place import ledger_place
from server.config.settings import StorageSettings
from server.storage.database import Database
from server.storage.errors import StorageError
from server.storage.receipts import DAMAGED, leaderboard_names, stored_leaderboard
from server.storage.schema import feedback, prompts, receipts

_BATCH: Final = 500
_MICROS: Final = 1_000_000
_OUTCOMES: Final = {"model_a": 1.0, "model_b": 0.0, "tie": 0.5, "tie_bothbad": 0.5}


def open_database(storage: StorageSettings) -> Database:
    """The configured database. Raises ConfigError, or DataError where nothing has been stored
    yet."""
    place = ledger_place(storage, os.environ)
    if place is not None and not place.path.exists():
        raise _nothing_stored(str(place.path))
    database = database_of(storage)
    if database.path is not None and not database.path.exists():
        raise _nothing_stored(database.shown)
    return database


def _nothing_stored(where: str) -> DataError:
    return DataError(f"{where} does not exist: serve has stored nothing yet")


@contextmanager
def stored_prompts(database: Database) -> Iterator[Iterator[tuple[int, Mapping[str, Any]]]]:
    """Rows for `p2l_model.analysis.prompts`, oldest first, with the columns `key` and `day`. Raises
    DataError where the database cannot be read."""
    query = (
        select(prompts.c.created_at, prompts.c.messages, receipts.c.key_name)
        .join(receipts, receipts.c.request_id == prompts.c.request_id, isouter=True)
        .order_by(prompts.c.created_at, prompts.c.request_id)
    )
    with _streamed(database, query) as rows:
        yield ((number, _prompt(row)) for number, row in enumerate(rows, 1))


def judged_feedback(
    database: Database,
    marginal: PromptLeaderboard,
    names: Mapping[str, str],
    since_s: float,
) -> tuple[list[Judged], int]:
    """Returns (comparisons since then whose receipt has both models, the number of others).

    names: leaderboard names by catalogue name. Raises DataError.
    """
    query = (
        select(
            feedback.c.created_at,
            feedback.c.model_a,
            feedback.c.model_b,
            feedback.c.card_a,
            feedback.c.card_b,
            feedback.c.winner,
            receipts.c.document,
            receipts.c.catalogue_version,
        )
        .join(receipts, receipts.c.request_id == feedback.c.request_id, isouter=True)
        .where(feedback.c.created_at >= int(since_s * _MICROS))
        .order_by(feedback.c.created_at)
    )
    with _reading(database) as connection:
        of_boards = leaderboard_names(connection)
    with _streamed(database, query) as rows:
        found = [_judged(row, marginal, names, of_boards) for row in rows]
    judged = [one for one in found if one is not None]
    return judged, len(found) - len(judged)


@contextmanager
def _streamed(database: Database, query: Select[Any]) -> Iterator[Iterator[Row[Any]]]:
    """Reads rows in parts, never all at once."""
    with _reading(database) as connection:
        yield iter(connection.execution_options(yield_per=_BATCH).execute(query))


@contextmanager
def _reading(database: Database) -> Iterator[Connection]:
    try:
        with database.naming(), database.engine.connect() as connection:
            yield connection
    except (StorageError, ConfigError) as error:
        raise DataError(f"{database.shown} cannot be read: {error}") from error


def _prompt(row: Row[Any]) -> Mapping[str, Any]:
    day = datetime.fromtimestamp(row.created_at / _MICROS, UTC).date().isoformat()
    return {"prompt": json.loads(row.messages), "key": row.key_name, "day": day}


def _judged(
    row: Row[Any],
    marginal: PromptLeaderboard,
    names: Mapping[str, str],
    of_boards: Mapping[str, Sequence[str] | None],
) -> Judged | None:
    """A comparison; None for ratings, and where the receipt is gone or lacks a model."""
    if row.document is None or row.winner not in _OUTCOMES:
        return None
    document = json.loads(row.document)
    board = stored_leaderboard(document, of_boards.get(row.catalogue_version))
    if board is None:
        return None
    a, b = names.get(row.model_a, row.model_a), names.get(row.model_b, row.model_b)
    if a == b:
        return None  # models that share a column: the leaderboard says nothing of their difference
    cards = row.card_a or row.model_a, row.card_b or row.model_b
    predicted = _chance(board, a, b, _shifts(document, cards))
    baseline = _chance(_as_stored(marginal), a, b)
    if predicted is None or baseline is None:
        return None
    return Judged(predicted, baseline, _OUTCOMES[row.winner], row.created_at / _MICROS)


def _shifts(document: Mapping[str, Any], cards: tuple[str, str]) -> tuple[float, float]:
    """By how much the local layer had moved two models of the catalogue."""
    try:
        moved = document["attempts"][0]["request"]["coefficient_shifts"]
        a, b = (float(moved.get(card, (0.0, 0.0))[0]) for card in cards)
    except DAMAGED:
        return 0.0, 0.0
    return a, b


def _chance(
    board: Mapping[str, Any], model_a: str, model_b: str, by: tuple[float, float] = (0.0, 0.0)
) -> float | None:
    """P(a beats b), given that one of them wins, by the receipt's leaderboard. by: what is added to
    their coefficients."""
    place = {name: index for index, name in enumerate(board["models"])}
    if model_a not in place or model_b not in place:
        return None
    a, b = (board["coefficients"][place[name]] for name in (model_a, model_b))
    if a is None or b is None:
        return None
    eta, gamma = board["eta"] or 0.0, board["gamma"] or 0.0
    family = PreferenceFamily(board["family"])
    odds = float(binary_log_odds(family, a + by[0], b + by[1], eta, gamma))
    return 0.5 * (1.0 + math.tanh(0.5 * odds))


def _as_stored(board: PromptLeaderboard) -> Mapping[str, Any]:
    return {
        "family": board.family.value,
        "models": board.models,
        "coefficients": board.coefficients.tolist(),
        "eta": board.eta,
        "gamma": board.gamma,
    }
