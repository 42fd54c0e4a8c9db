"""Finds wrong base URLs of providers."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final
from urllib.parse import urlsplit

from server.config.settings import ProviderSettings, Settings

# Hosts that offer OpenAI's API without a path, by their own references.
_WITHOUT_PATH: Final = frozenset({"api.deepseek.com", "api.perplexity.ai"})
_DOUBLED: Final = re.compile(r"(/v\d+(?:alpha|beta)?)\1+(?=/|$)")
# What the gateway itself appends to the base_url of kind openai.
_ENDPOINT: Final = re.compile(r"/(chat/completions|completions|responses|models)/?$")


def address_problems(settings: Settings) -> Iterator[str]:
    """A sentence for each provider in use whose base_url is certainly wrong."""
    used = {model.provider for model in settings.models.values()}
    for name, provider in settings.providers.items():
        is_used = name in used or provider.models == "auto"
        if is_used and provider.kind != "sandbox" and provider.base_url is not None:
            problem = _problem(provider, provider.base_url)
            if problem is not None:
                yield f"providers.{name}.base_url: {problem}"


def _problem(provider: ProviderSettings, url: str) -> str | None:
    parts = urlsplit(url)
    if _DOUBLED.search(parts.path):
        once = _DOUBLED.sub(r"\1", url)
        return f"{url} names the version twice: write {once}"
    if provider.kind != "openai":
        return None
    if _ENDPOINT.search(parts.path):
        end = _ENDPOINT.sub("", url)
        return (
            f"{url} names a single endpoint, but the gateway adds the endpoint itself: write {end}"
        )
    if parts.path.strip("/") or provider.profile is not None or parts.hostname in _WITHOUT_PATH:
        return None
    bare = url.rstrip("/")
    return (
        f"{bare} has no path, but the addresses of most providers end in /v1: write {bare}/v1, or "
        "set profile: generic if this one really has none"
    )
