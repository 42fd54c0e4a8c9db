"""Adapts a Messages body, in the form of Anthropic's API, to one model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from server.adapting.client_notes import NOTE, system_without_note
from server.adapting.deferred import fit_deferred_tools
from server.adapting.draft import Adapted, Draft
from server.adapting.prefill import fit_prefill
from server.adapting.sampling import adapt_sampling
from server.adapting.schemas import closed, without_refused
from server.adapting.system_turns import fit_system_turns
from server.adapting.thinking import adapt_thinking, effort_named
from server.adapting.tool_changes import without_deferral
from server.adapting.tools import fitted_function
from server.model_facts import Effort, ModelFacts
from server.wire.users import ANTHROPIC_CHARACTERS, shortened

_FORCED: Final = ("any", "tool")
_THINKING: Final = ("enabled", "adaptive")


def adapt_unknown_messages(body: Mapping[str, Any], model: str) -> Adapted:
    """Adapts a body for a model of which only the name is known: only a Claude is assumed to
    support system turns within the messages."""
    draft = Draft(body)
    if "claude" not in model:
        _leave_notes_out(draft)
        fit_system_turns(draft, None)
        fit_deferred_tools(draft, None)
        _fit_user(draft)
    return draft.done()


def with_all_tools_loaded(body: Mapping[str, Any]) -> Mapping[str, Any]:
    """A Messages body whose tool search was removed: nothing else would load the tools."""
    tools = body.get("tools")
    if not isinstance(tools, list):
        return body
    return {**body, "tools": [without_deferral(tool) for tool in tools]}


def adapt_messages(body: Mapping[str, Any], facts: ModelFacts) -> Adapted:
    """The body as the model accepts it. See adapt_chat for the rules."""
    draft = Draft(body)
    if facts.known == "nothing":
        return draft.done()
    if facts.vendor != "anthropic":
        _leave_notes_out(draft)
    fit_system_turns(draft, facts)
    fit_deferred_tools(draft, facts)
    _fit_user(draft)
    cap, most = body.get("max_tokens"), facts.limits.max_output_tokens
    if most is not None and isinstance(cap, int) and cap > most:
        draft.put("max_tokens", most)
    adapt_thinking(draft, facts, draft.get("max_tokens"))
    _fit_budget(draft)
    _fit_tools(draft, facts)
    _fit_context_management(draft)
    _fit_format(draft, facts)
    adapt_sampling(draft, facts, _effort(draft))
    if facts.vendor == "anthropic":
        fit_prefill(draft, facts)
    return draft.done()


def _fit_user(draft: Draft) -> None:
    metadata = draft.get("metadata")
    user = metadata.get("user_id") if isinstance(metadata, Mapping) else None
    if isinstance(user, str) and len(user) > ANTHROPIC_CHARACTERS:
        draft.put("metadata", {**metadata, "user_id": shortened(user, ANTHROPIC_CHARACTERS)})


def _leave_notes_out(draft: Draft) -> None:
    system = draft.get("system")
    kept = system_without_note(system)
    if kept is system:
        return
    draft.name(f"system.{NOTE}")
    if kept:
        draft.put("system", kept)
    else:
        draft.drop("system", named=False)


def _effort(draft: Draft) -> Effort | None:
    """The effort at which the model thinks; "none" where it is told not to, or thinks only when
    asked."""
    thinking = draft.get("thinking")
    kind = thinking.get("type") if isinstance(thinking, Mapping) else None
    if kind in ("disabled", "between_tools"):
        return "none"
    if kind is None:
        return None
    config = draft.get("output_config")
    named = effort_named(config.get("effort")) if isinstance(config, Mapping) else None
    return named or "medium"


def _fit_budget(draft: Draft) -> None:
    """Keeps a thinking budget below a cap that was lowered to the model's own."""
    thinking, cap = draft.get("thinking"), draft.get("max_tokens")
    budget = thinking.get("budget_tokens") if isinstance(thinking, Mapping) else None
    if not isinstance(budget, int) or not isinstance(cap, int) or "max_tokens" not in draft.body:
        return
    if draft.lowered("max_tokens") and budget >= cap:
        draft.put("thinking", {**thinking, "budget_tokens": max(1024, cap // 2)})


def _fit_context_management(draft: Draft) -> None:
    """Clears thoughts only where the request asks for some: without them, the edit that clears them
    would be refused."""
    managed, thinking = draft.get("context_management"), draft.get("thinking")
    edits = managed.get("edits") if isinstance(managed, Mapping) else None
    if not isinstance(managed, Mapping) or not isinstance(edits, list):
        return
    kind = thinking.get("type") if isinstance(thinking, Mapping) else None
    if kind in _THINKING or (kind is None and not draft.lowered("thinking")):
        return
    kept = [edit for edit in edits if not _clears_thoughts(edit)]
    if kept:
        draft.put("context_management", {**managed, "edits": kept})
    else:
        draft.drop("context_management", named=False)


def _clears_thoughts(edit: Any) -> bool:
    kind = edit.get("type") if isinstance(edit, Mapping) else None
    return isinstance(kind, str) and kind.startswith("clear_thinking")


def _fit_tools(draft: Draft, facts: ModelFacts) -> None:
    tools = draft.get("tools")
    if not isinstance(tools, list) or not tools:
        return
    fitted = [
        fitted_function(draft, facts.schemas, tool, "input_schema")
        if isinstance(tool, Mapping)
        else tool
        for tool in tools
    ]
    if any(new is not old for new, old in zip(fitted, tools, strict=True)):
        draft.put("tools", fitted)
    choice = draft.get("tool_choice")
    if not isinstance(choice, Mapping) or choice.get("type") not in _FORCED:
        return
    if facts.tools.forced == "refused":
        draft.refuse("it does not take a tool_choice that forces a call")
    elif facts.tools.forced == "not_when_thinking":
        thinking = draft.get("thinking")
        if isinstance(thinking, Mapping) and thinking.get("type") in _THINKING:
            draft.drop("thinking")


def _fit_format(draft: Draft, facts: ModelFacts) -> None:
    config = draft.get("output_config")
    wanted = config.get("format") if isinstance(config, Mapping) else None
    if not isinstance(config, Mapping) or not isinstance(wanted, Mapping):
        return
    schema = wanted.get("schema")
    if not isinstance(schema, Mapping):
        return
    gone: set[str] = set()
    fitted = closed(without_refused(schema, facts.schemas, gone))
    for name in sorted(gone):
        draft.name(f"output_config.format.schema.{name}")
    if fitted != schema:
        draft.put("output_config", {**config, "format": {**wanted, "schema": fitted}})
