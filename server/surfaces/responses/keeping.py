"""Stores responses where the operator allows it and the caller asks for it, and retrieves them."""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar

from server.config.settings import Settings
from server.errors import InvalidRequestError, NotFoundError, OverloadedError
from server.storage.errors import StorageError
from server.storage.responses import (
    ConversationTooLongError,
    KeptResponse,
    PreviousResponseError,
    delete_response,
    find_response,
    keep_response,
    read_conversation,
)
from server.storage.store import Store
from server.surfaces.responses.ids import new_id
from server.surfaces.responses.turn import Turn

_LOG: Final = logging.getLogger(__name__)
_ID: Final = re.compile(r"resp_[0-9a-f]{32}")
T = TypeVar("T")


class KeptResponses:
    """The stored responses of one key. Not even an admin may read another key's."""

    def __init__(self, store: Store, settings: Settings, key_name: str) -> None:
        self._store = store
        self._allowed = settings.storage.keep_responses
        self._max_bytes = settings.limits.max_body_bytes
        self._key_name = key_name

    def new_id(self, body: Mapping[str, Any]) -> str | None:
        """The id under which the answer will be stored; None where the caller does not ask for it.

        Raises InvalidRequestError where storing is not allowed, OverloadedError where it would
        fail.
        """
        if body.get("store") is not True:
            return None
        self._check_allowed("store", "Leave it out or set it to false")
        if self._store.failure is not None:
            raise _unavailable()
        return new_id("resp")

    async def before(self, body: Mapping[str, Any]) -> list[KeptResponse]:
        """The conversation that the request continues, oldest response first.

        Raises InvalidRequestError, OverloadedError.
        """
        previous_id = body.get("previous_response_id")
        if previous_id is None:
            return []
        self._check_allowed("previous_response_id", "Send the earlier items as input")
        try:
            return await self._conversation(previous_id)
        except PreviousResponseError as missing:
            raise InvalidRequestError(
                f"Previous response with id {str(missing)[:80]!r} not found.",
                param="previous_response_id",
                code="previous_response_not_found",
            ) from None
        except ConversationTooLongError:
            raise InvalidRequestError(
                f"previous_response_id: the conversation is over {self._max_bytes} bytes.",
                param="previous_response_id",
            ) from None

    async def keep(self, turn: Turn, response: dict[str, Any]) -> bool:
        """Stores a response; returns whether that succeeded. It does not raise: the answer is paid
        for."""
        if turn.kept_as is None:
            return False
        kept = KeptResponse(
            id=turn.kept_as,
            key_name=self._key_name,
            created_at=time.time(),
            previous_id=turn.previous_id,
            input=turn.input,
            document=response,
        )
        try:
            await asyncio.to_thread(keep_response, self._store.database, kept)
        except Exception as error:
            # The error's message may quote the conversation.
            _LOG.error(
                "the response %s could not be stored: %s", turn.kept_as, type(error).__name__
            )
            return False
        return True

    async def find(self, response_id: str) -> bytes:
        """A stored response as JSON. Raises NotFoundError, OverloadedError."""
        found = await self._read(response_id, find_response)
        if found is None:
            raise _not_found(response_id)
        return found

    async def delete(self, response_id: str) -> None:
        """Deletes a stored response. Raises NotFoundError, OverloadedError."""
        if not await self._read(response_id, delete_response):
            raise _not_found(response_id)

    async def conversation(self, response_id: str) -> list[KeptResponse]:
        """The responses that this one continues, with itself as the last. Raises NotFoundError,
        OverloadedError."""
        try:
            return await self._conversation(response_id)
        except (PreviousResponseError, ConversationTooLongError):
            raise _not_found(response_id) from None

    async def _conversation(self, response_id: object) -> list[KeptResponse]:
        def read(database: Any, identifier: str, key_name: str) -> list[KeptResponse]:
            return read_conversation(database, identifier, key_name, self._max_bytes)

        found = await self._read(response_id, read)
        if found is None:
            raise PreviousResponseError(response_id)
        return found

    async def _read(self, response_id: object, read: Callable[[Any, str, str], T]) -> T | None:
        if not isinstance(response_id, str) or not _ID.fullmatch(response_id):
            return None
        try:
            return await asyncio.to_thread(read, self._store.database, response_id, self._key_name)
        except StorageError:
            raise _unavailable() from None

    def _check_allowed(self, param: str, instead: str) -> None:
        if not self._allowed:
            raise InvalidRequestError(
                f"{param}: responses are not stored here (storage.keep_responses). {instead}.",
                param=param,
            )


def _not_found(response_id: str) -> NotFoundError:
    return NotFoundError(
        f"Response with id {response_id[:80]!r} not found.",
        code="response_not_found",
        param="response_id",
    )


def _unavailable() -> OverloadedError:
    return OverloadedError("Stored responses are not available just now.")
