"""An HTTP/1.1 connection pool over asyncio, behind httpx's transport interface.

httpx's own transport spends milliseconds of CPU on a request; this one some tens of microseconds.
It does only what a gateway needs: no redirects, no cookies, no HTTP/2, and no request is ever sent
twice, since sending a POST again may mean paying for it twice.
"""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from collections.abc import Callable
from functools import cached_property, partial
from typing import Any, Final, NamedTuple

import httpx

from server.upstream.dial import Dialer, Origin
from server.upstream.errors import Progress, Stage
from server.upstream.http1 import Connection, Deadline
from server.upstream.proxies import NO_PROXIES, Proxies, Proxy

_NOT_IN_A_HEADER: Final = (b"\r", b"\n", b"\0")
# The number of cached shared requests: a few for each model.
_MOST_ADDRESSES: Final = 4096
_FRAMING: Final = frozenset({b"content-length", b"transfer-encoding"})


class SharedRequest(httpx.Request):
    """A POST whose URL and headers are shared by many requests and never changed: they are not
    copied, and their encoded form is made once."""

    def __init__(  # the base class would copy everything
        self,
        url: httpx.URL,
        headers: httpx.Headers,
        content: bytes,
        extensions: dict[str, Any],
    ) -> None:
        self.method = "POST"
        self.url = url
        self.headers = headers
        self.stream = httpx.ByteStream(content)
        self.extensions = extensions
        self._content = content


class SharedResponse(httpx.Response):
    """The answer to a shared request. Its headers are decoded only when they are all asked for:
    httpx makes three strings for each of about two dozen."""

    # The base class would set these.
    next_request = None
    is_closed = False
    is_stream_consumed = False
    default_encoding = "utf-8"
    _request = None
    _num_bytes_downloaded = 0

    def __init__(  # the base class would copy everything
        self, status_code: int, raw: list[tuple[bytes, bytes]], stream: httpx.AsyncByteStream
    ) -> None:
        self.status_code = status_code
        self.stream = stream
        self.extensions = {"http_version": b"HTTP/1.1"}
        self.history = []
        self._raw = raw

    @cached_property
    def headers(self) -> httpx.Headers:  # type: ignore[override]
        return httpx.Headers(self._raw, encoding="latin-1")

    def header(self, name: bytes) -> str | None:
        """The value of one header, by its name in lower case."""
        for known, value in self._raw:
            if known.lower() == name:
                return value.decode("latin-1")
        return None


class _Address(NamedTuple):
    """The encoded form of a shared URL and headers. Both are referenced here, so that no other
    object can get their place in memory. head: all of it but the length of the body."""

    url: httpx.URL
    headers: httpx.Headers
    origin: Origin
    head: bytes


