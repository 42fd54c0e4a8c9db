"""A provider that speaks Anthropic's Messages API over a real socket, and is as strict.

    with FakeAnthropic() as provider:
        provider.script("claude-x", Behaviour(blocks=({"type": "text", "text": "Hi"},)))

What the API's reference says of a request is checked, so that a wrong translation is a 400.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from anthropic_rules import BETA_FIELDS, agent_fault
from fake_provider import NOT_HERE, Behaviour, FakeProvider, Fault, Recorded, Wire

_PATH = "/v1/messages"
_FIELDS = {
    *("model", "max_tokens", "messages", "system", "metadata", "stop_sequences", "stream"),
    *("temperature", "top_p", "top_k", "tools", "tool_choice", "thinking", "output_config"),
    *("service_tier", "cache_control", "container", "inference_geo", "speed"),
}
_DELTAS = {"text": ("text_delta", "text"), "thinking": ("thinking_delta", "thinking")}


class FakeAnthropic(FakeProvider):
    """Its base_url names the host; wants `x-api-key` and `anthropic-version`."""

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def chats(self) -> list[Recorded]:
        return [request for request in self.requests if request.path == _PATH]

    def _behaviour(self, request: Recorded) -> Behaviour:
        if self.api_key is not None and request.headers.get("x-api-key") != self.api_key:
            return _refusal(401, "authentication_error", "invalid x-api-key")
        if request.path != _PATH:
            return NOT_HERE
        if "anthropic-version" not in request.headers:
            return _refusal(400, "invalid_request_error", "anthropic-version: header is required")
        fault = fault_of(request.body, request.headers.get("anthropic-beta", ""))
        if fault is not None:
            return _refusal(400, "invalid_request_error", fault)
        model = str(request.body["model"])
        if self.models is not None and model not in self.models:
            return _refusal(404, "not_found_error", f"model: {model}")
        return self._scripted(model)

    async def _respond(self, request: Recorded, behaviour: Behaviour, wire: Wire) -> None:
        if behaviour.fault is Fault.RESET and behaviour.fault_after == 0:
            await wire.fail()
        if behaviour.garbage is not None:
            await wire.send_whole(behaviour.garbage, "application/json")
        elif behaviour.status != 200:
            error = behaviour.error or {"type": "api_error", "message": "scripted"}
            await wire.send_json({"type": "error", "error": error, "request_id": "req_fake"})
        elif request.body.get("stream"):
            await self._stream(request.body, behaviour, wire)
        else:
            await wire.send_json(behaviour.answer or message_of(request.body, behaviour))

    async def _stream(self, body: dict[str, Any], behaviour: Behaviour, wire: Wire) -> None:
        await wire.head("text/event-stream; charset=utf-8", "transfer-encoding: chunked")
        await wire.pause(behaviour.head_delay_s)
        events = behaviour.events or tuple(events_of(message_of(body, behaviour)))
        for n_sent, event in enumerate(events):
            if behaviour.fault is not None and n_sent == behaviour.fault_after:
                break
            await wire.event(json.dumps(event, ensure_ascii=False).encode(), event["type"])
        if behaviour.fault in (Fault.CUT, Fault.RESET, Fault.SILENCE):
            await wire.fail()
        if behaviour.fault is Fault.MALFORMED:
            await wire.event(b'{"type": "content_block_de', "content_block_delta")
        if behaviour.fault is Fault.ERROR:
            error = behaviour.error or {"type": "overloaded_error", "message": "Overloaded"}
            await wire.event(json.dumps({"type": "error", "error": error}).encode(), "error")
        await wire.end()

    def _count(self, body: Any, behaviour: Behaviour) -> None:
        """Spend is asserted from scripted usage."""


def fault_of(body: dict[str, Any], betas: str = "") -> str | None:
    """What the API would object to. betas: the anthropic-beta header."""
    unknown = sorted(set(body) - _FIELDS - set(BETA_FIELDS))
    if unknown:
        return f"{unknown[0]}: Extra inputs are not permitted"
    if not isinstance(body.get("max_tokens"), int) or body["max_tokens"] < 1:
        return "max_tokens: Field required"
    return _messages_fault(body["messages"]) or _settings_fault(body) or agent_fault(body, betas)


def _messages_fault(messages: list[dict[str, Any]]) -> str | None:
    if not messages or messages[0]["role"] != "user":
        return 'messages: first message must use the "user" role'
    open_calls: set[str] = set()
    for number, message in enumerate(messages):
        if message["role"] == "system":
            continue
        blocks = message["content"]
        if isinstance(blocks, str):
            blocks = [{"type": "text", "text": blocks}]
        if message["role"] not in ("user", "assistant"):
            return f"messages.{number}.role: Input should be 'user' or 'assistant'"
        answered = {b["tool_use_id"] for b in blocks if b["type"] == "tool_result"}
        if answered != open_calls:
            return (
                f"messages.{number}: `tool_use` ids were found without `tool_result` blocks "
                "immediately after"
            )
        kinds = [block["type"] for block in blocks]
        if "tool_result" in kinds[len(answered) :]:
            return f"messages.{number}: tool_result blocks must come first"
        for block in blocks:
            if block["type"] == "text" and not block["text"].strip():
                return f"messages.{number}: text content blocks must contain non-whitespace text"
            if block["type"] == "thinking" and not block.get("signature"):
                return f"messages.{number}: thinking.signature: Field required"
        open_calls = {b["id"] for b in blocks if b["type"] == "tool_use"}
    return None


def _settings_fault(body: dict[str, Any]) -> str | None:
    if not 0 <= body.get("temperature", 1) <= 1:
        return "temperature: Input should be less than or equal to 1"
    if any(not stop.strip() for stop in body.get("stop_sequences", ())):
        return "stop_sequences: each stop sequence must contain non-whitespace"
    if body.get("tool_choice") and not body.get("tools"):
        return "tool_choice may only be specified while providing tools"
    thinking = body.get("thinking") or {}
    if thinking.get("type") == "enabled":
        if not 1024 <= thinking["budget_tokens"] < body["max_tokens"]:
            return "`max_tokens` must be greater than `thinking.budget_tokens`"
        if body.get("temperature", 1) != 1:
            return "`temperature` may only be set to 1 when thinking is enabled"
    if thinking.get("type") in ("enabled", "adaptive"):
        choice = (body.get("tool_choice") or {}).get("type")
        if choice in ("any", "tool"):
            return "Thinking may not be enabled when tool_choice forces tool use."
    return None


def message_of(body: dict[str, Any], behaviour: Behaviour) -> dict[str, Any]:
    """The whole answer."""
    texts = behaviour.texts or ("Hello", " from", f" {body['model']}")
    blocks = list(behaviour.blocks) or [{"type": "text", "text": "".join(texts)}]
    called = any(block["type"] == "tool_use" for block in blocks)
    reason = behaviour.finish_reason
    if reason == "stop":
        reason = "tool_use" if called else "end_turn"
    usage = behaviour.usage or {
        "input_tokens": 11,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": 0,
        "output_tokens": 5,
        "service_tier": "standard",
    }
    return {
        "id": "msg_fake",
        "type": "message",
        "role": "assistant",
        "model": behaviour.model or body["model"],
        "content": blocks,
        "stop_reason": reason,
        "stop_sequence": None,
        "usage": usage,
    }


def events_of(message: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The same answer as the API streams it."""
    begun = {"content": [], "stop_reason": None, "usage": {**message["usage"], "output_tokens": 1}}
    yield {"type": "message_start", "message": message | begun}
    for index, block in enumerate(message["content"]):
        kind = block["type"]
        empty = dict(block)
        for name in ("text", "thinking", "signature"):
            if name in block:
                empty[name] = ""
        if kind == "tool_use":
            empty["input"] = {}
        yield {"type": "content_block_start", "index": index, "content_block": empty}
        if index == 0:
            yield {"type": "ping"}
        for delta in _deltas(block):
            yield {"type": "content_block_delta", "index": index, "delta": delta}
        yield {"type": "content_block_stop", "index": index}
    yield {
        "type": "message_delta",
        "delta": {"stop_reason": message["stop_reason"], "stop_sequence": None},
        "usage": {"output_tokens": message["usage"]["output_tokens"]}
        | {k: v for k, v in message["usage"].items() if k == "output_tokens_details"},
    }
    yield {"type": "message_stop"}


def _deltas(block: dict[str, Any]) -> Iterator[dict[str, Any]]:
    if block["type"] in _DELTAS:
        kind, name = _DELTAS[block["type"]]
        half = len(block[name]) // 2
        for piece in (block[name][:half], block[name][half:]):
            if piece:
                yield {"type": kind, name: piece}
    if block.get("signature"):
        yield {"type": "signature_delta", "signature": block["signature"]}
    if block["type"] == "tool_use":
        yield {"type": "input_json_delta", "partial_json": ""}
        text = json.dumps(block["input"]) if block["input"] else ""
        for piece in (text[:4], text[4:]):
            if piece:
                yield {"type": "input_json_delta", "partial_json": piece}


def _refusal(status: int, kind: str, message: str) -> Behaviour:
    return Behaviour(status=status, error={"type": kind, "message": message})
