"""Adapts the amount of thinking to what the model accepts.

An effort is a preference: a model that does not accept it is asked for the nearest one, or for none
in particular.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from server.adapting.draft import Draft
from server.model_facts import EFFORTS, Effort, ModelFacts

# The effort of a thinking budget in tokens: the lowest effort whose bound is at least the budget.
_EFFORT_UP_TO: Final[tuple[tuple[int, Effort], ...]] = (
    (2_048, "low"),
    (8_192, "medium"),
    (24_576, "high"),
    (48_000, "xhigh"),
)
_BUDGETS: Final[Mapping[Effort, int]] = {
    "minimal": 1_024,
    "low": 2_048,
    "medium": 8_192,
    "high": 16_384,
    "xhigh": 24_576,
    "max": 32_000,
}
_LEAST_BUDGET_TOKENS: Final = 1_024
_DEFAULT_EFFORT: Final[Effort] = "medium"
# Vendors whose models are controlled by an effort and do not accept a `thinking` object.
_BY_EFFORT: Final = frozenset({"openai", "google", "xai", "mistral"})
# Thinking.off -> the field of a chat completion, and its value.
_SWITCHES: Final[Mapping[str, tuple[str, Any]]] = {
    "disabled": ("thinking", {"type": "disabled"}),
    "toggle": ("enable_thinking", False),
}


def effort_named(value: object) -> Effort | None:
    """The effort of that name; None for any other value."""
    return next((effort for effort in EFFORTS if effort == value), None)


def adapt_effort(draft: Draft, facts: ModelFacts, name: str, *, chat: bool) -> Effort | None:
    """Adapts the effort in the field `name`. Returns the effort that the request now asks for; None
    where it asks for none in particular. chat: whether it is for OpenAI's Chat Completions."""
    wanted = effort_named(draft.get(name))
    if wanted is None:
        return None
    fitted = fitted_effort(wanted, facts, chat=chat)
    if fitted is None:
        draft.drop(name, named=wanted != "none")
    elif fitted != wanted:
        draft.put(name, fitted)
    return fitted


def fitted_effort(wanted: Effort, facts: ModelFacts, *, chat: bool = False) -> Effort | None:
    """The effort to ask for in place of the wanted one; None: none in particular."""
    thinking = facts.thinking
    if thinking.use == "never":
        return None
    by_budget = "budget" in thinking.kinds and not thinking.efforts
    if wanted == "none" and thinking.off == "cannot" and by_budget:
        return "minimal"
    if thinking.efforts is None:
        return wanted
    if not thinking.efforts:
        # By a token budget, into which the provider's adapter converts the effort.
        return wanted if "budget" in thinking.kinds else None
    if wanted == "none" and thinking.off not in ("cannot", "none", "unknown"):
        return "none"
    refused = thinking.on_responses_only if chat else frozenset()
    taken = [effort for effort in thinking.efforts if effort not in refused]
    at_least = [effort for effort in taken if EFFORTS.index(effort) >= EFFORTS.index(wanted)]
    return next(iter(at_least), taken[-1] if taken else None)


def adapt_thinking(draft: Draft, facts: ModelFacts, max_tokens: int | None) -> None:
    """Adapts `thinking` and `output_config.effort` of the Messages API. max_tokens: the output cap,
    which must exceed a thinking budget."""
    _fit_config(draft, facts)
    asked = draft.get("thinking")
    if not isinstance(asked, Mapping) or facts.thinking.use == "unknown":
        return
    kind = asked.get("type")
    if facts.thinking.use == "never":
        draft.drop("thinking", named=kind != "disabled")
    elif kind in ("disabled", "between_tools"):
        _turn_off(draft, facts)
    elif kind == "enabled" and "budget" not in facts.thinking.kinds:
        _as_adaptive(draft, facts, asked)
    elif kind == "adaptive" and "adaptive" not in facts.thinking.kinds:
        _as_budget(draft, facts, max_tokens)


def thinking_as_effort(draft: Draft, facts: ModelFacts) -> None:
    """Converts an Anthropic caller's `thinking` to an effort, for a model that is controlled by
    one."""
    asked = draft.get("thinking")
    if not isinstance(asked, Mapping) or facts.vendor not in _BY_EFFORT:
        return
    kind = asked.get("type")
    draft.drop("thinking", named=False)
    if draft.get("reasoning_effort") is not None:
        return
    if kind == "enabled":
        draft.put("reasoning_effort", effort_of_budget(asked.get("budget_tokens")))
    elif kind == "disabled":
        draft.put("reasoning_effort", "none")


def switch_as_effort(draft: Draft, facts: ModelFacts) -> None:
    """Converts the vendor's own off switch to an effort of none, until say_off."""
    switch = _switch_of(facts)
    if switch is not None and draft.get(switch[0]) == switch[1]:
        draft.drop(switch[0], named=False)
        draft.put("reasoning_effort", "none")


