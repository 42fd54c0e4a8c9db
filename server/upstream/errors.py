"""What can go wrong at a provider. Each leaf is something the gateway treats differently.

UpstreamError
├── UpstreamRejectedError      the caller's request is at fault: pass the answer through
├── UpstreamRateLimitedError   429: leave the model alone for retry_after_s, try another
├── UpstreamUnavailableError   ours or the provider's fault: try another
├── UpstreamBusyError          as many requests are with it as it may have: try another
├── UpstreamTimeoutError       no connection, no first byte or silence for too long: try another
└── UpstreamStreamBrokenError  failed after the first event: too late for another

No message holds a key, a prompt or text of the provider's that might quote one; its own words
stand in `said`, which is for the caller alone.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime
from enum import Enum, auto
from typing import Any, Final

from server.upstream.said import Said

_CALLERS_FAULT: Final = frozenset({400, 404, 413, 422})
# About the operator's key or account: what is said of it is not for callers.
_OPERATORS: Final = frozenset({401, 402, 403})
_PASSING: Final = frozenset({408, 409, 500, 502, 503, 504, 529})


class Stage(Enum):
    """How far a request came. Only one that was sent may be billed."""

    WAITING = auto()  # for one of the provider's places: nothing was sent
    CONNECTING = auto()  # the provider was not reached: name, connection or TLS failed
    SENT = auto()


class Progress:
    """How far a request has come, for whoever gives it up: what was never sent is not billed."""

    stage = Stage.WAITING


class UpstreamError(Exception):
    """Base. status: the provider's HTTP status, None where there was none.
    retry_after_s: seconds the provider asked to be left alone. said: its own words, not for
    logs."""

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        retry_after_s: float | None = None,
        stage: Stage = Stage.SENT,
        said: Said | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.status = status
        self.retry_after_s = retry_after_s
        self.stage = stage
        self.said = said

    @property
    def is_retryable(self) -> bool:
        """Whether the same model may be asked again at once: it did not answer, is not billed for
        it, and did not ask to be left alone."""
        return False


class UpstreamRejectedError(UpstreamError):
    """The provider refused the request for what the caller asked (400, 404, 413, 422).

    body: OpenAI's envelope `{"error": {...}}` to pass through. It may quote the prompt: not for
    logs.
    """

    status: int

    def __init__(self, message: str, *, status: int, body: dict[str, Any]) -> None:
        super().__init__(message, status=status)
        self.body = body


class UpstreamRateLimitedError(UpstreamError):
    """The provider said 429."""


class UpstreamUnavailableError(UpstreamError):
    """The provider cannot answer: its failure, our key or model name, or a garbled answer."""

    @property
    def is_retryable(self) -> bool:
        # 200: an answer that could not be read may be billed
        return self.retry_after_s is None and (self.status is None or self.status in _PASSING)


class UpstreamBusyError(UpstreamError):
    """No place among the provider's max_concurrency became free in time: nothing was sent."""


class UpstreamTimeoutError(UpstreamError):
    """The provider took too long to connect, to begin, to go on or to end."""


class UpstreamStreamBrokenError(UpstreamError):
    """A stream failed after its first event: cut, malformed, silent or without an end."""


def error_for_status(
    provider: str,
    status: int,
    *,
    envelope: dict[str, Any],
    retry_after_s: float | None = None,
    model_missing: bool = False,
    said: Said | None = None,
) -> UpstreamError:
    """The leaf for a provider's answer that is not 200.

    envelope: the error in OpenAI's form, passed through where the caller is at fault.
    model_missing: a 404 that says the provider has no such model, which is our fault. said: its
    own words.
    """
    message = f"{provider} answered with status {status}"
    if status == 429:
        return UpstreamRateLimitedError(
            message, status=status, retry_after_s=retry_after_s, said=said
        )
    if status == 404 and model_missing:
        return UpstreamUnavailableError(
            f"{provider} does not have the model", status=status, said=said
        )
    if status in _CALLERS_FAULT:
        return UpstreamRejectedError(message, status=status, body=envelope)
    return UpstreamUnavailableError(
        message,
        status=status,
        retry_after_s=retry_after_s,
        said=None if status in _OPERATORS else said,
    )


def parse_retry_after_s(headers: Mapping[str, str], now_s: float) -> float | None:
    """Seconds to wait by `retry-after-ms` or `retry-after` (seconds or an HTTP date), or None.

    headers: with lower-case names. now_s: Unix time.
    """
    milliseconds = _seconds(headers.get("retry-after-ms"))
    if milliseconds is not None:
        return milliseconds / 1000.0
    value = headers.get("retry-after")
    seconds = _seconds(value)
    if seconds is not None or value is None:
        return seconds
    try:
        date = parsedate_to_datetime(value)
    except ValueError:
        return None
    if date.tzinfo is None:
        date = date.replace(tzinfo=UTC)
    return max(0.0, date.timestamp() - now_s)


def _seconds(value: str | None) -> float | None:
    try:
        number = float(value) if value is not None else math.nan
    except ValueError:
        return None
    return max(0.0, number) if math.isfinite(number) else None
