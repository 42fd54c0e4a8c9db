"""Encodes an error in Anthropic's envelope, for clients that speak its API."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

_ERROR_TYPES: Final = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
}


# Error types that say more than the status, and by which Anthropic's clients decide what to do.
_TELLING: Final = frozenset({"overloaded_error", "billing_error"})


def error_body(status: int, error: Mapping[str, Any], request_id: str) -> dict[str, Any]:
    """OpenAI's error object in Anthropic's envelope. Its fields beside type and message are
    kept."""
    kind = _ERROR_TYPES.get(status, "invalid_request_error" if status < 500 else "api_error")
    if error.get("type") in _TELLING:
        kind = error["type"]
    return {"type": "error", "error": {**error, "type": kind}, "request_id": request_id}
