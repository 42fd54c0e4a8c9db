"""OpenAI over a real socket, on Chat Completions and on Responses, and as strict.

    with FakeOpenAI() as provider:
        provider.script("gpt-5.6-sol", Behaviour(blocks=(reasoning("Hm."), call("c1", "look"))))

blocks: the output items of a response, without their ids; the fake encrypts reasoning itself, and
takes back only what it has given out, before the item that it gave it before.
"""

from __future__ import annotations

import itertools
import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

from fake_provider import Behaviour, FakeProvider, Fault, Recorded, Wire
from openai_rules import FIELDS, Refused, chat_fault, item_fault, settings_fault, tools_fault

_CHAT = "/v1/chat/completions"
_RESPONSES = "/v1/responses"
_CALLS = {"function_call": "arguments", "custom_tool_call": "input"}


def reasoning(*summary: str) -> dict[str, Any]:
    parts = [{"type": "summary_text", "text": text} for text in summary]
    return {"type": "reasoning", "summary": parts}


def text(said: str, **fields: Any) -> dict[str, Any]:
    part = {"type": "output_text", "text": said, "annotations": [], "logprobs": []}
    return {"type": "message", "role": "assistant", "content": [part], **fields}


def refusal(said: str) -> dict[str, Any]:
    part = {"type": "refusal", "refusal": said}
    return {"type": "message", "role": "assistant", "content": [part]}


def call(call_id: str, name: str, arguments: str = "{}") -> dict[str, Any]:
    return {"type": "function_call", "call_id": call_id, "name": name, "arguments": arguments}


def custom_call(call_id: str, name: str, said: str) -> dict[str, Any]:
    return {"type": "custom_tool_call", "call_id": call_id, "name": name, "input": said}


