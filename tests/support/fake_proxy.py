"""A proxy on a real socket: CONNECT, and requests for http in absolute form.

    with FakeProxy({"api.example": provider.port}) as proxy:
        ...  # HTTPS_PROXY=proxy.url
        proxy.asked[0].target

Names resolve nowhere but here, all of them to this machine.
"""

from __future__ import annotations

import asyncio
import ssl
import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit


@dataclass(frozen=True)
class Asked:
    """A request to the proxy. headers: with names in lower case."""

    method: str
    target: str
    headers: dict[str, str]


class FakeProxy:
    """routes: name -> port of this machine. login: the value of Proxy-Authorization that it wants.
    answer: sent in place of doing anything; b"": the connection is closed instead; None with
    silent: nothing is said. tls: spoken to by TLS."""

    def __init__(
        self,
        routes: Mapping[str, int] | None = None,
        *,
        login: str | None = None,
        answer: bytes | None = None,
        silent: bool = False,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.asked: list[Asked] = []
        self.carried = b""
        self._routes = dict(routes or {})
        self._login = login
        self._answer = answer
        self._silent = silent
        self._tls = tls
        self._writers: list[asyncio.StreamWriter] = []
        self._loop = asyncio.new_event_loop()
        self._started = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    @property
    def url(self) -> str:
        scheme = "http" if self._tls is None else "https"
        return f"{scheme}://localhost:{self.port}"

    def __enter__(self) -> Self:
        self._thread.start()
        self._started.wait(5)
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        start = asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self._tls)
        server = self._loop.run_until_complete(start)
        self.port = server.sockets[0].getsockname()[1]
        self._started.set()
        self._loop.run_forever()
        server.close()
        for task in asyncio.all_tasks(self._loop):
            task.cancel()
        for writer in self._writers:
            writer.transport.abort()
        self._loop.run_until_complete(asyncio.sleep(0.05))
        self._loop.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.append(writer)
        with suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            await self._answered(reader, writer)
        with suppress(RuntimeError):
            writer.close()

    async def _answered(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        method, target, _ = first.split(" ", 2)
        pairs = (line.partition(":") for line in lines if line)
        headers = {name.lower(): value.strip() for name, _, value in pairs}
        self.asked.append(Asked(method, target, headers))
        if self._silent:
            await reader.read()
        elif self._login is not None and headers.get("proxy-authorization") != self._login:
            writer.write(b"HTTP/1.1 407 Login\r\nContent-Length: 0\r\n\r\n")
        elif self._answer is not None:
            writer.write(self._answer)
        else:
            await self._pass_on(method, target, head, reader, writer)
        await writer.drain()

    async def _pass_on(
        self,
        method: str,
        target: str,
        head: bytes,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        parts = urlsplit(f"//{target}" if method == "CONNECT" else target)
        port = self._routes.get(parts.hostname or "")
        if port is None:
            writer.write(b"HTTP/1.1 502 Unknown\r\nContent-Length: 0\r\n\r\n")
            return
        theirs, ours = await asyncio.open_connection("127.0.0.1", port)
        self._writers.append(ours)
        try:
            if method == "CONNECT":
                writer.write(b"HTTP/1.1 200 Connection established\r\nVia: it\r\n\r\n")
            else:
                path = f"{parts.path}?{parts.query}" if parts.query else parts.path
                ours.write(head.replace(f" {target} ".encode(), f" {path} ".encode(), 1))
            await asyncio.gather(self._copy(reader, ours), self._copy(theirs, writer))
        finally:
            ours.close()

    async def _copy(self, source: asyncio.StreamReader, to: asyncio.StreamWriter) -> None:
        while data := await source.read(65536):
            self.carried += data
            to.write(data)
            await to.drain()
        with suppress(OSError, RuntimeError):
            to.write_eof() if to.can_write_eof() else to.close()
