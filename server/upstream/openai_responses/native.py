"""Adapts a caller's own Responses body whose history other models may have answered. In the answer,
encrypted content is marked with the account that can read it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import orjson

from server.adapting.stand_ins import NO_RESULT, stray_result
from server.upstream.compaction import told_summary
from server.upstream.signatures import Signatures
from server.upstream.tool_ids import responses_id
from server.wire.sse import SseEvent

Item = Mapping[str, Any]
# Restores encrypted content as its provider made it; None for another provider's content.
Own = Callable[[str], str | None]
_OUTPUTS: Final[Mapping[str, str]] = {
    "function_call": "function_call_output",
    "custom_tool_call": "custom_tool_call_output",
}
_CALLED: Final = frozenset(_OUTPUTS.values())
# The prefixes of the ids of items.
_PREFIXES: Final[Mapping[str, str]] = {
    "message": "msg",
    "function_call": "fc",
    "function_call_output": "fc",
    "custom_tool_call": "ctc",
    "custom_tool_call_output": "ctc",
}
_MOST_ID_CHARACTERS: Final = 64
_SPEAKERS: Final = frozenset({"user", "system", "developer"})
_TEXTS: Final = frozenset({"input_text", "output_text", "text"})
_CONTENT: Final = "encrypted_content"
# Other providers' thoughts, and notes that Codex adds to items for OpenAI's own backend.
_NOT_OF_ITEMS: Final = frozenset({"extra_content", "internal_chat_message_metadata_passthrough"})


def with_taken_items(body: Mapping[str, Any], own: Own) -> Mapping[str, Any]:
    """The body with input that OpenAI accepts; the same object where it is acceptable already."""
    items = body.get("input")
    if not isinstance(items, list):
        return body
    taken = _Mender(own).taken(items)
    if len(taken) == len(items) and all(a is b for a, b in zip(taken, items, strict=True)):
        return body
    return {**body, "input": taken}


def marked_response(response: Mapping[str, Any], signatures: Signatures) -> dict[str, Any]:
    """A response with marks on its encrypted content."""
    output = response.get("output")
    if not isinstance(output, list):
        return dict(response)
    return {**response, "output": [_marked(item, signatures) for item in output]}


def marked_event(event: SseEvent, signatures: Signatures) -> SseEvent:
    """An event of a streamed response with marks; the same object where it has no encrypted
    content."""
    if b'"encrypted_content"' not in event.data:
        return event
    said = event.json()
    if isinstance(said.get("item"), dict):
        said["item"] = _marked(said["item"], signatures)
    if isinstance(said.get("response"), dict):
        said["response"] = marked_response(said["response"], signatures)
    return SseEvent(orjson.dumps(said), event.name, parsed=said)


def _marked(item: Any, signatures: Signatures) -> Any:
    secret = item.get(_CONTENT) if isinstance(item, Mapping) else None
    if not isinstance(secret, str) or not secret:
        return item
    return {**item, _CONTENT: signatures.marked_text(secret)}


class _Mender:
    def __init__(self, own: Own) -> None:
        self._own = own
        self._out: list[Any] = []
        self._seen: Counter[str] = Counter()
        self._used: set[str] = set()
        # The calls whose results have not come, in order: (the caller's id, our id, type of
        # output).
        self._waiting: list[tuple[str, str, str]] = []
        self._has_lost_reasoning = False
        self._has_results = False

    def taken(self, items: Sequence[Any]) -> list[Any]:
        for item in items:
            if isinstance(item, Mapping):
                self._add(item)
            else:
                self._out.append(item)
        self._answer_rest()
        return self._out

    def _add(self, item: Item) -> None:
        kind = str(item.get("type", "message"))
        if self._has_results and kind not in _CALLED:
            # Messages after results show that there are no further results.
            self._answer_rest()
        if kind == "item_reference":
            # Nothing is stored at the provider.
            self._has_lost_reasoning = True
        elif kind == "reasoning":
            self._reasoning(item)
        elif kind in _OUTPUTS:
            self._put(self._call(item, _OUTPUTS[kind]), kind)
        elif kind in _CALLED:
            self._result(item, kind)
        elif kind == "message":
            if item.get("role") in _SPEAKERS:
                self._answer_rest()
            self._put(_message(item), kind)
        elif isinstance(item.get(_CONTENT), str):
            self._secret(item, kind)
        else:
            self._put(item, kind)

    def _reasoning(self, item: Item) -> None:
        secret = item.get(_CONTENT)
        if not isinstance(secret, str) or not secret:
            if item.get("content"):
                # It is an item of a server that shows its reasoning and encrypts nothing.
                self._out.append(item)
            else:
                self._has_lost_reasoning = True
            return
        own = self._own(secret)
        if own is None:
            self._has_lost_reasoning = True
        else:
            self._out.append(_bare(item if own == secret else {**item, _CONTENT: own}))

    def _secret(self, item: Item, kind: str) -> None:
        told = told_summary(item)
        if told is not None:
            self._answer_rest()
            self._put({"type": "message", "role": "user", "content": told}, "message")
            return
        own = self._own(item[_CONTENT])
        if own is not None:
            self._put(item if own == item[_CONTENT] else {**item, _CONTENT: own}, kind)

    def _put(self, item: Item, kind: str) -> None:
        """Appends an item. An id refers to the response that it came with: without its reasoning,
        or where the id is not OpenAI's, it is removed."""
        lost, self._has_lost_reasoning = self._has_lost_reasoning, False
        if "id" in item and kind in _PREFIXES:
            name = str(item["id"])
            is_theirs = name.startswith(_PREFIXES[kind]) and len(name) <= _MOST_ID_CHARACTERS
            if lost or not is_theirs:
                item = {n: v for n, v in item.items() if n != "id"}
        self._out.append(_bare(item))

    def _call(self, item: Item, output: str) -> Item:
        old = str(item.get("call_id") or "")
        while True:
            self._seen[old] += 1
            times = self._seen[old]
            new = responses_id(old if old and times == 1 else f"{old or 'call'}_{times}")
            if new not in self._used:
                break
        self._used.add(new)
        self._waiting.append((old, new, output))
        return item if new == item.get("call_id") else {**item, "call_id": new}

    def _result(self, item: Item, kind: str) -> None:
        wanted = str(item.get("call_id") or "")
        place = next((n for n, (old, _, _) in enumerate(self._waiting) if old == wanted), None)
        self._has_results = True
        if place is None:
            self._put({"type": "message", "role": "user", "content": _stray(item)}, "message")
            return
        _, new, output = self._waiting.pop(place)
        changed = {} if (new, output) == (wanted, kind) else {"type": output, "call_id": new}
        self._put({**item, **changed} if changed else item, output)

    def _answer_rest(self) -> None:
        for _, new, output in self._waiting:
            self._out.append({"type": output, "call_id": new, "output": NO_RESULT})
        self._waiting, self._has_results = [], False


def _bare(item: Item) -> Item:
    if _NOT_OF_ITEMS.isdisjoint(item):
        return item
    return {name: value for name, value in item.items() if name not in _NOT_OF_ITEMS}


def _message(item: Item) -> Item:
    """A message whose parts have the types that its role allows."""
    content = item.get("content")
    if not isinstance(content, list):
        return item if content is not None else {**item, "content": ""}
    kind = "output_text" if item.get("role") == "assistant" else "input_text"
    if all(_field(part, "type") not in _TEXTS - {kind} for part in content):
        return item
    parts = [
        {"type": kind, "text": part.get("text", "")} if _field(part, "type") in _TEXTS else part
        for part in content
    ]
    return {**item, "content": parts}


def _stray(item: Item) -> str | list[Any]:
    output = item.get("output")
    if isinstance(output, list):
        return [{"type": "input_text", "text": stray_result("")}, *output]
    return stray_result(str(output or NO_RESULT))


def _field(part: Any, name: str) -> Any:
    return part.get(name) if isinstance(part, Mapping) else None
