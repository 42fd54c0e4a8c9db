"""Makes connections to providers (addresses, proxies, TLS), and explains why one fails."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final, NamedTuple

import aiohappyeyeballs
import httpx

from server.process.tcp import keep_alive
from server.upstream.causes import TooSlowError, UnreachableError, cause_of
from server.upstream.http1 import Connection, Deadline
from server.upstream.proxies import NO_PROXIES, Proxies, Proxy, ProxyUnusableError
from server.upstream.trust import TrustUnusableError
from server.upstream.tunnel import open_tunnel

# RFC 8305's recommendation.
_HAPPY_EYEBALLS_DELAY_S: Final = 0.25
# Data that is never acknowledged within this time shows that the provider is gone.
_UNACKNOWLEDGED_MS: Final = 90_000


class Origin(NamedTuple):
    """The target of a connection. host: a name (IDNA, ASCII) or an address without brackets. proxy:
    the proxy that the connection goes through."""

    scheme: str
    host: str
    port: int
    proxy: Proxy | None = None

    @property
    def secure(self) -> bool:
        return self.scheme == "https"

    @property
    def authority(self) -> bytes:
        """The target as in a CONNECT request: always with the port."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}".encode("ascii")


class Dialer:
    """Makes connections.

    ssl_context: called for a connection that needs one, since the trust store takes 4 MB.
    is_allowed: whether an IP address, such as "10.0.0.1", may be connected to; it is called for the
    very addresses that are used. A proxy is the operator's: it may have any address, and may
    connect anywhere.
    """

    def __init__(
        self,
        ssl_context: Callable[[], ssl.SSLContext],
        is_allowed: Callable[[str], bool],
        proxies: Proxies = NO_PROXIES,
    ) -> None:
        self._ssl_context = ssl_context
        self._is_allowed = is_allowed
        self._proxies = proxies

    def origin(self, url: httpx.URL) -> Origin:
        """The target of a URL. Raises httpx.UnsupportedProtocol, UnreachableError for an unusable
        proxy."""
        if url.scheme not in ("http", "https"):
            raise httpx.UnsupportedProtocol("only http and https are supported")
        port = url.port if url.port is not None else 443 if url.scheme == "https" else 80
        host = url.raw_host.decode("ascii")
        try:
            return Origin(url.scheme, host, port, self._proxies.of(url.scheme, host, port))
        except ProxyUnusableError as error:
            raise UnreachableError(str(error)) from None

    async def connect(
        self,
        origin: Origin,
        on_lost: Callable[[Connection], None],
        timeout_s: float | None = None,
        deadline: Deadline | None = None,
    ) -> Connection:
        """Makes a connection. on_lost: called when it is over. Raises UnreachableError,
        TooSlowError."""
        limits = [] if timeout_s is None else [asyncio.get_running_loop().time() + timeout_s]
        limits += [] if deadline is None else [deadline.at_s]
        attempt = _Attempt(self, origin, partial(Connection, on_lost))
        try:
            async with asyncio.timeout_at(min(limits, default=None)):
                return await attempt.connected()
        except TimeoutError:
            raise TooSlowError(attempt.doing) from None
        except (OSError, UnicodeError, TrustUnusableError) as error:
            raise UnreachableError(f"{attempt.whose}{attempt.cause(error)}") from error

    async def resolve(self, host: str, port: int, *, ours: bool) -> Sequence[Any]:
        """The addresses of a host. ours: whether it is the operator's own proxy, which may have any
        address."""
        loop = asyncio.get_running_loop()
        found: list[Any] = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        allowed = [entry for entry in found if ours or self._is_allowed(str(entry[4][0]))]
        if not allowed:
            raise UnreachableError(
                "its name leads to an address that is not on the Internet: set "
                "allow_private_addresses: true, if that is meant"
            )
        return allowed

    def ssl_context(self) -> ssl.SSLContext:
        """The process' SSL context. Raises TrustUnusableError."""
        return self._ssl_context()


class _Attempt:
    """One connection that is being made. doing: the step in progress. whose: "the proxy: " while
    the proxy is being connected to."""

    def __init__(self, dialer: Dialer, origin: Origin, protocol: Callable[[], Connection]) -> None:
        self._dialer = dialer
        self._origin = origin
        self._protocol = protocol
        self.doing = ""
        self.whose = ""

    def cause(self, error: Exception) -> str:
        if isinstance(error, TrustUnusableError):
            return str(error)
        if isinstance(error, ConnectionError) and "TLS" in self.doing:
            return "it closed the connection in place of a TLS handshake: does it speak TLS there?"
        return cause_of(error)

    async def connected(self) -> Connection:
        proxy = self._origin.proxy
        if proxy is not None:
            self.whose = f"the proxy that {proxy.variable} names: "
        raw = await self._socket()
        try:
            _tune(raw)
            if proxy is None:
                return await self._over(raw, self._origin.host, secure=self._origin.secure)
            if not self._origin.secure:
                return await self._over(raw, proxy.host, secure=proxy.scheme == "https")
            return await self._through(raw, proxy)
        except BaseException:
            raw.close()
            raise

    async def _socket(self) -> socket.socket:
        origin, proxy = self._origin, self._origin.proxy
        host, port = (origin.host, origin.port) if proxy is None else (proxy.host, proxy.port)
        self.doing = f"{self.whose}looking up its name"
        found = await self._dialer.resolve(host, port, ours=proxy is not None)
        self.doing = f"{self.whose}connecting to its address"
        # uvloop tries one address after the other, and would wait for a dead one until the time is
        # over.
        return await aiohappyeyeballs.start_connection(
            found, happy_eyeballs_delay=_HAPPY_EYEBALLS_DELAY_S, interleave=1
        )

    async def _over(self, raw: socket.socket, host: str, *, secure: bool) -> Connection:
        if secure:
            self.doing = f"{self.whose}the TLS handshake"
        _, connection = await asyncio.get_running_loop().create_connection(
            self._protocol,
            sock=raw,
            ssl=self._dialer.ssl_context() if secure else None,
            server_hostname=host.rstrip(".") if secure else None,
        )
        return connection

    async def _through(self, raw: socket.socket, proxy: Proxy) -> Connection:
        self.doing = f"{self.whose}waiting for it to connect on"
        context = self._dialer.ssl_context()
        transport = await open_tunnel(
            raw, proxy, self._origin.authority, context if proxy.scheme == "https" else None
        )
        self.whose, self.doing = "", "the TLS handshake through the proxy"
        connection = self._protocol()
        try:
            secured = await asyncio.get_running_loop().start_tls(
                transport, connection, context, server_hostname=self._origin.host.rstrip(".")
            )
        except BaseException:
            transport.abort()
            raise
        if secured is None:
            raise UnreachableError("the proxy closed the connection")
        connection.connection_made(secured)
        return connection


def _tune(raw: socket.socket) -> None:
    raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    keep_alive(raw)
    unacknowledged = getattr(socket, "TCP_USER_TIMEOUT", None)
    if unacknowledged is not None:
        raw.setsockopt(socket.IPPROTO_TCP, unacknowledged, _UNACKNOWLEDGED_MS)
