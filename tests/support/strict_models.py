"""The models of November 2026, each behind a provider that refuses what the real one refuses.

    with OpenAIToday() as openai, ClaudeToday() as claude, GeminiToday() as gemini, OthersToday()...

The rules were written from the vendors' references, not from what the product knows of the models,
so that one is held against the other. A request that has tools and no result yet is answered with
thoughts and a call of the first tool; any other one with words.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from fake_anthropic import FakeAnthropic
from fake_gemini import FakeGemini
from fake_openai import FakeOpenAI, call, reasoning, text
from fake_provider import Behaviour, FakeProvider, Recorded
from tool_rules import claude_tool_fault, gemini_tool_fault, openai_tool_fault

WORDS = "Sunny, 21 degrees."
ARGUMENTS = {"city": "Oslo"}
Json = dict[str, Any]

_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")
_BOUNDS = {
    *("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"),
    *("minLength", "maxLength", "maxItems"),
}
_COMBINED = {"anyOf", "oneOf", "allOf"}
_MESSAGE = {"role", "content", "name", "tool_calls", "tool_call_id"}
_BASIC = {
    *("messages", "model", "temperature", "top_p", "max_tokens", "stream", "stop", "tools"),
    *("tool_choice", "parallel_tool_calls", "response_format", "presence_penalty"),
    *("frequency_penalty", "reasoning_effort"),
}
_OPENAI = _BASIC | {
    *("max_completion_tokens", "stream_options", "n", "seed", "logprobs", "top_logprobs"),
    *("logit_bias", "user", "metadata", "store", "service_tier", "verbosity", "prediction"),
    *("prompt_cache_key", "prompt_cache_options", "prompt_cache_retention", "modalities"),
    *("safety_identifier", "audio", "web_search_options", "moderation"),
}
# what OpenAI's reasoning models refuse, and the values that ask for nothing
_SAMPLING = {
    "temperature": (1,), "top_p": (1,), "presence_penalty": (0,), "frequency_penalty": (0,),
    "logprobs": (False,), "top_logprobs": (0,), "logit_bias": ({},),
}  # fmt: skip
_OPENAI_EFFORTS = {"low", "medium", "high", "xhigh", "max"}
_LIMITS = {"gemini": 65_536, "gpt": 128_000, "claude": 128_000, "qwen": 131_072, "glm": 128_000}


class OpenAIToday(FakeOpenAI):
    """gpt-5.6 and later, on both endpoints."""

    def _behaviour(self, request: Recorded) -> Behaviour:
        behaviour = super()._behaviour(request)
        if behaviour.status != 200:
            return behaviour
        body = request.body
        on_chat = "messages" in body
        fault = _chat_fault(body) if on_chat else _responses_fault(body)
        if fault is not None:
            return _openai_refusal(*fault)
        if on_chat:
            return _as_chat(behaviour, body, "call_0001")
        if body.get("tools") and "function_call_output" not in _kinds(body["input"]):
            name = body["tools"][0]["name"]
            said = call("call_0001", name, json.dumps(ARGUMENTS))
            return replace(behaviour, blocks=(reasoning("Hm."), said))
        return replace(behaviour, blocks=(text(WORDS),))


def _chat_fault(body: Json) -> tuple[str, str] | None:
    for name in body:
        if name not in _OPENAI:
            return f"Unknown parameter: '{name}'.", name
    if "max_tokens" in body:
        said = "Unsupported parameter: 'max_tokens' is not supported with this model. "
        return said + "Use 'max_completion_tokens' instead.", "max_tokens"
    for number, message in enumerate(body["messages"]):
        unknown = set(message) - _MESSAGE - {"refusal", "annotations", "audio"}
        if unknown:
            return f"Unknown parameter: 'messages[{number}].{min(unknown)}'.", "messages"
        for made in message.get("tool_calls") or ():
            if len(made["id"]) > 40:
                return "Invalid 'tool_calls[0].id': string too long.", "messages"
    functions = [tool["function"] for tool in body.get("tools") or ()]
    wanted = (body.get("response_format") or {}).get("json_schema")
    return (
        _openai_settings(body, body.get("reasoning_effort"), body.get("max_completion_tokens"))
        or _openai_tools(functions)
        or _openai_format(wanted)
    )


def _responses_fault(body: Json) -> tuple[str, str] | None:
    effort = (body.get("reasoning") or {}).get("effort")
    wanted = (body.get("text") or {}).get("format")
    return (
        _openai_settings(body, effort, body.get("max_output_tokens"))
        or _openai_tools([tool for tool in body.get("tools") or () if tool["type"] == "function"])
        or _openai_format(wanted if (wanted or {}).get("type") == "json_schema" else None)
    )


def _openai_settings(body: Json, effort: str | None, cap: int | None) -> tuple[str, str] | None:
    none = set() if body["model"] == "gpt-6.1-sol" else {"none"}
    if effort is not None and effort not in _OPENAI_EFFORTS | none:
        return f"Unsupported value: '{effort}' is not supported with this model.", "effort"
    if cap is not None and cap > _LIMITS["gpt"]:
        return f"max_tokens is too large: {cap}.", "max_tokens"
    if len(body.get("user") or "") > 64:
        return "Invalid 'user': string too long. Expected a maximum length of 64.", "user"
    for name, neutral in _SAMPLING.items():
        if effort != "none" and body.get(name) is not None and body[name] not in neutral:
            return f"Unsupported parameter: '{name}' is not supported with this model.", name
    return None


def _openai_tools(functions: Any) -> tuple[str, str] | None:
    for function in functions:
        if not _NAME.fullmatch(function["name"]):
            return f"Invalid 'tools[0].name': {function['name'][:20]}", "tools"
        schema = function.get("parameters") or {}
        if _COMBINED & set(schema):
            return f"Invalid schema for function '{function['name']}': anyOf at the root", "tools"
        if function.get("strict") and not _is_strict(schema):
            return f"Invalid schema for function '{function['name']}': required", "tools"
    fault = openai_tool_fault(functions)
    return None if fault is None else (fault, "tools")


def _openai_format(wanted: Json | None) -> tuple[str, str] | None:
    if wanted and wanted.get("strict") and not _is_strict(wanted["schema"]):
        said = "'required' is required to be supplied and to be an array including every key"
        return f"Invalid schema for response_format: {said}", "response_format"
    return None


def _is_strict(schema: Any) -> bool:
    """Whether every object requires all of its properties and allows no others."""
    if isinstance(schema, list):
        return all(_is_strict(item) for item in schema)
    if not isinstance(schema, dict):
        return True
    if schema.get("type") == "object":
        whole = set(schema.get("properties", ())) == set(schema.get("required", ()))
        if not whole or schema.get("additionalProperties") is not False:
            return False
    return all(_is_strict(value) for value in schema.values())


class ClaudeToday(FakeAnthropic):
    """Claude 5.5."""

    def _behaviour(self, request: Recorded) -> Behaviour:
        behaviour = super()._behaviour(request)
        if behaviour.status != 200:
            return behaviour
        fault = _claude_fault(request.body)
        if fault is not None:
            error = {"type": "invalid_request_error", "message": fault}
            return Behaviour(status=400, error=error)
        tools = request.body.get("tools")
        if not tools or "tool_result" in _kinds_deep(request.body["messages"]):
            return replace(behaviour, blocks=({"type": "text", "text": WORDS},))
        thought = {"type": "thinking", "thinking": "Hm.", "signature": "c2lnbmVk"}
        used = {"type": "tool_use", "id": "toolu_01", "name": tools[0]["name"], "input": ARGUMENTS}
        return replace(behaviour, blocks=(thought, used))


def _claude_fault(body: Json) -> str | None:
    model, thinking = body["model"], (body.get("thinking") or {}).get("type")
    for name in ("temperature", "top_p", "top_k"):
        if name in body:
            return f"{name}: Extra inputs are not permitted"
    if body["max_tokens"] > _LIMITS["claude"]:
        return f"max_tokens: {body['max_tokens']} > 128000, which is the maximum allowed"
    if thinking == "enabled":
        return '"thinking.type.enabled" is not supported for this model.'
    if thinking == "disabled" and "haiku" not in model:
        return '"thinking.type.disabled" is not supported for this model.'
    if thinking == "between_tools" and "sonnet" not in model:
        return '"thinking.type.between_tools" is not supported for this model.'
    forced = (body.get("tool_choice") or {}).get("type") in ("any", "tool")
    if forced and "haiku" not in model:
        return "tool_choice: this model does not support forced tool use"
    config = body.get("output_config") or {}
    if config.get("effort", "low") not in _OPENAI_EFFORTS:
        return "output_config.effort: Input should be 'low', 'medium', 'high', 'xhigh' or 'max'"
    return _claude_schemas(body) or _claude_history(
        # a model that always thinks takes turns of models that did not
        body,
        on=thinking == "adaptive" and "opus" not in model,
    )


def _claude_schemas(body: Json) -> str | None:
    schema = ((body.get("output_config") or {}).get("format") or {}).get("schema")
    for inner in _schemas(schema):
        refused = _BOUNDS & set(inner)
        if refused:
            return f"output_config.format.schema: property '{min(refused)}' is not supported"
        if inner.get("type") == "object" and inner.get("additionalProperties") is not False:
            return "output_config.format.schema: 'additionalProperties' must be false"
    for number, tool in enumerate(body.get("tools") or ()):
        if _COMBINED & set(tool["input_schema"]):
            where = f"tools.{number}.custom.input_schema"
            return f"{where}: does not support oneOf, allOf, or anyOf at the top level"
        if not re.fullmatch(r"[a-zA-Z0-9_-]{1,128}", tool["name"]):
            return f"tools.{number}.custom.name: String should match pattern"
    return claude_tool_fault(body.get("tools") or [])


def _claude_history(body: Json, *, on: bool) -> str | None:
    last: list[str] = []
    fault = _claude_content(body)
    if fault is not None:
        return fault
    if body["messages"][-1]["role"] == "assistant":
        return "This model does not support assistant message prefill."
    for number, message in enumerate(body["messages"]):
        blocks = message["content"] if isinstance(message["content"], list) else []
        for block in blocks:
            name = block.get("id", block.get("tool_use_id", "x"))
            if not re.fullmatch(r"[a-zA-Z0-9_-]+", name):
                return f"messages.{number}.content.0.tool_use.id: String should match pattern"
        if message["role"] == "assistant":
            last = [block["type"] for block in blocks]
    if on and "tool_use" in last and "thinking" not in last[0]:
        return "Expected `thinking` or `redacted_thinking`, but found `tool_use`."
    return None


def _claude_content(body: Json) -> str | None:
    system = body.get("system")
    if isinstance(system, list) and (not system or any(not block["text"] for block in system)):
        return "system: text content blocks must be non-empty"
    marked = json.dumps(body).count('"cache_control": {')
    if marked > 4:
        return f"A maximum of 4 blocks with cache_control may be provided. Found {marked}."
    for message in body["messages"]:
        for block in message["content"] if isinstance(message["content"], list) else ():
            source = block.get("source") or {}
            is_png = str(source.get("data")).startswith("iVBORw0KGgo")
            if is_png and source["media_type"] != "image/png":
                return f"The image was specified using the {source['media_type']} media type"
    return None


class GeminiToday(FakeGemini):
    """Gemini 3."""

    def _behaviour(self, request: Recorded) -> Behaviour:
        behaviour = super()._behaviour(request)
        if behaviour.status != 200:
            return behaviour
        fault = _gemini_fault(request.body)
        if fault is not None:
            error = {"status": "INVALID_ARGUMENT", "message": fault}
            return Behaviour(status=400, error=error)
        tools = request.body.get("tools")
        if not tools or "functionResponse" in _kinds_deep(request.body["contents"]):
            return replace(behaviour, blocks=({"text": WORDS},))
        made = {"name": tools[0]["functionDeclarations"][0]["name"], "args": ARGUMENTS}
        thought = {"text": "Hm.", "thought": True}
        signed = {"functionCall": made, "thoughtSignature": "c2lnbmVk"}
        return replace(behaviour, blocks=(thought, signed))


def _gemini_fault(body: Json) -> str | None:
    config = body.get("generationConfig", {})
    if config.get("maxOutputTokens", 1) > _LIMITS["gemini"]:
        return "max_output_tokens must be from 1 (inclusive) to 65537 (exclusive)"
    for name in ("presencePenalty", "frequencyPenalty"):
        if name in config:
            return "Penalty is not enabled for this model"
    thinking = config.get("thinkingConfig", {})
    if "thinkingBudget" in thinking and "thinkingLevel" in thinking:
        return "You can only set one of thinking budget and thinking level."
    if thinking.get("thinkingLevel", "low") not in ("low", "medium", "high"):
        return f"Thinking level {thinking['thinkingLevel']} is not supported for this model."
    for tool in body.get("tools") or ():
        for declared in tool["functionDeclarations"]:
            if not re.fullmatch(r"[a-zA-Z_][a-zA-Z0-9_.:-]{0,63}", declared["name"]):
                return "Invalid function name."
        fault = gemini_tool_fault(tool["functionDeclarations"])
        if fault is not None:
            return fault
    for content in body["contents"]:
        calls = [part for part in content["parts"] if "functionCall" in part]
        if calls and not calls[0].get("thoughtSignature"):
            return "Function call is missing a thought_signature in functionCall parts."
    return None


class OthersToday(FakeProvider):
    """The vendors that speak OpenAI's Chat Completions, each model by its own rules."""

    def _behaviour(self, request: Recorded) -> Behaviour:
        behaviour = super()._behaviour(request)
        if behaviour.status != 200 or not isinstance(request.body, dict):
            return behaviour
        body = request.body
        if "messages" not in body:
            return behaviour
        fault = next(_other_faults(body), None)
        if fault is not None:
            status = 422 if body["model"].startswith("mistral") else 400
            error = {"message": fault, "type": "invalid_request_error", "code": None}
            return Behaviour(status=status, error=error)
        number = "aB3dE5gH7" if body["model"].startswith("mistral") else "call_00_x"
        return _as_chat(behaviour, body, number)


