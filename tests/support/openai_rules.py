"""What OpenAI refuses, in its own words: as (message, param, code), None for what it takes."""

from __future__ import annotations

import re
from typing import Any

Refused = tuple[str, str | None, str | None] | None
FIELDS = {
    *("background", "include", "input", "instructions", "max_output_tokens", "max_tool_calls"),
    *("metadata", "model", "moderation", "parallel_tool_calls", "prompt_cache_key", "reasoning"),
    *("prompt_cache_options", "prompt_cache_retention", "safety_identifier", "service_tier"),
    *("store", "stream", "stream_options", "temperature", "text", "tool_choice", "tools"),
    *("top_logprobs", "top_p", "truncation", "user", "client_metadata"),
}
# type -> (required, optional) keys
_ITEMS: dict[str, tuple[set[str], set[str]]] = {
    "message": ({"role", "content"}, {"id", "status", "phase"}),
    "function_call": ({"call_id", "name", "arguments"}, {"id", "status", "namespace"}),
    "function_call_output": ({"call_id", "output"}, {"id", "status"}),
    "custom_tool_call": ({"call_id", "name", "input"}, {"id", "status", "namespace"}),
    "custom_tool_call_output": ({"call_id", "output"}, {"id"}),
    "reasoning": ({"id", "summary"}, {"encrypted_content", "content", "status"}),
    "additional_tools": ({"tools", "role"}, {"id"}),
    "web_search_call": ({"id", "status", "action"}, set()),
}
# how their ids begin
_IDS = {
    "message": "msg_", "function_call": "fc_", "custom_tool_call": "ctc_", "reasoning": "rs_",
    "function_call_output": "fco_", "custom_tool_call_output": "ctco_",
}  # fmt: skip
_INPUT_PARTS = {
    "input_text": {"text"},
    "input_image": {"image_url", "file_id", "detail"},
    "input_file": {"filename", "file_data", "file_id", "detail"},
}
_OUTPUT_PARTS = {"output_text": {"text", "annotations", "logprobs"}, "refusal": {"refusal"}}
_INCLUDED = {"reasoning.encrypted_content", "message.output_text.logprobs"}
_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")
_EFFORTS = {"none", "minimal", "low", "medium", "high", "xhigh", "max"}
_SAMPLING = ("temperature", "top_p", "presence_penalty", "frequency_penalty", "logprobs", "seed")


def chat_fault(body: dict[str, Any]) -> Refused:
    model, effort = body["model"], body.get("reasoning_effort")
    for number, message in enumerate(body["messages"]):
        for name in ("reasoning_details", "reasoning_content", "thinking_blocks"):
            if name in message:
                said = f"Additional properties are not allowed ('{name}' was unexpected)"
                return f"{said} - 'messages.{number}'", None, None
    if re.match(r"gpt-5\.\d-pro|gpt-[\d.]+-codex", model):
        said = "This model is only supported in v1/responses and not in v1/chat/completions."
        return said, "model", None
    newest = re.match(r"(gpt-(5\.[5-9]|6)|secret-deployment)", model)
    refused = effort != "none" if newest else effort not in (None, "none")
    if body.get("tools") and refused and (newest or model.startswith("gpt-5.4")):
        instead = (
            "To use function tools, use /v1/responses or set reasoning_effort to 'none'."
            if newest
            else "Please use /v1/responses instead."
        )
        said = f"Function tools with reasoning_effort are not supported for {model} in "
        return f"{said}/v1/chat/completions. {instead}", "reasoning_effort", None
    return _sampling_fault(body, effort)


def _reasons(model: str) -> bool:
    return not model.startswith("gpt-4")


def _sampling_fault(body: dict[str, Any], effort: str | None) -> Refused:
    if not _reasons(body["model"]) or effort == "none":
        return None
    for name in _SAMPLING:
        if body.get(name) not in (None, 1, False) and body["model"] != "gpt-5.4":
            said = f"Unsupported parameter: '{name}' is not supported with this model."
            return said, name, "unsupported_parameter"
    return None


