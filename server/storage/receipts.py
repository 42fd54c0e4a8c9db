"""Receipts, and the prompts that are kept where the configuration says so."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import orjson
from sqlalchemy import delete, select

from router.receipt_form import unfold, unfold_leaderboard
from server.storage.database import Database
from server.storage.rows import MICRO, micros
from server.storage.schema import catalogues, prompts, receipts

_DAY_S = 86_400


@dataclass(frozen=True, slots=True)
class StoredReceipt:
    """document: JSON, whole again with what many receipts share."""

    key_name: str
    document: bytes


def find_receipt(database: Database, request_id: str) -> StoredReceipt | None:
    """Blocks. Raises StorageError."""
    query = (
        select(receipts.c.key_name, receipts.c.document, catalogues.c.document)
        .join_from(receipts, catalogues, receipts.c.catalogue_version == catalogues.c.version)
        .where(receipts.c.request_id == request_id)
    )
    with database.begin() as connection:
        row = connection.execute(query).first()
    if row is None:
        return None
    return StoredReceipt(row[0], orjson.dumps(unfold(orjson.loads(row[1]), _parsed(row[2]))))


def stored_leaderboard(document: str, common: str) -> dict[str, Any]:
    """Of a receipt's row and its row of catalogues, as router.receipt has it."""
    return unfold_leaderboard(orjson.loads(document), _parsed(common))


@lru_cache(maxsize=8)
def _parsed(common: str) -> Any:
    """Thousands of receipts share it."""
    return orjson.loads(common)


def prune(database: Database, days: int | None, now: float) -> None:
    """Deletes what is older; days None: nothing. Blocks. Raises StorageError."""
    if days is None:
        return
    cutoff = micros(now) - days * _DAY_S * MICRO
    with database.begin() as connection:
        for table in (receipts, prompts):
            connection.execute(delete(table).where(table.c.created_at < cutoff))
