"""Conversations that a provider shortens itself: POST /v1/responses/compact."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from server.upstream.errors import UpstreamModelRefusedError
from server.upstream.refusals import Refusal
from server.upstream.wire import envelope

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