class FakeOpenAI(FakeProvider):
    """verified: whether the organisation may have summaries of reasoning. account: whose it is:
    what another account has encrypted is refused."""

    def __init__(
        self, api_key: str | None = None, *, verified: bool = True, account: str = "org-a"
    ) -> None:
        super().__init__(api_key=api_key)
        self.verified = verified
        self.account = account
        self._numbers = itertools.count(1)
        # encrypted content -> (model, id, what followed it)
        self.given: dict[str, tuple[str, str, str]] = {}

    @property
    def responses(self) -> list[Recorded]:
        """The requests for a response that were not refused."""
        return [r for r in self.requests if r.path == _RESPONSES and not self._fault(r)]

    def _behaviour(self, request: Recorded) -> Behaviour:
        behaviour = super()._behaviour(request)
        if behaviour.status != 200 or request.path not in (_CHAT, _RESPONSES):
            return behaviour
        fault = self._fault(request)
        if fault is None:
            return behaviour
        message, param, code = fault
        error = {"message": message, "type": "invalid_request_error", "param": param, "code": code}
        return Behaviour(status=404 if "not found" in message else 400, error=error)

    def _fault(self, request: Recorded) -> Refused:
        body = request.body
        if request.path == _CHAT:
            return chat_fault(body)
        return self._response_fault(body)

    async def _respond(self, request: Recorded, behaviour: Behaviour, wire: Wire) -> None:
        if request.path != _RESPONSES or behaviour.status != 200 or behaviour.garbage is not None:
            await super()._respond(request, behaviour, wire)
            return
        response = behaviour.answer or self._response(request.body, behaviour)
        if request.body.get("stream"):
            await _stream(behaviour, response, wire)
        else:
            await wire.send_json(response)

    def _response_fault(self, body: dict[str, Any]) -> Refused:
        for name in body:
            if name not in FIELDS:
                return f"Unknown parameter: '{name}'.", name, "unknown_parameter"
        if body.get("max_output_tokens", 16) < 16:
            message = (
                "Invalid 'max_output_tokens': integer below minimum value. Expected a value >= 16, "
                f"but got {body['max_output_tokens']} instead."
            )
            return message, "max_output_tokens", "integer_below_min_value"
        if body.get("store") is not False:
            return "this test keeps nothing: store must be false", "store", None
        found = settings_fault(body, verified=self.verified) or tools_fault(body)
        return found or self._input_fault(body)

    def _input_fault(self, body: dict[str, Any]) -> Refused:
        called: dict[str, str] = {}
        answered: set[str] = set()
        said = body["input"]
        items = [{"role": "user", "content": said}] if isinstance(said, str) else said
        for number, item in enumerate(items):
            where = f"input[{number}]"
            found = item_fault(item, where)
            if found is not None:
                return found
            kind = item.get("type", "message")
            if kind in _CALLS:
                called[item["call_id"]] = kind
            if kind.endswith("_output"):
                if called.get(item["call_id"]) != kind.removesuffix("_output"):
                    what = kind.removesuffix("_output").replace("_", " ")
                    message = f"No tool call found for {what} output with call_id {item['call_id']}"
                    return f"{message}.", "input", None
                answered.add(item["call_id"])
            if kind == "reasoning":
                found = self._reasoning_fault(body, number)
                if found is not None:
                    return found
        open_calls = sorted(set(called) - answered)
        if open_calls:
            return f"No tool output found for function call {open_calls[0]}.", "input", None
        return None

    def _reasoning_fault(self, body: dict[str, Any], number: int) -> Refused:
        item = body["input"][number]
        encrypted = item.get("encrypted_content")
        if not encrypted:
            message = (
                f"Item with id '{item['id']}' not found. Items are not persisted when `store` is "
                "set to false. Try again with `store` set to true, or remove this item from your "
                "input."
            )
            return message, "input", None
        if encrypted not in self.given or self.given[encrypted][:2] != (body["model"], item["id"]):
            message = (
                f"The encrypted content {encrypted[:4]}...{encrypted[-4:]} could not be verified."
            )
            return message, None, "invalid_encrypted_content"
        after = (i for i in body["input"][number + 1 :] if i["type"] != "reasoning")
        if _key(next(after, {})) != self.given[encrypted][2]:
            message = (
                f"Item '{item['id']}' of type 'reasoning' was provided without its required "
                "following item."
            )
            return message, "input", None
        return None

    def _response(self, body: dict[str, Any], behaviour: Behaviour) -> dict[str, Any]:
        failed = behaviour.error is not None and behaviour.fault is None
        output = [] if failed else self._output(body, behaviour)
        incomplete = behaviour.finish_reason in ("length", "content_filter")
        reason = "max_output_tokens" if behaviour.finish_reason == "length" else "content_filter"
        return {
            "id": f"resp_{next(self._numbers)}",
            "object": "response",
            "created_at": 1_790_000_000,
            "status": "failed" if failed else "incomplete" if incomplete else "completed",
            "background": False,
            "error": behaviour.error if failed else None,
            "incomplete_details": {"reason": reason} if incomplete else None,
            "instructions": None,
            "model": body["model"],
            "output": output,
            "parallel_tool_calls": body.get("parallel_tool_calls", True),
            "service_tier": behaviour.service_tier or "default",
            "store": False,
            "temperature": body.get("temperature"),
            "tool_choice": body.get("tool_choice", "auto"),
            "tools": body.get("tools", []),
            "top_p": body.get("top_p"),
            "usage": None if behaviour.omit_usage else behaviour.usage or _usage(body, output),
        }

    def _output(self, body: dict[str, Any], behaviour: Behaviour) -> list[dict[str, Any]]:
        said = "".join(behaviour.texts or ("Hello", " from", f" {body['model']}"))
        output = [self._named(item) for item in behaviour.blocks or (text(said),)]
        include = body.get("include") or ()
        for number, item in enumerate(output):
            if item["type"] == "reasoning" and "reasoning.encrypted_content" in include:
                after = (i for i in output[number + 1 :] if i["type"] != "reasoning")
                secret = f"gAAA{self.account}{next(self._numbers):06d}=="
                item["encrypted_content"] = secret
                self.given[secret] = (body["model"], item["id"], _key(next(after, {})))
            if item["type"] == "reasoning" and "summary" not in (body.get("reasoning") or {}):
                item["summary"] = []
        return output

    def _named(self, item: dict[str, Any]) -> dict[str, Any]:
        prefix = {"message": "msg", "reasoning": "rs", "function_call": "fc"}.get(
            item["type"], "ctc"
        )
        named = {**item, "id": f"{prefix}_{next(self._numbers)}"}
        return named if item["type"] == "reasoning" else {**named, "status": "completed"}

    def _count(self, body: Any, behaviour: Behaviour) -> None:
        if not isinstance(body, dict) or "input" not in body:
            super()._count(body, behaviour)
        elif behaviour.status == 200:
            usage = behaviour.usage or {}
            self.served.setdefault(str(body["model"]), Counter()).update(
                requests=1,
                prompt=usage.get("input_tokens", 0),
                completion=usage.get("output_tokens", 0),
            )


def _key(item: dict[str, Any]) -> str:
    return str(item.get("call_id") or item.get("type"))


