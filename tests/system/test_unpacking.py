"""Bodies that come compressed, to every endpoint that takes one; and websockets, which none has."""

from __future__ import annotations

import asyncio
import gzip
import json
import socket
import sys
import tracemalloc
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from typing import Any

import brotli
import httpx
import pytest
from fake_provider import FakeProvider
from hypothesis import given
from hypothesis import strategies as st
from live_gateway import LiveGateway

from server.errors import InvalidRequestError, RequestTooLargeError
from server.http.unpacking import unpacked

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

LIMIT = 100_000
CONFIG = """
providers: {{main: {{kind: openai, base_url: "{url}"}}}}
models: {{m: {{provider: main, upstream_model: up, input_usd_per_mtok: 1, output_usd_per_mtok: 2}}}}
scorer: {{fixed: {{m: 1}}}}
limits: {{max_body_bytes: 100000}}
"""
HELLO = [{"role": "user", "content": "Hello " * 200}]
BODIES: dict[str, dict[str, Any]] = {
    "chat/completions": {"messages": HELLO},
    "responses": {"input": "Hello " * 200},
    "messages": {"messages": HELLO, "max_tokens": 50},
    "messages/count_tokens": {"messages": HELLO},
    "responses/input_tokens": {"input": "Hello"},
    "completions": {"prompt": "Hello " * 200},
    "embeddings": {"input": "Hello " * 200},
    "route": {"messages": HELLO},
    "leaderboard": {"messages": HELLO},
}


