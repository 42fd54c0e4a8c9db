"""Answers of nothing: which of them have failed.

An answer may be empty: a model that has nothing to add ends its turn, and has written the token
that ends it. An answer that ends well, says nothing and counts no token of output was never made:
hosts send one where a model is not ready yet.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

from server.upstream.errors import UpstreamError, UpstreamUnavailableError
from server.upstream.mending.words import finish_reason, finish_word
from server.wire.shapes import objects, part
from server.wire.sse import SseEvent

Json = Mapping[str, Any]
# Fields of a message that hold none of its content.
_ABOUT: Final = frozenset({"role", "annotations", "index", "name"})
_WHAT: Final = "ended the answer without any content or token of output"


def was_never_made(body: Json) -> bool:
    """Whether a whole chat completion is empty and has failed."""
    choices = objects(body.get("choices"))
    says = any(_says(part(choice, "message")) for choice in choices)
    return not says and _ended_for_nothing(choices, [body.get("usage")])


def never_made(provider: str) -> Callable[[Sequence[SseEvent]], UpstreamError | None]:
    """Makes a check of a streamed chat completion that has ended without content: the error of one
    that has failed, with its usage; None for any other."""

    def check(events: Sequence[SseEvent]) -> UpstreamError | None:
        chunks = [event.parsed for event in events if event.parsed is not None]
        choices = [choice for chunk in chunks for choice in objects(chunk.get("choices"))]
        usages = [holder.get("usage") for holder in (*chunks, *choices)]
        if not _ended_for_nothing(choices, usages):
            return None
        error = UpstreamUnavailableError(f"{provider} {_WHAT}", status=200)
        error.reported = {"usage": next(u for u in reversed(usages) if isinstance(u, Mapping))}
        return error

    return check


def _says(message: Json) -> bool:
    return any(value for name, value in message.items() if name not in _ABOUT)


def _ended_for_nothing(choices: Iterable[Json], usages: Sequence[object]) -> bool:
    """Whether all ended well, and it is reported that none has a token. An answer that was cut off
    or filtered says so itself, and one without counts may have some."""
    given = [choice.get("finish_reason") for choice in choices]
    words = [finish_word(one) or "stop" for one in given if one is not None]
    reasons = {finish_reason(word, called=False) for word in words}
    counts = [u.get("completion_tokens") for u in usages if isinstance(u, Mapping)]
    told = [count for count in counts if isinstance(count, int)]
    return reasons == {"stop"} and bool(told) and not any(told)
