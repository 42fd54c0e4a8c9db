"""A stream that is silent is kept alive, before its first event too, and nobody is misled by it."""

from __future__ import annotations

import json
import logging
import socket
import time
from collections.abc import Iterator
from typing import Any

import anthropic
import httpx
import openai
import pytest
from fake_anthropic import FakeAnthropic
from fake_provider import Behaviour, FakeProvider
from live_gateway import LiveGateway

EVERY_S = 0.06
SILENT_S = 0.4
CONFIG = """
providers:
  plain: {{kind: openai, base_url: "{plain}", first_byte_timeout_s: 5}}
  claude: {{kind: anthropic, base_url: "{claude}", first_byte_timeout_s: 5}}
models:
  first: {{provider: plain, input_usd_per_mtok: 5, output_usd_per_mtok: 5}}
  second: {{provider: plain, input_usd_per_mtok: 1, output_usd_per_mtok: 1}}
  claude-x: {{provider: claude, input_usd_per_mtok: 1, output_usd_per_mtok: 1}}
scorer: {{fixed: {{first: 2, second: 1, claude-x: 0}}}}
routing: {{retries: 0, fallbacks: 1,
          breaker: {{consecutive_failures: 100000, min_requests: 100000}}}}
"""
ASK: dict[str, Any] = {"messages": [{"role": "user", "content": "Hello"}], "max_tokens": 99}
PATHS = ("chat/completions", "responses", "messages")


@pytest.fixture(scope="module")
def fakes() -> Iterator[tuple[FakeProvider, FakeAnthropic]]:
    with FakeProvider() as plain, FakeAnthropic() as claude:
        yield plain, claude


@pytest.fixture(scope="module")
def live(fakes: tuple[FakeProvider, FakeAnthropic]) -> Iterator[LiveGateway]:
    plain, claude = fakes
    text = CONFIG.format(plain=plain.base_url, claude=claude.base_url)
    with LiveGateway(text, keepalive_s=EVERY_S) as gateway:
        yield gateway


@pytest.fixture
def plain(fakes: tuple[FakeProvider, FakeAnthropic]) -> FakeProvider:
    plain, _ = fakes
    plain.requests.clear()
    for model in ("first", "second"):
        plain.script(model, Behaviour())
    return plain


@pytest.fixture
def client(live: LiveGateway) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=live.url, trust_env=False, timeout=20) as client:
        yield client


def body_of(path: str, model: str) -> dict[str, Any]:
    asked = {"input": "Hello"} if path == "responses" else ASK
    return asked | {"model": model, "stream": True}


def streamed(
    client: httpx.Client, path: str, model: str = "p2l"
) -> tuple[httpx.Response, list[str], bool]:
    """The head, the lines, and whether the answer came to a clean end."""
    lines: list[str] = []
    with client.stream("POST", f"/v1/{path}", json=body_of(path, model)) as answer:
        try:
            lines.extend(answer.iter_lines())
        except httpx.RemoteProtocolError:
            return answer, lines, False
    return answer, lines, True


def data_of(lines: list[str]) -> list[Any]:
    payloads = [line.removeprefix("data: ") for line in lines if line.startswith("data: {")]
    return [json.loads(payload) for payload in payloads]


def request_for(path: str) -> bytes:
    body = json.dumps(body_of(path, "p2l")).encode()
    head = f"POST /v1/{path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


def received(caller: socket.socket) -> bytes:
    more = caller.recv(1 << 20)
    assert more != b"", "the gateway has hung up"
    return more


def beats_in(lines: list[str], path: str) -> int:
    return lines.count("event: ping" if path == "messages" else ": keep-alive")


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("delay", ["first_delay_s", "head_delay_s"])
def test_a_silence_before_the_first_event(
    client: httpx.Client, plain: FakeProvider, path: str, delay: str
) -> None:
    plain.script("first", Behaviour(texts=("Hel", "lo"), **{delay: SILENT_S}))
    answer, lines, is_whole = streamed(client, path)
    assert (answer.status_code, is_whole) == (200, True)
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.headers["x-p2l-model"] == "first"
    assert {"x-request-id", "cache-control", "x-p2l-attempts", "server-timing"} <= set(
        answer.headers
    )
    assert 3 <= beats_in(lines, path) <= 12
    assert "Hel" in "".join(lines[lines.index("") :])


