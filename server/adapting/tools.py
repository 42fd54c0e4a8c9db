"""Adapts tools and response formats to a model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from server.adapting.draft import Draft
from server.adapting.schemas import closed, meets_strict, without_refused
from server.adapting.thinking import fitted_effort
from server.model_facts import Effort, ModelFacts, Schemas


def adapt_chat_tools(draft: Draft, facts: ModelFacts, effort: Effort | None) -> Effort | None:
    """Adapts tools, their choice and the response format. Returns the resulting effort: where a
    forced call excludes thinking, the model is asked not to think."""
    if draft.get("parallel_tool_calls") is not None and not facts.tools.parallel_field:
        draft.drop("parallel_tool_calls", named=draft.get("parallel_tool_calls") is not True)
    tools = draft.get("tools")
    if isinstance(tools, list) and tools:
        _fit_tools(draft, facts, tools)
        effort = _fit_choice(draft, facts, effort)
    _fit_format(draft, facts)
    return effort


def _fit_tools(draft: Draft, facts: ModelFacts, tools: Sequence[Any]) -> None:
    if facts.tools.most is not None and len(tools) > facts.tools.most:
        draft.refuse(f"it takes {facts.tools.most} tools at most, and the request has {len(tools)}")
    wants_json = isinstance(draft.get("response_format"), Mapping) and draft.get(
        "response_format"
    ).get("type") in ("json_schema", "json_object")
    if wants_json and not facts.schemas.with_tools:
        draft.refuse("it does not take tools together with JSON output")
    fitted = [_tool(draft, facts.schemas, tool) for tool in tools]
    if any(new is not old for new, old in zip(fitted, tools, strict=True)):
        draft.put("tools", fitted)


def _tool(draft: Draft, rules: Schemas, tool: Any) -> Any:
    function = tool.get("function") if isinstance(tool, Mapping) else None
    if not isinstance(function, Mapping):
        return tool
    changed = fitted_function(draft, rules, function, "parameters")
    return tool if changed is function else {**tool, "function": changed}


def fitted_function(
    draft: Draft, rules: Schemas, function: Mapping[str, Any], place: str
) -> Mapping[str, Any]:
    """A function whose schema the model accepts; unchanged where it is acceptable. place: the field
    that holds its schema."""
    schema = function.get(place)
    if not isinstance(schema, Mapping):
        return function
    out = dict(function)
    gone = rules.refused_at_tool_root & schema.keys()
    if gone:
        out[place] = {name: value for name, value in schema.items() if name not in gone}
        for name in sorted(gone):
            draft.name(f"tools.{place}.{name}")
    if function.get("strict"):
        _fit_strict(draft, rules, out, place)
    return function if out == function else out


def _fit_strict(draft: Draft, rules: Schemas, out: dict[str, Any], place: str) -> None:
    removed: set[str] = set()
    schema = without_refused(out[place], rules, removed)
    if not removed and meets_strict(schema, rules):
        return
    # As a strict function it would be refused; one that is not strict accepts any schema.
    out["strict"] = False
    draft.name("tools.strict")


def _fit_choice(draft: Draft, facts: ModelFacts, effort: Effort | None) -> Effort | None:
    choice = draft.get("tool_choice")
    if choice in (None, "auto", "none"):
        return effort
    # The Messages API cannot combine an effort with a forced call.
    beside = facts.vendor != "anthropic" or effort is None
    if facts.tools.forced == "ok" and beside:
        return effort
    if facts.tools.forced == "refused":
        draft.refuse("it does not take a tool_choice that forces a call")
        return effort
    if not facts.thinking.thinks_at(effort):
        return effort
    calm = fitted_effort("none", facts)
    if calm == "none":
        draft.put("reasoning_effort", "none")
        return "none"
    if facts.tools.forced == "ok":
        draft.drop("reasoning_effort")
        return None
    draft.refuse("it does not take a tool_choice that forces a call while it thinks")
    return effort


def _fit_format(draft: Draft, facts: ModelFacts) -> None:
    wanted = draft.get("response_format")
    inside = wanted.get("json_schema") if isinstance(wanted, Mapping) else None
    if not isinstance(inside, Mapping) or not isinstance(inside.get("schema"), Mapping):
        return
    fitted = fitted_format(draft, facts, dict(inside), "response_format")
    if fitted != inside:
        draft.put("response_format", {**wanted, "json_schema": fitted})


def fitted_format(
    draft: Draft, facts: ModelFacts, format_: dict[str, Any], named: str
) -> dict[str, Any]:
    """A format with a `schema`, and perhaps `strict`, that the model accepts. named: the field
    under which removals are reported."""
    rules, schema = facts.schemas, format_["schema"]
    gone: set[str] = set()
    fitted = without_refused(schema, rules, gone)
    if facts.vendor == "anthropic":
        # Every answer that fits the closed schema fits the open one as well.
        fitted = closed(fitted)
    elif not format_.get("strict"):
        # Without strictness, the answer need not follow the schema exactly.
        return format_
    elif not meets_strict(fitted, rules):
        draft.name(f"{named}.strict")
        return {**format_, "strict": False}
    for name in sorted(gone):
        draft.name(f"{named}.schema.{name}")
    return format_ if fitted == schema else {**format_, "schema": fitted}
