"""Checks a request as its provider would, in what is about the conversation: raises RefusedError in
the provider's words, or ours where they are not known. Knows nothing of the product.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any

Body = Mapping[str, Any]
# What the provider of a target has signed or encrypted itself begins with it.
ISSUED = "issued-here-"
SKIP = "skip_thought_signature_validator"
NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")
CLAUDE_NAME = re.compile(r"[a-zA-Z0-9_-]{1,128}")
GEMINI_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_.:-]{0,63}")
CLAUDE_ID = re.compile(r"[a-zA-Z0-9_-]+")
MISTRAL_ID = re.compile(r"[a-zA-Z0-9]{9}")


class RefusedError(Exception):
    """A 400."""


def refuse_if(wrong: object, words: str) -> None:
    if wrong:
        raise RefusedError(words)


# --- chat completions -----------------------------------------------------------------------


def _chat(
    body: Body,
    *,
    assistant: frozenset[str],
    others: frozenset[str] = frozenset({"role", "content", "name", "tool_call_id"}),
    parts: frozenset[str] = frozenset({"type", "text", "image_url"}),
    most_id: int = 1_000_000,
) -> None:
    """What all have in common. assistant, others: the fields of messages by who speaks."""
    messages = body["messages"]
    refuse_if(not messages, "messages: empty array")
    pending: list[str] = []
    for place, message in enumerate(messages):
        role = message["role"]
        known = assistant if role == "assistant" else others
        extra = set(message) - known
        refuse_if(extra, f"messages.{place}: {sorted(extra)} not permitted for {role}")
        _check_content(place, message, parts)
        if role == "tool":
            refuse_if(
                message.get("tool_call_id") not in pending,
                "messages with role 'tool' must be a response to a preceding 'tool_calls'",
            )
            pending.remove(message["tool_call_id"])
            continue
        refuse_if(pending, f"tool_call_ids did not have response messages: {pending}")
        if role == "assistant":
            pending = _check_calls(place, message, most_id)
    refuse_if(pending, f"tool_call_ids did not have response messages: {pending}")
    for tool in body.get("tools") or ():
        refuse_if(not NAME.fullmatch(tool["function"]["name"]), "tools.function.name")


def _check_content(place: int, message: Body, parts: frozenset[str]) -> None:
    content, role = message.get("content"), message["role"]
    if content is None:
        refuse_if(
            role != "assistant" or not (message.get("tool_calls") or message.get("refusal")),
            f"messages.{place}.content: expected a string, got null",
        )
    elif isinstance(content, list):
        refuse_if(not content, f"messages.{place}.content: empty array")
        for part in content:
            extra = set(part) - parts
            refuse_if(extra, f"messages.{place}.content: {sorted(extra)} not permitted")
            refuse_if(
                role in ("tool", "system") and part["type"] != "text",
                f"messages.{place}: {part['type']} in a message of {role}",
            )


def _check_calls(place: int, message: Body, most_id: int) -> list[str]:
    if "tool_calls" not in message:
        return []
    calls = message["tool_calls"]
    refuse_if(not calls, f"messages.{place}.tool_calls: empty array")
    for call in calls:
        extra = set(call) - {"id", "type", "function"}
        refuse_if(extra, f"messages.{place}.tool_calls: {sorted(extra)} not permitted")
        refuse_if(not 0 < len(call["id"]) <= most_id, "tool_calls.id: string too long")
        function = call["function"]
        refuse_if(set(function) != {"name", "arguments"}, "tool_calls.function")
        refuse_if(not NAME.fullmatch(function["name"]), f"function.name {function['name'][:90]}")
        refuse_if(not isinstance(function["arguments"], str), "arguments: expected a string")
    return [call["id"] for call in calls]


def _objects(body: Body) -> None:
    for message in body["messages"]:
        for call in message.get("tool_calls") or ():
            try:
                arguments = json.loads(call["function"]["arguments"])
            except ValueError:
                arguments = None
            refuse_if(not isinstance(arguments, dict), "arguments: no JSON object")


def _one_system_first(body: Body) -> None:
    roles = [message["role"] for message in body["messages"]]
    refuse_if("developer" in roles, "Unexpected message role.")
    refuse_if("system" in roles[1:], "System message must be at the beginning.")


def _alternates(body: Body) -> None:
    turns = [m for m in body["messages"] if m["role"] != "system"]
    refuse_if(not turns or turns[0]["role"] != "user", "a conversation must begin with the user")
    for before, message in pairwise(turns):
        refuse_if(
            message["role"] == before["role"] != "tool",
            "Conversation roles must alternate user/assistant/user/assistant/...",
        )


def check_openai(body: Body) -> None:
    """Chat completions of OpenAI."""
    fields = frozenset({"role", "content", "name", "tool_calls", "refusal", "audio"})
    parts = frozenset({"type", "text", "image_url", "refusal"})
    _chat(body, assistant=fields, parts=parts, most_id=40)
    for message in body["messages"]:
        refuse_if(message.get("refusal", "x") is None, "refusal: null")


def check_groq(body: Body) -> None:
    """Groq."""
    _chat(body, assistant=frozenset({"role", "content", "name", "tool_calls", "reasoning"}))
    _one_system_first(body)
    _objects(body)


def check_mistral(body: Body) -> None:
    """Mistral."""
    _chat(body, assistant=frozenset({"role", "content", "tool_calls", "prefix"}))
    _one_system_first(body)
    _objects(body)
    seen: set[str] = set()
    before = "system"
    for message in body["messages"]:
        role = message["role"]
        refuse_if(role == "user" and before == "tool", "Unexpected role 'user' after role 'tool'")
        for call in message.get("tool_calls") or ():
            refuse_if(not MISTRAL_ID.fullmatch(call["id"]), f"Tool call id was {call['id']}")
            refuse_if(call["id"] in seen, "Duplicate tool call id")
            seen.add(call["id"])
        refuse_if(
            role == "assistant" and not (message.get("content") or message.get("tool_calls")),
            "Assistant message must have either content or tool_calls, but not none.",
        )
        before = role
    refuse_if(before not in ("user", "tool"), "Expected last role User or Tool")


def check_deepseek(body: Body) -> None:
    """DeepSeek, thinking."""
    known = frozenset({"role", "content", "name", "tool_calls", "reasoning_content", "prefix"})
    _chat(body, assistant=known)
    _one_system_first(body)
    _alternates(body)
    _objects(body)
    for place, message in enumerate(body["messages"]):
        refuse_if(isinstance(message.get("content"), list), "invalid type: sequence")
        refuse_if(
            message.get("tool_calls") and not message.get("reasoning_content"),
            f"Missing `reasoning_content` field in the assistant message at index {place}.",
        )


def check_template(body: Body) -> None:
    """A server of open models, with the chat template of the strictest of them."""
    known = {"role", "content", "name", "tool_calls", "reasoning", "reasoning_content", "refusal"}
    _chat(body, assistant=frozenset(known))
    _one_system_first(body)
    _alternates(body)
    _objects(body)


def check_xai(body: Body) -> None:
    """A server that reads over what it does not know, such as xAI's."""
    plain = {"type", "text", "image_url", "cache_control"}
    known = {"reasoning", "reasoning_content", "reasoning_details", "extra_content", "refusal"}
    known |= {"role", "content", "name", "tool_calls", "thinking_blocks"}
    calls = [
        {n: v for n, v in call.items() if n not in ("index", "extra_content")}
        for message in body["messages"]
        for call in message.get("tool_calls") or ()
    ]
    bare = iter(calls)
    messages = [
        {**m, "tool_calls": [next(bare) for _ in m["tool_calls"]]} if m.get("tool_calls") else m
        for m in body["messages"]
    ]
    _chat({**body, "messages": messages}, assistant=frozenset(known), parts=frozenset(plain))
    _one_system_first(body)
    refuse_if("p2l" in json.dumps(body["messages"]), "what is sealed here is nobody's")


