"""Finds the session that a request names: in our own header, or in data that its client sends
anyway."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

import orjson

from server.errors import InvalidRequestError
from server.wire.headers import header_text

HEADER: Final = "X-Session-Id"
FIELD: Final = "p2l.session"
_OURS: Final = b"x-session-id"
# The headers of Claude Code, of Codex in several versions, and of opencode: the first one present
# counts.
_OF_CLIENTS: Final = (
    b"x-claude-code-session-id",
    b"session-id",
    b"session_id",
    b"conversation_id",
    b"x-session-affinity",
)
_WHO: Final = (b"user-agent", b"originator")
_TELLING: Final = frozenset({_OURS, *_OF_CLIENTS})
_TELLING_FIELDS: Final = frozenset({"p2l", "metadata", "prompt_cache_key"})
# These clients make a prompt cache key for each conversation; others use one for an application.
_ONE_KEY_EACH: Final = (b"codex", b"opencode")
_MOST_CHARS: Final = 128
# A client's own name for a session only needs a limit: it is hashed, and may be a document.
_MOST_OF_CLIENTS: Final = 2_000
_IN_USER_ID: Final = re.compile(r"_session_([0-9a-zA-Z-]{8,64})$")

RawHeaders = Iterable[tuple[bytes, bytes]]


def session_named(headers: RawHeaders, body: Mapping[str, Any]) -> str | None:
    """The name of the session; None where the request has none. Raises InvalidRequestError for an
    invalid name in our own header or field."""
    told = [header for header in headers if header[0] in _TELLING]
    if not told and _TELLING_FIELDS.isdisjoint(body):
        return None
    own = _own(told, body)
    if own is not None:
        return own
    for name in _OF_CLIENTS if told else ():
        for header, value in told:
            if header == name and (text := _plain(value.decode("latin-1"))) is not None:
                return text
    if "metadata" in body and (found := _in_metadata(body["metadata"])) is not None:
        return found
    if "prompt_cache_key" in body and _has_one_key_each(headers):
        return _plain(body["prompt_cache_key"])
    return None


def _own(told: RawHeaders, body: Mapping[str, Any]) -> str | None:
    given = [value for name, value in told if name == _OURS]
    if len(given) > 1:
        raise InvalidRequestError(f"{HEADER} is given more than once.", param=HEADER)
    by_header = checked_name(header_text(given[0]).strip(" \t"), HEADER) if given else None
    twin = body.get("p2l") if "p2l" in body else None
    by_field = None
    if isinstance(twin, dict) and twin.get("session") is not None:
        by_field = checked_name(twin["session"], FIELD)
    if by_header is not None and by_field is not None and by_header != by_field:
        raise InvalidRequestError(
            f"{HEADER} and {FIELD} have different values: give one of them.",
            param=HEADER,
            code="conflicting_routing_options",
        )
    return by_field if by_header is None else by_header


def checked_name(value: object, param: str) -> str:
    """The name of a session, as a caller states it in `param`. Raises InvalidRequestError."""
    if isinstance(value, str) and 0 < len(value) <= _MOST_CHARS and value.isprintable():
        return value
    raise InvalidRequestError(
        f"{param} must be a text of 1 to {_MOST_CHARS} printable characters.", param=param
    )


def _plain(value: object) -> str | None:
    """A client's value, where it can be a name; otherwise it is ignored."""
    if isinstance(value, str) and 0 < len(value) <= _MOST_OF_CLIENTS:
        return value
    return None


def _in_metadata(metadata: object) -> str | None:
    """The session in Claude Code's user id: at its end, or in a document."""
    user = metadata.get("user_id") if isinstance(metadata, dict) else None
    if not isinstance(user, str) or "session" not in user:
        return None
    found = _IN_USER_ID.search(user)
    if found is not None:
        return found.group(1)
    if not user.startswith("{") or len(user) > _MOST_OF_CLIENTS:
        return None
    try:
        document = orjson.loads(user)
    except orjson.JSONDecodeError:
        return None
    return _plain(document.get("session_id"))


def _has_one_key_each(headers: RawHeaders) -> bool:
    return any(
        client in value.lower()
        for name, value in headers
        if name in _WHO
        for client in _ONE_KEY_EACH
    )
