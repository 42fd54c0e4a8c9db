"""Every field of OpenAI's reference has a fate: forwarded, or refused by name. None is lost."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from fake_provider import FakeProvider
from openai.types.chat.completion_create_params import (
    CompletionCreateParamsNonStreaming,
    CompletionCreateParamsStreaming,
)
from openai_fields import MESSAGES, SAMPLES, TOOL

REFUSED = {"store"}
# What the gateway puts its own value for: asserted in tests of their own.
OURS = {"model", "stream"}


def documented() -> set[str]:
    fields = CompletionCreateParamsNonStreaming.__annotations__
    return set(fields) | set(CompletionCreateParamsStreaming.__annotations__)


def test_the_samples_are_all_that_is_documented() -> None:
    assert set(SAMPLES) == documented()


@pytest.mark.parametrize("name", sorted(SAMPLES))
def test_each_field_is_forwarded_or_refused_by_name(
    client: httpx.Client, provider: FakeProvider, name: str
) -> None:
    body = {"model": "dear", "messages": MESSAGES, name: SAMPLES[name]}
    if name == "stream_options":
        body["stream"] = True
    response = client.post("/v1/chat/completions", json=body)
    if name in REFUSED:
        assert response.status_code == 400
        assert response.json()["error"]["param"] == name
        return
    assert response.status_code == 200
    (sent,) = provider.chats
    if name not in OURS:
        assert sent.body[name] == SAMPLES[name]


@pytest.mark.parametrize(
    ("part", "need"),
    [
        ({"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBO"}}, "vision"),
        ({"type": "input_audio", "input_audio": {"data": "AA==", "format": "wav"}}, "audio"),
        ({"type": "file", "file": {"filename": "a.pdf", "file_data": "data:x"}}, "files"),
    ],
)
def test_media_arrive_untouched_at_models_that_take_them(
    client: httpx.Client, provider: FakeProvider, part: dict[str, Any], need: str
) -> None:
    content = [{"type": "text", "text": "What is this?"}, part]
    messages = [{"role": "user", "content": content}]
    response = client.post("/v1/chat/completions", json={"model": "p2l", "messages": messages})
    assert response.headers["x-p2l-model"] == "dear"
    assert provider.chats[0].body["messages"] == messages
    refused = client.post("/v1/chat/completions", json={"model": "cheap", "messages": messages})
    assert refused.json()["error"]["code"] == "no_eligible_model"
    assert need in refused.json()["error"]["message"]


def test_a_whole_conversation_arrives_as_it_was(
    client: httpx.Client, provider: FakeProvider
) -> None:
    calls = [
        {"id": f"call_{i}", "type": "function", "function": {"name": "f", "arguments": "{}"}}
        for i in range(2)
    ]
    messages = [
        {"role": "developer", "content": "Be brief.", "name": "boss"},
        {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
        {"role": "assistant", "content": None, "tool_calls": calls, "reasoning_content": "hm"},
        {"role": "tool", "tool_call_id": "call_0", "content": "1"},
        {"role": "tool", "tool_call_id": "call_1", "content": [{"type": "text", "text": "2"}]},
        {"role": "assistant", "content": [{"type": "refusal", "refusal": "No."}]},
        {"role": "user", "content": "c", "field_of_the_future": 1},
    ]
    body = {"model": "p2l", "messages": messages, "tools": [TOOL]}
    assert client.post("/v1/chat/completions", json=body).status_code == 200
    assert provider.chats[0].body["messages"] == messages
