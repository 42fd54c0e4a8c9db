"""The shape of chat completions, whole and in chunks, as far as they are translated for callers of
other APIs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from server.wire.shapes import NUMBER, OBJECT, OBJECTS, TEXT, WHOLE, Each, Fields

_BYTES: Final = Each(WHOLE, whole=True, instead=[])
_TOP: Final = Fields(("token", "logprob"), token=TEXT, logprob=NUMBER, bytes=_BYTES)
_TOPS: Final = Each(_TOP, instead=[])
LOGPROBS: Final = Each(
    Fields(("token", "logprob"), token=TEXT, logprob=NUMBER, bytes=_BYTES, top_logprobs=_TOPS)
)
_FUNCTION: Final = Fields((), name=TEXT, arguments=TEXT)
# Calls of custom tools are none of these callers': their custom tools are sent as functions.
_CALL: Final = Fields(("function",), index=WHOLE, id=TEXT, function=_FUNCTION, extra_content=OBJECT)
_MESSAGE: Final = Fields(
    (),
    content=TEXT,
    refusal=TEXT,
    reasoning_content=TEXT,
    reasoning=TEXT,
    tool_calls=Each(_CALL),
    thinking_blocks=OBJECTS,
    reasoning_details=OBJECTS,
    extra_content=OBJECT,
)
_CHOICE: Final = Fields(
    (), delta=_MESSAGE, message=_MESSAGE, logprobs=Fields((), content=LOGPROBS), finish_reason=TEXT
)
COMPLETION: Final = Fields((), choices=Each(_CHOICE), usage=OBJECT, service_tier=TEXT)


def with_lists(logprobs: Sequence[Mapping[str, Any]], *names: str) -> list[Mapping[str, Any]]:
    """Log probabilities in which each of these fields is a list: a provider can leave it out, or
    write null."""
    missing = [name for name in names if any(one.get(name) is None for one in logprobs)]
    if not missing:
        return list(logprobs)
    return [{**one, **{name: one.get(name) or [] for name in missing}} for one in logprobs]
