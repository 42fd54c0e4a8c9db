"""Images in tool results reach every provider, whichever API they came by."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import orjson
import pytest
from fake_anthropic import FakeAnthropic
from fake_gemini import FakeGemini
from fake_provider import FakeProvider
from live_gateway import LiveGateway

from server.upstream.tool_images import with_images_after

PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9aw=="
URL = f"data:image/png;base64,{PNG}"
CALL = {"id": "t1", "type": "function", "function": {"name": "look", "arguments": "{}"}}
CHAT = {
    "model": "m",
    "tools": [{"type": "function", "function": {"name": "look"}}],
    "messages": [
        {"role": "user", "content": "what is there?"},
        {"role": "assistant", "content": None, "tool_calls": [CALL]},
        {"role": "tool", "tool_call_id": "t1",
         "content": [{"type": "text", "text": "seen"},
                     {"type": "image_url", "image_url": {"url": URL}}]},
    ],
}  # fmt: skip
MESSAGES = {
    "model": "m",
    "max_tokens": 64,
    "tools": [{"name": "look", "input_schema": {"type": "object"}}],
    "messages": [
        {"role": "user", "content": "what is there?"},
        {"role": "assistant",
         "content": [{"type": "tool_use", "id": "t1", "name": "look", "input": {}}]},
        {"role": "user", "content": [
            {"type": "tool_result", "tool_use_id": "t1", "content": [
                {"type": "text", "text": "seen"},
                {"type": "image",
                 "source": {"type": "base64", "media_type": "image/png", "data": PNG}}]},
            {"type": "text", "text": "well?"}]},
    ],
}  # fmt: skip
RESPONSES = {
    "model": "m",
    "tools": [{"type": "function", "name": "look", "parameters": {"type": "object"}}],
    "input": [
        {"role": "user", "content": "what is there?"},
        {"type": "function_call", "call_id": "t1", "name": "look", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "t1",
         "output": [{"type": "input_text", "text": "seen"},
                    {"type": "input_image", "image_url": URL}]},
    ],
}  # fmt: skip
BODIES = {"chat/completions": CHAT, "messages": MESSAGES, "responses": RESPONSES}
FAKES = {"openai": FakeProvider, "anthropic": FakeAnthropic, "gemini": FakeGemini}


@pytest.fixture(scope="module", params=FAKES)
def rig(request: pytest.FixtureRequest) -> Iterator[tuple[FakeProvider, httpx.Client]]:
    kind = request.param
    with FAKES[kind]() as fake:
        config = f"""
providers: {{p: {{kind: {kind}, base_url: "{fake.base_url}", api_key_env: KEY}}}}
models:
  m: {{provider: p, upstream_model: up, input_usd_per_mtok: 1, output_usd_per_mtok: 2,
      capabilities: [tools, vision]}}
scorer: {{fixed: {{m: 1, other: 0}}}}
"""
        with (
            LiveGateway(config, {"KEY": "the-providers-own-key"}) as gateway,
            httpx.Client(base_url=gateway.url, trust_env=False, timeout=20) as client,
        ):
            yield fake, client


@pytest.mark.parametrize("path", BODIES)
def test_an_image_arrives(rig: tuple[FakeProvider, httpx.Client], path: str) -> None:
    fake, client = rig
    response = client.post(f"/v1/{path}", json=BODIES[path])
    assert response.status_code == 200, response.text
    sent = orjson.dumps(fake.requests[-1].body).decode()
    assert PNG in sent
    assert "seen" in sent


def tool(number: int, *, shows: bool) -> dict[str, Any]:
    content: list[Any] = [{"type": "text", "text": f"result {number}"}]
    if shows:
        content.append({"type": "image_url", "image_url": {"url": f"https://x.org/{number}"}})
    return {"role": "tool", "tool_call_id": f"t{number}", "content": content}


def test_results_of_one_turn_stay_together() -> None:
    user = {"role": "user", "content": "go on"}
    results = [tool(1, shows=True), tool(2, shows=False), tool(3, shows=True)]
    moved = with_images_after([*results, user])
    assert [message["role"] for message in moved] == ["tool", "tool", "tool", "user", "user"]
    assert [part["type"] for part in moved[3]["content"]] == ["text", "image_url", "image_url"]
    assert moved[4] is user


def test_a_longer_conversation_has_the_same_beginning() -> None:
    short = [tool(1, shows=True), {"role": "assistant", "content": "hm"}]
    assert with_images_after([*short, tool(2, shows=True)])[:3] == with_images_after(short)