def say_off(draft: Draft, facts: ModelFacts) -> None:
    """Converts an effort of none to the vendor's own off switch, where the model has no such
    effort."""
    switch = _switch_of(facts)
    if switch is not None and draft.get("reasoning_effort") == "none":
        draft.drop("reasoning_effort", named=False)
        draft.put(*switch)


def say_budget(draft: Draft, facts: ModelFacts) -> None:
    """Converts an effort to the vendor's own budget for thinking, where its model is told to think
    by one on chat completions."""
    switch, thinking = _switch_of(facts), facts.thinking
    effort = effort_named(draft.get("reasoning_effort"))
    if switch is None or switch[1] is not False or thinking.kinds != {"budget"}:
        return
    if effort is None or effort == "none":
        return
    tokens, most = _BUDGETS[effort], thinking.most_budget_tokens
    draft.drop("reasoning_effort", named=False)
    draft.put(switch[0], True)
    draft.put("thinking_budget", tokens if most is None else min(tokens, most))


def _switch_of(facts: ModelFacts) -> tuple[str, Any] | None:
    """The field and the value that turn thinking off; None: there is none on chat completions, or
    an effort does it. A reseller has fields of its own."""
    thinking = facts.thinking
    elsewhere = facts.vendor == "anthropic" or facts.seller not in (None, facts.vendor)
    if elsewhere or "none" in (thinking.efforts or ()):
        return None
    return _SWITCHES.get(thinking.off)


def effort_of_budget(tokens: object) -> Effort:
    """The effort that corresponds to a thinking budget."""
    if not isinstance(tokens, int) or isinstance(tokens, bool):
        return _DEFAULT_EFFORT
    return next((effort for most, effort in _EFFORT_UP_TO if tokens <= most), "max")


def _fit_config(draft: Draft, facts: ModelFacts) -> None:
    config = draft.get("output_config")
    if not isinstance(config, Mapping) or "effort" not in config:
        return
    wanted = effort_named(config["effort"])
    if wanted is None or facts.thinking.use == "unknown":
        return
    fitted = fitted_effort(wanted, facts) if "effort" in facts.thinking.kinds else None
    if fitted == wanted:
        return
    rest = {name: value for name, value in config.items() if name != "effort"}
    if fitted is not None and fitted != "none":
        rest["effort"] = fitted
    else:
        draft.name("output_config.effort")
    _put_config(draft, rest)


def _turn_off(draft: Draft, facts: ModelFacts) -> None:
    thinking = facts.thinking
    if thinking.off in ("disabled", "between_tools"):
        draft.put("thinking", {"type": thinking.off})
        _lower_effort(draft, facts)
    elif thinking.off == "cannot":
        draft.drop("thinking")
    elif thinking.off == "omitted":
        draft.drop("thinking", named=False)


def _lower_effort(draft: Draft, facts: ModelFacts) -> None:
    """Lowers an effort that is refused while thinking is turned off."""
    most, config = facts.thinking.most_effort_when_off, draft.get("output_config")
    effort = effort_named(config.get("effort")) if isinstance(config, Mapping) else None
    if most is None or effort is None or EFFORTS.index(effort) <= EFFORTS.index(most):
        return
    _put_config(draft, {**config, "effort": most})


def _as_adaptive(draft: Draft, facts: ModelFacts, asked: Mapping[str, Any]) -> None:
    shown = {name: asked[name] for name in ("display",) if name in asked}
    draft.put("thinking", {"type": "adaptive", **shown})
    config = draft.get("output_config")
    known = config if isinstance(config, Mapping) else {}
    if "effort" not in known and "effort" in facts.thinking.kinds:
        wanted = fitted_effort(effort_of_budget(asked.get("budget_tokens")), facts)
        _put_config(draft, {**known, "effort": wanted})


def _as_budget(draft: Draft, facts: ModelFacts, max_tokens: int | None) -> None:
    config = draft.get("output_config")
    effort = effort_named(config.get("effort")) if isinstance(config, Mapping) else None
    budget = _BUDGETS.get(effort or _DEFAULT_EFFORT, _BUDGETS[_DEFAULT_EFFORT])
    if facts.thinking.most_budget_tokens is not None:
        budget = min(budget, facts.thinking.most_budget_tokens)
    if max_tokens is not None:
        budget = min(budget, max_tokens // 2)
    if budget < _LEAST_BUDGET_TOKENS:
        draft.drop("thinking")
    else:
        draft.put("thinking", {"type": "enabled", "budget_tokens": budget})


def _put_config(draft: Draft, config: Mapping[str, Any]) -> None:
    if config:
        draft.put("output_config", dict(config))
    else:
        draft.drop("output_config", named=False)
