"""Converts an answer of the Responses API to a chat completion."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

from server.upstream.errors import UpstreamError, UpstreamUnavailableError, error_within
from server.upstream.mending.calls import arguments_text
from server.upstream.mending.words import new_completion_id
from server.upstream.openai_responses.thoughts import Item, Thought, as_kept
from server.wire.chat_shape import with_lists
from server.wire.surface import Surface
from server.wire.usage import openai_usage, parse_usage, stated

# Seals a thought as a string that a caller can keep.
Seal = Callable[[Thought], str]
_FINISHED: Final = frozenset({"completed", "incomplete"})
_REASONS: Final = {"max_output_tokens": "length", "content_filter": "content_filter"}
CALLS: Final = frozenset({"function_call", "custom_tool_call"})


def failure_of(provider: str, response: Mapping[str, Any]) -> UpstreamError | None:
    """The error of a failed response; None for an answer."""
    if response.get("status") in _FINISHED and isinstance(response.get("output"), list):
        return None
    error = response.get("error")
    if isinstance(error, Mapping):
        return error_within(provider, error)
    return UpstreamUnavailableError(f"{provider} left the response unfinished", status=200)


def to_completion(response: Mapping[str, Any], seal: Seal) -> dict[str, Any]:
    """Converts a whole answer: a response that is completed or incomplete."""
    output = [item for item in response["output"] if isinstance(item, dict)]
    choice = {
        "index": 0,
        "message": _message(output, seal),
        "logprobs": _logprobs(output),
        "finish_reason": finish_reason(
            response, called=any(i.get("type") in CALLS for i in output)
        ),
    }
    body = head_of(response) | {"object": "chat.completion", "choices": [choice]}
    usage = usage_of(response.get("usage"))
    return body if usage is None else body | {"usage": usage}


def head_of(response: Mapping[str, Any], before: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The fields that a completion and each of its chunks have in common. before: those of the
    chunks before."""
    created = response.get("created_at")
    head = {
        "id": response.get("id") or (before or {}).get("id") or new_completion_id(),
        "created": int(time.time() if created is None else created),
        "model": response.get("model"),
    }
    tier = response.get("service_tier")
    return head | ({"service_tier": tier} if isinstance(tier, str) else {})


def usage_of(usage: object) -> dict[str, Any] | None:
    """The usage object of chat completions; None where there are no counts."""
    parsed = parse_usage(usage, Surface.RESPONSES)
    return None if parsed is None else openai_usage(parsed) | stated(usage)


def finish_reason(response: Mapping[str, Any], *, called: bool) -> str:
    """The finish reason of chat completions. called: whether the answer calls a tool."""
    details = response.get("incomplete_details")
    if response.get("status") == "incomplete":
        reason = details.get("reason") if isinstance(details, Mapping) else None
        return _REASONS.get(str(reason), "length")
    return "tool_calls" if called else "stop"


def tool_call(item: Mapping[str, Any], text: str) -> Item:
    """A call in the form of a chat completion. text: its arguments or its input so far."""
    if item.get("type") == "custom_tool_call":
        custom = {"name": item.get("name"), "input": text}
        return {"id": item.get("call_id"), "type": "custom", "custom": custom}
    function = {"name": item.get("name"), "arguments": text}
    return {"id": item.get("call_id"), "type": "function", "function": function}


def text_of_call(item: Mapping[str, Any]) -> str:
    """The arguments of a call, or its input."""
    return arguments_text(item.get("arguments", item.get("input")))


def content_of(item: Mapping[str, Any], kind: str, name: str) -> list[str]:
    """The texts of an item's parts of one type, which have them in the field `name`."""
    content = item.get("content")
    return [
        str(part.get(name) or "")
        for part in (content if isinstance(content, list) else ())
        if isinstance(part, Mapping) and part.get("type") == kind
    ]


def summary_of(item: Mapping[str, Any]) -> str:
    """The readable summary of a reasoning item."""
    summary = item.get("summary")
    texts = [str(p.get("text") or "") for p in summary or () if isinstance(p, Mapping)]
    texts = texts or content_of(item, "reasoning_text", "text")
    return "\n\n".join(text for text in texts if text)


def detail_of(data: str, item: Mapping[str, Any], index: int) -> Item:
    """An entry of reasoning_details, in OpenRouter's form, which clients send back."""
    return {
        "type": "reasoning.encrypted",
        "format": "openai-responses-v1",
        "id": item.get("id"),
        "data": data,
        "index": index,
    }


def thoughts_in(output: Sequence[Mapping[str, Any]]) -> Iterator[Thought]:
    """The reasoning items of an answer, each with the item that followed; those that nothing
    follows are of no use."""
    waiting: list[Item] = []
    for item in output:
        if item.get("type") == "reasoning":
            kept = as_kept(item)
            waiting += [] if kept is None else [kept]
        elif item.get("type") in CALLS or item.get("type") == "message":
            yield from (follower(kept, item) for kept in waiting)
            waiting = []


def follower(kept: Item, item: Mapping[str, Any]) -> Thought:
    """A stored reasoning item, followed by another item."""
    if item.get("type") in CALLS:
        return Thought(kept, before=str(item.get("call_id")))
    phase = item.get("phase")
    return Thought(kept, phase=phase if isinstance(phase, str) else None)


def _message(output: Sequence[Mapping[str, Any]], seal: Seal) -> Item:
    messages = [item for item in output if item.get("type") == "message"]
    texts = [text for i in messages if (text := "".join(content_of(i, "output_text", "text")))]
    refusal = "".join(r for item in messages for r in content_of(item, "refusal", "refusal"))
    calls = [tool_call(i, text_of_call(i)) for i in output if i.get("type") in CALLS]
    shown = [text for i in output if i.get("type") == "reasoning" and (text := summary_of(i))]
    message: Item = {
        "role": "assistant",
        "content": None if not texts and (calls or refusal) else "\n\n".join(texts),
        "refusal": refusal or None,
    }
    if calls:
        message["tool_calls"] = calls
    if shown:
        message["reasoning_content"] = "\n\n".join(shown)
    details = [detail_of(seal(t), t.item, n) for n, t in enumerate(thoughts_in(output))]
    return message | ({"reasoning_details": details} if details else {})


def _logprobs(output: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    found = [
        logprob
        for item in output
        if item.get("type") == "message"
        for said in item.get("content") or ()
        for logprob in said.get("logprobs") or ()
    ]
    return told_logprobs(found) if found else None


def told_logprobs(found: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Log probabilities as a choice of a chat completion has them: alternatives are a list there,
    and can be missing or null here."""
    return {"content": with_lists(found, "top_logprobs"), "refusal": None}
