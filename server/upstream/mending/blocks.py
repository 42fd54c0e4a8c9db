"""Repairs messages of Anthropic's API, which other vendors' servers offer too: an incomplete call
is a failure, and stop_reason is set by the content."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from server.upstream.errors import UpstreamUnavailableError
from server.upstream.mending.calls import whole_arguments
from server.wire.shapes import word

Event = dict[str, Any]
# Stop reasons of an answer that was cut off.
_CUT: Final = frozenset({"max_tokens", "model_context_window_exceeded", "refusal"})
_CALL: Final = "tool_use"


def mend_message(message: Event) -> Event:
    """Repairs a whole answer; returns the same object where nothing has to be changed."""
    kinds = {word(block.get("type")) for block in message["content"] if isinstance(block, dict)}
    reason = _reason(message.get("stop_reason"), kinds)
    return message if reason == message.get("stop_reason") else {**message, "stop_reason": reason}


class MessageBlocks:
    """Repairs one streamed answer."""

    def __init__(self, provider: str) -> None:
        self._provider = provider
        self._kinds: set[str] = set()
        # The arguments of the open calls, by the block's index.
        self._inputs: dict[int | None, list[str]] = {}
        self._has_half = False
        self._reason: object = None

    @property
    def has_ended(self) -> bool:
        """Whether the answer has said why it ended; some servers send nothing after it."""
        return self._reason is not None

    def take(self, event: Event) -> Event:
        """The event to be sent: the same one, unless its stop_reason contradicts the content.
        Raises UpstreamError at the end of a failed answer; its usage has been passed on by then."""
        kind = event.get("type")
        if kind == "content_block_start":
            self._begin(event)
        elif kind == "content_block_delta":
            if self._inputs:
                self._more(event)
        elif kind == "content_block_stop":
            self._end(event)
        elif kind == "message_delta":
            return self._stop(event)
        elif kind == "message_stop":
            self._check()
        return event

    def _begin(self, event: Event) -> None:
        block = event.get("content_block")
        if isinstance(block, Mapping):
            self._kinds.add(word(block.get("type")))
            if block.get("type") == _CALL:
                self._inputs[_index(event)] = []

    def _more(self, event: Event) -> None:
        delta, pieces = event.get("delta"), self._inputs.get(_index(event))
        if pieces is not None and isinstance(delta, Mapping):
            pieces.append(str(delta.get("partial_json") or ""))

    def _end(self, event: Event) -> None:
        pieces = self._inputs.pop(_index(event), None)
        if pieces is not None and whole_arguments("".join(pieces)) is None:
            self._has_half = True

    def _stop(self, event: Event) -> Event:
        delta = event.get("delta")
        if not isinstance(delta, Mapping) or delta.get("stop_reason") is None:
            return event
        self._reason = _reason(delta["stop_reason"], self._kinds)
        if self._reason == delta["stop_reason"]:
            return event
        return {**event, "delta": {**delta, "stop_reason": self._reason}}

    def _check(self) -> None:
        if self._reason is None:
            what = "ended the stream before the answer was finished"
        elif (self._has_half or self._inputs) and self._reason not in _CUT:
            what = "ended the answer with a tool call whose arguments are cut off"
        else:
            return
        raise UpstreamUnavailableError(f"{self._provider} {what}", status=200)


def _index(event: Event) -> int | None:
    """The number of an event's block; None for all that have none."""
    index = event.get("index")
    return index if isinstance(index, int) else None


def _reason(said: object, kinds: set[str]) -> object:
    if said == "end_turn" and _CALL in kinds:
        return _CALL
    if said == _CALL and not any(kind.endswith(_CALL) for kind in kinds):
        return "end_turn"
    return said
