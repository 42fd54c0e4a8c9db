"""Responses that callers asked to be stored, each for the key that made it.

They are written only to the database: a spool would still have them long after they are deleted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson
from sqlalchemy import CTE, delete, func, insert, literal, select

from server.storage.database import Database
from server.storage.rows import MICRO, micros
from server.storage.schema import responses

Item = dict[str, Any]


class PreviousResponseError(Exception):
    """A response of the conversation does not exist (any more); the message is its id."""


class ConversationTooLongError(Exception):
    """The conversation so far is larger than allowed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptResponse:
    """A stored response. document: the response object as it was sent; input: its own items only,
    as they were received. created_at: seconds since 1970. The repr hides the content."""

    id: str
    key_name: str
    created_at: float
    previous_id: str | None
    input: Sequence[Item] = field(repr=False)
    document: Item = field(repr=False)


def keep_response(database: Database, kept: KeptResponse) -> None:
    """Stores a response. Blocks. Raises StorageError."""
    said, document = orjson.dumps(kept.input), orjson.dumps(kept.document)
    row = {
        "id": kept.id,
        "created_at": micros(kept.created_at),
        "key_name": kept.key_name,
        "previous_id": kept.previous_id,
        "n_bytes": len(said) + len(document),
        "input": said.decode(),
        "document": document.decode(),
    }
    with database.begin() as connection:
        connection.execute(insert(responses), [row])


def find_response(database: Database, response_id: str, key_name: str) -> bytes | None:
    """The response object as JSON; None where this key has no such response. Blocks. Raises
    StorageError."""
    query = select(responses.c.document).where(
        responses.c.id == response_id, responses.c.key_name == key_name
    )
    with database.begin() as connection:
        found: str | None = connection.execute(query).scalar()
    return None if found is None else found.encode()


def delete_response(database: Database, response_id: str, key_name: str) -> bool:
    """Deletes a response; returns whether this key had it. Blocks. Raises StorageError."""
    statement = delete(responses).where(
        responses.c.id == response_id, responses.c.key_name == key_name
    )
    with database.begin() as connection:
        return bool(connection.execute(statement).rowcount)


def read_conversation(
    database: Database, response_id: str, key_name: str, max_bytes: int
) -> list[KeptResponse]:
    """The response and all that it continues, oldest first. Blocks.

    Raises PreviousResponseError where one of them does not exist, ConversationTooLongError,
    StorageError.
    """
    chain = _chain(response_id, key_name)
    whole = select(func.count(), func.sum(chain.c.n_bytes)).select_from(chain)
    rows = (
        select(responses)
        .join_from(chain, responses, responses.c.id == chain.c.id)
        .order_by(chain.c.age.desc())
    )
    with database.begin() as connection:
        count, n_bytes = connection.execute(whole).one()
        if count > 0 and n_bytes > max_bytes:
            raise ConversationTooLongError(max_bytes)
        found = [_kept(row) for row in connection.execute(rows)]
    missing = found[0].previous_id if found else response_id
    if missing is not None:
        raise PreviousResponseError(missing)
    return found


def _chain(response_id: str, key_name: str) -> CTE:
    """The columns (id, previous_id, n_bytes, age) of a response and of its predecessors; the
    response itself has age 0."""
    columns = (responses.c.id, responses.c.previous_id, responses.c.n_bytes)
    chain = (
        select(*columns, literal(0).label("age"))
        .where(responses.c.id == response_id, responses.c.key_name == key_name)
        .cte("chain", recursive=True)
    )
    before = select(*columns, (chain.c.age + 1).label("age")).where(
        responses.c.id == chain.c.previous_id, responses.c.key_name == key_name
    )
    return chain.union_all(before)


def _kept(row: Any) -> KeptResponse:
    return KeptResponse(
        id=row.id,
        key_name=row.key_name,
        created_at=row.created_at / MICRO,
        previous_id=row.previous_id,
        input=orjson.loads(row.input),
        document=orjson.loads(row.document),
    )
