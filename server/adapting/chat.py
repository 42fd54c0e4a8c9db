"""Adapts a chat-completions body to one model, whichever API its provider speaks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from server.adapting.draft import Adapted, Draft
from server.adapting.prefill import fit_last_message
from server.adapting.sampling import adapt_sampling
from server.adapting.thinking import (
    adapt_effort,
    adapt_thinking,
    effort_named,
    say_budget,
    say_off,
    switch_as_effort,
    thinking_as_effort,
)
from server.adapting.tools import adapt_chat_tools
from server.model_facts import ModelFacts
from server.wire.users import shortened

CAPS: Final = ("max_completion_tokens", "max_tokens")


def adapt_chat(body: Mapping[str, Any], facts: ModelFacts) -> Adapted:
    """The body as the model accepts it.

    Preferences that the model does not accept (an effort, sampling, strictness) are translated or
    left out; for essential fields (tools, a schema, a forced call) it gives a reason why the model
    cannot serve the request.
    """
    draft = Draft(body)
    if facts.known == "nothing":
        return draft.done()
    _effort_of_openrouter(draft, facts)
    if facts.vendor == "anthropic":
        adapt_thinking(draft, facts, output_cap(body))
    else:
        thinking_as_effort(draft, facts)
        switch_as_effort(draft, facts)
    on_chat = facts.vendor == "openai" and not _goes_to_responses(draft, facts)
    effort = adapt_effort(draft, facts, "reasoning_effort", chat=on_chat)
    effort = adapt_chat_tools(draft, facts, effort)
    adapt_sampling(draft, facts, effort)
    if draft.get("reasoning_effort") is not None:
        say_off(draft, facts)
        say_budget(draft, facts)
    _clamp(draft, facts, CAPS)
    _shorten_user(draft, facts, "user")
    if not facts.messages.verbosity:
        draft.drop("verbosity", named=draft.get("verbosity") != "medium")
    fit_last_message(draft, facts)
    return draft.done()


def output_cap(body: Mapping[str, Any]) -> int | None:
    """The caller's cap in tokens, None where there is none."""
    caps = [body[name] for name in CAPS if isinstance(body.get(name), int)]
    return min(caps, default=None)


def _goes_to_responses(draft: Draft, facts: ModelFacts) -> bool:
    """Whether OpenAI accepts the request only on its Responses API."""
    if facts.endpoints and "chat_completions" not in facts.endpoints:
        return True
    effort = effort_named(draft.get("reasoning_effort"))
    return bool(draft.get("tools")) and not facts.tools.on_chat(effort)


def _effort_of_openrouter(draft: Draft, facts: ModelFacts) -> None:
    """Converts OpenRouter's own field for an effort, where another provider serves the model."""
    asked = draft.get("reasoning")
    if not isinstance(asked, Mapping) or facts.seller == "openrouter":
        return
    effort = effort_named(asked.get("effort"))
    draft.drop("reasoning", named=False)
    if effort is not None and draft.get("reasoning_effort") is None:
        draft.put("reasoning_effort", effort)


def _clamp(draft: Draft, facts: ModelFacts, names: tuple[str, ...]) -> None:
    most = facts.limits.max_output_tokens
    for name in names:
        cap = draft.get(name)
        if most is not None and isinstance(cap, int) and cap > most:
            draft.put(name, most)


def _shorten_user(draft: Draft, facts: ModelFacts, name: str) -> None:
    user, most = draft.get(name), facts.messages.user_most_characters
    if most is not None and isinstance(user, str) and len(user) > most:
        draft.put(name, shortened(user, most))
