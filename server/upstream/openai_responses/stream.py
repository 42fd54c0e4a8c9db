"""Converts the events of the Responses API to chat-completion chunks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from server.upstream.errors import error_within
from server.upstream.openai_responses.reply import (
    CALLS,
    Seal,
    content_of,
    detail_of,
    failure_of,
    finish_reason,
    follower,
    head_of,
    text_of_call,
    thoughts_in,
    told_logprobs,
    tool_call,
    usage_of,
)
from server.upstream.openai_responses.thoughts import Item, Thought, as_kept

Chunk = dict[str, Any]
_BETWEEN: Final = "\n\n"


class ResponseChunks:
    """Converts one streamed response. `done` is true once its last event has come."""

    def __init__(self, provider: str, seal: Seal) -> None:
        self.done = False
        self._provider = provider
        self._seal = seal
        self._head: Chunk = head_of({})
        self._begun = False
        # The calls by their place in the output.
        self._calls: dict[object, _Call] = {}
        # How much of each text has been sent, by its place.
        self._said: dict[tuple[object, object, str], int] = {}
        self._waiting: list[Item] = []
        self._kept: set[object] = set()
        self._n_details = 0
        # The item or part of the last text, for the answer and for the reasoning.
        self._places: dict[str, object] = {}

    def chunks(self, event: Mapping[str, Any]) -> Iterator[Chunk]:
        """The chunks for one event; none for an unknown event. Raises UpstreamError for an event
        which reports that the answer has failed."""
        match event.get("type"):
            case "response.created" | "response.in_progress" | "response.queued":
                self._note(event.get("response"))
            case "response.output_item.added":
                yield from self._added(event.get("item") or {}, event.get("output_index"))
            case "response.output_item.done":
                yield from self._finished(event.get("item") or {}, event.get("output_index"))
            case "response.output_text.delta":
                yield from self._text(event, "content", event.get("delta"))
            case "response.refusal.delta":
                yield from self._text(event, "refusal", event.get("delta"))
            case "response.reasoning_summary_text.delta" | "response.reasoning_text.delta":
                yield from self._thinks(event)
            case "response.function_call_arguments.delta" | "response.custom_tool_call_input.delta":
                yield from self._more(event.get("output_index"), event.get("delta"))
            case "response.completed" | "response.incomplete" | "response.failed":
                yield from self._end(event.get("response") or {})
            case "error":
                raise error_within(self._provider, event)

    def _note(self, response: object) -> None:
        if isinstance(response, Mapping):
            self._head = head_of(response, self._head)

    def _added(self, item: Item, place: object) -> Iterator[Chunk]:
        if item.get("type") in CALLS:
            yield from self._open(item, place)
        elif item.get("type") == "message":
            yield from self._thought(item)

    def _open(self, item: Item, place: object) -> Iterator[Chunk]:
        if place in self._calls:
            return
        yield from self._thought(item)
        call = self._calls[place] = _Call(len(self._calls), item)
        yield self._delta({"tool_calls": [{"index": call.index, **tool_call(item, "")}]})

    def _finished(self, item: Item, place: object) -> Iterator[Chunk]:
        """The parts of an item that no earlier event has contained."""
        kind = item.get("type")
        if kind == "reasoning":
            kept = as_kept(item)
            self._waiting += [] if kept is None else [kept]
        elif kind in CALLS:
            yield from self._open(item, place)
            yield from self._more(place, text_of_call(item)[self._calls[place].n_said :])
        elif kind == "message":
            yield from self._thought(item)
            for name, part, field in (
                ("content", "output_text", "text"),
                ("refusal", "refusal", "refusal"),
            ):
                text = "".join(content_of(item, part, field))
                said = self._said_of(place, name)
                yield from self._text({"output_index": place}, name, text[said:])

    def _said_of(self, place: object, name: str) -> int:
        return sum(
            n for (where, _, what), n in self._said.items() if (where, what) == (place, name)
        )

    def _text(self, event: Mapping[str, Any], name: str, text: object) -> Iterator[Chunk]:
        if not isinstance(text, str) or not text:
            return
        place = event.get("output_index")
        key = place, event.get("content_index"), name
        self._said[key] = self._said.get(key, 0) + len(text)
        yield self._delta({name: self._apart(name, place) + text}, event.get("logprobs"))

    def _thinks(self, event: Mapping[str, Any]) -> Iterator[Chunk]:
        text = event.get("delta")
        if isinstance(text, str) and text:
            place = event.get("output_index"), event.get("summary_index")
            yield self._delta({"reasoning_content": self._apart("reasoning", place) + text})

    def _apart(self, name: str, place: object) -> str:
        """The separator before text of this place: the texts of two items must not run together."""
        changed = name in self._places and self._places[name] != place
        self._places[name] = place
        return _BETWEEN if changed else ""

    def _more(self, place: object, text: object) -> Iterator[Chunk]:
        call = self._calls.get(place)
        if call is None or not isinstance(text, str) or not text:
            return
        call.n_said += len(text)
        field = {"custom": {"input": text}} if call.is_custom else {"function": {"arguments": text}}
        yield self._delta({"tool_calls": [{"index": call.index, **field}]})

    def _thought(self, item: Item) -> Iterator[Chunk]:
        """The reasoning before an item, which can be sealed only now that the item is known."""
        waiting, self._waiting = self._waiting, []
        for kept in waiting:
            yield self._detail(follower(kept, item))

    def _detail(self, thought: Thought) -> Chunk:
        self._kept.add(thought.item.get("id"))
        detail = detail_of(self._seal(thought), thought.item, self._n_details)
        self._n_details += 1
        return self._delta({"reasoning_details": [detail]})

    def _end(self, response: Mapping[str, Any]) -> Iterator[Chunk]:
        self._note(response)
        usage = usage_of(response.get("usage"))
        ending = [] if usage is None else [{**self._chunk({}), "choices": [], "usage": usage}]
        failed = failure_of(self._provider, response)
        if failed is not None:
            # It has been paid for nevertheless.
            failed.reported = None if usage is None else {"usage": usage}
            yield from ending if self._begun else ()
            raise failed
        self.done = True
        yield from self._unsaid([i for i in response["output"] if isinstance(i, dict)])
        last = {} if self._begun else {"role": "assistant", "content": ""}
        reason = finish_reason(response, called=bool(self._calls))
        yield self._chunk(last, finish_reason=reason)
        yield from ending

    def _unsaid(self, output: list[Item]) -> Iterator[Chunk]:
        """The content that no event before the last has contained."""
        if not self._begun:
            for place, item in enumerate(output):
                yield from self._finished(item, place)
        for thought in thoughts_in(output):
            # Some are encrypted only at the very end.
            if thought.item.get("id") not in self._kept:
                yield self._detail(thought)

    def _delta(self, delta: Chunk, logprobs: Sequence[Chunk] | None = None) -> Chunk:
        if not self._begun:
            # Not when the response is created: until there is content, another model can answer.
            self._begun = True
            delta = {"role": "assistant", **delta}
        return self._chunk(delta, logprobs=logprobs)

    def _chunk(
        self,
        delta: Chunk,
        *,
        finish_reason: str | None = None,
        logprobs: Sequence[Chunk] | None = None,
    ) -> Chunk:
        told = told_logprobs(logprobs) if logprobs else None
        choice = {"index": 0, "delta": delta, "logprobs": told, "finish_reason": finish_reason}
        return {**self._head, "object": "chat.completion.chunk", "choices": [choice]}


class _Call:
    """A call that is being streamed. index: its place among the calls of the answer."""

    def __init__(self, index: int, item: Item) -> None:
        self.index = index
        self.is_custom = item.get("type") == "custom_tool_call"
        self.n_said = 0
