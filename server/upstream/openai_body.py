"""Converts a body for a provider with its profile, and finds what it cannot express."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any, Final

from server.model_facts import facts_of
from server.upstream.asked import asked, content_parts, wants_json_schema
from server.upstream.base import Fit, UpstreamRequest
from server.upstream.fitting import body_of, fit_of
from server.upstream.history import Rules, mended, targets
from server.upstream.profiles import (
    CUSTOM_TOOLS,
    FORCED_TOOL,
    JSON_SCHEMA,
    MESSAGE_NAMES,
    Profile,
)
from server.upstream.tool_images import shows_something, with_images_after
from server.upstream.tool_schemas import for_openai, unique, without_nulls
from server.wire.surface import Surface
from server.wire.users import shortened

# Vendors whose API refuses tool turns without reasoning_content.
_WANT_REASONING: Final = frozenset({"deepseek", "moonshot"})
_CAPS: Final = ("max_completion_tokens", "max_tokens")
Message = Mapping[str, Any]
# Fields whose empty list means the same as no field.
_LISTS: Final = ("functions", "stop", "tools")
# An empty text stops at nothing, and is refused.
_NO_STOPS: Final[tuple[Any, ...]] = ("", [], [""])
_USERS: Final = ("user", "safety_identifier")
_STREAMED: Final = frozenset({Surface.CHAT, Surface.COMPLETIONS})


def fit(profile: Profile, body: Mapping[str, Any], *, bounded: bool = False) -> Fit:
    """Whether the provider honours everything that a chat-completions body asks for, and what of it
    will be sent. bounded: see Upstream.fields."""
    if profile.refused:
        refused = [name for name in _asked_deeply(asked(body)) if name in profile.refused]
        if refused:
            return Fit(f"its provider does not honour {', '.join(sorted(refused))}")
    found = fit_of(body, profile.fields[Surface.CHAT, bounded])
    if profile.unknown:
        found = _without_unknown(profile, body, found)
    if bounded and profile.with_files and _has_files(body):
        return replace(found, body={**body_of(found, body), **profile.with_files})
    return found


def _without_unknown(profile: Profile, body: Mapping[str, Any], found: Fit) -> Fit:
    """Removes fields that the provider is known not to know; they are reported as left out."""
    names = {name for name in asked(body) if name in profile.unknown}
    return replace(found, left_out=tuple(sorted({*found.left_out, *names}))) if names else found


def _has_files(body: Mapping[str, Any]) -> bool:
    return any(part["type"] == "file" for part in content_parts(body))


def outgoing(profile: Profile, request: UpstreamRequest) -> dict[str, Any]:
    """The body for the provider. Fields at their default are left out where it does not know them:
    the refused ones that remain have no effect."""
    body = {**request.body, "model": request.upstream_model}
    tools = body.get("tools")
    if isinstance(tools, list) and tools:
        body["tools"] = _tools(profile, body["model"], tools)
    if request.surface is Surface.CHAT:
        body = _chat(profile, body)
    if request.surface in _STREAMED:
        return _with_stream(profile, body, request.stream)
    if request.surface is Surface.RESPONSES and (request.stream or body.get("stream")):
        body["stream"] = request.stream
    return body


def _chat(profile: Profile, body: dict[str, Any]) -> dict[str, Any]:
    body["messages"] = _messages(_rules(profile.history, body["model"]), body["messages"])
    if body.get("stop") in _NO_STOPS:
        del body["stop"]
    if not body.get("tools"):
        _drop_hollow(body)
    if profile.changes_nothing:
        return body
    kept = {
        profile.renamed.get(n, n): v for n, v in body.items() if v is not None and profile.sends(n)
    }
    caps = [body[name] for name in _CAPS if body.get(name) is not None]
    if profile.cap is not None and caps:
        kept = {name: value for name, value in kept.items() if name not in _CAPS}
        kept[profile.cap] = min(caps)
    if "cache_control" in profile.history.part_fields_refused and body.get("tools"):
        kept["tools"] = [_unmarked(tool) for tool in body["tools"]]
    for name in _USERS:
        if isinstance(kept.get(name), str):
            kept[name] = shortened(kept[name], profile.user_characters)
    if not profile.developer_role:
        kept["messages"] = [_as_system(message) for message in kept["messages"]]
    return kept


def _tools(profile: Profile, model: str, given: Sequence[Any]) -> Sequence[Any]:
    """The tools with names and schemas that the provider accepts."""
    tools = unique(given)
    cleaned = [without_nulls(tool) for tool in tools]
    if profile.strict or (profile.name == "generic" and _may_be_openais(model)):
        cleaned = [for_openai(tool) for tool in cleaned]
    return given if cleaned == given else cleaned


def _drop_hollow(body: dict[str, Any]) -> None:
    """Removes empty lists, which some providers refuse, and settings for tools where there are
    none."""
    for name in _LISTS:
        if body.get(name) == []:
            del body[name]
    if body.get("tool_choice") in ("auto", "none"):
        del body["tool_choice"]
    if "functions" not in body:
        body.pop("parallel_tool_calls", None)


def _messages(rules: Rules, given: Sequence[Message]) -> Sequence[Message]:
    messages = mended(given, rules)
    for message in messages:
        if message["role"] == "tool" and shows_something(message):
            # The images become a user message, which must fit the rules as well.
            return mended(with_images_after(messages), rules)
    return messages


def _rules(rules: Rules, model: str) -> Rules:
    """The rules for the model: some require their reasoning back from every server of open
    models."""
    # Compared by identity, since comparing or hashing all the rules takes longer.
    is_open = rules is targets.GENERIC or rules is targets.VLLM
    return targets.with_reasoning(rules) if is_open and _wants_reasoning(model) else rules


@lru_cache(maxsize=1024)
def _may_be_openais(model: str) -> bool:
    return facts_of(model).vendor in ("openai", None)


@lru_cache(maxsize=1024)
def _wants_reasoning(model: str) -> bool:
    facts = facts_of(model)
    return facts.vendor in _WANT_REASONING and facts.thinking.tool_turns_need_thoughts


def _unmarked(tool: Mapping[str, Any]) -> Mapping[str, Any]:
    """A tool without the mark for another provider's cache."""
    if "cache_control" not in tool:
        return tool
    return {name: value for name, value in tool.items() if name != "cache_control"}


def _with_stream(profile: Profile, body: dict[str, Any], stream: bool) -> dict[str, Any]:
    if not stream:
        return body | {"stream": False} if body.get("stream") else body
    if not profile.stream_options:
        body.pop("stream_options", None)
        return body | {"stream": True}
    options = body.get("stream_options")
    given = options if isinstance(options, Mapping) else {}
    # Without it a stream has no usage, and an answer without usage has no cost.
    return body | {"stream": True, "stream_options": {**given, "include_usage": True}}


def _as_system(message: Mapping[str, Any]) -> dict[str, Any]:
    role = message.get("role")
    return {**message, "role": "system" if role == "developer" else role}


def _asked_deeply(wanted: Mapping[str, Any]) -> Iterator[str]:
    yield from wanted
    if wants_json_schema(wanted):
        yield JSON_SCHEMA
    if any(m.get("name") and m["role"] not in ("assistant", "tool") for m in wanted["messages"]):
        yield MESSAGE_NAMES
    if wanted.get("tool_choice") not in (None, "auto", "none"):
        yield FORCED_TOOL
    if any(map(_is_custom, wanted.get("tools", ()))):
        yield CUSTOM_TOOLS


def _is_custom(tool: Any) -> bool:
    return isinstance(tool, Mapping) and tool.get("type") == "custom"