@pytest.mark.parametrize("path", PATHS)
def test_a_silence_in_the_middle(client: httpx.Client, plain: FakeProvider, path: str) -> None:
    plain.script("first", Behaviour(texts=("Hel", "lo"), chunk_delay_s=SILENT_S / 2))
    _, lines, is_whole = streamed(client, path)
    assert is_whole
    text = [place for place, line in enumerate(lines) if "Hel" in line or '"lo"' in line]
    between = lines[text[0] : text[1]]
    assert beats_in(between, path) >= 2
    beat = between.index("event: ping" if path == "messages" else ": keep-alive")
    assert between[beat - 1] == "", "no event is cut in two"


def test_a_provider_that_sends_comments_of_its_own(
    client: httpx.Client, plain: FakeProvider
) -> None:
    plain.script("first", Behaviour(texts=("a",), keep_alives=10, chunk_delay_s=0.03))
    _, lines, _ = streamed(client, "chat/completions")
    assert beats_in(lines, "chat/completions") >= 4


@pytest.mark.slow
@pytest.mark.parametrize("path", PATHS)
def test_a_lively_stream_has_none(client: httpx.Client, plain: FakeProvider, path: str) -> None:
    plain.script("first", Behaviour(texts=("a",) * 80, chunk_delay_s=0.02))
    _, lines, _ = streamed(client, path)
    # 16 times as long as a silence may be; a machine may be busy for a while
    assert beats_in(lines, path) <= 4


@pytest.mark.parametrize("path", PATHS)
def test_another_model_answers_behind_the_head(
    client: httpx.Client, plain: FakeProvider, path: str
) -> None:
    plain.script("first", Behaviour(status=500, first_delay_s=SILENT_S))
    answer, lines, is_whole = streamed(client, path)
    assert is_whole
    assert answer.headers["x-p2l-model"] == "first", "who was being asked"
    found = data_of(lines)
    models = {(one.get("message") or one.get("response") or one).get("model") for one in found}
    assert models - {None} == {"second"}, "who answered"


@pytest.mark.parametrize("path", PATHS)
def test_where_all_fail_there_is_no_clean_end(
    live: LiveGateway, client: httpx.Client, plain: FakeProvider, path: str,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    failing = Behaviour(status=500, error={"message": "out of order"}, first_delay_s=SILENT_S / 2)
    for model in ("first", "second"):
        plain.script(model, failing)
    with caplog.at_level(logging.WARNING):
        answer, lines, is_whole = streamed(client, path)
    assert (answer.status_code, is_whole) == (200, False)
    last = data_of(lines)[-1]
    told = last if path == "responses" else last["error"]
    assert "second: plain answered with status 500" in told["message"]
    assert ("event: error" in lines) is (path != "chat/completions")
    assert caplog.records == [], "nobody is to blame on our side"
    assert live.state.gateway.admission.in_flight == 0
    # the gateway goes on
    plain.script("first", Behaviour())
    assert streamed(client, path)[2]


def test_a_failure_in_time_is_an_answer_of_its_own(
    client: httpx.Client, plain: FakeProvider
) -> None:
    for model in ("first", "second"):
        plain.script(model, Behaviour(status=500))
    answer, _, is_whole = streamed(client, "chat/completions")
    assert (answer.status_code, is_whole) == (502, True)
    assert answer.headers["content-type"] == "application/json"


def test_a_refusal_that_comes_late_keeps_its_words(
    client: httpx.Client, plain: FakeProvider
) -> None:
    refusal = Behaviour(status=400, error={"message": "the prompt is odd"}, first_delay_s=SILENT_S)
    plain.script("first", refusal)
    _, lines, is_whole = streamed(client, "chat/completions", "first")
    assert not is_whole
    assert data_of(lines)[-1]["error"]["message"] == "the prompt is odd"


def test_a_caller_who_hangs_up_while_waiting(live: LiveGateway, plain: FakeProvider) -> None:
    plain.script("first", Behaviour(first_delay_s=30))
    host, _, port = live.url.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), 10) as caller:
        caller.sendall(request_for("chat/completions"))
        seen = b""
        while seen.count(b": keep-alive") < 2:
            seen += received(caller)
    (request,) = plain.chats
    assert request.over.wait(5)
    assert request.aborted
    deadline = time.monotonic() + 30
    while live.state.gateway.admission.in_flight > 0 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert live.state.gateway.admission.in_flight == 0


