"""Reads the events of one streamed answer in OpenAI's form: checks whether it is complete, and
repairs a chat completion that needs it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from server.config.secret import Secret
from server.upstream.beginning import has_begun
from server.upstream.errors import UpstreamError, UpstreamUnavailableError, error_within
from server.upstream.mending.calls import arguments_text, whole_arguments
from server.upstream.mending.names import ToolNames
from server.upstream.mending.stream import ChatStream, unfinished
from server.upstream.wire import json_object, without_key
from server.wire.shapes import word
from server.wire.sse import SseEvent
from server.wire.surface import Surface

# The events that end a stream of responses.
_LAST_EVENTS: Final = frozenset({"response.completed", "response.incomplete", "response.failed"})


class Reading:
    """Reads one answer. is_over: [DONE] or the last event of a response has come, and nothing more
    is waited for. api_key: is removed from error messages. tools: those of the request.

    take: returns the events to be sent for one event; None: the event as it is. Raises
    UpstreamError for an event which reports that the answer has failed.
    """

    def __init__(
        self, provider: str, surface: Surface, api_key: Secret | None, tools: object = None
    ) -> None:
        self._provider = provider
        self._api_key = api_key
        is_chat = surface is Surface.CHAT
        self._chat = ChatStream(provider, ToolNames(tools)) if is_chat else None
        # An attribute: a method around it would be one more call for every chunk.
        self.take: Callable[[SseEvent], list[SseEvent] | None]
        self.take = self._watch if self._chat is None else self._chat.take
        self.is_over = False
        # Used for the events of responses only.
        self._has_begun = False
        self._has_half = False
        self._finished: dict[int, bool] = {}

    def end(self) -> list[SseEvent]:
        """The remaining events when the provider sends no more."""
        return [] if self._chat is None else self._chat.end()

    @property
    def failure(self) -> UpstreamError | None:
        """Why the finished answer is not complete; None where it is. A chat completion gives a
        finish reason for every choice: without one, [DONE] may follow an incomplete call."""
        if self._chat is not None:
            if self._chat.failure is not None:
                return self._chat.failure
            is_whole = self._chat.is_ended
        else:
            finished = bool(self._finished) and all(self._finished.values())
            is_whole = self.is_over or finished
        return None if is_whole else unfinished(self._provider)

    def _watch(self, came: SseEvent) -> list[SseEvent] | None:
        event = came.parsed or {}
        if "type" in event:
            self.is_over = self.is_over or word(event["type"]) in _LAST_EVENTS
            self._has_begun = self._has_begun or (not self.is_over and has_begun(event))
        choices = event.get("choices")
        for number, choice in enumerate(choices if isinstance(choices, list) else ()):
            if isinstance(choice, dict):
                if choice.get("finish_reason") == "error":
                    check_choices(self._provider, event)
                given = choice.get("index")
                index = given if isinstance(given, int) else number
                if choice.get("finish_reason") is not None:
                    self._finished[index] = True
                elif index not in self._finished:
                    self._finished[index] = False
        if event.get("type") == "response.failed" and not self._has_begun:
            raise self._failed(came.data)
        if event.get("type") == "response.output_item.done" and _is_half(event.get("item")):
            # Clients run a call as soon as its item is done.
            self._has_half = True
        if self._has_half and not self.is_over:
            return []
        if self._has_half:
            raise self._half(event)
        return None

    def _half(self, last: Mapping[str, Any]) -> UpstreamError:
        message = f"{self._provider} sent a tool call whose arguments are cut off"
        error = UpstreamUnavailableError(message, status=200)
        response = last.get("response")
        error.reported = response if isinstance(response, dict) else None
        return error

    def _failed(self, data: bytes) -> UpstreamError:
        """The error of a response that failed before it had content: another model can still
        answer."""
        response = (json_object(without_key(data, self._api_key)) or {}).get("response")
        said = response if isinstance(response, dict) else {}
        error = said.get("error")
        failure = error_within(self._provider, error if isinstance(error, dict) else {})
        failure.reported = said
        return failure


def _is_half(item: object) -> bool:
    """Whether an item is an incomplete call that is reported as complete."""
    if not isinstance(item, dict) or item.get("type") != "function_call":
        return False
    is_whole = whole_arguments(arguments_text(item.get("arguments"))) is not None
    return not is_whole and item.get("status") in (None, "completed")


def check_choices(provider: str, answer: Mapping[str, Any]) -> None:
    """Raises an error for a choice that ended in one, as OpenRouter and Mistral report it."""
    choices = answer.get("choices")
    for choice in choices if isinstance(choices, list) else ():
        if isinstance(choice, dict) and choice.get("finish_reason") == "error":
            said = choice.get("error")
            error = error_within(provider, said if isinstance(said, dict) else {})
            error.reported = answer
            raise error
