"""Converts OpenAI's reasoning_effort to Anthropic's settings for thinking."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Final

from server.model_facts import ModelFacts
from server.upstream.dialect import InexpressibleError


class Thinking(StrEnum):
    """How a model is told to think. NONE: it does not think; BUDGET: by a number of tokens;
    ADAPTIVE: by an effort, and it decides itself when to think."""

    NONE = "none"
    BUDGET = "budget"
    ADAPTIVE = "adaptive"


# Thinking budgets as shares of the output cap, from OpenRouter's reference.
_SHARES: Final[Mapping[str, float]] = {
    "minimal": 0.1,
    "low": 0.2,
    "medium": 0.5,
    "high": 0.8,
    "xhigh": 0.95,
    "max": 0.95,
}
_EFFORTS: Final[Mapping[str, str]] = {"minimal": "low"}
# The beta with which a thinking budget may exceed the output cap.
_INTERLEAVED: Final = "interleaved-thinking"
_LEAST_BUDGET: Final = 1024
_MOST_BUDGET: Final = 32_000


def thinking_of(facts: ModelFacts) -> Thinking:
    """The style by the facts about a model; an unknown model is treated as a new one."""
    thinking = facts.thinking
    if thinking.use == "never":
        return Thinking.NONE
    by_budget = "budget" in thinking.kinds and "adaptive" not in thinking.kinds
    return Thinking.BUDGET if by_budget else Thinking.ADAPTIVE


def thinking_fields(
    effort: str, style: Thinking, max_tokens: int, off: str = "disabled"
) -> dict[str, Any]:
    """`thinking` and `output_config` for an effort. off: how the model is told not to think, see
    model_facts.Thinking.off. Raises InexpressibleError."""
    if effort not in _SHARES and effort != "none":
        raise InexpressibleError(f"reasoning_effort {effort[:20]!r}")
    if style is Thinking.NONE:
        if effort != "none":
            raise InexpressibleError("reasoning_effort: the model does not think")
        return {}
    if effort == "none":
        if off in ("cannot", "omitted"):
            # The model thinks only when it is asked to, or in any case.
            return {}
        return {"thinking": {"type": off if off == "between_tools" else "disabled"}}
    if style is Thinking.ADAPTIVE:
        # Without `display`, the newest models leave their reasoning out of the answer.
        thinking = {"type": "adaptive", "display": "summarized"}
        return {"thinking": thinking, "output_config": {"effort": _EFFORTS.get(effort, effort)}}
    budget = min(_MOST_BUDGET, max(_LEAST_BUDGET, int(max_tokens * _SHARES[effort])))
    if budget >= max_tokens:
        raise InexpressibleError(
            f"reasoning_effort within an output cap of {max_tokens}: thinking takes at least "
            f"{_LEAST_BUDGET} tokens"
        )
    return {"thinking": {"type": "enabled", "budget_tokens": budget}}


def budget_of(thinking: object) -> int:
    """The token budget of a `thinking` object; 0 where it has none."""
    if not isinstance(thinking, Mapping) or thinking.get("type") != "enabled":
        return 0
    budget = thinking.get("budget_tokens")
    return budget if isinstance(budget, int) and not isinstance(budget, bool) else 0


def tokens_within_cap(thinking: object, betas: str | None) -> int:
    """How many tokens of max_tokens a Messages body's `thinking` takes; max_tokens must be larger.
    betas: the anthropic-beta header."""
    return 0 if _INTERLEAVED in (betas or "") else budget_of(thinking)


def least_thinking(body: Mapping[str, Any], sent: Mapping[str, Any]) -> int:
    """The least number of tokens that thinking takes of the output cap of a chat-completions body:
    the caller's own budget is kept, one made from an effort shrinks with the cap. sent: the
    translated body."""
    own = budget_of(body.get("thinking"))
    return own or (_LEAST_BUDGET if budget_of(sent.get("thinking")) else 0)