class NetworkTransport(httpx.AsyncBaseTransport):
    """Sends requests over kept connections; the last one used is used again first.

    It heeds request.extensions: `timeout` as httpx defines it ("connect" and "write"; the number of
    connections is for the caller to limit), `deadline`, a Deadline over everything that is waited
    for, whose breach is httpx.ReadTimeout, and `progress`, a Progress to be updated.

    ssl_context, is_allowed, proxies: see Dialer. keepalive_expiry_s: an idle connection is closed
    after this many seconds. Bound to one event loop.
    """

    def __init__(
        self,
        *,
        ssl_context: Callable[[], ssl.SSLContext],
        keepalive_expiry_s: float,
        is_allowed: Callable[[str], bool] = lambda _: True,
        proxies: Proxies = NO_PROXIES,
    ) -> None:
        self._dialer = Dialer(ssl_context, is_allowed, proxies)
        self._keepalive_expiry_s = keepalive_expiry_s
        self._idle: dict[Origin, deque[Connection]] = {}
        self._all: set[Connection] = set()
        self._sweep: asyncio.TimerHandle | None = None
        self._addresses: dict[tuple[int, int], _Address] = {}

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """The answer; its body must still be read. Raises httpx.TransportError."""
        is_shared = isinstance(request, SharedRequest)
        body = request.content if is_shared else await request.aread()
        address = self._address(request)
        origin, head = address.origin, b"%b%d\r\n\r\n" % (address.head, len(body))
        timeouts = request.extensions.get("timeout", {})
        deadline: Deadline | None = request.extensions.get("deadline")
        connection = self._kept(origin)
        if connection is None:
            progress = request.extensions.get("progress") or Progress()
            progress.stage = Stage.CONNECTING
            connection = await self._connect(origin, timeouts.get("connect"), deadline)
            progress.stage = Stage.SENT
        try:
            await connection.send(head, body, deadline, timeouts.get("write"))
        except BaseException:
            connection.abort()
            raise
        stream = NetworkBody(connection, partial(self._give_back, origin))
        if is_shared:
            return SharedResponse(connection.status, connection.headers, stream)
        return httpx.Response(
            connection.status,
            headers=httpx.Headers(connection.headers, encoding="latin-1"),
            stream=stream,
            extensions={"http_version": b"HTTP/1.1"},
        )

    def _address(self, request: httpx.Request) -> _Address:
        shared = isinstance(request, SharedRequest)
        key = (id(request.url), id(request.headers))
        known = self._addresses.get(key) if shared else None
        if known is None:
            origin = self._dialer.origin(request.url)
            head = _head_of(request, None if origin.secure else origin.proxy)
            known = _Address(request.url, request.headers, origin, head)
            if shared:
                if len(self._addresses) >= _MOST_ADDRESSES:
                    self._addresses.clear()
                self._addresses[key] = known
        return known

    async def aclose(self) -> None:
        """Closes every connection, including those in use."""
        if self._sweep is not None:
            self._sweep.cancel()
        for connection in list(self._all):
            connection.abort()
        self._idle.clear()

    async def reach(self, url: str, timeout_s: float) -> None:
        """Makes a connection and closes it again. Raises httpx.TransportError."""
        connection = await self._connect(self._dialer.origin(httpx.URL(url)), timeout_s, None)
        connection.abort()

    async def _connect(
        self, origin: Origin, timeout_s: float | None, deadline: Deadline | None
    ) -> Connection:
        connection = await self._dialer.connect(origin, self._all.discard, timeout_s, deadline)
        self._all.add(connection)
        return connection

    def _kept(self, origin: Origin) -> Connection | None:
        now_s = asyncio.get_running_loop().time()
        idle = self._idle.get(origin)
        while idle:
            connection = idle.pop()
            if not self._is_stale(connection, now_s) and connection.is_open():
                return connection
            connection.close()
        return None

    def _give_back(self, origin: Origin, connection: Connection) -> None:
        loop = asyncio.get_running_loop()
        if not connection.rest(loop.time()):
            connection.abort()
            return
        self._idle.setdefault(origin, deque()).append(connection)
        if self._sweep is None:
            self._sweep = loop.call_later(self._keepalive_expiry_s, self._close_stale)

    def _close_stale(self) -> None:
        loop = asyncio.get_running_loop()
        self._sweep = None
        for idle in self._idle.values():
            while idle and self._is_stale(idle[0], loop.time()):
                idle.popleft().close()
        if any(self._idle.values()):
            self._sweep = loop.call_later(self._keepalive_expiry_s, self._close_stale)

    def _is_stale(self, connection: Connection, now_s: float) -> bool:
        at_rest_s = now_s - connection.idle_since_s
        return at_rest_s >= self._keepalive_expiry_s or at_rest_s >= connection.kept_s


class NetworkBody(httpx.AsyncByteStream):
    """The body of an answer. At its end, or when it is closed, the connection is given back."""

    def __init__(self, connection: Connection, give_back: partial[None]) -> None:
        self._connection: Connection | None = connection
        self._give_back = give_back

    def __aiter__(self) -> NetworkBody:
        return self

    async def __anext__(self) -> bytes:
        if self._connection is None:
            raise StopAsyncIteration
        try:
            chunk = await self._connection.read()
        except BaseException:
            self.let_go()
            raise
        if chunk is None:
            self.let_go()
            raise StopAsyncIteration
        return chunk

    async def aclose(self) -> None:
        """Cuts off an answer that has not been read to its end; safe to call twice."""
        self.let_go()

    def let_go(self) -> None:
        """Does the same as aclose without waiting: also where a cancelled task may not wait."""
        connection, self._connection = self._connection, None
        if connection is not None:
            self._give_back(connection)


def _head_of(request: httpx.Request, proxy: Proxy | None = None) -> bytes:
    """The head of a request up to the length of the body. proxy: the proxy that forwards it.

    Raises httpx.LocalProtocolError for a header that would be read as more than one.
    """
    method = request.method.encode("ascii")
    if method in (b"HEAD", b"CONNECT"):
        raise httpx.UnsupportedProtocol(f"{request.method} is not supported here")
    target = request.url.raw_path
    if proxy is not None:
        target = b"http://" + request.url.netloc + target
    parts = [b"%b %b HTTP/1.1" % (method, target)]
    if proxy is not None and proxy.authorization is not None:
        parts.append(b"Proxy-Authorization: " + proxy.authorization)
    if "host" not in request.headers:
        parts.append(b"Host: " + request.url.netloc)
    for name, value in request.headers.raw:
        if name.lower() not in _FRAMING:
            if any(bad in name or bad in value for bad in _NOT_IN_A_HEADER):
                raise httpx.LocalProtocolError(
                    "a header holds characters that are not allowed in headers"
                )
            parts.append(b"%b: %b" % (name, value))
    parts.append(b"Content-Length: ")
    return b"\r\n".join(parts)
