"""Hands the grades of a run to the local layer: in the storage, without any text."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Final

import numpy as np
import orjson
from sqlalchemy import select

from p2l_model.types import PreferenceFamily, PromptLeaderboard
from server.offline.learn.journal import Want
from server.offline.learn.results import Grade as Graded
from server.offline.learn.results import Results
from server.storage.database import Database
from server.storage.grades import Grade, add_grades, board_of
from server.storage.receipts import DAMAGED, leaderboard_names, stored_leaderboard
from server.storage.schema import receipts

_AT_ONCE: Final = 500


def apply(results: Results, database: Database) -> int:
    """Stores the grades, each with its prompt's leaderboard, and returns how many were not stored
    before. Blocks. Raises StorageError."""
    boards = _boards(database, set(results.request_ids.values()))
    return add_grades(database, [_stored(one, results, boards) for one in results.grades])


def _stored(grade: Graded, results: Results, boards: Mapping[str, Mapping[str, Any]]) -> Grade:
    request_id = results.request_ids.get(Want(grade.task.id, grade.model), "")
    return Grade(
        id=f"{results.plan.run}:{grade.task.id}:{grade.model}",
        source=grade.source,
        model=grade.model,
        score=grade.score,
        leaderboard=boards.get(request_id),
    )


def _boards(database: Database, request_ids: Collection[str]) -> dict[str, Mapping[str, Any]]:
    """The leaderboards by which requests were decided; requests without a receipt are missing."""
    wanted = sorted(request_ids)
    found: dict[str, Mapping[str, Any]] = {}
    with database.begin() as connection:
        names = leaderboard_names(connection)
        for start in range(0, len(wanted), _AT_ONCE):
            query = select(
                receipts.c.request_id, receipts.c.document, receipts.c.catalogue_version
            ).where(receipts.c.request_id.in_(wanted[start : start + _AT_ONCE]))
            for row in connection.execute(query):
                try:
                    document = orjson.loads(row.document)
                except DAMAGED:
                    continue
                board = stored_leaderboard(document, names.get(row.catalogue_version))
                if board is not None:
                    found[row.request_id] = _as_grades_store_it(board)
    return found


def _as_grades_store_it(board: Mapping[str, Any]) -> dict[str, Any]:
    scores = board.get("expected_scores")
    return board_of(
        PromptLeaderboard(
            PreferenceFamily(board["family"]),
            tuple(board["models"]),
            np.array(board["coefficients"], dtype=np.float64),
            board["eta"],
            board["gamma"],
            expected_scores=None if scores is None else np.array(scores, dtype=np.float64),
        )
    )
