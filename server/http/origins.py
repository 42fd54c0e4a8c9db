"""Decides which web pages may call, and under which host names a server without keys may be called.

Any page that somebody visits can send requests to the loopback addresses of their machine. Where no
key is needed, it could spend their money: from its own origin, or from a host name of its own that
it has made point here (DNS rebinding). So a server without keys serves only its own machine's host
names and pages from them. Where keys are needed, a page needs one like everybody else; it only
remains to say which pages may read the answers (CORS).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from fastapi import Request, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from server.auth.authenticator import Authenticator
from server.errors import MisconfiguredOriginError
from server.http.error_handlers import error_answer
from server.wire.headers import find_header
from server.wire.hosts import is_loopback_authority, is_loopback_origin

# A key in the scope of a request whose answer gets headers added in send().
ADDS_HEADERS: Final = "p2l.adds_headers"
ANY_ORIGIN: Final = "*"
_REMEMBERED: Final = 256
_SHOWN_CHARS: Final = 100
_EXPOSED: Final = frozenset({b"retry-after", b"server-timing"})
_VARY: Final = (b"vary", b"Origin")


@dataclass(frozen=True, slots=True)
class Verdict:
    """The decision on a request. answer: the response, where it is already determined: a refusal,
    or the answer to a preflight. allow: the origin that may read the answer."""

    answer: Response | None = None
    allow: bytes | None = None

    def sending(self, scope: Scope, send: Send) -> Send:
        """The send function for the request's answer."""
        if self.allow is not None:
            scope[ADDS_HEADERS] = True
        elif scope["method"] not in ("GET", "HEAD"):
            return send
        return _with_headers(send, self.allow)


def judge(scope: Scope, authenticator: Authenticator, cors_origins: Sequence[str] = ()) -> Verdict:
    """Decides on a request. cors_origins: the pages that may call a server with keys; `*`: every
    page."""
    headers = scope["headers"]
    if authenticator.is_open:
        try:
            allow = local_origin(headers)
        except MisconfiguredOriginError as error:
            return Verdict(error_answer(Request(scope), error))
    else:
        allow = _allowed(headers, cors_origins)
    asks = find_header(headers, b"access-control-request-method") is not None
    if allow is not None and asks and scope["method"] == "OPTIONS":
        return Verdict(_preflight(headers, allow))
    return Verdict(allow=allow)


class OriginGuard:
    """ASGI middleware for an app whose keys the authenticator knows."""

    def __init__(self, app: ASGIApp, authenticator: Authenticator) -> None:
        self._app = app
        self._authenticator = authenticator

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and self._authenticator.is_open:
            verdict = judge(scope, self._authenticator)
            if verdict.answer is not None:
                await verdict.answer(scope, receive, send)
                return
            send = verdict.sending(scope, send)
        await self._app(scope, receive, send)


def local_origin(headers: Iterable[tuple[bytes, bytes]]) -> bytes | None:
    """The page that calls a server without keys; None where no page does.

    Raises MisconfiguredOriginError where the page, or the host name that it uses, does not belong
    to this machine.
    """
    host = origin = None
    for name, value in headers:
        if name == b"host":
            if host is not None:
                raise MisconfiguredOriginError("several Host headers")
            host = value
        elif name == b"origin":
            if origin is not None:
                raise MisconfiguredOriginError("several Origin headers")
            origin = value
    if host is None:
        raise MisconfiguredOriginError("no Host header")
    if not _is_local_host(host):
        raise MisconfiguredOriginError(f"the Host {_shown(host)}")
    if origin is not None and not _is_local_origin(origin):
        raise MisconfiguredOriginError(f"the Origin {_shown(origin)}")
    return origin


@lru_cache(_REMEMBERED)
def _is_local_host(host: bytes) -> bool:
    return is_loopback_authority(host.decode("latin-1"))


@lru_cache(_REMEMBERED)
def _is_local_origin(origin: bytes) -> bool:
    return is_loopback_origin(origin.decode("latin-1"))


def _shown(value: bytes) -> str:
    return repr(value.decode("latin-1")[:_SHOWN_CHARS])


def _allowed(headers: Iterable[tuple[bytes, bytes]], cors_origins: Sequence[str]) -> bytes | None:
    origin = find_header(headers, b"origin")
    if origin is None:
        return None
    if ANY_ORIGIN in cors_origins:
        return ANY_ORIGIN.encode()
    return origin if origin.decode("latin-1") in cors_origins else None


def _with_headers(send: Send, allow: bytes | None) -> Send:
    """A send function that adds the CORS headers. allow: the origin that may read the answer. Even
    without one, a cache is told that the answer for a page would differ."""

    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = list(message.get("headers", ()))
            message = {**message, "headers": [*headers, *_readable(headers, allow), _VARY]}
        await send(message)

    return sending


def _readable(
    headers: Iterable[tuple[bytes, bytes]], allow: bytes | None
) -> Iterable[tuple[bytes, bytes]]:
    """Adds the headers that let a page read the answer and our own headers."""
    if allow is None:
        return
    yield b"access-control-allow-origin", allow
    own = dict.fromkeys(n for n, _ in headers if n.startswith(b"x-") or n in _EXPOSED)
    if own:
        yield b"access-control-expose-headers", b", ".join(own)


def _preflight(headers: Iterable[tuple[bytes, bytes]], allow: bytes) -> Response:
    """The answer to a preflight. Any header may be sent: the page is trusted as a whole, or not at
    all."""
    wanted = find_header(headers, b"access-control-request-headers") or b"*"
    response = Response(status_code=204)
    response.raw_headers = [
        (b"access-control-allow-origin", allow),
        (b"access-control-allow-methods", b"GET, HEAD, POST, DELETE, OPTIONS"),
        (b"access-control-allow-headers", wanted),
        (b"access-control-max-age", b"600"),
        (b"vary", b"Origin, Access-Control-Request-Method, Access-Control-Request-Headers"),
    ]
    return response