def settings_fault(body: dict[str, Any], *, verified: bool) -> Refused:
    asked = body.get("reasoning") or {}
    if asked and not _reasons(body["model"]):
        return (
            "Unsupported parameter: 'reasoning.effort'",
            "reasoning.effort",
            "unsupported_parameter",
        )
    if set(asked) - {"effort", "summary", "context"} or asked.get("effort", "low") not in _EFFORTS:
        return "Invalid value: reasoning", "reasoning", "invalid_value"
    if asked.get("summary") is not None and not verified:
        said = (
            "Your organization must be verified to generate reasoning summaries. Please go to: "
            "https://platform.openai.com/settings/organization/general and click on Verify "
            "Organization."
        )
        return said, "reasoning.summary", "unsupported_value"
    if asked.get("summary") is not None and body["model"].endswith("-bare"):
        said = "Unsupported parameter: 'reasoning.summary' is not supported with this model."
        return said, "reasoning.summary", "unsupported_parameter"
    for name in body.get("include") or ():
        if name not in _INCLUDED:
            return f"Invalid value: '{name}'.", "include", "invalid_value"
        if name == "reasoning.encrypted_content" and body["model"].endswith(("4.1", "-bare")):
            return "Encrypted content is not supported with this model.", "include", None
    if set(body.get("text") or {}) - {"format", "verbosity"}:
        return "Unknown parameter: 'text'.", "text", "unknown_parameter"
    verbosity = (body.get("text") or {}).get("verbosity")
    if verbosity not in (None, "medium") and not _reasons(body["model"]):
        said = (
            f"Unsupported value: '{verbosity}' is not supported with the '{body['model']}' model."
        )
        return said, "text.verbosity", "unsupported_value"
    return _sampling_fault(body, asked.get("effort"))


def tools_fault(body: dict[str, Any]) -> Refused:
    for number, tool in enumerate(body.get("tools") or ()):
        where = f"tools[{number}]"
        if tool["type"] in ("web_search", "image_generation"):
            continue
        if tool["type"] == "namespace":
            found = tools_fault({"tools": tool["tools"]})
            if found is not None:
                return found
            continue
        if not _NAME.fullmatch(tool.get("name") or ""):
            return f"Missing required parameter: '{where}.name'.", f"{where}.name", None
        if tool["type"] == "custom":
            continue
        known = {"type", "name", "description", "parameters", "strict"}
        if set(tool) - known or tool["type"] != "function" or "parameters" not in tool:
            return f"Unknown parameter: '{where}'.", where, "unknown_parameter"
        schema = tool["parameters"]
        closed = schema.get("additionalProperties") is False
        whole = set(schema.get("required", ())) == set(schema.get("properties", ()))
        # it is strict unless it is told not to be
        if tool.get("strict", True) and not (closed and whole):
            said = f"Invalid schema for function '{tool['name']}'"
            return said, f"{where}.parameters", "invalid_function_parameters"
    choice = body.get("tool_choice")
    if isinstance(choice, dict) and choice["type"] != "allowed_tools" and "name" not in choice:
        return "Missing required parameter: 'tool_choice.name'.", "tool_choice", None
    if choice not in (None, "auto", "none") and not body.get("tools"):
        return "Tool choice is only allowed when 'tools' are specified.", "tool_choice", None
    return None


def item_fault(item: dict[str, Any], where: str) -> Refused:
    kind = item.get("type", "message" if "role" in item else None)
    if kind not in _ITEMS:
        return f"Invalid value: '{kind}'.", f"{where}.type", "invalid_value"
    required, optional = _ITEMS[kind]
    keys = set(item) - {"type"}
    for name in sorted(required - keys):
        return f"Missing required parameter: '{where}.{name}'.", where, "missing_required_parameter"
    for name in sorted(keys - required - optional):
        return f"Unknown parameter: '{where}.{name}'.", where, "unknown_parameter"
    if "id" in item and not str(item["id"]).startswith(_IDS.get(kind, "")):
        return f"Invalid '{where}.id': '{item['id']}'.", f"{where}.id", "invalid_value"
    if not 1 <= len(item.get("call_id", "c")) <= 64:
        said = f"Invalid '{where}.call_id': string too long. Expected a maximum length of 64."
        return said, f"{where}.call_id", "string_above_max_length"
    if not isinstance(item.get("arguments", ""), str) or not isinstance(item.get("name", ""), str):
        return f"Invalid type for '{where}'.", where, "invalid_type"
    if item.get("phase", "commentary") not in ("commentary", "final_answer"):
        return f"Invalid value: '{where}.phase'.", where, "invalid_value"
    content = item.get("content", item.get("output", ""))
    said = item.get("role") == "assistant"
    return _parts_fault(content, _OUTPUT_PARTS if said else _INPUT_PARTS, where)


def _parts_fault(content: Any, known: dict[str, set[str]], where: str) -> Refused:
    if content is None or isinstance(content, str):
        return None
    for number, part in enumerate(content):
        here = f"{where}.content[{number}]"
        if part.get("type") not in known:
            supported = ", ".join(f"'{name}'" for name in known)
            said = f"Invalid value: '{part.get('type')}'. Supported values are: {supported}."
            return said, here, "invalid_value"
        unknown = set(part) - known[part["type"]] - {"type", "prompt_cache_breakpoint"}
        if unknown:
            said = f"Unknown parameter: '{here}.{min(unknown)}'."
            return said, here, "unknown_parameter"
    return None
