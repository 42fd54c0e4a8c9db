"""Which requests go by which proxy, and what comes of it, on both event loops."""

from __future__ import annotations

import asyncio
import base64
import socket
import ssl
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager

import httpx
import pytest
import trustme
from fake_provider import FakeProvider
from fake_proxy import FakeProxy
from services import free_port

from server.upstream.causes import TooSlowError, UnreachableError
from server.upstream.http1 import Deadline
from server.upstream.network import NetworkTransport
from server.upstream.proxies import ProxyUnusableError, proxies_of

SHORT_S = 0.2
NAME = "api.nowhere.example"


@pytest.fixture(params=[False, True], ids=["asyncio", "uvloop"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, bool]]:
    return "asyncio", {"use_uvloop": request.param}


# --- which ------------------------------------------------------------------------------------

BOTH = {"HTTPS_PROXY": "http://p:3128", "HTTP_PROXY": "http://q:8080"}


@pytest.mark.parametrize(
    ("environ", "url", "proxy"),
    [
        ({}, "https://h/v1", None),
        (BOTH, "https://h/v1", "http://p:3128"),
        (BOTH, "http://h/v1", "http://q:8080"),
        ({"ALL_PROXY": "http://a:1"}, "https://h", "http://a:1"),
        ({"ALL_PROXY": "http://a:1", **BOTH}, "http://h", "http://q:8080"),
        ({"https_proxy": "http://small:1", **BOTH}, "https://h", "http://small:1"),
        ({"https_proxy": "", **BOTH}, "https://h", None),
        ({"HTTPS_PROXY": "p:3128"}, "https://h", "http://p:3128"),
        ({"HTTPS_PROXY": "http://p"}, "https://h", "http://p:80"),
        ({"HTTPS_PROXY": "https://p/"}, "https://h", "https://p:443"),
        ({"HTTPS_PROXY": "http://[::9]:3128"}, "https://h", "http://[::9]:3128"),
        ({"HTTPS_PROXY": "http://user:pw@p:3128"}, "https://h", "http://p:3128"),
        # this machine itself is never behind a proxy
        (BOTH, "http://localhost:11434/v1", None),
        (BOTH, "http://127.0.0.9:11434/v1", None),
        (BOTH, "https://[::1]/v1", None),
    ],
)
def test_the_proxy_of_an_address(environ: Mapping[str, str], url: str, proxy: str | None) -> None:
    found = proxies_of(environ).of_url(url)
    assert (None if found is None else str(found)) == proxy


@pytest.mark.parametrize(
    ("no_proxy", "direct", "by_proxy"),
    [
        ("*", ["https://h", "https://10.0.0.7"], []),
        ("h.example", ["https://h.example", "https://a.h.example"], ["https://oh.example"]),
        (".h.example", ["https://a.h.example", "https://h.example"], ["https://oh.example"]),
        ("*.h.example", ["https://a.b.h.example"], ["https://oh.example"]),
        (" A.Example , b.example", ["https://a.example.", "https://B.example"], ["https://c"]),
        ("a.example b.example", ["https://a.example", "https://b.example"], []),
        ("h.example:8443", ["https://h.example:8443"], ["https://h.example"]),
        ("h.example:443", ["https://h.example"], ["https://h.example:8443"]),
        ("10.0.0.7", ["https://10.0.0.7"], ["https://10.0.0.70", "https://x10.0.0.7"]),
        ("10.0.0.0/8", ["https://10.9.9.9:1"], ["https://11.0.0.1", "https://name"]),
        ("fd00::/8,::2", ["https://[fd12::1]", "https://[::2]"], ["https://[fe00::1]"]),
        ("[::2]:8443", ["https://[::2]:8443"], ["https://[::2]"]),
        ("", [], ["https://h"]),
        ("nonsense/8,,", [], ["https://h"]),
    ],
)
def test_what_no_proxy_covers(no_proxy: str, direct: list[str], by_proxy: list[str]) -> None:
    proxies = proxies_of({"HTTPS_PROXY": "http://p:1", "NO_PROXY": no_proxy})
    assert [url for url in direct if proxies.of_url(url) is not None] == []
    assert [url for url in by_proxy if proxies.of_url(url) is None] == []


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("socks5://user:s3cret@p:1080", "SOCKS"),
        ("socks5h://p:1080", "SOCKS"),
        ("ftp://p:21", "http://"),
        ("http://user:s3cret@p:port", "http://HOST:PORT"),
        ("http://", "http://HOST:PORT"),
    ],
)
def test_a_proxy_that_cannot_be_used_is_said_where_it_would_be(value: str, said: str) -> None:
    proxies = proxies_of({"ALL_PROXY": value, "NO_PROXY": "inside"})
    assert proxies.of_url("https://inside") is None
    with pytest.raises(ProxyUnusableError, match=said) as raised:
        proxies.of_url("https://h")
    assert "ALL_PROXY" in str(raised.value)
    assert "s3cret" not in str(raised.value)


