"""Where requests go under a base_url, and the header that the key is in."""

from __future__ import annotations

import pytest

from server.config.secret import Secret
from server.config.settings import ProviderSettings
from server.upstream.addresses import gemini_models_url, key_headers, messages_url
from server.upstream.base import UpstreamRequest
from server.upstream.kinds import build_upstream

KEY = Secret("k")
# How a request is sent before a provider has refused anything in it.
AT_FIRST = {"anthropic": {"with_thoughts": True}, "gemini": {"with_signatures": True}}


@pytest.mark.parametrize(
    ("base_url", "url"),
    [
        ("https://api.anthropic.com", "https://api.anthropic.com/v1/messages"),
        ("https://api.anthropic.com/v1", "https://api.anthropic.com/v1/messages"),
        ("https://api.deepseek.com/anthropic", "https://api.deepseek.com/anthropic/v1/messages"),
        ("https://api.deepseek.com/anthropic/v1/", "https://api.deepseek.com/anthropic/v1/messages"),
        ("https://api.z.ai/api/anthropic/", "https://api.z.ai/api/anthropic/v1/messages"),
        ("https://h/anthropic/v1/messages", "https://h/anthropic/v1/messages"),
        ("https://h/v1/acct/gw/anthropic", "https://h/v1/acct/gw/anthropic/v1/messages"),
    ],
)  # fmt: skip
def test_messages_lie_under_the_path(base_url: str, url: str) -> None:
    assert messages_url(base_url) == url


@pytest.mark.parametrize(
    ("base_url", "url"),
    [
        ("https://h", "https://h/v1beta/models"),
        ("https://h/", "https://h/v1beta/models"),
        ("https://h/v1beta", "https://h/v1beta/models"),
        ("https://h/v1/", "https://h/v1/models"),
        ("https://h/v1alpha/models", "https://h/v1alpha/models"),
        ("https://h/v1/a/g/google-ai-studio", "https://h/v1/a/g/google-ai-studio/v1beta/models"),
    ],
)
def test_geminis_models_lie_under_the_path(base_url: str, url: str) -> None:
    assert gemini_models_url(base_url) == url


BEARER = {"authorization": "Bearer k"}


@pytest.mark.parametrize(
    ("kind", "base_url", "auth", "headers"),
    [
        ("openai", "https://api.openai.com/v1", None, BEARER),
        ("openai", "https://x.openai.azure.com/openai/v1", None, {"api-key": "k"}),
        ("openai", "https://x.openai.azure.com/openai/v1", "bearer", BEARER),
        ("openai", "https://h/v1", "x-api-key", {"x-api-key": "k"}),
        ("anthropic", "https://api.anthropic.com", None, {"x-api-key": "k"}),
        ("anthropic", "https://api.deepseek.com/anthropic", None, {"x-api-key": "k"}),
        ("anthropic", "https://api.deepseek.com/anthropic", "bearer", BEARER),
        ("anthropic", "https://api.minimax.io/anthropic", None, BEARER),
        ("anthropic", "https://openrouter.ai/api", None, BEARER),
        ("anthropic", "https://notopenrouter.ai/api", None, {"x-api-key": "k"}),
        ("gemini", "https://h", None, {"x-goog-api-key": "k"}),
        ("gemini", "https://h/gw", "bearer", BEARER),
    ],
)
async def test_the_key_is_in_the_header_that_is_read(
    kind: str, base_url: str, auth: str | None, headers: dict[str, str]
) -> None:
    settings = ProviderSettings.model_validate({"kind": kind, "base_url": base_url, "auth": auth})
    upstream = build_upstream("it", settings, KEY, {})
    body = {"model": "m", "messages": [{"role": "user", "content": "x"}]}
    plain = getattr(upstream, "_plain", upstream)
    call = plain._call(UpstreamRequest(body, False, "m"), **AT_FIRST.get(kind, {}))
    sent = {
        name: value for name, value in call.headers.items()
        if name in ("authorization", "x-api-key", "api-key", "x-goog-api-key")
    }  # fmt: skip
    await upstream.close()
    assert sent == headers


def test_without_a_key_there_is_no_header() -> None:
    assert key_headers("it", "anthropic", "https://h", None, "bearer") == {}


def test_a_query_in_a_base_url_is_refused() -> None:
    for url in ("https://h/v1?key=k", "https://h/v1#x"):
        with pytest.raises(ValueError, match="must end before"):
            ProviderSettings(base_url=url)
