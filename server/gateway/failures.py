"""Maps failures of routing, scoring and providers to the errors that a caller receives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from p2l_model.errors import ScoringError
from router.errors import (
    BudgetInfeasibleError,
    CeilingInfeasibleError,
    ConstraintsInfeasibleError,
    ContextFullError,
    InvalidRoutingError,
    NoEligibleModelError,
    RouterError,
    WindowExhaustedError,
)
from server.errors import (
    OVERLOADED,
    ApiError,
    BudgetExhaustedError,
    ContextFullApiError,
    ContextRefusedError,
    InvalidRequestError,
    OverloadedError,
    PassedThroughError,
    RateLimitedError,
    UpstreamFailedError,
)
from server.health import Resting
from server.upstream.errors import (
    UpstreamBusyError,
    UpstreamError,
    UpstreamModelRefusedError,
    UpstreamRateLimitedError,
    UpstreamRejectedError,
    UpstreamTimeoutError,
)
from server.upstream.refusals import Refusal

# The options and rules that leave fewer models to choose from.
_NARROWING: Final = ("models", "private", "exclude")


def from_router(error: RouterError, named: Mapping[str, str] | None = None) -> ApiError:
    """A refusal by the router as an error that the caller can act on. named: maps an option or rule
    to the header, field or configuration key that set it."""
    said = named or {}
    if isinstance(error, CeilingInfeasibleError):
        return InvalidRequestError(str(error), code="budget_infeasible")
    if isinstance(error, BudgetInfeasibleError):
        budget = said.get("budget_usd", "X-Cost-Budget")
        return InvalidRequestError(str(error), param=budget, code="budget_infeasible")
    if isinstance(error, ConstraintsInfeasibleError):
        rows = said.get("constraints", "model")
        return InvalidRequestError(str(error), param=rows, code="no_eligible_model")
    if isinstance(error, ContextFullError):
        return ContextFullApiError(error)
    if isinstance(error, NoEligibleModelError):
        narrowed = next((said[name] for name in _NARROWING if name in said), "model")
        return InvalidRequestError(str(error), param=narrowed, code="no_eligible_model")
    if isinstance(error, WindowExhaustedError):
        return BudgetExhaustedError(str(error))
    if isinstance(error, InvalidRoutingError):
        return InvalidRequestError(str(error), param=said.get(error.rule or ""))
    return ApiError("The router could not decide which model to ask.", code="internal_error")


def from_scoring(_: ScoringError) -> ApiError:
    """The error where scoring failed and the configuration forbids routing without a score."""
    return OverloadedError("The prompt could not be scored.")


def from_upstreams(failures: Mapping[str, UpstreamError]) -> ApiError:
    """The error where all attempts failed. The argument maps model names to failures, in order."""
    errors = list(failures.values())
    if isinstance(errors[-1], UpstreamRejectedError):
        return PassedThroughError(errors[-1].status, errors[-1].body)
    refusal = _common_refusal(errors)
    if refusal is not None:
        return _refused(refusal)
    waits = [e.retry_after_s for e in errors if e.retry_after_s is not None]
    told = "; ".join(f"{model}: {with_words(error)}" for model, error in failures.items())
    if all(isinstance(error, UpstreamRateLimitedError) for error in errors):
        return RateLimitedError(min(waits, default=1.0), told=told)
    if all(isinstance(error, UpstreamBusyError) for error in errors):
        return OverloadedError(f"Every provider that could answer is busy. {told}")
    timed_out = all(isinstance(error, UpstreamTimeoutError) for error in errors)
    failed = UpstreamFailedError(
        f"All attempts failed. {told}", timed_out=timed_out, retry_after_s=min(waits, default=None)
    )
    if all(error.said is not None and error.said.overloaded for error in errors):
        failed.type = failed.anthropic_type = OVERLOADED
    return failed


def with_words(error: UpstreamError) -> str:
    """The failure with the provider's own message, where there is one. Must not be logged."""
    if error.said is None:
        return error.message
    return f'{error.message}: "{error.said.words}"'


def _common_refusal(errors: Sequence[UpstreamError]) -> UpstreamModelRefusedError | None:
    """The first refusal that the caller can act on, where every model has refused the request."""
    refusals = [error for error in errors if isinstance(error, UpstreamModelRefusedError)]
    if len(refusals) < len(errors):
        return None
    return next((refusal for refusal in refusals if refusal.is_about_the_request), None)


def _refused(refusal: UpstreamModelRefusedError) -> ApiError:
    # Status 413 concerns the size in bytes, and has its own message.
    if refusal.refusal is Refusal.CONTEXT and refusal.status != 413:
        return ContextRefusedError(refusal.body)
    return PassedThroughError(refusal.status, refusal.body)


def from_resting(resting: Mapping[str, Resting]) -> ApiError:
    """The error where only resting models could answer."""
    wait_s = min(rest.wait_s for rest in resting.values())
    if all(rest.rate_limited for rest in resting.values()):
        return RateLimitedError(wait_s)
    told = "; ".join(f"{model}: {rest.reason}" for model, rest in resting.items())
    return UpstreamFailedError(
        f"Every model that could answer is resting after failures. {told}",
        timed_out=all(rest.timed_out for rest in resting.values()),
        retry_after_s=wait_s,
    )
