"""Whole answers taken apart: the events are those of the API, as its SDKs put them together."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
from odd_answers import CUT_RESPONSE, FAILED_RESPONSE, MESSAGE, MESSAGE_EVENTS, RESPONSE
from sdk_types import adapter_of

from server.upstream.apart import message_events, response_events
from server.upstream.joined import joined
from server.wire.surface import Surface

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from anthropic.types import RawMessageStreamEvent
    from openai.types.responses import ResponseStreamEvent


# The counts that the SDK's types know in full.
KNOWN = ("input_tokens", "output_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")
PLAIN = {**MESSAGE, "usage": {name: MESSAGE["usage"][name] for name in KNOWN}}


def test_a_message_is_the_same_when_it_is_put_together_again() -> None:
    events = list(message_events(PLAIN))
    for event in events:
        said = event.json()
        adapter_of(RawMessageStreamEvent).validate_python(said, strict=True)
        assert event.name.decode() == said["type"]
    kinds = [event.json()["type"] for event in events]
    assert kinds == [one["type"] for one in MESSAGE_EVENTS if one["type"] != "ping"]
    wire = b"".join(b"data: %b\n\n" % event.data for event in events)
    assert joined("p", Surface.MESSAGES, wire) == PLAIN


def test_a_message_begins_with_no_output_and_ends_with_a_reason() -> None:
    first, *_, delta, _ = message_events({**MESSAGE, "stop_reason": None})
    assert first.json()["message"]["usage"]["output_tokens"] == 0
    assert delta.json()["delta"]["stop_reason"] == "end_turn"
    assert delta.json()["usage"] == MESSAGE["usage"]


def spoken(response: dict[str, Any]) -> dict[str, Any]:
    """The response with a phase that the SDK knows."""
    items = [
        one | {"phase": "final_answer"} if "phase" in one else one for one in response["output"]
    ]
    return {**response, "output": items}


@pytest.mark.parametrize("response", [*map(spoken, [RESPONSE, CUT_RESPONSE, FAILED_RESPONSE])])
def test_a_response_ends_with_itself(response: dict[str, Any]) -> None:
    events = [event.json() for event in response_events(response)]
    for event in events:
        if "response" not in event:
            adapter_of(ResponseStreamEvent).validate_python(event, strict=True)
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    assert events[-1]["response"] == response
    assert events[-1]["type"] == f"response.{response['status']}"
    done = [event["item"] for event in events if event["type"] == "response.output_item.done"]
    assert done == response["output"]


@pytest.mark.parametrize("body", [{}, {"content": "x"}, {"output": None}, {"error": {}}])
def test_what_is_no_answer_has_no_events(body: dict[str, Any]) -> None:
    assert list(message_events(body)) == list(response_events(body)) == []


def test_a_response_that_is_not_finished_has_no_events() -> None:
    assert list(response_events({**RESPONSE, "status": "in_progress"})) == []