def _other_faults(body: Json) -> Iterator[str]:
    model = body["model"]
    most = next((n for name, n in _LIMITS.items() if model.startswith(name)), None)
    cap = body.get("max_tokens", body.get("max_completion_tokens"))
    if most is not None and cap is not None and cap > most:
        yield f"max_tokens must be at most {most}"
    for start, rules in _OTHERS.items():
        if model.startswith(start):
            yield from rules(body)


def _grok(body: Json) -> Iterator[str]:
    for name in ("presence_penalty", "frequency_penalty", "stop"):
        if body.get(name):
            yield f"Argument not supported on this model: {name}"
    if body.get("reasoning_effort", "low") not in ("low", "medium", "high", "xhigh"):
        yield "Invalid reasoning effort."


def _deepseek(body: Json) -> Iterator[str]:
    if (body.get("response_format") or {}).get("type") == "json_schema":
        yield "This response_format type is unavailable now"
    if _images(body):
        yield "Failed to deserialize the JSON body: unknown variant `image_url`, expected `text`"
    if body.get("reasoning_effort", "high") not in ("low", "medium", "high", "xhigh", "max"):
        yield "unknown variant in reasoning_effort"
    thinks = (body.get("thinking") or {}).get("type") != "disabled"
    if thinks and body.get("tool_choice") not in (None, "auto", "none"):
        yield "deepseek-reasoner does not support this tool_choice in thinking mode"
    if not 1 <= body.get("max_tokens", 1) <= 393_216:
        yield "Invalid max_tokens value, the valid range of max_tokens is [1, 393216]"
    if any(message["role"] == "developer" for message in body["messages"]):
        yield "unknown variant `developer`"
    last = body["messages"][-1]
    if last["role"] == "assistant" and not last.get("prefix"):
        yield "The last message must be a user message, or an assistant message with prefix mode on"
    for message in body["messages"]:
        if thinks and message.get("tool_calls") and not message.get("reasoning_content"):
            yield "The `reasoning_content` in the thinking mode must be passed back to the API."


