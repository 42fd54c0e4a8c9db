"""A value of each documented field of a chat completion that is not its default."""

from __future__ import annotations

from typing import Any

MESSAGES = [{"role": "user", "content": "Hello there"}]
TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
SAMPLES: dict[str, Any] = {
    "audio": {"voice": "alloy", "format": "wav"},
    "frequency_penalty": -0.5,
    "function_call": {"name": "f"},
    "functions": [{"name": "f", "parameters": {"type": "object"}}],
    "logit_bias": {"50256": -100},
    "logprobs": True,
    "max_completion_tokens": 77,
    "max_tokens": 78,
    "messages": MESSAGES,
    "metadata": {"team": "a"},
    "modalities": ["text", "audio"],
    "model": "p2l",
    "moderation": {"model": "omni-moderation-latest"},
    "n": 3,
    "parallel_tool_calls": False,
    "prediction": {"type": "content", "content": "Hello"},
    "presence_penalty": 1.5,
    "prompt_cache_key": "k",
    "prompt_cache_options": {"mode": "explicit"},
    "prompt_cache_retention": "24h",
    "reasoning_effort": "high",
    "response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": {}}},
    "safety_identifier": "s",
    "seed": 0,
    "service_tier": "flex",
    "stop": ["\n", "END"],
    "store": True,
    "stream": True,
    "stream_options": {"include_usage": True, "include_obfuscation": False},
    "temperature": 0,
    "tool_choice": {"type": "function", "function": {"name": "f"}},
    "tools": [TOOL],
    "top_logprobs": 5,
    "top_p": 0,
    "user": "u",
    "verbosity": "low",
    "web_search_options": {"search_context_size": "low"},
}
