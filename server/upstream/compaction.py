"""Compaction of conversations: by a provider that offers it, or by any model as a summary that is
sealed here and can be read by all models that follow."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from server.upstream.errors import UpstreamModelRefusedError
from server.upstream.refusals import Refusal
from server.upstream.seal import sealed, unsealed
from server.upstream.wire import envelope

# The instruction for a model whose provider does not offer compaction.
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
    """The error for a provider's refusal, where it means that it does not offer compaction; None
    where it means something else. body: that of the refusal."""
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
    """A summary in the form that a caller keeps: the encrypted content of a compaction item."""
    return sealed([{"type": _KIND, "text": text}])


def told_summary(item: Mapping[str, Any]) -> str | None:
    """The text that tells the next model of a compaction made here; None for a provider's own
    compaction."""
    for kept in unsealed(item.get("encrypted_content")):
        if kept.get("type") == _KIND and isinstance(kept.get("text"), str):
            return _TOLD + str(kept["text"])
    return None
