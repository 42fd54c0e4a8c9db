"""Large bodies and answers are what small ones are; what is too much is refused by name."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable
from typing import Any

import httpx
import orjson
import pytest
from fake_provider import Behaviour, FakeProvider
from live_gateway import LiveGateway, config_for

KEY = "sk-provider-canary"
WORDS = "word " * 100_000


def user(content: object) -> dict[str, Any]:
    return {"role": "user", "content": content}


def test_a_large_body_goes_out_as_it_came(client: httpx.Client, provider: FakeProvider) -> None:
    content = [{"type": "text", "text": WORDS}, {"type": "text", "text": '\\"日本'}]
    body = {"model": "cheap", "messages": [user(content)], "stop": ["x"], "max_tokens": 9}
    assert client.post("/v1/chat/completions", json=body).status_code == 200
    assert provider.chats[-1].body == body | {"model": "up-cheap"}


@pytest.mark.parametrize(
    ("path", "body", "param"),
    [
        ("chat/completions", {"messages": [user("x")] * 4097}, "messages"),
        ("messages", {"messages": [user("x")] * 4097, "max_tokens": 9}, "messages"),
        ("responses", {"input": [user("x")] * 4097}, "input"),
        ("route", {"messages": [user("x")] * 4097}, "messages"),
        ("messages/count_tokens", {"messages": [user("x")] * 4097}, "messages"),
    ],
)
def test_more_than_4096_messages_are_refused(
    client: httpx.Client, provider: FakeProvider, path: str, body: dict[str, Any], param: str
) -> None:
    refused = client.post(f"/v1/{path}", json=body | {"model": "p2l"})
    assert refused.status_code == 400
    assert f"{param} holds 4097, and at most 4096" in refused.json()["error"]["message"]
    fewer = {n: v[:4096] if isinstance(v, list) else v for n, v in body.items()}
    assert client.post(f"/v1/{path}", json=fewer | {"model": "p2l"}).status_code == 200


def test_large_bodies_get_large_answers_streamed_or_not(
    client: httpx.Client, provider: FakeProvider
) -> None:
    answer = {"choices": [{"index": 0, "message": {"role": "assistant", "content": WORDS},
                           "finish_reason": "stop"}],
              "usage": {"prompt_tokens": 9, "completion_tokens": 1000}}  # fmt: skip
    provider.script("up-cheap", Behaviour(garbage=orjson.dumps(answer)))
    body = {"model": "cheap", "messages": [user(WORDS)]}
    whole = client.post("/v1/chat/completions", json=body)
    assert whole.json()["choices"] == answer["choices"]
    assert whole.json()["usage"]["cost"] == pytest.approx(9e-7 + 3e-4)
    message = client.post("/v1/messages", json=body | {"max_tokens": 2000})
    assert message.json()["content"] == [{"type": "text", "text": WORDS}]
    response = client.post("/v1/responses", json={"model": "cheap", "input": WORDS})
    assert response.json()["output"][0]["content"][0]["text"] == WORDS
    provider.script("up-cheap", Behaviour(texts=("a", "b")))
    streamed = client.post("/v1/chat/completions", json=body | {"stream": True})
    assert streamed.text.endswith("data: [DONE]\n\n")


def test_counting_tokens_takes_a_place_and_is_a_request(provider: FakeProvider) -> None:
    keys = "auth: {keys: [{name: a, key_env: A, requests_per_minute: 2}]}"
    body = {"model": "p2l", "messages": [user("hi")]}
    with (
        LiveGateway(config_for(provider.base_url, keys), {"MAIN_KEY": KEY, "A": "key-a"}) as live,
        httpx.Client(base_url=live.url, trust_env=False, headers={"x-api-key": "key-a"}) as http,
    ):
        counts = [http.post("/v1/messages/count_tokens", json=body) for _ in range(3)]
    assert [answer.status_code for answer in counts] == [200, 200, 429]
    assert counts[0].json()["input_tokens"] > 0


GOOD = orjson.dumps(
    {"choices": [{"index": 0, "message": {"role": "assistant", "content": WORDS},
                  "finish_reason": "stop"}], "usage": {"prompt_tokens": 1, "completion_tokens": 1}}
)  # fmt: skip


@pytest.mark.parametrize(
    ("encoding", "sent", "status"),
    [
        ("gzip", lambda: gzip.compress(GOOD), 200),
        ("deflate", lambda: zlib.compress(GOOD), 200),
        ("identity", lambda: GOOD, 200),
        ("gzip", lambda: gzip.compress(GOOD)[:-20], 502),
        ("gzip", lambda: GOOD, 502),
        ("gzip, gzip", lambda: gzip.compress(gzip.compress(GOOD)), 502),
        ("br", lambda: GOOD, 502),
        # 70 MB out of 70 kB: more than is read
        ("gzip", lambda: gzip.compress(bytes(70_000_000)), 502),
    ],
)
def test_compressed_answers_are_read_within_the_limit(
    client: httpx.Client,
    provider: FakeProvider,
    encoding: str,
    sent: Callable[[], bytes],
    status: int,
) -> None:
    headers = {"content-encoding": encoding}
    provider.script("up-cheap", Behaviour(garbage=sent(), headers=headers))
    body = {"model": "cheap", "messages": [user("hi")]}
    answer = client.post("/v1/chat/completions", json=body)
    assert answer.status_code == status
    if status == 200:
        assert answer.json()["choices"][0]["message"]["content"] == WORDS


def test_an_answer_of_too_many_values_is_not_parsed(
    client: httpx.Client, provider: FakeProvider
) -> None:
    hostile = b'{"choices": [' + b"[]," * 1_000_001 + b"[]]}"
    provider.script("up-cheap", Behaviour(garbage=hostile))
    answer = client.post("/v1/chat/completions", json={"model": "cheap", "messages": [user("x")]})
    assert answer.status_code == 502