def raw_deflate(body: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(body) + packer.flush()


def two_members(body: bytes) -> bytes:
    return gzip.compress(body[:50]) + gzip.compress(body[50:])


def two_frames(body: bytes) -> bytes:
    return zstd.compress(body[:50]) + zstd.compress(body[50:])


PACKERS: dict[str, tuple[str, Callable[[bytes], bytes]]] = {
    "gzip": ("gzip", gzip.compress),
    "x-gzip": ("x-gzip", gzip.compress),
    "gzip in two members": ("gzip", two_members),
    "deflate": ("deflate", zlib.compress),
    "raw deflate": ("deflate", raw_deflate),
    "br": ("br", brotli.compress),
    "zstd": ("zstd", zstd.compress),
    "zstd in two frames": ("zstd", two_frames),
    "capitals": ("GZip", gzip.compress),
    "identity": ("identity", bytes),
    "gzip, identity": ("gzip, identity", gzip.compress),
}
ENCODINGS = {
    "gzip": gzip.compress,
    "deflate": zlib.compress,
    "br": partial(brotli.compress, quality=5),
    "zstd": zstd.compress,
}


@pytest.fixture(scope="module")
def rig() -> Iterator[tuple[FakeProvider, LiveGateway]]:
    with (
        FakeProvider() as provider,
        LiveGateway(CONFIG.format(url=provider.base_url)) as gateway,
    ):
        yield provider, gateway


def post(url: str, body: bytes, encoding: str) -> httpx.Response:
    headers = {"content-type": "application/json", "content-encoding": encoding}
    return httpx.post(url, content=body, headers=headers, trust_env=False, timeout=30)


@pytest.mark.parametrize("packer", sorted(PACKERS))
@pytest.mark.parametrize("surface", sorted(BODIES))
def test_every_endpoint_unpacks_what_it_is_sent(
    rig: tuple[FakeProvider, LiveGateway], surface: str, packer: str
) -> None:
    provider, gateway = rig
    provider.requests.clear()
    encoding, pack = PACKERS[packer]
    body = json.dumps(BODIES[surface] | {"model": "m"}).encode()
    answer = post(f"{gateway.url}/v1/{surface}", pack(body), encoding)
    assert answer.status_code == 200, answer.text
    for request in provider.requests:
        assert "content-encoding" not in request.headers
        assert "Hello Hello" in json.dumps(request.body)


@pytest.mark.parametrize("encoding", sorted(ENCODINGS))
def test_what_unpacks_to_more_than_the_limit_is_too_large(
    rig: tuple[FakeProvider, LiveGateway], encoding: str
) -> None:
    bomb = ENCODINGS[encoding](b" " * 10_000_000)
    assert len(bomb) < LIMIT
    answer = post(f"{rig[1].url}/v1/responses", bomb, encoding)
    assert answer.status_code == 413
    assert answer.json()["error"]["code"] == "request_too_large"
    assert str(LIMIT) in answer.json()["error"]["message"]


@pytest.mark.parametrize("encoding", ["lzma", "gzip, zstd", "compress", "gzip;q=1", "\xff"])
def test_an_encoding_that_is_not_known_is_named_so(
    rig: tuple[FakeProvider, LiveGateway], encoding: str
) -> None:
    url = f"{rig[1].url}/v1/chat/completions"
    headers = {b"content-encoding": encoding.encode("latin-1")}
    answer = httpx.post(url, content=b"{}", headers=headers, trust_env=False)
    assert answer.status_code == 415
    assert answer.json()["error"]["code"] == "unsupported_content_encoding"
    for known in ENCODINGS:
        assert known in answer.json()["error"]["message"]
        assert known in answer.headers["accept-encoding"]


def test_several_lines_of_a_header_are_one(rig: tuple[FakeProvider, LiveGateway]) -> None:
    body = gzip.compress(json.dumps(BODIES["responses"] | {"model": "m"}).encode())
    url = f"{rig[1].url}/v1/responses"
    for lines, status in ((["identity", "gzip"], 200), (["gzip", "zstd"], 415)):
        headers = [("content-encoding", line) for line in lines]
        answer = httpx.post(url, content=body, headers=headers, trust_env=False)
        assert answer.status_code == status, answer.text


@pytest.mark.parametrize("encoding", sorted(ENCODINGS))
def test_what_is_not_packed_as_it_says_is_a_bad_request(
    rig: tuple[FakeProvider, LiveGateway], encoding: str
) -> None:
    whole = ENCODINGS[encoding](json.dumps(BODIES["responses"] | {"model": "m"}).encode())
    for body in (b"", b"{}", b'{"model": "m"}', whole[:-4], whole[: len(whole) // 2]):
        answer = post(f"{rig[1].url}/v1/responses", body, encoding)
        assert answer.status_code == 400, body
        assert answer.json()["error"]["code"] == "invalid_request"
        assert encoding in answer.json()["error"]["message"]


@pytest.mark.parametrize("encoding", sorted(ENCODINGS))
async def test_a_small_body_that_stands_for_much_is_never_held(encoding: str) -> None:
    bomb = ENCODINGS[encoding](b"\0" * 25_000_000)
    tracemalloc.start()
    try:
        with pytest.raises(RequestTooLargeError):
            await unpacked(bomb, encoding, 1_000_000)
        assert tracemalloc.get_traced_memory()[1] < 16_000_000
    finally:
        tracemalloc.stop()


@given(st.binary(max_size=20_000), st.sampled_from(sorted(ENCODINGS)), st.integers(0, 3))
def test_bodies_come_back_whole(body: bytes, encoding: str, more: int) -> None:
    packed = ENCODINGS[encoding](body * 40)
    found = asyncio.run(unpacked(packed, encoding, len(body) * 40 + more))
    assert found == body * 40


@given(st.binary(max_size=300), st.sampled_from(sorted(ENCODINGS)))
def test_garbage_is_refused_and_nothing_else_happens(body: bytes, encoding: str) -> None:
    with suppress(InvalidRequestError, RequestTooLargeError):
        asyncio.run(unpacked(body, encoding, 10_000))


KEYS = 'auth: {keys: [{name: a, key_sha256: "' + "0" * 64 + '"}]}\n'


@pytest.mark.parametrize("path", ["/v1/responses", "/v1/realtime?model=m", "/v1/chat/completions"])
@pytest.mark.parametrize("keys", [False, True])
def test_a_websocket_is_told_at_once_that_there_is_none(path: str, keys: bool) -> None:
    text = CONFIG.format(url="http://127.0.0.1:9/v1") + (KEYS if keys else "")
    with LiveGateway(text) as gateway:
        url = httpx.URL(gateway.url)
        with socket.create_connection((url.host, url.port or 80), timeout=2) as connection:
            lines = (
                f"GET {path} HTTP/1.1", f"Host: {url.host}:{url.port}", "Connection: Upgrade",
                "Upgrade: websocket", "Sec-WebSocket-Version: 13",
                "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "", "",
            )  # fmt: skip
            connection.sendall("\r\n".join(lines).encode())
            said = b""
            while more := connection.recv(65536):
                said += more
    head, _, body = said.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 426 ")
    assert b"upgrade: " in head.lower()
    assert json.loads(body)["error"]["code"] == "upgrade_required"
