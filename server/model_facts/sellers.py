"""Determines who serves a model, by the address that requests go to."""

from __future__ import annotations

from typing import Final
from urllib.parse import urlsplit

# A host, or the end of one -> the seller.
_HOSTS: Final = {
    "api.openai.com": "openai",
    "openai.azure.com": "azure",
    "cognitiveservices.azure.com": "azure",
    "services.ai.azure.com": "azure",
    "api.anthropic.com": "anthropic",
    "generativelanguage.googleapis.com": "google",
    "aiplatform.googleapis.com": "vertex",
    "api.x.ai": "xai",
    "api.deepseek.com": "deepseek",
    "api.moonshot.ai": "moonshot",
    "api.moonshot.cn": "moonshot",
    "api.mistral.ai": "mistral",
    "api.z.ai": "zai",
    "open.bigmodel.cn": "zai",
    "dashscope.aliyuncs.com": "alibaba",
    "dashscope-intl.aliyuncs.com": "alibaba",
    "dashscope-us.aliyuncs.com": "alibaba",
    "api.groq.com": "groq",
    "api.together.xyz": "together",
    "api.together.ai": "together",
    "api.fireworks.ai": "fireworks",
    "openrouter.ai": "openrouter",
    "api.cerebras.ai": "cerebras",
    "api.deepinfra.com": "deepinfra",
    "api.cohere.com": "cohere",
    "api.cohere.ai": "cohere",
    "api.minimax.io": "minimax",
    "api.perplexity.ai": "perplexity",
    "amazonaws.com": "bedrock",
    "api.githubcopilot.com": "github_copilot",
}
_DEFAULTS: Final = {"anthropic": "anthropic", "gemini": "google"}


def seller_of(kind: str, base_url: str | None) -> str | None:
    """The seller at a provider's address; None for an unknown host.

    kind: the provider's kind, which has a default address where base_url is None.
    """
    if base_url is None:
        return _DEFAULTS.get(kind)
    host = (urlsplit(base_url).hostname or "").lower()
    for known, seller in _HOSTS.items():
        if host == known or host.endswith(("." + known, "-" + known)):
            return seller
    return None
