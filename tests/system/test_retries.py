"""A request that is sent again gets the first one's answer, and is neither sent nor paid again."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import anthropic
import httpx
import httpx2
import openai
import pytest
from fake_provider import Behaviour, FakeProvider, Fault
from live_gateway import LiveGateway
from stored_attempts import rows

CONFIG = """
providers:
  main: {{kind: openai, base_url: "{url}", first_byte_timeout_s: 20, idle_timeout_s: 20}}
models:
  first: {{provider: main, input_usd_per_mtok: 5, output_usd_per_mtok: 5}}
scorer: {{fixed: {{first: 1}}}}
storage: {{url: "sqlite:///{folder}/p2l.db", keep_responses: true}}
routing: {{retries: 0, fallbacks: 0,
          breaker: {{consecutive_failures: 100000, min_requests: 100000}}}}
limits: {{max_concurrency: 3, max_waiting: 100, max_wait_s: 5}}
auth:
  keys: [{{name: a, key_env: A}}, {{name: b, key_env: B}}]
"""
ENVIRON = {"A": "key-a", "B": "key-b"}
TEXTS = tuple(f"word{number} " for number in range(12))
PATHS = ("chat/completions", "responses", "messages")
AGAIN = {"x-stainless-retry-count": "1"}
FIRST = {"x-stainless-retry-count": "0"}
# What a test has to wait for, at most.
SOON_S = 10.0


class Clock:
    def __init__(self) -> None:
        self.ahead_s = 0.0

    def __call__(self) -> float:
        return time.monotonic() + self.ahead_s


@pytest.fixture
def provider() -> Iterator[FakeProvider]:
    with FakeProvider() as provider:
        yield provider


@pytest.fixture
def live(provider: FakeProvider, tmp_path: Path) -> Iterator[LiveGateway]:
    text = CONFIG.format(url=provider.base_url, folder=tmp_path)
    with LiveGateway(text, ENVIRON, keepalive_s=0.2) as live:
        yield live


@pytest.fixture
def client(live: LiveGateway) -> Iterator[httpx.Client]:
    headers = {"authorization": "Bearer key-a"}
    with httpx.Client(
        base_url=live.url, headers=headers, trust_env=False, timeout=SOON_S
    ) as client:
        yield client


def key(text: str = "order-17") -> dict[str, str]:
    return {"Idempotency-Key": text}


def body_of(path: str, *, stream: bool = False, said: str = "Hello") -> dict[str, Any]:
    asked: dict[str, Any] = {"messages": [{"role": "user", "content": said}], "max_tokens": 99}
    if path == "responses":
        asked = {"input": said}
    return asked | {"model": "p2l"} | ({"stream": True} if stream else {})


def ask(
    client: httpx.Client, path: str, headers: dict[str, str], *, stream: bool = False, **body: str
) -> httpx.Response:
    return client.post(f"/v1/{path}", json=body_of(path, stream=stream, **body), headers=headers)


def until(there: Callable[[], bool]) -> None:
    deadline = time.monotonic() + SOON_S
    while not there():
        assert time.monotonic() < deadline, "it has not come about"
        time.sleep(0.005)


def settled(folder: Path) -> list[Any]:
    """The attempts in the ledger, once all of them are over."""
    url = f"sqlite:///{folder}/p2l.db"
    until(lambda: all(row.outcome != "open" for row in rows(url)))
    return rows(url)


def same(answers: Sequence[httpx.Response]) -> None:
    """All are one answer: its body, its receipt, its status."""
    one = answers[0]
    assert one.status_code == 200, one.text
    for other in answers:
        assert other.status_code == one.status_code, other.text
        assert other.headers["x-request-id"] == one.headers["x-request-id"]
        assert other.content == one.content


@contextmanager
def under_way(
    client: httpx.Client, provider: FakeProvider, *args: Any, **more: Any
) -> Iterator[Callable[[], httpx.Response]]:
    """A first request that has come to the provider."""
    n_before = len(provider.chats)
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(ask, client, *args, **more)
        until(lambda: len(provider.chats) > n_before)
        yield asked.result


def hang_up(
    live: LiveGateway,
    provider: FakeProvider,
    path: str,
    headers: dict[str, str],
    *,
    stream: bool = False,
    after_s: float = 0.15,
) -> None:
    """A caller that sends a request and is gone after_s seconds after the provider has it."""
    n_before = len(provider.chats)
    body = json.dumps(body_of(path, stream=stream), separators=(",", ":")).encode()
    told = {"host": "localhost", "authorization": "Bearer key-a", **headers}
    told["content-length"] = str(len(body))
    lines = [f"POST /v1/{path} HTTP/1.1", *(f"{name}: {value}" for name, value in told.items())]
    address = httpx.URL(live.url)
    with socket.create_connection((address.host, address.port or 80)) as gone:
        gone.sendall("\r\n".join([*lines, "", ""]).encode() + body)
        until(lambda: len(provider.chats) > n_before)
        time.sleep(after_s)


@pytest.mark.slow
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("path", PATHS)
def test_ten_at_once_with_one_key(
    client: httpx.Client, provider: FakeProvider, live: LiveGateway, tmp_path: Path, path: str,
    stream: bool,
) -> None:  # fmt: skip
    provider.script("first", Behaviour(texts=TEXTS, first_delay_s=0.3, chunk_delay_s=0.01))
    with ThreadPoolExecutor(10) as pool:
        told = [pool.submit(ask, client, path, key(), stream=stream) for _ in range(10)]
        answers = [one.result() for one in told]
    same(answers)
    assert TEXTS[-1] in answers[0].text
    assert len(provider.chats) == 1
    (row,) = settled(tmp_path)
    assert (row.outcome, row.request_id) == ("answered", answers[0].headers["x-request-id"])


@pytest.mark.parametrize("how", ["key", "count"])
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("path", PATHS)
def test_one_that_is_answered_is_answered_again_for_two_minutes(
    client: httpx.Client, provider: FakeProvider, live: LiveGateway, path: str, stream: bool,
    how: str,
) -> None:  # fmt: skip
    clock = Clock()
    live.state.joining.answers.clock = clock
    first, again = (key(), key()) if how == "key" else (FIRST, AGAIN)
    one = ask(client, path, first, stream=stream)
    until(lambda: live.state.gateway.under_way == 0)  # it is kept from its end on
    clock.ahead_s = 118.0
    same([one, ask(client, path, again, stream=stream)])
    clock.ahead_s = 121.0
    late = ask(client, path, again, stream=stream)
    assert late.headers["x-request-id"] != one.headers["x-request-id"]
    assert len(provider.chats) == 2


@pytest.mark.parametrize("path", PATHS)
def test_a_stream_is_joined_from_its_first_event(
    client: httpx.Client, provider: FakeProvider, path: str
) -> None:
    provider.script("first", Behaviour(texts=TEXTS, chunk_delay_s=0.1))
    with under_way(client, provider, path, FIRST, stream=True) as first:
        time.sleep(0.25)
        with client.stream(
            "POST", f"/v1/{path}", json=body_of(path, stream=True), headers=AGAIN
        ) as second:
            pieces, text = second.iter_text(), ""
            while TEXTS[0] not in text:
                text += next(pieces)
            # what was there already came at once, and the rest as it came
            assert TEXTS[-1] not in text
            text += "".join(pieces)
        assert text == first().text
    assert len(provider.chats) == 1


def test_a_stream_that_thinks_is_kept_alive_for_all(
    client: httpx.Client, provider: FakeProvider
) -> None:
    provider.script("first", Behaviour(texts=TEXTS, first_delay_s=0.6))
    with under_way(client, provider, "chat/completions", key(), stream=True) as first:
        second = ask(client, "chat/completions", key(), stream=True)
        same([first(), second])
    assert second.text.startswith(": keep-alive")


@pytest.mark.parametrize("stream", [False, True])
def test_a_body_is_one_of_its_path(
    client: httpx.Client, provider: FakeProvider, stream: bool
) -> None:
    assert ask(client, "chat/completions", FIRST, stream=stream).status_code == 200
    assert ask(client, "messages", AGAIN, stream=stream).status_code == 200
    assert len(provider.chats) == 2
    ask(client, "chat/completions", key(), stream=stream)
    other = ask(client, "messages", key(), stream=stream)
    assert other.status_code == 400
    assert other.json()["type"] == "error"
    assert "Idempotency-Key" in other.json()["error"]["message"]


@pytest.mark.parametrize("headers", [key(), AGAIN])
def test_never_across_callers(
    client: httpx.Client, provider: FakeProvider, headers: dict[str, str]
) -> None:
    provider.script("first", Behaviour(first_delay_s=0.3))
    other = {"authorization": "Bearer key-b"}
    with under_way(client, provider, "chat/completions", headers) as first:
        second = ask(client, "chat/completions", headers | other)
        assert second.headers["x-request-id"] != first().headers["x-request-id"]
    third = ask(client, "chat/completions", headers | other, said="Something else")
    assert third.status_code == (400 if "Idempotency-Key" in headers else 200)
    wrong = ask(client, "chat/completions", headers | {"authorization": "Bearer key-c"})
    assert wrong.status_code == 401


def test_requests_that_are_only_alike_are_sent(
    client: httpx.Client, provider: FakeProvider
) -> None:
    for headers in ({}, {}, FIRST, FIRST, key("1"), key("2"), key("3") | AGAIN):
        assert ask(client, "chat/completions", headers).status_code == 200
    # the last is a retry of a request without a key
    assert len(provider.chats) == 6


def test_a_key_with_another_body(client: httpx.Client, provider: FakeProvider) -> None:
    ask(client, "chat/completions", key())
    refused = ask(client, "chat/completions", key(), said="Something else")
    assert refused.status_code == 400
    error = refused.json()["error"]
    assert (error["code"], error["param"]) == ("invalid_request", "Idempotency-Key")
    assert "Idempotency-Key" in error["message"]
    assert "order-17" not in refused.text
    provider.script("first", Behaviour(first_delay_s=0.3))
    with under_way(client, provider, "chat/completions", key("new")) as first:
        refused = ask(client, "chat/completions", key("new"), said="Something else")
        assert refused.status_code == 400
        assert first().status_code == 200
    assert len(provider.chats) == 2


@pytest.mark.parametrize(
    ("value", "is_good"),
    [
        (b"x", True),
        (b"x" * 255, True),
        ("schlüssel".encode("latin-1"), True),
        (b"", False),
        (b"x" * 256, False),
        (b"a\xadb", False),
        (b"a\tb", False),
    ],
)
def test_what_a_key_may_be(client: httpx.Client, value: bytes, is_good: bool) -> None:
    answer = client.post(
        "/v1/chat/completions",
        json=body_of("chat/completions"),
        headers=[(b"Idempotency-Key", value)],
    )
    assert answer.status_code == (200 if is_good else 400)
    if not is_good:
        assert answer.json()["error"]["param"] == "Idempotency-Key"


def test_a_body_is_the_same_however_it_is_written(
    client: httpx.Client, provider: FakeProvider
) -> None:
    body = body_of("chat/completions", said="Grüße")
    written = [
        json.dumps(body),
        json.dumps(body, indent=2, ensure_ascii=False),
        json.dumps(dict(reversed(body.items()))),
    ]
    same([client.post("/v1/chat/completions", content=one, headers=key()) for one in written])
    assert len(provider.chats) == 1


def test_a_key_is_given_once(client: httpx.Client) -> None:
    twice = [("Idempotency-Key", "a"), ("Idempotency-Key", "b")]
    answer = client.post("/v1/chat/completions", json=body_of("chat/completions"), headers=twice)
    assert answer.status_code == 400


@pytest.mark.parametrize("count", ["", "-1", "one", "0", "00", "²"])
def test_what_is_no_count_of_retries_is_none(
    client: httpx.Client, provider: FakeProvider, count: str
) -> None:
    headers = [(b"x-stainless-retry-count", count.encode("latin-1"))]
    for _ in range(2):
        answer = client.post(
            "/v1/chat/completions", json=body_of("chat/completions"), headers=headers
        )
        assert answer.status_code == 200
    assert len(provider.chats) == 2


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("path", PATHS)
def test_an_error_is_shared_under_way_and_not_replayed(
    client: httpx.Client, live: LiveGateway, provider: FakeProvider, path: str, stream: bool
) -> None:
    live.state.keepalive_s = 60.0  # else the head of a stream goes out before anybody fails
    provider.script("first", Behaviour(status=500, first_delay_s=0.5), Behaviour(texts=TEXTS))
    with under_way(client, provider, path, key(), stream=stream) as first:
        second = ask(client, path, key(), stream=stream)
        assert first().status_code == second.status_code == 502
        assert first().content == second.content
    assert len(provider.chats) == 1
    # another body too: nothing is remembered of what failed
    again = ask(client, path, key(), stream=stream, said="Something else")
    assert again.status_code == 200
    assert TEXTS[-1] in again.text


@pytest.mark.parametrize("fault", [Fault.CUT, Fault.ERROR, Fault.MALFORMED, Fault.END])
@pytest.mark.parametrize("path", PATHS)
def test_a_stream_that_broke_off_is_not_replayed(
    client: httpx.Client, provider: FakeProvider, path: str, fault: Fault
) -> None:
    broken = Behaviour(texts=TEXTS, fault=fault, fault_after=4, chunk_delay_s=0.03)
    provider.script("first", broken, Behaviour(texts=TEXTS))
    outcomes: list[str] = []

    def read() -> None:
        text = ""
        try:
            with client.stream(
                "POST", f"/v1/{path}", json=body_of(path, stream=True), headers=key()
            ) as answer:
                for piece in answer.iter_text():
                    text += piece
        except httpx.RemoteProtocolError:
            text += "(broken)"
        outcomes.append(text)

    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    for reader in readers:
        reader.join()
    assert len(provider.chats) == 1
    # a joined stream breaks as the first does
    assert outcomes[0] == outcomes[1]
    assert outcomes[0].endswith("(broken)")
    again = ask(client, path, key(), stream=True)
    assert TEXTS[-1] in again.text
    assert len(provider.chats) == 2


@pytest.mark.parametrize("stream", [False, True])
def test_an_error_that_ends_a_stream_in_good_order_is_not_replayed(
    client: httpx.Client, provider: FakeProvider, stream: bool
) -> None:
    overloaded = {"message": "busy", "type": "overloaded_error", "code": "overloaded_error"}
    broken = Behaviour(texts=TEXTS, fault=Fault.ERROR, fault_after=4, error=overloaded)
    provider.script("first", broken, Behaviour(texts=TEXTS))
    with suppress(httpx.RemoteProtocolError):
        ask(client, "chat/completions", key(), stream=True)
    again = ask(client, "chat/completions", key(), stream=True)
    assert TEXTS[-1] in again.text
    assert "overloaded" not in again.text
    assert len(provider.chats) == 2


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("path", PATHS)
def test_with_a_key_it_outlives_its_caller(
    client: httpx.Client, live: LiveGateway, provider: FakeProvider, tmp_path: Path, path: str,
    stream: bool,
) -> None:  # fmt: skip
    delay_s = 0.1 if stream else 0.5
    provider.script("first", Behaviour(texts=TEXTS, chunk_delay_s=0.05, first_delay_s=delay_s))
    hang_up(live, provider, path, headers=key(), stream=stream)
    answers = [ask(client, path, key(), stream=stream) for _ in range(2)]
    same(answers)
    assert TEXTS[-1] in answers[0].text
    assert len(provider.chats) == 1
    (row,) = settled(tmp_path)
    assert row.outcome == "answered"


@pytest.mark.parametrize("stream", [False, True])
def test_what_ends_after_its_caller_has_gone_is_there_for_the_retry(
    client: httpx.Client, live: LiveGateway, provider: FakeProvider, stream: bool
) -> None:
    delay_s = 0.0 if stream else 0.5
    provider.script("first", Behaviour(texts=TEXTS, chunk_delay_s=0.05, first_delay_s=delay_s))
    hang_up(live, provider, "chat/completions", headers=key(), stream=stream)
    assert provider.chats[0].over.wait(SOON_S)
    until(lambda: live.state.gateway.under_way == 0)
    answer = ask(client, "chat/completions", key(), stream=stream)
    assert TEXTS[-1] in answer.text
    assert len(provider.chats) == 1


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("path", PATHS)
def test_without_a_key_a_hang_up_cancels_it(
    client: httpx.Client, live: LiveGateway, provider: FakeProvider, path: str, stream: bool
) -> None:
    slow = Behaviour(texts=TEXTS, chunk_delay_s=0.2, first_delay_s=0.1 if stream else 3.0)
    provider.script("first", slow, Behaviour(texts=TEXTS))
    hang_up(live, provider, path, headers=FIRST, stream=stream)
    assert provider.chats[0].over.wait(SOON_S)
    assert provider.chats[0].aborted
    answer = ask(client, path, AGAIN, stream=stream)
    assert TEXTS[-1] in answer.text
    assert len(provider.chats) == 2
    until(lambda: live.state.gateway.under_way == 0)


@pytest.mark.parametrize("stream", [False, True])
def test_it_outlives_its_caller_for_so_long_and_no_longer(
    client: httpx.Client, live: LiveGateway, provider: FakeProvider, stream: bool
) -> None:
    assert live.state.joining.outlives_s == 10.0
    live.state.joining.outlives_s = 0.7
    slow = Behaviour(texts=TEXTS * 3, chunk_delay_s=0.2, first_delay_s=0.0 if stream else 5.0)
    provider.script("first", slow, Behaviour(texts=TEXTS))
    hang_up(live, provider, "chat/completions", headers=key(), stream=stream)
    time.sleep(0.2)
    assert not provider.chats[0].over.is_set()
    assert provider.chats[0].over.wait(SOON_S)
    assert provider.chats[0].aborted
    until(lambda: live.state.gateway.under_way == 0)
    assert len(live.state.joining.answers) == 0
    assert TEXTS[-1] in ask(client, "chat/completions", key(), stream=stream).text
    assert len(provider.chats) == 2


@pytest.mark.slow
@pytest.mark.parametrize("headers", [FIRST, key()])
@pytest.mark.parametrize("stream", [False, True])
def test_it_goes_on_while_anybody_waits_for_it(
    client: httpx.Client, live: LiveGateway, provider: FakeProvider, stream: bool,
    headers: dict[str, str],
) -> None:  # fmt: skip
    live.state.joining.outlives_s = 0.5
    delay_s = 0.0 if stream else 2.4
    provider.script("first", Behaviour(texts=TEXTS, chunk_delay_s=0.2, first_delay_s=delay_s))
    again = AGAIN if headers is FIRST else key()
    with ThreadPoolExecutor(1) as pool:
        leaving = partial(hang_up, live, provider, PATHS[0], headers, stream=stream, after_s=1.2)
        first = pool.submit(leaving)
        until(lambda: len(provider.chats) == 1)
        answer = ask(client, "chat/completions", again, stream=stream)
        first.result()
    assert TEXTS[-1] in answer.text
    assert len(provider.chats) == 1


def test_a_joined_request_takes_no_place(
    client: httpx.Client, live: LiveGateway, provider: FakeProvider
) -> None:
    provider.script("first", Behaviour(texts=TEXTS, first_delay_s=0.7))
    with ThreadPoolExecutor(8) as pool:
        told = [pool.submit(ask, client, "chat/completions", key()) for _ in range(8)]
        until(lambda: len(provider.chats) == 1)
        until(lambda: live.state.gateway.admission.in_flight == 1)
        # three may be under way at once, and eight callers wait for one
        other = ask(client, "chat/completions", {}, said="Something else")
        same([one.result() for one in told])
    assert other.status_code == 200
    assert live.state.gateway.under_way == 0


@pytest.mark.slow
def test_what_is_too_large_is_joined_by_who_has_come_and_not_kept(
    client: httpx.Client, live: LiveGateway, provider: FakeProvider
) -> None:
    answers = live.state.joining.answers
    answers.bounds = replace(answers.bounds, bytes_each=20_000)
    texts = tuple(f"{number} " + "x" * 2_000 for number in range(40))
    provider.script("first", Behaviour(texts=texts, first_delay_s=0.5))
    with ThreadPoolExecutor(3) as pool:
        told = [pool.submit(ask, client, PATHS[0], key(), stream=True) for _ in range(3)]
        found = [one.result() for one in told]
    same(found)
    assert texts[-1] in found[0].text
    assert len(provider.chats) == 1
    until(lambda: live.state.gateway.under_way == 0)
    assert (len(answers), answers.size) == (0, 0)
    again = ask(client, PATHS[0], key(), stream=True)
    assert again.headers["x-request-id"] != found[0].headers["x-request-id"]


@pytest.mark.slow
def test_a_large_body_is_told_apart_too(client: httpx.Client, provider: FakeProvider) -> None:
    said = "word " * 200_000
    first = ask(client, "chat/completions", key(), said=said)
    same([first, ask(client, "chat/completions", key(), said=said)])
    assert ask(client, "chat/completions", key(), said=said + "x").status_code == 400
    assert len(provider.chats) == 1


def network(path: str, n_lost: int = 0) -> Any:
    """An HTTP client for the official one of the path, over a network that loses the first answers
    after the gateway has given them."""
    kind: Any = httpx2 if path == "messages" else httpx

    class Losing(kind.HTTPTransport):  # type: ignore[misc]
        n_left = n_lost

        def handle_request(self, request: Any) -> Any:
            answer = super().handle_request(request)
            if self.n_left > 0:
                self.n_left -= 1
                answer.read()
                answer.close()
                raise kind.ReadTimeout("lost", request=request)
            return answer

    return kind.Client(transport=Losing())


def said_by_openai(client: openai.OpenAI, path: str, *, stream: bool, **more: Any) -> str:
    messages: Any = [{"role": "user", "content": "Hello"}]
    if path == "responses":
        if not stream:
            return client.responses.create(model="p2l", input="Hello", **more).output_text
        events = client.responses.create(model="p2l", input="Hello", stream=True, **more)
        return "".join(e.delta for e in events if e.type == "response.output_text.delta")
    if not stream:
        answer = client.chat.completions.create(model="p2l", messages=messages, **more)
        return answer.choices[0].message.content or ""
    chunks = client.chat.completions.create(model="p2l", messages=messages, stream=True, **more)
    return "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)


def said_by_anthropic(client: anthropic.Anthropic, *, stream: bool, **more: Any) -> str:
    asked: Any = {"max_tokens": 99, "messages": [{"role": "user", "content": "Hello"}]}
    if stream:
        events = client.messages.create(model="p2l", stream=True, **asked, **more)
        deltas = [e.delta for e in events if e.type == "content_block_delta"]
        return "".join(delta.text for delta in deltas if delta.type == "text_delta")
    blocks = client.messages.create(model="p2l", **asked, **more).content
    return "".join(block.text for block in blocks if block.type == "text")


def said_by_sdk(
    live: LiveGateway, http: Any, path: str, *, stream: bool, timeout: float, **more: Any
) -> str:
    options: Any = {"api_key": "key-a", "max_retries": 4, "timeout": timeout, "http_client": http}
    if path == "messages":
        with anthropic.Anthropic(base_url=live.url, **options) as claude:
            return said_by_anthropic(claude, stream=stream, **more)
    with openai.OpenAI(base_url=f"{live.url}/v1", **options) as client:
        return said_by_openai(client, path, stream=stream, **more)


@pytest.fixture
def soon_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """The official clients wait half a second and more before they send a request again."""
    for client in ("openai", "anthropic"):
        monkeypatch.setattr(f"{client}._base_client.INITIAL_RETRY_DELAY", 0.05)


@pytest.mark.usefixtures("soon_again")
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("path", PATHS)
def test_the_official_clients_whose_answer_is_lost(
    live: LiveGateway, provider: FakeProvider, path: str, stream: bool
) -> None:
    provider.script("first", Behaviour(texts=TEXTS))
    with network(path, n_lost=2) as http:
        said = said_by_sdk(live, http, path, stream=stream, timeout=SOON_S)
    assert said.strip() == "".join(TEXTS).strip()
    assert len(provider.chats) == 1


@pytest.mark.usefixtures("soon_again")
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("path", PATHS)
def test_the_official_clients_that_lose_patience(
    live: LiveGateway, provider: FakeProvider, path: str, stream: bool
) -> None:
    live.state.keepalive_s = 60.0
    provider.script("first", Behaviour(texts=TEXTS, first_delay_s=1.0))
    with network(path) as http:
        said = said_by_sdk(
            live, http, path, stream=stream, timeout=0.4, extra_headers=key("of-the-client")
        )
    assert said.strip() == "".join(TEXTS).strip()
    assert len(provider.chats) == 1
    assert not provider.chats[0].aborted


@pytest.mark.parametrize("path", ["completions", "embeddings", "responses/compact"])
def test_what_else_is_paid_is_joined_too(
    client: httpx.Client, provider: FakeProvider, path: str
) -> None:
    body = {"completions": {"prompt": "Hello"}, "embeddings": {"input": "Hello"}}
    asked = body.get(path, {"input": "Hello"}) | {"model": "first"}
    answers = [client.post(f"/v1/{path}", json=asked, headers=key()) for _ in range(2)]
    assert answers[0].status_code == answers[1].status_code
    if answers[0].status_code == 200:
        same(answers)
        assert len(provider.requests) == 1


def test_a_kept_response_is_the_same_response(client: httpx.Client, provider: FakeProvider) -> None:
    body = body_of("responses") | {"store": True}
    answers = [client.post("/v1/responses", json=body, headers=key()) for _ in range(2)]
    same(answers)
    found = client.get(f"/v1/responses/{answers[1].json()['id']}")
    assert json.loads(found.text)["id"] == answers[0].json()["id"]


def test_a_web_page_gets_its_own_headers(provider: FakeProvider, tmp_path: Path) -> None:
    text = CONFIG.format(url=provider.base_url, folder=tmp_path)
    origins = ["https://one.example", "https://two.example"]
    text += f"server: {{cors_origins: {json.dumps(origins)}}}\n"
    with (
        LiveGateway(text, ENVIRON) as live,
        httpx.Client(base_url=live.url, trust_env=False, timeout=SOON_S) as client,
    ):
        told = []
        for origin in origins:
            headers = key() | {"authorization": "Bearer key-a", "origin": origin}
            told.append(ask(client, "chat/completions", headers))
    same(told)
    assert [one.headers["access-control-allow-origin"] for one in told] == origins
    assert len(provider.chats) == 1
