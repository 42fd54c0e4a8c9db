"""OpenAIUpstream against a provider on a real socket."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import anyio.to_thread
import httpx
import orjson
import pytest
from fake_provider import Behaviour, FakeProvider, Fault, Recorded

from server.config.secret import Secret
from server.upstream.base import UpstreamRequest
from server.upstream.errors import (
    UpstreamBusyError,
    UpstreamError,
    UpstreamModelRefusedError,
    UpstreamRateLimitedError,
    UpstreamRejectedError,
    UpstreamStreamBrokenError,
    UpstreamTimeoutError,
    UpstreamUnavailableError,
    parse_retry_after_s,
)
from server.upstream.exchange import Exchange
from server.upstream.openai import OpenAIUpstream
from server.upstream.patience import Patience
from server.upstream.transport import build_transport
from server.wire.sse import SseEvent

KEY = "sk-very-secret-1234567890"
PROMPT = "the prompt nobody may log"
SHORT_S = 0.15


@pytest.fixture
def provider() -> Iterator[FakeProvider]:
    with FakeProvider() as provider:
        yield provider


@asynccontextmanager
async def upstream_at(base_url: str, **options: Any) -> AsyncIterator[OpenAIUpstream]:
    options.setdefault("max_concurrency", 8)
    names = {"first_byte_timeout_s": "first_byte_s", "idle_timeout_s": "idle_s"}
    limits = {names[name]: options.pop(name) for name in names if name in options}
    own = {name: options.pop(name) for name in ("clock",) if name in options}
    upstream = OpenAIUpstream(
        "main",
        base_url=base_url,
        api_key=Secret(KEY),
        exchange=Exchange("main", build_transport(), patience=Patience(**limits), **options),
        **own,
    )
    try:
        yield upstream
    finally:
        await upstream.close()


def ask(stream: bool = False, model: str = "m", **fields: Any) -> UpstreamRequest:
    body = {"model": model, "messages": [{"role": "user", "content": PROMPT}], **fields}
    return UpstreamRequest(body, stream, model)


async def collect(upstream: OpenAIUpstream, request: UpstreamRequest) -> list[SseEvent]:
    async with await upstream.open_stream(request) as stream:
        return [event async for event in stream]


def text_of(events: list[SseEvent]) -> str:
    chunks = [orjson.loads(event.data) for event in events]
    deltas = [choice["delta"] for chunk in chunks for choice in chunk["choices"]]
    return "".join(delta.get("content") or "" for delta in deltas)


async def over(request: Recorded) -> None:
    assert await anyio.to_thread.run_sync(request.over.wait, 5)


# --- good answers -----------------------------------------------------------------------------


async def test_a_whole_answer_comes_back_as_it_is(provider: FakeProvider) -> None:
    usage = {
        "prompt_tokens": 9,
        "completion_tokens": 3,
        "total_tokens": 12,
        "prompt_tokens_details": {"cached_tokens": 4},
    }
    provider.script("m", Behaviour(usage=usage))
    async with upstream_at(provider.base_url) as upstream:
        reply = await upstream.complete(ask(temperature=0, stop=["x"], seed=0, n=1, new_field=[]))
    assert reply.status == 200
    assert reply.body["choices"][0]["message"]["content"] == "Hello from m"
    assert reply.body["usage"] == usage
    [sent] = provider.chats
    assert sent.path == "/v1/chat/completions"
    assert sent.body == dict(ask(temperature=0, stop=["x"], seed=0, n=1, new_field=[]).body)


async def test_only_our_own_headers_go_out(provider: FakeProvider) -> None:
    async with upstream_at(provider.base_url) as upstream:
        await collect(upstream, ask(stream=True))
    headers = provider.chats[0].headers
    assert headers["authorization"] == f"Bearer {KEY}"
    assert headers["accept"] == "text/event-stream"
    assert headers["accept-encoding"] == "identity"
    assert set(headers) == {
        *("authorization", "accept", "accept-encoding", "content-type", "content-length"),
        *("host", "user-agent"),
    }


async def test_no_key_sends_no_authorization(provider: FakeProvider) -> None:
    exchange = Exchange("main", build_transport())
    upstream = OpenAIUpstream("main", base_url=provider.base_url, api_key=None, exchange=exchange)
    await upstream.complete(ask())
    await upstream.close()
    assert "authorization" not in provider.chats[0].headers


async def test_a_stream_is_passed_on_byte_for_byte_and_always_asks_for_usage(
    provider: FakeProvider,
) -> None:
    provider.script("m", Behaviour(texts=("Grüße ", "😀", " <b>")))
    request = ask(stream=True, stream_options={"other": 1})
    async with upstream_at(provider.base_url) as upstream:
        events = await collect(upstream, request)
    assert text_of(events) == "Grüße 😀 <b>"
    assert "😀".encode() in events[2].data  # unescaped, as the provider wrote it
    assert events[-1].parsed is not None
    assert events[-1].parsed["usage"]["completion_tokens"] == 3
    assert [orjson.loads(event.data) for event in events] == [event.parsed for event in events]
    assert provider.chats[0].body["stream_options"] == {"other": 1, "include_usage": True}
    assert provider.chats[0].body["stream"] is True
    assert request.body["stream_options"] == {"other": 1}  # the caller's own is left alone


@pytest.mark.parametrize(
    "wire",
    [
        Behaviour(byte_by_byte=True, texts=("é", "😀")),
        Behaviour(line_end="\r\n", texts=("é", "😀")),
        Behaviour(line_end="\r\n", byte_by_byte=True, texts=("é", "😀")),
        Behaviour(line_end="\r", texts=("é", "😀")),
        Behaviour(keep_alives=3, texts=("é", "😀")),
    ],
)
async def test_the_wire_may_look_as_it_likes(provider: FakeProvider, wire: Behaviour) -> None:
    provider.script("m", wire)
    async with upstream_at(provider.base_url) as upstream:
        assert text_of(await collect(upstream, ask(stream=True))) == "é😀"


async def test_tool_call_deltas_and_finish_reason_survive(provider: FakeProvider) -> None:
    call = {"index": 0, "id": "c1", "type": "function", "function": {"name": "f", "arguments": ""}}
    more = {"index": 0, "function": {"arguments": '{"a": 1}'}}
    deltas = ({"tool_calls": [call]}, {"tool_calls": [more]})
    provider.script("m", Behaviour(deltas=deltas, finish_reason="tool_calls"))
    async with upstream_at(provider.base_url) as upstream:
        events = await collect(upstream, ask(stream=True))
    choices = [c for e in events for c in orjson.loads(e.data)["choices"]]
    assert [choice["delta"] for choice in choices[1:3]] == list(deltas)
    assert choices[-1]["finish_reason"] == "tool_calls"


async def test_the_first_event_comes_before_the_rest_is_made(provider: FakeProvider) -> None:
    # the first chunk holds the role alone, the second the first word, and three more follow
    provider.script("m", Behaviour(texts=("word",) * 100, chunk_delay_s=0.2))
    async with upstream_at(provider.base_url) as upstream:
        stream = await upstream.open_stream(ask(stream=True))
        assert not provider.chats[0].over.is_set()
        await stream.aclose()
    await over(provider.chats[0])
    assert provider.chats[0].aborted


async def test_connections_are_kept_and_used_again(provider: FakeProvider) -> None:
    async with upstream_at(provider.base_url) as upstream:
        for _ in range(3):
            await collect(upstream, ask(stream=True))
            await upstream.complete(ask())
    assert provider.n_connections == 1


@pytest.mark.parametrize(
    "ending", [Behaviour(send_done=False), Behaviour(send_done=False, omit_usage=True)]
)
async def test_a_finish_reason_is_end_enough(provider: FakeProvider, ending: Behaviour) -> None:
    provider.script("m", ending)
    async with upstream_at(provider.base_url) as upstream:
        assert text_of(await collect(upstream, ask(stream=True))) == "Hello from m"


# --- failures before the first byte -------------------------------------------------------------

API_ERROR = {"message": "wrong", "type": "invalid_request_error", "param": "x", "code": "bad"}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("status", [400, 404, 413, 422])
async def test_the_callers_fault_is_passed_through(
    provider: FakeProvider, status: int, stream: bool
) -> None:
    provider.script("m", Behaviour(status=status, error=API_ERROR))
    with pytest.raises(UpstreamRejectedError) as caught:
        await attempt(provider.base_url, stream)
    assert caught.value.status == status
    assert caught.value.body == {"error": API_ERROR}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("status", [301, 401, 403, 408, 409, 500, 502, 503, 529])
async def test_other_statuses_are_ours(provider: FakeProvider, status: int, stream: bool) -> None:
    behaviour = Behaviour(
        status=status, error=API_ERROR, headers={"retry-after": "3", "location": "/elsewhere"}
    )
    provider.script("m", behaviour)
    with pytest.raises(UpstreamUnavailableError) as caught:
        await attempt(provider.base_url, stream)
    assert (caught.value.status, caught.value.retry_after_s) == (status, 3.0)
    assert len(provider.requests) == 1


@pytest.mark.parametrize(
    "error",
    [
        {"message": "nope", "code": "model_not_found"},
        {"message": "nope", "param": "model", "code": None},
        {"message": "The model `m` does not exist.", "code": 404},
    ],
)
async def test_a_404_for_the_model_is_ours(provider: FakeProvider, error: dict[str, Any]) -> None:
    provider.script("m", Behaviour(status=404, error=error))
    with pytest.raises((UpstreamUnavailableError, UpstreamModelRefusedError)):
        await attempt(provider.base_url, stream=False)


async def test_a_404_page_is_a_wrong_base_url_and_so_ours(provider: FakeProvider) -> None:
    with pytest.raises(UpstreamUnavailableError):
        await attempt(provider.base_url + "/nowhere", stream=True)


@pytest.mark.parametrize(
    ("headers", "retry_after_s"),
    [
        ({"retry-after": "7"}, 7.0),
        ({"retry-after-ms": "250", "retry-after": "1"}, 0.25),
        ({}, None),
    ],
)
async def test_a_rate_limit_says_for_how_long(
    provider: FakeProvider, headers: dict[str, str], retry_after_s: float | None
) -> None:
    provider.script("m", Behaviour(status=429, headers=headers))
    for stream in (False, True):
        with pytest.raises(UpstreamRateLimitedError) as caught:
            await attempt(provider.base_url, stream)
        assert caught.value.retry_after_s == retry_after_s


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("120", 120.0),
        ("1.5", 1.5),
        ("-4", 0.0),
        ("Thu, 01 Jan 1970 00:20:00 GMT", 200.0),
        ("Thu, 01 Jan 1970 00:00:00 GMT", 0.0),
        ("Thu, 01 Jan 1970 00:20:00 -0000", 200.0),
        ("soon", None),
        ("nan", None),
        ("inf", None),
        ("", None),
        (None, None),
    ],
)
def test_retry_after_is_seconds_or_a_date(value: str | None, expected: float | None) -> None:
    headers = {} if value is None else {"retry-after": value}
    assert parse_retry_after_s(headers, now_s=1000.0) == expected


@pytest.mark.parametrize(
    "behaviour",
    [
        Behaviour(garbage=b"<html>gateway</html>"),
        Behaviour(garbage=b""),
        Behaviour(garbage=b"[1]"),
        Behaviour(garbage=b'{"object": "something else"}'),
        Behaviour(content_type="text/html"),
        Behaviour(error={"message": "it broke"}),
        Behaviour(fault=Fault.CUT),
        Behaviour(fault=Fault.RESET),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
async def test_garbled_answers_are_the_providers_fault(
    provider: FakeProvider, behaviour: Behaviour, stream: bool
) -> None:
    provider.script("m", behaviour)
    with pytest.raises(UpstreamUnavailableError):
        await attempt(provider.base_url, stream)


@pytest.mark.parametrize("fault", [Fault.END, Fault.MALFORMED, Fault.ERROR])
async def test_a_stream_that_is_over_before_it_begins(provider: FakeProvider, fault: Fault) -> None:
    provider.script("m", Behaviour(fault=fault))
    with pytest.raises(UpstreamUnavailableError):
        await attempt(provider.base_url, stream=True)


async def test_an_empty_answer_to_a_stream_request_is_refused(provider: FakeProvider) -> None:
    whole = b'{"object": "chat.completion", "choices": []}'
    provider.script("m", Behaviour(garbage=whole))
    with pytest.raises(UpstreamUnavailableError, match="before the answer was finished"):
        await attempt(provider.base_url, stream=True)
    provider.script("m", Behaviour(garbage=whole, content_type="text/plain"))
    with pytest.raises(UpstreamUnavailableError, match="asked for a stream"):
        await attempt(provider.base_url, stream=True)


async def test_a_refused_connection_is_unavailable() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    for stream in (False, True):
        with pytest.raises(UpstreamUnavailableError) as caught:
            await attempt(f"http://127.0.0.1:{port}/v1", stream)
        assert caught.value.status is None


async def test_a_connection_nobody_accepts_times_out() -> None:
    with socket.socket() as full, socket.socket() as queued, socket.socket() as more:
        full.bind(("127.0.0.1", 0))
        full.listen(0)  # the kernel holds one connection for it, then answers no more
        for other in (queued, more):
            other.setblocking(False)
            other.connect_ex(full.getsockname())
        base_url = f"http://127.0.0.1:{full.getsockname()[1]}/v1"
        with pytest.raises(UpstreamTimeoutError, match="connection"):
            await attempt(base_url, stream=True, connect_timeout_s=SHORT_S)


@pytest.mark.parametrize("stream", [False, True])
async def test_no_first_byte_times_out_and_hangs_up(provider: FakeProvider, stream: bool) -> None:
    provider.script("m", Behaviour(first_delay_s=30))
    with pytest.raises(UpstreamTimeoutError):
        await attempt(provider.base_url, stream, first_byte_timeout_s=SHORT_S)
    await over(provider.chats[0])
    assert provider.chats[0].aborted


async def test_neither_a_head_nor_keep_alives_stretch_the_first_byte(
    provider: FakeProvider,
) -> None:
    provider.script("m", Behaviour(head_delay_s=30), Behaviour(keep_alives=999, chunk_delay_s=0.02))
    for _ in range(2):
        with pytest.raises(UpstreamTimeoutError):
            await attempt(provider.base_url, stream=True, first_byte_timeout_s=SHORT_S)


async def test_an_answer_that_stops_half_way_times_out(provider: FakeProvider) -> None:
    provider.script("m", Behaviour(fault=Fault.SILENCE))
    with pytest.raises(UpstreamTimeoutError):
        await attempt(
            provider.base_url, stream=False, first_byte_timeout_s=SHORT_S, idle_timeout_s=SHORT_S
        )


async def test_a_body_that_cannot_be_written_is_the_callers() -> None:
    with pytest.raises(UpstreamRejectedError) as caught:
        await attempt("http://127.0.0.1:1/v1", stream=False, user="\ud800")
    assert caught.value.status == 400
    assert "message" in caught.value.body["error"]


async def attempt(base_url: str, stream: bool, user: str = "u", **options: Any) -> None:
    async with upstream_at(base_url, **options) as upstream:
        if stream:
            await collect(upstream, ask(stream=True, user=user))
        else:
            await upstream.complete(ask(user=user))


# --- failures after the first byte --------------------------------------------------------------


@pytest.mark.parametrize("fault", list(Fault))
@pytest.mark.parametrize("fault_after", [2, 3])
async def test_a_failure_after_the_first_event_is_a_broken_stream(
    provider: FakeProvider, fault: Fault, fault_after: int
) -> None:
    provider.script("m", Behaviour(fault=fault, fault_after=fault_after, chunk_delay_s=0.01))
    async with (
        upstream_at(provider.base_url, idle_timeout_s=SHORT_S) as upstream,
        await upstream.open_stream(ask(stream=True)) as stream,
    ):
        for _ in range(fault_after):
            await anext(stream)
        with pytest.raises(UpstreamStreamBrokenError):
            await anext(stream)


async def test_one_of_two_choices_unfinished_is_a_broken_stream(provider: FakeProvider) -> None:
    # role, three texts and the finish of choice 0, then the role of choice 1
    provider.script("m", Behaviour(fault=Fault.END, fault_after=6))
    with pytest.raises(UpstreamStreamBrokenError):
        async with upstream_at(provider.base_url) as upstream:
            await collect(upstream, ask(stream=True, n=2))


async def test_keep_alives_are_a_sign_of_life(provider: FakeProvider) -> None:
    provider.script("m", Behaviour(texts=("a",), keep_alives=6, chunk_delay_s=0.03))
    async with upstream_at(provider.base_url, idle_timeout_s=0.15) as upstream:
        assert text_of(await collect(upstream, ask(stream=True))) == "a"


# --- hanging up, limits, secrets ----------------------------------------------------------------


async def test_closing_the_stream_hangs_up_on_the_provider(provider: FakeProvider) -> None:
    provider.script("m", Behaviour(texts=("x",) * 1000, chunk_delay_s=0.02))
    async with upstream_at(provider.base_url, max_concurrency=1) as upstream:
        stream = await upstream.open_stream(ask(stream=True))
        await anext(stream)
        await anext(stream)
        await stream.aclose()
        await over(provider.chats[0])
        assert provider.chats[0].aborted
        assert [event async for event in stream] == []
        # and its place is free again
        provider.script("m", Behaviour())
        assert text_of(await collect(upstream, ask(stream=True))) == "Hello from m"


async def came_to(provider: FakeProvider) -> None:
    """Once the provider has a request."""
    with anyio.fail_after(30):
        while not provider.chats:  # noqa: ASYNC110
            await anyio.sleep(0.005)


@pytest.mark.parametrize("how", ["asyncio", "anyio"])
async def test_cancelling_the_reader_hangs_up_on_the_provider(
    provider: FakeProvider, how: str
) -> None:
    provider.script("m", Behaviour(fault=Fault.SILENCE, fault_after=2))
    async with upstream_at(provider.base_url, max_concurrency=1) as upstream:
        if how == "asyncio":
            task = asyncio.create_task(collect(upstream, ask(stream=True)))
            await came_to(provider)
            task.cancel()
            await asyncio.wait([task])
            assert task.cancelled()
        else:
            async with anyio.create_task_group() as group:
                group.start_soon(collect, upstream, ask(stream=True))
                await came_to(provider)
                group.cancel_scope.cancel()
        await over(provider.chats[0])
        assert provider.chats[0].aborted
        provider.script("m", Behaviour())
        await upstream.complete(ask())


async def test_cancelling_a_whole_answer_hangs_up_too(provider: FakeProvider) -> None:
    provider.script("m", Behaviour(first_delay_s=30))
    async with upstream_at(provider.base_url) as upstream, anyio.create_task_group() as group:
        group.start_soon(upstream.complete, ask())
        await came_to(provider)
        group.cancel_scope.cancel()
    await over(provider.chats[0])
    assert provider.chats[0].aborted


async def test_never_more_at_once_than_allowed(provider: FakeProvider) -> None:
    provider.script("m", Behaviour(chunk_delay_s=0.01))
    async with upstream_at(provider.base_url, max_concurrency=2) as upstream:
        answers = await asyncio.gather(*(collect(upstream, ask(stream=True)) for _ in range(6)))
    assert {text_of(events) for events in answers} == {"Hello from m"}
    assert provider.n_connections <= 2


async def test_waiting_for_a_place_is_bounded(provider: FakeProvider) -> None:
    provider.script("m", Behaviour(fault=Fault.SILENCE, fault_after=2))
    options = {"max_concurrency": 1, "queue_timeout_s": SHORT_S}
    async with (
        upstream_at(provider.base_url, **options) as upstream,
        await upstream.open_stream(ask(stream=True)),
    ):
        with pytest.raises(UpstreamBusyError):
            await upstream.complete(ask())
    assert len(provider.chats) == 1


async def test_an_answer_without_end_is_cut_off() -> None:
    class Endless(httpx.AsyncByteStream):
        async def __aiter__(self) -> AsyncIterator[bytes]:
            while True:
                yield b"x" * (1 << 20)

    async def answer(request: httpx.Request) -> httpx.Response:
        kind = request.headers["accept"]
        return httpx.Response(200, headers={"content-type": kind}, stream=Endless())

    for stream in (False, True):
        exchange = Exchange("main", httpx.MockTransport(answer))
        upstream = OpenAIUpstream("main", base_url="http://x/v1", api_key=None, exchange=exchange)
        with pytest.raises(UpstreamUnavailableError, match="bytes"):
            await (collect(upstream, ask(stream=True)) if stream else upstream.complete(ask()))
        await upstream.close()


@pytest.mark.parametrize("behaviour", [Behaviour(), *(Behaviour(fault=fault) for fault in Fault)])
async def test_nothing_says_the_key_or_the_prompt(
    provider: FakeProvider, behaviour: Behaviour, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    provider.script("m", behaviour)
    said = [repr(ask()), repr(Secret(KEY)), f"{Secret(KEY)}"]
    async with upstream_at(provider.base_url, idle_timeout_s=SHORT_S) as upstream:
        said.append(repr(upstream))
        try:
            said.append(repr(await upstream.complete(ask())))
        except UpstreamError as error:
            said += [repr(error), str(error), str(error.__dict__)]
    said.append(caplog.text)
    assert not [text for text in said if KEY in text or PROMPT in text]


async def test_a_provider_that_quotes_the_key_is_not_passed_on(provider: FakeProvider) -> None:
    provider.script("m", Behaviour(status=400, error={"message": f"bad key {KEY}"}))
    with pytest.raises(UpstreamRejectedError) as caught:
        await attempt(provider.base_url, stream=False)
    assert caught.value.body == {"error": {"message": "bad key **********"}}


@pytest.mark.parametrize("key", ["sk-a\nb", "sk-ключ"])
async def test_a_key_that_fits_no_header_is_refused_unsaid(key: str) -> None:
    exchange = Exchange("main", build_transport())
    with pytest.raises(ValueError, match="main") as caught:
        OpenAIUpstream("main", base_url="http://x/v1", api_key=Secret(key), exchange=exchange)
    assert key not in str(caught.value)
    await exchange.close()


async def test_neither_proxies_nor_redirects_nor_cookies(
    provider: FakeProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    provider.script("m", Behaviour(headers={"set-cookie": "who=first-caller; Path=/"}))
    async with upstream_at(provider.base_url) as upstream:
        await upstream.complete(ask())
        await upstream.complete(ask())
    assert "cookie" not in provider.chats[1].headers
