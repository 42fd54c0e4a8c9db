"""Adapts a conversation that ends with the assistant to a model that has to end with the user."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from server.adapting.draft import Draft
from server.adapting.stand_ins import CONTINUE, GO_ON
from server.model_facts import ModelFacts

# Fields by which a message of chat completions says that it is the beginning of the answer.
_BEGINS = ("partial", "prefix")


def fit_last_message(draft: Draft, facts: ModelFacts) -> None:
    """Chat completions: the assistant's message is complete, and a further one is asked for. One
    that is marked as the beginning of the answer excludes models that cannot continue it."""
    messages = draft.body["messages"]
    last = messages[-1]
    if facts.messages.prefill or last["role"] != "assistant" or last.get("tool_calls"):
        return
    if is_beginning(last):
        draft.refuse("it cannot continue a message that the assistant began")
        return
    draft.put("messages", [*messages, {"role": "user", "content": CONTINUE}])


def is_beginning(message: Mapping[str, Any]) -> bool:
    """Whether a message of chat completions says that the answer is to continue it."""
    return any(message.get(name) is True for name in _BEGINS)


def fit_prefill(draft: Draft, facts: ModelFacts) -> None:
    """Messages: the answer continues the assistant's text. A model that cannot be given the
    beginning of its answer is asked to go on."""
    turns = draft.get("messages")
    last = turns[-1] if isinstance(turns, list) and turns else None
    if not isinstance(last, Mapping) or last.get("role") != "assistant" or _calls(last):
        return
    if not facts.messages.prefill:
        draft.put("messages", [*turns, {"role": "user", "content": GO_ON}])
        draft.name("messages.prefill")
    elif (trimmed := _trimmed(last.get("content"))) != last.get("content"):
        draft.put("messages", [*turns[:-1], {**last, "content": trimmed}])


def _calls(turn: Mapping[str, Any]) -> bool:
    content = turn.get("content")
    blocks = content if isinstance(content, list) else []
    return any(isinstance(block, Mapping) and block.get("type") == "tool_use" for block in blocks)


def _trimmed(content: Any) -> Any:
    """Content without white space at its end, with which a beginning is refused."""
    if isinstance(content, str):
        return content.rstrip()
    last = content[-1] if isinstance(content, list) and content else None
    if not isinstance(last, Mapping) or not isinstance(last.get("text"), str):
        return content
    return [*content[:-1], {**last, "text": last["text"].rstrip()}]
