"""OpenTelemetry's names for generative AI, all in this file: its GenAI repository, v0.1.0 (nothing
of it is stable, so the next change is made here)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlsplit

from server.config.settings import ProviderSettings
from server.ledger.attempt import Attempt
from server.upstream.profiles import profile_for

OPERATION: Final = "gen_ai.operation.name"
PROVIDER: Final = "gen_ai.provider.name"
CONVERSATION: Final = "gen_ai.conversation.id"
REQUEST_MODEL: Final = "gen_ai.request.model"
REQUEST_STREAM: Final = "gen_ai.request.stream"
RESPONSE_ID: Final = "gen_ai.response.id"
RESPONSE_MODEL: Final = "gen_ai.response.model"
FINISH_REASONS: Final = "gen_ai.response.finish_reasons"
INPUT_TOKENS: Final = "gen_ai.usage.input_tokens"
OUTPUT_TOKENS: Final = "gen_ai.usage.output_tokens"
CACHE_READ_TOKENS: Final = "gen_ai.usage.cache_read.input_tokens"
CACHE_WRITE_TOKENS: Final = "gen_ai.usage.cache_write.input_tokens"
REASONING_TOKENS: Final = "gen_ai.usage.reasoning.output_tokens"
ERROR_TYPE: Final = "error.type"

CHAT: Final = "chat"
_OPERATIONS: Final = {"/v1/completions": "text_completion", "/v1/embeddings": "embeddings"}
# The well-known values of gen_ai.provider.name: by our profile, and by the provider's own host.
_BY_PROFILE: Final = {
    "openai": "openai",
    "azure": "azure.ai.openai",
    "groq": "groq",
    "deepseek": "deepseek",
    "mistral": "mistral_ai",
}
_BY_KIND: Final = {"anthropic": "anthropic", "gemini": "gcp.gemini"}
_BY_HOST: Final = {
    "aiplatform.googleapis.com": "gcp.vertex_ai",
    "generativelanguage.googleapis.com": "gcp.gemini",
    "services.ai.azure.com": "azure.ai.inference",
    "amazonaws.com": "aws.bedrock",
    "api.perplexity.ai": "perplexity",
    "api.x.ai": "x_ai",
    "api.moonshot.ai": "moonshot_ai",
    "api.moonshot.cn": "moonshot_ai",
    "api.cohere.com": "cohere",
    "api.cohere.ai": "cohere",
    "ml.cloud.ibm.com": "ibm.watsonx.ai",
}


def operation(path: str) -> str:
    """The operation of a request to one of our paths."""
    return _OPERATIONS.get(path, CHAT)


def provider_names(providers: Mapping[str, ProviderSettings]) -> dict[str, str]:
    """The well-known name of each configured provider; its name in the configuration where the
    conventions have none."""
    return {name: _well_known(one) or name for name, one in providers.items()}


def _well_known(provider: ProviderSettings) -> str | None:
    url = provider.base_url
    host = "" if url is None else (urlsplit(url).hostname or "").lower()
    for suffix, name in _BY_HOST.items():
        # Vertex AI's hosts begin with a region and a hyphen.
        if host == suffix or host.endswith(("." + suffix, "-" + suffix)):
            return name
    if provider.kind != "openai":
        return _BY_KIND.get(provider.kind)
    return None if url is None else _BY_PROFILE.get(profile_for(provider.profile, url).name)


def attributes(row: Attempt, provider: str) -> dict[str, Any]:
    """The attributes of an attempt. provider: its well-known name. Input tokens contain those that
    were read from or written to a cache, output tokens those of reasoning, as the conventions ask;
    parts that are zero are left out."""
    found: dict[str, Any] = {
        PROVIDER: provider,
        REQUEST_MODEL: row.upstream_model,
        REQUEST_STREAM: row.streamed,
        CONVERSATION: row.session,
        RESPONSE_ID: row.upstream_id,
        FINISH_REASONS: list(row.finish_reasons) or None,
    }
    if row.usage is not None:
        found[RESPONSE_MODEL] = row.served_model or row.upstream_model
        found[INPUT_TOKENS] = row.usage.prompt_tokens
        found[OUTPUT_TOKENS] = row.usage.completion_tokens
        parts = {
            CACHE_READ_TOKENS: row.usage.cached_tokens,
            CACHE_WRITE_TOKENS: row.usage.cache_write_tokens + row.usage.cache_write_1h_tokens,
            REASONING_TOKENS: row.usage.reasoning_tokens,
        }
        found |= {name: tokens for name, tokens in parts.items() if tokens != 0}
    return {name: value for name, value in found.items() if value is not None}
