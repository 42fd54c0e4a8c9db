"""Kept responses: the same tests on SQLite and PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from server.storage.database import Database
from server.storage.migrate import migrate
from server.storage.pruning import delete_older
from server.storage.responses import (
    ConversationTooLongError,
    KeptResponse,
    PreviousResponseError,
    delete_response,
    find_response,
    keep_response,
    read_conversation,
)
from server.storage.schema import responses

DAY_S = 86_400.0


@pytest.fixture
def database(storage_url: str) -> Iterator[Database]:
    made = Database(storage_url)
    migrate(made)
    yield made
    made.close()


def response(n: int, previous: int | None = None, key: str = "team", day: int = 0) -> KeptResponse:
    return KeptResponse(
        id=f"resp_{n}",
        key_name=key,
        created_at=day * DAY_S,
        previous_id=None if previous is None else f"resp_{previous}",
        input=[{"role": "user", "content": f"ask {n} \u00e9\u0000"}],
        document={"id": f"resp_{n}", "output": [{"type": "message", "content": f"say {n}"}]},
    )


def conversation(database: Database, n: int, key: str = "team", limit: int = 10_000) -> list[str]:
    return [one.id for one in read_conversation(database, f"resp_{n}", key, limit)]


def test_a_conversation_is_read_in_order_along_its_own_branch(database: Database) -> None:
    for n, previous in ((1, None), (2, 1), (3, 2), (4, 2), (5, None)):
        keep_response(database, response(n, previous))
    assert conversation(database, 3) == ["resp_1", "resp_2", "resp_3"]
    assert conversation(database, 4) == ["resp_1", "resp_2", "resp_4"]
    last = read_conversation(database, "resp_5", "team", 10_000)[0]
    assert last == response(5)
    assert "ask" not in repr(last)
    assert "say" not in repr(last)


def test_a_key_has_its_own_alone(database: Database) -> None:
    keep_response(database, response(1))
    keep_response(database, response(2, 1, key="others"))
    assert find_response(database, "resp_1", "others") is None
    assert not delete_response(database, "resp_1", "others")
    assert find_response(database, "resp_1", "team") is not None
    for n, missing in ((1, "resp_1"), (2, "resp_1")):
        with pytest.raises(PreviousResponseError, match=missing):
            conversation(database, n, "others")


def test_what_is_deleted_is_gone_and_nothing_goes_on_without_it(database: Database) -> None:
    for n, previous in ((1, None), (2, 1), (3, 2)):
        keep_response(database, response(n, previous))
    assert delete_response(database, "resp_2", "team")
    assert not delete_response(database, "resp_2", "team")
    assert find_response(database, "resp_3", "team") is not None
    assert conversation(database, 1) == ["resp_1"]
    with pytest.raises(PreviousResponseError, match="resp_2"):
        conversation(database, 3)


def test_a_conversation_has_a_bound(database: Database) -> None:
    keep_response(database, response(1))
    keep_response(database, response(2, 1))
    assert conversation(database, 1, limit=150) == ["resp_1"]
    with pytest.raises(ConversationTooLongError):
        conversation(database, 2, limit=150)


def test_what_is_old_is_deleted_where_there_is_an_age(database: Database) -> None:
    keep_response(database, response(1, day=10))
    keep_response(database, response(2, day=12))
    delete_older(database, responses, None, 1000 * DAY_S)
    assert conversation(database, 1) == ["resp_1"]
    delete_older(database, responses, 30, 41 * DAY_S)
    assert find_response(database, "resp_1", "team") is None
    assert find_response(database, "resp_2", "team") is not None
