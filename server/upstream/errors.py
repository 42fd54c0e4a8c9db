"""The errors of providers. The gateway treats each leaf class differently.

UpstreamError
├── UpstreamRejectedError      the caller's request is at fault: pass the answer through
├── UpstreamModelRefusedError  the model does not accept this request: try another
├── UpstreamRateLimitedError   429: leave the model alone for retry_after_s, try another
├── UpstreamUnavailableError   our fault or the provider's: try another
├── UpstreamBusyError          the provider has as many requests as are allowed: try another
├── UpstreamTimeoutError       no connection, no first byte or silence for too long: try another
└── UpstreamStreamBrokenError  failed after the first event: too late for another

No message holds a key, a prompt or a provider's text that might quote one; the provider's own
words are in `said`, which is for the caller alone.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime
from enum import Enum, auto
from typing import Any, Final

from server.upstream.refusals import LASTING, QUOTA_REST_S, Refusal, refusal_of
from server.upstream.said import Said, said_of

_CALLERS_FAULT: Final = frozenset({400, 404, 413, 422})
# Statuses about the operator's key or account: their messages are not for callers.
_OPERATORS: Final = frozenset({401, 402, 403})
# Messages of frameworks, proxies and providers for a path that they do not serve.
_NO_ENDPOINT: Final = re.compile(
    r"(?:404:?\s*)?(?:(?:page |resource |path |endpoint |route )?not found|invalid url\b.*"
    r"|cannot (?:post|get)\b.*|no (?:such )?(?:route|endpoint|path|handler)\b.*"
    r"|un(?:known|recognized) (?:request )?url\b.*|the requested (?:url|resource|path)\b.*"
    r"|(?:route|endpoint|path)\b.*\bnot (?:found|exist)\b.*)[.!]?",
    re.IGNORECASE | re.DOTALL,
)
# The longest wait that a caller is told: more of it is a mistake of the provider's.
_MOST_WAIT_S: Final = 86_400.0
_PASSING: Final = frozenset({408, 409, 500, 502, 503, 504, 529})


_REFUSED: Final[Mapping[Refusal, str]] = {
    Refusal.MODEL: "does not have the model",
    Refusal.ACCESS: "does not let this account use the model",
    Refusal.QUOTA: "says that the account has no credit left",
    Refusal.PARAMETER: "does not accept a parameter of the request for this model",
    Refusal.CONTEXT: "says that the prompt is too long for the model",
    Refusal.CONTENT: "filtered the content of the request",
}
# Errors in a stream, and errors inside a 200, have no status of their own.
_STATUS_OF_TYPE: Final[Mapping[str, int]] = {
    "overloaded_error": 529,
    "overloaded": 529,
    "server_is_overloaded": 503,
    "slow_down": 503,
    "unavailable": 503,
    "rate_limit_error": 429,
    "rate_limit_exceeded": 429,
    "insufficient_quota": 429,
    "resource_exhausted": 429,
    "too_many_requests": 429,
    "authentication_error": 401,
    "permission_error": 403,
    "not_found_error": 404,
    "invalid_request_error": 400,
    "invalid_argument": 400,
    "timeout_error": 504,
    "billing_error": 402,
    # The error of a failed response: the request is at fault.
    "invalid_prompt": 400,
    "invalid_image": 400,
    "invalid_image_format": 400,
    "invalid_base64_image": 400,
    "invalid_image_url": 400,
    "invalid_image_mode": 400,
    "image_too_large": 400,
    "image_too_small": 400,
    "image_parse_error": 400,
    "image_file_too_large": 400,
    "image_file_not_found": 400,
    "empty_image_file": 400,
    "unsupported_image_media_type": 400,
    "failed_to_download_image": 400,
}


class Stage(Enum):
    """How far a request has come. Only one that was sent may be billed."""

    WAITING = auto()  # waiting for one of the provider's places: nothing was sent
    CONNECTING = auto()  # the provider was not reached: name, connection or TLS failed
    SENT = auto()


class Progress:
    """How far a request has come, for those who may give it up: a request that was never sent is
    not billed. thinks: the model is expected to think for minutes before it answers. is_large: the
    body is encoded in a thread."""

    stage = Stage.WAITING
    thinks = False
    is_large = False


class UpstreamError(Exception):
    """The base class. status: the provider's HTTP status, None where there was none.
    retry_after_s: the seconds for which the provider asked not to be called. said: its own
    message, not for logs."""

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
        # What the answer reported nevertheless: its usage, in the form of a chat completion.
        self.reported: Mapping[str, Any] | None = None

    @property
    def is_retryable(self) -> bool:
        """Whether the same model may be asked again at once: it did not answer, does not bill for
        the attempt, and did not ask for a pause."""
        return False


class UpstreamRejectedError(UpstreamError):
    """The provider refused the request because of its content (400, 404, 413, 422).

    body: OpenAI's envelope `{"error": {...}}` to pass through. It may quote the prompt: not for
    logs.
    """

    status: int

    def __init__(self, message: str, *, status: int, body: dict[str, Any]) -> None:
        super().__init__(message, status=status)
        self.body = body


class UpstreamModelRefusedError(UpstreamError):
    """The provider refused the request because of the model: another one may answer it.

    refusal: the reason. body: OpenAI's envelope, for the caller where every model refuses. It may
    quote the prompt: not for logs.
    """

    status: int

    def __init__(
        self,
        message: str,
        *,
        status: int,
        refusal: Refusal,
        body: dict[str, Any],
        said: Said | None = None,
    ) -> None:
        rest_s = QUOTA_REST_S if refusal is Refusal.QUOTA else None
        # Messages about the operator's account are not for callers.
        words = None if refusal in (Refusal.ACCESS, Refusal.QUOTA) else said
        super().__init__(message, status=status, retry_after_s=rest_s, said=words)
        self.refusal = refusal
        self.body = body

    @property
    def lasts(self) -> bool:
        """Whether every further request to this model would be refused as well."""
        return self.refusal in LASTING

    @property
    def is_about_the_request(self) -> bool:
        """Whether the caller can do something about it."""
        return self.refusal in (Refusal.PARAMETER, Refusal.CONTEXT, Refusal.CONTENT)


class UpstreamRateLimitedError(UpstreamError):
    """The provider answered 429."""


class UpstreamUnavailableError(UpstreamError):
    """The provider cannot answer: it failed, our key or model name is wrong, or its answer is
    malformed."""

    @property
    def is_retryable(self) -> bool:
        # 200: an answer that could not be read may be billed.
        return self.retry_after_s is None and (self.status is None or self.status in _PASSING)


class UpstreamBusyError(UpstreamError):
    """No place among the provider's max_concurrency became free in time: nothing was sent."""


