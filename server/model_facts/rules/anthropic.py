"""The rules for Anthropic's models."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from server.model_facts.rules.family import Family, read
from server.model_facts.types import (
    Caching,
    Capability,
    Messages,
    Sampling,
    Schemas,
    Thinking,
    Tools,
)

_SOURCE: Final = read(
    "anthropic-sdk-python 2.13.0; pydantic-ai 2.68.0 profiles/anthropic.py; LiteLLM 1.110.2"
)

# A schema of the output may not limit numbers, lengths or counts; the SDK moves such keywords into
# the description.
_SCHEMAS: Final = Schemas(
    refused_keywords=frozenset(
        {
            "minimum",
            "maximum",
            "exclusiveMinimum",
            "exclusiveMaximum",
            "multipleOf",
            "minLength",
            "maxLength",
            "pattern",
            "maxItems",
            "uniqueItems",
            "contains",
            "minProperties",
            "maxProperties",
            "patternProperties",
            "propertyNames",
            "not",
            "if",
            "then",
            "else",
            "oneOf",
        }
    ),
    most_min_items=1,
    refused_at_tool_root=frozenset({"anyOf", "oneOf", "allOf"}),
    strict_needs_closed=True,
)
_TOOLS: Final = Tools(
    id_pattern="^[a-zA-Z0-9_-]+$",
    ids_unique=True,
    name_pattern="^[a-zA-Z0-9_-]{1,128}$",
    name_most_characters=128,
)
_FORCED_NEVER: Final = replace(_TOOLS, forced="refused")
_FORCED_WITHOUT_THINKING: Final = replace(_TOOLS, forced="not_when_thinking")
# The list of models on Anthropic's page about tool search begins with 4.5.
_ALL_LOADED: Final = replace(_FORCED_WITHOUT_THINKING, deferred=False)

_NO_SAMPLING: Final = Sampling(
    temperature="always",
    top_p="always",
    top_k="always",
    penalties="always",
    logprobs="always",
    logit_bias="always",
    most_temperature=1.0,
)
_ONE_OF_BOTH: Final = replace(
    _NO_SAMPLING, temperature="thinking", top_p="thinking", top_k="thinking", both=False
)
_SAMPLING: Final = replace(_ONE_OF_BOTH, both=True)

_OLD_MESSAGES: Final = Messages(system_later="refused")
_NO_PREFILL: Final = Messages(system_later="refused", prefill=False)
_IGNORED: Final = Messages(system_later="ignored", prefill=False)
_SYSTEM_LATER: Final = Messages(system_later="ok", prefill=False)

_CACHING: Final = Caching(kind="marked", lifetimes_s=(300, 3600), least_tokens=1024, most_marks=4)
_WITH_MARKER: Final = replace(_CACHING, kept_at_other_effort="marker")

_ALWAYS: Final = Thinking(
    use="always",
    kinds=frozenset({"adaptive", "effort"}),
    off="cannot",
    efforts=("low", "medium", "high", "xhigh", "max"),
    default_effort="high",
    tool_turns_need_thoughts=True,
)
_ALWAYS_BOUND: Final = replace(_ALWAYS, bound_to_prefix=True)
_BY_DEFAULT: Final = replace(_ALWAYS, use="by_default", off="disabled")
_OPTIONAL: Final = replace(_ALWAYS, use="optional", off="omitted")
_BOTH_KINDS: Final = replace(
    _OPTIONAL,
    kinds=frozenset({"adaptive", "effort", "budget"}),
    efforts=("low", "medium", "high", "max"),
    least_budget_tokens=1024,
)
_BUDGET_AND_EFFORT: Final = replace(
    _BOTH_KINDS, kinds=frozenset({"budget", "effort"}), efforts=("low", "medium", "high")
)
_BUDGET: Final = replace(_BOTH_KINDS, kinds=frozenset({"budget"}), efforts=(), default_effort=None)
_NEVER: Final = Thinking(use="never", efforts=())

_STRUCTURED: Final[frozenset[Capability]] = frozenset({"tools", "vision", "files", "json_schema"})


def _claude(
    *beginnings: str,
    thinking: Thinking,
    sampling: Sampling = _NO_SAMPLING,
    tools: Tools = _TOOLS,
    messages: Messages = _SYSTEM_LATER,
    caching: Caching = _CACHING,
) -> Family:
    return Family(
        beginnings=beginnings,
        vendor="anthropic",
        source=_SOURCE,
        sampling=sampling,
        thinking=thinking,
        tools=tools,
        schemas=_SCHEMAS,
        messages=messages,
        caching=caching,
        capabilities=_STRUCTURED | {"reasoning"},
        lacks=frozenset({"audio"}),
    )


def _earlier(
    *beginnings: str, thinking: Thinking = _BUDGET, sampling: Sampling = _SAMPLING
) -> Family:
    """Models that cannot be forced to follow a JSON schema."""
    return Family(
        beginnings=beginnings,
        vendor="anthropic",
        source=_SOURCE,
        sampling=sampling,
        thinking=thinking,
        tools=_ALL_LOADED,
        schemas=_SCHEMAS,
        messages=_OLD_MESSAGES,
        caching=_CACHING,
        capabilities=frozenset({"tools"}),
        lacks=frozenset({"audio", "json_schema"}),
    )


ANTHROPIC: Final = (
    _claude(
        "claude-fable-5-1",
        "claude-fable-5-2",
        "claude-mythos-5-2",
        "claude-opus-5-5",
        thinking=_ALWAYS_BOUND,
        tools=_FORCED_NEVER,
        caching=_WITH_MARKER,
    ),
    _claude("claude-mythos-5-1", thinking=_ALWAYS, tools=_FORCED_NEVER, caching=_WITH_MARKER),
    # A price list says that forced calls are refused; the profiles' authors saw them answered.
    _claude("claude-fable-5", "claude-mythos-5", thinking=_ALWAYS),
    _claude("claude-mythos-preview", thinking=_ALWAYS, messages=_NO_PREFILL),
    _claude(
        "claude-sonnet-5-5",
        thinking=replace(
            _BY_DEFAULT, off="between_tools", most_effort_when_off="high", bound_to_prefix=True
        ),
        tools=_FORCED_NEVER,
        caching=_WITH_MARKER,
    ),
    _claude(
        "claude-haiku-5-5",
        thinking=replace(_BY_DEFAULT, most_effort_when_off="high", bound_to_prefix=True),
        caching=_WITH_MARKER,
    ),
    _claude(
        "claude-opus-5",
        thinking=replace(_BY_DEFAULT, most_effort_when_off="high"),
        caching=_WITH_MARKER,
    ),
    # Answers 200 to a later system message and ignores it.
    _claude("claude-sonnet-5", thinking=_BY_DEFAULT, messages=_IGNORED),
    _claude("claude-opus-4-8", thinking=_OPTIONAL),
    _claude("claude-opus-4-7", thinking=_OPTIONAL, messages=_NO_PREFILL),
    _claude(
        "claude-opus-4-6",
        "claude-sonnet-4-6",
        thinking=_BOTH_KINDS,
        sampling=_ONE_OF_BOTH,
        tools=_FORCED_WITHOUT_THINKING,
        messages=_NO_PREFILL,
    ),
    _claude(
        "claude-opus-4-5",
        thinking=_BUDGET_AND_EFFORT,
        sampling=_ONE_OF_BOTH,
        tools=_FORCED_WITHOUT_THINKING,
        messages=_OLD_MESSAGES,
    ),
    _claude(
        "claude-sonnet-4-5",
        "claude-haiku-4-5",
        thinking=_BUDGET,
        sampling=_ONE_OF_BOTH,
        tools=_FORCED_WITHOUT_THINKING,
        messages=_OLD_MESSAGES,
    ),
    _claude(
        "claude-opus-4-1",
        thinking=_BUDGET,
        sampling=_ONE_OF_BOTH,
        tools=_ALL_LOADED,
        messages=_OLD_MESSAGES,
    ),
    _earlier("claude-opus-4", "claude-sonnet-4", "claude-3-7"),
    _earlier("claude-3", "claude-2", "claude-instant", thinking=_NEVER),
)
