"""The fake provider is what the other tests trust, so it is tried with the official SDK."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import openai
import pytest
from fake_provider import ANY_MODEL, Behaviour, FakeProvider, Fault

MESSAGES: Any = [{"role": "user", "content": "hi"}]


@pytest.fixture
def provider() -> Iterator[FakeProvider]:
    with FakeProvider() as provider:
        yield provider


@pytest.fixture
def sdk(provider: FakeProvider) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(api_key="k", base_url=provider.base_url, max_retries=0) as client:
        yield client


@pytest.mark.slow
def test_answers_the_sdk_and_counts_what_it_served(
    provider: FakeProvider, sdk: openai.OpenAI
) -> None:
    whole = sdk.chat.completions.create(model="m", messages=MESSAGES)
    stream = sdk.chat.completions.create(
        model="m", messages=MESSAGES, stream=True, stream_options={"include_usage": True}
    )
    chunks = list(stream)
    text = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    assert whole.choices[0].message.content == text == "Hello from m"
    assert chunks[-1].usage == whole.usage
    assert whole.usage is not None
    assert all(request.over.wait(5) for request in provider.chats)
    assert provider.served["m"] == {
        "requests": 2,
        "prompt": 2 * whole.usage.prompt_tokens,
        "completion": 6,
    }
    assert [request.finished for request in provider.chats] == [True, True]
    assert provider.chats[0].headers["authorization"] == "Bearer k"


def test_a_cap_and_the_number_of_answers_are_kept_to(sdk: openai.OpenAI) -> None:
    reply = sdk.chat.completions.create(model="m", messages=MESSAGES, max_tokens=1, n=2)
    assert [choice.message.content for choice in reply.choices] == ["Hello", "Hello"]
    assert {choice.finish_reason for choice in reply.choices} == {"length"}
    assert reply.usage is not None
    assert reply.usage.completion_tokens == 2


def test_a_script_is_played_in_turn_and_its_last_line_stays(
    provider: FakeProvider, sdk: openai.OpenAI
) -> None:
    limited = Behaviour(status=429, headers={"retry-after": "7"}, error={"message": "slow"})
    provider.script(ANY_MODEL, limited, Behaviour(texts=("ok",)))
    with pytest.raises(openai.RateLimitError) as caught:
        sdk.chat.completions.create(model="m", messages=MESSAGES)
    assert caught.value.response.headers["retry-after"] == "7"
    for _ in range(2):
        reply = sdk.chat.completions.create(model="m", messages=MESSAGES)
        assert reply.choices[0].message.content == "ok"


def test_knows_its_models_and_its_key() -> None:
    with FakeProvider(models=("a", "b"), api_key="right") as provider:
        with openai.OpenAI(api_key="right", base_url=provider.base_url) as sdk:
            assert [model.id for model in sdk.models.list()] == ["a", "b"]
            with pytest.raises(openai.NotFoundError):
                sdk.chat.completions.create(model="c", messages=MESSAGES)
        with (
            openai.OpenAI(api_key="wrong", base_url=provider.base_url) as sdk,
            pytest.raises(openai.AuthenticationError),
        ):
            sdk.models.list()


@pytest.mark.parametrize("fault", [Fault.CUT, Fault.RESET])
def test_a_cut_is_a_failure_of_the_connection(provider: FakeProvider, fault: Fault) -> None:
    provider.script("m", Behaviour(fault=fault, fault_after=2, chunk_delay_s=0.01))
    body = {"model": "m", "messages": MESSAGES, "stream": True}
    url = f"{provider.base_url}/chat/completions"
    seen: list[bytes] = []
    with (
        httpx.Client(trust_env=False) as client,
        client.stream("POST", url, json=body) as response,
        pytest.raises((httpx.ReadError, httpx.RemoteProtocolError)),
    ):
        seen.extend(response.iter_bytes())
    assert b"".join(seen).count(b"data:") == 2


def test_notices_a_client_that_hangs_up(provider: FakeProvider) -> None:
    provider.script("m", Behaviour(fault=Fault.SILENCE, fault_after=1))
    body = {"model": "m", "messages": MESSAGES, "stream": True}
    url = f"{provider.base_url}/chat/completions"
    with (
        httpx.Client(trust_env=False) as client,
        client.stream("POST", url, json=body) as response,
    ):
        next(response.iter_bytes())
    assert provider.chats[0].over.wait(5)
    assert provider.chats[0].aborted
    assert not provider.served