class UpstreamTimeoutError(UpstreamError):
    """The provider took too long to connect, to begin, to continue or to end."""


class UpstreamStreamBrokenError(UpstreamError):
    """A stream failed after its first event: cut off, malformed, silent or without an end."""


def error_for_status(
    provider: str,
    status: int,
    *,
    envelope: dict[str, Any],
    retry_after_s: float | None = None,
    model_missing: bool = False,
    said: Said | None = None,
) -> UpstreamError:
    """The error for a provider's answer that is not 200.

    envelope: the error in OpenAI's form, passed through where the caller is at fault.
    model_missing: a 404 which says that the provider has no such model, which is our fault. said:
    the provider's own message.
    """
    message = f"{provider} answered with status {status}"
    refusal = refusal_of(status, envelope["error"])
    if status == 407:
        message += ": a proxy on the way wants a login, as in http://USER:PASSWORD@HOST:PORT"
    if status == 429:
        if refusal is Refusal.QUOTA:
            retry_after_s = max(QUOTA_REST_S, retry_after_s or 0.0)
        return UpstreamRateLimitedError(
            message, status=status, retry_after_s=retry_after_s, said=said
        )
    if status == 404 and said is not None and _NO_ENDPOINT.fullmatch(said.words):
        return UpstreamUnavailableError(
            f"{provider} has nothing at this address (404): its base_url may be wrong (for most "
            "providers of kind openai it ends in /v1)",
            status=status,
            said=said,
        )
    if refusal is not None:
        message = f"{provider} {_REFUSED[refusal]}"
        return UpstreamModelRefusedError(
            message, status=status, refusal=refusal, body=envelope, said=said
        )
    if status == 404 and model_missing:
        return UpstreamUnavailableError(
            f"{provider} does not have the model, or its base_url is wrong",
            status=status,
            said=said,
        )
    if status in _CALLERS_FAULT:
        return UpstreamRejectedError(message, status=status, body=envelope)
    return UpstreamUnavailableError(
        message,
        status=status,
        retry_after_s=retry_after_s,
        said=None if status in _OPERATORS else said,
    )


def error_within(provider: str, error: Mapping[str, Any]) -> UpstreamError:
    """The error for one that a provider put into an answer which began with status 200.

    error: the object inside OpenAI's envelope, as `said.error_in` finds it.
    """
    status, said = _status_within(error), said_of(error)
    if status is None:
        message = f"{provider} sent an error inside its answer"
        return UpstreamUnavailableError(message, status=200, said=said)
    return error_for_status(provider, status, envelope={"error": dict(error)}, said=said)


def _status_within(said: Mapping[str, Any]) -> int | None:
    for name in ("status_code", "code", "type", "status"):
        value = said.get(name)
        if isinstance(value, str):
            value = int(value) if value.isascii() and value.isdigit() else value.lower()
        if isinstance(value, int) and not isinstance(value, bool) and 400 <= value < 600:
            return value
        if isinstance(value, str) and value in _STATUS_OF_TYPE:
            return _STATUS_OF_TYPE[value]
    return 400 if refusal_of(400, said) is not None else None


def parse_retry_after_s(headers: Mapping[str, str], now_s: float) -> float | None:
    """Seconds to wait by `retry-after-ms` or `retry-after` (seconds or an HTTP date), a day at
    most; None where neither can be read.

    headers: with lower-case names. now_s: Unix time.
    """
    milliseconds = _seconds(headers.get("retry-after-ms"))
    if milliseconds is not None:
        return min(milliseconds / 1000.0, _MOST_WAIT_S)
    value = headers.get("retry-after")
    seconds = _seconds(value)
    if seconds is not None:
        return min(seconds, _MOST_WAIT_S)
    if value is None:
        return None
    try:
        date = parsedate_to_datetime(value)
    except (ValueError, OverflowError):
        return None
    if date.tzinfo is None:
        date = date.replace(tzinfo=UTC)
    return min(max(0.0, date.timestamp() - now_s), _MOST_WAIT_S)


def _seconds(value: str | None) -> float | None:
    try:
        number = float(value) if value is not None else math.nan
    except ValueError:
        return None
    return max(0.0, number) if math.isfinite(number) else None