# --- the Responses API ----------------------------------------------------------------------

_ITEM_FIELDS = {
    "message": {"type", "id", "role", "content", "status", "phase"},
    "reasoning": {"type", "id", "summary", "content", "encrypted_content", "status"},
    "function_call": {"type", "id", "call_id", "name", "arguments", "status", "namespace"},
    "function_call_output": {"type", "id", "call_id", "output", "status"},
}
_PREFIXES = {"message": "msg_", "reasoning": "rs_", "function_call": "fc_"}


def check_responses(body: Body) -> None:
    """OpenAI's Responses API, with nothing kept there."""
    items = body["input"]
    if isinstance(items, str):
        return
    refuse_if(not items, "input: empty array")
    pending: list[str] = []
    for place, item in enumerate(items):
        kind = item.get("type", "message")
        refuse_if(kind not in _ITEM_FIELDS, f"input[{place}]: {kind}")
        extra = set(item) - _ITEM_FIELDS[kind]
        refuse_if(extra, f"Unknown parameter: 'input[{place}].{sorted(extra)}'")
        prefix = _PREFIXES.get(kind, "")
        identifier = item.get("id")
        refuse_if(
            identifier is not None and (not identifier.startswith(prefix) or len(identifier) > 64),
            f"Invalid 'input[{place}].id': '{identifier}'",
        )
        if kind == "message":
            _check_message_item(place, item)
        elif kind == "reasoning":
            secret = item.get("encrypted_content")
            refuse_if(not secret, f"Item with id '{identifier}' not found.")
            refuse_if(not secret.startswith(ISSUED), "encrypted content could not be verified")
        elif kind == "function_call":
            refuse_if(not 0 < len(item["call_id"]) <= 64, "call_id: string too long")
            refuse_if(not NAME.fullmatch(item["name"]), "name does not match pattern")
            refuse_if(not isinstance(item["arguments"], str), "arguments")
            pending.append(item["call_id"])
        else:
            refuse_if(item["call_id"] not in pending, "No tool call found for function call output")
            pending.remove(item["call_id"])
    refuse_if(pending, f"No tool output found for function call {pending}")


