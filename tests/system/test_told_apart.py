"""What clients get wrong is understood, or said in words that tell what to set."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from fake_provider import Behaviour, FakeProvider
from live_gateway import LiveGateway
from merge import merged, sse_events

from server.http.plain_paths import plain_path

KEY = "sk-ours"
CONFIG = """
providers:
  plain: {{base_url: "{plain}"}}
models:
  up: {{provider: plain, input_usd_per_mtok: 1, output_usd_per_mtok: 2}}
scorer: {{fixed: {{up: 1}}}}
auth: {{keys: [{{name: me, key_env: OUR_KEY}}]}}
routing: {{retries: 0}}
"""
ASK = {"model": "p2l", "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 9}


@pytest.fixture(scope="module")
def provider() -> Iterator[FakeProvider]:
    with FakeProvider() as plain:
        yield plain


@pytest.fixture(scope="module")
def client(provider: FakeProvider) -> Iterator[httpx.Client]:
    with (
        LiveGateway(CONFIG.format(plain=provider.base_url), {"OUR_KEY": KEY}) as gateway,
        httpx.Client(base_url=gateway.url, trust_env=False, timeout=20) as http,
    ):
        yield http


def jwt(claims: dict[str, Any]) -> str:
    middle = base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")
    return f"eyJhbGciOiJSUzI1NiJ9.{middle}.c2lnbmF0dXJl"


LOGINS = {
    "sk-ant-oat01-secret-part": ("Claude subscription", "ANTHROPIC_AUTH_TOKEN"),
    jwt({"iss": "https://auth.openai.com", "sub": "secret-part"}): ("ChatGPT", "model_providers"),
    jwt({"https://api.openai.com/auth": {"id": "secret-part"}}): ("ChatGPT", "model_providers"),
    jwt({"iss": "https://elsewhere.example"}): ("JWT", "a key of this gateway"),
    "eyJ.!!!.x": ("JWT", "a key of this gateway"),
    "sk-ant-api03-secret-part": ("Anthropic", "a key of this gateway"),
    "sk-proj-secret-part": ("OpenAI", "a key of this gateway"),
}


@pytest.mark.parametrize("login", LOGINS)
@pytest.mark.parametrize("surface", ["chat/completions", "messages", "responses"])
def test_a_login_in_place_of_a_key_is_named(client: httpx.Client, surface: str, login: str) -> None:
    bearer = {"authorization": f"Bearer {login}"}
    for headers in (bearer, {"x-api-key": login}, {**bearer, "x-api-key": "unknown"}):
        answer = client.post(f"/v1/{surface}", json=ASK, headers=headers)
        assert answer.status_code == 401
        if headers == {"x-api-key": login} or "authorization" in headers:
            assert all(word in answer.json()["error"]["message"] for word in LOGINS[login])
        assert "secret-part" not in answer.text
    plain = client.post(f"/v1/{surface}", json=ASK, headers={"authorization": "Bearer unknown"})
    assert "What was sent" not in plain.text


def test_a_key_beside_a_login_is_enough(client: httpx.Client) -> None:
    headers = {"authorization": "Bearer sk-ant-oat01-x", "x-api-key": KEY}
    assert client.post("/v1/messages", json=ASK, headers=headers).status_code == 200


OWN = {"authorization": f"Bearer {KEY}"}


@pytest.mark.parametrize(
    "path",
    ["//v1/chat/completions", "/v1//chat/completions", "/v1/chat/completions/",
     "/v1/v1/chat/completions", "//v1//v1/chat/completions//", "/v1/messages/", "/v1/v1/messages",
     "/v1/messages/count_tokens/"],
)  # fmt: skip
def test_slashes_of_a_base_url_do_not_matter(client: httpx.Client, path: str) -> None:
    base = str(client.base_url).rstrip("/")
    assert client.post(base + path, json=ASK, headers=OWN).status_code == 200
    assert client.get(base + "//v1/models/", headers=OWN).status_code == 200


def test_other_paths_stay_as_they_are() -> None:
    for path in ("/", "//", "/v1/models/a%2F", "/v1/chat/completions", "/dashboard/", "/v1"):
        assert plain_path(path) == path


NONE = {"type": "object", "properties": {}}
FUNCTION = {"name": "ls", "description": "Lists", "parameters": NONE}


@pytest.mark.parametrize("stream", [False, True])
def test_a_body_of_the_responses_api_is_understood_on_chat(
    client: httpx.Client, provider: FakeProvider, stream: bool
) -> None:
    """Cursor sends it so."""
    call = {
        "index": 0,
        "id": "c1",
        "type": "function",
        "function": {"name": "ls", "arguments": "{}"},
    }
    message = {"role": "assistant", "content": None, "tool_calls": [call]}
    provider.script(
        "up",
        Behaviour(deltas=({"tool_calls": [call]},), message=message, finish_reason="tool_calls"),
    )
    body = {
        "model": "p2l",
        "input": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": [{"type": "input_text", "text": "Look"}]},
            {"type": "function_call", "call_id": "c0", "name": "ls", "arguments": "{}"},
            {"type": "function_call_output", "call_id": "c0", "output": "a.txt"},
        ],
        "tools": [{"type": "function", **FUNCTION}],
        "tool_choice": "auto",
        "reasoning": {"effort": "medium"},
        "stream": stream,
    }
    body |= {"stream_options": {"include_usage": True}} if stream else {}
    answer = client.post("/v1/chat/completions", json=body, headers=OWN)
    assert answer.status_code == 200, answer.text
    found = merged(sse_events(answer.text)[:-1])["message"] if stream else (
        answer.json()["choices"][0]["message"])  # fmt: skip
    assert found["tool_calls"][0]["function"]["name"] == "ls"
    sent = provider.requests[-1].body
    roles = [message["role"] for message in sent["messages"]]
    assert roles == ["system", "user", "assistant", "tool"]
    assert sent["tools"][0]["function"] == FUNCTION


def test_flat_tools_are_understood_on_chat(client: httpx.Client, provider: FakeProvider) -> None:
    provider.script("up", Behaviour())
    choice = {"type": "function", "name": "ls"}
    body = ASK | {"tools": [{"type": "function", **FUNCTION}], "tool_choice": choice}
    assert client.post("/v1/chat/completions", json=body, headers=OWN).status_code == 200
    sent = provider.requests[-1].body
    assert sent["tools"] == [{"type": "function", "function": FUNCTION}]
    assert sent["tool_choice"] == {"type": "function", "function": {"name": "ls"}}


@pytest.mark.parametrize("status", [429, 500])
@pytest.mark.parametrize("surface", ["chat/completions", "messages", "responses"])
def test_what_may_pass_is_to_be_tried_again(
    client: httpx.Client, provider: FakeProvider, surface: str, status: int
) -> None:
    provider.script("up", Behaviour(status=status))
    said = {"input": "Hello"} if surface == "responses" else {}
    answer = client.post(f"/v1/{surface}", json=ASK | said, headers=OWN)
    assert answer.status_code in (429, 502)
    assert answer.headers["x-should-retry"] == "true"
