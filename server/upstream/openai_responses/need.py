"""Decides which chat completions OpenAI answers only on its Responses API."""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import Enum, auto
from typing import Any, Final

from server.model_facts import ModelFacts

# Models without Chat Completions, for names whose endpoints are unknown.
_RESPONSES_ONLY: Final = re.compile(
    r"(^|/)(gpt-[\d.]+(-\w+)?-(pro|codex)|o\d(-mini)?-(pro|deep-research)|codex-|"
    r"computer-use|gpt-daybreak)"
)


class Need(Enum):
    """Which of its requests a model accepts only on the Responses API."""

    NEVER = auto()
    WITH_TOOLS = auto()  # some of the requests with tools
    ALWAYS = auto()


def need_of(facts: ModelFacts) -> Need:
    """The need by the facts about a model."""
    if facts.endpoints:
        only = "responses" in facts.endpoints and "chat_completions" not in facts.endpoints
    else:
        only = _RESPONSES_ONLY.search(facts.name) is not None
    if only:
        return Need.ALWAYS
    return Need.NEVER if facts.tools.on_chat_completions == "ok" else Need.WITH_TOOLS


def needs_responses(facts: ModelFacts, body: Mapping[str, Any]) -> bool:
    """Whether OpenAI would refuse this body on Chat Completions, and accept it on Responses."""
    need = need_of(facts)
    if need is not Need.WITH_TOOLS or not has_tools(body):
        return need is Need.ALWAYS
    effort = body.get("reasoning_effort")
    if facts.tools.on_chat_completions == "not_with_effort":
        # A default effort counts like one that the request names.
        return facts.thinking.thinks_at(effort)
    return not facts.tools.on_chat(effort)


def has_tools(body: Mapping[str, Any]) -> bool:
    """Whether a chat-completions body lets the model call a tool."""
    return bool(body.get("tools"))


def reasons(facts: ModelFacts) -> bool:
    """Whether the model reasons at all; an unknown model is treated as a new one."""
    return facts.thinking.use != "never"


def takes(parameter: str, facts: ModelFacts, body: Mapping[str, Any]) -> bool:
    """Whether the model accepts a sampling parameter, by the name of Sampling's field, in this
    request: most accept none while they reason."""
    effort = body.get("reasoning_effort")
    if facts.known == "nothing":
        return effort == "none"
    return not facts.refuses(parameter, effort)
