"""The addresses of a provider's API under its base_url, and the header that carries its key."""

from __future__ import annotations

import re
from typing import Final, Literal
from urllib.parse import urlsplit

from server.config.secret import Secret
from server.upstream.wire import bare_key

Auth = Literal["bearer", "x-api-key", "api-key", "x-goog-api-key"]
_DEFAULTS: Final[dict[str, Auth]] = {
    "openai": "bearer",
    "anthropic": "x-api-key",
    "gemini": "x-goog-api-key",
}
# Providers with Anthropic's API that expect the key in another header, by their own references.
_BEARERS: Final = (
    "openrouter.ai",
    "api.minimax.io",
    "api.minimaxi.com",
    "api.moonshot.ai",
    "api.moonshot.cn",
)
_VERSION: Final = re.compile(r"/v1(alpha|beta)?$")


def messages_url(base_url: str) -> str:
    """The URL of Anthropic's Messages API. base_url: a host, with or without a path (a proxy's, or
    another vendor's /anthropic), which may end in /v1 or in the endpoint itself."""
    base = base_url.rstrip("/").removesuffix("/messages")
    return base.removesuffix("/v1") + "/v1/messages"


def gemini_models_url(base_url: str) -> str:
    """The URL under which Gemini's models are addressed. base_url: a host, with or without a path,
    which may end in the version."""
    base = base_url.rstrip("/").removesuffix("/models")
    return base + ("" if _VERSION.search(base) else "/v1beta") + "/models"


def key_headers(
    name: str, kind: str, base_url: str, api_key: Secret | None, auth: Auth | None = None
) -> dict[str, str]:
    """The header with the key; empty where there is none. name: the provider's name.

    Raises ValueError for a key that cannot be a header.
    """
    key = bare_key(name, api_key)
    if not key:
        return {}
    header = auth or _usual(kind, base_url)
    return {"authorization": f"Bearer {key}"} if header == "bearer" else {header: key}


def _usual(kind: str, base_url: str) -> Auth:
    host = (urlsplit(base_url).hostname or "").lower()
    if kind == "anthropic" and any(
        host == known or host.endswith(f".{known}") for known in _BEARERS
    ):
        return "bearer"
    return _DEFAULTS[kind]