def _usage(body: dict[str, Any], output: list[dict[str, Any]]) -> dict[str, Any]:
    n_input = len(json.dumps(body["input"])) // 4
    n_output = len(json.dumps(output)) // 4
    return {
        "input_tokens": n_input,
        "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
        "output_tokens": n_output,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": n_input + n_output,
    }


async def _stream(behaviour: Behaviour, response: dict[str, Any], wire: Wire) -> None:
    await wire.head("text/event-stream; charset=utf-8", "transfer-encoding: chunked")
    await wire.pause(behaviour.head_delay_s)
    events = behaviour.events or tuple(events_of(response))
    for n_sent, event in enumerate(events):
        if behaviour.fault is not None and n_sent == behaviour.fault_after:
            break
        numbered = {**event, "sequence_number": n_sent}
        await wire.event(json.dumps(numbered, ensure_ascii=False).encode(), event["type"])
    if behaviour.fault in (Fault.CUT, Fault.RESET, Fault.SILENCE):
        await wire.fail()
    if behaviour.fault is Fault.MALFORMED:
        await wire.event(b'{"type": "response.outp', "response.output_text.delta")
    if behaviour.fault is Fault.ERROR:
        told = behaviour.error or {"code": "server_error", "message": "The server had an error"}
        event = {"type": "error", "param": None, **told}
        await wire.event(json.dumps(event).encode(), "error")
    await wire.end()


def events_of(response: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The same response as the API streams it."""
    begun = {**response, "status": "in_progress", "output": [], "usage": None, "error": None,
             "incomplete_details": None}  # fmt: skip
    yield {"type": "response.created", "response": begun}
    yield {"type": "response.in_progress", "response": begun}
    yield {"type": "response.keepalive"}
    for place, item in enumerate(response["output"]):
        yield from _item_events(item, {"output_index": place, "item_id": item["id"]})
    yield {"type": f"response.{response['status']}", "response": response}


def _item_events(item: dict[str, Any], where: dict[str, Any]) -> Iterator[dict[str, Any]]:
    place = where["output_index"]
    empty = dict(item)
    blank = {"content": [], "arguments": "", "input": "", "summary": []}
    empty |= {name: value for name, value in blank.items() if name in item}
    if "encrypted_content" in item:
        empty["encrypted_content"] = "gAAAunfinished"
    yield {"type": "response.output_item.added", "output_index": place, "item": empty}
    if item["type"] == "reasoning":
        for number, part in enumerate(item["summary"]):
            at = {**where, "summary_index": number}
            shown = {"type": "summary_text", "text": ""}
            yield {"type": "response.reasoning_summary_part.added", **at, "part": shown}
            for piece in _pieces(part["text"]):
                yield {"type": "response.reasoning_summary_text.delta", **at, "delta": piece}
            yield {"type": "response.reasoning_summary_text.done", **at, "text": part["text"]}
            yield {"type": "response.reasoning_summary_part.done", **at, "part": part}
    elif item["type"] == "message":
        yield from _part_events(item["content"], where)
    else:
        yield from _call_events(item, where)
    yield {"type": "response.output_item.done", "output_index": place, "item": item}


def _part_events(parts: list[dict[str, Any]], where: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for number, part in enumerate(parts):
        at = {**where, "content_index": number}
        refused = part["type"] == "refusal"
        kind = "response.refusal" if refused else "response.output_text"
        field = "refusal" if refused else "text"
        yield {"type": "response.content_part.added", **at, "part": {**part, field: ""}}
        for piece in _pieces(part[field]):
            more = {} if refused else {"logprobs": part.get("logprobs") or []}
            yield {"type": f"{kind}.delta", **at, "delta": piece, **more, "obfuscation": "aB"}
        done = {field: part[field]} | ({} if refused else {"logprobs": []})
        yield {"type": f"{kind}.done", **at, **done}
        yield {"type": "response.content_part.done", **at, "part": part}


def _call_events(item: dict[str, Any], where: dict[str, Any]) -> Iterator[dict[str, Any]]:
    field = _CALLS[item["type"]]
    kind = "response.function_call_arguments"
    if field == "input":
        kind = "response.custom_tool_call_input"
    for piece in _pieces(item[field]):
        yield {"type": f"{kind}.delta", **where, "delta": piece}
    yield {"type": f"{kind}.done", **where, field: item[field]}


def _pieces(said: str) -> list[str]:
    half = len(said) // 2
    return [piece for piece in (said[:half], said[half:]) if piece]
