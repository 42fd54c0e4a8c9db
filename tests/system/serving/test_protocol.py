"""Connections that are slow, silent, oversized or no HTTP, over raw sockets."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import socket
import time
from collections.abc import Iterator

import pytest
from fake_provider import Behaviour, FakeProvider
from fastapi import Request
from live_gateway import LiveGateway, config_for
from starlette.requests import ClientDisconnect
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from server.http.body import read_body
from server.http.disconnect import introduce
from server.serving.turn import JoinedWrites

KEY = "sk-provider-canary"
LIMITS = """
limits: {header_timeout_s: 0.3, body_timeout_s: 0.3, write_timeout_s: 0.4,
         max_header_bytes: 4096, max_connections: 8}
"""
HELLO = b'{"model": "cheap", "stream": true, "messages": [{"role": "user", "content": "hi"}]}'


@pytest.fixture
def address(provider: FakeProvider) -> Iterator[tuple[str, int]]:
    with LiveGateway(config_for(provider.base_url, LIMITS), {"MAIN_KEY": KEY}) as live:
        host, _, port = live.url.removeprefix("http://").partition(":")
        yield host, int(port)


def read_all(connection: socket.socket) -> bytes:
    connection.settimeout(10)
    received = b""
    with contextlib.suppress(ConnectionResetError):
        while chunk := connection.recv(65536):
            received += chunk
    return received


def said(address: tuple[str, int], *pieces: bytes, pause_s: float = 0.0) -> tuple[int, str]:
    """What comes back, once the other side has hung up: (status, code of the envelope)."""
    with socket.create_connection(address) as connection:
        for piece in pieces:
            with contextlib.suppress(ConnectionError):
                connection.sendall(piece)
            time.sleep(pause_s)
        head, _, body = read_all(connection).partition(b"\r\n\r\n")
    if not head:
        return 0, ""
    return int(head.split()[1]), json.loads(body)["error"]["code"]


def head(**headers: str) -> bytes:
    lines = [
        "POST /v1/chat/completions HTTP/1.1",
        "host: localhost",
        "content-type: application/json",
    ]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode()


@pytest.mark.parametrize(
    "nonsense",
    [b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"HELLO\r\n\r\n", b"GET\r\n\r\n",
     b"GET / HTTP/1.1\r\nhost: localhost\r\nbad header\r\n\r\n",
     b"POST / HTTP/1.1\r\nhost: [::1]\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n",
     b"POST / HTTP/1.1\r\nhost: localhost\r\ncontent-length: -1\r\n\r\n"],
)  # fmt: skip
def test_what_is_no_http_is_told_so_in_the_envelope(
    address: tuple[str, int], nonsense: bytes
) -> None:
    assert said(address, nonsense) == (400, "invalid_request")


def test_a_head_that_comes_too_slowly_is_cut_off(address: tuple[str, int]) -> None:
    pieces = [bytes([byte]) for byte in head()]
    assert said(address, *pieces[:40], pause_s=0.02) == (408, "request_timeout")


def test_a_body_that_comes_too_slowly_is_cut_off(address: tuple[str, int]) -> None:
    assert said(address, head(content_length="90"), b'{"a"', pause_s=0.1) == (
        408,
        "request_timeout",
    )


def test_a_connection_that_says_nothing_is_closed(address: tuple[str, int]) -> None:
    assert said(address) == (0, "")


def test_headers_without_end_are_refused(address: tuple[str, int]) -> None:
    endless = [b"x-filler: " + b"y" * 500 + b"\r\n"] * 100
    start = b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n"
    assert said(address, start, *endless, pause_s=0.001) == (431, "request_too_large")


def test_a_body_over_the_limit_is_refused_before_it_is_read(address: tuple[str, int]) -> None:
    assert said(address, head(content_length="30000000"), b"{") == (413, "request_too_large")


def test_too_many_connections_are_told_to_come_back(address: tuple[str, int]) -> None:
    with contextlib.ExitStack() as stack:
        for _ in range(8):
            stack.enter_context(socket.create_connection(address))
        time.sleep(0.1)
        assert said(address) == (503, "overloaded")


@pytest.mark.slow
def test_a_caller_who_stops_reading_is_dropped_and_the_upstream_with_him(
    address: tuple[str, int], provider: FakeProvider
) -> None:
    provider.script("up-cheap", Behaviour(texts=("x" * 100_000,) * 2000))
    with socket.create_connection(address) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.sendall(head(content_length=str(len(HELLO))) + HELLO)
        deadline = time.monotonic() + 30
        while not provider.chats and time.monotonic() < deadline:
            time.sleep(0.01)
        assert provider.chats[0].over.wait(10)
    assert provider.chats[0].aborted


def test_two_requests_at_once_are_answered_one_after_the_other(address: tuple[str, int]) -> None:
    one = b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n"
    last = b"GET /healthz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n"
    with socket.create_connection(address) as connection:
        connection.sendall(one + last)
        assert read_all(connection).count(b'{"status":"ok"}') == 2


@pytest.mark.parametrize("keys", ["", "auth: {keys: [{name: team, key_env: MAIN_KEY}]}"])
def test_what_callers_say_about_themselves_is_not_believed(
    provider: FakeProvider, keys: str
) -> None:
    """Neither X-Forwarded-* nor, where there are keys, Host changes an answer."""
    host = b"evil.example@127.0.0.1/" if keys else b"localhost"
    with LiveGateway(config_for(provider.base_url, keys), {"MAIN_KEY": KEY}) as live:
        name, _, port = live.url.removeprefix("http://").partition(":")
        for path in (b"/v1/models", b"//v1/models", b"/v1/../v1/models", b"/v1/models/..%2f..%2f"):
            plain = b"GET " + path + b" HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n"
            forged = plain.replace(
                b"host: localhost", b"host: " + host + b"\r\nx-forwarded-for: 127.0.0.1\r\n"
                b"x-forwarded-host: evil.example\r\nx-forwarded-proto: https\r\nforwarded: for=::1"
            )  # fmt: skip
            answers = []
            for sent in (plain, forged):
                with socket.create_connection((name, int(port))) as connection:
                    connection.sendall(sent)
                    answers.append(read_all(connection))
            status = [answer.split(b"\r\n", 1)[0] for answer in answers]
            assert status[0] == status[1]
            assert b"evil" not in answers[1]
            assert b"location:" not in answers[1].lower()


class Wire:
    """A transport that keeps each write."""

    def __init__(self) -> None:
        self.writes: list[bytes] = []
        self.closed = False

    def write(self, data: bytes) -> None:
        self.writes.append(data)

    def close(self) -> None:
        self.closed = True

    def is_closing(self) -> bool:
        return self.closed


async def test_head_and_body_are_one_write_and_a_late_body_does_not_hold_the_head() -> None:
    loop = asyncio.get_running_loop()
    wire = Wire()
    joined = JoinedWrites(wire, loop)  # type: ignore[arg-type]
    joined.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    joined.write(b"head")
    joined.write(b"body")
    joined.write(b"more")
    await asyncio.sleep(0)
    assert wire.writes == [b"HTTP/1.1 100 Continue\r\n\r\n", b"headbody", b"more"]

    late = JoinedWrites(wire, loop)  # type: ignore[arg-type]
    late.write(b"head")
    await asyncio.sleep(0)
    assert wire.writes[-1] == b"head"
    late.write(b"body")
    assert wire.writes[-1] == b"body"

    cut = JoinedWrites(wire, loop)  # type: ignore[arg-type]
    cut.write(b"only a head")
    cut.close()
    assert wire.writes[-1] == b"only a head"
    assert wire.closed


def answers(address: tuple[str, int], *requests: bytes) -> list[tuple[list[str], bytes]]:
    """The heads, without what differs each time, and the bodies of the answers."""
    with socket.create_connection(address) as connection:
        connection.sendall(b"".join(requests))
        left, found = read_all(connection), []
    while left:
        first, _, left = left.partition(b"\r\n\r\n")
        lines = first.decode().split("\r\n")
        length = int(next(line for line in lines if line.startswith("content-length")).split()[1])
        changing = ("date", "x-request-id", "server-timing", "connection")
        found.append(([line for line in lines if not line.startswith(changing)], left[:length]))
        left = left[length:]
    return found


def test_an_answer_sent_at_once_is_the_one_that_uvicorn_sends(address: tuple[str, int]) -> None:
    body = HELLO.replace(b"true", b"false")
    kept = head(content_length=str(len(body))) + body
    # the last answer of a connection says so, and takes the long way
    last = head(content_length=str(len(body)), connection="close") + body
    wrong = body.replace(b'"messages"', b'"massages"')
    refused = head(content_length=str(len(wrong))) + wrong
    at_once, error, by_uvicorn = answers(address, kept, refused, last)
    assert at_once[0] == by_uvicorn[0]
    assert at_once[0][0] == "HTTP/1.1 200 OK"
    assert {**json.loads(at_once[1]), "id": 0} == {**json.loads(by_uvicorn[1]), "id": 0}
    assert error[0][0] == "HTTP/1.1 400 Bad Request"
    assert json.loads(error[1])["error"]["param"] == "messages"


class _Gone:
    """A caller who has sent all and hung up."""

    has_sent_all = is_gone = True


async def test_the_body_of_a_caller_who_has_hung_up_is_not_read() -> None:
    scope = {"type": "http", "headers": []}
    introduce(scope, _Gone())  # type: ignore[arg-type]
    with pytest.raises(ClientDisconnect):
        await read_body(Request(scope), 100)


@pytest.mark.slow
def test_a_request_leaves_no_garbage_with_its_headers(address: tuple[str, int]) -> None:
    body = HELLO.replace(b"true", b"false")
    request = head(content_length=str(len(body))) + body
    gc.collect()
    gc.disable()
    try:
        before = live_cycles()
        answers(address, *[request] * 8, head(content_length="0", connection="close"))
        after = live_cycles()
    finally:
        gc.enable()
    assert after - before <= 2


def live_cycles() -> int:
    """Of this connection, and of what other tests of this process have left."""
    # not isinstance: it would ask objects for a class that warn of being asked anything
    return sum(type(thing) is RequestResponseCycle for thing in gc.get_objects())
