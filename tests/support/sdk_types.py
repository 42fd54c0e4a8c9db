"""The official SDKs' own types, as judges of what we send and of what the fakes answer."""

from __future__ import annotations

import functools
import warnings
from typing import Any

from pydantic import TypeAdapter

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from anthropic.types import Message, RawMessageStreamEvent
    from anthropic.types.message_create_params import MessageCreateParamsNonStreaming
    from google.genai import types as gemini

# Sampling fields that the API still takes from older models; the SDK no longer names them.
_STILL_TAKEN = {"temperature", "top_p", "top_k"}


@functools.cache
def adapter_of(kind: Any) -> TypeAdapter[Any]:
    """kind: a type of an SDK. Making one takes up to a second, and the iterables that it has
    validated refer to it, so it is kept."""
    return TypeAdapter(kind)


def check_anthropic_body(body: dict[str, Any]) -> None:
    """Raises where the SDK would not send it."""
    named = set(MessageCreateParamsNonStreaming.__annotations__) | _STILL_TAKEN
    assert set(body) <= named, set(body) - named
    consume(adapter_of(MessageCreateParamsNonStreaming).validate_python(body))


def check_anthropic_answer(message: dict[str, Any], events: list[dict[str, Any]]) -> None:
    """Raises where the SDK would not understand it."""
    Message.model_validate(message, strict=True)
    for event in events:
        if event["type"] != "ping":
            adapter_of(RawMessageStreamEvent).validate_python(event)


def check_gemini_body(body: dict[str, Any]) -> None:
    """Raises where the SDK would not send it."""
    for content in body["contents"]:
        gemini.Content.model_validate(content)
    rest = {k: v for k, v in body.items() if k not in ("contents", "generationConfig")}
    gemini.GenerateContentConfig.model_validate(rest | body.get("generationConfig", {}))


def check_gemini_answer(answer: dict[str, Any], events: list[dict[str, Any]]) -> None:
    """Raises where the SDK would not understand it."""
    for one in (answer, *events):
        gemini.GenerateContentResponse.model_validate(one)


def consume(value: Any) -> Any:
    """Iterables are validated as they are read."""
    if isinstance(value, dict):
        return {key: consume(item) for key, item in value.items()}
    if isinstance(value, str | bytes | int | float | bool) or value is None:
        return value
    return [consume(item) for item in value]
