"""The rules for Google's models."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from server.model_facts.rules.family import Family, read
from server.model_facts.types import (
    Caching,
    Effort,
    Messages,
    Sampling,
    Schemas,
    Source,
    Thinking,
    Tools,
)

_SOURCE: Final = read(
    "google-genai 3.6.1; pydantic-ai 2.68.0 profiles/google.py; LiteLLM 1.110.2; "
    "github.com/vercel/ai/issues/8943 and github.com/google-gemini/cookbook/issues/1290"
)
# Google's SDK allows 128 characters for a name; the API has refused more than 64.
_TOOLS: Final = Tools(
    name_pattern="^[a-zA-Z_][a-zA-Z0-9_.:-]{0,63}$", name_most_characters=64, most=128
)
_SAMPLING: Final = Sampling(penalties="always", logit_bias="always")
_NO_SAMPLING: Final = replace(_SAMPLING, temperature="always", top_p="always", top_k="always")
_OLD_SAMPLING: Final = Sampling(logit_bias="always")
_MESSAGES: Final = Messages(system_later="refused")
_CACHING: Final = Caching(kind="automatic")
_SCHEMAS: Final = Schemas()
# Tools and a JSON answer in one request are refused with a 400.
_APART: Final = Schemas(with_tools=False)


def _levels(*efforts: Effort, default: Effort | None = None) -> Thinking:
    return Thinking(
        use="always",
        kinds=frozenset({"effort"}),
        off="cannot",
        efforts=efforts,
        default_effort=default,
        tool_turns_need_thoughts=True,
    )


def _budget(least: int, most: int) -> Thinking:
    return Thinking(
        use="by_default",
        kinds=frozenset({"budget"}),
        off="zero_budget",
        least_budget_tokens=least,
        most_budget_tokens=most,
    )


_LOW_TO_HIGH: Final = _levels("low", "medium", "high")
_NEVER: Final = Thinking(use="never", efforts=())


def _gemini(
    *beginnings: str,
    thinking: Thinking,
    sampling: Sampling = _SAMPLING,
    schemas: Schemas = _SCHEMAS,
    source: Source = _SOURCE,
) -> Family:
    never = thinking.use == "never"
    return Family(
        beginnings=beginnings,
        vendor="google",
        source=source,
        sampling=sampling,
        thinking=thinking,
        tools=_TOOLS,
        schemas=schemas,
        messages=_MESSAGES,
        caching=_CACHING,
        capabilities=frozenset() if never else frozenset({"reasoning"}),
        lacks=frozenset({"reasoning"}) if never else frozenset(),
    )


GOOGLE: Final = (
    _gemini("gemini-4-hydrogen", thinking=_levels("low", "medium", "high", "xhigh")),
    _gemini("gemini-4", thinking=_LOW_TO_HIGH),
    _gemini("gemini-3.8-flash", "gemini-3.7-flash", thinking=_LOW_TO_HIGH, sampling=_NO_SAMPLING),
    _gemini(
        "gemini-3.6-flash",
        "gemini-3.5-flash-lite",
        thinking=_levels("minimal", "low", "medium", "high"),
        sampling=_NO_SAMPLING,
    ),
    _gemini("gemini-3.1-pro", thinking=_levels("low", "medium", "high", default="high")),
    _gemini("gemini-3-pro", thinking=_levels("low", "high", default="high")),
    _gemini("gemini-3", thinking=_levels("minimal", "low", "medium", "high")),
    _gemini("gemini-2.5-flash-image", thinking=_NEVER, schemas=_APART),
    _gemini(
        "gemini-2.5-pro",
        thinking=replace(_budget(128, 32768), use="always", off="cannot"),
        schemas=_APART,
    ),
    _gemini(
        "gemini-2.5-flash-lite",
        thinking=replace(_budget(512, 24576), use="optional"),
        schemas=_APART,
    ),
    _gemini("gemini-2.5-flash", thinking=_budget(1, 24576), schemas=_APART),
    _gemini(
        "gemini-2",
        "gemini-1",
        "gemini-pro",
        thinking=_NEVER,
        sampling=_OLD_SAMPLING,
        schemas=_APART,
    ),
    _gemini("gemma", "learnlm", thinking=_NEVER, sampling=_OLD_SAMPLING, schemas=_APART),
)
