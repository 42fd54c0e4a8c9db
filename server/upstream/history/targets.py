"""The rules for each provider, as its reference and its refusals state them."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import Final

from server.upstream.history.rules import Rules
from server.upstream.tool_ids import anthropic_id, mistral_id, openai_id, responses_id

_BASIC: Final = frozenset({"role", "content", "tool_calls"})
_OPENAI: Final = _BASIC | {"audio", "function_call", "name", "refusal"}
_OTHERS: Final = frozenset({"role", "content", "name", "tool_call_id"})
_CALL: Final = frozenset({"id", "type", "function"})
_MARKS: Final = frozenset({"cache_control", "prompt_cache_breakpoint"})

# Accepts any order, and only its own fields.
OPENAI: Final = Rules(
    kept_of_others=_OTHERS,
    system="anywhere",
    kept=_OPENAI,
    call_fields=_CALL | {"custom"},
    part_fields_refused=frozenset({"cache_control"}),
    call_id=openai_id,
    takes_refusals=True,
    user_first=False,
    takes_empty=True,
    json_arguments=False,
)
# OpenAI's Responses API: it has another limit for ids, and reads the sealed reasoning.
RESPONSES: Final = replace(
    OPENAI,
    kept=_OPENAI | {"reasoning_details"},
    call_id=responses_id,
    opens_seals=True,
)
# Forwards conversations to providers of all kinds, including cache marks and reasoning.
OPENROUTER: Final = Rules(
    system="leading",
    foreign=frozenset({"extra_content", "provider_specific_fields", "thinking_blocks"}),
    call_fields=_CALL | {"custom"},
    takes_refusals=True,
    user_first=False,
    takes_empty=True,
)
TOGETHER: Final = Rules(
    kept_of_others=_OTHERS,
    kept=_BASIC | {"name"},
    call_fields=_CALL,
    part_fields_refused=_MARKS,
    alternates=True,
)
GROQ: Final = Rules(
    kept_of_others=_OTHERS - {"name"},
    kept=_BASIC | {"name", "reasoning"},
    call_fields=_CALL,
    part_fields_refused=_MARKS,
)
# Requires the reasoning of turns with tool calls, and text as one string.
DEEPSEEK: Final = Rules(
    user_last=True,
    kept_of_others=_OTHERS,
    kept=_BASIC | {"name", "prefix", "reasoning_content"},
    call_fields=_CALL,
    part_fields_refused=_MARKS,
    alternates=True,
    plain_text=True,
    reasoning="has_to",
)
# Answers 422 to an unknown field, and 400 to a user message directly after a tool's result.
MISTRAL: Final = Rules(
    user_last=True,
    kept_of_others=_OTHERS,
    kept=_BASIC | {"prefix"},
    call_fields=_CALL,
    part_fields_refused=_MARKS,
    call_id=mistral_id,
    alternates=True,
    answers_tools=True,
)
# Servers of open models: their chat templates accept one system message, and then alternating
# turns.
VLLM: Final = Rules(
    kept_of_others=_OTHERS,
    reasoning="where_known",
    kept=_BASIC | {"name", "prefix", "reasoning", "reasoning_content"},
    call_fields=_CALL,
    part_fields_refused=_MARKS,
    alternates=True,
    takes_empty=True,
)
OLLAMA: Final = Rules(
    kept_of_others=_OTHERS | {"images"},
    kept=_BASIC | {"images", "reasoning", "reasoning_content", "thinking"},
    call_fields=_CALL,
    part_fields_refused=_MARKS,
    alternates=True,
    plain_text=True,
    takes_empty=True,
)
# Servers of many kinds: unknown fields are passed on as they are.
GENERIC: Final = Rules(
    alternates=True, takes_empty=True, foreign=frozenset({"provider_specific_fields"})
)
# The native APIs, whose adapters place the rest themselves.
ANTHROPIC: Final = Rules(
    user_last=True,
    opens_seals=True,
    system="leading",
    call_id=anthropic_id,
    foreign=frozenset({"refusal"}),
    call_fields=_CALL,
)
GEMINI: Final = Rules(
    user_last=True,
    system="leading",
    foreign=frozenset({"refusal"}),
    call_fields=_CALL | {"extra_content"},
    opens_seals=True,
)


@lru_cache
def with_reasoning(rules: Rules) -> Rules:
    """The rules for a model that requires its reasoning back, whichever provider serves it."""
    kept = None if rules.kept is None else rules.kept | {"reasoning_content"}
    return replace(rules, reasoning="has_to", kept=kept)