def test_a_login_is_in_no_repr() -> None:
    proxy = proxies_of({"HTTPS_PROXY": "http://user:s3cret%21@p:1"}).of_url("https://h")
    assert proxy is not None
    assert proxy.authorization == b"Basic " + base64.b64encode(b"user:s3cret!")
    assert "s3cret" not in f"{proxy!r} {proxy}"


# --- how --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


def served(authority: trustme.CA, name: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name).configure_cert(context)
    return context


@pytest.fixture(scope="module")
def secure(authority: trustme.CA) -> Iterator[FakeProvider]:
    with FakeProvider(tls=served(authority, NAME)) as provider:
        yield provider


@pytest.fixture(scope="module")
def plain() -> Iterator[FakeProvider]:
    with FakeProvider() as provider:
        yield provider


@asynccontextmanager
async def network(authority: trustme.CA, **environ: str) -> AsyncIterator[NetworkTransport]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    authority.configure_trust(context)
    transport = NetworkTransport(
        ssl_context=lambda: context,
        keepalive_expiry_s=30.0,
        # no provider is on this machine: only what the proxy connects to is reached at all
        is_allowed=lambda _: False,
        proxies=proxies_of(environ),
    )
    async with transport:
        yield transport


def ask(scheme: str = "https", host: str = NAME, **extensions: object) -> httpx.Request:
    body = b'{"model": "m", "messages": [{"role": "user", "content": "x"}]}'
    url = f"{scheme}://{host}/v1/chat/completions"
    headers = {"authorization": "Bearer canary"}
    return httpx.Request("POST", url, headers=headers, content=body, extensions=extensions)


async def status_of(transport: NetworkTransport, request: httpx.Request) -> int:
    response = await transport.handle_async_request(request)
    async for _ in response.aiter_raw():
        pass
    await response.aclose()
    return response.status_code


@pytest.mark.parametrize("by_tls", [False, True])
async def test_https_goes_through_a_tunnel(
    authority: trustme.CA, secure: FakeProvider, by_tls: bool
) -> None:
    tls = served(authority, "localhost") if by_tls else None
    with FakeProxy({NAME: secure.port}, tls=tls) as proxy:
        async with network(authority, HTTPS_PROXY=proxy.url) as transport:
            for _ in range(3):
                assert await status_of(transport, ask()) == 200
        assert [(asked.method, asked.target) for asked in proxy.asked] == [
            ("CONNECT", f"{NAME}:443")
        ], "the connection is kept"
        assert b"canary" not in proxy.carried, "what is said to the provider is for it alone"


@pytest.mark.parametrize("by_tls", [False, True])
async def test_http_is_asked_for_in_full(
    authority: trustme.CA, plain: FakeProvider, by_tls: bool
) -> None:
    tls = served(authority, "localhost") if by_tls else None
    with FakeProxy({NAME: plain.port}, tls=tls) as proxy:
        url = proxy.url.replace("://", "://user:pw@")
        async with network(authority, HTTP_PROXY=url) as transport:
            assert await status_of(transport, ask("http")) == 200
        (asked,) = proxy.asked
        assert asked.target == f"http://{NAME}/v1/chat/completions"
        assert asked.headers["host"] == NAME
        assert asked.headers["proxy-authorization"] == "Basic dXNlcjpwdw=="


async def test_a_proxy_with_a_login(authority: trustme.CA, secure: FakeProvider) -> None:
    with FakeProxy({NAME: secure.port}, login="Basic dXNlcjpwdw==") as proxy:
        url = proxy.url.replace("://", "://user:pw@")
        async with network(authority, HTTPS_PROXY=url) as transport:
            assert await status_of(transport, ask()) == 200
        wrong = url.replace("pw", "pq")
        for refused, words in ((proxy.url, "wants a login"), (wrong, "does not accept")):
            async with network(authority, HTTPS_PROXY=refused) as transport:
                with pytest.raises(UnreachableError, match=words) as raised:
                    await status_of(transport, ask())
                assert "pq" not in raised.value.cause


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (b"HTTP/1.1 403 Forbidden\r\n\r\n", r"refuses to connect to it \(status 403\)"),
        (b"HTTP/1.1 502 Bad\r\n\r\n", r"could not connect to it \(status 502\)"),
        (b"SSH-2.0-OpenSSH\r\n\r\n", "does not speak HTTP"),
        (b"", "closed the connection without an answer"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"y" * 70_000, "too long"),
        (b"HTTP/1.1 200 OK\r\n\r\n", "closed the connection"),
    ],
)
async def test_a_proxy_that_does_not_connect_on(
    authority: trustme.CA, answer: bytes, words: str
) -> None:
    with FakeProxy(answer=answer) as proxy:
        async with network(authority, HTTPS_PROXY=proxy.url) as transport:
            with pytest.raises(UnreachableError, match=words):
                await status_of(transport, ask())