def _kimi(body: Json) -> Iterator[str]:
    for name, only in (("temperature", 1), ("presence_penalty", 0), ("frequency_penalty", 0)):
        if body.get(name, only) != only:
            yield f"invalid {name}: only {only} is allowed for this model"
    if body.get("top_p", 0.95) != 0.95:
        yield "invalid top_p: only 0.95 is allowed for this model"
    if body.get("tool_choice") not in (None, "auto", "none"):
        yield "tool_choice 'specified' is incompatible with thinking enabled"


def _mistral(body: Json) -> Iterator[str]:
    allowed = _BASIC | {"n", "random_seed", "safe_prompt", "prediction", "prompt_mode"}
    yield from (f"extra_forbidden: body.{name}" for name in set(body) - allowed)
    if body.get("reasoning_effort", "none") not in ("none", "high"):
        yield "reasoning_effort: Input should be 'none' or 'high'"
    if body.get("temperature", 1) > 1.5:
        yield "temperature: Input should be less than or equal to 1.5"
    ids: list[str] = []
    last = body["messages"][-1]
    if last["role"] not in ("user", "tool") and not last.get("prefix"):
        yield f"Expected last role User or Tool for serving but got {last['role']}"
    for message in body["messages"]:
        extra = set(message) - _MESSAGE - {"prefix"}
        yield from (f"extra_forbidden: body.messages.{name}" for name in extra)
        ids += [made["id"] for made in message.get("tool_calls") or ()]
    for name in ids:
        if not re.fullmatch(r"[a-zA-Z0-9]{9}", name) or ids.count(name) > 1:
            yield f"Tool call id was {name} but must be a-z, A-Z, 0-9, with a length of 9."