@pytest.mark.slow
def test_a_process_that_stops_says_so(plain: FakeProvider) -> None:
    plain.script("first", Behaviour(first_delay_s=30))
    text = CONFIG.format(plain=plain.base_url, claude=plain.base_url)
    with LiveGateway(text, keepalive_s=EVERY_S) as gateway:
        host, _, port = gateway.url.removeprefix("http://").partition(":")
        caller = socket.create_connection((host, int(port)), 10)
        caller.sendall(request_for("chat/completions"))
        seen = b""
        while seen.count(b": keep-alive") < 2:
            seen += received(caller)
    with caller:
        while more := caller.recv(65536):
            seen += more
    assert b"The server is shutting down." in seen
    # nobody is to take it for the end of the answer
    assert not seen.endswith(b"0\r\n\r\n")


@pytest.mark.slow
def test_the_official_clients_read_over_them(
    live: LiveGateway, client: httpx.Client, plain: FakeProvider
) -> None:
    slow = Behaviour(texts=("Hel", "lo"), first_delay_s=SILENT_S, chunk_delay_s=SILENT_S / 2)
    plain.script("first", slow)
    sdk = openai.OpenAI(base_url=f"{live.url}/v1", api_key="x", max_retries=0)
    chunks = sdk.chat.completions.create(**body_of("chat/completions", "p2l"))
    assert (
        "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
        == "Hello"
    )
    with sdk.responses.stream(model="p2l", input="Hello") as events:
        assert events.get_final_response().output_text == "Hello"
    claude = anthropic.Anthropic(base_url=live.url, api_key="x", max_retries=0)
    with claude.messages.stream(model="p2l", **ASK) as stream:
        assert stream.get_final_text() == "Hello"
    for model in ("first", "second"):
        plain.script(model, Behaviour(status=500, first_delay_s=SILENT_S / 2))
    with pytest.raises(openai.APIError, match="All attempts failed"):
        list(sdk.chat.completions.create(**body_of("chat/completions", "p2l")))
    with (
        pytest.raises(anthropic.APIError, match="All attempts failed"),
        claude.messages.stream(model="p2l", **ASK) as stream,
    ):
        stream.get_final_text()


def test_a_stream_of_anthropics_own(
    client: httpx.Client, fakes: tuple[FakeProvider, FakeAnthropic]
) -> None:
    fakes[1].script("claude-x", Behaviour(texts=("a", "b"), head_delay_s=SILENT_S))
    _, lines, is_whole = streamed(client, "messages", "claude-x")
    assert is_whole
    assert beats_in(lines, "messages") >= 3


@pytest.mark.slow
def test_a_slow_reader_loses_nothing(live: LiveGateway, plain: FakeProvider) -> None:
    plain.script("first", Behaviour(texts=("x" * 200_000,) * 40))
    host, _, port = live.url.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), 10) as caller:
        caller.sendall(request_for("chat/completions"))
        time.sleep(5 * EVERY_S)
        seen = b""
        while not seen.endswith(b"0\r\n\r\n"):
            seen += received(caller)
    assert seen.count(b"x" * 200_000) == 40
    assert seen.count(b"[DONE]") == 1
