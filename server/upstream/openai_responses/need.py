"""Which chat completions OpenAI answers on its Responses API alone."""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import Enum, auto
from typing import Any, Final

from server.model_facts import ModelFacts

# Models without Chat Completions, where nothing says which endpoints a model has.
_RESPONSES_ONLY: Final = re.compile(
    r"(^|/)(gpt-[\d.]+(-\w+)?-(pro|codex)|o\d(-mini)?-(pro|deep-research)|codex-|"
    r"computer-use|gpt-daybreak)"
)


class Need(Enum):
    """Which requests a model takes on the Responses API alone."""

    NEVER = auto()
    WITH_TOOLS = auto()  # some of those that have tools
    ALWAYS = auto()


def need_of(facts: ModelFacts) -> Need:
    """By what is known of the model."""
    if facts.endpoints:
        only = "responses" in facts.endpoints and "chat_completions" not in facts.endpoints
    else:
        only = _RESPONSES_ONLY.search(facts.name) is not None
    if only:
        return Need.ALWAYS
    return Need.NEVER if facts.tools.on_chat_completions == "ok" else Need.WITH_TOOLS


def needs_responses(facts: ModelFacts, body: Mapping[str, Any]) -> bool:
    """Whether OpenAI would refuse this body on Chat Completions, and takes it on Responses."""
    need = need_of(facts)
    if need is not Need.WITH_TOOLS or not has_tools(body):
        return need is Need.ALWAYS
    effort = body.get("reasoning_effort")
    if facts.tools.on_chat_completions == "not_with_effort":
        # an effort by default counts as well as one that is named
        return facts.thinking.thinks_at(effort)
    return not facts.tools.on_chat(effort)


def has_tools(body: Mapping[str, Any]) -> bool:
    """Whether a chat-completions body lets the model call anything."""
    return bool(body.get("tools"))


def reasons(facts: ModelFacts) -> bool:
    """Whether the model reasons at all; one that is not known is taken for a new one."""
    return facts.thinking.use != "never"


def takes(parameter: str, facts: ModelFacts, body: Mapping[str, Any]) -> bool:
    """Whether the model takes a parameter of sampling, by the name of Sampling's field, in this
    request: most take none while they reason."""
    effort = body.get("reasoning_effort")
    if facts.known == "nothing":
        return effort == "none"
    return not facts.refuses(parameter, effort)