async def test_a_proxy_that_is_not_there(authority: trustme.CA) -> None:
    cases = (
        (f"http://127.0.0.1:{free_port()}", "HTTPS_PROXY names: nothing listens there"),
        ("http://proxy.invalid:3128", "HTTPS_PROXY names: its name is not known"),
    )
    for url, words in cases:
        async with network(authority, HTTPS_PROXY=url) as transport:
            with pytest.raises(UnreachableError, match=words):
                await status_of(transport, ask())


async def test_a_silent_proxy_is_given_up(authority: trustme.CA) -> None:
    with FakeProxy(silent=True) as proxy:
        async with network(authority, HTTPS_PROXY=proxy.url) as transport:
            with pytest.raises(TooSlowError, match="waiting for it to connect on"):
                await status_of(transport, ask(timeout={"connect": SHORT_S}))
            deadline = Deadline(asyncio.get_running_loop().time() + SHORT_S)
            with pytest.raises(httpx.ConnectTimeout):
                await status_of(transport, ask(deadline=deadline))


async def test_the_providers_certificate_is_checked_behind_the_proxy(
    authority: trustme.CA, secure: FakeProvider
) -> None:
    other = "other.nowhere.example"
    with FakeProxy({other: secure.port}) as proxy:
        async with network(authority, HTTPS_PROXY=proxy.url) as transport:
            with pytest.raises(UnreachableError, match="for another name"):
                await status_of(transport, ask(host=other))
        async with network(trustme.CA(), HTTPS_PROXY=proxy.url) as transport:
            with pytest.raises(UnreachableError, match="SSL_CERT_FILE"):
                await status_of(transport, ask(host=other))


async def test_a_socks_proxy_is_named_when_it_is_needed(authority: trustme.CA) -> None:
    async with network(authority, ALL_PROXY="socks5://p:1080") as transport:
        with pytest.raises(UnreachableError, match="ALL_PROXY names a SOCKS proxy"):
            await status_of(transport, ask())


async def test_hanging_up_reaches_through_the_tunnel(authority: trustme.CA) -> None:
    gone = asyncio.Event()

    async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.read(65536):
            pass
        gone.set()
        writer.close()

    server = await asyncio.start_server(hang, "127.0.0.1", 0, ssl=served(authority, NAME))
    async with server:
        with FakeProxy({NAME: server.sockets[0].getsockname()[1]}) as proxy:
            async with network(authority, HTTPS_PROXY=proxy.url) as transport:
                task = asyncio.create_task(status_of(transport, ask()))
                await asyncio.sleep(SHORT_S)
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
                async with asyncio.timeout(5):
                    await gone.wait()


def option_of(transport: NetworkTransport, name: str) -> int:
    (connection,) = transport._all
    raw = connection._transport.get_extra_info("socket")
    value: int = raw.getsockopt(socket.IPPROTO_TCP, getattr(socket, name))
    return value


@pytest.mark.skipif(not hasattr(socket, "TCP_USER_TIMEOUT"), reason="Linux")
async def test_a_provider_that_is_gone_is_noticed_in_a_long_silence(
    authority: trustme.CA, secure: FakeProvider
) -> None:
    with FakeProxy({NAME: secure.port}) as proxy:
        async with network(authority, HTTPS_PROXY=proxy.url) as transport:
            assert await status_of(transport, ask()) == 200
            idle, every = (
                option_of(transport, "TCP_KEEPIDLE"),
                option_of(transport, "TCP_KEEPINTVL"),
            )
            # balancers forget a silent connection after a minute at the earliest
            assert idle + every * option_of(transport, "TCP_KEEPCNT") <= 120
            assert idle < 60
            assert 0 < option_of(transport, "TCP_USER_TIMEOUT") <= 120_000
