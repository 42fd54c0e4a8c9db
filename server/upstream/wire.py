"""What all adapters share for bytes and headers."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, Final

import orjson

from server.config.secret import Secret
from server.process.collecting import without_collecting
from server.process.heavy import LARGE_BYTES, Heavy
from server.upstream.errors import UpstreamRejectedError
from server.upstream.exchange import EVENT_STREAM, Answer
from server.upstream.said import error_in
from server.wire.json_pieces import NotJsonError, loads_in_pieces
from server.wire.json_size import JsonSize, TooManyError, size_of
from server.wire.sse import SseEvent
from server.wire.well_formed import finite, loads

# Limits for an event of a stream and for a whole answer: embeddings and log probabilities are long.
_MOST: Final = JsonSize(values=500_000, containers=100_000, keys=100_000, backslashes=4_000_000)
_MOST_OF_ALL: Final = JsonSize(
    values=8_000_000, containers=1_000_000, keys=2_000_000, backslashes=16_000_000
)
# Answers with more values are parsed piece by piece.
_MANY_VALUES: Final = 100_000


def json_object(content: bytes) -> dict[str, Any] | None:
    """The JSON object in the content; None where there is none, or where it exceeds the limits."""
    try:
        if len(content) > LARGE_BYTES:
            size_of(content, _MOST)
        parsed, _ = loads(content)
    except TooManyError:
        return None
    except orjson.JSONDecodeError:
        made = finite(content)
        return None if made is content else json_object(made)
    return parsed if isinstance(parsed, dict) else None


def read_event(event: SseEvent) -> dict[str, Any] | None:
    """As `json_object`, of an event that is passed on: numbers that its caller could not read are
    repaired in the event as well. Each of a stream comes through here, and hardly one needs it."""
    if len(event.data) <= LARGE_BYTES:
        try:
            parsed, _ = loads(event.data)
        except orjson.JSONDecodeError:
            pass
        else:
            event.parsed = parsed if isinstance(parsed, dict) else None
            return event.parsed
    event.parsed = json_object(event.data)
    if event.parsed is not None:
        event.data = finite(event.data)
    return event.parsed


def long_object(content: bytes) -> dict[str, Any] | None:
    """The JSON object in a long answer, which has higher limits. To be called in a thread."""
    try:
        if size_of(content, _MOST_OF_ALL).values <= _MANY_VALUES:
            parsed, _ = loads(content)
        else:
            with without_collecting():
                parsed = loads_in_pieces(content)
    except TooManyError:
        return None
    except (orjson.JSONDecodeError, NotJsonError):
        made = finite(content)
        return None if made is content else long_object(made)
    return parsed if isinstance(parsed, dict) else None


async def whole_object(heavy: Heavy, answer: Answer) -> dict[str, Any] | None:
    """The JSON object of a whole answer, read in a thread where it is large."""
    if not answer.is_large:
        return json_object(answer.content)
    return await heavy.run(partial(long_object, answer.content))


def json_bytes(body: Mapping[str, Any]) -> bytes:
    """A body as bytes. Raises UpstreamRejectedError for content that no provider could read either,
    such as half a surrogate pair."""
    try:
        return orjson.dumps(body)
    except (orjson.JSONEncodeError, TypeError):
        raise UpstreamRejectedError(
            "the request body cannot be written as JSON",
            status=400,
            body=envelope("The request body cannot be written as JSON."),
        ) from None


def envelope(
    message: str, kind: str = "invalid_request_error", code: str | None = None
) -> dict[str, Any]:
    """OpenAI's error envelope."""
    return {"error": {"message": message, "type": kind, "param": None, "code": code}}


def headers_for(stream: bool) -> dict[str, str]:
    """The headers of a call that do not depend on the provider."""
    return {
        "content-type": "application/json",
        "user-agent": "p2l-router",
        "accept": EVENT_STREAM if stream else "application/json",
        "accept-encoding": "identity" if stream else "gzip",
    }


def bare_key(name: str, api_key: Secret | None) -> str:
    """The key as it stands in a header; empty where there is none.

    Raises ValueError for a key that cannot be an HTTP header.
    """
    # A key read from a file often ends in a newline.
    key = api_key.reveal().strip() if api_key is not None else ""
    if not (key.isascii() and (key.isprintable())):
        raise ValueError(
            f"the API key of provider {name} holds characters that are not allowed "
            "in an HTTP header"
        )
    return key


def without_key(content: bytes, api_key: Secret | None) -> bytes:
    """Content for a caller, without the key: a provider may quote what it was sent."""
    key = api_key.reveal().strip().encode() if api_key else b""
    return content.replace(key, b"**********") if key else content


def told(content: bytes, api_key: Secret | None) -> dict[str, Any]:
    """The object inside OpenAI's envelope for a provider's error, without the key; empty where it
    said nothing."""
    return error_in(without_key(content, api_key))


def refusal_envelope(error: dict[str, Any], status: int) -> dict[str, Any]:
    """The envelope for the caller. error: as `told` found it."""
    if error:
        # An error that was made from a provider's words has no type yet.
        made = "type" in error and error["type"] is None
        return {"error": {**error, "type": "invalid_request_error"} if made else error}
    return envelope(f"The model's provider refused the request with status {status}.")
