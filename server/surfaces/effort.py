"""The effort of a request: what its caller asks for in any API's words, the same request at another
effort, and the effort that a body asks a provider for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from server.adapting.thinking import effort_named, effort_of_budget
from server.model_facts import Effort, ModelFacts
from server.model_facts.types import Thinking
from server.surfaces.base import GatewayRequest
from server.surfaces.chat.request import ChatRequest
from server.upstream.anthropic import thinking as claude
from server.upstream.dialect import InexpressibleError
from server.wire.surface import Surface

# The fields by which some API sets the amount of thinking.
_FIELDS: Final = frozenset(
    {
        "reasoning_effort",
        "output_config",
        "reasoning",
        "thinking",
        "enable_thinking",
        "thinking_budget",
    }
)
_SWITCHES: Final = frozenset({"thinking", "enable_thinking", "thinking_budget"})
_OF_REASONING: Final = frozenset({"effort", "enabled", "max_tokens"})
_OFF: Final = ("disabled", "between_tools")
_NOTHING: Final[Mapping[str, Any]] = {}


def effort_of(request: GatewayRequest) -> Effort | None:
    """The effort that the caller's own body asks for; None where it asks for none.

    A budget for thinking counts as the effort that corresponds to it, thoughts that are turned off
    as `none`, and Anthropic's adaptive thinking without an effort as its default, `high`.
    """
    if isinstance(request, ChatRequest) and request.thinks_not:
        return "none"
    return effort_in(request.body)


def effort_in(body: Mapping[str, Any]) -> Effort | None:
    """The effort that a body asks for, in the form of any API; None where it asks for none."""
    if _FIELDS.isdisjoint(body):
        return None
    thinking, reasoning = _object(body, "thinking"), _object(body, "reasoning")
    switches = (body.get("enable_thinking"), reasoning.get("enabled"))
    if thinking.get("type") in _OFF or any(switch is False for switch in switches):
        return "none"
    for asked in (
        body.get("reasoning_effort"),
        _object(body, "output_config").get("effort"),
        reasoning.get("effort"),
    ):
        if (named := effort_named(asked)) is not None:
            return named
    tokens = _budget(body)
    return None if tokens is None else effort_of_budget(tokens)


def is_sent(effort: str, body: Mapping[str, Any]) -> bool:
    """Whether a body asks for this effort. A budget for thinking stands for any effort above
    `none`, and a body that asks for no thoughts for `none`."""
    found = effort_in(body)
    if found == effort:
        return True
    if effort == "none":
        return found is None
    return found not in (None, "none") and _budget(body) is not None


def with_effort(
    request: GatewayRequest, effort: Effort, facts: ModelFacts | None
) -> GatewayRequest:
    """The request at this effort, in place of what its caller asks for; the same object where it
    asks for that already, or where its API has no effort. facts: those of the model; None:
    unknown."""
    if not isinstance(request, ChatRequest) or request.surface is Surface.COMPACT:
        return request
    thinking = Thinking() if facts is None else facts.thinking
    if effort_of(request) == effort and not _needs_other_words(request, thinking):
        return request
    native = request.native
    if native is not None and request.surface is Surface.RESPONSES:
        reasoning = {**(native.get("reasoning") or _NOTHING), "effort": effort}
        native = {**native, "reasoning": reasoning}
    elif native is not None and request.surface is Surface.MESSAGES:
        native = _message_at(native, effort, thinking)
    shown = _NOTHING if native is None else native
    tokens = claude.tokens_within_cap(shown.get("thinking"), request.headers.get("anthropic-beta"))
    return replace(
        request,
        body=_chat_at(request.body, effort),
        native=native,
        thinks_not=False,
        thinking_tokens=tokens if request.surface is Surface.MESSAGES else 0,
    )


def _needs_other_words(request: ChatRequest, thinking: Thinking) -> bool:
    """Whether a Messages body has a budget for thinking where the model takes efforts alone: its
    budget would become another effort than the one that it counts as."""
    native = request.native if request.surface is Surface.MESSAGES else None
    asked = _NOTHING if native is None else _object(native, "thinking")
    return asked.get("type") == "enabled" and "budget" not in thinking.kinds


def _chat_at(body: Mapping[str, Any], effort: Effort) -> dict[str, Any]:
    out = {name: value for name, value in body.items() if name not in _SWITCHES}
    reasoning = _object(body, "reasoning")
    if reasoning:
        kept = {name: value for name, value in reasoning.items() if name not in _OF_REASONING}
        out["reasoning"] = kept
        if not kept:
            del out["reasoning"]
    return out | {"reasoning_effort": effort}


def _message_at(native: Mapping[str, Any], effort: Effort, thinking: Thinking) -> dict[str, Any]:
    out = {name: value for name, value in native.items() if name != "thinking"}
    asked, config = _object(native, "thinking"), dict(_object(native, "output_config"))
    config.pop("effort", None)
    wanted: Mapping[str, Any] | None = None
    if effort == "none":
        wanted = {"type": thinking.off} if thinking.off in _OFF else None
    elif "budget" in thinking.kinds and "adaptive" not in thinking.kinds:
        wanted = _budget_for(effort, native["max_tokens"]) or asked
    else:
        config["effort"] = effort
        wanted = None if asked.get("type") in _OFF else asked
        if "adaptive" in thinking.kinds and (asked or thinking.use == "optional"):
            shown = {name: asked[name] for name in ("display",) if name in asked}
            wanted = {"type": "adaptive", **shown}
    out.pop("output_config", None)
    if wanted:
        out["thinking"] = dict(wanted)
    if config:
        out["output_config"] = config
    return out | {"messages": _without_efforts(native["messages"])}


def _budget_for(effort: Effort, cap: int) -> Mapping[str, Any] | None:
    """The `thinking` of a model that is told to think by a budget; None where the output cap leaves
    no room for it."""
    try:
        fields = claude.thinking_fields(effort, claude.Thinking.BUDGET, cap)
    except InexpressibleError:
        return None
    found: Mapping[str, Any] = fields["thinking"]
    return found


def _without_efforts(turns: Sequence[Any]) -> Sequence[Any]:
    """The turns without efforts that apply from a turn on; the same object where none has one."""
    if not any(_names_effort(turn) for turn in turns):
        return turns
    kept = []
    for turn in turns:
        if _names_effort(turn):
            config = {n: v for n, v in turn["output_config"].items() if n != "effort"}
            turn = {n: v for n, v in turn.items() if n != "output_config"}
            turn |= {"output_config": config} if config else {}
            if not turn.get("content"):
                continue
        kept.append(turn)
    return kept


def _names_effort(turn: Any) -> bool:
    return turn.get("role") == "system" and "effort" in _object(turn, "output_config")


def _budget(body: Mapping[str, Any]) -> int | None:
    """The tokens of thinking that a body asks for; None where it names no number."""
    for asked in (
        _object(body, "thinking").get("budget_tokens"),
        body.get("thinking_budget"),
        _object(body, "reasoning").get("max_tokens"),
    ):
        if isinstance(asked, int) and not isinstance(asked, bool):
            return asked
    return None


def _object(body: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = body.get(name)
    return found if isinstance(found, dict) else _NOTHING
