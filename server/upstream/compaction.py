"""Conversations that are shortened: by a provider that has a way of its own, or by any model, as a
summary that is sealed here and can be read by all that come after."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from server.upstream.errors import UpstreamModelRefusedError
from server.upstream.refusals import Refusal
from server.upstream.seal import sealed, unsealed
from server.upstream.wire import envelope

# What a model is asked that has no way of its own.
ASK: Final = (
    "The conversation has become too long and goes on elsewhere, without what was said so far. "
    "Write what whoever goes on with it has to know: what the user wants, in their own words where "
    "they matter; what has been decided and done; the state of the work, with names of files, "
    "commands and what came of them; what is left to do, and the next step. Call no tools, and "
    "write nothing but this."
)
_TOLD: Final = "This is what was said so far, in short:\n\n"
_KIND: Final = "p2l.summary"
_NO_SUCH_PATH: Final = frozenset({404, 405})
_ABOUT_MODELS: Final = frozenset({"model_not_found", "DeploymentNotFound"})


def not_offered(
    provider: str, status: int, body: Mapping[str, Any] | None
) -> UpstreamModelRefusedError | None:
    """What a refusal means that a provider without it gives; None where it means something else.
    body: of the refusal."""
    error = None if body is None else body.get("error")
    code = error.get("code") if isinstance(error, Mapping) else None
    if status not in _NO_SUCH_PATH or code in _ABOUT_MODELS:
        return None
    return UpstreamModelRefusedError(
        f"{provider} has no /v1/responses/compact",
        status=status,
        refusal=Refusal.PARAMETER,
        body=envelope(
            "The model's provider has no /v1/responses/compact: let the client shorten the "
            "conversation itself.",
            code="compaction_not_available",
        ),
    )


def kept_summary(text: str) -> str:
    """A summary as a caller keeps it: the encrypted content of a compaction."""
    return sealed([{"type": _KIND, "text": text}])


def told_summary(item: Mapping[str, Any]) -> str | None:
    """The words in which the next model is told of a conversation that was shortened here; None for
    a compaction of a provider's own."""
    for kept in unsealed(item.get("encrypted_content")):
        if kept.get("type") == _KIND and isinstance(kept.get("text"), str):
            return _TOLD + str(kept["text"])
    return None
