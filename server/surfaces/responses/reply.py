"""Builds response objects from chat completions."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, Final

from server.surfaces.responses.calls import call_item, status_of
from server.surfaces.responses.ids import new_id
from server.surfaces.responses.tools import Toolbox
from server.upstream.carried import carried
from server.upstream.seal import sealed
from server.wire.chat_shape import with_lists
from server.wire.usage import openai_usage, parse_usage

Item = dict[str, Any]
# The fields of the request that a response repeats, and their values where the request has none.
_REPEATED: Final[Mapping[str, Any]] = {
    "instructions": None,
    "max_output_tokens": None,
    "max_tool_calls": None,
    "metadata": {},
    "parallel_tool_calls": True,
    "previous_response_id": None,
    "prompt_cache_key": None,
    "reasoning": {"effort": None, "summary": None},
    "safety_identifier": None,
    "service_tier": "default",
    "temperature": 1.0,
    "text": {"format": {"type": "text"}},
    "tool_choice": "auto",
    "tools": [],
    "top_logprobs": 0,
    "top_p": 1.0,
    "truncation": "disabled",
    "user": None,
}
_INCOMPLETE: Final = {"length": "max_output_tokens", "content_filter": "content_filter"}


def blank_response(request: Mapping[str, Any], model: str) -> Item:
    """A response that has just begun and is not stored. request: the caller's body."""
    repeated = {
        name: default if request.get(name) is None else request[name]
        for name, default in _REPEATED.items()
    }
    # The actual service tier is set once the answer reports it.
    repeated["service_tier"] = _REPEATED["service_tier"]
    text = repeated["text"]
    repeated["text"] = {"format": {"type": "text"}, **text}
    return {
        "id": new_id("resp"),
        "object": "response",
        "created_at": int(time.time()),
        "status": "in_progress",
        "background": False,
        "error": None,
        "incomplete_details": None,
        "model": model,
        "output": [],
        "store": False,
        "usage": None,
        **repeated,
    }


def is_incomplete(finish_reason: object) -> bool:
    """Whether an answer with this finish reason was cut off."""
    return str(finish_reason) in _INCOMPLETE


def ended(response: Item, finish_reason: object, usage: object) -> Item:
    """The response at its end."""
    reason = _INCOMPLETE.get(str(finish_reason))
    return {
        **response,
        "status": "completed" if reason is None else "incomplete",
        "incomplete_details": None if reason is None else {"reason": reason},
        "completed_at": int(time.time()),
        "usage": response_usage(usage),
    }


def response_usage(usage: object) -> Item | None:
    """A chat completion's usage in the form of the Responses API."""
    parsed = parse_usage(usage)
    if parsed is None:
        return None
    chat = openai_usage(parsed)
    cost = usage.get("cost") if isinstance(usage, dict) else None
    return {
        "input_tokens": chat["prompt_tokens"],
        "input_tokens_details": {
            "cached_tokens": parsed.cached_tokens,
            "cache_write_tokens": parsed.cache_write_tokens + parsed.cache_write_1h_tokens,
        },
        "output_tokens": chat["completion_tokens"],
        "output_tokens_details": {"reasoning_tokens": parsed.reasoning_tokens},
        "total_tokens": chat["total_tokens"],
    } | ({} if cost is None else {"cost": cost})


def to_response(
    completion: Mapping[str, Any], response: Item, tools: Toolbox, *, with_thoughts: bool
) -> Item:
    """Converts a whole answer. response: the response as it began; tools: those of the request;
    with_thoughts: whether the reasoning is included in a form that the caller can send back."""
    choice = completion["choices"][0]
    message = choice["message"]
    output = []
    reasoning = message.get("reasoning_content") or message.get("reasoning")
    thoughts = carried(message) if with_thoughts else []
    if reasoning or thoughts or message.get("thinking_blocks"):
        output.append(reasoning_item(new_id("rs"), str(reasoning or ""), thoughts))
    logprobs = whole_logprobs(choice.get("logprobs") or {})
    if message.get("content") or message.get("refusal") or not message.get("tool_calls"):
        parts = message_parts(message.get("content"), message.get("refusal"), logprobs)
        output.append(message_item(new_id("msg"), parts))
    cut = is_incomplete(choice.get("finish_reason"))
    for call in message.get("tool_calls") or ():
        function = call.get("function") or {}
        status = status_of(function.get("arguments") or "", cut=cut)
        output.append(call_item(call, tools.tool_of(function.get("name")), status))
    answered = {**response, **served_in(completion), "output": output}
    return ended(answered, choice.get("finish_reason"), completion.get("usage"))


def whole_logprobs(logprobs: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The log probabilities of a choice with the fields that this API always has."""
    return with_lists(logprobs.get("content") or [], "bytes", "top_logprobs")


def served_in(completion: Mapping[str, Any]) -> Item:
    """The service tier that a chat completion or a chunk reports."""
    tier = completion.get("service_tier")
    return {"service_tier": tier} if isinstance(tier, str) else {}


def message_parts(content: object, refusal: object, logprobs: list[Any]) -> list[Item]:
    """The content of a message item."""
    parts: list[Item] = []
    if content or not refusal:
        parts.append(text_part(str(content or ""), logprobs))
    if refusal:
        parts.append({"type": "refusal", "refusal": refusal})
    return parts


def text_part(text: str, logprobs: list[Any]) -> Item:
    """A text part."""
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": logprobs}


def message_item(identifier: str, parts: list[Item], status: str = "completed") -> Item:
    """A message item of the assistant."""
    return {
        "type": "message",
        "id": identifier,
        "status": status,
        "role": "assistant",
        "content": parts,
    }


def reasoning_item(identifier: str, text: str, thoughts: list[Any] | None) -> Item:
    """A reasoning item, as far as the provider shows its reasoning."""
    summary = [{"type": "summary_text", "text": text}] if text else []
    item: Item = {"type": "reasoning", "id": identifier, "summary": summary}
    return item | ({"encrypted_content": sealed(thoughts)} if thoughts else {})
