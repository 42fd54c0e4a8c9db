"""NetworkTransport against servers that say exactly what each test wants, on both event loops."""

from __future__ import annotations

import asyncio
import socket
import ssl
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

import httpx
import pytest
import trustme

from server.upstream.http1 import Deadline
from server.upstream.network import NetworkTransport, SharedRequest
from server.upstream.transport import shared_ssl_context

SHORT_S = 0.15
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.fixture(params=[False, True], ids=["asyncio", "uvloop"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, bool]]:
    return "asyncio", {"use_uvloop": request.param}


@dataclass
class Server:
    """What a server saw. bodies: of the requests, one list entry per request, in order."""

    port: int = 0
    bodies: list[bytes] = field(default_factory=list)
    heads: list[bytes] = field(default_factory=list)
    n_connections: int = 0
    n_closed: int = 0

    async def until_closed(self, n: int = 1) -> None:
        async with asyncio.timeout(5):
            while self.n_closed < n:  # noqa: ASYNC110
                await asyncio.sleep(0.01)


Handler = Callable[[Server, asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def serving(handler: Handler, **options: object) -> AsyncIterator[Server]:
    seen = Server()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.n_connections += 1
        try:
            await handler(seen, reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            seen.n_closed += 1
            writer.close()

    host = str(options.pop("host", "127.0.0.1"))
    server = await asyncio.start_server(connected, host, 0, **options)  # type: ignore[arg-type]
    seen.port = server.sockets[0].getsockname()[1]
    try:
        yield seen
    finally:
        server.close()


def saying(*answers: bytes) -> Handler:
    """Answers each request of a connection in turn, then the last again; b"" closes instead."""

    async def handler(
        seen: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        left = list(answers)
        while True:
            await read_request(seen, reader)
            answer = left.pop(0) if len(left) > 1 else left[0]
            if not answer:
                return
            writer.write(answer)
            await writer.drain()

    return handler


async def read_request(seen: Server, reader: asyncio.StreamReader) -> None:
    head = await reader.readuntil(b"\r\n\r\n")
    seen.heads.append(head)
    length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
    seen.bodies.append(await reader.readexactly(length))


@asynccontextmanager
async def transport(
    keepalive_expiry_s: float = 30.0, context: ssl.SSLContext | None = None, **options: object
) -> AsyncIterator[NetworkTransport]:
    network = NetworkTransport(
        ssl_context=lambda: context or shared_ssl_context(),
        keepalive_expiry_s=keepalive_expiry_s,
        **options,  # type: ignore[arg-type]
    )
    async with network:
        yield network


def post(port: int, body: bytes = b"hi", scheme: str = "http", **options: object) -> httpx.Request:
    deadline_s = options.pop("deadline_s", None)
    if isinstance(deadline_s, float):
        options["deadline"] = Deadline(asyncio.get_running_loop().time() + deadline_s)
    host = options.pop("host", "127.0.0.1")
    headers = {"x-test": str(options.pop("header", "y"))}
    return httpx.Request(
        "POST", f"{scheme}://{host}:{port}/v1/x?y=1", headers=headers, content=body,
        extensions=options,
    )  # fmt: skip


async def answer_to(network: NetworkTransport, request: httpx.Request) -> bytes:
    response = await network.handle_async_request(request)
    try:
        return b"".join([chunk async for chunk in response.aiter_raw()])
    finally:
        await response.aclose()


# --- framing ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wire", "body"),
    [
        (OK, b"ok"),
        (CHUNKED + b"2;x=y\r\nok\r\n3\r\n!!!\r\n0\r\nTrailer: t\r\n\r\n", b"ok!!!"),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Hints\r\nLink: </>\r\n\r\n" + OK, b"ok"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", b""),
        (b"HTTP/1.1 204 No Content\r\n\r\n", b""),
    ],
)
async def test_answers_are_read_to_their_end_and_the_connection_kept(
    wire: bytes, body: bytes
) -> None:
    async with serving(saying(wire)) as seen, transport() as network:
        for _ in range(3):
            assert await answer_to(network, post(seen.port)) == body
        assert seen.n_connections == 1
        assert seen.bodies == [b"hi"] * 3


async def test_a_request_is_written_as_it_should_be() -> None:
    async with serving(saying(OK)) as seen, transport() as network:
        await answer_to(network, post(seen.port, b"x" * 100_000))
        lines = seen.heads[0].split(b"\r\n")
        assert lines[0] == b"POST /v1/x?y=1 HTTP/1.1"
        assert f"Host: 127.0.0.1:{seen.port}".encode() in lines
        assert lines.count(b"Content-Length: 100000") == 1
        assert seen.bodies == [b"x" * 100_000]


async def test_requests_that_share_url_and_headers_are_written_like_any_other() -> None:
    async with serving(saying(OK)) as seen, transport() as network:
        url = httpx.URL(f"http://127.0.0.1:{seen.port}/v1/x?y=1")
        for headers in (httpx.Headers({"a": "1"}), httpx.Headers({"a": "2"})):
            for content in (b"one", b"second"):
                await answer_to(network, SharedRequest(url, headers, content, {}))
                alone = httpx.Request("POST", url, headers=headers, content=content)
                alone.headers = headers
                await answer_to(network, alone)
                assert seen.heads[-1] == seen.heads[-2]
                assert seen.bodies[-1] == seen.bodies[-2] == content
    for value in ("x\r\ny: 1", "x\0"):
        async with serving(saying(OK)) as seen, transport() as network:
            headers = httpx.Headers([(b"a", value.encode())])
            url = httpx.URL(f"http://127.0.0.1:{seen.port}/")
            with pytest.raises(httpx.LocalProtocolError):
                await answer_to(network, SharedRequest(url, headers, b"", {}))


async def test_the_head_of_an_answer_is_passed_on() -> None:
    wire = b"HTTP/1.1 418 No\r\nX-One: 1\r\nx-two:2\r\nSet-Cookie: a\r\nSet-Cookie: b\r\n"
    async with (
        serving(saying(wire + b"Content-Length: 0\r\n\r\n")) as seen,
        transport() as network,
    ):
        response = await network.handle_async_request(post(seen.port))
        assert response.status_code == 418
        assert (response.headers["x-one"], response.headers["X-Two"]) == ("1", "2")
        assert response.headers.get_list("set-cookie") == ["a", "b"]
        assert response.http_version == "HTTP/1.1"
        await response.aclose()


async def test_an_answer_without_a_length_ends_with_the_connection() -> None:
    async def handler(
        seen: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        await read_request(seen, reader)
        for piece in (b"HTTP/1.0 200 OK\r\n", b"X: y\r\n\r\nhal", b"lo"):
            writer.write(piece)
            await asyncio.sleep(0.01)

    async with serving(handler) as seen, transport() as network:
        assert await answer_to(network, post(seen.port)) == b"hallo"
        assert await answer_to(network, post(seen.port)) == b"hallo"
        assert seen.n_connections == 2


# --- faults -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "wire",
    [
        b"HTTP/1.1 200 OK\r\nContent-Le",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabc",
        CHUNKED + b"5\r\nabc",
        CHUNKED + b"3\r\nabc\r\n",
        b"SSH-2.0-OpenSSH_9.9\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n",
        CHUNKED + b"nonsense\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"X-Fill: " + b"y" * 200_000,
        b"HTTP/1.1 100 Continue\r\n\r\n" * 20_000,
    ],
)
async def test_a_garbled_answer_is_an_error_and_asked_for_once(wire: bytes) -> None:
    async def handler(
        seen: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        await read_request(seen, reader)
        writer.write(wire)
        await writer.drain()

    async with serving(handler) as seen, transport() as network:
        with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError)):
            await answer_to(network, post(seen.port, deadline_s=5.0))
        assert len(seen.bodies) == 1


async def test_what_came_before_the_fault_is_still_read() -> None:
    wire = CHUNKED + b"3\r\nabc\r\nnonsense"
    async with serving(saying(wire)) as seen, transport() as network:
        response = await network.handle_async_request(post(seen.port))
        chunks = aiter(response.stream)  # type: ignore[arg-type]
        assert await anext(chunks) == b"abc"
        with pytest.raises(httpx.RemoteProtocolError):
            await anext(chunks)


@pytest.mark.parametrize(
    "wire",
    [
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
        OK + OK,
        OK + b"garbage",
    ],
)
async def test_a_connection_in_doubt_is_not_used_again(wire: bytes) -> None:
    async with serving(saying(wire)) as seen, transport() as network:
        for _ in range(3):
            assert await answer_to(network, post(seen.port)) == b"ok"
        assert seen.n_connections == 3


async def test_bytes_nobody_asked_for_close_the_connection() -> None:
    async def handler(
        seen: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        await read_request(seen, reader)
        writer.write(OK)
        await asyncio.sleep(0.05)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison")
        await read_request(seen, reader)

    async with serving(handler) as seen, transport() as network:
        assert await answer_to(network, post(seen.port)) == b"ok"
        await seen.until_closed()
        assert await answer_to(network, post(seen.port)) == b"ok"
        assert seen.n_connections == 2


async def test_a_kept_connection_that_was_closed_meanwhile_is_replaced() -> None:
    async def handler(
        seen: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        await read_request(seen, reader)
        writer.write(OK)

    async with serving(handler) as seen, transport() as network:
        for n in range(1, 4):
            assert await answer_to(network, post(seen.port)) == b"ok"
            await seen.until_closed(n)
        assert seen.bodies == [b"hi"] * 3


async def test_a_request_is_never_sent_twice() -> None:
    # the second request of a connection is read and left without an answer
    async with serving(saying(OK, b"")) as seen, transport() as network:
        assert await answer_to(network, post(seen.port, b"first")) == b"ok"
        with pytest.raises(httpx.RemoteProtocolError):
            await answer_to(network, post(seen.port, b"second"))
        assert seen.bodies == [b"first", b"second"]


@pytest.mark.parametrize("value", ["a\r\nx-injected: 1", "a\nb", "a\rb", "a\0b"])
async def test_a_header_cannot_smuggle_another(value: str) -> None:
    async with serving(saying(OK)) as seen, transport() as network:
        with pytest.raises(httpx.LocalProtocolError):
            await network.handle_async_request(post(seen.port, header=value))
        assert seen.n_connections == 0


@pytest.mark.parametrize("method", ["HEAD", "CONNECT"])
async def test_methods_whose_answers_are_framed_otherwise_are_refused(method: str) -> None:
    async with transport() as network:
        with pytest.raises(httpx.UnsupportedProtocol):
            await network.handle_async_request(httpx.Request(method, "http://127.0.0.1:9/"))
        with pytest.raises(httpx.UnsupportedProtocol):
            await network.handle_async_request(httpx.Request("GET", "ftp://127.0.0.1:9/"))


# --- limits, pressure, hanging up -------------------------------------------------------------


async def hang(seen: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read(1)
    await asyncio.sleep(3600)


async def test_a_deadline_ends_the_wait_for_the_head_and_for_the_body() -> None:
    async with (
        serving(saying(CHUNKED + b"2\r\nok\r\n")) as seen,
        transport() as network,
    ):
        with pytest.raises(httpx.ReadTimeout):
            await answer_to(network, post(seen.port, deadline_s=SHORT_S))
        await seen.until_closed()


async def test_a_deadline_can_be_moved_while_reading() -> None:
    async def handler(
        seen: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        await read_request(seen, reader)
        writer.write(CHUNKED)
        for _ in range(6):
            writer.write(b"1\r\nx\r\n")
            await asyncio.sleep(0.25)
        writer.write(b"0\r\n\r\n")
        await writer.drain()

    async with serving(handler) as seen, transport() as network:
        loop = asyncio.get_running_loop()
        deadline = Deadline(loop.time() + 1.0)
        response = await network.handle_async_request(post(seen.port, deadline=deadline))
        body = b""
        async for chunk in response.stream:  # type: ignore[union-attr]
            body += chunk
            deadline.at_s = loop.time() + 1.0
        assert body == b"x" * 6


async def test_a_deadline_can_be_brought_forward() -> None:
    async with (
        serving(saying(CHUNKED + b"2\r\nok\r\n")) as seen,
        transport() as network,
    ):
        loop = asyncio.get_running_loop()
        deadline = Deadline(loop.time() + 60)
        response = await network.handle_async_request(post(seen.port, deadline=deadline))
        chunks = aiter(response.stream)  # type: ignore[arg-type]
        assert await anext(chunks) == b"ok"
        deadline.at_s = loop.time() + SHORT_S
        async with asyncio.timeout(5):
            with pytest.raises(httpx.ReadTimeout):
                await anext(chunks)


@pytest.mark.skipif(
    (3, 12) <= sys.version_info < (3, 12, 9) or (3, 13) <= sys.version_info < (3, 13, 2),
    reason="asyncio of this Python never pauses after writelines (CVE-2024-12254)",
)
async def test_a_provider_that_does_not_read_times_out() -> None:
    async def deaf(
        seen: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        await asyncio.sleep(3600)

    async with serving(deaf, limit=1024) as seen, transport() as network:
        request = post(seen.port, b"x" * 50_000_000, timeout={"write": SHORT_S})
        with pytest.raises(httpx.WriteTimeout):
            await network.handle_async_request(request)


async def test_an_early_refusal_of_a_long_request_is_read() -> None:
    async def impatient(
        seen: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 413 Large\r\nContent-Length: 2\r\n\r\nno")
        await asyncio.sleep(0.3)

    async with serving(impatient, limit=1024) as seen, transport() as network:
        request = post(seen.port, b"x" * 50_000_000, timeout={"write": 5.0})
        response = await network.handle_async_request(request)
        assert response.status_code == 413
        assert [chunk async for chunk in response.aiter_raw()] == [b"no"]
        # half a request is still on its way there
        await answer_or_nothing(network, post(seen.port, deadline_s=SHORT_S))
        assert seen.n_connections == 2


async def answer_or_nothing(network: NetworkTransport, request: httpx.Request) -> None:
    with suppress(httpx.TransportError):
        await answer_to(network, request)


async def test_a_slow_reader_slows_the_provider_down() -> None:
    written = 0

    async def eager(
        seen: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        nonlocal written
        await read_request(seen, reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n")
        for _ in range(1000):
            writer.write(b"x" * 100_000)
            await writer.drain()
            written += 100_000

    async with serving(eager) as seen, transport() as network:
        response = await network.handle_async_request(post(seen.port))
        await asyncio.sleep(0.5)
        assert written < 20_000_000
        assert sum([len(chunk) async for chunk in response.aiter_raw()]) == 100_000_000


@pytest.mark.parametrize("wire", [b"", CHUNKED + b"2\r\nok\r\n"])
async def test_cancelling_hangs_up(wire: bytes) -> None:
    async def handler(
        seen: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        await read_request(seen, reader)
        writer.write(wire)
        await reader.read(1)

    async with serving(handler) as seen, transport() as network:
        task = asyncio.create_task(answer_to(network, post(seen.port)))
        await asyncio.sleep(SHORT_S)
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()
        await seen.until_closed()


async def test_closing_an_answer_early_hangs_up() -> None:
    async with (
        serving(saying(CHUNKED + b"2\r\nok\r\n")) as seen,
        transport() as network,
    ):
        response = await network.handle_async_request(post(seen.port))
        await response.aclose()
        await response.aclose()
        await seen.until_closed()


async def test_idle_connections_are_closed_after_a_while() -> None:
    async with serving(saying(OK)) as seen, transport(keepalive_expiry_s=0.1) as network:
        await asyncio.gather(*(answer_to(network, post(seen.port)) for _ in range(3)))
        await seen.until_closed(3)
        assert await answer_to(network, post(seen.port)) == b"ok"


@pytest.mark.parametrize(
    ("said", "n_connections"),
    [(b"timeout=1", 2), (b"max=9, Timeout=1", 2), (b"timeout=60", 1), (b"max=9", 1), (b"", 1)],
)
async def test_a_connection_is_kept_no_longer_than_the_provider_says(
    said: bytes, n_connections: int
) -> None:
    wire = b"HTTP/1.1 200 OK\r\nKeep-Alive: %b\r\nContent-Length: 2\r\n\r\nok" % said
    async with serving(saying(wire)) as seen, transport() as network:
        for pause_s in (0.55, 0.0):
            await answer_to(network, post(seen.port))
            await asyncio.sleep(pause_s)
        assert seen.n_connections == n_connections


async def test_the_connection_used_last_is_used_first() -> None:
    async def slow(
        seen: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        name = b"%02d" % seen.n_connections
        while True:
            await read_request(seen, reader)
            await asyncio.sleep(float(seen.bodies[-1]))
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n" + name)

    async with serving(slow) as seen, transport() as network:
        first, second = await asyncio.gather(
            answer_to(network, post(seen.port, b"0.15")), answer_to(network, post(seen.port, b"0"))
        )
        assert first != second
        assert await answer_to(network, post(seen.port, b"0")) == first
        assert seen.n_connections == 2


async def test_closing_the_transport_closes_everything() -> None:
    async with serving(saying(CHUNKED + b"2\r\nok\r\n")) as seen:
        async with transport() as network:
            response = await network.handle_async_request(post(seen.port))
        await seen.until_closed()
        await response.aclose()


# --- connecting -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


def trusting(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    authority.configure_trust(context)
    return context


@asynccontextmanager
async def serving_tls(authority: trustme.CA, name: str = "localhost") -> AsyncIterator[Server]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_alpn_protocols(["h2", "http/1.1"])
    authority.issue_cert(name).configure_cert(context)
    async with serving(saying(OK), ssl=context) as seen:
        yield seen


async def test_tls_with_a_trusted_authority(authority: trustme.CA) -> None:
    async with (
        serving_tls(authority) as seen,
        transport(context=trusting(authority)) as network,
    ):
        for _ in range(2):
            request = post(seen.port, b"x" * 300_000, scheme="https", host="localhost")
            assert await answer_to(network, request) == b"ok"
        assert seen.n_connections == 1
        assert seen.bodies == [b"x" * 300_000] * 2


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
async def test_tls_refuses_another_name_and_an_unknown_authority(authority: trustme.CA) -> None:
    async with serving_tls(authority, "example.org") as seen:
        for context in (trusting(authority), shared_ssl_context()):
            async with transport(context=context) as network:
                request = post(seen.port, scheme="https", host="localhost")
                with pytest.raises(httpx.ConnectError):
                    await network.handle_async_request(request)
        assert seen.bodies == []


async def test_a_handshake_that_hangs_is_a_connect_timeout() -> None:
    async with serving(hang) as seen, transport() as network:
        request = post(seen.port, scheme="https", timeout={"connect": SHORT_S})
        with pytest.raises(httpx.ConnectTimeout):
            await network.handle_async_request(request)
        request = post(seen.port, scheme="https", deadline_s=SHORT_S)
        with pytest.raises(httpx.ConnectTimeout):
            await network.handle_async_request(request)


async def test_ipv6() -> None:
    try:
        context = serving(saying(OK), host="::1")
        async with context as seen, transport() as network:
            assert await answer_to(network, post(seen.port, host="[::1]")) == b"ok"
            assert b"Host: [::1]:" in seen.heads[0]
    except OSError:
        pytest.skip("no IPv6 on this machine")


async def test_a_dead_address_does_not_hold_up_a_live_one(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as full, socket.socket() as queued, socket.socket() as more:
        full.bind(("127.0.0.1", 0))
        full.listen(0)  # the kernel holds one connection for it, then answers no more
        for other in (queued, more):
            other.setblocking(False)
            other.connect_ex(full.getsockname())
        async with serving(saying(OK)) as seen, transport() as network:
            dead, live = (
                (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))
                for port in (full.getsockname()[1], seen.port)
            )

            async def resolved(*_: object, **__: object) -> list[object]:
                return [dead, live]

            network._dialer.resolve = resolved  # type: ignore[method-assign, assignment]
            request = post(seen.port, timeout={"connect": 2.0})
            assert await answer_to(network, request) == b"ok"


async def test_a_name_that_cannot_be_resolved_is_a_connect_error() -> None:
    async with transport() as network:
        for host in ("nowhere.invalid", "a" * 70 + ".invalid"):
            with pytest.raises(httpx.ConnectError):
                await network.handle_async_request(post(80, host=host))


async def test_only_allowed_addresses_are_connected_to() -> None:
    asked: list[str] = []

    def is_allowed(address: str) -> bool:
        asked.append(address)
        return False

    async with serving(saying(OK)) as seen, transport(is_allowed=is_allowed) as network:
        with pytest.raises(httpx.ConnectError):
            await network.handle_async_request(post(seen.port))
        assert asked == ["127.0.0.1"]
        assert seen.n_connections == 0


async def test_a_provider_that_the_system_finds_gone_has_timed_out() -> None:
    """It may have answered, and may bill it: nobody knows."""
    async with serving(hang) as seen, transport() as network:
        asked = asyncio.ensure_future(network.handle_async_request(post(seen.port)))
        while not network._all:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        (connection,) = network._all
        while not connection._busy:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        gone = TimeoutError(110, "Connection timed out")
        connection._transport.abort()
        connection.connection_lost(gone)
        with pytest.raises(httpx.ReadTimeout):
            await asked
