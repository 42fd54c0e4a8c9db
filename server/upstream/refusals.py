"""Finds out which refusals concern the model, and not the caller's request.

A routed caller cannot know which model will receive the request. Where a provider refuses it
because of the model (it does not exist, the account may not use it, it does not accept a parameter,
the prompt is too long for it, the provider filters the content), another model can still answer.

The patterns come from the providers' references and from observed messages of their servers.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Final


class Refusal(StrEnum):
    """The reason for which a model cannot serve a request.

    MODEL: it does not exist here, or no more. ACCESS: this account may not use it. QUOTA: the
    account has no credit. PARAMETER: it does not accept a field, a value or a kind of tool.
    CONTEXT: the prompt is too long for it. CONTENT: the provider's filter stops the content.
    """

    MODEL = "model"
    ACCESS = "access"
    QUOTA = "quota"
    PARAMETER = "parameter"
    CONTEXT = "context"
    CONTENT = "content"


# Refusals that the next request to the model would meet as well, until an operator changes
# something.
LASTING: Final = frozenset({Refusal.MODEL, Refusal.ACCESS})
# The seconds for which a model rests whose account has no credit: somebody has to pay first.
QUOTA_REST_S: Final = 300.0

_CODES: Final[Mapping[str, Refusal]] = {
    "model_not_found": Refusal.MODEL,
    "model_decommissioned": Refusal.MODEL,
    "deploymentnotfound": Refusal.MODEL,
    "model_not_available": Refusal.ACCESS,
    "model_permission_denied": Refusal.ACCESS,
    "insufficient_quota": Refusal.QUOTA,
    "billing_hard_limit_reached": Refusal.QUOTA,
    "billing_not_active": Refusal.QUOTA,
    "billing_error": Refusal.QUOTA,
    "unsupported_parameter": Refusal.PARAMETER,
    "unsupported_value": Refusal.PARAMETER,
    "unknown_parameter": Refusal.PARAMETER,
    "integer_above_max_value": Refusal.PARAMETER,
    "extra_forbidden": Refusal.PARAMETER,
    "array_above_max_length": Refusal.PARAMETER,
    "string_above_max_length": Refusal.PARAMETER,
    "decimal_above_max_value": Refusal.PARAMETER,
    "integer_below_min_value": Refusal.PARAMETER,
    "invalid_function_parameters": Refusal.PARAMETER,
    "invalid_json_schema": Refusal.PARAMETER,
    "context_length_exceeded": Refusal.CONTEXT,
    "request_too_large": Refusal.CONTEXT,
    "exceed_context_size_error": Refusal.CONTEXT,
    "content_filter": Refusal.CONTENT,
    "content_policy_violation": Refusal.CONTENT,
    "responsibleaipolicyviolation": Refusal.CONTENT,
    "data_inspection_failed": Refusal.CONTENT,
    "moderation_blocked": Refusal.CONTENT,
    "sensitive_content": Refusal.CONTENT,
    "image_content_policy_violation": Refusal.CONTENT,
    "bio_policy": Refusal.CONTENT,
    "misalignment_policy_violation": Refusal.CONTENT,
}
# The first pattern that matches the message counts: a message about credit or about a filter may
# contain words of the other reasons as well.
_WORDS: Final[tuple[tuple[Refusal, re.Pattern[str]], ...]] = tuple(
    (refusal, re.compile(pattern, re.IGNORECASE))
    for refusal, pattern in (
        (
            Refusal.QUOTA,
            r"credit balance|insufficient (balance|credits?|quota|funds)|out of credits?|"
            r"(key|credit|spending) limit (exceeded|reached)|requires more credits",
        ),
        (
            Refusal.CONTENT,
            r"content (management|filtering|usage) policy|content exists risk|"
            r"flagged (by|as|for)|input was flagged|data may contain inappropriate|"
            r"blocked by .{0,40}(filter|safety|policy)|safety (system|filter|policy)|"
            r"sensitive (content|words?)",
        ),
        (
            Refusal.CONTEXT,
            r"(maximum|max) context|context (length|window|limit|size)|prompt is too long|"
            r"(prompt|input|messages?)\b.{0,40}\b(too long|too large)|too many (input )?tokens|"
            r"(input|prompt) tokens? (count|limit)|maximum number of (input )?tokens|"
            r"reduce the length|request too large for model|"
            r"max(imum)? (prompt|input) length|prompt exceeds|exceeded model token limit|"
            r"exceeds maximum allowed input length|range of input length should be",
        ),
        (
            Refusal.MODEL,
            r"\bmodels?\b.{0,120}\b(not found|not exist|unknown|retired|decommissioned|"
            r"discontinued|shut down|no longer (available|supported|offered)|has been deprecated)|"
            r"(invalid|unknown|no such|nonexistent) model|not a valid model|model not exist|"
            r"(could not find|no) (the )?(model|deployment)\b",
        ),
        (
            Refusal.ACCESS,
            r"(not have|without|no|denied) (access|permission)|access (to|denied)\b|"
            r"not (authorized|entitled|allowed) to (use|access)|must be verified|"
            r"not available (in|for) your|not been enabled",
        ),
        (
            Refusal.PARAMETER,
            r"unsupported|not (currently )?supported|(does|do) not (support|accept|allow)|"
            r"doesn't support|only supports?\b|deprecated for this model|"
            r"extra (inputs|fields)|unrecognized|"
            r"unknown (parameter|name|field|argument|tool)|"
            r"unexpected (keyword|field|parameter|argument)|"
            r"does not match any of the expected tags|supported values are|"
            # Each vendor has its own rules for schemas, names, ids, lengths and images.
            r"invalid schema|schema is invalid|match (the )?pattern|must be unique|"
            r"duplicate function|(maximum|max) length|at most \d+ (items|characters|elements)|"
            r"(should|must) be (less|greater) than|prefill|end with a user (message|turn)|"
            r"maximum of \d+ blocks|media type|mime type|"
            r"max_(completion_|output_)?tokens\b.{0,80}(>|too large|at most|maximum|exceed|"
            r"less than|greater than|above|larger)|"
            r"(cannot|may not|can not|may only) be (used|set|specified|enabled|combined)",
        ),
    )
)
_CLIENT_ERRORS: Final = frozenset({400, 402, 403, 404, 413, 422})


def refusal_of(status: int, error: Mapping[str, Any]) -> Refusal | None:
    """The reason of a provider's refusal; None where the request itself is at fault, or where the
    reason is unknown. error: the object inside OpenAI's envelope."""
    if status not in _CLIENT_ERRORS and status != 429:
        return None
    told = _by_code(error)
    if told is None and status != 429:
        told = _by_words(_message(error))
    if status == 402:
        return Refusal.QUOTA
    if status == 429:
        return told if told is Refusal.QUOTA else None
    if status == 403 and told in (Refusal.PARAMETER, Refusal.CONTEXT):
        return Refusal.ACCESS
    return told


def _by_code(error: Mapping[str, Any]) -> Refusal | None:
    inner = error.get("innererror")
    places = (error, inner if isinstance(inner, Mapping) else {})
    for said in places:
        for name in ("code", "type"):
            found = _CODES.get(str(said.get(name)).lower())
            if found is not None:
                return found
    return None


def _by_words(message: str) -> Refusal | None:
    for refusal, pattern in _WORDS:
        if pattern.search(message):
            return refusal
    return None


def _message(error: Mapping[str, Any]) -> str:
    # The beginning is sufficient; the rest can quote the prompt at any length.
    return str(error.get("message") or "")[:2000]
