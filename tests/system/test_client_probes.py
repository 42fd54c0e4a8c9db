"""What clients ask before their first request: whether anybody is there, and for which models."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from fake_anthropic import FakeAnthropic
from live_gateway import LiveGateway

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from anthropic import Anthropic, NotFoundError

CONFIG = """
providers: {{claude: {{kind: anthropic, base_url: "{url}"}}}}
models:
  large: {{provider: claude, context_window: 1000000, max_output_tokens: 64000}}
  small: {{provider: claude, context_window: 200000, max_output_tokens: 128000}}
  claude-here: {{provider: claude}}
aliases: {{fast: small, "claude-*": p2l, mine: claude-p2l}}
routing: {{retries: 0, profiles: {{few: {{models: [small]}}}}}}
auth: {{keys: [{{name: me, key_env: MY_KEY}}]}}
scorer: {{fixed: {{large: 2, small: 1, claude-here: 0}}}}
"""
VERSION = {"anthropic-version": "2023-06-01"}


@pytest.fixture(scope="module")
def claude() -> Iterator[FakeAnthropic]:
    with FakeAnthropic() as provider:
        yield provider


@pytest.fixture(scope="module")
def url(claude: FakeAnthropic) -> Iterator[str]:
    with LiveGateway(CONFIG.format(url=claude.base_url), {"MY_KEY": "key"}) as gateway:
        yield gateway.url


@pytest.fixture
def client(url: str) -> Iterator[httpx.Client]:
    headers = {"authorization": "Bearer key"}
    with httpx.Client(base_url=url, headers=headers, trust_env=False) as client:
        yield client


@pytest.fixture
def sdk(url: str) -> Iterator[Anthropic]:
    with Anthropic(base_url=url, api_key="key", max_retries=0) as client:
        yield client


@pytest.mark.parametrize("path", ["/", "/api/hello", "/healthz", "/readyz"])
def test_whether_anybody_is_there_needs_no_key(url: str, path: str) -> None:
    answer = httpx.head(url + path, trust_env=False)
    assert (answer.status_code, answer.content) == (200, b"")


def test_head_is_get_without_a_body(client: httpx.Client) -> None:
    for path in ("/v1/models", "/v1/models/small", "/v1/key", "/healthz", "/v1/decisions/nobody",
                 "/v1/nothing", "/v1/models/nobody"):  # fmt: skip
        head, get = client.head(path), client.get(path)
        assert head.status_code == get.status_code, path
        assert head.content == b""
        assert head.headers["content-type"] == get.headers["content-type"]
    assert client.head("/v1/messages").status_code == 405
    # the connection is as good as before
    assert client.get("/api/hello").json() == {"message": "hello"}
    assert client.head("/v1/models", headers={"authorization": "Bearer no"}).status_code == 401


def test_models_in_anthropics_form(sdk: Anthropic) -> None:
    listed = sdk.models.list(limit=1000)
    names = [model.id for model in listed.data]
    assert names == ["claude-p2l", "claude-p2l:few", "p2l", "p2l:few", "large", "small",
                     "claude-here", "fast", "mine"]  # fmt: skip
    assert (listed.first_id, listed.last_id, listed.has_more) == ("claude-p2l", "mine", False)
    routed, few = listed.data[:2]
    assert (routed.display_name, routed.type) == ("P2L router", "model")
    assert (routed.max_input_tokens, routed.max_tokens) == (1_000_000, 128_000)
    assert (few.max_input_tokens, few.max_tokens) == (200_000, 128_000)
    assert routed.created_at.year >= 2020
    assert sdk.models.list().data == listed.data


def test_one_model_in_anthropics_form(sdk: Anthropic) -> None:
    assert sdk.models.retrieve("small").max_input_tokens == 200_000
    assert sdk.models.retrieve("claude-p2l").max_input_tokens == 1_000_000
    assert sdk.models.retrieve("claude-p2l:few").display_name == "P2L router (few)"
    assert sdk.models.retrieve("claude-sonnet-9").id == "claude-sonnet-9", "by a pattern"
    with pytest.raises(NotFoundError) as missing:
        sdk.models.retrieve("nobody")
    body: Any = missing.value.body
    assert (body["type"], body["error"]["type"]) == ("error", "not_found_error")


def test_models_by_the_page(sdk: Anthropic, client: httpx.Client) -> None:
    whole = [model.id for model in sdk.models.list(limit=1000).data]
    for limit in (1, 2, 4, len(whole), 100):
        assert [model.id for model in sdk.models.list(limit=limit)] == whole

    def page(**query: Any) -> Any:
        return client.get("/v1/models", params=query, headers=VERSION).json()

    back = page(before_id="large", limit=2)
    assert [model["id"] for model in back["data"]] == ["p2l", "p2l:few"]
    assert back["has_more"] is True
    assert page(before_id="claude-p2l")["data"] == []
    assert page(after_id="mine") == {"data": [], "first_id": None, "last_id": None,
                                     "has_more": False}  # fmt: skip
    for query in ({"limit": "0"}, {"limit": "x"}, {"limit": "1001"}, {"after_id": "nobody"}):
        refused = client.get("/v1/models", params=query, headers=VERSION)
        assert refused.status_code == 400
        assert refused.json()["error"]["type"] == "invalid_request_error"


def test_openais_list_is_as_it_was(client: httpx.Client) -> None:
    listed = client.get("/v1/models").json()
    assert [model["id"] for model in listed["data"]] == [
        "p2l", "p2l:few", "large", "small", "claude-here", "fast", "mine",
    ]  # fmt: skip
    assert client.get("/v1/models/claude-p2l").json()["object"] == "model"
    assert client.get("/v1/models/fast").json()["owned_by"] == "p2l-router"


@pytest.mark.parametrize(
    ("name", "answered"),
    [("claude-p2l", "large"), ("claude-p2l:few", "small"), ("mine", "large"), ("p2l", "large"),
     ("claude-here", "claude-here"), ("claude-p2l:none", None), ("claude-p2", "large")],
)  # fmt: skip
@pytest.mark.parametrize("surface", ["chat/completions", "messages", "responses", "route"])
def test_claude_p2l_is_p2l_everywhere(
    client: httpx.Client, surface: str, name: str, answered: str | None
) -> None:
    said = {"input": "Hello"} if surface == "responses" else {
        "messages": [{"role": "user", "content": "Hello"}]
    }  # fmt: skip
    limit = {"max_tokens": 9} if surface == "messages" else {}
    answer = client.post(f"/v1/{surface}", json={"model": name, **said, **limit})
    if answered is None:
        assert answer.status_code == 404
    else:
        assert answer.headers["x-p2l-model"] == answered
