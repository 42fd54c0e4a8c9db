"""Adapts a Responses body, in the form of OpenAI's API, to one model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from server.adapting.draft import Adapted, Draft
from server.adapting.sampling import adapt_sampling
from server.adapting.thinking import effort_named, fitted_effort
from server.adapting.tools import fitted_format
from server.model_facts import Effort, ModelFacts

_THOUGHTS: Final = "reasoning.encrypted_content"
_LOGPROBS: Final = "message.output_text.logprobs"


def adapt_responses(body: Mapping[str, Any], facts: ModelFacts) -> Adapted:
    """The body as the model accepts it. See adapt_chat for the rules."""
    draft = Draft(body)
    if facts.known == "nothing":
        return draft.done()
    effort = _fit_reasoning(draft, facts)
    _fit_verbosity(draft, facts)
    _fit_format(draft, facts)
    adapt_sampling(draft, facts, effort)
    if facts.refuses("logprobs", effort):
        _without_included(draft, _LOGPROBS, named=True)
    cap, most = draft.get("max_output_tokens"), facts.limits.max_output_tokens
    if most is not None and isinstance(cap, int) and cap > most:
        draft.put("max_output_tokens", most)
    if draft.get("parallel_tool_calls") is False and not facts.tools.parallel_field:
        draft.drop("parallel_tool_calls")
    return draft.done()


def _fit_reasoning(draft: Draft, facts: ModelFacts) -> Effort | None:
    if facts.thinking.use == "never":
        _without_thoughts(draft)
    asked = draft.get("reasoning")
    if not isinstance(asked, Mapping):
        return None
    if facts.thinking.use == "never":
        draft.drop("reasoning", named=asked.get("effort") not in (None, "none"))
        return None
    wanted = effort_named(asked.get("effort"))
    if wanted is None:
        return None
    fitted = fitted_effort(wanted, facts)
    if fitted == wanted:
        return fitted
    rest = {name: value for name, value in asked.items() if name != "effort"}
    if fitted is None:
        draft.name("reasoning.effort")
    else:
        rest["effort"] = fitted
    draft.put("reasoning", rest)
    return fitted


def _fit_verbosity(draft: Draft, facts: ModelFacts) -> None:
    text = draft.get("text")
    wanted = text.get("verbosity") if isinstance(text, Mapping) else None
    if wanted is None or facts.messages.verbosity:
        return
    if wanted != "medium":
        draft.name("text.verbosity")
    draft.put("text", {name: value for name, value in text.items() if name != "verbosity"})


def _without_thoughts(draft: Draft) -> None:
    """Removes requests for thoughts: a model that never reasons refuses them."""
    _without_included(draft, _THOUGHTS, named=False)


def _without_included(draft: Draft, unwanted: str, *, named: bool) -> None:
    include = draft.get("include")
    if isinstance(include, list) and unwanted in include:
        draft.put("include", [name for name in include if name != unwanted])
        if named:
            draft.name(f"include.{unwanted}")


def _fit_format(draft: Draft, facts: ModelFacts) -> None:
    text = draft.get("text")
    wanted = text.get("format") if isinstance(text, Mapping) else None
    if not isinstance(wanted, Mapping) or not isinstance(wanted.get("schema"), Mapping):
        return
    fitted = fitted_format(draft, facts, dict(wanted), "text.format")
    if fitted != wanted:
        draft.put("text", {**text, "format": fitted})
