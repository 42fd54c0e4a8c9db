"""The rules for OpenAI's models."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from server.model_facts.rules.family import Family, read
from server.model_facts.types import Caching, Effort, Messages, Sampling, Schemas, Thinking, Tools

_REASONING: Final = read(
    "openai-python 3.54.0; pydantic-ai 2.68.0 profiles/openai.py; "
    "github.com/BerriAI/litellm/pull/38593 and /pull/34569"
)
_OLDER: Final = read("openai-python 3.54.0; github.com/BerriAI/litellm/pull/38593")
_OPEN_WEIGHTS: Final = read("pydantic-ai 2.68.0 profiles/groq.py and profiles/openai.py")

_ROOT: Final = frozenset({"anyOf", "oneOf", "allOf", "enum", "not"})
_SCHEMAS: Final = Schemas(
    refused_keywords=frozenset(
        {
            "allOf",
            "not",
            "oneOf",
            "if",
            "then",
            "else",
            "default",
            "dependentRequired",
            "dependentSchemas",
            "minLength",
            "maxLength",
            "patternProperties",
            "propertyNames",
            "minProperties",
            "maxProperties",
            "unevaluatedProperties",
            "contains",
            "uniqueItems",
        }
    ),
    refused_at_tool_root=_ROOT,
    strict_needs_all_required=True,
    strict_needs_closed=True,
)
_TOOLS: Final = Tools(
    id_most_characters=40,
    name_pattern="^[a-zA-Z0-9_-]{1,64}$",
    name_most_characters=64,
    most=128,
)
_NOT_WITH_EFFORT: Final = replace(_TOOLS, on_chat_completions="not_with_effort")
_ONLY_AT_NONE: Final = replace(_TOOLS, on_chat_completions="only_at_none")
_NOT_ON_CHAT: Final = replace(_TOOLS, on_chat_completions="refused")
_O_TOOLS: Final = replace(_TOOLS, parallel_field=False)

# Temperature and similar parameters have no use while it reasons.
_SAMPLING: Final = Sampling(
    temperature="thinking",
    top_p="thinking",
    top_k="always",
    penalties="thinking",
    logprobs="thinking",
    logit_bias="thinking",
    stop="always",
)
_SAMPLING_55: Final = replace(_SAMPLING, stop="thinking")
_MESSAGES: Final = Messages(
    system_later="ok", user_most_characters=64, cap_field="max_completion_tokens"
)
_ONE_LENGTH: Final = replace(_MESSAGES, verbosity=False)
_OLD_MESSAGES: Final = replace(_ONE_LENGTH, cap_field=None)
# The shortest lifetime without a setting; it is longer where the account allows it.
_AUTOMATIC: Final = Caching(kind="automatic", lifetimes_s=(300,), least_tokens=1024)
_BOTH: Final = Caching(kind="both", lifetimes_s=(1800, 43200), least_tokens=1024, most_marks=4)
_WITH_MARKER: Final = replace(_BOTH, kept_at_other_effort="marker")


def _thinks(*efforts: Effort, default: Effort = "medium", only_responses: bool = False) -> Thinking:
    """The settings for thinking; use and off follow from the efforts."""
    can_stop = "none" in efforts
    return Thinking(
        use="optional" if default == "none" else "by_default" if can_stop else "always",
        kinds=frozenset({"effort"}),
        off="none" if can_stop else "cannot",
        efforts=efforts,
        on_responses_only=frozenset({"max"}) if only_responses else frozenset(),
        default_effort=default,
    )


_NEVER: Final = Thinking(use="never", efforts=())
_TO_MAX: Final = _thinks("low", "medium", "high", "xhigh", "max", only_responses=True)
_NONE_TO_MAX: Final = _thinks("none", "low", "medium", "high", "xhigh", "max", only_responses=True)
_NONE_TO_XHIGH: Final = _thinks("none", "low", "medium", "high", "xhigh")
_OPT_IN: Final = _thinks("none", "low", "medium", "high", "xhigh", default="none")
_PRO: Final = _thinks("medium", "high", "xhigh")
_MEDIUM_ONLY: Final = _thinks("medium")


def _reasons(
    *beginnings: str,
    thinking: Thinking,
    tools: Tools = _TOOLS,
    sampling: Sampling = _SAMPLING,
    caching: Caching = _AUTOMATIC,
    messages: Messages = _MESSAGES,
) -> Family:
    return Family(
        beginnings=beginnings,
        vendor="openai",
        source=_REASONING,
        sampling=sampling,
        thinking=thinking,
        tools=tools,
        schemas=_SCHEMAS,
        messages=messages,
        caching=caching,
        capabilities=frozenset({"reasoning"}),
    )


def _plain(*beginnings: str) -> Family:
    return Family(
        beginnings=beginnings,
        vendor="openai",
        source=_OLDER,
        sampling=Sampling(top_k="always"),
        thinking=_NEVER,
        tools=_TOOLS,
        schemas=_SCHEMAS,
        messages=_OLD_MESSAGES,
        caching=_AUTOMATIC,
        lacks=frozenset({"reasoning"}),
    )


OPENAI: Final = (
    # These models have no effort of none: Chat Completions cannot give them tools.
    _reasons(
        "gpt-6.1-sol",
        "gpt-6-astra",
        "gpt-6-rosalind",
        thinking=_TO_MAX,
        tools=_NOT_ON_CHAT,
        sampling=_SAMPLING_55,
        caching=_WITH_MARKER,
    ),
    _reasons(
        "gpt-6",
        thinking=_NONE_TO_MAX,
        tools=_ONLY_AT_NONE,
        sampling=_SAMPLING_55,
        caching=_WITH_MARKER,
    ),
    _reasons(
        "gpt-5.6",
        thinking=_NONE_TO_MAX,
        tools=_ONLY_AT_NONE,
        sampling=_SAMPLING_55,
        caching=_BOTH,
    ),
    _reasons("gpt-5.5-pro", thinking=_PRO, sampling=_SAMPLING_55),
    _reasons("gpt-5.5", thinking=_NONE_TO_XHIGH, tools=_NOT_WITH_EFFORT, sampling=_SAMPLING_55),
    _reasons("gpt-5.4-pro", "gpt-5.2-pro", thinking=_PRO),
    _reasons("gpt-5.4", thinking=_OPT_IN, tools=_NOT_WITH_EFFORT),
    _reasons(
        *("gpt-5.3-chat", "gpt-5.2-chat", "gpt-5.1-chat", "chat-latest"),
        thinking=_MEDIUM_ONLY,
        messages=_ONE_LENGTH,
    ),
    _reasons("gpt-5.3", "gpt-5.2", thinking=_OPT_IN),
    _reasons("gpt-5.1-codex", thinking=_thinks("low", "medium", "high")),
    _reasons("gpt-5.1", thinking=_thinks("none", "low", "medium", "high", default="none")),
    _plain("gpt-5-chat"),
    _reasons("gpt-5-pro", thinking=_thinks("high", default="high")),
    _reasons("gpt-5", thinking=_thinks("minimal", "low", "medium", "high")),
    _reasons(
        *("o1", "o3", "o4"),
        thinking=_thinks("low", "medium", "high"),
        tools=_O_TOOLS,
        messages=_ONE_LENGTH,
    ),
    Family(
        beginnings=("gpt-oss",),
        vendor="openai",
        source=_OPEN_WEIGHTS,
        thinking=_thinks("low", "medium", "high"),
        capabilities=frozenset({"tools", "reasoning"}),
        lacks=frozenset({"vision", "audio", "files"}),
    ),
    _plain("gpt-4", "gpt-3.5", "chatgpt-4o", "gpt-audio", "ft:gpt-4", "ft:gpt-3.5"),
)