def _check_message_item(place: int, item: Body) -> None:
    content = item.get("content")
    refuse_if(content is None, f"input[{place}].content: null")
    taken = ("output_text", "refusal") if item["role"] == "assistant" else (
        "input_text", "input_image", "input_file")  # fmt: skip
    for part in content if isinstance(content, list) else ():
        refuse_if(part["type"] not in taken, f"input[{place}]: Invalid value: '{part['type']}'")


# --- the Messages API -----------------------------------------------------------------------

_BLOCK_FIELDS = {
    "text": {"type", "text", "cache_control", "citations"},
    "image": {"type", "source", "cache_control"},
    "thinking": {"type", "thinking", "signature"},
    "redacted_thinking": {"type", "data"},
    "tool_use": {"type", "id", "name", "input", "cache_control", "caller"},
    "tool_result": {"type", "tool_use_id", "content", "is_error", "cache_control"},
}


def check_anthropic(body: Body) -> None:
    """Anthropic's Messages API, of a model that knows no system turns."""
    turns = _merged(body["messages"])
    refuse_if(turns[0]["role"] != "user", "messages: first message must use the user role")
    refuse_if(turns[-1]["role"] != "user", "This model does not support assistant message prefill.")
    seen: set[str] = set()
    pending: list[str] = []
    has_calls = False
    for place, turn in enumerate(turns):
        refuse_if(turn["role"] not in ("user", "assistant"), "role 'system' is not supported")
        pending = _check_turn(place, turn, pending, seen)
        has_calls = has_calls or bool(seen)
    refuse_if(pending, "`tool_use` ids were found without `tool_result` blocks")
    refuse_if(has_calls and not body.get("tools"), "Requests which include `tool_use` need tools")
    for tool in body.get("tools") or ():
        refuse_if(not CLAUDE_NAME.fullmatch(tool["name"]), "tools.name: String should match")
    if (body.get("thinking") or {}).get("type") == "enabled":
        last = next((t for t in reversed(turns) if t["role"] == "assistant"), None)
        is_open = any(b["type"] == "tool_result" for b in turns[-1]["content"])
        refuse_if(
            is_open and last and not last["content"][0]["type"].endswith("thinking"),
            "Expected `thinking` or `redacted_thinking`, but found `tool_use`.",
        )
    system = body.get("system")
    refuse_if("system" in body and not system, "system: empty")


def _merged(messages: Sequence[Body]) -> list[dict[str, Any]]:
    """Turns of one role as the API joins them."""
    turns: list[dict[str, Any]] = []
    for place, message in enumerate(messages):
        content = message["content"]
        refuse_if(not content, f"messages.{place}: all messages must have non-empty content")
        blocks = content if isinstance(content, list) else [{"type": "text", "text": content}]
        if turns and turns[-1]["role"] == message["role"]:
            turns[-1]["content"] += blocks
        else:
            turns.append({"role": message["role"], "content": [*blocks]})
    return turns


