"""Recognises credentials of other services that callers send by mistake: the login of a
subscription, or a provider's key."""

from __future__ import annotations

import base64
import binascii
from typing import Any, Final

import orjson

_CLAUDE_LOGIN: Final = (
    "What was sent is the login of a Claude subscription (sk-ant-oat...), which is for Anthropic's "
    "own servers. In Claude Code set ANTHROPIC_AUTH_TOKEN to a key of this gateway, and log out "
    "(/logout) if it keeps sending the login"
)
_CHATGPT_LOGIN: Final = (
    "What was sent is the login of a ChatGPT account (a JWT), which is for OpenAI's own servers. "
    "In Codex configure this gateway as a provider of its own, [model_providers.NAME] in "
    "~/.codex/config.toml with base_url and env_key, and set that variable to a key of this gateway"
)
_OTHER_LOGIN: Final = (
    "What was sent is a JWT, the login of some other service: "
    "set a key of this gateway in its place"
)
# Prefixes of the keys that providers issue, longer ones first.
_PROVIDERS: Final = (
    ("sk-ant-", "Anthropic"),
    ("sk-or-", "OpenRouter"),
    ("sk-proj-", "OpenAI"),
    ("sk-svcacct-", "OpenAI"),
    ("gsk_", "Groq"),
    ("xai-", "xAI"),
    ("AIza", "Google"),
)
_MOST_CHARACTERS: Final = 16_384


def is_login(key: str) -> bool:
    """Whether a credential is the login of another service, which clients may send beside a key."""
    return key.startswith("sk-ant-oat") or (key.startswith("eyJ") and key.count(".") == 2)


def told_of(key: str) -> str:
    """An explanation of a credential that is not a key here; empty where nothing is known about it.
    It contains nothing of the credential."""
    if key.startswith("sk-ant-oat"):
        return _CLAUDE_LOGIN
    if key.startswith("eyJ") and key.count(".") == 2:
        return _CHATGPT_LOGIN if _is_openais(_claims(key)) else _OTHER_LOGIN
    for beginning, provider in _PROVIDERS:
        if key.startswith(beginning):
            return (
                f"What was sent looks like a key of {provider}. Callers need a key of this "
                "gateway, which holds the keys of the providers itself"
            )
    return ""


def _is_openais(claims: dict[str, Any]) -> bool:
    return "openai.com" in str(claims.get("iss")) or any("openai.com" in name for name in claims)


def _claims(token: str) -> dict[str, Any]:
    """The claims of a JWT, without a check of its signature; empty where it cannot be read."""
    if len(token) > _MOST_CHARACTERS:
        return {}
    middle = token.split(".")[1]
    try:
        claims = orjson.loads(base64.urlsafe_b64decode(middle + "=" * (-len(middle) % 4)))
    except (binascii.Error, ValueError):
        return {}
    return claims if isinstance(claims, dict) else {}