def _groq(body: Json) -> Iterator[str]:
    allowed = _BASIC | {"max_completion_tokens", "stream_options", "seed", "user", "metadata"}
    yield from (f"property '{name}' is unsupported" for name in set(body) - allowed)
    if body.get("reasoning_effort", "low") not in ("low", "medium", "high"):
        yield "`reasoning_effort` must be one of `low`, `medium`, or `high`"
    if _images(body):
        yield "'messages.0' : content must be a string"
    for message in body["messages"]:
        extra = set(message) - _MESSAGE - {"reasoning"}
        yield from (f"property 'messages.{name}' is unsupported" for name in extra)


def _glm(body: Json) -> Iterator[str]:
    if _images(body):
        yield "messages.content.type must be one of ['text']"


def _qwen(body: Json) -> Iterator[str]:
    if body.get("reasoning_effort") == "none":
        yield "reasoning_effort: none is not supported"
    forced = body.get("tool_choice") not in (None, "auto", "none")
    if forced and body.get("enable_thinking") is not False:
        yield "The tool_choice parameter does not support being set to required in thinking mode"


_OTHERS = {
    "grok": _grok, "deepseek": _deepseek, "kimi": _kimi, "mistral": _mistral, "gpt-oss": _groq,
    "glm": _glm, "qwen": _qwen,
}  # fmt: skip


