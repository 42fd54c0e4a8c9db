"""Opens a tunnel through a proxy with HTTP's CONNECT."""

from __future__ import annotations

import asyncio
import re
import socket
import ssl
from typing import Final

from server.upstream.causes import UnreachableError
from server.upstream.proxies import Proxy

_MAX_HEAD_BYTES: Final = 64 * 1024
_STATUS_LINE: Final = re.compile(rb"HTTP/1\.[01] (\d{3})[ \r\n]")
_HEAD_END: Final = b"\r\n\r\n"


async def open_tunnel(
    raw: socket.socket, proxy: Proxy, authority: bytes, tls: ssl.SSLContext | None
) -> asyncio.Transport:
    """Opens a tunnel over a socket that is connected to the proxy. authority: HOST:PORT of the
    target. tls: for a proxy that is itself reached by TLS.

    Raises UnreachableError, OSError.
    """
    transport, protocol = await asyncio.get_running_loop().create_connection(
        _Tunnel, sock=raw, ssl=tls, server_hostname=None if tls is None else proxy.host
    )
    try:
        transport.write(_request(authority, proxy))
        _check(proxy, await protocol.head)
    except BaseException:
        transport.abort()
        raise
    return transport


def _request(authority: bytes, proxy: Proxy) -> bytes:
    lines = [b"CONNECT %b HTTP/1.1" % authority, b"Host: " + authority, b"User-Agent: p2l-router"]
    if proxy.authorization is not None:
        lines.append(b"Proxy-Authorization: " + proxy.authorization)
    return b"\r\n".join([*lines, b"", b""])


def _check(proxy: Proxy, head: bytes) -> None:
    named = f"the proxy that {proxy.variable} names"
    found = _STATUS_LINE.match(head)
    if found is None:
        raise UnreachableError(f"{named} does not speak HTTP")
    status = int(found[1])
    if status == 407:
        raise UnreachableError(login_wanted(proxy))
    if status in (502, 503, 504):
        raise UnreachableError(f"{named} could not connect to it (status {status})")
    if not 200 <= status < 300:
        raise UnreachableError(f"{named} refuses to connect to it (status {status})")


def login_wanted(proxy: Proxy) -> str:
    """Advice about a 407."""
    wants = "does not accept the login in it" if proxy.authorization else "wants a login"
    return (
        f"the proxy that {proxy.variable} names {wants} (status 407): set it to "
        "http://USER:PASSWORD@HOST:PORT"
    )


class _Tunnel(asyncio.Protocol):
    """Waits for the head of the proxy's answer. After it the connection is the target's, which
    sends nothing before it is asked."""

    def __init__(self) -> None:
        self.head: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._received = bytearray()

    def data_received(self, data: bytes) -> None:
        self._received += data
        if self.head.done():
            return
        if _HEAD_END in self._received:
            self.head.set_result(bytes(self._received))
        elif len(self._received) > _MAX_HEAD_BYTES:
            self.head.set_exception(UnreachableError("the proxy's answer is too long"))

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        if not self.head.done():
            self.head.set_exception(
                UnreachableError("the proxy closed the connection without an answer")
            )
