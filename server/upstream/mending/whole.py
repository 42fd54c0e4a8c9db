"""Repairs a whole chat completion where it needs it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from server.upstream.emptiness import was_never_made
from server.upstream.errors import UpstreamUnavailableError, error_within
from server.upstream.mending.calls import StreamedCalls
from server.upstream.mending.words import (
    FAILED,
    finish_reason,
    finish_word,
    in_one_form,
    is_plain,
    is_plain_finish,
)

Body = dict[str, Any]


def mend_answer(provider: str, body: Body) -> Body:
    """Repairs an answer; returns the same object where nothing has to be changed. Raises
    UpstreamError, with the usage, for an answer that has failed."""
    choices = body["choices"]
    if choices and all(map(_is_right, choices)):
        return body
    fault = None if choices else "nothing in it"
    if was_never_made(body):
        fault = "no content and no token of output"
    mended = []
    for number, choice in enumerate(choices):
        found, wrong = _choice(provider, body, number, choice)
        fault = fault or wrong
        mended.append(found)
    if fault is not None:
        error = UpstreamUnavailableError(f"{provider} sent an answer that has {fault}", status=200)
        error.reported = body
        raise error
    return {**body, "choices": mended}


def _is_right(choice: object) -> bool:
    """Whether nothing in a choice has to be changed, and nothing failed."""
    if not isinstance(choice, dict):
        return False
    message = choice.get("message")
    return (
        isinstance(message, dict)
        and is_plain_finish(choice.get("finish_reason"))
        and isinstance(choice.get("index"), int)
        and not message.get("tool_calls")
        and bool(message.get("content"))
        and is_plain(message)
    )


def _choice(provider: str, body: Body, number: int, choice: object) -> tuple[Body, str | None]:
    """Returns the choice, and its fault or None."""
    message = choice.get("message") if isinstance(choice, dict) else None
    if not isinstance(choice, dict) or not isinstance(message, dict):
        return {}, "a choice without content"
    word = finish_word(choice.get("finish_reason"))
    if word in FAILED:
        said = choice.get("error")
        error = error_within(provider, said if isinstance(said, dict) else {})
        error.reported = body
        raise error
    if _is_right(choice):
        return choice, None
    return _mended(number, choice, message, word or "stop")


def _mended(number: int, choice: Body, message: Body, word: str) -> tuple[Body, str | None]:
    said = message if is_plain(message) else in_one_form(message)
    calls, fault = _calls(said.get("tool_calls"), word)
    if calls:
        said = {**said, "tool_calls": calls}
    by_function = isinstance(said.get("function_call"), Mapping)
    reason = finish_reason(word, called=bool(calls), by_function=by_function)
    index = choice.get("index")
    index = index if isinstance(index, int) else number
    return {**choice, "index": index, "message": said, "finish_reason": reason}, fault


def _calls(given: object, word: str) -> tuple[list[Body], str | None]:
    """Returns complete calls, and the fault of one of them or None."""
    if not given:
        return [], None
    calls = StreamedCalls()
    for call in given if isinstance(given, list) else [given]:
        calls.add_whole(call)
    cut = finish_reason(word, called=True) in ("length", "content_filter")
    fault = None if cut else calls.fault
    return calls.whole(cut=cut), fault