def _check_turn(place: int, turn: Body, pending: list[str], seen: set[str]) -> list[str]:
    results, called, others = [], [], 0
    for block in turn["content"]:
        kind = block["type"]
        refuse_if(kind not in _BLOCK_FIELDS, f"messages.{place}: {kind}")
        extra = set(block) - _BLOCK_FIELDS[kind]
        refuse_if(extra, f"messages.{place}.{kind}.{sorted(extra)}: Extra inputs")
        if kind == "tool_result":
            refuse_if(others, "tool_result blocks must come first")
            results.append(block["tool_use_id"])
            continue
        others += 1
        if kind == "text":
            refuse_if(not block["text"].strip(), "text content blocks must contain text")
        elif kind == "tool_use":
            refuse_if(turn["role"] == "user", "tool_use of the user")
            refuse_if(not CLAUDE_ID.fullmatch(block["id"]), "tool_use.id: String should match")
            refuse_if(block["id"] in seen, "`tool_use` ids must be unique")
            refuse_if(not isinstance(block["input"], dict), "tool_use.input: a dictionary")
            refuse_if(not CLAUDE_NAME.fullmatch(block["name"]), "tool_use.name")
            seen.add(block["id"])
            called.append(block["id"])
        elif kind == "thinking":
            refuse_if(not block["signature"].startswith(ISSUED), "Invalid `signature`")
        elif kind == "redacted_thinking":
            refuse_if(not block["data"].startswith(ISSUED), "Invalid `data`")
    refuse_if(
        sorted(results) != sorted(pending),
        f"messages.{place}: `tool_use` ids and `tool_result` blocks do not match",
    )
    return called


# --- Gemini ---------------------------------------------------------------------------------

_DATA = {"text", "functionCall", "functionResponse", "inlineData", "fileData"}


def check_gemini(body: Body) -> None:
    """generateContent, of a model that wants signatures."""
    contents = body["contents"]
    refuse_if(contents[0]["role"] != "user", "a conversation begins with the user")
    refuse_if(contents[-1]["role"] != "user", "a conversation ends with the user")
    calls = 0
    for content in contents:
        parts = content["parts"]
        refuse_if(not parts, "contents.parts: must not be empty")
        for part in parts:
            refuse_if(len(set(part) & _DATA) != 1, "parts: required oneof field 'data'")
            refuse_if(set(part) - _DATA - {"thoughtSignature", "thought"}, "Unknown name")
            refuse_if(part.get("text") == "", "Unable to submit request: empty text parameter")
        answers = [part for part in parts if "functionResponse" in part]
        refuse_if(
            len(answers) != calls,
            "the number of function response parts is equal to the number of function call parts",
        )
        for answer in answers:
            refuse_if(not isinstance(answer["functionResponse"]["response"], dict), "response")
        calls = _check_gemini_calls(parts)
    for group in body.get("tools") or ():
        for declared in group["functionDeclarations"]:
            refuse_if(not GEMINI_NAME.fullmatch(declared["name"]), "Invalid function name")
    refuse_if("systemInstruction" in body and not body["systemInstruction"]["parts"], "system")


def _check_gemini_calls(parts: Sequence[Body]) -> int:
    calls = [part for part in parts if "functionCall" in part]
    for place, part in enumerate(calls):
        call, signature = part["functionCall"], part.get("thoughtSignature")
        refuse_if(not GEMINI_NAME.fullmatch(call["name"]), f"Invalid function name {call['name']}")
        refuse_if(not isinstance(call["args"], dict), "args")
        refuse_if(place == 0 and not signature, "Function call is missing a thought_signature")
        refuse_if(
            signature and signature != SKIP and not signature.startswith(ISSUED),
            "Thought signature is not valid",
        )
    return len(calls)


CHECKS: dict[str, Callable[[Body], None]] = {
    "openai": check_openai,
    "responses": check_responses,
    "anthropic": check_anthropic,
    "gemini": check_gemini,
    "mistral": check_mistral,
    "deepseek": check_deepseek,
    "xai": check_xai,
    "groq": check_groq,
    "vllm": check_template,
}
