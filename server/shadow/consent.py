"""Decides which live requests a second model may answer as well."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, Final

from router.catalog import ModelCard
from server.auth.authenticator import Caller
from server.gateway.asked import may_use
from server.gateway.plan import Plan
from server.surfaces.base import GatewayRequest
from server.surfaces.routing_options import RoutingOptions

# The fields that decide what a good answer is. Everything else stays with the caller's request.
_REPEATED: Final = (
    "messages",
    "response_format",
    "temperature",
    "top_p",
    "stop",
    "reasoning_effort",
    "verbosity",
)
# Any of these may let an answer act, or search, or refer to what only the first model has seen.
_ACTING: Final = frozenset(
    {"tools", "functions", "web_search_options", "audio", "modalities", "prediction", "plugins"}
)
_MOST_CHARS: Final = 100_000


def may_be_repeated(
    request: GatewayRequest, options: RoutingOptions, caller: Caller, plan: Plan
) -> bool:
    """Whether a second model may answer the request: it is routed, its key and itself allow it, it
    is all text, and no answer to it can act. A request with tools, or in a tool loop, never is; nor
    one that only private providers may see, since the judge need not be one of them."""
    if not plan.routed or request.n != 1 or request.server_tools:
        return False
    if not caller.shadow or options.shadow is False or options.private:
        return False
    if request.turn is not None and request.turn.compacts:
        return False
    body = request.body
    return _ACTING.isdisjoint(body) and is_short_text(body.get("messages"))


def may_be_shown(judge: ModelCard, options: RoutingOptions, caller: Caller) -> bool:
    """Whether the judge may read the request: its key allows that model, and its own lists do not
    leave it out."""
    names = {judge.name, judge.base}
    if options.exclude is not None and not names.isdisjoint(options.exclude):
        return False
    if options.models is not None and names.isdisjoint(options.models):
        return False
    return may_use(caller, judge)


def is_sampled(request_id: str, share: float) -> bool:
    """Whether this request is among the share. Every gateway gives the same answer."""
    digest = hashlib.blake2b(request_id.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") < share * 2**64


def repeated_body(body: Mapping[str, Any]) -> dict[str, Any]:
    """What of a request in the form of chat completions is asked again."""
    return {name: body[name] for name in _REPEATED if body.get(name) is not None}


def is_short_text(messages: object) -> bool:
    """Whether messages are all text, not too long for a judge, and not part of a tool loop."""
    if not isinstance(messages, Sequence) or not messages:
        return False
    size = 0
    for message in messages:
        text = _text_of(message)
        if text is None:
            return False
        size += len(text)
    return size <= _MOST_CHARS


def _text_of(message: object) -> str | None:
    """The text of a message; None where it holds anything else, or belongs to a tool loop."""
    if not isinstance(message, Mapping) or message.get("role") in ("tool", "function"):
        return None
    if message.get("tool_calls") or message.get("function_call"):
        return None
    content = message.get("content")
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        return None
    texts = [part.get("text") for part in content if _is_text(part)]
    return "".join(map(str, texts)) if len(texts) == len(content) else None


def _is_text(part: object) -> bool:
    return isinstance(part, Mapping) and part.get("type") == "text"
