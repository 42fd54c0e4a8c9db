"""Reads receipts, and the prompts that are stored where the configuration says so."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson
from sqlalchemy import Connection, select

from router.receipt_form import models_of, unfold, unfold_leaderboard
from server.storage.database import Database
from server.storage.schema import catalogues, receipts

# The errors of reading a damaged document: one such row must not hide all the others.
DAMAGED: Final = (ValueError, TypeError, LookupError, AttributeError)


@dataclass(frozen=True, slots=True)
class StoredReceipt:
    """A stored receipt. document: JSON, with the parts that receipts share put back."""

    key_name: str
    document: bytes


def find_receipt(database: Database, request_id: str) -> StoredReceipt | None:
    """A request's receipt; None where there is none. Blocks. Raises StorageError."""
    query = (
        select(receipts.c.key_name, receipts.c.document, catalogues.c.document)
        .join_from(receipts, catalogues, receipts.c.catalogue_version == catalogues.c.version)
        .where(receipts.c.request_id == request_id)
    )
    with database.begin() as connection:
        row = connection.execute(query).first()
    if row is None:
        return None
    return StoredReceipt(row[0], orjson.dumps(unfold(orjson.loads(row[1]), orjson.loads(row[2]))))


def leaderboard_names(connection: Connection) -> dict[str, list[str] | None]:
    """The model names of leaderboards, by the key of the part that receipts share. They are read
    once for thousands of receipts, and without the catalogues, which are longer than a receipt."""
    rows = connection.execute(select(catalogues.c.version, catalogues.c.document))
    return {version: _models(document) for version, document in rows}


def _models(document: str) -> list[str] | None:
    try:
        return models_of(orjson.loads(document))
    except DAMAGED:
        return None


def stored_leaderboard(
    document: Mapping[str, Any], models: Sequence[str] | None
) -> dict[str, Any] | None:
    """The leaderboard of a stored receipt. models: see leaderboard_names. None where they are no
    longer stored."""
    try:
        return unfold_leaderboard(document, models)
    except DAMAGED:
        return None