def _as_chat(behaviour: Behaviour, body: Json, number: str) -> Behaviour:
    done = any(message["role"] == "tool" for message in body["messages"])
    if done or not body.get("tools"):
        return replace(behaviour, texts=(WORDS,))
    name = body["tools"][0]["function"]["name"]
    function = {"name": name, "arguments": json.dumps(ARGUMENTS)}
    made = {"id": number, "type": "function", "function": function}
    thought = {} if body["model"].startswith("gpt-") else {"reasoning_content": "Hm."}
    return replace(
        behaviour,
        finish_reason="tool_calls",
        message={"content": None, **thought, "tool_calls": [made]},
        deltas=(*([thought] if thought else []), {"tool_calls": [{"index": 0, **made}]}),
    )


def _openai_refusal(message: str, param: str) -> Behaviour:
    error = {"message": message, "type": "invalid_request_error", "param": param}
    return Behaviour(status=400, error=error | {"code": "unsupported_parameter"})


def _images(body: Json) -> bool:
    return "image_url" in _kinds_deep(body["messages"])


def _kinds(items: Any) -> set[str]:
    return {item.get("type", "") for item in items} if isinstance(items, list) else set()


def _kinds_deep(messages: list[Json]) -> set[str]:
    """The kinds of what messages hold, by their `type` or, as Gemini has it, by their keys."""
    found: set[str] = set()
    for message in messages:
        for part in message.get("parts") or message.get("content") or ():
            if isinstance(part, Mapping):
                found |= {str(part.get("type")), *part}
    return found


def _schemas(schema: Any) -> Iterator[Json]:
    """A schema and those within it."""
    if isinstance(schema, list):
        for item in schema:
            yield from _schemas(item)
    if isinstance(schema, dict):
        yield schema
        for name, value in schema.items():
            inner = value.values() if name in ("properties", "$defs") else [value]
            for one in inner:
                yield from _schemas(one)
