"""What an upstream reports it used, read with suspicion."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from router.cost import Usage
from server.upstream.base import Surface


def parse_usage(usage: object, surface: Surface = Surface.CHAT) -> Usage | None:
    """A usage object in the surface's form; None where it is absent or has no counts."""
    if not isinstance(usage, dict):
        return None
    if surface is Surface.MESSAGES:
        return _messages(usage)
    if surface is Surface.RESPONSES:
        return _openai(usage, "input_tokens", "output_tokens")
    return _openai(usage, "prompt_tokens", "completion_tokens")


def _openai(usage: Mapping[str, Any], taken: str, given: str) -> Usage | None:
    if _count(usage, taken) == 0 and _count(usage, given) == 0:
        return None
    prompt = _details(usage, f"{taken}_details")
    completion = _details(usage, f"{given}_details")
    # DeepSeek's own name for it came first
    cached = _count(prompt, "cached_tokens") or _count(usage, "prompt_cache_hit_tokens")
    return Usage(
        prompt_tokens=_count(usage, taken),
        completion_tokens=_count(usage, given),
        cached_tokens=cached,
        cache_write_tokens=_count(prompt, "cache_write_tokens"),
        cache_write_1h_tokens=_count(prompt, "cache_write_1h_tokens"),
        reasoning_tokens=_count(completion, "reasoning_tokens"),
        audio_input_tokens=_count(prompt, "audio_tokens"),
        audio_output_tokens=_count(completion, "audio_tokens"),
    )


def _messages(usage: Mapping[str, Any]) -> Usage | None:
    """Anthropic's: its input_tokens are those that were neither read from the cache nor written."""
    fresh, output = _count(usage, "input_tokens"), _count(usage, "output_tokens")
    read = _count(usage, "cache_read_input_tokens")
    long = _count(_details(usage, "cache_creation"), "ephemeral_1h_input_tokens")
    written = max(_count(usage, "cache_creation_input_tokens"), long)
    if fresh + read + written + output == 0:
        return None
    return Usage(
        prompt_tokens=fresh + read + written,
        completion_tokens=output,
        cached_tokens=read,
        cache_write_tokens=written - long,
        cache_write_1h_tokens=long,
        reasoning_tokens=_count(_details(usage, "output_tokens_details"), "thinking_tokens"),
    )


def _details(usage: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    details = usage.get(name)
    return details if isinstance(details, dict) else {}


def _count(usage: Mapping[str, Any], name: str) -> int:
    value = usage.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return 0
    return max(0, int(value)) if value == value and abs(value) < 2**53 else 0
