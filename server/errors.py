"""The errors that callers receive, in OpenAI's envelope, with their HTTP statuses.

ApiError
├── InvalidRequestError   400  param names the field; also conflicting_routing_options and others
├── AuthenticationError   401
├── ForbiddenError        403
├── MisconfiguredOriginError  403
├── NotFoundError         404
├── ConflictError         409
├── RequestTimeoutError   408
├── RequestTooLargeError  413
├── RateLimitedError      429  with Retry-After
├── BudgetExhaustedError  429  with Retry-After
│   └── SessionSpentError      without Retry-After where the money is spent for good
├── OverloadedError       503  with Retry-After
├── UpstreamFailedError   502 or 504
└── PassedThroughError    a provider's own refusal of the caller's request
"""

from __future__ import annotations

import math
from decimal import Decimal
from typing import Any, Final

from router.errors import (
    ContextFullError,
)
from server.wire import context_full

# The seconds that clients accept in a Retry-After header.
_SOON_S: Final = 60.0
# Anthropic's error type after which its clients wait and retry.
OVERLOADED: Final = "overloaded_error"


class ApiError(Exception):
    """An error response. It is raised anywhere below an endpoint and turned into HTTP by the app.

    anthropic_type: its error type on /v1/messages, where it does not follow from the status.
    for_anthropics: the inner error object there, where it differs.
    """

    status = 500
    type = "server_error"
    anthropic_type: str | None = None

    def __init__(self, message: str, *, code: str | None = None, param: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.param = param
        self.headers: dict[str, str] = {}

    @property
    def for_anthropics(self) -> dict[str, Any]:
        """The inner error object for Anthropic's clients, before its type is set."""
        inside: dict[str, Any] = self.body["error"]
        return inside if self.anthropic_type is None else inside | {"type": self.anthropic_type}

    @property
    def body(self) -> dict[str, Any]:
        """OpenAI's error envelope."""
        error = {"message": self.message, "type": self.type, "param": self.param, "code": self.code}
        return {"error": error}


class InvalidRequestError(ApiError):
    """The request cannot be served as it is."""

    status = 400
    type = "invalid_request_error"

    def __init__(
        self, message: str, *, param: str | None = None, code: str = "invalid_request"
    ) -> None:
        super().__init__(message, code=code, param=param)


class AuthenticationError(ApiError):
    """The request has no key, or one that is unknown."""

    status = 401
    type = "authentication_error"

    def __init__(self, found: str = "") -> None:
        """found: what was sent in place of a key, and what to do about it."""
        super().__init__(
            "The API key is missing, unknown or expired. Send it as: Authorization: Bearer KEY"
            + (f". {found}" if found else ""),
            code="invalid_api_key",
        )
        self.headers["www-authenticate"] = "Bearer"


class ForbiddenError(ApiError):
    """The key is valid, but does not permit this."""

    status = 403
    type = "permission_error"

    def __init__(self, message: str = "This needs an admin key.") -> None:
        super().__init__(message, code="admin_key_required")


class MisconfiguredOriginError(ApiError):
    """No key is configured, and the request comes from another machine or page, or uses a foreign
    host name. found: what showed it."""

    status = 403
    type = "permission_error"

    def __init__(self, found: str) -> None:
        super().__init__(
            "Without API keys, this server answers only programs and web pages on its own "
            "machine. Call it as http://127.0.0.1 or http://localhost, from a page there or from "
            "no page. This "
            f"request has {found}. To serve others, configure a key under auth.keys.",
            code="misconfigured_origin",
        )
        # The rest of the request is not read.
        self.headers["connection"] = "close"


class ConflictError(ApiError):
    """The object exists already."""

    status = 409
    type = "invalid_request_error"

    def __init__(self, message: str, *, code: str | None = None, param: str | None = None) -> None:
        super().__init__(message, code=code, param=param)
        # Clients retry after a 409, but the object will still exist.
        self.headers["x-should-retry"] = "false"


class NotFoundError(ApiError):
    """There is no such model or object.."""

    status = 404
    type = "invalid_request_error"


class RequestTooLargeError(ApiError):
    """The body is larger than limits.max_body_bytes."""

    status = 413
    type = "invalid_request_error"

    def __init__(self, limit_bytes: int, when: str = "") -> None:
        said = f" when it is {when}" if when else ""
        super().__init__(
            f"The body is larger than the limit of {limit_bytes} bytes{said}.",
            code="request_too_large",
        )
        # The rest of the body is not read.
        self.headers["connection"] = "close"


class UnsupportedEncodingError(InvalidRequestError):
    """The body has a content encoding that is not supported."""

    status = 415

    def __init__(self, known: str) -> None:
        super().__init__(
            "content-encoding: this encoding is not supported. Send the body without one, or "
            f"with one of: {known}.",
            code="unsupported_content_encoding",
        )
        self.headers["accept-encoding"] = known


class UpgradeRequiredError(InvalidRequestError):
    """The request asks for a WebSocket."""

    status = 426

    def __init__(self) -> None:
        super().__init__(
            "WebSockets are not supported. Send POST requests.", code="upgrade_required"
        )
        self.headers |= {"upgrade": "HTTP/1.1", "connection": "close"}


class RequestTimeoutError(ApiError):
    """The body did not arrive within limits.body_timeout_s."""

    status = 408
    type = "invalid_request_error"

    def __init__(self, limit_s: float) -> None:
        message = f"The request body did not arrive within {limit_s:g} seconds."
        super().__init__(message, code="request_timeout")
        self.headers["connection"] = "close"


class RateLimitedError(ApiError):
    """Every model that could answer is rate-limited for a while, or this key has used up its limit
    per minute. limit: the key's limit. told: the providers' messages."""

    status = 429
    type = "rate_limit_error"

    def __init__(self, retry_after_s: float, limit: str | None = None, told: str = "") -> None:
        said = f"Every provider that could answer has reached its rate limit. {told}".strip()
        if limit is not None:
            said = f"Rate limit of {limit} per minute exceeded for this key."
        super().__init__(said, code="rate_limit_exceeded")
        self.headers["retry-after"] = _whole_seconds(retry_after_s)


class BudgetExhaustedError(ApiError):
    """The possible cost of a request exceeds what is left of a window budget. retry_after_s: None
    where it is unknown which window is short."""

    status = 429
    type = "rate_limit_error"

    def __init__(self, message: str, retry_after_s: float | None = None) -> None:
        super().__init__(message, code="budget_exhausted")
        if retry_after_s is not None:
            self.headers["retry-after"] = _whole_seconds(retry_after_s)
            if retry_after_s > _SOON_S:
                # Clients do not wait that long; they would retry at once instead.
                self.headers["x-should-retry"] = "false"


class SessionSpentError(BudgetExhaustedError):
    """The possible cost of a request exceeds what is left of its session's budget. cost: in words.
    is_soon: whether other requests in progress hold enough money. is_of_key: whether the budget is
    the ceiling of the key, which no header exceeds."""

    def __init__(
        self,
        spent_usd: Decimal,
        budget_usd: Decimal,
        cost: str,
        *,
        is_soon: bool,
        is_of_key: bool = False,
    ) -> None:
        spent, budget = f"{spent_usd.normalize():f}", f"{budget_usd.normalize():f}"
        left = f"{max(Decimal(0), budget_usd - spent_usd).normalize():f}"
        raised = "session_budget_usd of the key" if is_of_key else "X-Session-Budget"
        said = (
            "Other requests of the session have reserved the rest. Try again soon."
            if is_soon
            else f"Raise {raised}, lower the output limit or start another session."
        )
        super().__init__(
            f"This session has spent {spent} USD of its budget of {budget} USD; this request "
            f"could cost {cost}. {said}",
            1.0 if is_soon else None,
        )
        self.headers |= {"x-p2l-session-cost-usd": spent, "x-p2l-session-left-usd": left}
        if not is_soon:
            # A session does not get its money back: sending the same request again is of no use.
            self.headers["x-should-retry"] = "false"


class OverloadedError(ApiError):
    """More requests are in progress than this process accepts."""

    status = 503
    type = "server_error"

    def __init__(self, message: str, retry_after_s: float = 1.0) -> None:
        super().__init__(message, code="overloaded")
        self.headers["retry-after"] = _whole_seconds(retry_after_s)


class UpstreamFailedError(ApiError):
    """Every attempt failed, or every model that could be tried has failed too often recently."""

    type = "upstream_error"

    def __init__(
        self, message: str, *, timed_out: bool, retry_after_s: float | None = None
    ) -> None:
        super().__init__(message, code="upstream_timeout" if timed_out else "upstream_error")
        self.status = 504 if timed_out else 502
        if retry_after_s is not None:
            self.headers["retry-after"] = _whole_seconds(retry_after_s)


class PassedThroughError(ApiError):
    """A provider's own 4xx response to the caller's request; its envelope is kept."""

    def __init__(self, status: int, envelope: dict[str, Any]) -> None:
        super().__init__("The provider refused the request.")
        self.status = status
        self._envelope = envelope

    @property
    def body(self) -> dict[str, Any]:
        return self._envelope


class ContextFullApiError(InvalidRequestError):
    """The conversation is too long for every model that could answer."""

    def __init__(self, error: ContextFullError) -> None:
        message = context_full.for_openais(error.needed, error.window)
        super().__init__(message, param="messages", code=context_full.CODE)
        self._for_anthropics = context_full.for_anthropics(error.needed, error.window)
        # Sending the same request again is of no use.
        self.headers["x-should-retry"] = "false"

    @property
    def for_anthropics(self) -> dict[str, Any]:
        return super().for_anthropics | {"message": self._for_anthropics}


class ContextRefusedError(PassedThroughError):
    """A provider reports that the conversation is too long for its model."""

    def __init__(self, envelope: dict[str, Any]) -> None:
        self._said = envelope["error"]
        super().__init__(400, {"error": context_full.said_for_openais(self._said)})
        self.headers["x-should-retry"] = "false"

    @property
    def for_anthropics(self) -> dict[str, Any]:
        return context_full.said_for_anthropics(self._said)


def _whole_seconds(seconds: float) -> str:
    return str(max(1, math.ceil(seconds)))
